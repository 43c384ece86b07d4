"""Evidence for the cause of an episode beside its drugs (RULES.md section 5).

Each line names its rule, what was found with date and number, how much it weighs and where it comes from. Laboratory
markers, diagnosis codes, patterns of the blood count, temperatures, and drugs that raise the count are read; what is
not in the extract leaves no line, except that fever is then said to be unknown.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_schemas import Evidence, Flag
from neutro_screen.reference.causality import CauseReference, CauseRules
from neutro_screen.text import match_key

COLUMNS: Final = tuple(Evidence.to_schema().columns)
_SPAN: Final = ("patient_id", "episode_id", "started_at", "last_low_at", "ended_at")
_BLASTS: Final = ("blast_pct", "blast_abs", "myeloblast_pct", "myeloblast_abs")
_IMMATURE: Final = ("promyelo_pct", "myelo_pct", "meta_pct")
#: Analytes that are no markers and that evidence or work-up asks for.
_READ_BESIDE_MARKERS: Final = ("temp_c", "vitamin_b12")
_NUMBER: Final = r"([0-9]+(?:[.,][0-9]+)?)"
_DAY: Final = "%Y-%m-%d"


def evidence_per_episode(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    labs: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    events: pl.LazyFrame,
    patients: pl.LazyFrame,
    exposures: pl.LazyFrame,
    reference: CauseReference,
    patterns: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """All lines of evidence, with the columns of ``Evidence``, sorted.

    ``episodes`` is ``Episode``, ``anc`` ``Anc``, ``labs`` ``LabResult`` with markers as analytes, ``exposures`` from
    ``exposures.exposures_per_patient``. Empty frames are allowed for what the extract does not have. ``patterns``
    (``count_patterns``) spares reading the blood counts a second time.
    """
    rules = reference.rules
    patterns = count_patterns(episodes, labs, rules) if patterns is None else patterns
    return (
        pl.concat(
            [
                marker_findings(episodes, labs, reference),
                diagnosis_findings(episodes, diagnoses, reference),
                _pattern_findings(episodes, patterns, patients, rules),
                _context_findings(episodes, anc, patients),
                _travel_findings(episodes, events, rules),
                _fever_findings(episodes, anc, labs, events, rules),
                _masking_findings(episodes, events, exposures),
                _literature_lines(episodes, reference),
            ],
            how="vertical",
        )
        .unique()
        .sort("episode_id", "rule_id", "category", "strength", "finding", "source")
    )


# ---- laboratory markers ---------------------------------------------------------------------------------------------


def marker_results(labs: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Every result of a marker and whether it is a finding: the columns of ``labs`` and of the marker, and ``is_found``.

    ``is_found`` is null where the text or the unit does not tell. A retracted result is left out. Words are read
    before numbers; "not detected" is negative whatever else stands there.
    """
    words = reference.rules.marker_word
    text = match_key(pl.col("value_text"))
    is_negative = text.str.contains(rf"(?:^|[^a-z])(?:{words.negative})(?:[^a-z]|$)")
    is_positive = text.str.contains(rf"(?:^|[^a-z0-9])(?:{words.positive})(?:[^a-z]|$)")
    titre = text.str.extract(r"1 ?[:/] ?([0-9]+)").cast(pl.Float64)
    value = pl.coalesce(titre, pl.col("value"))
    at_most = pl.col("comparator").is_in(["<", "<="]).fill_null(False)
    # A limit of detection is not a finding: "<20 copies/mL" may be nothing at all.
    reaches = pl.when(~at_most).then(value >= pl.coalesce("limit", "reference_high"))
    reaches_titre = pl.when(~at_most).then(value >= pl.col("limit"))
    low_limit = pl.coalesce("reference_low", "limit")
    is_below = (
        pl.when(pl.col("comparator") == "<").then(pl.when(value <= low_limit).then(True)).otherwise(value < low_limit)
    )
    named = pl.when(is_negative).then(False).otherwise(text.str.contains(pl.col("words_found")))
    by_words = pl.when(is_negative).then(False).when(is_positive | named.fill_null(False)).then(True)
    return (
        labs.filter(~pl.col("status").is_in(["cancelled", "entered_in_error"]))
        .with_columns(unit_key=match_key(pl.coalesce("unit_text", "unit")).fill_null(""))
        .join(reference.markers.lazy().drop("source"), left_on="analyte", right_on="marker", how="inner")
        .join(
            _limits(reference.markers), left_on=["analyte", "unit_key"], right_on=["marker", "limit_unit"], how="left"
        )
        .join(
            _limits(reference.markers).filter(pl.col("limit_unit") == "*").select("marker", any_limit="limit"),
            left_on="analyte",
            right_on="marker",
            how="left",
        )
        .with_columns(limit=pl.coalesce("limit", "any_limit"))
        .with_columns(
            is_found=pl.when(pl.col("test") == "done")
            .then(True)
            .when(pl.col("test") == "text")
            .then(named)
            .when(pl.col("test") == "below")
            .then(is_below)
            .when(pl.col("test") == "at_least")
            .then(pl.coalesce(reaches_titre, by_words))
            .otherwise(pl.coalesce(by_words, reaches))
        )
        .drop("unit_key", "any_limit")
    )


def marker_findings(episodes: pl.LazyFrame, labs: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """INF-1, BMP-1, PER-1, CTX-1: found markers within their window, the one nearest the first low count for each."""
    sources = reference.markers.lazy().select("marker", source_of_row="source")
    found = (
        marker_results(labs, reference)
        .filter(pl.col("is_found").fill_null(False) & pl.col("category").is_not_null())
        .select(
            "patient_id",
            "analyte",
            "label",
            "rule_id",
            "category",
            "strength",
            "days_before",
            "days_after",
            "until",
            at="collected_at",
            shown=pl.concat_str(
                pl.coalesce("value_text", pl.col("value").cast(pl.String)),
                pl.coalesce("unit_text", "unit"),
                separator=" ",
                ignore_nulls=True,
            ),
        )
        .join(sources, left_on="analyte", right_on="marker", how="left")
    )
    return (
        found.join(episodes.select(_SPAN), on="patient_id")
        .filter(_is_within_window())
        .sort((pl.col("at") - pl.col("started_at")).abs(), "at", "shown")
        .unique(["episode_id", "analyte"], keep="first", maintain_order=True)
        .select(
            "episode_id",
            "patient_id",
            "category",
            "rule_id",
            finding=pl.format("{} {} on {}", "label", "shown", pl.col("at").dt.strftime(_DAY)),
            strength="strength",
            source=pl.format("laboratory; {}", "source_of_row"),
        )
    )


def _limits(markers: pl.DataFrame) -> pl.LazyFrame:
    """``marker, limit_unit, limit``: one row per unit that a marker has a limit in."""
    pairs = (
        markers.lazy()
        .filter(pl.col("limits").is_not_null())
        .select("marker", pair=pl.col("limits").str.split(";"))
        .explode("pair")
        .with_columns(parts=pl.col("pair").str.split(":"))
    )
    return pairs.select(
        "marker", limit_unit=pl.col("parts").list.first(), limit=pl.col("parts").list.last().cast(pl.Float64)
    )


def _is_within_window() -> pl.Expr:
    """``at`` lies within the row's window of the episode: null days_before reach back without end."""
    start = pl.col("started_at").dt.date()
    last = pl.when(pl.col("until") == "start").then(start).otherwise(pl.col("last_low_at").dt.date())
    day = pl.col("at").cast(pl.Date)
    earliest = start.dt.offset_by(pl.concat_str(pl.lit("-"), pl.col("days_before").cast(pl.String), pl.lit("d")))
    latest = last.dt.offset_by(pl.concat_str(pl.col("days_after").cast(pl.String), pl.lit("d")))
    return (earliest.is_null() | (day >= earliest)) & (day <= latest)


# ---- diagnoses ------------------------------------------------------------------------------------------------------


def diagnosis_findings(episodes: pl.LazyFrame, diagnoses: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Coded diagnoses within their window; of several prefixes that fit a code the longest counts.

    A diagnosis without a date is shown as such and weighs weak: it may be later than the episode.
    """
    codes = reference.diagnosis_codes.lazy().filter(pl.col("rule_id") != "WRK-1")
    coded = coded_diagnoses(diagnoses, codes).with_columns(at=pl.col("date").cast(pl.Datetime("us")))
    undated = pl.col("date").is_null()
    return (
        coded.join(episodes.select(_SPAN), on="patient_id")
        .filter(undated | _is_within_window())
        .sort(
            pl.col("strength").replace_strict({"strong": 0, "moderate": 1, "weak": 2, "context": 3}),
            (pl.col("at") - pl.col("started_at")).abs(),
            "at",
            "code",
            nulls_last=True,
        )
        .unique(["episode_id", "rule_id", "finding"], keep="first", maintain_order=True)
        .select(
            "episode_id",
            "patient_id",
            "category",
            "rule_id",
            finding=pl.format(
                "coded {} ({} {}), {}",
                "finding",
                pl.col("system").replace({"icd10": "ICD-10", "icd9": "ICD-9", "snomed": "SNOMED", "other": "code"}),
                "code",
                pl.coalesce(pl.col("date").dt.strftime(_DAY), pl.lit("date unknown")),
            ),
            strength=pl.when(undated).then(pl.lit("weak")).otherwise("strength"),
            source=pl.format("diagnosis code; {}", "source_of_row"),
        )
    )


def coded_diagnoses(diagnoses: pl.LazyFrame, codes: pl.LazyFrame) -> pl.LazyFrame:
    """Join each diagnosis to the longest prefix of ``codes`` that its code begins with; others are left out."""
    distinct = diagnoses.select("system", "code").unique()
    longest = (
        distinct.join(codes, on="system")
        .filter(pl.col("code").str.starts_with(pl.col("prefix")))
        .sort("system", "code", pl.col("prefix").str.len_chars(), descending=[False, False, True])
        .unique(["system", "code"], keep="first", maintain_order=True)
        .rename({"source": "source_of_row"})
    )
    return diagnoses.select("patient_id", "system", "code", "date").unique().join(longest, on=["system", "code"])


# ---- patterns of the blood count ------------------------------------------------------------------------------------


def is_read(reference: CauseReference) -> pl.Expr:
    """The laboratory results that anything but ``count_patterns`` reads: markers, temperatures, manual differentials."""
    read = [*reference.markers["marker"], *_READ_BESIDE_MARKERS]
    return pl.col("analyte").is_in(read) | (pl.col("method") == "manual")


def count_patterns(episodes: pl.LazyFrame, labs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """What the other lines of the blood count did during each episode; one row per episode.

    Columns: patient_id, episode_id, has_blasts, blast_at, blast_value, n_low_lines (of haemoglobin < 100 g/L and
    platelets < 100 G/L within a day of a low ANC: 1 = bicytopenia, 2 = pancytopenia; 0 also where not measured),
    has_other_lines (haemoglobin and platelets were measured), lowest_hgb (g/dL), lowest_plt, highest_wbc (10*9/L),
    highest_mcv (fL), immature_pct. Values are null where nothing was measured.
    """
    rule = rules.pattern
    near, wide = timedelta(days=rule.same_specimen_d), timedelta(days=rule.blast_window_d)
    analytes = ("hgb", "plt", "mcv", "wbc", *_BLASTS, *_IMMATURE)
    counts = labs.filter(
        pl.col("analyte").is_in(analytes)
        & pl.col("value").is_not_null()
        & ~pl.col("status").is_in(["cancelled", "entered_in_error"])
    ).select("patient_id", "analyte", "value", at="collected_at")
    reach = max(near, wide)
    joined = counts.join(episodes.select(_SPAN), on="patient_id").filter(
        pl.col("at").is_between(pl.col("started_at") - reach, pl.col("last_low_at") + reach)
    )
    inside = pl.col("at").is_between(pl.col("started_at") - near, pl.col("last_low_at") + near)
    analyte = pl.col("analyte")

    def only(name: str) -> pl.Expr:
        return pl.col("value").filter((analyte == name) & inside)

    blasts = (
        analyte.is_in(_BLASTS)
        & (pl.col("value") > rule.blasts_above)
        & pl.col("at").is_between(pl.col("started_at") - wide, pl.col("last_low_at") + wide)
    )
    by_specimen = (
        joined.filter(analyte.is_in(_IMMATURE) & inside)
        .group_by("patient_id", "episode_id", "at")
        .agg(immature_pct=pl.col("value").sum())
        .group_by("patient_id", "episode_id")
        .agg(pl.col("immature_pct").max())
    )
    measured = joined.group_by("patient_id", "episode_id").agg(
        has_blasts=blasts.any(),
        blast_at=pl.col("at").filter(blasts).min(),
        blast_analyte=analyte.filter(blasts).sort_by(pl.col("at").filter(blasts), analyte.filter(blasts)).first(),
        blast_value=pl.col("value")
        .filter(blasts)
        .sort_by(pl.col("at").filter(blasts), analyte.filter(blasts), pl.col("value").filter(blasts))
        .first(),
        lowest_hgb=only("hgb").min(),
        lowest_plt=only("plt").min(),
        highest_wbc=only("wbc").max(),
        highest_mcv=only("mcv").max(),
    )
    return (
        episodes.select("patient_id", "episode_id")
        .join(measured, on=["patient_id", "episode_id"], how="left")
        .join(by_specimen, on=["patient_id", "episode_id"], how="left")
        .with_columns(
            pl.col("has_blasts").fill_null(False),
            n_low_lines=(pl.col("lowest_hgb") < rule.haemoglobin_below_g_per_dl).fill_null(False).cast(pl.Int64)
            + (pl.col("lowest_plt") < rule.platelets_below_giga_per_l).fill_null(False).cast(pl.Int64),
            has_other_lines=pl.col("lowest_hgb").is_not_null() & pl.col("lowest_plt").is_not_null(),
        )
        .sort("episode_id")
    )


def _pattern_findings(
    episodes: pl.LazyFrame, patterns: pl.LazyFrame, patients: pl.LazyFrame, rules: CauseRules
) -> pl.LazyFrame:
    rule = rules.pattern
    births = patients.select("patient_id", "birth_date").unique("patient_id", keep="first", maintain_order=True)
    cases = episodes.join(patterns, on=["patient_id", "episode_id"], how="left").join(
        births, on="patient_id", how="left"
    )
    lines = pl.concat_str(
        pl.when(pl.col("lowest_hgb") < rule.haemoglobin_below_g_per_dl).then(
            pl.format("haemoglobin {} g/dL", pl.col("lowest_hgb").round(1))
        ),
        pl.when(pl.col("lowest_plt") < rule.platelets_below_giga_per_l).then(
            pl.format("platelets {} G/L", pl.col("lowest_plt").round(0).cast(pl.Int64))
        ),
        separator=", ",
        ignore_nulls=True,
    )
    declined_d = (pl.col("nadir_at") - pl.col("last_normal_at")).dt.total_days()
    low_d = (pl.col("last_low_at") - pl.col("started_at")).dt.total_days()
    days_below = pl.col("days_moderate") + pl.col("days_severe") + pl.col("days_profound")
    is_macrocytic = pl.col("highest_mcv") > rule.mcv_above_fl
    is_slow = ((declined_d >= rule.slow_decline_d) | (low_d >= rule.slow_decline_d)).fill_null(False)
    age_d = (pl.col("started_at").dt.date() - pl.col("birth_date")).dt.total_days()
    is_severe = pl.col("worst_severity") >= pl.lit("severe")
    is_stable = (
        (low_d >= rule.stable_d)
        & (pl.col("nadir_cells_per_ul") >= rule.stable_from_cells_per_ul)
        & (pl.col("lowest_plt") < rule.stable_platelets_below_giga_per_l)
        & ~pl.col("has_blasts")
        & ~is_macrocytic.fill_null(False)
    )
    is_aplastic = (
        (pl.col("nadir_cells_per_ul") < rule.aplastic_below_cells_per_ul)
        & (pl.col("lowest_plt") < rule.aplastic_platelets_below_giga_per_l)
        & (pl.col("n_low_lines") > 1)
        & ~pl.col("has_blasts")
    )
    found: list[tuple[str, str, str, pl.Expr, pl.Expr]] = [
        (
            "MAL-1",
            "haematologic malignancy",
            "strong",
            pl.col("has_blasts"),
            pl.format(
                "blasts {} {} on {}",
                pl.col("blast_value"),
                pl.when(pl.col("blast_analyte").str.ends_with("_pct")).then(pl.lit("%")).otherwise(pl.lit("G/L")),
                pl.col("blast_at").dt.strftime(_DAY),
            ),
        ),
        (
            "MAL-1",
            "haematologic malignancy",
            "moderate",
            pl.col("n_low_lines") > 1,
            pl.format("pancytopenia: {}", lines),
        ),
        ("MAL-1", "haematologic malignancy", "weak", pl.col("n_low_lines") == 1, pl.format("bicytopenia: {}", lines)),
        (
            "MAL-1",
            "haematologic malignancy",
            "moderate",
            is_macrocytic & is_slow,
            pl.format("macrocytosis (MCV {} fL) with slow decline", pl.col("highest_mcv").round(0).cast(pl.Int64)),
        ),
        (
            "MAL-1",
            "haematologic malignancy",
            "moderate",
            pl.col("highest_wbc") > rule.white_cells_above_giga_per_l,
            pl.format("white cells {} G/L with a low neutrophil count", pl.col("highest_wbc").round(1)),
        ),
        (
            "MAL-1",
            "haematologic malignancy",
            "weak",
            pl.col("immature_pct") > rule.immature_above_pct,
            pl.format("circulating immature cells {} %", pl.col("immature_pct").round(1)),
        ),
        (
            "MAL-1",
            "haematologic malignancy",
            "weak",
            (days_below >= rule.persistent_below_d)
            & (pl.col("nadir_cells_per_ul") < rule.persistent_below_cells_per_ul),
            pl.format(
                "ANC below {} cells/uL for {} days",
                pl.lit(round(rule.persistent_below_cells_per_ul)),
                days_below.round(0).cast(pl.Int64),
            ),
        ),
        (
            "BMP-1",
            "marrow production",
            "moderate",
            is_severe & (age_d <= rule.congenital_age_d) & pl.col("last_normal_at").is_null(),
            pl.format("severe from infancy: first low count at {} days of age, none normal before", age_d),
        ),
        (
            "BMP-1",
            "marrow production",
            "moderate",
            is_aplastic,
            pl.format(
                "aplastic pattern: {}, lowest ANC {} cells/uL, no blasts",
                lines,
                pl.col("nadir_cells_per_ul").round(0).cast(pl.Int64),
            ),
        ),
        (
            "PER-1",
            "peripheral destruction",
            "weak",
            is_stable,
            pl.format(
                "mild stable pattern: ANC not below {} cells/uL in {} days, platelets {} G/L",
                pl.col("nadir_cells_per_ul").round(0).cast(pl.Int64),
                low_d,
                pl.col("lowest_plt").round(0).cast(pl.Int64),
            ),
        ),
        (
            "CYC-1",
            "cyclic",
            "strong",
            pl.col("is_cyclic"),
            pl.format("cyclic pattern with a period of {} days", pl.col("cycle_days").round(1)),
        ),
        (
            "CTX-1",
            "benign context",
            "moderate",
            pl.col("is_isolated_low"),
            pl.lit("one low value between normal ones within a week: possible artefact"),
        ),
    ]
    return pl.concat(
        _lines(cases.filter(condition.fill_null(False)), rule_id, category, strength, finding, "blood count; RULES.md")
        for rule_id, category, strength, condition, finding in found
    )


def _lines(
    cases: pl.LazyFrame, rule_id: str, category: str, strength: str, finding: pl.Expr, source: str
) -> pl.LazyFrame:
    return cases.select(
        "episode_id",
        "patient_id",
        category=pl.lit(category),
        rule_id=pl.lit(rule_id),
        finding=finding,
        strength=pl.lit(strength),
        source=pl.lit(f"{source} {rule_id}"),
    )


def _context_findings(episodes: pl.LazyFrame, anc: pl.LazyFrame, patients: pl.LazyFrame) -> pl.LazyFrame:
    """CTX-1: recorded Duffy-null, and counts within the personal range."""
    recorded = patients.filter(pl.col("duffy_null").fill_null(False)).select("patient_id").unique()
    duffy = _lines(
        episodes.join(recorded, on="patient_id", how="semi"),
        "CTX-1",
        "benign context",
        "moderate",
        pl.lit("recorded Duffy-null: a lower count is usual"),
        "patient record; RULES.md",
    )
    within = (
        anc.filter(pl.col("severity_in_context") == "within_personal_range")
        .select("patient_id", "collected_at")
        .join(episodes.select(_SPAN), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .group_by("episode_id", "patient_id")
        .agg(n=pl.len())
    )
    personal = _lines(
        within,
        "CTX-1",
        "benign context",
        "moderate",
        pl.format("{} of the low counts within the personal range", pl.col("n")),
        "blood count; RULES.md",
    )
    return pl.concat([duffy, personal])


def _travel_findings(episodes: pl.LazyFrame, events: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """INF-1: travel in the year before, as context for malaria, dengue and typhoid."""
    window = timedelta(days=rules.pattern.travel_window_d)
    travelled = (
        events.filter(pl.col("event") == "travel")
        .select("patient_id", "occurred_at", "detail")
        .join(episodes.select(_SPAN), on="patient_id")
        .filter(pl.col("occurred_at").is_between(pl.col("started_at") - window, pl.col("last_low_at")))
        .sort("occurred_at", "detail", descending=True, nulls_last=True)
        .unique("episode_id", keep="first", maintain_order=True)
    )
    return _lines(
        travelled,
        "INF-1",
        "infection",
        "context",
        pl.format(
            "travel ({}) recorded on {}",
            pl.col("detail").fill_null("region not recorded"),
            pl.col("occurred_at").dt.strftime(_DAY),
        ),
        "event; RULES.md",
    )


# ---- fever ----------------------------------------------------------------------------------------------------------


def temperatures(labs: pl.LazyFrame, events: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """All readable body temperatures: patient_id, at, celsius. A number above 45 is taken as Fahrenheit; a number that
    is no body temperature in either scale is left out."""
    rule = rules.fever
    number = pl.col("detail").str.extract(_NUMBER).str.replace(",", ".").cast(pl.Float64)
    told = events.filter(pl.col("event") == "temperature").select("patient_id", at="occurred_at", read=number)
    measured = labs.filter(
        (pl.col("analyte") == "temp_c") & ~pl.col("status").is_in(["cancelled", "entered_in_error"])
    ).select("patient_id", at="collected_at", read="value")
    is_fahrenheit = (pl.col("read") > rule.highest_plausible_c) & (pl.col("read") <= rule.highest_plausible_f)
    return (
        pl.concat([told, measured])
        .with_columns(celsius=pl.when(is_fahrenheit).then((pl.col("read") - 32) * 5 / 9).otherwise("read").round(2))
        .filter(pl.col("celsius").is_between(rule.lowest_plausible_c, rule.highest_plausible_c))
        .select("patient_id", "at", "celsius")
        .sort("patient_id", "at", "celsius")
    )


def febrile_neutropenia(
    anc: pl.LazyFrame,
    labs: pl.LazyFrame,
    events: pl.LazyFrame,
    rules: CauseRules,
    expected_severe: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """FEV-1 per specimen, with the columns of ``Flag`` (episode_id null): one flag for each count that it holds for.

    Fever is 38.3 degrees once, or 38.0 or more in readings that reach over an hour without a lower one between, within
    24 h of an ANC < 500. ``expected_severe`` (patient_id, specimen_id) adds counts expected below 500 within 48 h.
    """
    rule = rules.fever
    window = timedelta(hours=rule.window_h)
    severe = (pl.col("anc_cells_per_ul") < rule.below_cells_per_ul) | (
        (pl.col("anc_cells_per_ul") == rule.below_cells_per_ul) & (pl.col("anc_comparator") == "<").fill_null(False)
    )
    at_risk = anc.filter(severe & ~pl.col("anc_comparator").is_in([">", ">="]).fill_null(False))
    if expected_severe is not None:
        expected = anc.join(expected_severe, on=["patient_id", "specimen_id"], how="semi")
        at_risk = pl.concat([at_risk, expected]).unique(["patient_id", "specimen_id"], keep="first")
    fevers = _fevers(temperatures(labs, events, rules), rules)
    return (
        at_risk.select("patient_id", "specimen_id", "collected_at", "anc_cells_per_ul", "anc_comparator")
        .join(fevers, on="patient_id")
        .filter(pl.col("at").is_between(pl.col("collected_at") - window, pl.col("collected_at") + window))
        .sort(
            "patient_id", "collected_at", "specimen_id", "celsius", "at", descending=[False, False, False, True, False]
        )
        .unique(["patient_id", "specimen_id"], keep="first", maintain_order=True)
        .select(
            "patient_id",
            "specimen_id",
            episode_id=pl.lit(None, pl.String),
            rule_id=pl.lit("FEV-1"),
            raised_at="collected_at",
            reason=pl.format(
                "fever of {} degrees Celsius within {} h of an ANC of {} cells/uL",
                pl.col("celsius").round(1),
                pl.lit(round(rule.window_h)),
                pl.concat_str(
                    pl.col("anc_comparator").fill_null(""), pl.col("anc_cells_per_ul").round(0).cast(pl.Int64)
                ),
            ),
            evidence=pl.struct(
                specimen_id="specimen_id",
                collected_at=pl.col("collected_at").dt.strftime("%Y-%m-%dT%H:%M:%S"),
                anc_cells_per_ul="anc_cells_per_ul",
                temperature_at=pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S"),
                celsius="celsius",
            ).struct.json_encode(),
        )
        .select(list(Flag.to_schema().columns))
    )


def _fevers(readings: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """Readings that are fever: once high enough, or the later one of a run at 38.0 that reaches over an hour."""
    rule = rules.fever
    warm = pl.col("celsius") >= rule.sustained_c
    return (
        readings.sort("patient_id", "at", "celsius")
        .with_columns(
            run=(warm != warm.shift(1)).fill_null(True).cum_sum().over("patient_id", order_by=["at", "celsius"])
        )
        .with_columns(lasted=pl.col("at") - pl.col("at").min().over("patient_id", "run"))
        .filter(
            (pl.col("celsius") >= rule.once_c)
            | ((pl.col("celsius") >= rule.sustained_c) & (pl.col("lasted") >= timedelta(hours=rule.sustained_h)))
        )
        .select("patient_id", "at", "celsius")
    )


def _fever_findings(
    episodes: pl.LazyFrame, anc: pl.LazyFrame, labs: pl.LazyFrame, events: pl.LazyFrame, rules: CauseRules
) -> pl.LazyFrame:
    window = timedelta(hours=rules.fever.window_h)
    severe = episodes.filter(pl.col("worst_severity") >= pl.lit("severe"))
    spans = severe.select(_SPAN)
    febrile = (
        febrile_neutropenia(anc, labs, events, rules)
        .select("patient_id", "raised_at", "reason")
        .join(spans, on="patient_id")
        .filter(pl.col("raised_at").is_between("started_at", "last_low_at"))
        .sort("episode_id", "raised_at", "reason")
        .unique("episode_id", keep="first", maintain_order=True)
    )
    low = (
        anc.filter(pl.col("severity") >= pl.lit("severe"))
        .select("patient_id", low_at="collected_at")
        .join(spans, on="patient_id")
        .filter(pl.col("low_at").is_between("started_at", "last_low_at"))
    )
    highest = (
        low.join(temperatures(labs, events, rules), on="patient_id")
        .filter(pl.col("at").is_between(pl.col("low_at") - window, pl.col("low_at") + window))
        .group_by("episode_id", "patient_id")
        .agg(celsius=pl.col("celsius").max())
        .join(febrile, on="episode_id", how="anti")
    )
    without = severe.join(
        pl.concat([highest.select("episode_id"), febrile.select("episode_id")]), on="episode_id", how="anti"
    )
    return pl.concat(
        [
            _lines(
                febrile,
                "FEV-1",
                "fever",
                "strong",
                pl.format("febrile neutropenia: {} ({})", "reason", pl.col("raised_at").dt.strftime(_DAY)),
                "temperature; RULES.md",
            ),
            _lines(
                highest,
                "FEV-1",
                "fever",
                "context",
                pl.format("highest temperature near a severe count {} degrees Celsius", pl.col("celsius").round(1)),
                "temperature; RULES.md",
            ),
            _lines(
                without,
                "FEV-1",
                "fever",
                "context",
                pl.lit("fever unknown: no temperature near the severe counts in this extract"),
                "RULES.md",
            ),
        ]
    )


# ---- masking and literature -----------------------------------------------------------------------------------------


def _masking_findings(episodes: pl.LazyFrame, events: pl.LazyFrame, exposures: pl.LazyFrame) -> pl.LazyFrame:
    """MASK-1: drugs that raise the count, acting between the last normal count before the episode and its end."""
    spans = episodes.select(
        *_SPAN,
        opens=pl.coalesce("last_normal_at", "started_at").dt.date(),
        closes=pl.coalesce("ended_at", "last_low_at").dt.date(),
    )
    acts_to = pl.col("last_exposure").dt.offset_by(pl.concat_str(pl.col("mask_d").cast(pl.String), pl.lit("d")))
    given = (
        exposures.filter("is_confounder")
        .join(spans, on="patient_id")
        .filter(pl.col("first_exposure") <= pl.col("closes"))
        .filter(acts_to.is_null() | (acts_to >= pl.col("opens")))
        .group_by("episode_id", "patient_id", "ingredient", "effect")
        .agg(
            first=pl.col("first_exposure").min(),
            last=pl.when(pl.col("last_exposure").is_null().any()).then(None).otherwise(pl.col("last_exposure").max()),
        )
    )
    told = (
        events.filter(pl.col("event") == "growth_factor")
        .select("patient_id", day=pl.col("occurred_at").dt.date())
        .join(spans, on="patient_id")
        .filter(pl.col("day").is_between("opens", "closes"))
        .group_by("episode_id", "patient_id")
        .agg(first=pl.col("day").min())
    )
    says = pl.col("effect").replace_strict(
        {
            "raises_anc": "raises the count: depth and duration may be hidden, a normal count may be masked",
            "may_raise_anc": "may raise the count",
            "protects": "protects the marrow: recovery may be its effect",
        },
        default=None,
    )
    return pl.concat(
        [
            _lines(
                given,
                "MASK-1",
                "masking",
                "context",
                pl.format(
                    "{} given from {} {}: {}",
                    "ingredient",
                    pl.col("first").dt.strftime(_DAY),
                    pl.coalesce(pl.format("to {}", pl.col("last").dt.strftime(_DAY)), pl.lit("on")),
                    says,
                ),
                "medication list; RULES.md",
            ),
            _lines(
                told,
                "MASK-1",
                "masking",
                "context",
                pl.format("growth factor given on {}: raises the count", pl.col("first").dt.strftime(_DAY)),
                "event; RULES.md",
            ),
        ]
    )


def _literature_lines(episodes: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Population figures for a nadir of this depth: literature, never this patient's risk."""
    nadir = pl.col("nadir_cells_per_ul")
    return (
        episodes.select("episode_id", "patient_id", "nadir_cells_per_ul")
        .join(reference.literature.lazy(), how="cross")
        .filter((nadir >= pl.col("from_cells_per_ul")) & (nadir < pl.col("below_cells_per_ul")))
        .select(
            "episode_id",
            "patient_id",
            "category",
            "rule_id",
            finding=pl.format("literature, not this patient's risk: {}", "statement"),
            strength=pl.lit("context"),
            source=pl.format("literature: {}", "source"),
        )
    )

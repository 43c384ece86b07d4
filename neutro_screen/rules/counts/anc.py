"""One absolute neutrophil count per specimen, with the route it was obtained by (RULES.md section 1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import polars as pl

from neutro_schemas import RETRACTED_STATUSES
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.counts.specimens import SPECIMEN, keep_counting_versions

#: Analytes that the count is computed from; every other class of the differential only enters its sum.
_INGREDIENTS: Final = (
    "wbc",
    "wbc_nrbc_corrected",
    "neut_abs",
    "seg_abs",
    "band_abs",
    "gran_abs",
    "neut_pct",
    "seg_pct",
    "band_pct",
)
#: Nucleated red cells per 100 white cells: an analyser that counts them as white cells reports too many of those.
_NRBC: Final = "nrbc_per100wbc"
_NEUTROPHILS: Final = ("neut_abs", "seg_abs", "band_abs", "neut_pct", "seg_pct", "band_pct")
#: The columns of ``LabResult`` that the count is made from.
READ: Final = (
    *SPECIMEN,
    "collected_at",
    "resulted_at",
    "analyte",
    "method",
    "value",
    "comparator",
    "unit",
    "status",
    "reference_low",
    "lab",
    "notes",
    "source_file",
    "source_row",
)
#: What is told of each count; the other columns are working.
_TOLD: Final = (
    *SPECIMEN,
    "collected_at",
    "resulted_at",
    "lab",
    "reference_low",
    "anc_cells_per_ul",
    "anc_comparator",
    "anc_method",
    "notes",
    "wbc",
    "wbc_comparator",
    "neut_pct",
    "seg_pct",
    "seg_abs",
    "neut_abs",
    "neut_abs_manual",
    "segs_and_bands",
    "segs_and_bands_manual",
    "from_percent",
    "from_percent_manual",
    "chosen_manual",
)


@dataclass(frozen=True)
class Counted:
    """``anc``: one row per specimen that a count could be told of, sorted by specimen; ``not_counted``: the other specimens with any
    result that feeds the ANC, and why not; ``contradicted``: results that the rest of their specimen refutes
    (patient_id, specimen_id, analyte, is_manual, reason), which were left out of the count; ``taken_back``: specimens
    with a cancelled or withdrawn result (and collected_at, reason)."""

    anc: pl.DataFrame
    not_counted: pl.DataFrame
    contradicted: pl.DataFrame
    taken_back: pl.DataFrame

    def missing(self) -> pl.DataFrame:
        """What leaves a count unknown unless a usable one follows: patient_id, specimen_id, reason, since (ANC-9b)."""
        specimens = pl.concat(frame.select(*SPECIMEN, "collected_at") for frame in (self.anc, self.not_counted))
        refuted = self.contradicted.join(specimens, on=SPECIMEN, how="inner")
        return pl.concat(
            frame.select(*SPECIMEN, "reason", since="collected_at")
            for frame in (self.not_counted, refuted, self.taken_back)
        )


def count_neutrophils(results: pl.DataFrame, reference: Reference, policy: Policy) -> Counted:
    """Compute the ANC in cells/uL of every specimen of the accepted results (``READ`` of ``LabResult``), ANC-1 ... ANC-11."""
    feeding = reference.analytes.filter(pl.col("feeds_anc") | pl.col("in_differential") | (pl.col("analyte") == _NRBC))[
        "analyte"
    ]
    read = results.select(READ).filter(pl.col("analyte").is_in(feeding.implode()))
    counting = keep_counting_versions(read, policy)
    wide = with_specimen_columns(counting, reference).pipe(_with_routes, policy).pipe(_with_history_check, policy)
    contradicted = _contradicted(wide)
    chosen = (
        wide.pipe(_without_contradicted)
        .pipe(_with_choice, reference)
        .pipe(_with_bounds, policy)
        .pipe(_with_notes, policy)
    )
    has_count = pl.col("anc_cells_per_ul").is_not_null()
    return Counted(
        anc=chosen.select(_TOLD).filter(has_count),
        not_counted=chosen.filter(~has_count & pl.col("has_feeding")).select(
            *SPECIMEN,
            "collected_at",
            reason=pl.when(pl.col("is_all_zero"))
            .then(pl.lit("differential_all_zero"))
            .when(pl.col("wbc") < policy.anc.wbc_low_below_cells_per_ul)
            .then(pl.lit("wbc_low_no_differential"))
            .when(pl.col("wbc").is_not_null())
            .then(pl.lit("no_differential"))
            .otherwise(pl.lit("no_white_cell_count")),
        ),
        contradicted=contradicted.sort(*SPECIMEN, "analyte", "is_manual"),
        taken_back=_taken_back(results, reference),
    )


def _taken_back(results: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Specimens with a cancelled or withdrawn result that feeds the ANC; the reason says which."""
    feeding = reference.analytes.filter("feeds_anc")["analyte"]
    return (
        results.filter(pl.col("status").is_in(RETRACTED_STATUSES) & pl.col("analyte").is_in(feeding.implode()))
        .group_by(SPECIMEN)
        .agg(
            pl.col("collected_at").min(),
            reason=pl.when((pl.col("status") == "cancelled").any())
            .then(pl.lit("cancelled"))
            .otherwise(pl.lit("result_withdrawn")),
        )
        .sort(SPECIMEN)
    )


def _with_history_check(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Contradict a reported count that is so many times the lowest of the days before that the unit must have changed
    (ANC-9: the patient's history). Only the few patients with such a range are looked at.

    A low count is never refused for what was before it: a fall from 5,000 to 50 cells/uL is an agranulocytosis. What its
    own specimen refutes and what is known as "more than" says nothing of how low the patient was.
    """
    rule = policy.unit_check
    floor = pl.lit(rule.history_floor_cells_per_ul)
    counts = wide.lazy().filter(pl.col("neut_abs").is_not_null() & pl.col("contradiction").is_null())
    is_lower_bound = pl.col("neut_abs_comparator").str.starts_with(">").fill_null(False)
    low = pl.when(~is_lower_bound).then("neut_abs")
    lowest = pl.max_horizontal(low.min(), floor)
    wide_ranging = (
        counts.group_by("patient_id")
        .agg(is_wide=pl.col("neut_abs").max() >= lowest * rule.history_ratio)
        .filter("is_wide")
        .collect()
    )
    if not wide_ranging.height:
        return wide
    before = pl.col("low").rolling_min_by("collected_at", f"{rule.history_within_d}d", closed="left")
    beyond = (
        counts.collect()
        .join(wide_ranging.select("patient_id"), on="patient_id", how="semi")
        .sort("patient_id", "collected_at", "specimen_id")
        .with_columns(low=low)
        .with_columns(before=before.over("patient_id"))
        .filter(
            pl.col("neut_abs_comparator").is_null(),
            pl.col("neut_abs") >= pl.max_horizontal("before", floor) * rule.history_ratio,
            pl.col("before").is_not_null(),
        )
        .select(*SPECIMEN, is_beyond_history=pl.lit(True))
    )
    return (
        wide.join(beyond, on=SPECIMEN, how="left", maintain_order="left")
        .with_columns(
            contradiction=pl.when("is_beyond_history").then(pl.lit("unit_suspect")).otherwise("contradiction")
        )
        .drop("is_beyond_history")
    )


def with_specimen_columns(counting: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """One row per specimen: each ingredient in cells/uL or percent, manual ones as ``<analyte>_manual``.

    ``others`` and ``others_manual`` are the sums of the remaining classes of the differential in percent, with
    ``n_others``; ``<analyte>_comparator`` is there for every ingredient.
    """
    others = reference.analytes.filter(pl.col("in_differential") & ~pl.col("analyte").is_in(_NEUTROPHILS))["analyte"]
    feeding = reference.analytes.filter("feeds_anc")["analyte"]
    scale = pl.when(pl.col("unit") == "10*9/L").then(1000.0).otherwise(1.0)
    cells = counting.lazy().with_columns(
        value=(pl.col("value") * scale).round_sig_figs(15), is_other=pl.col("analyte").is_in(others.implode())
    )
    wide = (
        cells.group_by(SPECIMEN)
        .agg(
            *_values(_INGREDIENTS, manual=False),
            nrbc=pl.when(pl.col("analyte") == _NRBC).then("value").max(),
            collected_at=pl.col("collected_at").min(),
            resulted_at=pl.col("resulted_at").max(),
            lab=pl.col("lab").min(),
            reference_low=(pl.when(pl.col("analyte") == "neut_abs").then("reference_low") * 1000.0).max(),
            has_feeding=pl.col("analyte").is_in(feeding.implode()).any(),
            has_conflict=pl.col("conflict").any(),
            is_preliminary=(pl.col("status") == "preliminary").any(),
        )
        .collect()
        .sort(SPECIMEN)
    )
    # What few specimens have is looked for in their rows only, and joined to the others by the eager join, which
    # leaves the many columns where they are.
    by_hand = cells.filter("is_manual").group_by(SPECIMEN).agg(_values(_NEUTROPHILS, manual=True))
    censored = (
        cells.filter(pl.col("comparator").is_not_null())
        .group_by(SPECIMEN)
        .agg(
            _only(analyte, manual, "comparator").max().alias(f"{_column(analyte, manual)}_comparator")
            for analyte, manual in _pairs()
        )
    )
    notes = (
        cells.filter(pl.col("notes").is_not_null())
        .group_by(SPECIMEN)
        .agg(row_notes=pl.col("notes").str.split(", ").explode().unique().sort().str.join(", "))
    )
    for part in (by_hand, censored, notes):
        wide = wide.join(part.collect(), on=SPECIMEN, how="left", maintain_order="left")
    return wide.with_columns(pl.col("others_manual", "n_others_manual").fill_null(0))


def _pairs() -> Iterable[tuple[str, bool]]:
    return [(analyte, False) for analyte in _INGREDIENTS] + [(analyte, True) for analyte in _NEUTROPHILS]


def _values(analytes: Iterable[str], *, manual: bool) -> Iterable[pl.Expr]:
    """The value of each analyte, and sum and number of the other classes of the same differential."""
    is_other = pl.col("is_other") & (pl.col("is_manual") == manual)
    return [
        *(_only(analyte, manual, "value").max().alias(_column(analyte, manual)) for analyte in analytes),
        # Rounded: a sum of floats differs in its last digit with the order of the rows.
        pl.when(is_other).then("value").sum().round_sig_figs(15).alias(f"others{_suffix(manual)}"),
        is_other.sum().alias(f"n_others{_suffix(manual)}"),
    ]


def _suffix(manual: bool) -> str:
    return "_manual" if manual else ""


def _column(analyte: str, manual: bool) -> str:
    return f"{analyte}{_suffix(manual)}"


def _only(analyte: str, manual: bool, column: str) -> pl.Expr:
    is_wanted = pl.col("analyte") == analyte
    if analyte in _NEUTROPHILS:
        is_wanted &= pl.col("is_manual") == manual
    return pl.when(is_wanted).then(column)


def _with_routes(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add every route of ANC-3 that can be computed, for the automated and the manual differential."""
    is_uncorrected = pl.col("wbc_nrbc_corrected").is_null() & (pl.col("nrbc") > policy.anc.nrbc_above_per_100_wbc)
    wide = wide.with_columns(
        wbc=pl.when(is_uncorrected)
        .then((pl.col("wbc") * 100 / (100 + pl.col("nrbc"))).round_sig_figs(policy.anc.significant_digits))
        .otherwise(pl.coalesce("wbc_nrbc_corrected", "wbc")),
        wbc_as_reported=pl.coalesce("wbc_nrbc_corrected", "wbc"),
        is_wbc_corrected=(is_uncorrected & pl.col("wbc").is_not_null()).fill_null(False),
        wbc_comparator=pl.when(pl.col("wbc_nrbc_corrected").is_not_null())
        .then("wbc_nrbc_corrected_comparator")
        .otherwise("wbc_comparator"),
        # Bands are often counted by hand beside an automated differential.
        band_pct=pl.coalesce("band_pct", "band_pct_manual"),
        band_pct_comparator=pl.coalesce("band_pct_comparator", "band_pct_manual_comparator"),
        others=pl.when(pl.col("n_others") > 0).then("others").otherwise("others_manual"),
        n_others=pl.when(pl.col("n_others") > 0).then("n_others").otherwise("n_others_manual"),
    )
    for manual in (False, True):
        end = _suffix(manual)
        percent, incomplete = _neutrophil_percent(end, policy)
        wide = wide.with_columns(
            pl.when(_is_in_fractions(end, policy)).then(pl.lit("unit_suspect")).alias(f"contradiction_percent{end}"),
            percent.alias(f"percent{end}"),
            incomplete.alias(f"is_incomplete{end}"),
            (pl.col(f"seg_abs{end}") + pl.col(f"band_abs{end}").fill_null(0))
            .round_sig_figs(policy.anc.significant_digits)
            .alias(f"segs_and_bands{end}"),
            _sum_comparator(f"seg_abs{end}", f"band_abs{end}").alias(f"segs_and_bands{end}_comparator"),
        )
        wide = wide.with_columns(
            (pl.col("wbc") * pl.col(f"percent{end}") / 100)
            .round_sig_figs(policy.anc.significant_digits)
            .alias(f"from_percent{end}"),
            _product_comparator(end).alias(f"from_percent{end}_comparator"),
        ).with_columns(
            pl.when(pl.col(f"from_percent{end}_comparator").ne_missing("?")).then(f"from_percent{end}").name.keep()
        )
    computed = pl.coalesce("from_percent", "segs_and_bands", "from_percent_manual")
    ratio = pl.col("neut_abs") / computed
    exact = pl.col("neut_abs_comparator").is_null() & pl.col("wbc_comparator").is_null()
    return wide.with_columns(
        is_all_zero=_is_all_zero(),
        contradiction=pl.when(
            exact
            & (computed > 0)
            & ((ratio >= policy.unit_check.product_ratio) | (ratio <= 1 / policy.unit_check.product_ratio))
            & (pl.col("neut_abs") > 0)
        )
        .then(pl.lit("unit_suspect"))
        .when(pl.col("wbc").is_null() & (pl.col("neut_abs") >= policy.unit_check.alone_below_g_per_l * 1000))
        .then(pl.lit("unit_suspect"))
        .when(exact & (pl.col("neut_abs") > pl.col("wbc_as_reported") * policy.anc.highest_fraction_of_wbc))
        .then(pl.lit("anc_exceeds_wbc")),
        contradiction_manual=pl.when(
            pl.col("neut_abs_manual_comparator").is_null()
            & pl.col("wbc_comparator").is_null()
            & (pl.col("neut_abs_manual") > pl.col("wbc_as_reported") * policy.anc.highest_fraction_of_wbc)
        ).then(pl.lit("anc_exceeds_wbc")),
    )


def _neutrophil_percent(end: str, policy: Policy) -> tuple[pl.Expr, pl.Expr]:
    """Percent of neutrophils with the bands where they belong (ANC-4); and whether that could not be told."""
    neut, seg, band, others = (pl.col(f"{name}{end}") for name in ("neut_pct", "seg_pct", "band_pct", "others"))
    low, high = policy.anc.differential_sum_low_pct, policy.anc.differential_sum_high_pct
    without, with_bands = neut + others, neut + band + others
    sums_without, sums_with = without.is_between(low, high), with_bands.is_between(low, high)
    closer_with = (with_bands - 100).abs() < (without - 100).abs()
    add_bands = sums_with & (~sums_without | closer_with)
    percent = (
        pl.when(add_bands.fill_null(False))
        .then(neut + band)
        .when(neut.is_not_null())
        .then(neut)
        .otherwise(seg + band.fill_null(0))
    )
    undecided = neut.is_not_null() & (band > 0) & ~sums_with & ~sums_without
    is_usable = ~_is_all_zero(end) & ~_is_in_fractions(end, policy)
    return pl.when(is_usable).then(percent), undecided.fill_null(False)


def _is_in_fractions(end: str, policy: Policy) -> pl.Expr:
    """The classes of the differential sum to 1, not to 100: fractions labelled per cent."""
    low, high = policy.anc.differential_sum_low_pct / 100, policy.anc.differential_sum_high_pct / 100
    neut, seg, band, others = (pl.col(f"{name}{end}") for name in ("neut_pct", "seg_pct", "band_pct", "others"))
    segmented = pl.coalesce(neut, seg)
    sums = (segmented + others, segmented + band + others)
    is_one = pl.any_horizontal(total.is_between(low, high).fill_null(False) for total in sums)
    return is_one & (pl.col(f"n_others{end}") > 0)


def _is_all_zero(end: str = "") -> pl.Expr:
    """Zero neutrophils beside a differential of nothing but zeros are a missing count, not an agranulocytosis."""
    own = [pl.col(f"{name}{end}") for name in ("neut_pct", "seg_pct", "band_pct")]
    nothing_counted = pl.sum_horizontal(*own, pl.col(f"others{end}")) == 0
    return nothing_counted & (pl.col(f"n_others{end}") > 0)


def _sum_comparator(first: str, second: str) -> pl.Expr:
    """Comparator of a sum: that of its censored part; where the parts contradict, the upper bound is what is known."""
    return pl.coalesce(f"{first}_comparator", f"{second}_comparator")


def _product_comparator(end: str) -> pl.Expr:
    """Comparator of WBC x percent; "?" where an upper bound meets a lower bound, which bounds nothing."""
    parts = [pl.col(f"{name}_comparator") for name in ("wbc", f"neut_pct{end}", f"seg_pct{end}", f"band_pct{end}")]
    is_upper = pl.any_horizontal(part.str.starts_with("<").fill_null(False) for part in parts)
    is_lower = pl.any_horizontal(part.str.starts_with(">").fill_null(False) for part in parts)
    return (
        pl.when(is_upper & is_lower).then(pl.lit("?")).when(is_upper).then(pl.lit("<")).when(is_lower).then(pl.lit(">"))
    )


def _contradicted(wide: pl.DataFrame) -> pl.DataFrame:
    analytes = {
        "contradiction": pl.lit("neut_abs"),
        "contradiction_percent": pl.when(pl.col("neut_pct").is_not_null())
        .then(pl.lit("neut_pct"))
        .otherwise(pl.lit("seg_pct")),
    }
    return pl.concat(
        wide.filter(pl.col(f"{verdict}{end}").is_not_null()).select(
            *SPECIMEN, analyte=analyte, is_manual=pl.lit(end == "_manual"), reason=pl.col(f"{verdict}{end}")
        )
        for verdict, analyte in analytes.items()
        for end in ("", "_manual")
    )


def _without_contradicted(wide: pl.DataFrame) -> pl.DataFrame:
    return wide.with_columns(
        pl.when(pl.col(f"contradiction{end}").is_null() & ~(pl.col("is_all_zero") & (pl.col(f"neut_abs{end}") == 0)))
        .then(f"neut_abs{end}")
        .alias(f"neut_abs{end}")
        for end in ("", "_manual")
    )


def _with_choice(wide: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Choose by ANC-3: reported, then segmented + bands, then WBC x percent; manual before automated."""
    routes = (("neut_abs", "reported"), ("segs_and_bands", "segs_and_bands"), ("from_percent", "wbc_percent"))
    for end in ("", "_manual"):
        value, comparator, method = (pl.lit(None, dtype) for dtype in (pl.Float64, pl.String, pl.String))
        for column, route in reversed(routes):
            has = pl.col(f"{column}{end}").is_not_null()
            value = pl.when(has).then(f"{column}{end}").otherwise(value)
            comparator = pl.when(has).then(f"{column}{end}_comparator").otherwise(comparator)
            method = pl.when(has).then(pl.lit(f"{route}{end}")).otherwise(method)
        wide = wide.with_columns(
            value.alias(f"chosen{end}"),
            comparator.alias(f"chosen{end}_comparator"),
            method.alias(f"chosen{end}_method"),
        )
    by_machine, by_hand = (
        severity(pl.col(f"chosen{end}"), pl.col(f"chosen{end}_comparator"), reference.anc_bands)
        for end in ("", "_manual")
    )
    discordant = pl.col("chosen").is_not_null() & pl.col("chosen_manual").is_not_null() & by_machine.ne_missing(by_hand)
    take_manual = pl.col("chosen_manual").is_not_null() & (
        ~discordant | (pl.col("chosen_manual") <= pl.col("chosen")).fill_null(True)
    )
    return wide.with_columns(is_discordant=discordant, take_manual=take_manual).with_columns(
        anc_cells_per_ul=pl.when("take_manual").then("chosen_manual").otherwise("chosen"),
        anc_comparator=pl.when("take_manual").then("chosen_manual_comparator").otherwise("chosen_comparator"),
        anc_method=pl.when("take_manual").then("chosen_manual_method").otherwise("chosen_method"),
    )


def _with_bounds(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Where no neutrophils were told, granulocytes or white cells bound them from above (ANC-10)."""
    none = pl.col("anc_cells_per_ul").is_null()
    wbc_bounds = (none & (pl.col("wbc") < policy.anc.wbc_bound_below_cells_per_ul)).fill_null(False)
    gran_bounds = none & pl.col("gran_abs").is_not_null() & ~(wbc_bounds & (pl.col("wbc") < pl.col("gran_abs")))
    bound = pl.when(gran_bounds).then("gran_abs").when(wbc_bounds).then("wbc")
    source = pl.when(gran_bounds).then("gran_abs_comparator").when(wbc_bounds).then("wbc_comparator")
    return wide.with_columns(
        anc_method=pl.when(gran_bounds)
        .then(pl.lit("granulocyte_upper_bound"))
        .when(wbc_bounds)
        .then(pl.lit("wbc_upper_bound"))
        .otherwise("anc_method"),
        anc_comparator=pl.when(bound.is_not_null())
        .then(pl.when(source == "<").then(pl.lit("<")).otherwise(pl.lit("<=")))
        .otherwise("anc_comparator"),
        anc_cells_per_ul=pl.coalesce("anc_cells_per_ul", bound),
    )


def _with_notes(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add ``notes``: what was unusual on the way to this count."""
    rule = policy.anc
    computed = pl.coalesce("segs_and_bands", "from_percent")
    by_hand = pl.coalesce("segs_and_bands_manual", "from_percent_manual")

    def differs(reported: pl.Expr, other: pl.Expr) -> pl.Expr:
        allowed = pl.max_horizontal(pl.lit(rule.discordant_cells_per_ul), reported * rule.discordant_fraction)
        return ((reported - other).abs() > allowed).fill_null(False)

    uses_percent = pl.col("anc_method").str.starts_with("wbc_percent")
    noted = {
        "conflicting_results": pl.col("has_conflict"),
        "wbc_corrected_for_nrbc": pl.col("is_wbc_corrected")
        & (uses_percent | (pl.col("anc_method") == "wbc_upper_bound")),
        "preliminary": pl.col("is_preliminary"),
        "differential_discordant": pl.col("is_discordant"),
        "anc_discordant": differs(pl.col("neut_abs"), computed) | differs(pl.col("neut_abs_manual"), by_hand),
        "differential_incomplete": uses_percent
        & pl.when(pl.col("take_manual")).then("is_incomplete_manual").otherwise("is_incomplete"),
        "wbc_low_no_differential": (pl.col("anc_method") == "wbc_upper_bound")
        | ((pl.col("anc_method") == "granulocyte_upper_bound") & (pl.col("wbc") < rule.wbc_low_below_cells_per_ul)),
        "censored_above_limit": pl.col("anc_comparator").is_in(["<", "<="])
        & (pl.col("anc_cells_per_ul") > rule.wbc_bound_below_cells_per_ul),
        "aged_specimen": pl.col("resulted_at") - pl.col("collected_at")
        > timedelta(hours=policy.specimen.aged_specimen_h),
    }
    return wide.with_columns(
        notes=pl.concat_str(
            *(pl.when(fired.fill_null(False)).then(pl.lit(note)) for note, fired in noted.items()),
            "row_notes",
            separator=", ",
            ignore_nulls=True,
        ).replace("", None)
    )

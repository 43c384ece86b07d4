"""Which drugs may have caused an episode, how likely, and why (DRG-1 ... DRG-4).

The score is a sum of points (``causality.toml`` [points]; proposal of DRUGS.md section 4, calibrated on the project's
simulator):

- evidence level of the drug: definite, probable or possible;
- onset: the fall came between the last normal and the first low count; this interval, counted from the first dose, the
  dose or the last dose as the drug's row says, lies inside its window, overlaps it or lies outside. Without a normal
  count before, the time is unknown, which is not a point in favour;
- exposure at the first low count, or stopped no longer ago than the drug still acts (else it is no suspect);
- baseline: the last count before the drug was normal or low;
- dechallenge: recovery after stopping, less where something else may explain it, against it while given or not at all;
- rechallenge: an earlier episode on an earlier course, or a later course tolerated;
- interaction that raises its effect; mechanism and picture fit (immune: abrupt, isolated; marrow: several lines);
- alternatives: other evidence of the episode, a drug whose expected effect it is, and a stronger drug;
- drugs known for agranulocytosis gain, drugs that everybody takes and drugs begun for the first symptoms lose.

Drugs with an expected effect (cytotoxics) have category ``expected`` and ranks of their own. A drug begun on the day of
the first low count or later cannot have begun the fall: ``excluded``, without score and rank.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas import DrugSuspect
from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules, Points

COLUMNS: Final = tuple(DrugSuspect.to_schema().columns)
_PAIR: Final = ("episode_id", "ingredient")
_DRUG: Final = ("patient_id", "ingredient")
_DAY: Final = "%Y-%m-%d"
_COMPONENTS: Final = (
    "evidence",
    "onset",
    "exposure",
    "baseline",
    "dechallenge",
    "rechallenge",
    "interaction",
    "mechanism",
    "alternatives",
    "expected_drug",
    "stronger_drug",
    "known_risk",
)
_ONSETS: Final = ("inside", "overlaps", "unknown", "outside")


def drug_suspects(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    exposures: pl.LazyFrame,
    evidence: pl.LazyFrame,
    patterns: pl.LazyFrame,
    policy: Policy,
    rules: CauseRules,
    as_of: datetime,
) -> pl.LazyFrame:
    """Every drug that may have caused or was begun during each episode, with the columns of ``DrugSuspect``, sorted.

    ``exposures`` comes from ``exposures.exposures_per_patient``, ``evidence`` from ``evidence.evidence_per_episode``,
    ``patterns`` from ``evidence.count_patterns``. Exposures that begin after ``as_of`` are plans and left out.
    """
    courses = _courses_and_episodes(episodes, exposures, as_of)
    exposed = courses.filter(~pl.col("is_after") & pl.col("was_exposed")).pipe(_with_onset)
    pairs = exposed.pipe(_with_expected_drugs).pipe(_with_recurrence).pipe(_with_tolerance, exposures, anc, as_of)
    scored = (
        pairs.sort("onset_rank", "course", descending=[False, True])
        .unique(_PAIR, keep="first", maintain_order=True)
        .pipe(_with_baseline, anc, rules)
        .pipe(_with_dechallenge, evidence, policy, rules)
        .pipe(_with_interaction, rules)
        .join(patterns.drop("patient_id"), on="episode_id", how="left")
        .join(_alternatives(evidence, rules), on="episode_id", how="left")
        .pipe(_with_points, rules)
        .pipe(_with_category, rules)
        .pipe(_with_rank)
    )
    suspects = scored.with_columns(reason=_reason(), items=_items(rules))
    excluded = (
        courses.filter(pl.col("is_after") & (pl.col("first_exposure") <= pl.col("closes")))
        .join(scored, on=_PAIR, how="anti")
        .sort("first_exposure", "course")
        .unique(_PAIR, keep="first", maintain_order=True)
        .with_columns(
            category=pl.lit("excluded"),
            score=pl.lit(None, pl.Int16),
            rank=pl.lit(None, pl.Int16),
            reason=_reason_of_exclusion(),
            items=pl.lit("{}"),
        )
    )
    order = pl.col("category").replace_strict({"expected": 1, "excluded": 2}, default=0)
    return pl.concat([part.select(COLUMNS) for part in (suspects, excluded)]).sort(
        "episode_id", order, "rank", "ingredient", nulls_last=True
    )


def _courses_and_episodes(episodes: pl.LazyFrame, exposures: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Every course of a possible cause beside every episode of its patient, with the days that matter."""
    spans = episodes.select(
        "patient_id",
        "episode_id",
        "nadir_cells_per_ul",
        "n_results",
        onset_day=pl.col("started_at").dt.date(),
        normal_day=pl.col("last_normal_at").dt.date(),
        end_day=pl.col("ended_at").dt.date(),
        last_low_day=pl.col("last_low_at").dt.date(),
        nadir_day=pl.col("nadir_at").dt.date(),
        closes=pl.coalesce("ended_at", pl.lit(as_of)).dt.date(),
    )
    stopped_d = (pl.col("onset_day") - pl.col("last_exposure")).dt.total_days()
    return (
        exposures.filter(pl.col("is_cause") & (pl.col("first_exposure") <= pl.lit(as_of.date())))
        .join(spans, on="patient_id")
        .with_columns(
            # Times of day are not known; no drug of the table works within hours.
            is_after=pl.col("first_exposure") >= pl.col("onset_day"),
            was_exposed=stopped_d.is_null() | (stopped_d <= pl.col("lag_d")),
            stopped_d=stopped_d,
            # An end in the future is a plan: today the drug is still given.
            stopped_on=pl.when(pl.col("last_exposure") < pl.lit(as_of.date())).then("last_exposure"),
        )
    )


def _with_onset(courses: pl.LazyFrame) -> pl.LazyFrame:
    """Where the onset interval lies against the window of the drug: inside, overlaps, unknown or outside."""
    from_last = pl.col("anchor") == "last_dose"
    last_dose = pl.min_horizontal(pl.col("last_exposure").fill_null(pl.col("onset_day")), "onset_day")
    earliest = pl.when(from_last).then(last_dose).otherwise("first_exposure")
    latest = pl.when(from_last).then(last_dose).otherwise(pl.max_horizontal("first_exposure", "first_exposure_latest"))
    counted = courses.with_columns(
        days_to_low=(pl.col("onset_day") - earliest).dt.total_days(),
        days_to_normal=(pl.col("normal_day") - latest).dt.total_days(),
        days_to_nadir=(pl.col("nadir_day") - earliest).dt.total_days(),
        anchor_day=earliest,
        is_start_certain=from_last | (pl.col("first_exposure") >= pl.col("first_exposure_latest")),
    )
    in_window = pl.col("days_to_low").is_between("onset_from_d", "onset_to_d")
    inside = (pl.col("days_to_normal") >= pl.col("onset_from_d")) & (pl.col("days_to_low") <= pl.col("onset_to_d"))
    overlaps = (pl.col("days_to_normal") <= pl.col("onset_to_d")) & (pl.col("days_to_low") >= pl.col("onset_from_d"))
    onset = (
        pl.when(pl.col("days_to_normal").is_null())
        .then(pl.when(in_window).then(pl.lit("unknown")).otherwise(pl.lit("outside")))
        .when(inside & pl.col("is_start_certain"))
        .then(pl.lit("inside"))
        .when(overlaps)
        .then(pl.lit("overlaps"))
        .otherwise(pl.lit("outside"))
    )
    return counted.with_columns(onset=onset).with_columns(
        onset_rank=pl.col("onset").replace_strict({name: place for place, name in enumerate(_ONSETS)})
    )


def _with_expected_drugs(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """``expected_drugs``: the drugs of the episode that lower counts as expected, in their time; null = none."""
    # After a dose a later or second fall within its lag is still its own; a drug taken for years must fit its window.
    in_time = pl.col("is_expected") & ((pl.col("anchor") == "each_dose") | (pl.col("onset") != "outside"))
    names = (
        pairs.filter(in_time)
        .group_by("episode_id")
        .agg(expected_drugs=pl.col("ingredient").unique().sort().str.join(", "))
    )
    return pairs.join(names, on="episode_id", how="left")


def _with_recurrence(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """``has_recurred``: an episode on an earlier course, at a time that fits and not explained by a cytotoxic drug."""
    counts = (
        (pl.col("anchor") == "first_exposure")
        & ~pl.col("is_expected")
        & (pl.col("onset") != "outside")
        & pl.col("expected_drugs").is_null()
    )
    first = pairs.filter(counts).group_by(_DRUG).agg(first_course=pl.col("course").min())
    return pairs.join(first, on=_DRUG, how="left").with_columns(
        has_recurred=(pl.col("course") > pl.col("first_course")).fill_null(False)
    )


def _with_tolerance(pairs: pl.LazyFrame, exposures: pl.LazyFrame, anc: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """``was_tolerated``: a later course lasted at least as long as it took to fall, with a normal count at its end."""
    later = exposures.filter(pl.col("is_cause")).select(
        *_DRUG,
        later_course="course",
        later_from="first_exposure",
        later_to=pl.coalesce("last_exposure", pl.lit(as_of.date())),
    )
    normal = anc.filter(pl.col("severity") == pl.lit("normal")).select(
        "patient_id", count_day=pl.col("collected_at").dt.date()
    )
    long_enough = (pl.col("count_day") - pl.col("later_from")).dt.total_days() >= pl.col("days_to_low")
    tolerated = (
        pairs.filter(pl.col("anchor") == "first_exposure")
        .join(later, on=_DRUG)
        .filter((pl.col("later_course") > pl.col("course")) & (pl.col("later_from") > pl.col("end_day")))
        .join(pairs.select(*_DRUG, later_course="course"), on=[*_DRUG, "later_course"], how="anti")
        .join(normal, on="patient_id")
        .filter(long_enough & (pl.col("count_day") <= pl.col("later_to")))
        .select(*_PAIR, was_tolerated=pl.lit(True))
        .unique()
    )
    return pairs.join(tolerated, on=_PAIR, how="left").with_columns(pl.col("was_tolerated").fill_null(False))


def _with_baseline(pairs: pl.LazyFrame, anc: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """``baseline``: normal, low or null (no count in the year up to and including the first day of the course)."""
    counts = (
        anc.filter(pl.col("severity").is_not_null())
        .select(
            "patient_id",
            at="collected_at",
            baseline=pl.when(pl.col("severity") == pl.lit("normal")).then(pl.lit("normal")).otherwise(pl.lit("low")),
        )
        .sort("at", "patient_id", "baseline")
    )
    day_ends = pl.col("first_exposure").cast(pl.Datetime("us")) + timedelta(days=1)
    return (
        pairs.with_columns(started_by=day_ends)
        .sort("started_by", "patient_id", "episode_id", "ingredient")
        .join_asof(
            counts,
            left_on="started_by",
            right_on="at",
            by="patient_id",
            strategy="backward",
            tolerance=timedelta(days=rules.category.baseline_within_d + 1),
            allow_exact_matches=False,
            check_sortedness=False,  # sorted above; polars cannot check it within patients
        )
        .drop("started_by", "at", strict=False)
    )


def _with_dechallenge(pairs: pl.LazyFrame, evidence: pl.LazyFrame, policy: Policy, rules: CauseRules) -> pl.LazyFrame:
    """``dechallenge``: recovered, recovered_confounded, recovered_while_given, not_recovered; null = cannot be told.

    A single low value that is normal again within a week is no confirmed fall, so that its end is no recovery.
    Recovery that another drug, an infection's end or the next turn of a cycle may explain as well is confounded
    (DRUGS.md section 4).
    """
    confounded = (
        evidence.filter(
            pl.col("rule_id").is_in(rules.category.recovery_confounding_rules)
            & (pl.col("strength").is_in(["strong", "moderate"]) | (pl.col("rule_id") == "MASK-1"))
        )
        .select("episode_id", is_confounded=pl.lit(True))
        .unique()
    )
    is_single = (pl.col("n_results") == 1) & (
        (pl.col("end_day") - pl.col("onset_day")).dt.total_days() <= policy.episode.isolated_low_d
    )
    allowed_d = pl.max_horizontal(pl.lit(policy.drug.recovery_d, pl.Int64), 2 * pl.col("recovery_d"))
    took_d = (pl.col("end_day") - pl.col("stopped_on")).dt.total_days()
    low_for_d = (pl.col("last_low_day") - pl.col("stopped_on")).dt.total_days()
    still_given = pl.col("stopped_on").is_null() | (pl.col("stopped_on") >= pl.col("end_day"))
    state = (
        pl.when(pl.col("anchor") != "first_exposure")
        .then(None)
        .when(pl.col("end_day").is_not_null() & still_given)
        .then(pl.lit("recovered_while_given"))
        .when(is_single)
        .then(None)
        .when(took_d <= allowed_d)
        .then(pl.when("is_confounded").then(pl.lit("recovered_confounded")).otherwise(pl.lit("recovered")))
        .when((took_d > allowed_d) | (low_for_d > allowed_d))
        .then(pl.lit("not_recovered"))
    )
    return (
        pairs.join(confounded, on="episode_id", how="left")
        .with_columns(pl.col("is_confounded").fill_null(False))
        .with_columns(dechallenge=state, recovery_took_d=took_d, is_single=is_single.fill_null(False))
    )


def _with_interaction(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """``partner``: another drug at the same time that raises the effect of this one."""
    listed = [pair.split("+") for pair in rules.drug_group.interactions]
    partners = pl.LazyFrame(
        [row for first, second in listed for row in ((first, second), (second, first))],
        schema={"ingredient": pl.String, "partner": pl.String},
        orient="row",
    )
    together = (
        pairs.select(_PAIR)
        .join(partners, on="ingredient")
        .join(pairs.select("episode_id", partner="ingredient"), on=["episode_id", "partner"], how="semi")
        .group_by(_PAIR)
        .agg(pl.col("partner").min())
    )
    return pairs.join(together, on=_PAIR, how="left")


def _alternatives(evidence: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """Points and names of what else may explain the episode; each category counts once, by its strongest line."""
    points = rules.points
    weight = {"strong": points.strong_alternative, "moderate": points.moderate_alternative}
    return (
        evidence.filter(
            pl.col("rule_id").is_in(rules.category.competing_rules) & pl.col("strength").is_in(list(weight))
        )
        .with_columns(weight=pl.col("strength").replace_strict(weight, return_dtype=pl.Int64))
        .group_by("episode_id", "category")
        .agg(pl.col("weight").min())
        .group_by("episode_id")
        .agg(
            alternative_points=pl.col("weight").sum().clip(lower_bound=points.alternatives_floor),
            alternatives=pl.col("category").sort().str.join(", "),
        )
    )


def _with_points(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    points, group = rules.points, rules.drug_group
    is_abrupt = pl.col("nadir_cells_per_ul") < rules.category.abrupt_below_cells_per_ul
    is_isolated = pl.col("has_other_lines") & (pl.col("n_low_lines") == 0)
    is_immune = pl.col("mechanism").is_in(["immune_mediated", "mixed"])
    is_marrow = pl.col("mechanism").is_in(["dose_dependent_marrow_suppression", "direct_toxicity", "mixed"])
    fits = (is_immune & is_abrupt & is_isolated) | (is_marrow & (pl.col("n_low_lines") > 0))
    begun_in_interval = pl.col("normal_day").is_null() | (pl.col("first_exposure") > pl.col("normal_day"))
    is_protopathic = (
        pl.col("drug_class").is_in(group.protopathic_classes)
        & begun_in_interval
        & (pl.col("days_to_low") < pl.col("onset_from_d"))
    )
    known_risk = (
        pl.col("ingredient").is_in(group.high_risk).cast(pl.Int64) * points.high_risk
        + pl.col("ingredient").is_in(group.ubiquitous).cast(pl.Int64) * points.ubiquitous
        + is_protopathic.fill_null(False).cast(pl.Int64) * points.protopathic
    )
    dechallenge = ("recovered", "recovered_confounded", "recovered_while_given", "not_recovered")
    own = pairs.with_columns(
        is_protopathic=is_protopathic.fill_null(False),
        points_evidence=_worth("evidence", points, "definite", "probable", "possible"),
        points_onset=_worth("onset", points, *_ONSETS, prefix="onset_"),
        points_exposure=pl.lit(points.exposed, pl.Int64),
        points_baseline=_worth("baseline", points, "normal", "low", prefix="baseline_"),
        points_dechallenge=_worth("dechallenge", points, *dechallenge),
        points_rechallenge=pl.when("has_recurred")
        .then(points.recurred)
        .when("was_tolerated")
        .then(points.tolerated_again)
        .otherwise(0)
        .cast(pl.Int64),
        points_interaction=pl.col("partner").is_not_null().cast(pl.Int64) * points.interaction,
        points_mechanism=fits.fill_null(False).cast(pl.Int64) * points.mechanism_fits,
        points_alternatives=pl.col("alternative_points").fill_null(0),
        points_expected_drug=(~pl.col("is_expected") & pl.col("expected_drugs").is_not_null()).cast(pl.Int64)
        * points.expected_drug,
        points_known_risk=known_risk,
    )
    before = pl.sum_horizontal(f"points_{name}" for name in _COMPONENTS if name != "stronger_drug")
    is_weaker = before < before.max().over("episode_id")
    return own.with_columns(points_stronger_drug=is_weaker.cast(pl.Int64) * points.stronger_drug).with_columns(
        score=pl.sum_horizontal(f"points_{name}" for name in _COMPONENTS).cast(pl.Int16)
    )


def _worth(column: str, points: Points, *states: str, prefix: str = "") -> pl.Expr:
    """Points of a state; 0 where it cannot be told."""
    worth = {state: getattr(points, f"{prefix}{state}") for state in states}
    return pl.col(column).replace_strict(worth, default=0, return_dtype=pl.Int64)


def _with_category(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    limit = rules.category
    time_fits = pl.col("onset").is_in(["inside", "overlaps"])
    is_named = ~pl.col("is_class") & pl.col("is_start_certain")
    # A first exposure cannot act before its shortest onset; after an earlier reaction it may within hours.
    is_too_early = (pl.col("days_to_low") < pl.col("onset_from_d")) & ~pl.col("has_recurred")
    category = (
        pl.when("is_expected")
        .then(pl.lit("expected"))
        .when((pl.col("score") >= limit.likely_from) & time_fits & is_named)
        .then(pl.lit("likely"))
        .when(is_too_early)
        .then(pl.lit("unlikely"))
        .when(
            (pl.col("score") >= limit.possible_from)
            | ((pl.col("score") >= limit.weak_from) & (pl.col("onset") != "outside"))
        )
        .then(pl.lit("possible"))
        .otherwise(pl.lit("unlikely"))
    )
    return pairs.with_columns(category=category)


def _with_rank(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Rank within the episode, expected drugs apart; a class never goes before a named drug."""
    lane = ("episode_id", "is_expected")
    return pairs.sort(
        *lane,
        "is_class",
        "score",
        "onset_rank",
        "points_evidence",
        "days_to_low",
        "ingredient",
        descending=[False, False, False, True, False, True, False, False],
    ).with_columns(rank=pl.int_range(1, pl.len() + 1).over(lane).cast(pl.Int16))


# ---- in words -------------------------------------------------------------------------------------------------------


def _days(count: pl.Expr) -> pl.Expr:
    return pl.format("{} {}", count, pl.when(count == 1).then(pl.lit("day")).otherwise(pl.lit("days")))


def _reason() -> pl.Expr:
    window = pl.format("({}-{} d)", "onset_from_d", "onset_to_d")
    fit = pl.col("onset").replace_strict(
        {
            "inside": "inside its window",
            "overlaps": "the fall may lie inside its window",
            "unknown": "inside its window but without a normal count before",
            "outside": "outside its window",
        }
    )
    began = (
        pl.when(pl.col("anchor") == "last_dose")
        .then(pl.format("last dose {} before the first low count", _days(pl.col("days_to_low"))))
        .when(pl.col("anchor") == "each_dose")
        .then(
            pl.format(
                "first low count {} after the dose of {}",
                _days(pl.col("days_to_low")),
                pl.col("anchor_day").dt.strftime(_DAY),
            )
        )
        .when(pl.col("is_start_certain"))
        .then(pl.format("started {} before the first low count", _days(pl.col("days_to_low"))))
        .otherwise(pl.format("started at most {} before the first low count", _days(pl.col("days_to_low"))))
    )
    to_low_d = (pl.col("stopped_on") - pl.col("onset_day")).dt.total_days()
    given = (
        pl.when(pl.col("anchor") != "first_exposure")
        .then(None)
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("still given"))
        .when(to_low_d < 0)
        .then(pl.format("stopped {} before it", _days(-to_low_d)))
        .when(to_low_d == 0)
        .then(pl.lit("stopped on that day"))
        .otherwise(pl.format("stopped {} after it", _days(to_low_d)))
    )
    withdrawn = (
        pl.when(pl.col("anchor") != "first_exposure")
        .then(None)
        .when(pl.col("dechallenge") == "recovered")
        .then(pl.format("recovered {} after stopping", _days(pl.col("recovery_took_d"))))
        .when(pl.col("dechallenge") == "recovered_confounded")
        .then(
            pl.format("recovered {} after stopping, which something else may explain", _days(pl.col("recovery_took_d")))
        )
        .when(pl.col("dechallenge") == "recovered_while_given")
        .then(pl.lit("recovered while it was given"))
        .when(pl.col("dechallenge") == "not_recovered")
        .then(pl.lit("no recovery after stopping"))
        .when("is_single")
        .then(pl.lit("one low value only, so no dechallenge"))
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("dechallenge not yet possible"))
        .otherwise(pl.lit("recovery not yet known"))
    )
    nadir = pl.when(
        pl.col("is_expected") & (pl.col("anchor") == "each_dose") & pl.col("nadir_from_d").is_not_null()
    ).then(
        pl.format(
            "lowest count on day {} after it, {} ({}-{} d)",
            "days_to_nadir",
            pl.when(pl.col("days_to_nadir").is_between("nadir_from_d", "nadir_to_d"))
            .then(pl.lit("inside its nadir window"))
            .otherwise(pl.lit("outside its nadir window")),
            "nadir_from_d",
            "nadir_to_d",
        )
    )
    again = (
        pl.when("has_recurred")
        .then(pl.lit("an earlier episode on the same drug"))
        .when("was_tolerated")
        .then(pl.lit("tolerated when given again"))
    )
    cytotoxic = pl.when(~pl.col("is_expected")).then(pl.format("expected effect of {}", "expected_drugs"))
    details = pl.concat_str(
        nadir,
        withdrawn,
        again,
        pl.format("together with {}", "partner"),
        pl.when(pl.col("baseline") == "low").then(pl.lit("the count was low before it")),
        pl.when("is_protopathic").then(pl.lit("may have been begun for the first symptoms of the fall")),
        pl.when("is_class").then(pl.lit("known by its class only")),
        pl.format(
            "competing: {}",
            pl.concat_str("alternatives", cytotoxic, separator=", ", ignore_nulls=True).replace("", None),
        ),
        separator="; ",
        ignore_nulls=True,
    )
    expected = pl.when("is_expected").then(pl.lit("expected effect; "))
    facts = pl.concat_str(began, pl.concat_str(fit, window, separator=" "), given, separator=", ", ignore_nulls=True)
    sentence = pl.concat_str(facts, details.replace("", None), separator="; ", ignore_nulls=True)
    return pl.concat_str(pl.col("ingredient"), pl.lit(": "), expected.fill_null(""), sentence)


def _reason_of_exclusion() -> pl.Expr:
    after_d = (pl.col("first_exposure") - pl.col("onset_day")).dt.total_days()
    when_begun = (
        pl.when(after_d == 0)
        .then(pl.lit("started on the day of the first low count"))
        .otherwise(pl.format("started {} after the first low count", _days(after_d)))
    )
    deepened = (
        pl.when(pl.col("first_exposure") < pl.col("nadir_day"))
        .then(pl.lit("; given before the lowest count, may have deepened it"))
        .otherwise(pl.lit(""))
    )
    return pl.concat_str("ingredient", pl.lit(": "), when_begun, pl.lit(", cannot have begun the fall"), deepened)


# ---- Naranjo and WHO-UMC --------------------------------------------------------------------------------------------


def _items(rules: CauseRules) -> pl.Expr:
    """JSON: points per component, the Naranjo items (null = cannot be told from data) and the WHO-UMC category."""
    limit = rules.category
    recovered = pl.col("dechallenge") == "recovered"
    has_alternative = pl.col("alternatives").is_not_null() | (
        pl.col("expected_drugs").is_not_null() & ~pl.col("is_expected")
    )
    nothing = pl.lit(None, pl.Int64)
    told = {
        "1_previous_reports": pl.col("evidence").is_in(["definite", "probable"]).cast(pl.Int64),
        "2_event_after_drug": pl.when("is_start_certain").then(2).cast(pl.Int64),
        "3_improved_after_stop": pl.when(recovered)
        .then(1)
        .when(pl.col("dechallenge").is_in(["not_recovered", "recovered_while_given"]))
        .then(0)
        .cast(pl.Int64),
        "4_recurred_when_given_again": pl.when("has_recurred").then(2).when("was_tolerated").then(-1).cast(pl.Int64),
        "5_alternative_causes": pl.when(has_alternative).then(-1).cast(pl.Int64),
        "6_placebo": nothing,
        "7_toxic_level": nothing,
        "8_dose_relation": nothing,
        "9_similar_reaction_before": pl.when("has_recurred").then(1).cast(pl.Int64),
        "10_objective_evidence": pl.when(pl.col("n_results") > 1).then(1).cast(pl.Int64),
    }
    total = pl.sum_horizontal(told.values())
    unanswered = pl.sum_horizontal(item.is_null().cast(pl.Int64) for item in told.values())
    verdict = (
        pl.when(total >= limit.naranjo_definite_from)
        .then(pl.lit("definite"))
        .when(total >= limit.naranjo_probable_from)
        .then(pl.lit("probable"))
        .when(total >= limit.naranjo_possible_from)
        .then(pl.lit("possible"))
        .otherwise(pl.lit("doubtful"))
    )
    # "Certain" asks for what no extract knows; it is never given (DRUGS.md section 6).
    who_umc = (
        pl.when(~pl.col("is_start_certain"))
        .then(pl.lit("unassessable"))
        .when(pl.col("onset") == "outside")
        .then(pl.lit("unlikely"))
        .when((pl.col("onset") == "inside") & recovered.fill_null(False) & ~has_alternative)
        .then(pl.lit("probable"))
        .otherwise(pl.lit("possible"))
    )
    points = pl.struct([pl.col(f"points_{name}").alias(name) for name in _COMPONENTS])
    naranjo = pl.struct(
        [
            *(item.alias(name) for name, item in told.items()),
            total.alias("total"),
            unanswered.alias("unanswered"),
            verdict.alias("category"),
        ]
    )
    return pl.struct(points=points, naranjo=naranjo, who_umc=who_umc).struct.json_encode()

"""What the time before, after and beside a course shows: baseline, dechallenge, rechallenge (DRG-3, DRG-4)."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.timing import PAIR
from neutro_screen.rules.course.given import is_undated, may_have_ended

_DRUG: Final = ("patient_id", "ingredient")


def with_recurrence(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """``has_recurred``: a fall on an earlier course, at a time that fits and not explained by a cytotoxic drug."""
    counts = (
        (pl.col("anchor") == "first_exposure")
        & ~pl.col("is_expected")
        & (pl.col("onset") != "outside")
        & ~is_undated()
        & pl.col("expected_drugs").is_null()
    )
    first = pairs.filter(counts).group_by(_DRUG).agg(first_course=pl.col("course").min())
    return pairs.join(first, on=_DRUG, how="left", validate="m:1").with_columns(
        has_recurred=(pl.col("course") > pl.col("first_course")).fill_null(False)
    )


def with_tolerance(pairs: pl.LazyFrame, exposures: pl.LazyFrame, anc: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """``was_tolerated``: a later course lasted at least as long as it took to fall, with a normal count at its end."""
    # Whether a course whose end could not be read lasted so long is not known.
    later = exposures.filter(pl.col("is_cause") & ~pl.col("is_end_unread")).select(
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
        .select(*PAIR, was_tolerated=pl.lit(True))
        .unique()
    )
    return pairs.join(tolerated, on=PAIR, how="left", validate="m:1").with_columns(
        pl.col("was_tolerated").fill_null(False)
    )


def with_baseline(pairs: pl.LazyFrame, anc: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """``baseline``: the last count of the year up to and including the first day of the course.

    normal; stable: low, but the fall is a later one of the same episode, from a level that had been stable since, or led to
    less than half of that count (DRG-1); low; null = no count.
    """
    counts = (
        anc.filter(pl.col("severity").is_not_null())
        .select(
            "patient_id",
            at="collected_at",
            baseline=pl.when(pl.col("severity") == pl.lit("normal")).then(pl.lit("normal")).otherwise(pl.lit("low")),
            baseline_cells_per_ul="anc_cells_per_ul",
        )
        .sort("at", "patient_id", "baseline")
    )
    day_ends = pl.col("first_exposure").cast(pl.Datetime("us")) + timedelta(days=1)
    is_later_fall = pl.col("kind").is_in(["deeper", "halving"])
    half = rules.fall.level_fraction * pl.col("baseline_cells_per_ul")
    is_far_deeper = pl.col("depth_cells_per_ul") <= half
    return (
        pairs.with_columns(started_by=day_ends)
        .sort("started_by", "patient_id", "fall_id", "ingredient")
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
        .with_columns(
            baseline=pl.when((pl.col("baseline") == "low") & (is_later_fall | is_far_deeper))
            .then(pl.lit("stable"))
            .otherwise("baseline")
        )
    )


def with_dechallenge(pairs: pl.LazyFrame, evidence: pl.LazyFrame, policy: Policy, rules: CauseRules) -> pl.LazyFrame:
    """``dechallenge``: recovered, recovered_confounded, recovered_while_given, not_recovered; null = not known.

    Recovery is a normal count, or one at the level fallen from. A single low value that is normal again within a week is
    no confirmed fall, so that its end is no recovery. Recovery that another drug, an infection's end or the next turn of
    a cycle may explain as well is confounded (DRUGS.md section 4).
    """
    confounded = (
        evidence.filter(
            pl.col("rule_id").is_in(rules.category.recovery_confounding_rules)
            & (pl.col("strength").is_in(["strong", "moderate"]) | (pl.col("rule_id") == "MASK-1"))
        )
        .select("episode_id", is_confounded=pl.lit(True))
        .unique()
    )
    low_d = (pl.col("end_day") - pl.col("onset_day")).dt.total_days()
    is_single = (pl.col("n_results") == 1) & (low_d <= policy.episode.isolated_low_d)
    return (
        pairs.join(confounded, on="episode_id", how="left", validate="m:1")
        .with_columns(
            pl.col("is_confounded").fill_null(False),
            is_single=is_single.fill_null(False),
            recovery_took_d=(pl.col("end_day") - pl.col("stopped_on")).dt.total_days(),
        )
        .with_columns(dechallenge=_dechallenge(policy))
    )


def _dechallenge(policy: Policy) -> pl.Expr:
    allowed_d = pl.max_horizontal(pl.lit(policy.drug.recovery_d, pl.Int64), 2 * pl.col("recovery_d"))
    took_d, low_for_d = pl.col("recovery_took_d"), (pl.col("last_low_day") - pl.col("stopped_on")).dt.total_days()
    still_given = pl.col("stopped_on").is_null() | (pl.col("stopped_on") >= pl.col("end_day"))
    recovered = pl.when("is_confounded").then(pl.lit("recovered_confounded")).otherwise(pl.lit("recovered"))
    return (
        pl.when((pl.col("anchor") != "first_exposure") | may_have_ended())
        .then(None)
        .when(pl.col("end_day").is_not_null() & still_given)
        .then(pl.lit("recovered_while_given"))
        .when("is_single")
        .then(None)
        .when(took_d <= allowed_d)
        .then(recovered)
        .when((took_d > allowed_d) | (low_for_d > allowed_d))
        .then(pl.lit("not_recovered"))
    )

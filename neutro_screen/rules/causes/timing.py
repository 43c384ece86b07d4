"""How a course of a drug lies in time beside an episode (DRG-1 ... DRG-3): onset, baseline, dechallenge, rechallenge."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules

#: What names a suspect: one drug of one episode.
PAIR: Final = ("episode_id", "ingredient")
_DRUG: Final = ("patient_id", "ingredient")
#: How the onset interval lies to the window, the best first.
ONSETS: Final = ("inside", "overlaps", "unknown", "outside")


def courses_and_episodes(episodes: pl.LazyFrame, exposures: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
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


def with_onset(courses: pl.LazyFrame) -> pl.LazyFrame:
    """Where the onset interval lies against the window of the drug: inside, overlaps, unknown or outside (DRG-2)."""
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
        onset_rank=pl.col("onset").replace_strict({name: place for place, name in enumerate(ONSETS)})
    )


def with_expected_drugs(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """``expected_drugs``: the drugs of the episode that lower counts as expected, in their time; null = none."""
    # After a dose a later or second fall within its lag is still its own; a drug taken for years must fit its window.
    in_time = pl.col("is_expected") & ((pl.col("anchor") == "each_dose") | (pl.col("onset") != "outside"))
    names = (
        pairs.filter(in_time)
        .group_by("episode_id")
        .agg(expected_drugs=pl.col("ingredient").unique().sort().str.join(", "))
    )
    return pairs.join(names, on="episode_id", how="left")


def with_recurrence(pairs: pl.LazyFrame) -> pl.LazyFrame:
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


def with_tolerance(pairs: pl.LazyFrame, exposures: pl.LazyFrame, anc: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
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
        .select(*PAIR, was_tolerated=pl.lit(True))
        .unique()
    )
    return pairs.join(tolerated, on=PAIR, how="left").with_columns(pl.col("was_tolerated").fill_null(False))


def with_baseline(pairs: pl.LazyFrame, anc: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
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


def with_dechallenge(pairs: pl.LazyFrame, evidence: pl.LazyFrame, policy: Policy, rules: CauseRules) -> pl.LazyFrame:
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

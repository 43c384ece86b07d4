"""From the lines of a medication list to courses of each drug (DRG-1).

A course is the time without a pause longer than the drug still acts. Where the window of a drug counts from a dose
(cytotoxics) or from the last dose (CD20 antibodies), every dose or cycle is a course of its own, and a line without an
end is one dose, not a treatment that goes on.
"""

from datetime import date
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.reference.drugs import DrugTables
from neutro_screen.text import match_key

KEYS: Final = ("patient_id", "ingredient")
_OPEN: Final = date.max
_NOT_GIVEN: Final = ("not_given", "unknown")


def drug_profiles(tables: DrugTables, policy: Policy, rules: CauseRules) -> pl.DataFrame:
    """One row per ingredient that causes neutropenia or raises the ANC, and per ATC class to fall back on.

    Columns: ingredient (the class's name for a class), is_class, is_cause, is_confounder, drug_class, mechanism,
    evidence, onset_from_d, onset_to_d, nadir_from_d, nadir_to_d, recovery_d, lag_d (days after the last dose for which
    a new fall may come, at least the policy's), anchor (first_exposure, each_dose, last_dose), is_expected,
    effect, mask_d (days after the last dose in which it still raises the ANC).
    """
    causes = tables.causes.select(
        "ingredient",
        "drug_class",
        "mechanism",
        "evidence",
        is_class=pl.lit(False),
        is_cause=pl.lit(True),
        onset_from_d="typical_onset_days_min",
        onset_to_d="typical_onset_days_max",
        nadir_from_d="nadir_days_min",
        nadir_to_d="nadir_days_max",
        recovery_d="recovery_days_typical",
        lag_d="max_lag_after_last_dose_days",
        anchor="window_anchor",
        is_expected="expected_effect",
    )
    masks = tables.confounders.select(
        "ingredient", "effect", is_confounder=pl.lit(True), mask_d="confounding_window_days"
    )
    exposure = rules.exposure
    from_d, to_d = exposure.class_onset_days
    protects = pl.col("default_class") == "none_protective"
    classes = (
        tables.atc_prefixes.filter(pl.col("default_class") != "not_systemic")
        .sort("atc_prefix")
        .unique("drug_class_name", keep="first", maintain_order=True)
        .select(
            "mechanism",
            "evidence",
            ingredient="drug_class_name",
            drug_class="default_class",
            is_class=pl.lit(True),
            is_cause=~protects,
            is_confounder=protects,
            onset_from_d=pl.lit(from_d, pl.Int64),
            onset_to_d=pl.lit(to_d, pl.Int64),
            recovery_d="recovery_days",
            lag_d=pl.lit(exposure.class_lag_d, pl.Int64),
            anchor=pl.lit("first_exposure"),
            is_expected="expected_effect",
            effect=pl.when(protects).then(pl.lit("raises_anc")),
            mask_d=pl.when(protects).then(pl.lit(exposure.class_mask_d, pl.Int64)),
        )
    )
    named = causes.join(masks, on="ingredient", how="full", coalesce=True)
    return (
        pl.concat([named, classes.join(named, on="ingredient", how="anti")], how="diagonal_relaxed")
        .with_columns(
            pl.col("is_class", "is_cause", "is_confounder", "is_expected").fill_null(False),
            pl.col("anchor").fill_null("first_exposure"),
            lag_d=pl.max_horizontal(pl.col("lag_d"), pl.lit(policy.drug.lag_d, pl.Int64)),
        )
        .sort("ingredient")
    )


def exposures_per_patient(matched: pl.LazyFrame, tables: DrugTables, policy: Policy, rules: CauseRules) -> pl.LazyFrame:
    """One row per patient, drug and course.

    ``matched`` comes from ``drug_names.match_medications`` over ``Medication``. Lines that were not taken (their
    status or their text says so) or whose route does not act on the body make no course; ``n_not_given`` counts them
    beside the courses of the same drug. An end before the start counts as the day of the start. No end is open (null), except for a line that its status or text calls ended and for doses (see the
    module): known for the first day only.

    Columns: patient_id, ingredient, the columns of ``drug_profiles``, course (1 = first), first_exposure (earliest
    day its first line allows), first_exposure_latest (latest such day), last_exposure (null = open), last_start (start
    of its latest line), n_orders, n_not_given. Sorted.
    """
    profiles = drug_profiles(tables, policy, rules)
    lines = _with_drug(matched, tables).join(profiles.lazy(), on="ingredient", how="inner")
    judged = lines.with_columns(is_given=is_given(rules))
    is_dose = pl.col("anchor") != "first_exposure"
    end_unknown = pl.col("end_date").is_null() & (is_dose | has_ended(rules))
    gap = (
        pl.when(is_dose)
        .then(pl.lit(rules.exposure.each_dose_gap_d, pl.Int64))
        .otherwise(pl.max_horizontal(pl.col("lag_d"), pl.lit(rules.exposure.shortest_gap_d, pl.Int64)))
    )
    given = (
        judged.filter("is_given")
        .with_columns(
            end=pl.when(end_unknown)
            .then("start_date")
            .otherwise(pl.max_horizontal("start_date", pl.col("end_date").fill_null(_OPEN))),
            gap=gap,
        )
        .sort(*KEYS, "start_date", "end", "start_date_latest")
        .with_columns(covered_to=pl.col("end").cum_max().shift(1).over(KEYS, order_by=["start_date", "end"]))
        .with_columns(
            pause=pl.when(pl.col("covered_to") == _OPEN)
            .then(-1)
            .otherwise((pl.col("start_date") - pl.col("covered_to")).dt.total_days())
        )
        .with_columns(
            course=(pl.col("pause").is_null() | (pl.col("pause") > pl.col("gap")))
            .cum_sum()
            .over(KEYS, order_by=["start_date", "end"])
            .cast(pl.Int64)
        )
    )
    courses = given.group_by(*KEYS, "course").agg(
        first_exposure=pl.col("start_date").min(),
        first_exposure_latest=pl.col("start_date_latest").sort_by("start_date", "start_date_latest").first(),
        last_exposure=pl.col("end").max().replace(_OPEN, None),
        last_start=pl.col("start_date").max(),
        n_orders=pl.len().cast(pl.Int64),
    )
    not_given = judged.filter(~pl.col("is_given")).group_by(KEYS).agg(n_not_given=pl.len().cast(pl.Int64))
    return (
        courses.join(not_given, on=KEYS, how="left")
        .with_columns(pl.col("n_not_given").fill_null(0))
        .join(profiles.lazy(), on="ingredient", how="left")
        .sort(*KEYS, "course")
    )


def is_given(rules: CauseRules) -> pl.Expr:
    """A matched line that is an exposure: neither status nor text denies it, and the route acts on the body."""
    denied = _status_is(rules.exposure.not_given_words) | pl.col("exposure").is_in(_NOT_GIVEN).fill_null(False)
    return ~denied & pl.col("is_systemic").fill_null(True)


def has_ended(rules: CauseRules) -> pl.Expr:
    """Status or text of a line say that the drug is no longer given."""
    return _status_is(rules.exposure.ended_words) | (pl.col("exposure") == "ended").fill_null(False)


def _status_is(words: tuple[str, ...]) -> pl.Expr:
    return match_key(pl.col("status")).is_in(words).fill_null(False)


def _with_drug(matched: pl.LazyFrame, tables: DrugTables) -> pl.LazyFrame:
    """Name the class where only that is known, and keep the lines that name a drug of the tables."""
    classes = tables.atc_prefixes.lazy().select(matched_text="atc_prefix", class_name="drug_class_name")
    own = ("patient_id", "start_date", "start_date_latest", "end_date", "status", "is_systemic", "exposure")
    by_class = pl.when(pl.col("matched_by") == "atc_prefix").then("class_name")
    return (
        matched.join(classes, on="matched_text", how="left")
        .with_columns(ingredient=pl.coalesce("ingredient", by_class))
        .filter(pl.col("ingredient").is_not_null())
        .select(*own, "ingredient")
    )

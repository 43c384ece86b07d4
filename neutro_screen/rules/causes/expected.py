"""The expected effect of cytotoxic drugs: in its time, and beyond it (DRG-5)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseRules, ExpectedRule
from neutro_screen.rules.causes.timing import PAIR
from neutro_screen.rules.course.given import is_undated

_DRUG: Final = ("patient_id", "ingredient")
#: Drugs that are taken day after day; of the others every dose or cycle counts.
_IS_COURSE: Final = pl.col("anchor") == "first_exposure"


def with_expected_time(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """``is_in_time``: the fall is an expected effect of the drug, in its time.

    The fall, which lies between the count before it and the one that shows it, reaches into the nadir window: counted from
    the first dose of the cycle to its last before the fall. Without a count before it is no later than the end of the
    window, or than the day on which the count is due to recover. The window of a drug that is given on and on has no last
    day where its row says so (``is_window_open``). Where the first day is not known, nothing can be expected.
    """
    last_dose = pl.min_horizontal("last_exposure", "onset_day")
    window_ends = _window_ends(pl.when(_IS_COURSE).then("first_exposure").otherwise(last_dose))
    recovery_due = pl.when(~_IS_COURSE).then(_later(last_dose, pl.col("recovery_d")))
    has_begun = pl.col("days_to_low") >= pl.min_horizontal("onset_from_d", "nadir_from_d")
    is_over = (
        pl.when(pl.col("before_day").is_not_null())
        .then(pl.col("before_day") > window_ends)
        .otherwise(pl.col("onset_day") > pl.max_horizontal(window_ends, recovery_due))
    )
    is_overdosed = (pl.col("partner_evidence") == "definite") & ~pl.col("is_risk_only")
    in_time = has_begun.fill_null(False) & ~is_over.fill_null(False) & ~is_overdosed.fill_null(False)
    return pairs.with_columns(is_in_time=pl.col("is_expected") & in_time & ~is_undated())


def _window_ends(anchor: pl.Expr) -> pl.Expr:
    """Last day of the nadir window; null where it has none."""
    return pl.when(~(_IS_COURSE & pl.col("is_window_open"))).then(_later(anchor, pl.col("nadir_to_d")))


def _later(day: pl.Expr, days: pl.Expr) -> pl.Expr:
    return day.dt.offset_by(pl.concat_str(days.cast(pl.String), pl.lit("d")))


def with_expected_drugs(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """``expected_drugs``: the drugs that lower the count of the fall as expected, in their time; null = none."""
    # After a dose a later or second fall within its lag is still its own; a drug taken for years must fit its window.
    acts = pl.col("is_in_time") | (
        pl.col("is_expected")
        & (pl.col("anchor") == "each_dose")
        & (pl.col("partner_evidence") != "definite").fill_null(True)
        & ~is_undated()
    )
    names = (
        pairs.filter(acts).group_by("fall_id").agg(expected_drugs=pl.col("ingredient").unique().sort().str.join(", "))
    )
    return pairs.join(names, on="fall_id", how="left", validate="m:1")


def with_beyond_expected(
    pairs: pl.LazyFrame, exposures: pl.LazyFrame, anc: pl.LazyFrame, rules: CauseRules
) -> pl.LazyFrame:
    """Add ``beyond`` and ``beyond_at``: how, and on which day, an expected fall was seen to go beyond its time.

    severe: an ANC below the rule's limit for longer than its days after the window; unrecovered: still low after the day
    on which it was due to recover; null = neither. Days count from the last dose before the count that shows it, since a
    new cycle begins a new time. ``pairs`` has one course of each pair.
    """
    found = (
        _low_counts(pairs.filter("is_in_time"), anc, rules.expected)
        .pipe(_with_last_dose, exposures)
        .with_columns(beyond=_beyond(rules.expected))
        .filter(pl.col("beyond").is_not_null())
        .sort("count_day", "beyond")
        .group_by(PAIR, maintain_order=True)
        .agg(beyond=pl.col("beyond").first(), beyond_at=pl.col("count_day").first())
    )
    return pairs.join(found, on=PAIR, how="left", validate="1:1")


def _low_counts(pairs: pl.LazyFrame, anc: pl.LazyFrame, rule: ExpectedRule) -> pl.LazyFrame:
    """Every low count of each pair's fall until the count is back, by day: ``count_day``, ``is_severe``."""
    count, comparator = pl.col("anc_cells_per_ul"), pl.col("anc_comparator")
    limit = rule.severe_below_cells_per_ul
    is_severe = (count < limit) | ((count == limit) & (comparator == "<").fill_null(False))
    low = (
        anc.filter(pl.col("severity") > pl.lit("normal"))
        .group_by("patient_id", count_day=pl.col("collected_at").dt.date())
        .agg(is_severe=is_severe.all())
    )
    is_of_fall = (pl.col("count_day") >= pl.col("onset_day")) & (
        pl.col("count_day") <= pl.min_horizontal("end_day", "last_low_day")
    )
    return pairs.join(low, on="patient_id").filter(is_of_fall)


def _with_last_dose(counts: pl.LazyFrame, exposures: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``dose_day``, the last dose by the day of the count, and ``is_given``: it was still given on that day."""
    courses = exposures.select(*_DRUG, dose_from="first_exposure", dose_to="last_exposure")
    key = (*PAIR, "count_day")
    doses = (
        counts.select(*key, "patient_id")
        .join(courses, on=_DRUG)
        .filter(pl.col("dose_from") <= pl.col("count_day"))
        .group_by(key)
        .agg(
            dose_day=pl.min_horizontal(pl.col("dose_to").fill_null(pl.col("count_day")), "count_day").max(),
            is_given=(pl.col("dose_to").is_null() | (pl.col("dose_to") > pl.col("count_day"))).any(),
        )
    )
    return counts.join(doses, on=key, how="left", validate="1:1")


def _beyond(rule: ExpectedRule) -> pl.Expr:
    window_ends = _window_ends(pl.when(_IS_COURSE).then("first_exposure").otherwise("dose_day"))
    stopped = pl.when(~(_IS_COURSE & pl.col("is_given"))).then("dose_day")
    # Recovery is not due while the nadir itself is still expected.
    recovery_due = pl.when(stopped.is_not_null()).then(
        pl.max_horizontal(window_ends, _later(stopped, pl.col("recovery_d")))
    )
    is_severe_late = pl.col("is_severe") & ((pl.col("count_day") - window_ends).dt.total_days() > rule.severe_d)
    return (
        pl.when(is_severe_late.fill_null(False))
        .then(pl.lit("severe"))
        .when((pl.col("count_day") > recovery_due).fill_null(False))
        .then(pl.lit("unrecovered"))
    )

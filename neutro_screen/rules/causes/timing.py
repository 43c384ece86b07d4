"""How a course of a drug lies in time beside a fall: exposure and window (DRG-1, DRG-2, DRG-7)."""

from datetime import datetime
from typing import Final

import polars as pl

from neutro_screen.rules.course.given import is_undated

#: What names a suspect: one drug of one fall.
PAIR: Final = ("fall_id", "ingredient")
#: How the onset lies to the window, the best first.
ONSETS: Final = ("inside", "overlaps", "late", "unknown", "outside")
#: Onsets that fit the window.
FITTING: Final = ("inside", "overlaps", "late")


def courses_and_falls(
    falls: pl.LazyFrame, episodes: pl.LazyFrame, exposures: pl.LazyFrame, as_of: datetime
) -> pl.LazyFrame:
    """Every course of a possible cause beside every fall of its patient, with the days that matter.

    onset_day: first count that shows the fall; before_day: last count before it (null = none); end_day: the count is back
    at the level it fell from; depth_cells_per_ul: lowest count that the fall leads to. ``is_after``: begun on the onset
    day or later; ``was_exposed``: given at the onset, or stopped no longer ago than the drug acts.
    """
    spans = falls.join(
        episodes.select(
            "episode_id",
            "n_results",
            "nadir_cells_per_ul",
            nadir_day=pl.col("nadir_at").dt.date(),
            last_low_day=pl.col("last_low_at").dt.date(),
            last_low_at="last_low_at",
            closes=pl.coalesce("ended_at", pl.lit(as_of)).dt.date(),
        ),
        on="episode_id",
        validate="m:1",
    ).select(
        "patient_id",
        "episode_id",
        "fall_id",
        "kind",
        "leads_to_nadir",
        "from_cells_per_ul",
        "to_cells_per_ul",
        "last_low_day",
        "last_low_at",
        "closes",
        onset_day=pl.col("seen_at").dt.date(),
        before_day=pl.when(pl.col("kind") != "unseen").then(pl.col("started_at").dt.date()),
        end_day=pl.col("back_at").dt.date(),
        depth_cells_per_ul=pl.when("leads_to_nadir").then("nadir_cells_per_ul").otherwise("to_cells_per_ul"),
        nadir_day=pl.when("leads_to_nadir").then("nadir_day").otherwise(pl.col("reached_at").dt.date()),
        n_results=pl.when(pl.col("kind").is_in(["onset", "unseen"])).then("n_results"),
    )
    stopped_d = (pl.col("onset_day") - pl.col("last_exposure")).dt.total_days()
    return (
        exposures.filter(pl.col("is_cause") & (pl.col("first_exposure") <= pl.lit(as_of.date())))
        .join(spans, on="patient_id")
        .with_columns(
            # Times of day are not known; no drug of the table works within hours.
            is_after=pl.col("first_exposure") >= pl.col("onset_day"),
            was_exposed=stopped_d.is_null() | (stopped_d <= pl.col("lag_d")),
            # An end in the future is a plan: today the drug is still given.
            stopped_on=pl.when(pl.col("last_exposure") < pl.lit(as_of.date())).then("last_exposure"),
        )
    )


def with_onset(courses: pl.LazyFrame) -> pl.LazyFrame:
    """Where the onset interval lies against the drug's window, counted from what the drug's row says.

    The interval reaches from the last count before the fall to the first that shows it. inside: all of it; overlaps: a
    part; late: after the typical time, where the window has no end while the drug is given (DRG-7); unknown: no count
    before, or since when it
    is given is not known; outside. Adds days_to_low, days_to_before, days_to_nadir, anchor_day, is_start_certain, onset, onset_rank.
    """
    from_last = pl.col("anchor") == "last_dose"
    last_dose = pl.min_horizontal(pl.col("last_exposure").fill_null(pl.col("onset_day")), "onset_day")
    earliest = pl.when(from_last).then(last_dose).otherwise("first_exposure")
    latest = pl.when(from_last).then(last_dose).otherwise(pl.max_horizontal("first_exposure", "first_exposure_latest"))
    since = pl.when(~is_undated()).then(earliest)
    counted = courses.with_columns(
        days_to_low=(pl.col("onset_day") - since).dt.total_days(),
        days_to_before=(pl.col("before_day") - latest).dt.total_days(),
        days_to_nadir=(pl.col("nadir_day") - since).dt.total_days(),
        anchor_day=earliest,
        is_start_certain=(from_last & ~is_undated()) | (pl.col("first_exposure") >= pl.col("first_exposure_latest")),
    )
    onset = onset_against("days_to_low", "days_to_before", "onset_from_d", "onset_to_d", pl.col("is_window_open"))
    uncertain = pl.when((onset == "inside") & ~pl.col("is_start_certain")).then(pl.lit("overlaps")).otherwise(onset)
    told = pl.when(is_undated()).then(pl.lit("unknown")).otherwise(uncertain)
    return counted.with_columns(onset=told).with_columns(onset_rank=onset_rank(pl.col("onset")))


def onset_against(days_to_low: str, days_to_before: str, from_d: str, to_d: str, is_open: pl.Expr) -> pl.Expr:
    """How an onset interval, in days from its anchor, lies to a window (see ``with_onset``)."""
    low, before, start, end = (pl.col(name) for name in (days_to_low, days_to_before, from_d, to_d))
    may_be = (low >= start) & ((low <= end) | is_open)
    return (
        pl.when(before.is_null())
        .then(pl.when(may_be).then(pl.lit("unknown")).otherwise(pl.lit("outside")))
        .when((before >= start) & (low <= end))
        .then(pl.lit("inside"))
        .when((before <= end) & (low >= start))
        .then(pl.lit("overlaps"))
        .when(is_open & (low > end))
        .then(pl.lit("late"))
        .otherwise(pl.lit("outside"))
    )


def onset_rank(onset: pl.Expr) -> pl.Expr:
    """The place of an onset in ``ONSETS``."""
    return onset.replace_strict({name: place for place, name in enumerate(ONSETS)}, return_dtype=pl.Int64)


def fits_window() -> pl.Expr:
    """The onset lies in the window, or after it where the window has no end (needs ``onset``)."""
    return pl.col("onset").is_in(FITTING)

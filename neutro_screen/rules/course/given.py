"""Which drugs are given on a day, and were when a specimen was taken."""

from datetime import date
from typing import Final

import polars as pl

from neutro_screen.rules.counts.specimens import SPECIMEN

#: The first day of a course of which only the drug list tells: taken now, since when is not known.
UNDATED: Final = date.min


def is_undated() -> pl.Expr:
    """The first day of a course (first_exposure) is not known."""
    return pl.col("first_exposure") == UNDATED


def may_have_ended() -> pl.Expr:
    """A course of which nobody knows whether it was still given: its first day is not known, or a last day was sent that
    could not be read. For courses without a last day that has passed (stopped_on)."""
    return (is_undated() | pl.col("is_end_unread")) & pl.col("stopped_on").is_null()


def known_day(column: str) -> pl.Expr:
    """A day of a course; null where it is not known."""
    return pl.when(pl.col(column).is_between(UNDATED, date.max, closed="none")).then(column).alias(column)


def is_given(day: pl.Expr) -> pl.Expr:
    """A course (first_exposure, last_exposure; Date, null = still given) is current on a day, first and last day included."""
    return (pl.col("first_exposure") <= day) & (pl.col("last_exposure") >= day).fill_null(True)


def drugs_given(specimens: pl.LazyFrame, courses: pl.LazyFrame) -> pl.LazyFrame:
    """``patient_id, specimen_id, drugs``: one row per specimen on a current course, the names joined by "and".

    ``courses`` has patient_id, ingredient, first_exposure and last_exposure.
    """
    day = pl.col("collected_at").dt.date()
    return (
        specimens.select(*SPECIMEN, "collected_at")
        .unique()
        .join(courses.select("patient_id", "ingredient", "first_exposure", "last_exposure"), on="patient_id")
        .filter(is_given(day))
        .group_by(SPECIMEN)
        .agg(drugs=pl.col("ingredient").unique().sort().str.join(" and "))
    )

"""Which drugs are given on a day, and were when a specimen was taken."""

import polars as pl

from neutro_screen.rules.counts.specimens import SPECIMEN


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

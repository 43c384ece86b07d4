"""Which drugs were given when a specimen was taken."""

import polars as pl

from neutro_screen.rules.counts.specimens import SPECIMEN


def drugs_given(specimens: pl.LazyFrame, courses: pl.LazyFrame) -> pl.LazyFrame:
    """``patient_id, specimen_id, drugs``: one row per specimen on a current course, the names joined by "and".

    ``courses`` has patient_id, ingredient, first_exposure, last_exposure (Date, null = still given); a course is current
    from its first to its last day.
    """
    day = pl.col("collected_at").dt.date()
    return (
        specimens.select(*SPECIMEN, "collected_at")
        .unique()
        .join(courses.select("patient_id", "ingredient", "first_exposure", "last_exposure"), on="patient_id")
        .filter((pl.col("first_exposure") <= day) & (pl.col("last_exposure") >= day).fill_null(True))
        .group_by(SPECIMEN)
        .agg(drugs=pl.col("ingredient").unique().sort().str.join(" and "))
    )

"""Counts as a clinician would jot them down, for the spec tests of the course over time."""

from datetime import datetime, timedelta

import polars as pl

from neutro_screen.reference import load_reference
from neutro_screen.rules.counts.severity import severity
from tests.spec.tables import table

#: Day 0 of every table.
DAY_0 = datetime.fromisoformat("2026-01-01T08:00:00")

_TEXTS = ("anc_method", "wbc_comparator", "notes")
_NUMBERS = ("wbc", "neut_pct", "seg_pct", "seg_abs", "reference_low", "age_days", "baseline_cells_per_ul")


def counts(text: str) -> pl.LazyFrame:
    """A table with the columns patient, day, anc (cells/uL, with a comparator where censored) and any of the columns
    that ``count_neutrophils`` gives; what is left out is null, the method ``reported``. Specimens are S1, S2, …"""
    rows = table(text)
    value = pl.col("anc").str.strip_chars("<>= ").cast(pl.Float64)
    comparator = pl.col("anc").str.extract(r"^([<>]=?)")
    plain = (
        rows.with_row_index("line", offset=1)
        .with_columns(pl.lit(None, pl.String).alias(name) for name in (*_TEXTS, *_NUMBERS) if name not in rows.columns)
        .select(
            pl.col(*_TEXTS),
            pl.col(*_NUMBERS).cast(pl.Float64),
            patient_id="patient",
            specimen_id=pl.format("S{}", "line"),
            collected_at=at(pl.col("day")),
            resulted_at=at(pl.col("day")),
            anc_cells_per_ul=value,
            anc_comparator=comparator,
        )
        .with_columns(pl.col("anc_method").fill_null("reported"))
    )
    graded = severity(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"), load_reference().anc_bands)
    return plain.with_columns(severity=graded).lazy()


def exposures(text: str) -> pl.LazyFrame:
    """A table with the columns patient, first, last (days; blank = still given)."""
    rows = table(text)
    return rows.select(
        patient_id="patient",
        ingredient=pl.lit("clozapine"),
        first_exposure=at(pl.col("first")).dt.date(),
        first_exposure_latest=at(pl.col("first")).dt.date(),
        last_exposure=at(pl.col("last")).dt.date(),
        is_end_unread=pl.lit(False),
    ).lazy()


def people(text: str) -> pl.LazyFrame:
    """A table with the columns patient and duffy_null (yes, no or blank)."""
    return table(text).select(patient_id="patient", duffy_null=pl.col("duffy_null") == "yes").lazy()


#: Of nobody anything is recorded.
NOBODY = people("patient | duffy_null")


def at(day: pl.Expr) -> pl.Expr:
    """The time of a day of the table; days may have decimals."""
    return (pl.lit(DAY_0) + pl.duration(seconds=day.cast(pl.Float64) * timedelta(days=1).total_seconds())).cast(
        pl.Datetime("us")
    )


def column(frame: pl.LazyFrame, name: str) -> list[object]:
    """The column in the order of the table."""
    ordered = frame.sort(pl.col("specimen_id").str.strip_prefix("S").cast(pl.Int64))
    return ordered.select(name).collect()[name].to_list()

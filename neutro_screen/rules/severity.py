"""Severity and toxicity grades: ladders built from the rows of the reference tables (SEV-1, SEV-2)."""

import polars as pl

from neutro_schemas import Severity
from neutro_screen.reference import Reference


def with_grades(anc: pl.LazyFrame, patients: pl.LazyFrame, reference: Reference) -> pl.LazyFrame:
    """Add ``age_days`` at collection (null = birth date unknown), ``severity`` and the grades of every system."""
    count, comparator = pl.col("anc_cells_per_ul"), pl.col("anc_comparator")
    born = patients.group_by("patient_id").agg(pl.col("birth_date").min())
    age_days = (pl.col("collected_at").dt.date() - pl.col("birth_date")).dt.total_days()
    return (
        anc.join(born, on="patient_id", how="left")
        .with_columns(age_days=age_days, severity=severity(count, comparator, reference.anc_bands))
        .with_columns(**grades(count, comparator, pl.col("reference_low"), pl.col("age_days"), reference.grade_bands))
    )


def severity(anc: pl.Expr, comparator: pl.Expr, bands: pl.DataFrame) -> pl.Expr:
    """Severity of an ANC in cells/uL (SEV-1), as an Enum in clinical order.

    A censored value below x grades strictly below x; where that would be "normal" nothing is proven and the result is
    null (ANC-6). Null in, null out.
    """
    steps = _steps_below(anc, comparator, [(upper, False) for upper in bands["upper"].drop_nulls().sort()])
    may_be_lower = comparator.is_in(["<", "<="]).fill_null(False)
    proven = pl.when(anc.is_not_null() & ~(may_be_lower & (steps == 0))).then(steps)
    return proven.cast(pl.UInt8).cat.to(Severity)


def grades(
    anc: pl.Expr, comparator: pl.Expr, lower_limit_of_normal: pl.Expr, age_days: pl.Expr, bands: pl.DataFrame
) -> dict[str, pl.Expr]:
    """Grade 0-4 of every system of ``grade_bands.csv``, by column name (``ctcae_v5_grade``, ...).

    ``anc`` and the limit in cells/uL. Not graded (null): no value; grade 0 or 1 where the row's own lower limit of
    normal decides and is missing; age unknown where age decides; a value known only to be below a limit of grade 0.
    """
    graded: dict[str, pl.Expr] = {}
    for (system,), rows in bands.group_by("system", maintain_order=True):
        by_age = [
            (age, _grade(anc, comparator, lower_limit_of_normal, ladder))
            for age, ladder in rows.group_by("age_from_days", "age_to_days", maintain_order=True)
        ]
        grade = pl.lit(None, pl.Int8)
        for (first_day, last_day), ladder_grade in by_age:
            applies = pl.lit(True) if first_day is None else age_days >= first_day
            if last_day is not None:
                applies &= age_days < last_day + 1
            grade = pl.when(applies).then(ladder_grade).otherwise(grade)
        graded[f"{system}_grade"] = grade.cast(pl.Int8)
    return graded


def _grade(anc: pl.Expr, comparator: pl.Expr, lln: pl.Expr, ladder: pl.DataFrame) -> pl.Expr:
    fixed = [
        (row["upper"], row["upper_inclusive"])
        for row in ladder.filter(pl.col("upper").is_not_null()).iter_rows(named=True)
    ]
    may_be_lower = comparator.is_in(["<", "<="]).fill_null(False)
    grade = _steps_below(anc, comparator, fixed)
    if ladder["uses_lln"].is_not_null().any():
        # The fixed limits come first: only a value at or above all of them is measured against the row's own limit.
        below_lln = (anc < lln) | ((anc == lln) & (comparator == "<").fill_null(False))
        grade = pl.when(grade > 0).then(grade + 1).when(below_lln).then(1).when(below_lln.not_()).then(0)
    return pl.when(anc.is_not_null() & ~(may_be_lower & (grade == 0))).then(grade)


def _steps_below(anc: pl.Expr, comparator: pl.Expr, limits: list[tuple[float, bool]]) -> pl.Expr:
    """How many of the limits the value lies below (or at, where the limit belongs to the step below it)."""
    strictly = (comparator == "<").fill_null(False)
    return pl.sum_horizontal(
        ((anc <= limit) if inclusive else ((anc < limit) | (strictly & (anc == limit)))).cast(pl.Int8)
        for limit, inclusive in limits
    )

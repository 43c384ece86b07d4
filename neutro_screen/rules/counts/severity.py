"""Severity and toxicity grades: ladders built from the rows of the reference tables (SEV-1, SEV-2)."""

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Final

import polars as pl

from neutro_schemas import COMPARATORS, Severity
from neutro_screen.reference import Reference

#: Working columns: the count as the limits are held against it, and grade 0 where it is proven.
_COUNT: Final = "count_at_most"
_NONE: Final = "grade_none"
#: A column of comparators is nearly all null: as an Enum that is seen at once, as text every row is compared.
_COMPARATOR: Final = pl.Enum(COMPARATORS)
#: Cells/uL: less than any laboratory reports and more than the rounding of a float.
_HARDLY_LESS: Final = 1e-6
#: Cells/uL: a count and a limit that differ by less are the same number, computed on two ways (2.0001 x 1000).
_ROUNDING: Final = 1e-7


def with_grades(anc: pl.LazyFrame, patients: pl.LazyFrame, reference: Reference) -> pl.LazyFrame:
    """Add ``age_days`` at collection (null = birth date unknown), ``severity`` and the grades of every system."""
    count, comparator = pl.col("anc_cells_per_ul"), pl.col("anc_comparator")
    born = patients.group_by("patient_id").agg(pl.col("birth_date").min())
    age_days = (pl.col("collected_at").dt.date() - pl.col("birth_date")).dt.total_days()
    dated = anc.join(born, on="patient_id", how="left", maintain_order="left").with_columns(
        age_days=age_days, severity=severity(count, comparator, reference.anc_bands)
    )
    limit = pl.col("reference_low")
    return with_every_grade(dated, count, comparator, limit, pl.col("age_days"), reference.grade_bands)


def severity(anc: pl.Expr, comparator: pl.Expr, bands: pl.DataFrame) -> pl.Expr:
    """Severity of an ANC in cells/uL (SEV-1), as an Enum in clinical order.

    A censored value below x grades strictly below x; where that would be "normal" nothing is proven and the result is
    null (ANC-6). Null in, null out.
    """
    limits = [(upper, False) for upper in bands["upper"].drop_nulls()]
    steps = _step(_at_most(anc, comparator), limits, above=_none_if_proven(anc, comparator))
    return steps.cast(pl.UInt8).cat.to(Severity)


def with_every_grade(
    counts: pl.LazyFrame,
    anc: pl.Expr,
    comparator: pl.Expr,
    lower_limit_of_normal: pl.Expr,
    age_days: pl.Expr,
    bands: pl.DataFrame,
) -> pl.LazyFrame:
    """Add the grade 0-4 (Int8) of every system of ``grade_bands.csv``: ``ctcae_v5_grade``, ``daids_grade``, ...

    ``anc`` and the limit in cells/uL. Not graded (null): no value; grade 0 or 1 where the row's own lower limit of
    normal decides and is missing; age unknown where age decides; a value known only to be below a limit of grade 0.
    """
    graded: dict[str, pl.Expr] = {}
    same_as: dict[str, pl.Expr] = {}
    known: dict[tuple[object, ...], str] = {}
    for (system,), rows in bands.group_by("system", maintain_order=True):
        ladders = tuple(rows.drop("system", "version", "source").rows())
        twin = known.setdefault(ladders, f"{system}_grade")
        if twin in graded:
            same_as[f"{system}_grade"] = pl.col(twin)
        else:
            graded[twin] = _grade_by_age(rows, lower_limit_of_normal, age_days)
    # What all ladders ask of the count is computed once, in a step of its own.
    held = counts.with_columns(_at_most(anc, comparator).alias(_COUNT), _none_if_proven(anc, comparator).alias(_NONE))
    return held.with_columns(**graded).with_columns(**same_as).drop(_COUNT, _NONE)


def _grade_by_age(rows: pl.DataFrame, lln: pl.Expr, age_days: pl.Expr) -> pl.Expr:
    grade = _lit(None)
    for (first_day, last_day), ladder in rows.group_by("age_from_days", "age_to_days", maintain_order=True):
        if first_day is None and last_day is None:
            return _grade(ladder, lln)
        is_of_age = pl.lit(True) if first_day is None else age_days >= first_day
        if last_day is not None:
            is_of_age &= age_days < last_day + 1
        grade = pl.when(is_of_age).then(_grade(ladder, lln)).otherwise(grade)
    return grade


def _grade(ladder: pl.DataFrame, lln: pl.Expr) -> pl.Expr:
    limits = [
        (row["upper"], row["upper_inclusive"]) for row in ladder.iter_rows(named=True) if row["upper"] is not None
    ]
    count, none = pl.col(_COUNT), pl.col(_NONE)
    if ladder["uses_lln"].is_null().all():
        return _step(count, limits, above=none)
    # The fixed limits come first: only a value at or above all of them is measured against the row's own limit.
    by_lln = pl.when(count < lln - _ROUNDING).then(_lit(1)).when(lln.is_not_null()).then(none)
    return _step(count, limits, above=by_lln, first=2)


def _step(count: pl.Expr, limits: Iterable[tuple[float, bool]], above: pl.Expr, first: int = 1) -> pl.Expr:
    """The step of a ladder: ``first`` below the highest limit, one more below each further one, else ``above``.

    A limit may belong to the step below it (inclusive). The limits that a count is below are counted, from the highest
    down: systems that begin with the same limits share the sum as far as it goes, which a chain of when and then does
    not, and a grade of four systems costs a third less. Small integers cost about half of polars' default ones.
    """
    highest, *others = (
        count <= limit if inclusive else count < limit for limit, inclusive in sorted(limits, reverse=True)
    )
    further = [pl.when(is_below).then(_lit(1)).otherwise(_lit(0)) for is_below in others]
    return pl.when(highest).then(reduce(add, [*further, _lit(first)])).otherwise(above)


def _at_most(anc: pl.Expr, comparator: pl.Expr) -> pl.Expr:
    """The count that the limits are held against: one known only as ``< x`` lies just below x."""
    return pl.when(_place(comparator) == COMPARATORS.index("<")).then(anc - _HARDLY_LESS).otherwise(anc)


def _none_if_proven(anc: pl.Expr, comparator: pl.Expr) -> pl.Expr:
    """Step 0, unless the count is missing or only an upper bound, which proves nothing above the limits (ANC-6)."""
    return pl.when(_place(comparator) <= COMPARATORS.index("<=")).then(_lit(None)).when(anc.is_not_null()).then(_lit(0))


def _place(comparator: pl.Expr) -> pl.Expr:
    """The place of a comparator in the vocabulary, where the two upper bounds come first."""
    return comparator.cast(_COMPARATOR).to_physical()


def _lit(step: int | None) -> pl.Expr:
    return pl.lit(step, pl.Int8)

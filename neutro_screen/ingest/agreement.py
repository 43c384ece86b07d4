"""Fields that hold the same fact twice are compared (REC-7): value and source value, unit and source unit, comparators.

A disagreement is ``"true"`` in the native column ``fields_disagree``, which refuses the row; null where the fields agree, or
where one of them is blank or no number.
"""

from functools import cache
from typing import Final

import polars as pl

from neutro_screen.recognition.words import limits
from neutro_screen.reference import unit_factors
from neutro_screen.text import match_key

_COMPARATOR: Final = r"^\s*([<>\x{2264}\x{2265}])"
_NUMBER: Final = r"^\s*[<>=\x{2264}\x{2265}]*\s*([+-]?\d[\d.,]*(?:[eE][+-]?\d+)?)"
_SIGNS: Final = {"\u2264": "<", "\u2265": ">"}


def disagreement(*differ: pl.Expr) -> pl.Expr:
    """``"true"`` where any of these pairs of fields differs, else null."""
    return pl.when(pl.any_horizontal(pair.fill_null(False) for pair in differ)).then(pl.lit("true"))


def numbers_differ(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two texts begin with different numbers. A comma may be a decimal or a thousands mark."""
    # Texts that are equal, as most are, need no reading.
    first = pl.when(one != other).then(one)
    second = number_in(pl.when(one != other).then(other))
    return pl.all_horizontal(are_different(number_in(first, mark), second) for mark in (".", ","))


def are_different(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two numbers differ by more than rounding; null where one is null."""
    return (one - other).abs() > limits()["same_number_share"] * pl.max_horizontal(one.abs(), other.abs())


def number_in(text: pl.Expr, decimal_mark: str = ".") -> pl.Expr:
    """The number at the start of a text, behind a comparator where there is one."""
    plain = text.cast(pl.Float64, strict=False)
    digits = pl.when(plain.is_null()).then(text).str.extract(_NUMBER)
    point = (
        digits.str.replace(",", ".", literal=True)
        if decimal_mark == ","
        else digits.str.replace_all(",", "", literal=True)
    )
    return pl.coalesce(plain, point.cast(pl.Float64, strict=False))


def comparators_differ(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether one text begins with less than and the other with greater than; ``other`` is blank in most rows."""
    second = other.str.extract(_COMPARATOR).replace(_SIGNS)
    return pl.when(second.is_not_null()).then(one).str.extract(_COMPARATOR).replace(_SIGNS) != second


def units_differ(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two units, as ``unit_facts`` describes them, are of different size, or one of a count and one a percentage."""
    first, second = one.struct, other.struct
    return (
        (first.field("factor") != second.field("factor")).fill_null(False)
        | (first.field("is_percentage") & second.field("factor").is_not_null())
        | (second.field("is_percentage") & first.field("factor").is_not_null())
    )


def unit_facts(units: pl.Series) -> pl.Series:
    """Of each unit a struct: factor of cell counts (unit_factors.csv; null = no unit of counts), is_percentage."""
    distinct = units.unique().to_frame("unit").with_columns(key=match_key(pl.col("unit")))
    facts = distinct.select(
        "unit",
        facts=pl.struct(
            factor=pl.col("key").replace_strict(_factors("count"), default=None, return_dtype=pl.Float64),
            is_percentage=pl.col("key")
            .is_in(list(_factors("percent").keys() - _factors("count").keys()))
            .fill_null(False),
        ),
    )
    return units.to_frame("unit").join(facts, on="unit", how="left", nulls_equal=True, maintain_order="left")["facts"]


@cache
def _factors(dimension: str) -> dict[str, float]:
    units = unit_factors().filter(
        pl.col("dimension") == dimension, pl.col("decision") != "refuse", pl.col("match_key").is_not_null()
    )
    return dict(units.select("match_key", "factor").iter_rows())

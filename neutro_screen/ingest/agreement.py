"""Fields that hold the same fact twice are compared (REC-7): value and source value, unit and source unit, comparators.

A disagreement is ``"true"`` in the native column ``fields_disagree``, which refuses the row; null where the fields agree, or
where one of them is blank or no number.
"""

from functools import cache
from typing import Final

import polars as pl

from neutro_screen.reference import load_reference
from neutro_screen.text import match_key

#: Two numbers are the same if they differ by no more than this share: one of them may be rounded.
_SAME_NUMBER: Final = 0.01
_COMPARATOR: Final = r"^\s*([<>\x{2264}\x{2265}])"


def disagreement(*differ: pl.Expr) -> pl.Expr:
    """``"true"`` where any of these pairs of fields differs, else null."""
    return pl.when(pl.any_horizontal(pair.fill_null(False) for pair in differ)).then(pl.lit("true"))


def numbers_differ(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two texts begin with different numbers. A comma may be a decimal or a thousands mark."""
    second = number_in(other)
    return pl.all_horizontal(are_different(number_in(one, mark), second) for mark in (".", ","))


def are_different(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two numbers differ by more than rounding; null where one is null."""
    return (one - other).abs() > _SAME_NUMBER * pl.max_horizontal(one.abs(), other.abs())


def number_in(text: pl.Expr, decimal_mark: str = ".") -> pl.Expr:
    """The number at the start of a text, behind a comparator where there is one."""
    digits = text.str.extract(r"^\s*[<>=\x{2264}\x{2265}]*\s*([+-]?\d[\d.,]*(?:[eE][+-]?\d+)?)")
    point = (
        digits.str.replace(",", ".", literal=True)
        if decimal_mark == ","
        else digits.str.replace_all(",", "", literal=True)
    )
    return point.cast(pl.Float64, strict=False)


def comparators_differ(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether one text begins with less than and the other with greater than."""
    first, second = (text.str.extract(_COMPARATOR).replace({"\u2264": "<", "\u2265": ">"}) for text in (one, other))
    return first != second


def units_differ(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two units of a count are of different size, or one is of a count and the other a percentage."""
    first, second = count_factor(one), count_factor(other)
    is_percent, other_is_percent = is_percentage(one), is_percentage(other)
    return (
        (first != second).fill_null(False)
        | (is_percent & second.is_not_null())
        | (other_is_percent & first.is_not_null())
    )


def count_factor(unit: pl.Expr) -> pl.Expr:
    """The factor of a unit of cell counts (unit_factors.csv); null for other units."""
    return match_key(unit).replace_strict(_factors("count"), default=None, return_dtype=pl.Float64)


def is_percentage(unit: pl.Expr) -> pl.Expr:
    """Whether a unit is a percentage and no unit of counts."""
    return match_key(unit).is_in(list(_factors("percent").keys() - _factors("count").keys())).fill_null(False)


@cache
def _factors(dimension: str) -> dict[str, float]:
    units = load_reference().unit_factors.filter(
        pl.col("dimension") == dimension, pl.col("decision") != "refuse", pl.col("match_key").is_not_null()
    )
    return dict(units.select("match_key", "factor").iter_rows())

"""The text of a value becomes comparator and number, or says that there is none (ANC-6, ANC-9, ANC-11)."""

from typing import Final

import polars as pl

from neutro_screen.reference import Reference
from neutro_screen.text import match_key

_COMPARATOR_WORDS: Final = {
    "<": "<", "<=": "<=", "=<": "<=", "\u2264": "<=", ">": ">", ">=": ">=", "=>": ">=", "\u2265": ">=", "=": None,
    "less than": "<", "below": "<", "under": "<", "greater than": ">", "more than": ">", "above": ">", "over": ">",
}  # fmt: skip
#: Abnormal flags that some analysers print behind the number.
_FLAGS: Final = ("h", "l", "hh", "ll", "a", "n", "c", "*", "**", "!", "+", "(h)", "(l)", "hi", "lo", "high", "low")
_PARTS: Final = (
    r"^(?P<comparator><=|>=|=<|=>|<|>|\x{2264}|\x{2265}|=|less than|greater than|more than|below|above|under|over)?"
    r"\s*(?P<number>[+-]?(?:\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?|\d[\d.,]*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<tail>.*)$"
)
#: What decides how a text is read, beside the text itself.
KEYS: Final = ("value_text", "unit_key", "is_small_unit")


def number(value_text: pl.Expr) -> pl.Expr:
    """The value where its text is a plain finite number, else null. NaN and infinity are not numbers (ANC-7)."""
    plain = value_text.str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(plain.is_finite()).then(plain)


def is_ambiguous(value_text: pl.Expr, is_small_unit: pl.Expr) -> pl.Expr:
    """4.500 cells/uL: cells are counted whole, so the point is a thousands mark or the unit is wrong."""
    return is_small_unit & value_text.str.contains(r"^\s*\d{1,3}\.\d{3}\s*$")


def read_texts(distinct: pl.DataFrame, reference: Reference, decimal_mark: str | None) -> pl.DataFrame:
    """Read distinct texts that are no plain numbers, given with ``KEYS``.

    Adds ``number`` (Float64), ``comparator``, ``value_status`` (ok, unparseable, ambiguous_decimal) and ``no_result``
    (kind of non-result, null = it should be a value).

    A comma is the decimal mark with one or two digits after it, or more than three, or a leading zero; with three
    digits it is a thousands mark where cells per uL are counted, and otherwise ambiguous unless the source's profile
    states its decimal mark (FORMATS.md D.3). What stands behind the number may be a flag or the row's own unit.
    """
    texts = distinct.with_columns(key=match_key(pl.col("value_text")))
    parts = pl.col("key").str.extract_groups(_PARTS)
    texts = texts.with_columns(parts.alias("parts")).unnest("parts")
    digits = pl.col("number").str.replace_all(r"[ ']", "")
    decimal_comma = _decimal_comma(digits, decimal_mark)
    plain = (
        pl.when(decimal_comma)
        .then(digits.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
        .when(decimal_comma.not_())
        .then(digits.str.replace_all(",", "", literal=True))
    )
    small_point = is_ambiguous(pl.col("value_text"), pl.col("is_small_unit"))
    tail_is_known = pl.col("tail").is_in(["", *_FLAGS]) | (pl.col("tail") == pl.col("unit_key"))
    value = plain.cast(pl.Float64, strict=False)
    texts = texts.with_columns(
        parsed=pl.when(tail_is_known & value.is_finite() & ~small_point | (small_point & pl.lit(decimal_mark == ",")))
        .then(pl.when(small_point).then(digits.str.replace_all(".", "", literal=True).cast(pl.Float64, strict=False))
              .otherwise(value)),
        is_ambiguous=small_point & pl.lit(decimal_mark is None) | (tail_is_known & plain.is_null() & digits.is_not_null()),
        no_result=_no_result(texts, reference),
    )  # fmt: skip
    return texts.select(
        *KEYS,
        number=pl.when(pl.col("no_result").is_null()).then("parsed"),
        comparator=pl.when(pl.col("parsed").is_not_null()).then(
            pl.col("comparator").replace_strict(_COMPARATOR_WORDS, default=None, return_dtype=pl.String)
        ),
        value_status=pl.when(pl.col("parsed").is_not_null())
        .then(pl.lit("ok"))
        .when("is_ambiguous")
        .then(pl.lit("ambiguous_decimal"))
        .otherwise(pl.lit("unparseable")),
        no_result=pl.when(pl.col("parsed").is_null() & ~pl.col("is_ambiguous").fill_null(False)).then("no_result"),
    )


def _decimal_comma(digits: pl.Expr, decimal_mark: str | None) -> pl.Expr:
    """True: the comma is the decimal mark; False: commas only group thousands; null: it cannot be told."""
    if decimal_mark is not None:
        return pl.lit(decimal_mark == ",")
    has_comma = digits.str.contains(",", literal=True)
    has_point = digits.str.contains(".", literal=True)
    return (
        pl.when(~has_comma).then(pl.lit(False))
        .when(has_point & digits.str.contains(r"^[+-]?\d{1,3}(,\d{3})+\.\d*$")).then(pl.lit(False))
        .when(has_point & digits.str.contains(r"^[+-]?\d{1,3}(\.\d{3})+,\d*$")).then(pl.lit(True))
        .when(has_point).then(None)
        .when(digits.str.contains(r"^[+-]?\d{1,3}(,\d{3}){2,}$")).then(pl.lit(False))
        .when(digits.str.contains(r"^[+-]?0,\d+$") | digits.str.contains(r"^[+-]?\d+,(\d{1,2}|\d{4,})$"))
        .then(pl.lit(True))
        .when(pl.col("is_small_unit") & digits.str.contains(r"^[+-]?[1-9]\d{0,2},\d{3}$")).then(pl.lit(False))
    )  # fmt: skip


def _no_result(texts: pl.DataFrame, reference: Reference) -> pl.Series:
    words = reference.no_result_words
    whole = dict(words.select("match_key", "kind").drop_nulls("match_key").iter_rows())
    phrases = words.filter(pl.col("match") == "phrase").sort(pl.col("match_key").str.len_bytes(), descending=True)
    found = pl.col("key").str.extract(rf"\b({'|'.join(phrases['match_key'])})\b")
    kind = pl.coalesce(
        pl.col("key").replace_strict(whole, default=None, return_dtype=pl.String),
        found.replace_strict(whole, default=None, return_dtype=pl.String),
    )
    return texts.select(pl.when(pl.col("key").is_null()).then(pl.lit("blank")).otherwise(kind)).to_series()

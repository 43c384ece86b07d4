"""The text of a value becomes comparator and number, or says that there is none (ANC-6, ANC-9, ANC-11)."""

from typing import Final

import polars as pl

from neutro_screen.recognition.flags import ARROWS, flags, flags_before
from neutro_screen.reference import Policy, Reference
from neutro_screen.text import alternatives, match_key

#: Signs that stand behind a comparator or number as text of a web page: &lt;0.1.
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&le;": "<=", "&ge;": ">=", "&amp;": "&", "&nbsp;": " "}
#: Digits and decimal marks of scripts that write numbers their own way (Arabic, Persian, Devanagari, Bengali, Thai).
_OWN_DIGITS: Final = {
    chr(zero + digit): str(digit) for zero in (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50) for digit in range(10)
} | {"\u066b": ".", "\u066c": ","}
_NUMBER: Final = (
    r"\s*(?P<number>[+-]?(?:\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?|\d[\d.,]*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<tail>.*)$"
)
#: A text without any letter or digit (----, ++++, ***) is no result.
_NOTHING_BUT_SIGNS: Final = r"^[^\p{L}\p{N}]+$"
#: What decides how a text is read, beside the text itself.
KEYS: Final = ("value_text", "unit_key", "is_small_unit", "decimal_mark")
#: Thousands (1,234,567) or lakhs (12,34,567).
_GROUPED_BY_COMMA: Final = r"^[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?$"
_LAKHS: Final = r"^[+-]?\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d*)?$"
_GROUPED_BY_POINT: Final = r"^[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?$"


def number(value_text: pl.Expr) -> pl.Expr:
    """The value where its text is a plain finite number, else null. NaN and infinity are not numbers (ANC-7)."""
    plain = value_text.str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(plain.is_finite()).then(plain)


def is_ambiguous(value_text: pl.Expr, is_small_unit: pl.Expr) -> pl.Expr:
    """4.500 cells/uL: cells are counted whole, so the point is a thousands mark or the unit is wrong."""
    return is_small_unit & value_text.str.contains(r"^\s*\d{1,3}\.\d{3}\s*$")


def decimal_marks(texts: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The decimal mark of a laboratory's analyte, told by its other values of the batch (FORMATS.md D.3).

    ``texts`` are the distinct texts of the whole batch: lab, analyte, is_small_unit, value_text and how often, ``n``. Returns lab,
    analyte, decimal_mark ("," or "."), only where enough values bear one mark out and next to none the other.
    A text bears out the comma where nothing but a decimal comma makes sense of it (0,35; 4,5; 1.234,5), the point
    likewise (4.5; 0.351; 1,234.5). One group of three digits (1.234; 1,234) says nothing, nor does a whole number.
    Where no text needs the decision, none is taken.
    """
    text, rule = pl.col("value_text"), policy.decimal_mark
    is_open = text.str.contains(r"[1-9]\d{0,2},\d{3}(?:\D|$)") | is_ambiguous(text, pl.col("is_small_unit"))
    is_open_to = texts.filter(is_open).select("lab", "analyte").unique()
    texts = texts.join(is_open_to, on=["lab", "analyte"], how="semi", nulls_equal=True)
    digits = _digits(pl.col("value_text"))
    is_comma = digits.str.contains(r"^[+-]?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))$") | digits.str.contains(
        r"^[+-]?\d{1,3}(?:\.\d{3})+,\d+$"
    )
    is_point = digits.str.contains(r"^[+-]?(?:0\.\d+|\d*\.(?:\d{1,2}|\d{4,}))$") | digits.str.contains(
        r"^[+-]?\d{1,3}(?:,\d{3})+\.\d+$"
    )
    borne_out = (
        texts.group_by("lab", "analyte")
        .agg(comma=pl.col("n").filter(is_comma).sum(), point=pl.col("n").filter(is_point).sum())
        .with_columns(most=pl.max_horizontal("comma", "point"), least=pl.min_horizontal("comma", "point"))
    )
    return (
        borne_out.filter(
            (pl.col("most") >= rule.minimum_n)
            & (pl.col("least") <= rule.minority_fraction * (pl.col("most") + pl.col("least")))
        )
        .select(
            "lab",
            "analyte",
            decimal_mark=pl.when(pl.col("comma") > pl.col("point")).then(pl.lit(",")).otherwise(pl.lit(".")),
        )
        .sort("lab", "analyte")
    )


def _digits(value_text: pl.Expr) -> pl.Expr:
    """The number in a text without comparator, spaces and apostrophes; what stands behind it is left."""
    return match_key(value_text).str.replace(r"^(?:[<>=]=?|\x{2264}|\x{2265})?\s*", "").str.replace_all(r"[ ']", "")


def read_texts(distinct: pl.DataFrame, reference: Reference, stated_mark: str | None = None) -> pl.DataFrame:
    """Read distinct texts that are no plain numbers, given with ``KEYS``.

    Adds ``number`` (Float64), ``comparator``, ``value_status`` (ok, unparseable, ambiguous_decimal) and ``no_result``
    (kind of non-result, null = it should be a value).

    ``stated_mark`` is the decimal mark that the source's profile states: it holds for every text. Without it a comma is
    the decimal mark with one or two digits after it, or more than three, or a leading zero; with three digits it is a
    thousands mark where cells per uL are counted, and otherwise what ``decimal_mark`` (from ``decimal_marks``, null =
    cannot be told) says (FORMATS.md D.3). What stands behind the number may be a flag or the row's own unit.
    """
    comparators = dict(reference.comparator_words.select("word", "comparator").iter_rows())
    texts = distinct.with_columns(key=match_key(pl.col("value_text")).str.replace_many(_ENTITIES | _OWN_DIGITS))
    bare = pl.col("key").str.replace(f"^{flags_before()}+", "")
    texts = texts.with_columns(parts=bare.str.extract_groups(_parts(list(comparators)))).unnest("parts")
    digits = pl.col("number").str.replace_all(r"[ ']", "")
    decimal_comma = _stated(digits, stated_mark) if stated_mark else _decimal_comma(digits)
    plain = (
        pl.when(decimal_comma)
        .then(digits.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
        .when(decimal_comma.not_())
        .then(digits.str.replace_all(",", "", literal=True))
    )
    tail_is_known = (
        pl.col("tail").str.contains(_known_tail(reference.remark_words["word"].to_list()))
        | (pl.col("tail") == pl.col("unit_key"))
        | _is_same_unit(texts, reference)
    )
    small_point = is_ambiguous(pl.col("value_text"), pl.col("is_small_unit"))
    point_groups = pl.lit(stated_mark == ",") if stated_mark else (pl.col("decimal_mark") == ",").fill_null(False)
    without_point = digits.str.replace_all(".", "", literal=True).cast(pl.Float64, strict=False)
    value = plain.cast(pl.Float64, strict=False)
    texts = texts.with_columns(
        parsed=pl.when(small_point & point_groups)
        .then(without_point)
        .when(~small_point & tail_is_known & value.is_finite())
        .then(value),
        is_ambiguous=(small_point & ~point_groups) | (tail_is_known & plain.is_null() & digits.is_not_null()),
        no_result=_no_result(texts, reference),
    )
    return texts.select(
        *KEYS,
        number=pl.when(pl.col("no_result").is_null()).then("parsed"),
        comparator=pl.when(pl.col("parsed").is_not_null()).then(
            pl.col("comparator").replace_strict(comparators, default=None, return_dtype=pl.String)
        ),
        value_status=pl.when(pl.col("parsed").is_not_null())
        .then(pl.lit("ok"))
        .when("is_ambiguous")
        .then(pl.lit("ambiguous_decimal"))
        .otherwise(pl.lit("unparseable")),
        no_result=pl.when(pl.col("parsed").is_null() & ~pl.col("is_ambiguous").fill_null(False)).then("no_result"),
    )


def _known_tail(remarks: list[str]) -> str:
    """A flag behind a number, and remarks that only say that it was looked at again."""
    remark = f"(?:{alternatives(remarks)})"
    return (
        rf"^[\s,*!+{ARROWS}]*(?:\((?:{flags()})\)|{flags()})?"
        rf"[\s,;*!+{ARROWS}]*(?:\(?{remark}(?:(?:\s|,|and|&)+{remark})*\)?)?[\s.]*$"
    )


def _parts(comparators: list[str]) -> str:
    """A comparator, where there is one, a number, and what stands behind it."""
    return rf"^(?P<comparator>{alternatives(comparators)})?{_NUMBER}"


def _is_same_unit(texts: pl.DataFrame, reference: Reference) -> pl.Series:
    """Whether the tail is another spelling of the row's own unit: the same factor wherever both are accepted."""
    units = reference.unit_factors.filter(pl.col("decision") != "refuse").select(
        "dimension", "factor", "offset", "match_key"
    )
    pairs = (
        texts.select("unit_key", "tail")
        .unique()
        .join(units, left_on="unit_key", right_on="match_key")
        .join(units, left_on=["dimension", "tail"], right_on=["dimension", "match_key"], suffix="_tail")
        .group_by("unit_key", "tail")
        .agg(is_same=((pl.col("factor") == pl.col("factor_tail")) & (pl.col("offset") == pl.col("offset_tail"))).all())
    )
    found = texts.select("unit_key", "tail").join(pairs, on=["unit_key", "tail"], how="left", maintain_order="left")
    return found["is_same"].fill_null(False)


def _stated(digits: pl.Expr, mark: str) -> pl.Expr:
    """As ``_decimal_comma`` where the profile states the mark; null where the text does not keep to it."""
    other, grouped = (".", _GROUPED_BY_POINT) if mark == "," else (",", _GROUPED_BY_COMMA)
    keeps = ~digits.str.contains(other, literal=True) | digits.str.contains(grouped)
    return pl.when(keeps).then(pl.lit(mark == ","))


def _decimal_comma(digits: pl.Expr) -> pl.Expr:
    """True: the comma is the decimal mark; False: commas only group thousands; null: it cannot be told."""
    has_comma = digits.str.contains(",", literal=True)
    has_point = digits.str.contains(".", literal=True)
    return (
        pl.when(~has_comma)
        .then(pl.lit(False))
        .when(has_point & digits.str.contains(_GROUPED_BY_COMMA))
        .then(pl.lit(False))
        .when(has_point & digits.str.contains(r"^[+-]?\d{1,3}(\.\d{3})+,\d*$"))
        .then(pl.lit(True))
        .when(has_point)
        .then(None)
        .when(digits.str.contains(_LAKHS) | digits.str.contains(r"^[+-]?\d{1,3}(,\d{3}){2,}$"))
        .then(pl.lit(False))
        .when(digits.str.contains(r"^[+-]?0,\d+$") | digits.str.contains(r"^[+-]?\d+,(\d{1,2}|\d{4,})$"))
        .then(pl.lit(True))
        .when(pl.col("is_small_unit") & digits.str.contains(r"^[+-]?[1-9]\d{0,2},\d{3}$"))
        .then(pl.lit(False))
        .when(digits.str.contains(r"^[+-]?[1-9]\d{0,2},\d{3}$"))
        .then(pl.col("decimal_mark") == ",")
    )


def _no_result(texts: pl.DataFrame, reference: Reference) -> pl.Series:
    words = reference.no_result_words
    whole = dict(words.select("match_key", "kind").drop_nulls("match_key").iter_rows())
    phrases = words.filter(pl.col("match") == "phrase").sort(pl.col("match_key").str.len_bytes(), descending=True)
    found = pl.col("key").str.extract(rf"\b({'|'.join(phrases['match_key'])})\b")
    kind = pl.coalesce(
        pl.col("key").replace_strict(whole, default=None, return_dtype=pl.String),
        found.replace_strict(whole, default=None, return_dtype=pl.String),
        pl.when(pl.col("key").str.contains(_NOTHING_BUT_SIGNS)).then(pl.lit("null_word")),
    )
    return texts.select(pl.when(pl.col("key").is_null()).then(pl.lit("blank")).otherwise(kind)).to_series()

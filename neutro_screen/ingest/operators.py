"""The operator of a result that stands beside its number: i2b2's TVAL_CHAR, PCORnet's RESULT_MODIFIER, "comparator" (ANC-6).

Without its operator a bound is read as a number: ``L`` and 0.1 are less than 100 cells/uL, not 100. So an operator is
understood (operator_words.csv), or its row is refused. Whether the letter ``L`` means "less than" or the flag "low" is told
by the column, never by the row:

- a header that can mean nothing else, or a profile, says that the column holds operators (operator_columns.csv);
- under a header that may mean another thing (sign, qualifier, the operator of an analyser) it holds them where each of its
  words is one and not all are ``L``; where all are, those rows are refused; where other words stand among them, and in a
  column of flags, only signs and whole words are operators (``<``, "less than").
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

import polars as pl

from neutro_schemas.reference import ComparatorWord, OperatorColumn, OperatorWord
from neutro_screen.ingest.agreement import disagreement
from neutro_screen.recognition.words import folded, tokens, unaccented
from neutro_screen.reference import reference_table
from neutro_screen.text import alternatives, match_key

_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
#: A word of a column of flags or initials that is an operator all the same: a sign, or longer than a code.
_PLAIN: Final = r"^[^a-z0-9]+$|^[a-z]{3}"
#: In front of an operator that leaves its number open: no word or sign that a number is read behind.
_OPEN: Final = "operator"
_BEGINS_WITH_NUMBER: Final = r"^[+-]?[.,]?\d"
_BLANK: Final = r"^[\s_]*$"


def operator_columns(headers: Iterable[str]) -> dict[str, str]:
    """Header -> operator, maybe or flag; headers that say none of it are left out."""
    return {header: reading for header in headers if (reading := _reading(header)) is not None}


def operator_column(rows: pl.DataFrame) -> str | None:
    """The column that holds the operators of results, by its header and its words; null where none surely does."""
    for column, reading in operator_columns(rows.columns).items():
        found = rows.select(match_key(pl.col(column).cast(pl.String)).unique().alias("key"))["key"].drop_nulls()
        others = set(found) - _of("nothing")
        is_told = bool(others & (_words().keys() - _of("bound_or_flag")))
        if is_told and (reading == "operator" or (reading == "maybe" and others <= _words().keys())):
            return column
    return None


def operators_of(rows: pl.DataFrame, column: str, reading: str, *, is_value: bool = False) -> pl.Expr | None:
    """The operators that a column holds, as text, null where it holds none; None = the column holds none at all.

    ``is_value``: the column holds results as well, so a text that is no operator is none.
    """
    words = _words()
    keys = match_key(pl.col(column).cast(pl.String))
    found = set(rows.select(keys.unique().alias("key")).to_series().drop_nulls()) - _of("nothing")
    known = found & words.keys()
    if not found or (reading != "operator" and not known):
        return None
    text = pl.col(column).cast(pl.String)
    if reading == "operator":
        return pl.when(keys.is_in(sorted(words)) if is_value else ~keys.is_in(sorted(_of("nothing")))).then(text)
    if reading == "maybe" and known == found:
        is_told = bool(found - _of("bound_or_flag"))
        return pl.when(keys.is_in(sorted(words))).then(text if is_told else pl.concat_str(text, pl.lit(" (low?)")))
    plain = sorted(word for word in known if re.match(_PLAIN, word))
    return pl.when(keys.is_in(plain)).then(text) if plain else None


def value_and_operator(
    rows: pl.DataFrame, columns: Sequence[str], others: Sequence[str]
) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """The texts of the columns that a value is read from, without operators; and the operators, ``others`` included.

    One of several columns that are joined to a value may hold operators whatever its header.
    """
    readings = operator_columns([*columns, *others])
    values, operators = [], []
    for column in columns:
        reading = readings.get(column, "maybe" if len(columns) > 1 else None)
        operator = operators_of(rows, column, reading, is_value=True) if reading else None
        text = pl.col(column).cast(pl.String)
        values.append(text if operator is None else pl.when(operator.is_null()).then(text))
        operators.append(operator)
    operators += [operators_of(rows, column, readings[column]) for column in others if column in readings]
    return values, [operator for operator in operators if operator is not None]


def with_bounds(frame: pl.DataFrame) -> pl.DataFrame:
    """The values with the operators that stand in another column, or with the bound that a comment holds, in front (ANC-6)."""
    if frame["comment"].null_count() < frame.height:
        bound = bound_in(pl.col("comment")).struct
        stated, value = bound.field("number").str.replace_all(",", ".", literal=True), pl.col("value")
        is_same = value.cast(pl.Float64, strict=False) == stated.cast(pl.Float64, strict=False)
        text = pl.when(value.is_null() | value.str.contains(_BLANK)).then(
            pl.concat_str(bound.field("sign"), pl.lit(" "), bound.field("number"))
        )
        sign = pl.when(is_same).then(bound.field("sign"))
        frame = frame.with_columns(value=pl.coalesce(text, value), comparator=pl.coalesce("comparator", sign))
    if frame["comparator"].null_count() == frame.height:
        return frame
    value, operator = pl.col("value"), pl.col("comparator")
    differ = disagreement(bounds_differ(value, operator))
    return frame.with_columns(
        value=with_operator(value, operator), fields_disagree=pl.coalesce("fields_disagree", differ)
    )


def operators_beside(measured: Iterable[str], others: Iterable[str]) -> dict[str, list[str]]:
    """Measured column of a wide file -> the columns whose header is its own with a word for operators: ANC, ANC_SIGN."""
    spelled = {column: _spelled(column) for column in measured}
    found: dict[str, list[str]] = {}
    for other in others:
        header = _spelled(other)
        owners = [column for column, words in spelled.items() if words and f" {words} " in f" {header} "]
        if owners and operator_columns([other]):
            found.setdefault(max(owners, key=lambda column: (len(spelled[column]), column)), []).append(other)
    return found


def comparator_of(operator: pl.Expr) -> pl.Expr:
    """What an operator means: a comparator, "" where it adds nothing, null where it is unknown or leaves the number open."""
    meanings = {word: comparator or "" for word, (comparator, reading) in _words().items() if reading != "open"}
    return match_key(operator).replace_strict(meanings, default=None, return_dtype=pl.String)


def first_bound(operators: Sequence[pl.Expr]) -> pl.Expr:
    """The first of several operators that adds anything: a flag ``<`` beside ``=`` counts, and so does one not understood."""
    return pl.coalesce(
        pl.when((comparator_of(operator) != "").fill_null(True)).then(operator) for operator in operators
    )


def with_operator(value: pl.Expr, operator: pl.Expr) -> pl.Expr:
    """A value with its operator in front; a number behind an operator that is not understood is no number any more.

    A value without digits is no number, whatever its operator; where it is blank, a text in the place of the operator is
    the result. A value with a sign of its own keeps it: see ``bounds_differ``.
    """
    comparator, text = comparator_of(operator), value.str.strip_chars()
    is_result = comparator.is_null() & ~match_key(operator).is_in(sorted(_words()))
    is_number = text.str.contains(_BEGINS_WITH_NUMBER)
    is_bounded = sign_before(text).is_not_null() & comparator.is_not_null()
    return (
        pl.when(operator.is_null() | (comparator == "") | is_bounded)
        .then(value)
        .when(value.is_null() | value.str.contains(_BLANK))
        .then(pl.when(is_result).then(operator).otherwise(value))
        .when(~text.str.contains(r"\d"))
        .then(value)
        .when(is_number & comparator.is_not_null())
        .then(pl.concat_str(comparator, text))
        .otherwise(pl.concat_str(pl.lit(_OPEN), operator, text, separator=" "))
    )


def bounds_differ(value: pl.Expr, operator: pl.Expr) -> pl.Expr:
    """Whether a value begins with less than where its operator says greater than, or the other way round."""
    own, stated = comparator_of(sign_before(pl.when(operator.is_not_null()).then(value))), comparator_of(operator)
    is_less = [comparator.str.starts_with("<") for comparator in (own, stated)]
    return (own != "") & (stated != "") & (is_less[0] != is_less[1])


def sign_before(text: pl.Expr) -> pl.Expr:
    """The sign or word that bounds the number at the start of a text (<0.1, LESS THAN 0.1, LT 0.1); null = none."""
    return text.str.to_lowercase().str.extract(rf"^\s*({_bounds()})\s*\d")


def bound_in(comment: pl.Expr) -> pl.Expr:
    """The bound that is a whole line of a comment ("___ LESS THAN 0.1."), as a struct of its sign and number; null = none."""
    pattern = rf"(?m)^[\s_]*(?P<sign>{_bounds()})\s*(?P<number>\d[\d.,]*?)[\s.;_]*$"
    return comment.str.to_lowercase().str.extract_groups(pattern)


def _reading(header: str) -> str | None:
    """What the longest phrase that stands in a header says."""
    header = f" {_spelled(header)} "
    standing = [(len(words), reading) for words, reading in _headers().items() if f" {words} " in header]
    return max(standing)[1] if standing else None


def _spelled(header: str) -> str:
    return " ".join(tokens(unaccented(folded(_CAPITAL.sub(" ", header)))))


@cache
def _headers() -> Mapping[str, str]:
    table = reference_table("operator_columns.csv", OperatorColumn).select("header", "reading")
    return {_spelled(header): reading for header, reading in table.iter_rows()}


@cache
def _words() -> Mapping[str, tuple[str | None, str]]:
    """Word -> comparator and reading."""
    signs = reference_table("comparator_words.csv", ComparatorWord).select("word", "comparator")
    words = {word: (comparator, "bound" if comparator else "exact") for word, comparator in signs.iter_rows()}
    table = reference_table("operator_words.csv", OperatorWord).select("word", "comparator", "reading")
    return words | {word: (comparator, reading) for word, comparator, reading in table.iter_rows()}


@cache
def _of(reading: str) -> frozenset[str]:
    return frozenset(word for word, (_, each) in _words().items() if each == reading)


@cache
def _bounds() -> str:
    """The words that bound a number wherever they stand, as a pattern."""
    return alternatives(reference_table("comparator_words.csv", ComparatorWord).drop_nulls("comparator")["word"])

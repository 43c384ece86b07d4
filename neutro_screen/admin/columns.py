"""Which column of a laboratory's file is which: by the words of its header and by what its values look like.

A header is a hint, the values are the check: a column that is called "Paciente" and holds names is no identifier.
Nothing of a value leaves this module but the answer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.units import read_unit
from neutro_screen.recognition.words import folded, tokens, unaccented
from neutro_screen.reference import load_reference
from neutro_screen.text import match_key

_NUMBER: Final = r"^[<>=\u2264\u2265~]*\s*[+-]?\d[\d.,' ]*$"
_DECIMAL: Final = r"^[<>=\u2264\u2265~]+|\d[.,]\d{1,2}$"
_DATE: Final = r"^(?:\d{1,4}[-./]\d{1,2}[-./]\d{2,4}|\d{1,2}[-. ][^\W\d_]{3}[-. ]\d{2,4}|(?:19|20)\d{6})(?:,?[ T]+\d{1,2}[:.]\d{2}.*|\d{4,6})?$"
#: Columns that no rule looks at: that a file has them says nothing of its kind.
FOR_THE_EYES: Final = ("ward", "requester")
#: A time of day without a date.
TIME_ALONE: Final = r"^\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp][Mm])?$"
_RANGE: Final = r"^[<>\u2264\u2265]?\s*\d[\d.,]*\s*(?:-|\u2013|\.\.|a|to|bis)\s*\d[\d.,]*$"
_YEAR: Final = r"((?:19|20)\d{2})"
#: CollDate, TestName: a capital in place of a space.
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
#: Words of a header that are shorter stand alone in it.
_SHORTEST_WITHIN: Final = 4
_DISTINCT_LOOKED_AT: Final = 200
#: The share of a column's values that must be of one sort.
_MOSTLY: Final = 0.8
_SHARE_OF_A_COLUMN: Final = 0.4
#: Dates that many years before the latest ones are dates of birth.
_YEARS_OF_A_BIRTH: Final = 2


@dataclass(frozen=True)
class Look:
    """What the values of a column look like: shares of its values that are of one sort, and how many distinct."""

    name: str
    roles: frozenset[str]
    numbers: float
    decimals: float
    dates: float
    times: float
    ranges: float
    digits: float
    words: float
    tests: float
    units: float
    statuses: float
    n_unique: int
    year: int | None

    @property
    def is_moment(self) -> bool:
        """Whether the column holds dates or times of day."""
        return self.dates >= _MOSTLY or self.times >= _MOSTLY


def looks_of(sample: pl.DataFrame) -> dict[str, Look]:
    """Each column of a sample of texts; a blank column looks like nothing."""
    return {name: _look(sample[name]) for name in sample.columns}


def _look(column: pl.Series) -> Look:
    values = column.drop_nulls()
    distinct = values.unique().sort().head(_DISTINCT_LOOKED_AT)
    statuses = load_reference().status_words["match_key"].implode()
    words = values.to_frame("word").select(is_word=match_key(pl.col("word")).is_in(statuses))["is_word"]
    years = values.str.extract(_YEAR).cast(pl.Int32, strict=False).drop_nulls()

    def share(pattern: str) -> float:
        return float(values.str.contains(pattern).sum()) / max(values.len(), 1)

    return Look(
        name=column.name,
        roles=roles_of(column.name),
        numbers=share(_NUMBER),
        decimals=share(_DECIMAL),
        dates=share(_DATE),
        times=share(TIME_ALONE),
        ranges=share(_RANGE),
        digits=share(r"\d"),
        words=share(r"[^\W\d_][\s,]+[^\W\d_]"),
        tests=_share(distinct, is_test),
        units=_share(distinct, is_unit),
        statuses=float(words.sum()) / max(values.len(), 1),
        n_unique=values.n_unique(),
        year=int(years.sort()[years.len() // 2]) if years.len() else None,
    )


def _share(distinct: pl.Series, is_one: Callable[[str], bool]) -> float:
    return sum(map(is_one, distinct)) / max(distinct.len(), 1)


def is_test(text: str) -> bool:
    """Whether a text names a cell that is counted."""
    return read_name(text).cell is not None


def is_unit(text: str) -> bool:
    """Whether a text is the unit of some quantity, and no number."""
    return bool(read_unit(text).accepted) and not re.fullmatch(r"[\d.,\s]+", text)


@cache
def _role_words() -> tuple[tuple[str, tuple[str, ...]], ...]:
    table = pl.read_csv(Path(__file__).parent / "column_words.csv", infer_schema=False)
    return tuple((role, tuple(words.split("|"))) for role, words in table.iter_rows())


def roles_of(header: str) -> frozenset[str]:
    """What the words of a header say of its column (column_words.csv)."""
    spelled = unaccented(folded(_CAPITAL.sub(" ", header)))
    single, whole = set(tokens(spelled)), "".join(tokens(spelled))
    return frozenset(role for role, words in _role_words() if any(_stands_in(word, single, whole) for word in words))


def _stands_in(word: str, single: set[str], whole: str) -> bool:
    key = "".join(tokens(unaccented(folded(word))))
    is_written_without_spaces = not key.isascii() and len(key) > 1 and ord(key[0]) > _FIRST_ASIAN
    return key in single or ((len(key) >= _SHORTEST_WITHIN or is_written_without_spaces) and key in whole)


_FIRST_ASIAN: Final = 0x2E80


def lab_columns(sample: pl.DataFrame, named: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Native column -> the file's own, and native column -> the one to fall back to where that is blank.

    ``named`` are those found by their whole names; they hold where their values do not speak against them.
    """
    looks = looks_of(sample)
    columns = {column: own for column, own in named.items() if _may_be(column, looks[own])}
    for column, score in _SCORES.items():
        if column in columns:
            continue
        free = [look for look in looks.values() if look.name not in columns.values()]
        best = max(free, key=lambda look: score(look, looks), default=None)
        if best is not None and score(best, looks) > 0:
            columns[column] = best.name
    columns |= _identifiers(sample, looks, columns)
    return columns, _second_value(sample, looks, columns)


def _may_be(column: str, look: Look) -> bool:
    """Whether the values of a column that is called so can be that; a blank column can be anything."""
    if not look.n_unique:
        return True
    if column in ("collected_at", "resulted_at"):
        return look.is_moment or look.dates > 0
    if column in ("patient_id", "specimen_id"):
        return look.digits >= _MOSTLY or ("person" not in look.roles and not look.words)
    if column == "analyte_name":
        return look.tests > 0
    if column == "value":
        return not look.is_moment and (look.numbers > 0 or look.digits > 0)
    if column in FOR_THE_EYES:
        # "Service" may as well be what was asked for.
        return not look.is_moment and max(look.tests, look.units) < _SHARE_OF_A_COLUMN
    return True


def _test_score(look: Look, _: Mapping[str, Look]) -> float:
    return look.tests + 0.1 * ("test" in look.roles) if look.tests >= _SHARE_OF_A_COLUMN else 0


def _unit_score(look: Look, _: Mapping[str, Look]) -> float:
    return look.units + 0.1 * ("unit" in look.roles) if look.units >= _SHARE_OF_A_COLUMN else 0


def _drawn_score(look: Look, looks: Mapping[str, Look]) -> float:
    """A moment that is no birth: by its header when blood was drawn, else whatever moment there is."""
    if look.dates < _MOSTLY or "birth" in look.roles or _is_long_ago(look, looks):
        return 0
    return 1 + 4 * ("collected" in look.roles) - 0.9 * ("resulted" in look.roles and "collected" not in look.roles)


def _resulted_score(look: Look, looks: Mapping[str, Look]) -> float:
    is_it = look.dates >= _MOSTLY and "resulted" in look.roles and "birth" not in look.roles
    return 1 if is_it and not _is_long_ago(look, looks) else 0


def _is_long_ago(look: Look, looks: Mapping[str, Look]) -> bool:
    latest = max((other.year for other in looks.values() if other.year and other.dates >= _MOSTLY), default=None)
    return latest is not None and look.year is not None and look.year < latest - _YEARS_OF_A_BIRTH


def _value_score(look: Look, _: Mapping[str, Look]) -> float:
    """Numbers, most with a decimal mark; identifiers and limits of a range are numbers, too."""
    others = look.roles & {"range", "low", "high", "age", "birth", "patient", "specimen", "number", "time"}
    if look.is_moment or look.ranges >= _MOSTLY or look.numbers < _SHARE_OF_A_COLUMN:
        return 0
    if "value" in look.roles:
        return 4 + look.numbers - 0.5 * len(others) - 0.2 * ("numeric" in look.roles)
    return look.numbers + look.decimals if not others and look.decimals > 0 else 0


def _range_score(look: Look, _: Mapping[str, Look]) -> float:
    return look.ranges if look.ranges >= _MOSTLY else 0


def _limit_score(which: str) -> Callable[[Look, Mapping[str, Look]], float]:
    def score(look: Look, _: Mapping[str, Look]) -> float:
        return 1 if look.roles >= {"range", which} and look.numbers >= _MOSTLY else 0

    return score


def _status_score(look: Look, _: Mapping[str, Look]) -> float:
    return look.statuses if look.statuses >= _MOSTLY and "status" in look.roles else 0


def _comment_score(look: Look, _: Mapping[str, Look]) -> float:
    return 1 if "comment" in look.roles and look.digits < _MOSTLY else 0


def _material_score(look: Look, _: Mapping[str, Look]) -> float:
    return 1 if "material" in look.roles and look.digits < _MOSTLY else 0


#: In the order in which columns are taken.
_SCORES: Final[Mapping[str, Callable[[Look, Mapping[str, Look]], float]]] = {
    "analyte_name": _test_score,
    "unit": _unit_score,
    "collected_at": _drawn_score,
    "resulted_at": _resulted_score,
    "reference_low": _limit_score("low"),
    "reference_high": _limit_score("high"),
    "reference_range": _range_score,
    "status": _status_score,
    "value": _value_score,
    "comment": _comment_score,
    "specimen_type": _material_score,
}


def _identifiers(sample: pl.DataFrame, looks: Mapping[str, Look], columns: Mapping[str, str]) -> dict[str, str]:
    """Patient and specimen: by their headers, else by how they nest: a specimen is of one patient, a patient has several."""
    taken = {own for column, own in columns.items() if column not in ("patient_id", "specimen_id")}
    free = [look for look in looks.values() if look.name not in taken and _is_identifier(look)]
    found: dict[str, str] = {}
    for column, role, other in (("patient_id", "patient", "specimen"), ("specimen_id", "specimen", "patient")):
        if column in columns:
            found[column] = columns[column]
            continue
        fitting = [look for look in free if look.name not in found.values() and _names(look, role, other)]
        if fitting:
            found[column] = max(fitting, key=lambda look: ("number" in look.roles, look.n_unique)).name
    rest = [look for look in free if look.name not in found.values() and not _names(look, "specimen", "patient")]
    if "patient_id" not in found and rest:
        own = min(rest, key=lambda look: (look.n_unique, look.name))
        if own.n_unique < sample.height:
            found["patient_id"] = own.name
    patient, specimen = found.get("patient_id"), found.get("specimen_id")
    if "specimen_id" not in columns and patient and specimen and not _nests(sample, specimen, patient):
        del found["specimen_id"]
    return found


def _names(look: Look, role: str, other: str) -> bool:
    return role in look.roles and not (other in look.roles and "number" not in look.roles)


def _is_identifier(look: Look) -> bool:
    is_another = look.is_moment or look.ranges > 0 or look.tests >= _MOSTLY or look.units > 0 or look.decimals > 0
    is_of_person = look.roles & {"age", "birth", "range", "low", "high", "unit", "comment", "time"}
    return look.digits >= _MOSTLY and look.n_unique > 1 and not is_another and not is_of_person


def _nests(sample: pl.DataFrame, inner: str, outer: str) -> bool:
    """Whether every value of one column comes with one value of the other."""
    return bool((sample.group_by(inner).agg(pl.col(outer).n_unique())[outer] <= 1).all())


def _second_value(sample: pl.DataFrame, looks: Mapping[str, Look], columns: Mapping[str, str]) -> dict[str, str]:
    """A number that stands beside a text, for the rows where the text is blank."""
    own = columns.get("value")
    if own is None:
        return {}
    others = frozenset(("comment", "status", "unit", "range", "low", "high", "time", "test", "patient", "specimen"))
    for look in looks.values():
        is_one = "value" in look.roles and not look.roles & others and not look.is_moment
        if look.name in columns.values() or not is_one:
            continue
        if sample.select((pl.col(own).is_null() & pl.col(look.name).is_not_null()).any()).item():
            return {"value": look.name}
    return {}

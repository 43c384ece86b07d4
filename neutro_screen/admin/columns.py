"""Which column of a laboratory's file is which: by the words of its header and by what its values look like.

A header is a hint, the values are the check: a column that is called "Paciente" and holds names is no identifier.
Nothing of a value leaves this module but the answer.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.ingest.operators import operator_column, operator_columns
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.specimens import read_specimen
from neutro_screen.recognition.units import read_unit
from neutro_screen.recognition.words import folded, tokens, unaccented
from neutro_screen.reference import load_reference
from neutro_screen.text import match_key

_NUMBER: Final = r"^[<>=\u2264\u2265~]*\s*[+-]?\d[\d.,' ]*$"
_DECIMAL: Final = r"^[<>=\u2264\u2265~]+|\d[.,]\d{1,2}$"
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_DAY: Final = (
    r"\d{1,4}[-./] ?\d{1,2}[-./] ?\d{2,4}\.?|\d{1,2}[-. ][^\W\d_]{3}[-. ]\d{2,4}|(?:19|20)\d{6}"
    rf"|\d{{1,2}}[-./ ]?{_MONTH}[-./ ,]{{0,2}}\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}}"
    r"|\d{4}\u5e74\d{1,2}\u6708\d{1,2}\u65e5"
)
_DATE: Final = rf"(?i)^(?:{_DAY})(?:,?[ T:]+\d{{1,2}}[:.h]\d{{2}}.*|[ T]?\d{{4,6}})?$"
#: Days as a spreadsheet counts them, or seconds of the Unix clock: times only where the header says so.
_COUNTED_TIME: Final = r"^(?:[2-5]\d{4}(?:\.\d+)?|1[5-9]\d{8})$"
#: Columns that no rule looks at: that a file has them says nothing of its kind.
FOR_THE_EYES: Final = ("ward", "requester")
#: A time of day without a date.
_TIME_ALONE: Final = r"^\d{1,2}[:h]\d{2}(?::\d{2})?(?:\s*[AaPp][Mm])?$"
_FOUR_DIGITS: Final = r"^(?:[01]\d|2[0-3])[0-5]\d$"
#: A limit has at most seven digits and no zero before another: 010160-0001 is the number of a person.
_LIMIT: Final = r"(?:0|[1-9][\d.,]{0,8}|0[.,]\d[\d.,]*)"
_RANGE: Final = rf"^[<>\u2264\u2265]?\s*{_LIMIT}\s*(?:-|\u2013|\.\.|a|to|bis)\s*{_LIMIT}$"
_LOINC: Final = r"^(?:[A-Za-z]+:)?\d{1,5}-\d$"
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
    materials: float
    loincs: float
    statuses: float
    n_unique: int
    year: int | None

    @property
    def is_moment(self) -> bool:
        """Whether the column holds dates or times of day."""
        return self.dates >= _MOSTLY or self.times >= _MOSTLY


def looks_of(sample: pl.DataFrame) -> dict[str, Look]:
    """Each column of a sample of texts; a blank column looks like nothing.

    Where no column holds dates, numbers under the header of a time are times.
    """
    looks = {name: _look(sample[name]) for name in sample.columns}
    if any(look.dates >= _MOSTLY for look in looks.values()):
        return looks
    return {
        name: replace(look, dates=_share_of(sample[name].drop_nulls(), _COUNTED_TIME))
        if look.roles & {"collected", "time"}
        else look
        for name, look in looks.items()
    }


def is_time_alone(values: pl.Series) -> bool:
    """Whether a column holds times of day without a date: 08:00, or 0800 where its header says time."""
    texts = values.drop_nulls()
    is_written_so = texts.str.contains(_TIME_ALONE)
    if "time" in roles_of(values.name):
        is_written_so |= texts.str.contains(_FOUR_DIGITS)
    return texts.len() > 0 and bool(is_written_so.all())


def _look(column: pl.Series) -> Look:
    values = column.drop_nulls()
    distinct = values.unique().sort().head(_DISTINCT_LOOKED_AT)
    statuses = load_reference().status_words["match_key"].implode()
    words = values.to_frame("word").select(is_word=match_key(pl.col("word")).is_in(statuses))["is_word"]
    years = values.str.extract(_YEAR).cast(pl.Int32, strict=False).drop_nulls()

    def share(pattern: str) -> float:
        return _share_of(values, pattern)

    return Look(
        name=column.name,
        roles=roles_of(column.name),
        numbers=share(_NUMBER),
        decimals=share(_DECIMAL),
        dates=share(_DATE),
        times=share(_TIME_ALONE),
        ranges=share(_RANGE),
        digits=share(r"\d"),
        words=share(r"[^\W\d_][\s,]+[^\W\d_]"),
        tests=_share(distinct, is_test),
        units=_share(distinct, is_unit),
        materials=_share(distinct, is_material),
        loincs=share(_LOINC),
        statuses=float(words.sum()) / max(values.len(), 1),
        n_unique=values.n_unique(),
        year=int(years.sort()[years.len() // 2]) if years.len() else None,
    )


def _share_of(values: pl.Series, pattern: str) -> float:
    return float(values.str.contains(pattern).sum()) / max(values.len(), 1)


def _share(distinct: pl.Series, is_one: Callable[[str], bool]) -> float:
    return sum(map(is_one, distinct)) / max(distinct.len(), 1)


def is_test(text: str) -> bool:
    """Whether a text names a cell that is counted."""
    return read_name(text).cell is not None


def is_unit(text: str) -> bool:
    """Whether a text is the unit of some quantity, and no number."""
    return bool(read_unit(text).accepted) and not re.fullmatch(r"[\d.,\s]+", text)


def is_material(text: str) -> bool:
    """Whether a text says which specimen was tested."""
    return read_specimen(text).specimen in ("blood", "other", "control")


@cache
def _role_words() -> tuple[tuple[str, tuple[str, ...]], ...]:
    table = pl.read_csv(Path(__file__).parent / "column_words.csv", infer_schema=False)
    return tuple((role, tuple(words.split("|"))) for role, words in table.iter_rows())


def roles_of(header: str) -> frozenset[str]:
    """What the words of a header say of its column (column_words.csv)."""
    spelled = tokens(unaccented(folded(_CAPITAL.sub(" ", header))))
    return frozenset(role for role, words in _role_words() if any(_stands_in(word, spelled) for word in words))


def _stands_in(word: str, spelled: Sequence[str]) -> bool:
    """Whether a word, or a phrase, is in a header; a longer word may be a part of one of its words."""
    parts = tokens(unaccented(folded(word)))
    key = "".join(parts)
    is_written_without_spaces = not key.isascii() and len(key) > 1 and ord(key[0]) > _FIRST_ASIAN
    if len(parts) > 1 or is_written_without_spaces:
        return (len(key) >= _SHORTEST_WITHIN or is_written_without_spaces) and key in "".join(spelled)
    return key in spelled or (len(key) >= _SHORTEST_WITHIN and any(key in token for token in spelled))


_FIRST_ASIAN: Final = 0x2E80


def lab_columns(sample: pl.DataFrame, named: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Native column -> the file's own, and native column -> the one to fall back to where that is blank.

    ``named`` are those found by their whole names; they hold where their values do not speak against them.
    """
    operators = operator_column(sample)
    looks = looks_of(sample.drop(operators or []))
    columns = {column: own for column, own in named.items() if own in looks and _may_be(column, looks[own])}
    most = max(looks.values(), key=lambda look: look.tests)
    if "analyte_name" in columns and most.tests > looks[columns["analyte_name"]].tests:
        # The short names of a laboratory beside the long ones that say what was counted.
        del columns["analyte_name"]
        columns = {column: own for column, own in columns.items() if own != most.name}
    for column, score in _SCORES.items():
        if column in columns:
            continue
        free = [look for look in looks.values() if look.name not in columns.values()]
        best = max(free, key=lambda look: score(look, looks), default=None)
        if best is not None and score(best, looks) > 0:
            columns[column] = best.name
    columns |= _identifiers(sample, looks, columns) | ({"comparator": operators} if operators else {})
    return columns, _second_value(sample, looks, columns)


def _may_be(column: str, look: Look) -> bool:
    """Whether the values of a column that is called so can be that; a blank column can be anything."""
    if not look.n_unique:
        return True
    if column in ("collected_at", "resulted_at"):
        return look.is_moment or look.dates > 0
    if column == "specimen_id" and look.materials >= _SHARE_OF_A_COLUMN:
        return False
    if column == "unit":
        return look.units > 0 or look.digits < _MOSTLY
    if column in ("patient_id", "specimen_id"):
        if look.roles >= {"patient", "number"} and look.words < _SHARE_OF_A_COLUMN:
            return True
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
    """Units, or what a header calls so: spellings that are not read are told one by one."""
    if look.units >= _SHARE_OF_A_COLUMN:
        return look.units + 0.1 * ("unit" in look.roles)
    is_something_else = look.numbers > 0 or look.tests > 0 or look.is_moment or look.roles & {"patient", "specimen"}
    return 0.1 if "unit" in look.roles and look.n_unique and not is_something_else else 0


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
    if look.is_moment or look.ranges >= _MOSTLY:
        return 0
    if look.numbers < _SHARE_OF_A_COLUMN:
        # Numbers with their units or flags in one cell.
        return 1 if "value" in look.roles and look.digits >= _SHARE_OF_A_COLUMN and not others else 0
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
    """A column of specimens: its header says so, or its values do (also the mode of an analyser: WB, BF)."""
    is_called_so = "material" in look.roles and look.digits < _MOSTLY
    is_one = look.materials >= (_SHARE_OF_A_COLUMN if look.roles & {"specimen", "mode"} else _MOSTLY)
    is_another = look.tests > 0 or look.digits > 0 or "patient" in look.roles
    return is_called_so + look.materials if is_called_so or (is_one and not is_another) else 0


def _loinc_score(look: Look, _: Mapping[str, Look]) -> float:
    return look.loincs if look.loincs >= _MOSTLY else 0


#: In the order in which columns are taken.
_SCORES: Final[Mapping[str, Callable[[Look, Mapping[str, Look]], float]]] = {
    "loinc": _loinc_score,
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
            found[column] = max(
                fitting, key=lambda look: ("visit" not in look.roles, "number" in look.roles, look.n_unique)
            ).name
    rest = [
        look
        for look in free
        if look.name not in found.values()
        and not _names(look, "specimen", "patient")
        and not is_test(look.name)
        and not _is_of_test(sample, look.name, columns)
    ]
    if "patient_id" not in found and rest:
        own = min(rest, key=lambda look: ("visit" in look.roles, look.n_unique, look.name))
        # A number for each row may be that of the row; where it is the only one, it is the patient's.
        if own.n_unique < sample.height or len(rest) == 1:
            found["patient_id"] = own.name
    patient, specimen = found.get("patient_id"), found.get("specimen_id")
    if "specimen_id" not in columns and patient and specimen and not _nests(sample, specimen, patient):
        del found["specimen_id"]
    return found


def _is_of_test(sample: pl.DataFrame, own: str, columns: Mapping[str, str]) -> bool:
    """Whether a column says something of the test alone, as its code or its limits: the same in every row of a test."""
    tests = next((columns[name] for name in ("analyte_name", "loinc") if name in columns), None)
    is_repeated = tests is not None and sample[tests].n_unique() < sample.height
    return tests is not None and is_repeated and _nests(sample, tests, own)


def _names(look: Look, role: str, other: str) -> bool:
    return role in look.roles and not (other in look.roles and "number" not in look.roles)


def _is_identifier(look: Look) -> bool:
    is_another = look.is_moment or look.ranges > 0 or look.tests >= _MOSTLY or look.units > 0 or look.decimals > 0
    is_another = (is_another and "patient" not in look.roles) or look.loincs >= _MOSTLY
    # "Unit No" is the number of a patient where it holds no units.
    maybe = frozenset[str]() if "patient" in look.roles else frozenset({"range", "unit"})
    is_of_person = look.roles & ({"age", "birth", "low", "high", "comment", "time"} | maybe)
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
        is_one = is_one and not operator_columns([look.name])
        if look.name in columns.values() or not is_one:
            continue
        if sample.select((pl.col(own).is_null() & pl.col(look.name).is_not_null()).any()).item():
            return {"value": look.name}
    return {}

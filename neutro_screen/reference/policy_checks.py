"""What a policy may say: units and their conversion, limits and order of its numbers, and which rules it keeps from firing.

The tables are data beside this module: ``policy_units.csv`` (units, their factor and range), ``policy_limits.csv`` (narrower
ranges of single entries), ``policy_order.csv`` (entries that bound each other) and ``policy_reach.csv`` (where a rule
can fire). An entry is named ``section.name``.
"""

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from neutro_screen.errors import ReferenceDataError, did_you_mean

#: What an entry of a policy file may hold.
ENTRY_KEYS: Final = frozenset({"value", "unit", "source"})
#: Every entry that is so many times larger or smaller than the built-in one is named.
_FAR: Final = 10


class PolicyEntryError(Exception):
    """An entry cannot be used: what is wrong, without the file's name."""


class Unit(NamedTuple):
    """Value times ``factor`` is in the base of the dimension; ``lowest`` and ``highest`` are in the unit itself."""

    dimension: str
    factor: float
    lowest: float
    highest: float


class Entry(NamedTuple):
    """A built-in entry: its value and unit."""

    value: Any
    unit: str


class Reach(NamedTuple):
    """The rules that an entry feeds, and between which values they can fire."""

    rules: str
    lowest: float
    highest: float
    reason: str


_ANYWHERE: Final = Reach("", float("-inf"), float("inf"), "")
#: Beyond every entry's range: whatever is larger is not computed with.
_HUGE: Final = 1e100


def own_value(where: str, given: Any, builtin: Mapping[str, Entry]) -> Any:
    """The value of a user's entry in the unit of the built-in one: converted where the file gives another unit.

    ``given`` is a value in the built-in unit, or a table with ``value``, and ``unit`` and ``source`` where the file has them.

    Raises:
        PolicyEntryError: there is no such entry, a key is unknown, the value is missing, or the unit is of another kind.
    """
    entry = builtin.get(where)
    if entry is None:
        raise PolicyEntryError(f"there is no entry {where}. {did_you_mean(where, builtin)}".strip())
    is_by_name = isinstance(entry.value, dict)
    if not isinstance(given, dict) or (is_by_name and not given.keys() & ENTRY_KEYS):
        return given
    if unknown := sorted(given.keys() - ENTRY_KEYS):
        raise PolicyEntryError(f"{where} has an unknown key {unknown[0]!r}; an entry has value, unit and source")
    if "value" not in given:
        raise PolicyEntryError(f"{where} has no value")
    value, unit = given["value"], given.get("unit", entry.unit)
    if unit == entry.unit:
        return value
    if is_by_name and isinstance(value, dict):
        return {name: _converted(where, each, unit, entry.unit) for name, each in value.items()}
    return _converted(where, value, unit, entry.unit)


def check_values(values: Mapping[str, Any], builtin: Mapping[str, Entry]) -> None:
    """Check every number of a policy (``section.name`` -> value in the built-in unit): range, and order among each other.

    Raises:
        PolicyEntryError: the first entry that is out of its range or order.
        ReferenceDataError: a table names an entry that is not there.
    """
    for where, value in values.items():
        for number in value.values() if isinstance(value, dict) else [value]:
            _check_range(where, number, builtin[where].unit)
    for lower, upper, may_be_equal, reason in _orders():
        if lower not in values or upper not in values:
            raise ReferenceDataError(f"no entry {lower} or {upper}", where="policy_order.csv")
        below, above = (values[name] * _factor(builtin[name].unit) for name in (lower, upper))
        if below > above or (below == above and not may_be_equal):
            raise PolicyEntryError(
                f"{lower} ({_told(values[lower], builtin[lower].unit)}) must be {'at most' if may_be_equal else 'below'} "
                f"{upper} ({_told(values[upper], builtin[upper].unit)}): {reason}"
            )


def kept_from_firing(values: Mapping[str, Any], builtin: Mapping[str, Entry]) -> list[str]:
    """What the policy switches off, in words: an entry out of the reach of its rules, or far from the built-in one."""
    reaches, found = _reaches(), list[str]()
    for where, value in values.items():
        entry = builtin[where]
        if not isinstance(value, int | float) or value == entry.value:
            continue
        told = f"{where} is {_told(value, entry.unit)}, built in {_told(entry.value, entry.unit)}"
        reach = reaches.get(where, _ANYWHERE)
        if not reach.lowest <= value <= reach.highest:
            found.append(f"{reach.rules} can hardly fire: {told} ({reach.reason})")
        elif not entry.value / _FAR <= value <= entry.value * _FAR:
            found.append(f"what reads it may never fire, or always: {told}")
    return found


def _converted(where: str, value: Any, unit: Any, into: str) -> Any:
    units = _units()
    have, want = units.get(str(unit)), units.get(into)
    if have is None or want is None or have.dimension != want.dimension:
        fitting = [name for name, each in units.items() if want and each.dimension == want.dimension]
        raise PolicyEntryError(
            f"{where} is in {into!r} and cannot be given in {str(unit)!r}; units that can be used: {', '.join(fitting or [into])}"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_HUGE < value < _HUGE:
        return value
    converted = value * have.factor / want.factor
    return int(converted) if isinstance(value, int) and converted == int(converted) else converted


def _check_range(where: str, value: Any, unit: str) -> None:
    if not isinstance(value, int | float):  # words, such as rule ids
        return
    known = _units().get(unit)
    lowest, highest = _limits().get(where, (known.lowest, known.highest) if known else (0.0, 1e6))
    if not lowest <= value <= highest:
        raise PolicyEntryError(
            f"{where} is {_told(value, unit)}; it must be from {_told(lowest, unit)} to {_told(highest, unit)}"
        )


def _told(value: float, unit: str) -> str:
    return f"{max(-_HUGE, min(value, _HUGE)):.12g} {unit}"


def _factor(unit: str) -> float:
    known = _units().get(unit)
    return known.factor if known else 1


@cache
def _units() -> dict[str, Unit]:
    return {
        row["unit"]: Unit(row["dimension"], float(row["factor"]), float(row["lowest"]), float(row["highest"]))
        for row in _rows("policy_units.csv")
    }


@cache
def _limits() -> dict[str, tuple[float, float]]:
    return {
        f"{row['section']}.{row['name']}": (float(row["lowest"]), float(row["highest"]))
        for row in _rows("policy_limits.csv")
    }


@cache
def _orders() -> list[tuple[str, str, bool, str]]:
    return [
        (row["lower"], row["upper"], row["may_be_equal"] == "true", row["reason"]) for row in _rows("policy_order.csv")
    ]


@cache
def _reaches() -> dict[str, Reach]:
    return {
        f"{row['section']}.{row['name']}": Reach(
            row["rules"], float(row["lowest"] or "-inf"), float(row["highest"] or "inf"), row["reason"]
        )
        for row in _rows("policy_reach.csv")
    }


def _rows(name: str) -> Iterator[dict[str, str]]:
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)

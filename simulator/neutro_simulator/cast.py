"""The teaching patients of the sample hospital, read from cast.toml (which explains each entry and its unit)."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

Counts = tuple[tuple[float, float], ...]
WHOLE_SPECIMEN = "cbc"


@dataclass(frozen=True)
class Person:
    """Age, sex, Duffy status (as text) and the usual level of each cell line."""

    age_years: float
    sex: str
    haemoglobin: float
    platelets: float
    mcv: float
    lymphocytes: float
    monocytes: float
    eosinophils: float
    basophils: float
    blasts: float
    bands_fraction: float
    duffy_null: str | None = None


@dataclass(frozen=True)
class Truth:
    """What is wrong with the patient; days from the index date, None where nothing begins."""

    cause: str = "healthy"
    ingredient: str | None = None
    onset_day: float | None = None
    cycle_days: float | None = None


@dataclass(frozen=True)
class Expected:
    """What the screen should report now. Severity None: cannot be assessed; priority None: not on the worklist."""

    severity: str | None = None
    priority: str | None = None


@dataclass(frozen=True)
class Medication:
    """One course of a drug; no end: still given."""

    name: str
    atc: str
    start_day: float
    route: str
    end_day: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """An ICD-10 code and its day."""

    code: str
    day: float


@dataclass(frozen=True)
class Event:
    """An event of the native layout."""

    event: str
    day: float
    detail: str


@dataclass(frozen=True)
class Marker:
    """One result beside the CBC."""

    loinc: str
    name: str
    value: str
    day: float


@dataclass(frozen=True)
class Edit:
    """A change to the rows of one specimen. `quantity`: which count (`anc`, `wbc` …), WHOLE_SPECIMEN for all rows."""

    day: float
    quantity: str
    becomes: Mapping[str, str] = field(default_factory=dict)
    is_extra: bool = False


@dataclass(frozen=True)
class Case:
    """One teaching patient."""

    patient_id: str
    title: str
    reason: str
    counts: Counts
    person: Person
    expected: Expected = Expected()
    truth: Truth = Truth()
    lab: str = "A"
    hidden: Counts = ()
    measured_falsely: Counts = ()
    medications: tuple[Medication, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    events: tuple[Event, ...] = ()
    markers: tuple[Marker, ...] = ()
    edits: tuple[Edit, ...] = ()


@cache
def teaching_cases() -> tuple[Case, ...]:
    """All teaching patients in the order of the file.

    Raises TypeError for an entry that has no field here, and for a field without an entry or a default.
    """
    usual, cases = _file()
    return tuple(
        Case(
            patient_id=patient_id,
            person=Person(**(usual | case.pop("person", {}))),
            **{name: READ.get(name, _as_written)(value) for name, value in case.items()},
        )
        for patient_id, case in cases.items()
    )


@cache
def usual_person() -> Person:
    """A person without any illness."""
    usual, _ = _file()
    return Person(**usual)


def _file() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    with (files("neutro_simulator") / "cast.toml").open("rb") as source:
        content: dict[str, dict[str, Any]] = _with_floats(tomllib.load(source))
    return content.pop("usual"), content


def _with_floats(entry: Any) -> Any:
    """Whole numbers become floats: TOML keeps 21 and 21.5 apart, a column does not."""
    match entry:
        case dict():
            return {name: _with_floats(value) for name, value in entry.items()}
        case list():
            return [_with_floats(value) for value in entry]
        case int() if not isinstance(entry, bool):
            return float(entry)
        case _:
            return entry


def _as_written(value: Any) -> Any:
    return value


def _pairs(rows: list[list[float]]) -> Counts:
    return tuple((day, anc) for day, anc in rows)


def _rows_of(kind: Callable[..., Any]) -> Callable[[list[dict[str, Any]]], tuple[Any, ...]]:
    return lambda rows: tuple(kind(**row) for row in rows)


READ: dict[str, Callable[[Any], Any]] = {
    "expected": lambda entry: Expected(**entry),
    "truth": lambda entry: Truth(**entry),
    "counts": _pairs,
    "hidden": _pairs,
    "measured_falsely": _pairs,
    "medications": _rows_of(Medication),
    "diagnoses": _rows_of(Diagnosis),
    "events": _rows_of(Event),
    "markers": _rows_of(Marker),
    "edits": _rows_of(Edit),
}

"""What every reader yields: the rows of one kind from one file, as text, in the native layout of CONTRACT.md."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

import polars as pl

Kind = Literal["lab", "medication", "patient", "diagnosis", "event"]
KINDS: Final[tuple[Kind, ...]] = ("lab", "medication", "patient", "diagnosis", "event")

#: Columns of the native layout; all are text. A reader may leave any of them out, and may add none.
NATIVE_COLUMNS: Final[dict[Kind, tuple[str, ...]]] = {
    "lab": (
        "patient_id",
        "specimen_id",
        "collected_at",
        "resulted_at",
        "loinc",
        "analyte_name",
        "value",
        "unit",
        "reference_low",
        "reference_high",
        "status",
        "lab",
        "code_system",
        "local_code",
        "specimen_type",
        "comment",
        "result_id",
    ),
    "medication": (
        "patient_id",
        "drug_name",
        "atc_code",
        "start_date",
        "end_date",
        "route",
        "dose",
        "dose_unit",
        "rxcui",
        "status",
    ),
    "patient": ("patient_id", "birth_date", "sex", "duffy_null", "ethnicity", "replaced_by"),
    "diagnosis": ("patient_id", "code", "system", "date"),
    "event": ("patient_id", "event", "date", "detail"),
}

#: Every group needs at least one of its columns.
REQUIRED_COLUMNS: Final[dict[Kind, tuple[tuple[str, ...], ...]]] = {
    "lab": (
        ("patient_id",),
        ("value",),
        ("unit",),
        ("collected_at", "resulted_at"),
        ("loinc", "analyte_name", "local_code"),
    ),
    "medication": (("patient_id",), ("start_date",), ("drug_name", "atc_code")),
    "patient": (("patient_id",),),
    "diagnosis": (("patient_id",), ("code",)),
    "event": (("patient_id",), ("event",), ("date",)),
}


@dataclass(frozen=True)
class SourceFile:
    """One input file and what was found in it; ``collected`` is the first and last collection time (UTC)."""

    name: str
    kind: Kind
    format: str
    sha256: str
    rows: int
    notes: tuple[str, ...] = ()
    first_collected_at: datetime | None = None
    last_collected_at: datetime | None = None

    def followed_by(self, more: "SourceFile") -> "SourceFile":
        """The same file with its next portion."""
        firsts = [time for time in (self.first_collected_at, more.first_collected_at) if time]
        lasts = [time for time in (self.last_collected_at, more.last_collected_at) if time]
        return replace(
            self,
            rows=self.rows + more.rows,
            notes=_added_up((*self.notes, *more.notes)),
            first_collected_at=min(firsts, default=None),
            last_collected_at=max(lasts, default=None),
        )


def _added_up(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes of several portions: counts of rows (``…_rows:3``) are added, every other note stands once."""
    added: dict[str, int | None] = {}
    for note in notes:
        name, _, count = note.partition(":")
        if name.endswith("_rows") and count.isdigit():
            added[name] = (added.get(name) or 0) + int(count)
        else:
            added[note] = None
    return tuple(name if count is None else f"{name}:{count}" for name, count in added.items())


@dataclass(frozen=True)
class Refused:
    """A row that could not even be split into columns: its number, the reason and its text."""

    source_file: str
    source_row: int
    reason: str
    row: str


@dataclass(frozen=True)
class Extract:
    """The canonical frames of one or more sources.

    ``labs`` has the columns of ``LabRow``; the others those of their models in ``neutro_schemas.chart``, not yet
    validated. ``refused`` are the rows that no column could be read from.
    """

    labs: pl.DataFrame
    medications: pl.DataFrame
    patients: pl.DataFrame
    diagnoses: pl.DataFrame
    events: pl.DataFrame
    files: tuple[SourceFile, ...] = ()
    refused: dict[Kind, list[Refused]] = field(default_factory=dict)

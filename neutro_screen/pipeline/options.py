"""What a run is asked to do: one list of options for the command, the library and the flows.

Light to import: the command line shows its help from these classes before polars is loaded.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter

from neutro_screen.errors import ConfigurationError
from neutro_screen.store.place import real_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token

    from neutro_screen.ingest import Kind

    FileName = str
else:
    # A shell completes the names of files for options whose type may be a path; what is given stays a text.
    FileName = str | Path

#: What a laboratory row of a partition at work takes, from text to flags, and where there is one partition only, with all that
#: a run holds besides (measured: docs/performance.md).
_BYTES_PER_ROW: Final = 720
_BYTES_PER_ROW_ALONE: Final = 2_000
#: One partition is stored while the next is screened and the one after that judged.
_PARTITIONS_AT_WORK: Final = 3
_LEAST_MEMORY: Final = 100_000_000
_INPUT, _CONTROL = Group("Input", sort_key=0), Group("Control", sort_key=1)


def clock() -> datetime:
    """The machine's clock, UTC without zone, to the microsecond: tells apart what was done in one second."""
    return datetime.now(UTC).replace(tzinfo=None)


def now() -> datetime:
    """The machine's clock in whole seconds: the default of ``as_of``, read once a run."""
    return clock().replace(microsecond=0)


def moment(text: str) -> datetime:
    """An ISO time or date as UTC without zone.

    Raises:
        ConfigurationError: not ISO 8601.
    """
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError:
        raise ConfigurationError(f"{text!r} is not an ISO 8601 time", remedy="Example: 2026-11-22T02:00") from None


def utc(time: datetime) -> datetime:
    """A time as UTC without zone; a time without a zone is UTC already."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def iso(moment: object) -> str | None:
    """A time as ISO text to the second, the opposite of ``moment``; None for anything else."""
    return moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else None


def bytes_of(size: str) -> int:
    """A size of memory as people write it: ``4GB``, ``512MiB``.

    Raises:
        ConfigurationError: it is none, or too small to work with.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        read = int(TypeAdapter(ByteSize).validate_python(size))
    except ValidationError:
        read = 0
    if read < _LEAST_MEMORY:
        raise ConfigurationError(f"{size!r} is no size of memory to work with", remedy="Example: --memory 4GB")
    return read


def _time_option(type_: object, tokens: "Sequence[Token]") -> datetime:
    return moment(tokens[0].value)


def _size_option(type_: object, tokens: "Sequence[Token]") -> int:
    return bytes_of(tokens[0].value)


Control = Parameter(group=_CONTROL)
#: An index time as the command line reads it.
IndexTime = Annotated[datetime, Parameter(group=_CONTROL, converter=_time_option, show_default=False)]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is read, and how it is written."""

    labs: Annotated[tuple[FileName, ...], Parameter(group=_INPUT)]
    "Laboratory files, folders or globs; a folder format (fhir, omop, mimic) brings medications and patients with it."
    medications: Annotated[tuple[FileName, ...], Parameter(group=_INPUT, show_default=False)] = ()
    "Medication files."
    patients: Annotated[tuple[FileName, ...], Parameter(group=_INPUT, show_default=False)] = ()
    "Patient files (birth date, recorded Duffy-null, death date)."
    diagnoses: Annotated[tuple[FileName, ...], Parameter(group=_INPUT, show_default=False)] = ()
    "Diagnosis files."
    events: Annotated[tuple[FileName, ...], Parameter(group=_INPUT, show_default=False)] = ()
    "Event files (smear review, bone marrow, travel, temperature ...)."
    format: Annotated[str | None, Parameter(group=_INPUT)] = None
    "Format of the files, where name and content do not show it."
    profile: Annotated[Path | None, Parameter(group=_INPUT)] = None
    "TOML file that describes the source's own columns, units, times and words."

    @property
    def paths(self) -> "dict[Kind, tuple[str, ...]]":
        """Input paths by kind."""
        return {
            "lab": self.labs,
            "medication": self.medications,
            "patient": self.patients,
            "diagnosis": self.diagnoses,
            "event": self.events,
        }


@dataclass(frozen=True, kw_only=True)
class RunOptions(Inputs):
    """What a run is asked to do. Holds paths and numbers only, so that it may be logged and kept by a scheduler."""

    store: Path
    "The DuckDB file; made when it is not there."
    reports: Path | None = None
    "Folder for report.html, flagged.csv and flags.csv."
    reviews: Path | None = None
    "Folder (or file) of decisions that reviewers saved in the page: put on record once, before the night is ranked."
    notify: Path | None = None
    "TOML file that says who is notified of failures, critical patients and warnings: counts only."
    policy: Annotated[Path | None, Control] = None
    "TOML file with clinical numbers that differ from the built-in policy."
    as_of: IndexTime = field(default_factory=now)
    "Index time, ISO 8601, UTC where no offset is given; default now. The only clock of the rules."
    max_rejected: Annotated[float, Control] = 0.2
    "Publish nothing when more than this share of the screened rows is refused."
    strict: Annotated[bool, Control] = False
    "Publish nothing (exit 12) when a test that may feed the ANC was not recognised."
    rescreen_all: Annotated[bool, Control] = False
    "Screen every patient of the store again, not only those with new rows, and read known files of an archive again."
    new_store: Annotated[bool, Control] = False
    "Make the store although reports or a dead-man file of earlier runs exist; without it a missing store is an error."
    pseudonymise: Annotated[Path | None, Control] = None
    "File (0600) with a key of 32 bytes or more: identifiers are replaced by keyed pseudonyms before anything is kept."
    csv_bom: Annotated[bool, Control] = False
    "CSV files for Excel: a byte order mark, and an apostrophe before ids that Excel would turn into numbers."
    memory: Annotated[int, Parameter(group=_CONTROL, converter=_size_option, show_default=lambda size: "4GB")] = 4 << 30
    "Bytes for the rows at work and for DuckDB, half each; more rows are spread over partitions on disk beside the store."

    def __post_init__(self) -> None:
        object.__setattr__(self, "as_of", utc(self.as_of))
        object.__setattr__(self, "store", real_path(self.store))
        if not 0 <= self.max_rejected <= 1:
            meant = f"Did you mean {self.max_rejected / 100:g}? " if 1 < self.max_rejected <= 100 else ""
            raise ConfigurationError(
                f"{self.max_rejected:g} is no share of rows",
                where="--max-rejected",
                remedy=f"{meant}A share is a number from 0 to 1; the default is 0.2, a fifth.",
            )

    @property
    def store_memory(self) -> int:
        """How many bytes the database may hold while it is written; half of all is for rows, and the rest for the process itself."""
        return self.memory * 3 // 8

    @property
    def rows_alone(self) -> int:
        """How many laboratory rows stay in memory, as one partition that no other is beside."""
        return max(1, self.memory // 2 // _BYTES_PER_ROW_ALONE)

    @property
    def rows_at_once(self) -> int:
        """How many laboratory rows one partition of several has at the most."""
        return max(1, self.memory // 2 // _BYTES_PER_ROW // _PARTITIONS_AT_WORK)

    def rows_of_a_part(self, rows: int) -> int:
        """How many of so many laboratory rows one partition has at the most."""
        return self.rows_alone if rows <= self.rows_alone else self.rows_at_once

"""What a run is asked to do, and how times and sizes are written."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ByteSize, TypeAdapter, ValidationError

from neutro_screen.errors import ConfigurationError
from neutro_screen.ingest import Kind
from neutro_screen.pipeline.pseudonyms import load_pseudonyms

#: What a laboratory row takes at the peak of a part, from text to flags (measured: docs/performance.md).
_BYTES_PER_ROW: Final = 1_000
#: One part is stored while the next is screened.
_PARTS_AT_WORK: Final = 2


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked to do. Holds paths and numbers only."""

    store: Path
    as_of: datetime
    labs: tuple[str, ...]
    medications: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    diagnoses: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    reports: Path | None = None
    format: str | None = None
    profile: Path | None = None
    policy: Path | None = None
    max_rejected: float = 0.2
    rescreen_all: bool = False
    #: file with the key of the pseudonyms; None = identifiers stay as they are
    pseudonymise: Path | None = None
    csv_bom: bool = False
    #: bytes for the rows at work and for DuckDB, half each; more rows are spread over parts, one after the other
    memory: int = 4 << 30

    @property
    def rows_at_once(self) -> int:
        """How many laboratory rows one part has at the most."""
        return max(1, self.memory // 2 // _BYTES_PER_ROW // _PARTS_AT_WORK)

    @property
    def paths(self) -> dict[Kind, tuple[str, ...]]:
        """Input paths by kind."""
        return {
            "lab": self.labs,
            "medication": self.medications,
            "patient": self.patients,
            "diagnosis": self.diagnoses,
            "event": self.events,
        }


def key_fingerprint(settings: RunSettings) -> str | None:
    """What tells the key of the pseudonyms from others, as the store keeps it; None without pseudonyms."""
    pseudonyms = load_pseudonyms(settings.pseudonymise)
    return pseudonyms.fingerprint if pseudonyms else None


def clock() -> datetime:
    """The machine's clock, UTC without zone: when something was done, told apart from what was done in the same second."""
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
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not an ISO 8601 time", remedy="Example: 2026-11-22T02:00") from None
    return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed


def iso(moment: Any) -> str | None:
    """A time as ISO text to the second, the opposite of ``moment``; None for anything else."""
    return moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else None


def bytes_of(size: str) -> int:
    """A size of memory as people write it: ``4GB``, ``512MiB``.

    Raises:
        ConfigurationError: it is none, or too small to work with.
    """
    try:
        told = int(TypeAdapter(ByteSize).validate_python(size))
    except ValidationError:
        told = 0
    if told < _LEAST_MEMORY:
        raise ConfigurationError(f"{size!r} is no size of memory to work with", remedy="Example: --memory 4GB")
    return told


_LEAST_MEMORY: Final = 100_000_000

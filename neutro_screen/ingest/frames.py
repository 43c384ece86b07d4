"""The shapes that readers yield: kinds of rows, the native layout, one file's entry in the run, refused lines."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

Kind = Literal["lab", "medication", "patient", "diagnosis", "event"]
KINDS: Final[tuple[Kind, ...]] = ("lab", "medication", "patient", "diagnosis", "event")

_LAYOUT: Final = tomllib.loads((Path(__file__).parent / "native_layout.toml").read_text("utf-8"))
#: Columns of the native layout; all are text. A reader may leave any of them out, and may add none.
NATIVE_COLUMNS: Final[dict[Kind, tuple[str, ...]]] = {kind: tuple(_LAYOUT[kind]["columns"]) for kind in KINDS}
#: Every group needs at least one of its columns.
REQUIRED_COLUMNS: Final[dict[Kind, tuple[tuple[str, ...], ...]]] = {
    kind: tuple(tuple(group.split(" or ")) for group in _LAYOUT[kind]["required"]) for kind in KINDS
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
    #: rows that an earlier run has read of a file that is known and was not read again; None = it was read
    known_rows: int | None = None
    first_collected_at: datetime | None = None
    last_collected_at: datetime | None = None

    def followed_by(self, more: "SourceFile") -> "SourceFile":
        """The same file with its next batch added."""
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
    """Notes of several batches: counts of rows (``…_rows:3``) are added, every other note stands once."""
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
    """A refused row: its number, the reason and its text; patient, specimen and time where it names them."""

    source_file: str
    source_row: int
    reason: str
    row: str
    patient_id: str | None = None
    specimen_id: str | None = None
    collected_at: datetime | None = None

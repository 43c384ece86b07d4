"""Decisions that were made in the page: the file it saves, what of it can stand, and what goes on record."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import duckdb
import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError, model_validator

from neutro_schemas import Priority
from neutro_screen.errors import ConfigurationError, UnreadableInputError
from neutro_screen.store.audit import audit
from neutro_screen.store.rows import first_row, insert, read_table, registered
from neutro_screen.store.views import KNOWN_PATIENTS, LATEST_RUN, ON_LIST, is_worse

FORMAT: Final = "neutro_screen decisions 1"
#: A page holds at most 500 patients; a file that is larger than their decisions can be is none.
MOST_BYTES: Final = 20_000_000
#: How far the clock of a reviewer's machine may be ahead of this one.
_CLOCKS_DIFFER: Final = timedelta(hours=1)
_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True, allow_inf_nan=False)

Status = Literal["acknowledged", "snoozed", "dismissed"]


class Decision(BaseModel):
    """One decision, with the priority and the nadir (cells/uL) that the reviewer saw; null where the page showed none."""

    model_config = _STRICT

    patient_id: Annotated[str, Field(min_length=1, max_length=1_000)]
    status: Status
    until: date | None = None
    note: Annotated[str, Field(max_length=2_000)] | None = None
    by: Annotated[str, Field(max_length=200)] | None = None
    priority: Literal["critical", "high", "medium", "low", "info"] | None
    nadir_cells_per_ul: NonNegativeFloat | None
    at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _snooze_has_an_end(self) -> "Decision":
        if (self.status == "snoozed") != (self.until is not None):
            raise ValueError("until goes with snoozed, and only with it")
        return self


class DecisionFile(BaseModel):
    """What the page saves: the run it showed, when it was saved, and the decisions; ``sha256`` is of the file's bytes."""

    model_config = _STRICT

    format: Literal["neutro_screen decisions 1"]
    run_id: Annotated[str, Field(min_length=1)]
    made_at: AwareDatetime
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Refused:
    """A decision that was not taken over: its place in the file (from 1), whose it is, and why."""

    position: int
    patient_id: str
    reason: str


@dataclass(frozen=True)
class Applied:
    """What became of a file: decisions put on record, those that were on record before, and those refused."""

    recorded: int
    known: int
    refused: tuple[Refused, ...]

    def refused_in_words(self) -> str:
        """Reasons with the places of their decisions in the file, without a patient: for logs and warnings."""
        places: dict[str, list[str]] = {}
        for one in self.refused:
            places.setdefault(one.reason.partition(":")[0], []).append(str(one.position))
        return "; ".join(f"{reason} (decision {', '.join(listed)})" for reason, listed in places.items())


def read_decisions(path: Path, now: datetime) -> tuple[DecisionFile, str]:
    """The decisions of a file, strictly read, and the SHA-256 of its bytes. No message quotes what stands in it.

    Raises:
        UnreadableInputError: the file cannot be read, is no such file, or was made after ``now`` (UTC without zone).
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError as error:
        raise UnreadableInputError(f"decisions cannot be read ({error.strerror})", where=path.name) from None
    try:
        read = DecisionFile.model_validate_json(content)
    except ValidationError as error:
        raise _unusable(path, _in_words(error.errors(include_input=False, include_url=False)[0])) from None
    whose = [one.patient_id for one in read.decisions]
    if twice := next((place for place, patient in enumerate(whose, start=1) if patient in whose[: place - 1]), None):
        raise _unusable(path, f"decision {twice} is about a patient with a decision before it")
    if any(_utc(one.at or read.made_at) > now + _CLOCKS_DIFFER for one in read.decisions):
        raise _unusable(path, "was made in the future; the clock of that machine is wrong")
    return read, hashlib.sha256(content).hexdigest()


def _unusable(path: Path, what: str) -> UnreadableInputError:
    return UnreadableInputError(
        f"no file of decisions: {what}", where=path.name, remedy="Save the decisions in the page again."
    )


def _in_words(error: Any) -> str:
    """Where and what, without a value of the file: a key that is not known may be one."""
    place = list(error["loc"])
    if error["type"] == "extra_forbidden":
        place[-1] = "an entry"
        return f"{_place(place)} is not known"
    return f"{_place(place)}: {error['msg']}".removeprefix(": ")


def _place(location: Sequence[str | int]) -> str:
    return " ".join(
        f"decision {part + 1}," if isinstance(part, int) else part for part in location if part != "decisions"
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def is_applied(connection: duckdb.DuckDBPyConnection, sha256: str) -> bool:
    """Whether a file of these bytes was applied before."""
    found = "SELECT 1 FROM audit WHERE action = 'review_file' AND counts ->> '$.sha256' = ?"
    return first_row(connection, found, [sha256]) is not None


def judged(connection: duckdb.DuckDBPyConnection, read: DecisionFile) -> pl.DataFrame:
    """The decisions with what the store knows: the columns of ``ReviewTable``, position, is_known and refused (why, or null).

    Raises:
        ConfigurationError: the store does not hold the run that the page showed.
    """
    if first_row(connection, "SELECT 1 FROM run WHERE run_id = ?", [read.run_id]) is None:
        raise ConfigurationError(
            "the decisions are of a page whose run this store does not hold", remedy="Name the store of that page."
        )
    with registered(connection, "decision", _frame(read)):
        return read_table(connection, _JUDGED)


def record(connection: duckdb.DuckDBPyConnection, decisions: pl.DataFrame, sha256: str, *, at: datetime) -> Applied:
    """Put on record what of ``judged`` decisions can stand, inside the transaction of a publication."""
    applied = outcome(decisions)
    new = decisions.filter(pl.col("refused").is_null() & ~pl.col("is_known"))
    insert(connection, "review", new)
    for row in new.iter_rows(named=True):
        audit(connection, at=at, action="review", by=row["by"], patient_id=row["patient_id"], counts={row["status"]: 1})
    counts = {"recorded": applied.recorded, "known": applied.known, "refused": len(applied.refused)}
    audit(connection, at=at, action="review_file", by=None, counts=counts | {"sha256": sha256})
    return applied


def outcome(decisions: pl.DataFrame) -> Applied:
    """What becomes of ``judged`` decisions."""
    refused = decisions.filter(pl.col("refused").is_not_null() & ~pl.col("is_known"))
    return Applied(
        recorded=decisions.filter(pl.col("refused").is_null() & ~pl.col("is_known")).height,
        known=decisions.filter("is_known").height,
        refused=tuple(Refused(*row) for row in refused.select("position", "patient_id", "refused").iter_rows()),
    )


def _frame(read: DecisionFile) -> pl.DataFrame:
    rows = [
        {
            **one.model_dump(exclude={"at"}),
            "note": one.note or None,
            "by": one.by or None,
            "at": _utc(one.at or read.made_at),
            "position": position,
        }
        for position, one in enumerate(read.decisions, start=1)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA).with_columns(pl.col("priority").cast(pl.String))


_SCHEMA: Final[Mapping[str, Any]] = {
    "patient_id": pl.String,
    "status": pl.String,
    "until": pl.Date,
    "note": pl.String,
    "by": pl.String,
    "at": pl.Datetime("us"),
    "priority": Priority,
    "nadir_cells_per_ul": pl.Float64,
    "position": pl.Int64,
}
_SAME: Final = " AND ".join(
    f'r."{name}" IS NOT DISTINCT FROM d."{name}"' for name in ("patient_id", "at", "status", "until", "note", "by")
)
_JUDGED: Final = f"""
    WITH d AS (SELECT * REPLACE (CAST(priority AS priority) AS priority) FROM decision),
    w AS (SELECT * FROM worklist_row w WHERE run_id = ({LATEST_RUN}) AND {ON_LIST})
    SELECT d.*, EXISTS (SELECT 1 FROM review r WHERE {_SAME}) AS is_known,
           CASE WHEN d.patient_id IN (SELECT patient_id FROM patient_merge)
                THEN 'the record was merged into another one since'
                WHEN d.patient_id NOT IN (SELECT patient_id FROM {KNOWN_PATIENTS}) THEN 'the store holds no such patient'
                WHEN d.until < greatest(CAST(d."at" AS DATE), CAST((SELECT as_of FROM run WHERE run_id = ({LATEST_RUN})) AS DATE))
                THEN 'the snooze is over already'
                WHEN {is_worse("w", "d")}
                THEN 'worse now than on the page: ' || w.priority || coalesce(', nadir ' || round(w.nadir_cells_per_ul), '')
                     || ' now; ' || coalesce(CAST(d.priority AS VARCHAR), 'not on the worklist')
                     || coalesce(', nadir ' || round(d.nadir_cells_per_ul), '') || ' then' END AS refused
    FROM d LEFT JOIN w ON w.patient_id = d.patient_id ORDER BY d.position
"""

"""The worklist that reviewers work through, and their decisions."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from neutro_schemas import PRIORITIES
from neutro_screen.errors import ConfigurationError
from neutro_screen.store.audit import audit
from neutro_screen.store.decisions import Applied, is_applied, judged, outcome, read_decisions, record
from neutro_screen.store.file import publishing, reading
from neutro_screen.store.rows import first_row, read_table
from neutro_screen.store.views import KNOWN_PATIENTS, LATEST_RUN, ON_LIST, WORKLIST_ORDER


def current_worklist(
    connection: duckdb.DuckDBPyConnection, at_least: str | None = None, only_new: bool = False
) -> pl.DataFrame:
    """The open rows of the latest run in order (view ``worklist``)."""
    return read_table(
        connection,
        "SELECT * FROM worklist w WHERE priority >= CAST($least AS priority) AND (NOT $only_new OR change = 'new') "
        f"ORDER BY {WORKLIST_ORDER}",
        {"least": at_least or PRIORITIES[0], "only_new": only_new},
    )


def _check_last_day(until: date | None, first_day: date) -> None:
    if until is not None and until < first_day:
        raise ConfigurationError(
            f"the snooze would have ended on {until}",
            where="--until",
            remedy=f"Name its last day: {first_day} (UTC) or later.",
        )


def record_review(
    store: Path,
    patients: str | Sequence[str],
    status: str,
    *,
    until: date | None,
    note: str | None,
    by: str | None,
    at: datetime,
) -> None:
    """Append a reviewer's decision on one patient or several, all or none, with the priority and nadir of each at that time.

    Raises:
        ConfigurationError: the store does not know one of them, or the snooze is over already.
        StoreError, PublishError: as ``publishing``.
    """
    wanted = [patients] if isinstance(patients, str) else list(dict.fromkeys(patients))
    with reading(store) as connection:
        known = {row["patient_id"]: row for row in _standing(connection, wanted)}
        merged = first_row(
            connection, "SELECT count(*) FROM patient_merge WHERE patient_id IN (SELECT unnest(?))", [wanted]
        )
        newest = first_row(connection, f"SELECT as_of FROM run WHERE run_id = ({LATEST_RUN})")
    if merged and merged[0]:
        raise ConfigurationError(
            "this record was merged into another one", remedy="`neutro-screen explain` names it; review that one."
        )
    if places := [number for number, patient in enumerate(wanted, start=1) if patient not in known]:
        which = f" (number {', '.join(map(str, places))} of {len(wanted)})" if len(wanted) > 1 else ""
        raise ConfigurationError(
            f"the store holds no such patient{which}", remedy="Check the identifier; leading zeros count."
        )
    _check_last_day(until, max(at, newest[0] if newest else at).date())
    with publishing(store) as connection:
        for patient in wanted:
            connection.execute(
                'INSERT INTO review (patient_id, status, until, note, "by", "at", priority, nadir_cells_per_ul) '
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [patient, status, until, note, by, at, known[patient]["priority"], known[patient]["nadir"]],
            )
            audit(connection, at=at, action="review", by=by, patient_id=patient, counts={status: 1})


def _standing(connection: duckdb.DuckDBPyConnection, patients: Sequence[str]) -> list[dict[str, Any]]:
    """Of each known patient the priority and nadir of its row of the latest worklist; null where it has none."""
    return read_table(
        connection,
        f"SELECT s.patient_id, w.priority, w.nadir_cells_per_ul AS nadir FROM {KNOWN_PATIENTS} s LEFT JOIN worklist_row w "
        f"ON w.patient_id = s.patient_id AND w.run_id = ({LATEST_RUN}) AND {ON_LIST} "
        "WHERE s.patient_id IN (SELECT unnest($patients))",
        {"patients": list(patients)},
    ).to_dicts()


def review_from_file(store: Path, path: Path, *, at: datetime) -> Applied:
    """Put the decisions of a file that the page saved on record, in one transaction; those that cannot stand are named.

    A file that was applied before changes nothing. Hold the lock.

    Raises:
        UnreadableInputError: the file cannot be read or is no file of decisions.
        ConfigurationError: the store does not hold the run that the page showed.
        StoreError, PublishError: as ``reading`` and ``publishing``.
    """
    read, sha256 = read_decisions(path, at)
    with reading(store) as connection:
        expected = outcome(judged(connection, read))
        was_applied = is_applied(connection, sha256)
    if not expected.recorded and was_applied:
        return expected
    with publishing(store) as connection:
        return record(connection, judged(connection, read), sha256, at=at)

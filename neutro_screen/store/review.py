"""The worklist that reviewers work through, and their decisions."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl

from neutro_schemas import PRIORITIES
from neutro_screen.errors import ConfigurationError
from neutro_screen.store.audit import audit
from neutro_screen.store.file import publishing, reading
from neutro_screen.store.rows import first_row, read_table
from neutro_screen.store.views import LATEST_RUN, WORKLIST_ORDER


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


def check_last_day(until: date | None, at: datetime) -> None:
    """A snooze ends today or later.

    Raises:
        ConfigurationError: its last day is over.
    """
    if until is not None and until < at.date():
        raise ConfigurationError(
            f"the snooze would have ended on {until}",
            where="--until",
            remedy=f"Name its last day: {at.date()} (today, UTC) or later.",
        )


def record_review(
    store: Path, patient_id: str, status: str, *, until: date | None, note: str | None, by: str | None, at: datetime
) -> None:
    """Append a reviewer's decision, with the patient's priority and nadir at that time.

    Raises:
        ConfigurationError: the store does not know the patient, or the last day of a snooze is over.
        StoreError, PublishError: as ``publishing``.
    """
    check_last_day(until, at)
    with reading(store) as connection:
        known = read_table(
            connection,
            "SELECT max(w.priority) AS priority, any_value(s.nadir_cells_per_ul) AS nadir FROM patient_summary s "
            f"LEFT JOIN worklist_row w ON w.patient_id = s.patient_id AND w.run_id = ({LATEST_RUN}) "
            "WHERE s.patient_id = $patient GROUP BY s.patient_id",
            {"patient": patient_id},
        ).to_dicts()
        merged = first_row(connection, "SELECT count(*) FROM patient_merge WHERE patient_id = ?", [patient_id])
    if merged and merged[0]:
        raise ConfigurationError(
            "this record was merged into another one", remedy="`neutro-screen explain` names it; review that one."
        )
    if not known:
        raise ConfigurationError("the store holds no such patient", remedy="Check the identifier; leading zeros count.")
    with publishing(store) as connection:
        connection.execute(
            'INSERT INTO review (patient_id, status, until, note, "by", "at", priority, nadir_cells_per_ul) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [patient_id, status, until, note, by, at, known[0]["priority"], known[0]["nadir"]],
        )
        audit(connection, at=at, action="review", by=by, patient_id=patient_id, counts={status: 1})

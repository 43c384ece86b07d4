"""Retention: removes what old runs left, and every row of a patient, from the tables and from the file's bytes."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from duckdb import DuckDBPyConnection

from neutro_screen.errors import ConfigurationError
from neutro_screen.store.audit import audit
from neutro_screen.store.file import backups_of, publishing, reading
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import TABLES, columns_of
from neutro_screen.store.views import LATEST_RUN, PERSON, STANDING_ON

#: What a run left behind that no later run needs.
_OF_A_RUN: Final = ("worklist_entry", "quality_count", "recognition", "run_warning", "withdrawn_flag")


#: Worklist rows of old runs that kept runs carried over become rows of the first of those.
_SHOWN_FIRST_BY_THE_KEPT: Final = f"""
    UPDATE worklist_entry SET run_id = kept.run_id, change = 'unchanged', previous_priority = priority, is_recent = false
    FROM (
        SELECT made.run_id AS made_by, min_by(r.run_id, r.as_of) AS run_id, min(r.as_of) AS as_of
        FROM run made JOIN run r ON r.carries_since = made.carries_since AND r.as_of > made.as_of
        WHERE made.run_id IN ({{old}}) AND r.run_id NOT IN ({{old}}) GROUP BY made.run_id
    ) kept
    WHERE worklist_entry.run_id = kept.made_by AND kept.as_of <= coalesce(stands_until, 'infinity') AND {STANDING_ON}
"""


@dataclass(frozen=True)
class Removed:
    """Rows per table before and after, and the backups that were deleted."""

    before: dict[str, int]
    after: dict[str, int]
    backups: list[str]

    def lines(self) -> list[str]:
        """One line per table that has fewer rows, and per backup."""
        lines = [
            f"{table}: {n} rows before, {self.after[table]} after"
            for table, n in self.before.items()
            if n > self.after[table]
        ]
        return [*lines, *(f"{name}: deleted" for name in self.backups)]


def remove(store: Path, *, before: datetime | None, patient_id: str | None, by: str | None, at: datetime) -> Removed:
    """Remove what runs before a time left (never the latest run's), or a patient with every record merged into it.

    The file is written anew, so that nothing of the rows is left in it; backups of earlier versions are deleted: they
    hold the same rows. Hold the lock.

    Raises:
        ConfigurationError: neither is asked for, or the store holds no such patient.
        StoreError, PublishError: as ``reading`` and ``publishing``.
    """
    if before is None and patient_id is None:
        raise ConfigurationError("say what to remove", remedy="--before DATE, --patient ID, or both.")
    with reading(store):
        pass
    with publishing(store, anew=True) as connection:
        counted = _counts(connection)
        if patient_id is not None:
            _remove_patient(connection, patient_id)
        if before is not None:
            _remove_runs(connection, before)
        left = _counts(connection)
        gone = {table: n - left[table] for table, n in counted.items() if n > left[table]}
        if patient_id is not None and not gone:
            raise ConfigurationError(
                "the store holds no row of such a patient", remedy="Check the identifier; leading zeros count."
            )
        audit(connection, at=at, action="retention", by=by, patient_id=patient_id, counts=gone)
    backups = backups_of(store)
    for backup in backups:
        backup.unlink()
    return Removed(counted, left, [backup.name for backup in backups])


def _remove_patient(connection: DuckDBPyConnection, patient_id: str) -> None:
    connection.execute(f"CREATE TEMP TABLE person AS SELECT * FROM {PERSON} AS p(patient_id)", {"patient": patient_id})
    for table in TABLES:
        for column in ("patient_id", "survivor_id", "replaced_by"):
            if column in columns_of(table):
                connection.execute(f'DELETE FROM "{table}" WHERE "{column}" IN (SELECT patient_id FROM person)')
    # Refused lines whose patient could not be read hold the identifier somewhere in their text.
    connection.execute(
        "DELETE FROM rejected_row WHERE patient_id IS NULL AND EXISTS (SELECT 1 FROM person p WHERE "
        "regexp_matches(rejected_row.\"row\", '(^|[^0-9A-Za-z])' || regexp_escape(p.patient_id) || '($|[^0-9A-Za-z])'))"
    )
    # A written drug that no other patient's list holds is the patient's own.
    connection.execute(
        "DELETE FROM drug_match d WHERE NOT EXISTS (SELECT 1 FROM medication m WHERE "
        + " AND ".join(
            f"m.{name} IS NOT DISTINCT FROM d.{name}" for name in ("drug_name", "atc_code", "rxcui", "route")
        )
        + ")"
    )
    connection.execute(
        "DELETE FROM quality_count q WHERE disposition = 'unmatched_drug' "
        "AND NOT EXISTS (SELECT 1 FROM medication m WHERE m.drug_name = q.analyte)"
    )
    connection.execute("DROP TABLE person")


def _remove_runs(connection: DuckDBPyConnection, before: datetime) -> None:
    old = f"SELECT run_id FROM run WHERE as_of < $before AND run_id <> ({LATEST_RUN})"
    connection.execute(_SHOWN_FIRST_BY_THE_KEPT.format(old=old), {"before": before})
    for table in _OF_A_RUN:
        connection.execute(f'DELETE FROM "{table}" WHERE run_id IN ({old})', {"before": before})
    connection.execute(f"UPDATE run SET status = 'reduced' WHERE run_id IN ({old})", {"before": before})


def _counts(connection: DuckDBPyConnection) -> dict[str, int]:
    return {table: (first_row(connection, f'SELECT count(*) FROM "{table}"') or (0,))[0] for table in TABLES}

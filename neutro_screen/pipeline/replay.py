"""A past night made again from what had been received by then, in a file of its own."""

import os
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import Medication
from neutro_screen import __version__
from neutro_screen.errors import ConfigurationError, StoreError
from neutro_screen.pipeline.drug_matches import publish_drug_matches, with_stored_lines
from neutro_screen.pipeline.handover import Histories, Judged, Plan, Screened
from neutro_screen.pipeline.merges import crosswalk
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.publish import publish_merges, publish_part
from neutro_screen.pipeline.reconciliation import arrivals, check_held, remember_held
from neutro_screen.pipeline.retractions import no_deletions
from neutro_screen.pipeline.rows import HISTORY
from neutro_screen.pipeline.screen import screen_step
from neutro_screen.quality.measures import COUNTS
from neutro_screen.reference import load_policy
from neutro_screen.report import write_reports
from neutro_screen.rules.causes.findings import resolved_drugs
from neutro_screen.store.file import attach, publishing, reading
from neutro_screen.store.journal import note_action
from neutro_screen.store.rows import first_row, insert, read_table, registered
from neutro_screen.store.schema import columns_of
from neutro_screen.store.views import MERGE_STATEMENTS
from neutro_screen.validate import no_rows

#: Copied as they were: rows of these tables are never changed by a later run.
_KEPT: Final = (
    "source_file",
    "no_result",
    "request",
    "medication",
    "patient",
    "diagnosis",
    "event",
    "worklist_entry",
    "quality_count",
    "quality_measure",
    "quality_drift",
    "run_warning",
    "recognition",
    "run_delivery",
)


def rebuild(
    store: Path, as_of: datetime, out: Path, *, reports: Path | None = None, policy: Path | None = None
) -> tuple[str, list[str]]:
    """Make the latest run up to ``as_of`` again: its rows, conclusions, worklist and reports, as that night had them.

    Returns the run's id and what is to be known of the result. ``store`` is only read.

    Raises:
        ConfigurationError: there is no such run, ``out`` exists, or the policy of that night is not at hand.
        StoreError, PublishError: as ``reading`` and ``publishing``.
    """
    if out.exists():
        raise ConfigurationError("exists already", where=str(out), remedy="Name a new file with --out.")
    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with reading(store) as connection:
        runs = read_table(connection, _RUNS_UNTIL, {"as_of": as_of})
    if not runs.height:
        raise ConfigurationError("no run is as old as that", where=store.name, remedy="Name a later --as-of.")
    night = runs.row(-1, named=True)
    run_id: str = night["run_id"]
    if night["status"] != "done":
        raise ConfigurationError("what that night alone had was removed by retention", where=store.name)
    with TemporaryDirectory(prefix=f".{out.name}.work-", dir=out.parent) as folder:
        settings = RunOptions(store=out, as_of=night["as_of"], labs=(), policy=_policy_of(night, policy, Path(folder)))
        with publishing(out) as connection:
            attach(connection, store, "present")
            insert(connection, "run", runs)
            _copy_received(connection, night)
            raised = read_table(connection, _RAISED_BY_THEN)
            held, removed = remember_held(connection), list[pl.DataFrame]()
            work, plan = _planned(connection, settings, night)
            for part in work.parts:
                histories = _fetched(connection, work.rows("recalled", part))
                work.keep(histories, part)
                screen_step(settings, work, part)
                own = raised.join(histories.touched, on="patient_id", how="semi")
                removed.append(publish_part(connection, histories.touched, work.kept(Screened, part), own, plan.run_id))
            publish_merges(connection, plan)
            check_held(connection, held, arrivals(()), pl.concat(removed))
            publish_drug_matches(connection, plan.drugs)
    notes = _notes(night)
    try:
        note_action(store, "rebuild", {"runs": runs.height}, at=clock())
    except StoreError as error:
        notes.append(f"the rebuild is not in the audit trail: {error}")
    if reports is not None:
        write_reports(out, reports, run_id)
    return run_id, notes


_RUNS_UNTIL: Final = "SELECT * FROM run WHERE as_of <= $as_of ORDER BY as_of, started_at, run_id"


def _policy_of(night: dict[str, Any], given: Path | None, folder: Path) -> Path | None:
    """A file with the policy of that night: the values kept with the run, or those given if they are the same."""
    if night["policy_values"] is None:
        if load_policy(given).sha256 != night["policy_sha256"]:
            raise ConfigurationError(
                "the store does not hold the policy of that night", remedy="Name its file with --policy."
            )
        return given
    path = folder / "policy.json"
    path.write_text(night["policy_values"], "utf-8")
    os.chmod(path, 0o600)
    return path


def _copy_received(connection: DuckDBPyConnection, night: dict[str, object]) -> None:
    """What had been received by then; results that were refuted then or later are judged anew."""
    for table in _KEPT:
        _copy(connection, table, table, "run_id IN (SELECT run_id FROM run)")
    for table in ("lab_result", "contradicted_result"):
        _copy(connection, table, "lab_result", "run_id IN (SELECT run_id FROM run)")
    _copy(connection, "rejected_row", "rejected_row", "scope = 'row' AND run_id IN (SELECT run_id FROM run)")
    # A row that later runs carried over stands no longer than to the last one that is here.
    connection.execute("UPDATE worklist_entry SET stands_until = NULL WHERE stands_until >= ?", [night["as_of"]])
    _copy(connection, "withdrawn_flag", "withdrawn_flag", "withdrawn_by IN (SELECT run_id FROM run)")
    connection.execute('INSERT INTO review BY NAME SELECT * FROM present.review WHERE "at" <= ?', [night["started_at"]])
    connection.execute('INSERT INTO audit BY NAME SELECT * FROM present.audit WHERE "at" <= ?', [night["started_at"]])
    connection.execute(
        "INSERT INTO laboratory_day SELECT lab, CAST(collected_at AS DATE), max(collected_at) FROM lab_result "
        "JOIN run USING (run_id) WHERE collected_at <= as_of GROUP BY ALL"
    )


def _copy(connection: DuckDBPyConnection, source: str, target: str, only: str) -> None:
    listed = ", ".join(f'"{name}"' for name in columns_of(target))
    connection.execute(f'INSERT INTO "{target}" ({listed}) SELECT {listed} FROM present."{source}" WHERE {only}')


#: The flags that stood after that night, those withdrawn since among them, with the run that first raised each.
_RAISED_BY_THEN: Final = """
    SELECT patient_id, specimen_id, episode_id, rule_id, min(run_id) AS first_run FROM (
        SELECT patient_id, specimen_id, episode_id, rule_id, run_id FROM present.flag
        UNION ALL
        SELECT patient_id, specimen_id, episode_id, rule_id, run_id FROM present.withdrawn_flag
        WHERE withdrawn_by NOT IN (SELECT run_id FROM run)
    ) WHERE run_id IN (SELECT run_id FROM run) GROUP BY ALL
"""


def _planned(connection: DuckDBPyConnection, settings: RunOptions, night: dict[str, Any]) -> tuple[Workspace, Plan]:
    """What the survey step would plan that night if everybody were screened again; nothing comes in."""
    work = Workspace()
    work.begin()
    patients = " UNION ".join(f'SELECT patient_id FROM "{table}" WHERE patient_id IS NOT NULL' for table in HISTORY)
    counted = first_row(connection, "SELECT count(*) FROM lab_result")
    standing = read_table(connection, MERGE_STATEMENTS)
    merges = crosswalk(standing)
    plan = Plan(
        run_id=night["run_id"],
        rows_in=0,
        data_kinds=night["data_kinds"].split(","),
        everybody_because=None,
        statements_before=standing,
        statements=standing,
        cyclic_merges=merges.cyclic,
        survivors=merges.survivors,
        unknown_deletions=no_deletions(),
        drugs=with_stored_lines(resolved_drugs(no_rows(Medication)), connection),
    )
    work.add("recalled", read_table(connection, f"SELECT patient_id FROM ({patients}) ORDER BY patient_id"))
    work.keep(plan)
    rows = counted[0] if counted else 0
    work.divide(rows, settings.rows_of_a_part(rows), merges.survivors)
    for part in work.parts:
        work.keep(_nothing_judged(), part)
    return work, plan


def _nothing_judged() -> Judged:
    return Judged(
        received={},
        row_counts=pl.DataFrame(schema=COUNTS),
        tests=pl.DataFrame(),
        chart_counts=pl.DataFrame(),
        unmatched_drugs=[],
        newest=None,
        counted={"accepted": 0, "rejected": 0},
    )


def _fetched(connection: DuckDBPyConnection, patients: pl.DataFrame) -> Histories:
    """All stored rows of the patients (patient_id), nothing of them new."""
    with registered(connection, "wanted", patients):
        complete = {
            table: read_table(connection, f'SELECT * FROM "{table}" SEMI JOIN wanted USING (patient_id)')
            for table in HISTORY
        }
    new = {table: rows.clear() for table, rows in complete.items()}
    return Histories(new, complete, patients, arrivals(new.items()), patients.height)


def _notes(night: dict[str, object]) -> list[str]:
    if night["software_version"] == __version__:
        return []
    return [
        f"the night was run with version {night['software_version']}, this is {__version__}: conclusions may differ"
    ]

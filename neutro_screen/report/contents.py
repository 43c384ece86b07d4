"""Everything that a report of one run shows, read from the store in one go."""

import json
from dataclasses import dataclass
from typing import Any

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.errors import StoreError
from neutro_screen.store import LATEST_RUN, first_row, read_table


@dataclass(frozen=True)
class RunContents:
    """The run, its worklist in order, and the history of every patient on it."""

    run: dict[str, Any]
    counts: dict[str, Any]
    worklist: pl.DataFrame
    change: pl.DataFrame
    anc: pl.DataFrame
    flag: pl.DataFrame
    episode: pl.DataFrame
    drug_suspect: pl.DataFrame
    evidence: pl.DataFrame
    workup_step: pl.DataFrame
    medication: pl.DataFrame
    cannot_assess: pl.DataFrame
    data_quality: pl.DataFrame
    source_file: pl.DataFrame


def run_contents(connection: DuckDBPyConnection, run_id: str | None = None) -> RunContents:
    """Read what a run's report shows.

    Raises:
        StoreError: no such run.
    """
    latest = first_row(connection, LATEST_RUN)
    chosen = run_id or (latest[0] if latest else None)
    runs = read_table(connection, "SELECT * FROM run WHERE run_id = $run", {"run": chosen})
    if not runs.height:
        raise StoreError(f"holds no run {chosen!r}" if chosen else "holds no run yet", where="store")
    worklist = read_table(
        connection,
        "SELECT * FROM worklist_row WHERE run_id = $run AND change <> 'resolved' "
        "ORDER BY priority DESC, last_anc_cells_per_ul, fall_pct DESC NULLS LAST, last_collected_at, patient_id",
        {"run": chosen},
    )
    connection.register("listed", worklist.select("patient_id"))

    def of_listed(table: str, order: str) -> pl.DataFrame:
        return read_table(
            connection,
            f"SELECT * FROM {table} WHERE patient_id IN (SELECT patient_id FROM listed) ORDER BY {order}",
        )

    run = runs.to_dicts()[0]
    return RunContents(
        run=run,
        counts=json.loads(run["counts"]),
        worklist=worklist,
        change=read_table(
            connection, "SELECT * FROM worklist_row WHERE run_id = $run ORDER BY patient_id", {"run": chosen}
        ),
        anc=of_listed("anc", "patient_id, collected_at, specimen_id"),
        flag=of_listed("flag", "patient_id, raised_at, rule_id, specimen_id"),
        episode=of_listed("episode", "patient_id, started_at"),
        drug_suspect=of_listed("drug_suspect", "episode_id, rank NULLS LAST, ingredient"),
        evidence=of_listed("evidence", "episode_id, category, rule_id, finding"),
        workup_step=of_listed("workup_step", "episode_id, step"),
        medication=of_listed("medication", "patient_id, start_date, drug_name, source_row"),
        cannot_assess=read_table(connection, "SELECT * FROM cannot_assess ORDER BY since DESC, patient_id, reason"),
        data_quality=read_table(connection, "SELECT * FROM data_quality WHERE run_id = $run", {"run": chosen}),
        source_file=read_table(
            connection, "SELECT * FROM source_file WHERE run_id = $run ORDER BY kind, name", {"run": chosen}
        ),
    )

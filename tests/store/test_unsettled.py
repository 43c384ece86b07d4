"""Whom a night screens again though nothing came in: everybody of whom something is recent, or nothing has a time."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.plan import _unsettled
from neutro_screen.reference import load_policy
from neutro_screen.store.schema import build

LAST_RUN = datetime(2026, 11, 20)
SETTLED = LAST_RUN - timedelta(days=load_policy().worklist.settled_d)
LONG_AGO, RECENT = SETTLED - timedelta(days=1), SETTLED + timedelta(days=1)
#: Who can be recalled at all, where a date of a chart stands, and in which column.
PEOPLE, MERGED = [f"P{n}" for n in range(40)], {f"M{n}": f"P{n}" for n in range(10)}
DATED = {
    "patient_summary": "last_collected_at",
    "medication": "end_date",
    "event": "occurred_at",
    "diagnosis": '"date"',
}


@pytest.fixture
def hospital() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    build(connection)
    connection.execute("INSERT INTO run (run_id, as_of) VALUES ('first', ?)", [LAST_RUN])
    for record, survivor in MERGED.items():
        connection.execute("INSERT INTO patient_merge (patient_id, survivor_id) VALUES (?, ?)", [record, survivor])
    return connection


def recalled(connection: duckdb.DuckDBPyConnection) -> set[str]:
    settings = RunOptions(store=Path("none.duckdb"), as_of=LAST_RUN, labs=())
    return set(_unsettled(connection, settings)["patient_id"])


@pytest.mark.parametrize("seed", range(8))
def test_recalled_are_those_with_something_recent_or_without_any_time(
    seed: int, hospital: duckdb.DuckDBPyConnection
) -> None:
    chance = np.random.default_rng(seed)
    with_episode = [patient for patient in PEOPLE if chance.random() < 0.7]
    for patient in with_episode:
        hospital.execute("INSERT INTO episode (episode_id, patient_id) VALUES (?, ?)", [f"{patient}/1", patient])
    times: dict[str, list[datetime | None]] = {}
    for table, column in DATED.items():
        for record in [*PEOPLE, *(MERGED if table != "patient_summary" else ())]:
            for at in chance.choice([None, LONG_AGO, RECENT], size=chance.integers(2), p=[0.4, 0.4, 0.2]):
                hospital.execute(f"INSERT INTO {table} (patient_id, {column}) VALUES (?, ?)", [record, at])
                times.setdefault(MERGED.get(record, record), []).append(at)
    due = {
        patient
        for patient in with_episode
        if (patient in times and not any(at == LONG_AGO for at in times[patient])) or RECENT in times.get(patient, [])
    }
    assert recalled(hospital) == due
    assert due and due != set(with_episode)


def test_who_takes_clozapine_or_a_suspect_is_recalled_whatever_is_long_ago(hospital: duckdb.DuckDBPyConnection) -> None:
    hospital.execute("INSERT INTO clozapine_course (patient_id) VALUES ('P1')")
    hospital.execute("INSERT INTO drug_suspect (patient_id, category) VALUES ('P2', 'likely'), ('P3', 'unlikely')")
    for patient in ("P1", "P2", "P3"):
        hospital.execute("INSERT INTO episode (episode_id, patient_id) VALUES (?, ?)", [f"{patient}/1", patient])
        hospital.execute(
            "INSERT INTO patient_summary (patient_id, last_collected_at) VALUES (?, ?)", [patient, LONG_AGO]
        )
    assert recalled(hospital) == {"P1", "P2"}

"""The Prefect flow gives the same tables as the command, and its database learns nothing of any patient."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from neutro_screen.pipeline import RunSettings, moment, run
from neutro_screen.store import SCREENED

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
NIGHT = "2026-11-22T02:00:00"
_FLOW = """
import sys
from flows.nightly import nightly
sample, store, reports = sys.argv[1:]
nightly(
    labs=[f"{sample}/labs.csv"], medications=[f"{sample}/medications.csv"], patients=[f"{sample}/patients.csv"],
    diagnoses=[f"{sample}/diagnoses.csv"], events=[f"{sample}/events.csv"],
    store=store, reports=reports, as_of="2026-11-22T02:00:00",
)
"""


def prefect_environment(home: Path) -> dict[str, str]:
    """A private Prefect that phones nobody."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return clean | {
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "PYTHONPATH": str(ROOT),
    }


def rows(store: Path, table: str) -> list[tuple[object, ...]]:
    """A table of a store, whole and in order."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(f'SELECT * FROM "{table}" ORDER BY ALL').fetchall()


@pytest.mark.xdist_group("prefect")
def test_the_flow_publishes_the_same_tables_as_the_command(tmp_path: Path) -> None:
    by_flow, by_command = tmp_path / "flow" / "s.duckdb", tmp_path / "command" / "s.duckdb"
    home = tmp_path / "prefect"
    home.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", _FLOW, str(SAMPLE), str(by_flow), str(tmp_path / "reports")],
        env=prefect_environment(home),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    chart = {kind: (str(SAMPLE / f"{kind}.csv"),) for kind in ("medications", "patients", "diagnoses", "events")}
    run(RunSettings(store=by_command, as_of=moment(NIGHT), labs=(str(SAMPLE / "labs.csv"),), **chart))
    for table in (*SCREENED, "lab_result", "rejected_row", "no_result", "worklist_row", "medication"):
        assert rows(by_flow, table) == rows(by_command, table), table
        assert table in ("evidence", "drug_suspect", "workup_step") or rows(by_flow, table), table
    assert (tmp_path / "reports" / "report.html").exists()
    assert not list(by_flow.parent.glob(".neutro-screen-work-*"))
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert kept
    for told in (kept, done.stdout.encode(), done.stderr.encode()):
        assert b"P-001" not in told
        assert b"S-001" not in told

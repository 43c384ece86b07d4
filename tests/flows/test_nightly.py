"""The Prefect flow gives the same tables as the command, and its database learns nothing of any patient."""

import json
import re
import subprocess
from pathlib import Path

import duckdb
import pytest

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.schema import SCREENED
from tests.flows.conftest import PrefectServer
from tests.nights import assert_same, tables

SAMPLE = Path(__file__).parents[2] / "sample_data"
NIGHT = "2026-11-22T02:00:00"

#: The flows as they are shipped: a night, and a backfill that has nothing left to do the second time.
_FLOWS = """
import json, sys
from flows.backfill import backfill
from flows.nightly import nightly
night, archive = map(json.loads, sys.argv[1:])
print(json.dumps(nightly(**night)))
for _ in range(2):
    print(json.dumps(backfill(**archive)))
"""
#: The flow of the night with its pauses cut to a second: a file comes late and the disk is full for a moment; then a
#: night that must be refused.
_LATE_THEN_REFUSED = """
import json, os, sys
import neutro_screen.orchestration.tasks as module
from flows.nightly import nightly
from neutro_screen.errors import PublishError, RefusedInputError
asked, labs, refused = map(json.loads, sys.argv[1:])
quick = {"retry_delay_seconds": [1, 1, 1]}
module.ingest, module.publish = module.ingest.with_options(**quick), module.publish.with_options(**quick)
ingest_step, publish_step, tried = module.ingest_step, module.publish_step, []
def comes_after_the_first_look(settings, work):
    try:
        return ingest_step(settings, work)
    finally:
        if not os.path.exists(asked["labs"][0]):
            os.symlink(labs, asked["labs"][0])
def full_at_first(settings, work):
    tried.append(1)
    if len(tried) == 1:
        raise PublishError("the disk is full")
    return publish_step(settings, work)
module.ingest_step, module.publish_step = comes_after_the_first_look, full_at_first
print(json.dumps(nightly(**asked)["account"]))
assert len(tried) == 2, tried
try:
    nightly(**refused)
except RefusedInputError:
    print("refused")
"""


def rows(store: Path, table: str) -> list[tuple[object, ...]]:
    """A table of a store, whole and in order."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(f'SELECT * FROM "{table}" ORDER BY ALL').fetchall()


HOSPITAL = {kind: [str(SAMPLE / f"{kind}.csv")] for kind in ("labs", "medications", "patients", "diagnoses", "events")}


@pytest.fixture(scope="module")
def shipped(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which one client has run the flows as they are shipped, and what it said."""
    folder = tmp_path_factory.mktemp("shipped")
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    for year, part in ((2024, lines[::2]), (2025, lines[1::2])):
        (folder / f"labs_{year}.csv").write_text("\n".join([header, *part]), "utf-8")
    night = {"store": str(folder / "flow" / "s.duckdb"), "reports": str(folder / "reports"), "as_of": NIGHT}
    archive = {"labs": [f"{folder}/labs_*.csv"], "store": str(folder / "s" / "s.duckdb"), "by": "year", "as_of": NIGHT}
    done = prefect_server.python("-c", _FLOWS, json.dumps(HOSPITAL | night), json.dumps(archive))
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done


def test_the_flow_publishes_the_same_tables_as_the_command(
    tmp_path: Path, shipped: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, done = shipped
    by_flow, by_command = folder / "flow" / "s.duckdb", tmp_path / "s.duckdb"
    run(RunOptions(store=by_command, as_of=moment(NIGHT), **{kind: tuple(paths) for kind, paths in HOSPITAL.items()}))
    names = (*SCREENED, "lab_result", "rejected_row", "no_result", "worklist_row", "medication")
    assert_same(by_flow, by_command, names)
    for name, found in tables(by_flow, names).items():
        assert found or name in ("evidence", "drug_suspect", "workup_step"), name
    assert (folder / "reports" / "report.html").exists()
    assert not list(by_flow.parent.glob(".neutro-screen-work-*"))
    assert "P-0" not in done.stdout + done.stderr


def test_what_may_pass_is_tried_again_and_a_refusal_is_told_at_once(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    bad, told, notify = tmp_path / "bad.csv", tmp_path / "told", tmp_path / "notify.toml"
    bad.write_text("patient_id,collected_at,loinc,value,unit\nSECRET-ID,2026-11-21,751-8,SECRET,furlongs\n", "utf-8")
    notify.write_text(f'command = ["tee", "{told}"]\n', "utf-8")
    store = tmp_path / "s" / "s.duckdb"
    late = {"labs": [str(tmp_path / "late.csv")], "store": str(store), "as_of": NIGHT}
    refused = late | {"labs": [str(bad)], "notify": str(notify)}
    words = (late, str(SAMPLE / "labs.csv"), refused)
    done = prefect_server.python("-c", _LATE_THEN_REFUSED, *map(json.dumps, words))
    assert done.returncode == 0, done.stderr[-2000:]
    account, outcome = done.stdout.splitlines()
    assert json.loads(account)["rows_in"] == 1665
    assert rows(store, "anc")
    assert {task for task in ("ingest", "publish") if re.search(f"{task}-.*Retry 1/3", done.stderr)} == {
        "ingest",
        "publish",
    }
    assert outcome == "refused"
    assert "validate" in done.stderr
    assert not re.search("validate-.*Retry", done.stderr)
    assert told.read_text("utf-8").startswith("neutro-screen FAILED: RefusedInputError, exit code 12")
    assert "SECRET" not in done.stdout + done.stderr + told.read_text("utf-8")


def test_a_backfill_runs_its_chunks_as_tasks_and_then_has_nothing_to_do(
    shipped: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = shipped
    _, first, second = map(json.loads, done.stdout.splitlines())
    assert (first["chunks_run"], first["rows_in"], second["chunks_finished_before"]) == (2, 1665, 2)
    assert "chunk 2 of 2: 2025" in done.stderr
    assert len(rows(folder / "s" / "s.duckdb", "run")) == 2

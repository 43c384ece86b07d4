"""`prefect deploy --all` with the shipped file, a worker, and a schedule that fires."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.flows.conftest import PYTHONPATH, ROOT, PrefectServer, free_port, stop
from tests.flows.test_nightly import NIGHT, SAMPLE, rows
from tests.nights import wait_until_free

#: On an idle machine a tenth of it.
_FIRES_WITHIN_SECONDS = 480
_ASKED = 30


def asked_of(server: PrefectServer, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server's API answers; asked again where its database has another writer (503), as Prefect's own client does."""
    content = json.dumps(body).encode() if body is not None else None
    request = Request(server.environment["PREFECT_API_URL"] + path, content, {"Content-Type": "application/json"})  # noqa: S310
    for left in reversed(range(_ASKED)):
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or not left:
                raise
            time.sleep(1)
    raise AssertionError("asked at least once")


@pytest.fixture(scope="module")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    """The server with a work pool and every deployment of prefect.yaml."""
    asked_of(prefect_server, "/work_pools/", {"name": "neutro-screen", "type": "process"})
    done = prefect_server.command("--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    return prefect_server


def test_the_deployments_have_a_time_zone_and_no_limit_that_outlives_a_killed_run(deployed: PrefectServer) -> None:
    nightly = asked_of(deployed, "/deployments/name/neutro-screen-nightly/nightly")
    backfill = asked_of(deployed, "/deployments/name/neutro-screen-backfill/backfill")
    (schedule,) = nightly["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    assert schedule["active"]
    assert backfill["schedules"] == []
    # A limit of Prefect's outlives the process that holds it; the store's lock does not.
    assert [each["global_concurrency_limit"] for each in (nightly, backfill)] == [None, None]


def test_a_worker_killed_in_the_midst_of_a_run_frees_its_slot_at_once(deployed: PrefectServer, tmp_path: Path) -> None:
    """The next run completes; it is neither cancelled nor kept waiting for the dead one."""
    store = tmp_path / "s" / "s.duckdb"
    asked = {kind: [str(SAMPLE / f"{kind}.csv")] for kind in ("labs", "medications")}
    parameters = asked | {"store": str(store), "as_of": NIGHT, "by": "file"}
    backfill = asked_of(deployed, "/deployments/name/neutro-screen-backfill/backfill")["id"]
    words = ["-m", "prefect", "worker", "start", "--pool", "neutro-screen", "--limit", "1"]
    asked_of(deployed, f"/deployments/{backfill}/create_flow_run", {"parameters": parameters})
    worker = deployed.start(words, tmp_path / "first.log")
    _wait_until((store.parent / f".{store.name}.lock").exists, tmp_path / "first.log")
    for process in [worker.pid, *descendants(worker.pid)]:  # as systemd does: all that the unit has started
        os.kill(process, signal.SIGKILL)
    worker.wait()
    wait_until_free(store)
    second = asked_of(deployed, f"/deployments/{backfill}/create_flow_run", {"parameters": parameters})["id"]
    worker = deployed.start(words, tmp_path / "second.log")
    try:
        _wait_until(
            lambda: asked_of(deployed, f"/flow_runs/{second}")["state_type"] in ("COMPLETED", "FAILED", "CANCELLED"),
            tmp_path / "second.log",
        )
    finally:
        stop(worker)
    assert asked_of(deployed, f"/flow_runs/{second}")["state_type"] == "COMPLETED"


def test_a_schedule_fires_and_a_worker_screens_the_night(deployed: PrefectServer, tmp_path: Path) -> None:
    store, notify, told = tmp_path / "s" / "s.duckdb", tmp_path / "notify.toml", tmp_path / "told"
    notify.write_text(f'command = ["tee", "{told}"]\n', "utf-8")
    asked = {kind: [str(SAMPLE / f"{kind}.csv")] for kind in ("labs", "medications", "patients", "diagnoses", "events")}
    asked |= {"store": str(store), "reports": str(tmp_path / "r"), "as_of": NIGHT, "notify": str(notify)}
    words = ("--no-prompt", "deploy", "--name", "nightly", "--interval", "10", "--params", json.dumps(asked))
    done = deployed.command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    worker = deployed.start(
        ["-m", "prefect", "worker", "start", "--pool", "neutro-screen", "--limit", "1"], tmp_path / "worker.log"
    )
    try:
        completed = _wait_for_a_completed_run(deployed)
    finally:
        stop(worker)
    assert "P-0" not in (tmp_path / "worker.log").read_text("utf-8")
    assert completed["auto_scheduled"]
    assert rows(store, "worklist_row")
    assert (tmp_path / "r" / "report.html").exists()
    assert re.match(r"neutro-screen: critical patients tonight: [1-9]", told.read_text("utf-8"))
    (artifact,) = asked_of(deployed, "/artifacts/filter", {"limit": 1, "sort": "UPDATED_DESC"})
    assert artifact["key"] == "neutro-screen-nightly"
    assert f"report: {tmp_path / 'r' / 'report.html'}" in artifact["data"]


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children = [
        int(child)
        for place in Path(f"/proc/{process}/task").glob("*/children")
        for child in place.read_text("utf-8").split()
    ]
    return [*children, *(each for child in children for each in descendants(child))]


def _wait_until(what: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + _FIRES_WITHIN_SECONDS
    while not what():
        told = [line for line in log.read_text("utf-8").splitlines() if "leaked" not in line]
        assert time.monotonic() < end, "\n".join(told)[-4000:]
        time.sleep(0.05)


def _wait_for_a_completed_run(server: PrefectServer) -> dict[str, Any]:
    end = time.monotonic() + _FIRES_WITHIN_SECONDS
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
    asked = {"deployments": {"name": {"any_": ["nightly"]}}, "flow_runs": ended, "sort": "START_TIME_ASC"}
    while time.monotonic() < end:
        if done := asked_of(server, "/flow_runs/filter", asked):
            assert done[0]["state_type"] == "COMPLETED", done[0]["state"]["message"]
            return dict(done[0])
        time.sleep(0.5)
    raise AssertionError(f"no run within {_FIRES_WITHIN_SECONDS} s: {(server.home / 'server.log').read_text()[-2000:]}")


def test_the_guides_prefect_block_works_pasted_line_by_line(tmp_path: Path) -> None:
    """Every line of it, in one shell, with the guide's paths under a folder of this test and another port."""
    guide = (ROOT / "docs" / "operations.md").read_text("utf-8").split("## Prefect with a server")[1]
    block = guide.split("```console\n")[1].split("```")[0]
    lines = block.replace("4200", str(free_port())).replace("/opt/neutro-screen/bin", str(Path(sys.executable).parent))
    lines = lines.replace("/opt/neutro-screen/deploy", str(ROOT)).replace("/var/lib/neutro-screen", str(tmp_path))
    assert lines.rstrip().splitlines()[-1] == "prefect worker start --pool neutro-screen --limit 1"
    # The last line stays at work: --run-once ends it after a look at the pool.
    pasted = f"set -e\n{lines.rstrip()} --run-once\n"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    clean |= {"PREFECT_SERVER_DATABASE_TIMEOUT": "120", "PYTHONPATH": PYTHONPATH}
    try:
        done = subprocess.run(
            ["bash", "-c", pasted], env=clean, cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
    finally:
        stopping = [sys.executable, "-m", "prefect", "server", "stop"]
        subprocess.run(stopping, env=clean | {"PREFECT_HOME": str(tmp_path / "prefect")}, capture_output=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "neutro-screen-nightly/nightly" in done.stdout
    assert (tmp_path / "prefect").stat().st_mode & 0o077 == 0

"""``neutro-screen schedule`` alone on a machine: a run fires by the real clock, and no server is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.flows.conftest import PYTHONPATH, ROOT, PrefectServer, patients_in, stop
from tests.flows.test_deployments import asked_of
from tests.flows.test_nightly import SAMPLE, rows
from tests.nights import command

#: Within two minutes on an idle machine: the next full minute, and what a busy machine of two cores takes for the server's first start and the flow's own.
_FIRES_WITHIN_SECONDS = 480
_STARTS_WITHIN_SECONDS = 300
_GONE_WITHIN_SECONDS = 90


def wait_for(what: Callable[[], object], seconds: float, log: Path) -> object:
    """What is true in the end, within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s: {log.read_text('utf-8', 'replace')[-3000:]}")


def servers_of(parent: int) -> list[int]:
    """The private servers that a process has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words, status = (
                (place / "cmdline").read_bytes().split(b"\0"),
                (place / "stat").read_text().rsplit(")", 1)[1],
            )
        except OSError:
            continue
        if b"neutro_screen.orchestration.prefect_server" in words and int(status.split()[1]) == parent:
            found.append(int(place.name))
    return found


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def alone(folder: Path) -> dict[str, str]:
    """The environment of a machine on which nobody has set up Prefect; an empty address is none."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return clean | {"HOME": str(folder), "PREFECT_API_URL": "", "PYTHONPATH": PYTHONPATH}


def words(folder: Path) -> list[str]:
    """The words of the command as the guide calls it."""
    paths = ("--labs", SAMPLE / "labs.csv", "--store", folder / "s" / "s.duckdb", "--reports", folder / "reports")
    return ["schedule", "--cron", "* * * * *", *map(str, paths)]


@contextmanager
def schedule(folder: Path, environment: dict[str, str], *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command at work; its output is in ``schedule.log``."""
    program = [sys.executable, "-m", "neutro_screen.cli.app", *words(folder), *more]
    with (folder / "schedule.log").open("wb") as log:
        process = subprocess.Popen(program, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        stop(process)


@pytest.fixture(scope="module", autouse=True)
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The command alone on a machine, from the first test on: the others run while its server starts and its minute comes."""
    folder = tmp_path_factory.mktemp("alone")
    with schedule(folder, alone(folder)) as process:
        yield folder, process


#: A private server that is killed, then the command itself, in the hardest way.
_KILLED = """
import os, signal, sys, time
from pathlib import Path
from neutro_screen.orchestration.prefect_server import PrivateServer, _is_healthy, prepare_environment
assert not prepare_environment()
server = PrivateServer(Path(sys.argv[1]), lambda text: print(text, flush=True))
with server.running():
    first = server._process.pid
    os.kill(first, signal.SIGKILL)
    while server._process.pid == first or not _is_healthy(server._port):
        time.sleep(0.2)
    print(server._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_that_dies_is_started_again_and_none_survives_a_killed_command(tmp_path: Path) -> None:
    killed = [sys.executable, "-c", _KILLED, str(tmp_path / "home")]
    done = subprocess.run(killed, env=alone(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    starting, told, second = done.stdout.splitlines()
    assert starting.startswith("starting a Prefect server of its own on 127.0.0.1")
    assert told == "warning: the Prefect server ended with code -9; it is started again"
    wait_for(lambda: not is_alive(int(second)), _GONE_WITHIN_SECONDS, tmp_path / "home" / "server.log")


def test_a_server_that_is_named_is_used_and_none_is_started(tmp_path: Path, prefect_server: PrefectServer) -> None:
    log = tmp_path / "schedule.log"
    asked = {"deployments": {"name": {"any_": ["nightly"]}}, "flows": {"name": {"any_": ["neutro-screen-nightly"]}}}

    def served() -> bool:
        found = asked_of(prefect_server, "/deployments/filter", asked)
        return any(str(tmp_path) in each["parameters"].get("store", "") for each in found)

    with schedule(tmp_path, prefect_server.environment, "--time-zone", "Europe/Berlin") as process:
        wait_for(lambda: served() or process.poll() is not None, _STARTS_WITHIN_SECONDS, log)
        assert process.poll() is None, log.read_text("utf-8")
        assert servers_of(process.pid) == []
    assert not (tmp_path / "s" / ".s.duckdb.prefect").exists()


def test_what_is_missing_is_said_at_once(tmp_path: Path) -> None:
    log = tmp_path / "schedule.log"
    with schedule(tmp_path, alone(tmp_path), "--time-zone", "Nowhere") as process:
        assert process.wait(_GONE_WITHIN_SECONDS) == 10
    assert "'* * * * *' in 'Nowhere' is no schedule" in log.read_text("utf-8")
    (tmp_path / "file").touch()
    with patch.dict(os.environ, alone(tmp_path) | {"PREFECT_HOME": str(tmp_path / "file")}, clear=True):
        done = command(*words(tmp_path))
    assert done.returncode == 10
    assert "Prefect's home folder cannot be used (File exists)" in done.stderr


def test_alone_on_a_machine_a_run_fires_by_the_clock_and_the_server_ends_with_the_command(
    at_work: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    folder, process = at_work
    log, store, home = folder / "schedule.log", folder / "s" / "s.duckdb", folder / "s" / ".s.duckdb.prefect"
    (server,) = wait_for(lambda: servers_of(process.pid), _STARTS_WITHIN_SECONDS, log)  # type: ignore[misc]
    page = folder / "reports" / "report.html"
    wait_for(lambda: page.exists() or process.poll() is not None, _FIRES_WITHIN_SECONDS, log)
    assert process.poll() is None, log.read_text("utf-8")
    process.send_signal(signal.SIGTERM)
    process.wait(_GONE_WITHIN_SECONDS)
    assert not is_alive(server)
    assert rows(store, "anc")
    assert home.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in home.rglob("*") if file.is_file())
    assert not (folder / ".prefect").exists()
    for file in (log, *(file for file in home.rglob("*") if file.is_file())):
        assert not patients_in(file.read_bytes()), file.name

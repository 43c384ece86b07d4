"""One Prefect server on loopback for all flow tests, with a home of its own whose every byte is searched for patients at the end."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
#: Where a started Python looks for modules: Prefect starts in two fifths of its time with what is in the first folder.
PYTHONPATH = os.pathsep.join((str(Path(__file__).with_name("light_prefect")), str(ROOT)))
_STARTS_WITHIN_SECONDS = 300
#: Services of the server that look at its database every few seconds, for what no test here asks of them.
_NOT_NEEDED = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "TRIGGERS",
)


@dataclass(frozen=True)
class PrefectServer:
    """A running server: where it keeps its state and the environment of its clients."""

    home: Path
    environment: dict[str, str]

    def command(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run Prefect's own command line as an operator does."""
        return self.python("-m", "prefect", *words, timeout=timeout)

    def python(self, *words: str, timeout: float = 400, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run Python as a client of this server."""
        return subprocess.run(
            [sys.executable, *words], env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=timeout
        )

    def start(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a client that keeps running."""
        with log.open("wb") as file:
            return subprocess.Popen([sys.executable, *words], env=self.environment, cwd=ROOT, stdout=file, stderr=file)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that a test has started."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of loopback on which nobody listens, below those that the system lends to whoever calls out meanwhile."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port of loopback is free")


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A private Prefect that phones nobody."""
    home = tmp_path_factory.mktemp("prefect")
    home.chmod(0o700)
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = clean | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # A busy machine, and a database that has one writer: few runs ahead, and patience.
        "PREFECT_SERVER_DATABASE_TIMEOUT": "120",
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _NOT_NEEDED},
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "NEUTRO_SCREEN_HOME": str(ROOT),
        "PYTHONPATH": PYTHONPATH,
    }
    words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    server = PrefectServer(home, environment)
    process = server.start(words, home / "server.log")
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/api/health", process, home / "server.log")
        yield server
    finally:
        stop(process)
    _assert_no_patient_in(home)


def _assert_no_patient_in(home: Path) -> None:
    """After all flow tests: database, logs and results that Prefect kept hold paths and counts, and no patient's value."""
    kept = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    # A server that was killed leaves what it wrote last in the log beside the database.
    assert any(b"neutro-screen" in content for path, content in kept.items() if path.name.startswith("prefect.db"))
    assert patients_in((ROOT / "sample_data/labs.csv").read_bytes()), "the search finds nobody"
    for path, content in kept.items():
        found = patients_in(content)
        assert not found, f"{path.name} holds {found}"


#: Patients and specimens of the sample hospital, and what the tests plant. Whole identifiers: three bytes are found by chance in
#: a database of some megabytes.
_PATIENTS = re.compile(rb"(?<![A-Za-z0-9])(?:P-0\d\d(?!\d)|S-0\d\d-\d\d)|SECRET-ID|furlongs")


def patients_in(content: bytes) -> list[bytes]:
    """What `content` holds of the sample hospital's patients and of what the tests plant: empty where nothing was kept."""
    return _PATIENTS.findall(content)


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _STARTS_WITHIN_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(address, timeout=2):  # noqa: S310 - an address of this file
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the Prefect server did not start: {log.read_text('utf-8')[-2000:]}")

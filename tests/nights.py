"""What the store tests speak: a night over the sample hospital, a command, and a table of the store, whole and in order."""

import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import duckdb
import polars as pl

from neutro_screen.cli.app import main
from neutro_screen.errors import StoreError
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.store.file import lock

SAMPLE = Path(__file__).parents[1] / "sample_data"
NIGHT = "2026-11-22T02:00:00"
KINDS = ("medications", "patients", "diagnoses", "events")


def night(store: Path, labs: Path | str = SAMPLE / "labs.csv", as_of: str = NIGHT, **more: object) -> RunSummary:
    """One run over the sample hospital, or over other laboratory files of it."""
    chart = {kind: (str(SAMPLE / f"{kind}.csv"),) for kind in KINDS}
    return run(RunOptions(store=store, as_of=moment(as_of), labs=(str(labs),), **(chart | more)))  # type: ignore[arg-type]


def screened_sample(store: Path) -> Path:
    """A new store as the first night over the sample hospital leaves it; the night itself is run once a worker."""
    store.write_bytes(_sample_night())
    store.chmod(0o600)
    return store


@cache
def _sample_night() -> bytes:
    with TemporaryDirectory() as folder:
        store = Path(folder) / "s.duckdb"
        night(store)
        return store.read_bytes()


def table(store: Path, name: str, leave_out: str = "") -> list[tuple[object, ...]]:
    """A table, whole and in order."""
    return tables(store, [name], {name: leave_out})[name]


def tables(
    store: Path, names: Iterable[str], leave_out: Mapping[str, str] | None = None
) -> dict[str, list[tuple[object, ...]]]:
    """Some tables, each whole and in order, without the columns named. To open a store costs more than to read its tables."""
    without = leave_out or {}
    columns = {name: f"* EXCLUDE ({without[name]})" if without.get(name) else "*" for name in names}
    with duckdb.connect(str(store), read_only=True) as connection:
        return {
            name: connection.execute(f'SELECT {chosen} FROM "{name}" ORDER BY ALL').fetchall()
            for name, chosen in columns.items()
        }


def assert_same(one: Path, other: Path, names: Iterable[str], leave_out: Mapping[str, str] | None = None) -> None:
    """Two stores hold the same rows in each of some tables."""
    expected = tables(other, names := list(names), leave_out)
    for name, rows in tables(one, names, leave_out).items():
        assert rows == expected[name], name


def command(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call the program's entry point as a user does: its exit code and what it says.

    In this process, without the seconds in which a new one loads the libraries. What a process of its own is needed for
    (signals, closed streams, limits) is tested with one.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    code: object = 0
    called = patch.object(sys, "argv", ["neutro-screen", *map(str, words)])
    with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(err), _own_process(), called:
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    said = [stream.buffer.getvalue().decode() for stream in (out, err) if not stream.flush()]
    return subprocess.CompletedProcess([str(word) for word in words], int(code or 0), *said)  # type: ignore[call-overload]


@contextmanager
def _own_process() -> Iterator[None]:
    """What the entry point asks of its process is put back afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    mask, limit = os.umask(0o022), resource.getrlimit(resource.RLIMIT_CORE)
    os.umask(mask)
    try:
        yield
    finally:
        os.umask(mask)
        resource.setrlimit(resource.RLIMIT_CORE, limit)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def wait_until_free(store: Path, seconds: float = 60) -> None:
    """After a kill: a child that the run was just starting may hold the store's lock until it is another program."""
    end = time.monotonic() + seconds
    while True:
        try:
            with lock(store):
                return
        except StoreError:
            assert time.monotonic() < end
            time.sleep(0.1)


def count_rows(folder: Path, number: int, night: datetime, counts: Mapping[str, Sequence[float]]) -> Path:
    """The laboratory file of one of several nights: of each patient one neutrophil count (10*9/L), taken 18 hours before."""
    rows = [
        {
            "patient_id": patient,
            "specimen_id": f"{patient}-{number}",
            "collected_at": f"{night - timedelta(hours=18):%Y-%m-%dT%H:%M}",
            "analyte_name": "Neutrophils Absolute",
            "value": str(values[number]),
            "unit": "10*9/L",
        }
        for patient, values in counts.items()
    ]
    labs = folder / f"labs-{number}.csv"
    pl.DataFrame(rows).write_csv(labs)
    return labs

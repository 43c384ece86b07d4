"""Files that one worker process reads, judges and screens, against two: ``python -m benchmarks.cluster``.

A backfill of one extract in ten files, as hospitals send it, by the flow, Prefect and Dask of docs/scale.md; a worker has one
thread of polars. Wall seconds and processor seconds of each phase, and processor seconds per million rows. The ratio of
walls says something on a quiet machine with a core for each worker only.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.workers import SENT_AS_OF, given

#: Processor seconds of this process, a worker, by step.
SPENT: dict[str, float] = {}
FILES, PARTS = 10, 8


def main() -> None:
    """Measure, and print one table for each number of workers."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.cluster")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options.add_argument("--folder", type=Path, help="where the simulated files are kept between runs")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        asked = in_files(folder, chosen.rows)
        with prefect_at(folder / "prefect"):
            measured = {n: of_workers(n, asked, folder / "store") for n in chosen.workers}
    for n, phases in measured.items():
        sys.stdout.write(f"\n{n} workers, {chosen.rows:,} rows in {FILES} files, {PARTS} parts\n\n")
        sys.stdout.write("| phase | wall s | CPU s | CPU s / million rows |\n|---|---|---|---|\n")
        for name, (wall, processor) in phases.items():
            shown = f"{wall:.1f}" if wall else ""
            sys.stdout.write(f"| {name} | {shown} | {processor:.1f} | {processor / chosen.rows * 1e6:.2f} |\n")
    walls = {n: phases["ingest"][0] + phases["validate, history, screen"][0] for n, phases in measured.items()}
    first, *others = walls.items()
    for n, wall in others:
        sys.stdout.write(f"\n{n} workers: {wall / first[1]:.2f} x the wall time of {first[0]} before publishing\n")


def in_files(folder: Path, rows: int) -> dict[str, Any]:
    """The inputs of a backfill: an extract with its charts, its laboratory rows in ten files of a year."""
    from benchmarks.__main__ import sent

    whole = sent(folder, rows)
    place = whole.parent / "2025"
    if not place.exists():
        place.mkdir()
        header, *lines = whole.read_text("utf-8").splitlines(keepends=True)
        size = -(-len(lines) // FILES)
        for number in range(FILES):
            own = lines[number * size : (number + 1) * size]
            (place / f"labs{number:02d}.csv").write_text("".join([header, *own]), "utf-8")
    return {kind: [str(path)] for kind, path in given(whole).items()} | {"labs": [str(place)]}


@contextlib.contextmanager
def prefect_at(home: Path) -> Iterator[None]:
    """A Prefect server of its own on this machine; the environment names it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    words = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
                break
            time.sleep(0.5)
        yield
    finally:
        server.terminate()
        server.wait()


def of_workers(n: int, asked: dict[str, Any], place: Path) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds by phase of a backfill by so many workers; steps of a phase have no wall of their own."""
    import dask
    from distributed import Client, LocalCluster

    shutil.rmtree(place, ignore_errors=True)
    dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    dask.config.set({"distributed.nanny.pre-spawn-environ.POLARS_MAX_THREADS": "1"})
    with LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        client.run(import_module, "neutro_screen.orchestration.tasks")  # a worker starts once, not once a file
        os.environ["NEUTRO_SCREEN_TASK_RUNNER"] = f"dask:{cluster.scheduler_address}"

        def now() -> tuple[float, float]:
            of_all = time.process_time() + sum(client.run(time.process_time).values())
            return time.perf_counter(), of_all

        noted = _noting(now)
        from flows.backfill import backfill

        backfill(**asked, store=str(place / "s.duckdb"), as_of=SENT_AS_OF, by="year", parts=PARTS)
        noted["end"] = now()
        steps = client.run(spent).values()
    bounds = {
        "ingest": ("share_out", "survey"),
        "survey": ("survey", "parts"),
        "validate, history, screen": ("parts", "publish"),
        "publish": ("publish", "end"),
    }
    phases = {
        phase: (noted[end][0] - noted[begin][0], noted[end][1] - noted[begin][1])
        for phase, (begin, end) in bounds.items()
    }
    of_steps = {
        name: (0.0, sum(worker.get(name, 0.0) for worker in steps)) for name in sorted(set[str]().union(*steps))
    }
    return phases | of_steps


def _noting(now: Callable[[], tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """When the flow's own tasks begin; ``parts``: when the survey has ended."""
    from neutro_screen.orchestration import tasks
    from neutro_screen.pipeline.ingest import read_step
    from neutro_screen.pipeline.run import PART_STEPS

    noted: dict[str, tuple[float, float]] = {}
    # A task goes to the workers with what it names here.
    vars(tasks)["PART_STEPS"] = tuple(map(Timed, PART_STEPS))
    vars(tasks)["read_step"] = Timed(read_step)

    def noting(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def noted_act(*given: Any) -> Any:
            noted[name] = now()
            told = act(*given)
            if name == "survey":
                noted["parts"] = now()
            return told

        return noted_act

    for name in ("share_out", "survey", "publish"):
        task = getattr(tasks, name)
        vars(tasks)[name] = noting(name, getattr(task, "_of_flow", task))
        vars(vars(tasks)[name])["_of_flow"] = task
    return noted


class Timed:
    """A step that counts the processor seconds it takes, in the process that takes it."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step

    def __call__(self, *given: Any) -> Any:
        """Take the step."""
        began = time.process_time()
        told = self.step(*given)
        SPENT[self.step.__name__] = SPENT.get(self.step.__name__, 0.0) + time.process_time() - began
        return told


def spent() -> dict[str, float]:
    """What the steps have counted in this process."""
    return SPENT


if __name__ == "__main__":
    # Under its own name, by which a worker finds what it is asked to call.
    import_module("benchmarks.cluster").main()

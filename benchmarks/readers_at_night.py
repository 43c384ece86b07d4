"""Readers that never pause while the nights go by: no reader fails, no night fails, nobody sees two runs mixed.

    python -m benchmarks.readers_at_night --nights 20 --readers 4

Half of the readers open the file as analysts do (duckdb.connect, read-only), half as this program does. Every look asks
in one connection whether the tables fit the latest run. A night brings two files of one name, and its reports or its
notification may fail.
"""

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.consistency import faults
from benchmarks.mishaps import MISHAPS, is_published_with
from neutro_screen.errors import NeutroScreenError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist

SAMPLE = Path(__file__).parents[1] / "sample_data"
FIRST = datetime.fromisoformat("2026-11-22T02:00:00")
KINDS = ("medications", "patients", "diagnoses", "events")


def main() -> None:
    """Print one JSON line; exit 1 if a reader or a night failed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.readers_at_night")
    options.add_argument("--nights", type=int, default=20)
    options.add_argument("--readers", type=int, default=4)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = watched(Path(folder) / "store" / "s.duckdb", chosen.nights, chosen.readers)
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(bool(told["reader errors"] or told["failed nights"] or told["mixed runs"]))


def watched(store: Path, nights: int, readers: int) -> dict[str, Any]:
    """That many nights with that many readers; what they met."""
    started = multiprocessing.get_context("spawn")
    failed = _nights(store, 1)
    is_over, met = started.Event(), started.Queue()
    looking = [started.Process(target=_look, args=(store, bool(number % 2), is_over, met)) for number in range(readers)]
    for process in looking:
        process.start()
    failed += _nights(store, nights, first=1)
    is_over.set()
    told: Counter[str] = Counter()
    for _ in looking:
        told.update(met.get(timeout=120))
    for process in looking:
        process.join()
    return {
        "nights": nights,
        "readers": readers,
        "looks": told["looks"],
        "runs seen": told["runs seen"],
        "reader errors": told["errors"],
        "mixed runs": told["mixed"],
        "failed nights": failed,
    }


def _nights(store: Path, nights: int, first: int = 0) -> int:
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    chart: Any = {kind: (str(SAMPLE / f"{kind}.csv"),) for kind in KINDS}
    drawn, failed = random.Random(first), 0  # noqa: S311 - reproducible, no secrets
    for number in range(first, first + nights):
        mine, paths = lines[number :: nights + 1], []
        for part, ward in enumerate(("a", "b")):
            labs = store.parent.with_name(f"night{number}") / ward / "labs.csv"
            labs.parent.mkdir(parents=True)
            labs.write_text("\n".join([header, *mine[part::2]]) + "\n", "utf-8")
            paths.append(str(labs))
        options = RunOptions(store=store, as_of=FIRST + timedelta(days=number), labs=tuple(paths), **chart)
        failed += not is_published_with(store.parent.parent, options, drawn.choice(MISHAPS))
    return failed


def _look(store: Path, as_program: bool, is_over: Event, met: Any) -> None:
    told: Counter[str] = Counter()
    runs = set()
    while not is_over.is_set():
        try:
            with reading(store) if as_program else duckdb.connect(str(store), read_only=True) as connection:
                before = connection.execute("SELECT max(run_id) FROM run").fetchall()
                told["mixed"] += bool(faults(connection))
                current_worklist(connection)
                told["mixed"] += connection.execute("SELECT max(run_id) FROM run").fetchall() != before
                runs.add(before[0][0])
        except (duckdb.Error, NeutroScreenError, OSError):
            told["errors"] += 1
        told["looks"] += 1
    met.put(told | Counter({"runs seen": len(runs)}))


if __name__ == "__main__":
    main()

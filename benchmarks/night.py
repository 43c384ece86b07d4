"""What a night of 20,000 new results costs on a store of a million results and on one of ten million.

    python -m benchmarks.night --folder /tmp/nights --rows 1000000 10000000

The larger store has ten times the history, as after ten times the years: the same million of recent results, and as
many of earlier years of other patients (``--population`` makes it ten times the patients at the same time instead). The
first store comes from a run; the others hold copies of its rows. Stores are built once and kept in the folder, each with a night
in which nothing new came in: the worklist of the night before holds everybody who is lost to follow-up. The copy of the file
is told apart. Times are CPU seconds (user and system) of the process, and seconds of the clock.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from neutro_screen.pipeline.ingest import ingest_step
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.partitions import Workspace, working_folder
from neutro_screen.pipeline.plan import survey_step
from neutro_screen.pipeline.publish import publish_step
from neutro_screen.pipeline.run import PART_STEPS, run
from neutro_screen.store import file as store_module
from neutro_screen.store.connect import attached
from neutro_screen.store.file import lock
from neutro_screen.store.schema import TABLES, columns_of
from neutro_simulator import simulate_labs_at_scale

#: No result of the simulated laboratories is later.
BUILT_AS_OF = datetime.fromisoformat("2027-12-30T02:00:00")
#: Days between the copies of a store: longer than the simulated history.
_DAYS_OF_HISTORY = 430
#: The tables that grow with the patients; what is kept of a run and of drug names does not.
_OF_PATIENTS = [table for table in TABLES if "patient_id" in columns_of(table) and table != "worklist_entry"]


def main() -> None:
    """Print one JSON line per store and one with the ratios."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.night")
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--recent", type=int, default=1_000_000, help="rows of one stretch of years")
    options.add_argument("--night-rows", type=int, default=20_000)
    options.add_argument("--population", action="store_true")
    chosen = options.parse_args()
    chosen.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = []
    for rows in chosen.rows:
        store, extract = built(chosen.folder, rows, chosen.recent, chosen.night_rows, chosen.population)
        repeats = [night(store, extract) for _ in range(chosen.repeat)]
        told.append({name: round(median(one[name] for one in repeats), 2) for name in repeats[0]})
        sys.stdout.write(json.dumps({"rows": rows, "MB": store.stat().st_size >> 20} | told[-1]) + "\n")
        sys.stdout.flush()
    ratio = {name: round(told[-1][name] / told[0][name], 2) for name in ("cpu", "wall", "cpu without copy")}
    sys.stdout.write(json.dumps({"ratio": ratio}) + "\n")


def built(folder: Path, rows: int, recent_rows: int, night_rows: int, population: bool) -> tuple[Path, Path]:
    """The store, without what came in last, and the night's extract: the last results of some recent patients."""
    store, extract = folder / f"{rows}{'p' if population else ''}" / "s.duckdb", folder / "night.parquet"
    first = folder / str(recent_rows) / "s.duckdb"
    if not (first.exists() and extract.exists()):
        _run_of_the_first(first, extract, recent_rows, night_rows)
    if not store.exists():
        store.parent.mkdir()
        shutil.copyfile(first, store)
        _grow(store, first, -(-rows // recent_rows), population)
        _night_before(store, folder)
    return store, extract


def _run_of_the_first(store: Path, extract: Path, rows: int, night_rows: int) -> None:
    simulated, before = store.parent.parent / "labs.parquet", store.parent.parent / "before.parquet"
    simulate_labs_at_scale(rows, 1, simulated)
    labs = pl.read_parquet(simulated)
    is_last = pl.col("collected_at") == pl.col("collected_at").max().over("patient_id")
    last = labs.filter(is_last).head(night_rows)
    last.write_parquet(extract)
    specimen = ["patient_id", "specimen_id", "collected_at"]
    labs.join(last.select(specimen).unique(), on=specimen, how="anti").write_parquet(before)
    run(RunOptions(store=store, as_of=BUILT_AS_OF, labs=(str(before),)))
    pl.read_parquet(before, n_rows=100).write_parquet(_known_rows(store.parent.parent))
    simulated.unlink()
    before.unlink()
    _night_before(store, store.parent.parent)


def _known_rows(folder: Path) -> Path:
    return folder / "known.parquet"


def _night_before(store: Path, folder: Path) -> None:
    run(RunOptions(store=store, as_of=BUILT_AS_OF + timedelta(hours=12), labs=(str(_known_rows(folder)),)))


def _grow(store: Path, first: Path, times: int, population: bool) -> None:
    """Adds the patients of the first store again under other names, each time so many years earlier (or at the same time).

    A name ends, not begins, with the copy's number: the patients of a copy are not found together in the file.
    """
    with attached(store, store) as connection:
        connection.execute(f"ATTACH '{first}' AS first (READ_ONLY)")
        for copy, table in itertools.product(range(1, times), _OF_PATIENTS):
            days = 0 if population else copy * _DAYS_OF_HISTORY
            values = ", ".join(_copied(name, kind, copy, days) for name, kind in columns_of(table).items())
            connection.execute(f'INSERT INTO "{table}" SELECT {values} FROM first."{table}"')
        connection.execute("CHECKPOINT store")


def _copied(name: str, kind: str, copy: int, days: int) -> str:
    if name in ("episode_id", "fall_id"):  # the patient, a slash and more
        return f"replace(\"{name}\", patient_id || '/', patient_id || '-{copy}/')"
    if name == "patient_id":
        return f"patient_id || '-{copy}'"
    return f'CAST("{name}" - INTERVAL {days} DAY AS {kind})' if kind in ("DATE", "TIMESTAMP") else f'"{name}"'


def night(store: Path, extract: Path) -> dict[str, float]:
    """Seconds of each step of one night on a copy of the store."""
    own = store.with_name("night") / store.name
    shutil.rmtree(own.parent, ignore_errors=True)
    own.parent.mkdir()
    shutil.copyfile(store, own)
    spent: dict[str, float] = {}
    settings = RunOptions(store=own, as_of=BUILT_AS_OF + timedelta(days=1), labs=(str(extract),))
    copy = store_module._copy_file

    def timed_copy(source: Path, target: Path) -> None:
        with _timed(spent, "copy"):
            copy(source, target)

    store_module._copy_file = timed_copy
    try:
        with _timed(spent, "all"), lock(own), working_folder(own) as folder:
            work = Workspace(folder, settings.rows_alone)
            for step in (ingest_step, survey_step):
                with _timed(spent, step.__name__.removesuffix("_step")):
                    step(settings, work)

            def prepare(part: int) -> None:
                for part_step in PART_STEPS:
                    with _timed(spent, part_step.__name__.removesuffix("_step")):
                        part_step(settings, work, part)

            with _timed(spent, "publish and the steps before it"):
                summary = publish_step(settings, work, prepare)
    finally:
        store_module._copy_file = copy
        shutil.rmtree(own.parent, ignore_errors=True)
    return {
        "cpu": spent["all"],
        "wall": spent["all wall"],
        "cpu without copy": spent["all"] - spent["copy"],
        "copy wall": spent["copy wall"],
        "patients": summary.patients_touched,
        "accepted": summary.account.accepted,
    } | {
        name: spent[name]
        for name in ("ingest", "survey", "validate", "history", "screen", "publish and the steps before it", "copy")
    }


@contextmanager
def _timed(spent: dict[str, Any], name: str) -> Iterator[None]:
    before, clock = sum(os.times()[:2]), time.monotonic()
    yield
    spent[name] = spent.get(name, 0.0) + sum(os.times()[:2]) - before
    spent[f"{name} wall"] = spent.get(f"{name} wall", 0.0) + time.monotonic() - clock


if __name__ == "__main__":
    main()

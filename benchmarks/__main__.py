"""`make bench`: the full run beside a floor, the ANC step beside a SQL peer, and each rule's share of the time.

Figures are medians of one process per repetition; only ratios measured in the same run are kept as claims. Writes
docs/performance.md.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
AS_OF = "2027-12-31"


def main() -> None:
    """Measure and write the page; ``--worker`` is one measurement in a process of its own."""
    options = argparse.ArgumentParser(prog="python -m benchmarks")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--large", action="store_true", help="10 million rows")
    options.add_argument("--worker", choices=list(WORKERS))
    options.add_argument("--file", type=Path)
    chosen = options.parse_args()
    if chosen.worker:
        sys.stdout.write(json.dumps(WORKERS[chosen.worker](chosen.file)))
        return
    rows = 10_000_000 if chosen.large else chosen.rows
    with tempfile.TemporaryDirectory() as folder:
        from neutro_screen.simulate import simulate_labs_at_scale

        files = {kind: Path(folder) / f"labs.{kind}" for kind in ("csv", "parquet")}
        for path in files.values():
            simulate_labs_at_scale(rows, 1, path)
        told = {
            f"{worker} {kind}": repeated(worker, path, chosen.repeat)
            for kind, path in files.items()
            for worker in ("floor", "full")
        }
        told |= {
            worker: repeated(worker, files["csv"], chosen.repeat)
            for worker in ("anc", "peer", "grades", "ladder", "rules")
        }
    page = report(rows, told)
    (ROOT / "docs" / "performance.md").write_text(page, "utf-8")
    sys.stdout.write(page)


def repeated(worker: str, path: Path, times: int) -> dict[str, Any]:
    """Median seconds, largest memory and the steps of the median run."""
    runs = []
    for _ in range(times):
        command = [sys.executable, "-m", "benchmarks", "--worker", worker, "--file", str(path)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout))
    middle = median(run["seconds"] for run in runs)
    return {
        "seconds": middle,
        "megabytes": max(run["megabytes"] for run in runs),
        "steps": next((run["steps"] for run in runs if run["seconds"] == middle), {}),
    }


def measured(act: Callable[[], dict[str, float]]) -> dict[str, Any]:
    """Seconds and peak memory of one act in this process."""
    started = time.perf_counter()
    steps = act()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "steps": steps}


def floor(path: Path) -> dict[str, Any]:
    """polars scan, full sort by patient and time, write of the same rows to DuckDB."""
    import duckdb
    import polars as pl

    def act() -> dict[str, float]:
        scan = pl.scan_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.scan_parquet(path)
        rows = scan.sort("patient_id", "collected_at").collect()
        with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/floor.duckdb") as connection:
            connection.register("rows", rows)
            connection.execute("CREATE TABLE lab_result AS SELECT * FROM rows")
        return {}

    return measured(act)


def full(path: Path) -> dict[str, Any]:
    """Our whole run without reports: read, validate, history, all rules, publish."""
    from neutro_screen import pipeline

    def act() -> dict[str, float]:
        steps = dict[str, float]()
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "s.duckdb"
            settings = pipeline.RunSettings(store=store, as_of=pipeline.moment(AS_OF), labs=(str(path),))
            started = [time.perf_counter()]
            names: list[str] = []

            def next_step(name: str) -> None:
                names.append(name)
                started.append(time.perf_counter())

            pipeline.run(settings, next_step)
            started.append(time.perf_counter())
            for name, begin, end in zip(names, started[1:], started[2:], strict=True):
                steps[name] = steps.get(name, 0.0) + end - begin
        return steps

    return measured(act)


def rules(path: Path) -> dict[str, Any]:
    """Each rule's own time within the screen step, on accepted rows in memory."""
    from neutro_screen import protocol
    from neutro_screen.pipeline import moment

    labs, steps = _accepted(path), dict[str, float]()

    def timed(specimens: Any, *applied: tuple[Any, ...]) -> Any:
        for step, *arguments in applied:
            started = time.perf_counter()
            specimens = step(specimens.lazy(), *arguments).collect(engine="in-memory")
            steps[step.__name__] = time.perf_counter() - started
        return specimens

    protocol._in_steps = timed

    def act() -> dict[str, float]:
        started = time.perf_counter()
        protocol.screen(labs, as_of=moment(AS_OF))
        steps["the others (count, episodes, cyclic, causes, flags, status)"] = (
            time.perf_counter() - started - sum(steps.values())
        )
        return steps

    return measured(act)


def _accepted(path: Path) -> Any:
    from neutro_screen import pipeline
    from neutro_screen.workspace import Workspace

    settings = pipeline.RunSettings(store=Path("unused"), as_of=pipeline.moment(AS_OF), labs=(str(path),))
    work = Workspace()
    pipeline.ingest_step(settings, work)
    pipeline.validate_step(settings, work)
    return work.get("lab_result")


def anc(path: Path) -> dict[str, Any]:
    """Our ANC step (ANC-1 ... ANC-12) on accepted rows in memory."""
    from neutro_screen.reference import load_policy, load_reference
    from neutro_screen.rules.anc import count_neutrophils

    labs, reference, policy = _accepted(path), load_reference(), load_policy()
    return measured(lambda: {"specimens": float(count_neutrophils(labs, reference, policy).anc.height)})


def peer(path: Path) -> dict[str, Any]:
    """One hand-written query: MAX ... GROUP BY specimen, ANC or WBC x percent, as public MIMIC code does it."""
    import duckdb

    labs = _accepted(path)
    query = """
        SELECT patient_id, specimen_id, coalesce(a, w * p / 100) AS anc FROM (
            SELECT patient_id, specimen_id, max(CASE WHEN analyte = 'neut_abs' THEN value END) AS a,
                   max(CASE WHEN analyte = 'wbc' THEN value END) AS w, max(CASE WHEN analyte = 'neut_pct' THEN value END) AS p
            FROM labs GROUP BY ALL)
        WHERE coalesce(a, w * p / 100) IS NOT NULL
    """
    with duckdb.connect() as connection:
        connection.register("labs", labs)
        return measured(lambda: {"specimens": float(len(connection.sql(query).pl()))})


def _counts() -> Any:
    import numpy as np
    import polars as pl

    values = np.random.default_rng(1).lognormal(8, 1, 10_000_000)
    return pl.DataFrame(
        {"anc": values, "comparator": pl.Series([None], dtype=pl.String).new_from_index(0, len(values))}
    )


def grades(path: Path) -> dict[str, Any]:
    """Ten million values under CTCAE v4, v5, v6 and DAIDS together."""
    import polars as pl

    from neutro_screen.reference import load_reference
    from neutro_screen.rules import severity

    frame, bands = _counts().lazy(), load_reference().grade_bands
    count, comparator, limit, age_days = pl.col("anc"), pl.col("comparator"), pl.lit(2000.0), pl.lit(10_000.0)
    graded = severity.with_every_grade(frame, count, comparator, limit, age_days, bands).select(pl.col("^.*_grade$"))
    return measured(lambda: {"values": float(graded.collect().height)})


def ladder(path: Path) -> dict[str, Any]:
    """One plain when/then ladder over the same column."""
    import polars as pl

    x, frame = pl.col("anc"), _counts().lazy()
    plain = pl.when(x < 500).then(4).when(x < 1000).then(3).when(x < 1500).then(2).when(x < 2000).then(1).otherwise(0)
    return measured(lambda: {"values": float(frame.select(plain).collect().height)})


WORKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "floor": floor,
    "full": full,
    "anc": anc,
    "peer": peer,
    "rules": rules,
    "grades": grades,
    "ladder": ladder,
}


def report(rows: int, told: dict[str, dict[str, Any]]) -> str:
    """The page: machine, versions, medians and ratios of this run."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "duckdb", "pandera"))
    lines = "\n".join(f"| {name} | {run['seconds']:.2f} | {run['megabytes']} |" for name, run in told.items())

    def ratio(one: str, other: str) -> str:
        return f"{told[one]['seconds'] / told[other]['seconds']:.1f}"

    def shares(steps: dict[str, float]) -> str:
        whole = sum(steps.values())
        return "\n".join(f"| {name.removesuffix('_step')} | {s:.2f} | {s / whole:.0%} |" for name, s in steps.items())

    return f"""# Performance

Written by `make bench`: {rows:,} laboratory rows, {platform.machine()}, Python {platform.python_version()}, {packages}. Seconds are
this machine's; the ratios, measured in one run, are what to keep.

| measurement | seconds | peak MB |
|---|---|---|
{lines}

| ratio | value | aim |
|---|---|---|
| full run / floor, CSV | {ratio("full csv", "floor csv")} | 2.0 |
| full run / floor, Parquet | {ratio("full parquet", "floor parquet")} | 2.0 |
| ANC step / SQL peer | {ratio("anc", "peer")} | 3 |
| four grading systems / one plain ladder, 10 million values | {ratio("grades", "ladder")} | 1.5 |

Where the full run spends its time (CSV):

| step | seconds | share |
|---|---|---|
{shares(told["full csv"]["steps"])}

Within the screen step:

| rule | seconds | share |
|---|---|---|
{shares(told["rules"]["steps"])}

The aims are those of the project's scale milestone; where a value is above its aim, it is not reached yet.
"""


if __name__ == "__main__":
    main()

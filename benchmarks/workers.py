"""Single measurements, each in a process of its own: ``python -m benchmarks.workers NAME FILE``."""

import inspect
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

#: Of the clean rows; no result of theirs is later.
AS_OF = "2027-12-31"
#: Of the extract as hospitals send it: the night after its last results.
SENT_AS_OF = "2026-01-01"
ROOT = Path(__file__).parents[1]


def measured(act: Callable[[], dict[str, float]]) -> dict[str, Any]:
    """Seconds, processor seconds and peak memory of one act in this process, and what it tells of its steps."""
    started, processor = time.perf_counter(), time.process_time()
    steps = act()
    return {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - processor,
        "megabytes": peak_megabytes(),
        "steps": steps,
    }


def peak_megabytes() -> int:
    """The largest memory this process has had (``ru_maxrss`` of a child would start from its parent's)."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) >> 10


def given(path: Path) -> dict[str, Path]:
    """The files that a run takes: laboratory rows, and the charts where there are some beside them."""
    charts = {kind: path.parent / f"{kind}.csv" for kind in ("medications", "patients", "diagnoses", "events")}
    return {"labs": path} | {kind: chart for kind, chart in charts.items() if chart.exists()}


def floor(path: Path) -> dict[str, Any]:
    """polars scan, full sort by patient and time, and a write of the tables that our run publishes to DuckDB.

    The tables wait as Parquet beside the file (``tables``, made by a full run); reading them is not counted.
    """
    import duckdb
    import polars as pl

    tables = {table.stem: pl.read_parquet(table) for table in sorted((path.parent / "tables").glob("*.parquet"))}

    def act() -> dict[str, float]:
        steps, started = {}, time.perf_counter()
        rows = {}
        for kind, file in given(path).items():
            scan = pl.scan_csv(file, infer_schema=False) if file.suffix == ".csv" else pl.scan_parquet(file)
            rows[kind] = (scan.sort("patient_id", "collected_at") if kind == "labs" else scan).collect()
        steps["scan and sort"] = time.perf_counter() - started
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            for name, written in {"rows as read": rows, "tables of the run": tables}.items():
                started = time.perf_counter()
                with duckdb.connect(f"{folder}/{len(steps)}.duckdb") as connection:
                    for table, frame in written.items():
                        connection.register("frame", frame)
                        connection.execute(f'CREATE TABLE "{table}" AS SELECT * FROM frame')
                steps[name] = time.perf_counter() - started
        return steps

    return measured(act)


def full(path: Path, memory: str = "4GB") -> dict[str, Any]:
    """Our whole run: read, validate, history, all rules, publish; with charts beside the file also they and the report."""

    def act() -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, timed_steps() as steps:
            _run(path, Path(folder), memory)
        return steps

    return measured(act)


def full_in_8gb(path: Path) -> dict[str, Any]:
    """The whole run as ``full``; DuckDB and the rows at work get 4 GB each at the most, so that 8 GB hold it all."""
    return full(path, "3GB")


def full_cold(path: Path) -> dict[str, Any]:
    """The whole run as ``full`` of files that the system does not hold in memory."""
    for file in given(path).values():
        with file.open("rb") as pages:
            os.fsync(pages.fileno())
            os.posix_fadvise(pages.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return full(path)


def tables(path: Path) -> dict[str, Any]:
    """The tables of a full run as Parquet beside the file, for ``floor``."""
    import duckdb

    from neutro_screen.store.schema import TABLES

    out = path.parent / "tables"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        _run(path, Path(folder), "4GB")
        with duckdb.connect(f"{folder}/s.duckdb", read_only=True) as connection:
            for table in TABLES:
                connection.execute(f"COPY \"{table}\" TO '{out / table}.parquet' (FORMAT parquet)")
    return {"seconds": 0.0, "processor": 0.0, "megabytes": peak_megabytes(), "steps": {}}


def _run(path: Path, folder: Path, memory: str) -> None:
    from neutro_screen.pipeline.options import RunOptions, bytes_of, moment
    from neutro_screen.pipeline.run import run

    kinds: dict[str, Any] = {kind: (str(file),) for kind, file in given(path).items()}
    has_charts = len(kinds) > 1
    run(
        RunOptions(
            **kinds,
            store=folder / "s.duckdb",
            reports=folder if has_charts else None,
            as_of=moment(SENT_AS_OF if has_charts else AS_OF),
            memory=bytes_of(memory),
        )
    )


@contextmanager
def timed_steps() -> Iterator[dict[str, float]]:
    """Seconds by step of the run that is made within, each in the thread that takes it; ``publish`` begins behind the last part."""
    from neutro_screen.pipeline import run as pipeline

    steps, screened = dict.fromkeys(_STEPS, 0.0), [0.0]

    def timed(step: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(step)
        def taken(*given: Any) -> Any:
            began = time.perf_counter()
            told = step(*given)
            ended, name = time.perf_counter(), step.__name__.removesuffix("_step")
            if name == "screen":
                screened[0] = ended
            steps[name] += ended - max(began, screened[0] if name == "publish" else 0.0)
            return told

        return taken

    before = dict(vars(pipeline))
    own = {name: timed(before[name]) for name in ("ingest_step", "survey_step", "publish_step", "report_step")}
    stages = tuple(tuple(map(timed, stage)) for stage in pipeline.PART_STAGES)
    vars(pipeline).update(own | {"PART_STAGES": stages})
    try:
        yield steps
    finally:
        vars(pipeline).update(before)


_STEPS = ("ingest", "survey", "validate", "history", "screen", "publish", "report")


def recognition(root: Path) -> dict[str, Any]:
    """Every collected name, with its unit, read as the origins of one run; the tables are loaded before."""
    import polars as pl

    from neutro_screen.recognition.readings import read_origins
    from neutro_screen.recognition.specimens import read_specimen
    from neutro_screen.recognition.words import load_words
    from neutro_screen.reference import load_reference

    lists = sorted((root / "tests" / "spec" / "vocabulary").rglob("names_*.csv"))
    named = pl.concat([pl.read_csv(path, infer_schema=False) for path in lists], how="diagonal")
    origins = named.select(analyte_name="name", unit_text="unit_given").unique().sort("analyte_name", "unit_text")
    reference = load_reference()

    def act() -> dict[str, float]:
        started = time.perf_counter()
        load_words()
        read_specimen("blood")
        loaded = time.perf_counter()
        read_origins(origins, reference)
        return {"origins": origins.height, "tables": loaded - started, "reading": time.perf_counter() - loaded}

    return measured(act)


def rules(path: Path) -> dict[str, Any]:
    """Each rule's own time within the screen step, on accepted rows in memory."""
    from neutro_screen.pipeline.options import moment
    from neutro_screen.rules import protocol

    labs, steps = accepted(path), dict[str, float]()
    collected = protocol._collected

    def timed(plan: Any) -> Any:
        started = time.perf_counter()
        frame = collected(plan)
        rule = inspect.stack()[1].code_context or [""]
        if named := re.search(r"_collected\((with_\w+)\(", rule[0]):
            steps[named[1]] = time.perf_counter() - started
        return frame

    protocol._collected = timed

    def act() -> dict[str, float]:
        started = time.perf_counter()
        protocol.screen(labs, as_of=moment(AS_OF))
        others = time.perf_counter() - started - sum(steps.values())
        return steps | {"the others (count, episodes, cyclic, causes, flags, status)": others}

    return measured(act)


def accepted(path: Path) -> Any:
    """The accepted rows of a file, text already parsed."""
    from neutro_screen.pipeline.handover import Judged
    from neutro_screen.pipeline.ingest import ingest_step
    from neutro_screen.pipeline.options import RunOptions, moment
    from neutro_screen.pipeline.partitions import Workspace
    from neutro_screen.pipeline.plan import survey_step
    from neutro_screen.pipeline.validate import validate_step

    in_one_part = 1 << 50
    settings = RunOptions(store=Path("unused"), as_of=moment(AS_OF), labs=(str(path),), memory=in_one_part)
    work = Workspace()
    ingest_step(settings, work)
    survey_step(settings, work)
    validate_step(settings, work)
    return work.kept(Judged).received["lab_result"]


def anc(path: Path) -> dict[str, Any]:
    """Our ANC step (ANC-1 ... ANC-12) from canonical rows in Parquet."""
    import polars as pl

    from neutro_screen.reference import load_policy, load_reference
    from neutro_screen.rules.counts.anc import count_neutrophils

    canonical, reference, policy = _canonical(path), load_reference(), load_policy()
    return measured(
        lambda: {"specimens": float(count_neutrophils(pl.scan_parquet(canonical), reference, policy).anc.height)}
    )


def peer(path: Path) -> dict[str, Any]:
    """One hand-written query on the same Parquet: MAX ... GROUP BY specimen, ANC or WBC x percent, as public code has it."""
    import duckdb

    query = f"""
        SELECT patient_id, specimen_id, coalesce(a, w * p / 100) AS anc FROM (
            SELECT patient_id, specimen_id, max(CASE WHEN analyte = 'neut_abs' THEN value END) AS a,
                   max(CASE WHEN analyte = 'wbc' THEN value END) AS w, max(CASE WHEN analyte = 'neut_pct' THEN value END) AS p
            FROM read_parquet('{_canonical(path)}') GROUP BY ALL)
        WHERE coalesce(a, w * p / 100) IS NOT NULL
    """
    with duckdb.connect() as connection:
        return measured(lambda: {"specimens": float(len(connection.sql(query).pl()))})


def _canonical(path: Path) -> Path:
    canonical = path.parent / "canonical.parquet"
    if not canonical.exists():
        accepted(path).write_parquet(canonical)
    return canonical


def _counts() -> Any:
    import numpy as np
    import polars as pl

    values = np.random.default_rng(1).lognormal(8, 1, 10_000_000)
    return pl.DataFrame(
        {"anc": values, "comparator": pl.Series([None], dtype=pl.String).new_from_index(0, len(values))}
    )


#: How often ten million values are graded: once takes four hundredths of a second, and half as much again by chance.
_TIMES = 25


def grades(path: Path) -> dict[str, Any]:
    """Ten million values under CTCAE v4, v5, v6 and DAIDS together, ``_TIMES`` times."""
    import polars as pl

    from neutro_screen.reference import load_reference
    from neutro_screen.rules.counts import severity

    frame, bands = _counts().lazy(), load_reference().grade_bands
    count, comparator, limit, age_days = pl.col("anc"), pl.col("comparator"), pl.lit(2000.0), pl.lit(10_000.0)
    graded = severity.with_every_grade(frame, count, comparator, limit, age_days, bands).select(pl.col("^.*_grade$"))
    return measured(lambda: {"values": float(sum(graded.collect().height for _ in range(_TIMES)))})


def ladder(path: Path) -> dict[str, Any]:
    """One plain when/then ladder over the same column, ``_TIMES`` times."""
    import polars as pl

    x, frame = pl.col("anc"), _counts().lazy()
    plain = pl.when(x < 500).then(4).when(x < 1000).then(3).when(x < 1500).then(2).when(x < 2000).then(1).otherwise(0)
    return measured(lambda: {"values": float(sum(frame.select(plain).collect().height for _ in range(_TIMES)))})


def sample(path: Path) -> dict[str, Any]:
    """The command on the sample data with a report, then a night of 20 new rows; beside it the same run by the Prefect flow.

    Each as a process: seconds by the clock, and of processor under the name with `` processor``.
    """
    import subprocess

    kinds = ("labs", "medications", "patients", "diagnoses", "events")
    inputs = {kind: str(ROOT / "sample_data" / f"{kind}.csv") for kind in kinds}
    steps: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        of_flow = (
            "from flows.nightly import nightly; "
            f"nightly(store='{folder}/f/s.duckdb', reports='{folder}/f', as_of='2026-11-22T02:00:00', "
            + ", ".join(f"{kind}=['{path}']" for kind, path in inputs.items())
            + ")"
        )
        command = [sys.executable, "-m", "neutro_screen.cli.app"]
        run = [*command, "run", "--store", f"{folder}/r/s.duckdb", "--reports", f"{folder}/r"]
        acts = {
            "--help": [*command, "--help"],
            "run": [
                *run,
                *("--as-of", "2026-11-22T02:00:00"),
                *(word for kind, path in inputs.items() for word in (f"--{kind}", path)),
            ],
            "night": [*run, "--as-of", "2026-11-23T02:00:00", "--labs", str(_next_night(Path(folder), 20))],
            "flow": [sys.executable, "-c", of_flow],
        }
        quiet = {
            "PREFECT_HOME": f"{folder}/prefect",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }
        for name, words in acts.items():
            started, before = time.perf_counter(), os.times()
            subprocess.run(words, check=True, capture_output=True, cwd=ROOT, env=os.environ | quiet)
            after, steps[name] = os.times(), time.perf_counter() - started
            taken = (after.children_user - before.children_user, after.children_system - before.children_system)
            steps[f"{name} processor"] = sum(taken)
    return measured(lambda: steps)


def _next_night(folder: Path, rows: int) -> Path:
    """The last results of the sample data as if they were of new specimens, collected on the day after it."""
    import polars as pl

    last = pl.read_csv(ROOT / "sample_data" / "labs.csv", infer_schema=False).tail(rows)
    later = {"collected_at": pl.lit("2026-11-22T08:00:00"), "resulted_at": pl.lit("2026-11-22T10:00:00")}
    extract = folder / "night.csv"
    last.with_columns(specimen_id=pl.col("specimen_id") + "-later", **later).write_csv(extract)
    return extract


WORKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    each.__name__: each
    for each in (floor, full, full_cold, full_in_8gb, tables, anc, peer, grades, ladder, recognition, rules, sample)
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(WORKERS[sys.argv[1]](Path(sys.argv[2]))))

"""Every reader beside the plain parse of the same bytes by the library underneath.

    python -m benchmarks.readers [--patients 500]      # prints a Markdown table

One simulated hospital in every format; one process per figure; seconds are processor time of that process, memory is
what its peak lies above its size after the imports. Only ratios of one run are kept as claims.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


class Format(NamedTuple):
    """One format: what writes it, and what reads it without looking at it."""

    reader: str
    writer: str
    library: str
    #: imported before the clock starts
    modules: tuple[str, ...]
    plain: Callable[[Path], object]


def _csv(path: Path) -> object:
    import polars as pl

    return [pl.read_csv(file, infer_schema=False) for file in _files(path, ".csv")]


def _parquet(path: Path) -> object:
    import pyarrow.parquet as pq

    return [pq.read_table(file) for file in _files(path, ".parquet")]


def _both(path: Path) -> object:
    return _csv(path), _parquet(path)


def _workbook(path: Path) -> object:
    import python_calamine

    with python_calamine.load_workbook(str(path)) as workbook:
        return [workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names]


def _json_lines(path: Path) -> object:
    """Parsed line by line and forgotten: a tree of a gigabyte of resources fits into no memory."""
    import orjson

    read = 0
    for file in _files(path, ".ndjson"):
        with file.open("rb") as lines:
            read += sum(orjson.loads(line) is not None for line in lines)
    for file in _files(path, ".json"):
        read += orjson.loads(file.read_bytes()) is not None
    return read


def _segments(path: Path) -> object:
    fields = 0
    for segment in path.read_text("utf-8").split("\r"):
        fields += len(segment.split("|"))
    return fields


def _transport(path: Path) -> object:
    import pyreadstat

    return [pyreadstat.read_xport(file, output_format="dict") for file in _files(path, ".xpt")]


def _database(path: Path) -> object:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as database:
        tables = database.execute("SELECT table_name FROM information_schema.tables").fetchall()
        return [database.sql(f"SELECT * FROM cdm.cdm.{name}").to_arrow_table() for (name,) in tables]


FORMATS = {
    "delimited": Format("delimited", "write_native", "polars.read_csv", ("polars",), _csv),
    "parquet": Format("parquet", "write_parquet", "pyarrow", ("pyarrow.parquet",), _parquet),
    "excel": Format("excel", "write_excel", "python-calamine", ("python_calamine",), _workbook),
    "hl7v2": Format("hl7v2", "write_hl7", r"split on \r and \|", (), _segments),
    "fhir": Format("fhir", "write_fhir", "orjson", ("orjson",), _json_lines),
    "mimic": Format("mimic", "write_mimic4", "polars.read_csv", ("polars",), _csv),
    "omop": Format("omop", "write_omop_folder", "polars.read_csv, pyarrow", ("polars", "pyarrow.parquet"), _both),
    "omop database": Format("omop", "write_omop_database", "duckdb", ("duckdb", "pyarrow"), _database),
    "cdisc NDJSON": Format("cdisc", "write_dataset_json", "orjson", ("orjson",), _json_lines),
    "cdisc XPT": Format("cdisc", "write_xpt", "pyreadstat", ("pyreadstat",), _transport),
}


def measure(patients: int = 500, only: tuple[str, ...] = tuple(FORMATS)) -> list[dict[str, Any]]:
    """One row per format: bytes, rows, seconds and megabytes of the reader and of the plain parse, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        told = [_measured(name, written, patients) for name, written in _written(patients, Path(folder), only).items()]
    return told


def _written(patients: int, folder: Path, only: tuple[str, ...]) -> dict[str, Path]:
    from dataclasses import replace

    import polars as pl

    from neutro_simulator import simulate_hospital
    from tests.formats import hospital_files

    whole = simulate_hospital(patients, 1, as_of=AS_OF, dirt=0.0)
    of = replace(whole, labs=whole.labs.filter(pl.col("value").is_not_null()))
    paths = {}
    for name in only:
        place = folder / name.replace(" ", "-")
        place.mkdir()
        paths[name] = Path(getattr(hospital_files, FORMATS[name].writer)(of, place)["lab"][0])
    return paths


def _measured(name: str, path: Path, patients: int) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in _files(path, ""))
    ours, plain = (_in_a_process(name, path, which) for which in ("reader", "plain"))
    return {
        "format": name,
        "library": FORMATS[name].library,
        "bytes": size,
        "rows": ours["rows"],
        "seconds": ours["seconds"],
        "megabytes": ours["megabytes"],
        "plain_seconds": plain["seconds"],
        "plain_megabytes": plain["megabytes"],
        "ratio": ours["seconds"] / max(plain["seconds"], 1e-9),
    }


def _in_a_process(name: str, path: Path, which: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.readers", "--worker", which, "--format", name, "--path", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _work(which: str, name: str, path: Path) -> dict[str, Any]:
    """Measure one act in this process."""
    from neutro_screen.ingest import READERS
    from neutro_screen.ingest.profile import Profile

    form = FORMATS[name]
    for module in form.modules:
        importlib.import_module(module)
    rows = 0
    before, started = _peak(), time.process_time()
    if which == "plain":
        kept = form.plain(path)
        del kept
    else:
        for _, table in READERS[form.reader].read(path, "lab", Profile()):
            rows += table.rows.height
    return {"seconds": time.process_time() - started, "megabytes": _peak() - before, "rows": rows}


def _peak() -> int:
    """Megabytes at the highest; the kernel's ru_maxrss of a new process starts from that of its parent."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def _files(path: Path, suffix: str) -> list[Path]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.name.lower().endswith(suffix)]


def table(told: list[dict[str, Any]]) -> str:
    """The rows of ``measure`` in Markdown."""
    lines = [
        "| format | MB | rows | rows a second | peak MB | plain parse by | its rows a second | its peak MB | reader / plain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in told:
        lines.append(
            f"| {row['format']} | {row['bytes'] / 1e6:.1f} | {row['rows']:,} | {row['rows'] / row['seconds']:,.0f} | "
            f"{row['megabytes']} | {row['library']} | {row['rows'] / max(row['plain_seconds'], 1e-3):,.0f} | "
            f"{row['plain_megabytes']} | {row['ratio']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The command; ``--worker`` is one figure in a process of its own."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__)
    options.add_argument("--patients", type=int, default=500)
    options.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    options.add_argument("--worker", choices=["reader", "plain"])
    options.add_argument("--format", choices=list(FORMATS))
    options.add_argument("--path", type=Path)
    chosen = options.parse_args()
    if chosen.worker:
        sys.stdout.write(json.dumps(_work(chosen.worker, chosen.format, chosen.path)))
        return
    sys.stdout.write(table(measure(chosen.patients, tuple(chosen.formats))) + "\n")


if __name__ == "__main__":
    main()

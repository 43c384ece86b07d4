"""Lab rows by the million for benchmarks, in bounded memory."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from neutro_simulator.causes import CAUSES
from neutro_simulator.dirt import with_faults
from neutro_simulator.hospital import collected, group_sizes, lab_rows, patient_ids
from neutro_simulator.laboratories import LAB_COLUMNS
from neutro_simulator.parameters import number, text
from neutro_simulator.scenario import Group, grid


def simulate_labs_at_scale(rows: int, seed: int, out: Path, *, dirt: float = 0.0) -> int:
    """Writes exactly so many lab rows in the native layout, the same for the same arguments; returns their number.

    out: a file ending in .parquet (all columns text, zstd) or .csv. Patients come in the default mix, some thousand at
    a time; a patient's rows stand together. dirt: share of rows with a fault.

    Raises ValueError for another ending.
    """
    match out.suffix:
        case ".parquet":
            return _to_parquet(_parts(rows, seed, dirt), out)
        case ".csv":
            return _to_csv(_parts(rows, seed, dirt), out)
        case ending:
            raise ValueError(f"labs are written as .parquet or .csv, not {ending!r}")


def _parts(rows: int, seed: int, dirt: float) -> Iterator[pl.DataFrame]:
    now = datetime.fromisoformat(text("scale", "index_time"))
    patients = int(number("scale", "patients_at_a_time"))
    days = grid()
    written, part = 0, 0
    while written < rows:
        # A generator of its own for each part: part 7 is the same whether 8 or 800 parts are made.
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, part))))
        ids = patient_ids(rng, patients, first=part * patients + 1)
        labs, start = [], 0
        for cause, size in group_sizes(patients, None).items():
            if not size:
                continue
            group = Group(cause, size, rng, days)
            scenario = CAUSES[group.cause](group)
            labs.append(lab_rows(scenario, group, collected(scenario, group, ids[start : start + size], now), now))
            start += size
        together = pl.concat(labs).sort("patient_id", "collected_at", "specimen_id", maintain_order=True)
        finished, _ = with_faults(together, rng, now, dirt, 0)
        finished = finished.select(LAB_COLUMNS).head(rows - written)
        written += len(finished)
        part += 1
        yield finished


def _to_parquet(parts: Iterator[pl.DataFrame], out: Path) -> int:
    written = 0
    with TemporaryDirectory(dir=out.parent) as folder:
        for index, part in enumerate(parts):
            part.write_parquet(Path(folder) / f"{index:06d}.parquet")
            written += len(part)
        pl.scan_parquet(Path(folder) / "*.parquet").sink_parquet(out, maintain_order=True)
    return written


def _to_csv(parts: Iterator[pl.DataFrame], out: Path) -> int:
    written = 0
    with out.open("wb") as file:
        for part in parts:
            part.write_csv(file, include_header=written == 0)
            written += len(part)
    return written

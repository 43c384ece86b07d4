"""Lab rows by the million for benchmarks, in bounded memory."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from neutro_simulator.scenario import Group, Scenario, grid


def simulate_labs_at_scale(rows: int, seed: int, out: Path, *, dirt: float = 0.0) -> int:
    """Writes exactly so many lab rows in the native layout, the same for the same arguments; returns their number.

    out: a file ending in .parquet (all columns text, zstd) or .csv. Patients come in the default mix, some thousand at
    a time; a patient's rows stand together. dirt: share of rows with a fault.

    Raises ValueError for another ending.
    """
    match out.suffix:
        case ".parquet":
            return _to_parquet(_labs(rows, seed, dirt), out)
        case ".csv":
            return _to_csv(_labs(rows, seed, dirt), out)
        case ending:
            raise ValueError(f"labs are written as .parquet or .csv, not {ending!r}")


@dataclass(frozen=True)
class Part:
    """Some thousand patients: their laboratory rows (LAB_COLUMNS and quantity), patient by patient, and their charts."""

    labs: pl.DataFrame
    charts: dict[str, pl.DataFrame]


ChartWriter = Callable[[Scenario, Group, pl.Series, datetime], dict[str, pl.DataFrame]]


def parts(seed: int, dirt: float, shares: str = "share", charts: ChartWriter | None = None) -> Iterator[Part]:
    """Patients in the default mix without end. shares: entry of [laboratories]; charts: what is written beside labs."""
    now = datetime.fromisoformat(text("scale", "index_time"))
    patients = int(number("scale", "patients_at_a_time"))
    days = grid()
    for part in itertools.count():
        # A generator of its own for each part: part 7 is the same whether 8 or 800 parts are made.
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, part))))
        ids = patient_ids(rng, patients, first=part * patients + 1)
        labs, written, start = [], list[dict[str, pl.DataFrame]](), 0
        for cause, size in group_sizes(patients, None).items():
            if not size:
                continue
            group = Group(cause, size, rng, days, shares)
            scenario, own = CAUSES[group.cause](group), ids[start : start + size]
            labs.append(lab_rows(scenario, group, collected(scenario, group, own, now), now))
            if charts:
                written.append(charts(scenario, group, own, now))
            start += size
        together = pl.concat(labs).sort("patient_id", "collected_at", "specimen_id", maintain_order=True)
        finished, _ = with_faults(together, rng, now, dirt, 0)
        kinds = written[0] if written else {}
        yield Part(
            finished.select(*LAB_COLUMNS, "quantity"),
            {
                kind: pl.concat(chart[kind] for chart in written).sort("patient_id", maintain_order=True)
                for kind in kinds
            },
        )


def _labs(rows: int, seed: int, dirt: float) -> Iterator[pl.DataFrame]:
    left = rows
    for part in parts(seed, dirt):
        labs = part.labs.select(LAB_COLUMNS).head(left)
        left -= len(labs)
        yield labs
        if not left:
            return


def _to_parquet(made: Iterator[pl.DataFrame], out: Path) -> int:
    written = 0
    with TemporaryDirectory(dir=out.parent) as folder:
        for index, part in enumerate(made):
            part.write_parquet(Path(folder) / f"{index:06d}.parquet")
            written += len(part)
        pl.scan_parquet(Path(folder) / "*.parquet").sink_parquet(out, maintain_order=True)
    return written


def _to_csv(made: Iterator[pl.DataFrame], out: Path) -> int:
    written = 0
    with out.open("wb") as file:
        for part in made:
            part.write_csv(file, include_header=written == 0)
            written += len(part)
    return written

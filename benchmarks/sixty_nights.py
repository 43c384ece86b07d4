"""Sixty nights of a simulated hospital against one run over everything: the result tables must be the same, byte for byte.

    python -m benchmarks.sixty_nights --nights 60 --patients 300 --seed 1

The nights have what real feeds have: results that arrive days late, corrections, cancellations of results of earlier
nights, records that are merged, and extracts that overlap with those of the nights before. The results of a night come in
two files whose name is that of every night, and its reports or its notification may fail.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.consistency import digest, faults
from benchmarks.mishaps import MISHAPS, is_published_with
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_simulator import Hospital, simulate_hospital

LAST = datetime.fromisoformat("2026-06-15T02:00:00")
_LATE, _CORRECTED, _CANCELLED, _REPEATED = 0.05, 0.02, 0.01, 0.1
CHARTS = ("medications", "patients", "diagnoses", "events")


def main() -> None:
    """Print one JSON line; exit 1 if a table differs."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.sixty_nights")
    options.add_argument("--nights", type=int, default=60)
    options.add_argument("--patients", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = compare(Path(folder), chosen.nights, chosen.patients, chosen.seed)
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(bool(told["different"] or told["not whole"] or told["failed nights"]))


def compare(folder: Path, nights: int, patients: int, seed: int) -> dict[str, Any]:
    """Both ways, and which tables differ."""
    hospital = simulate_hospital(patients, seed, as_of=LAST, dirt=0.0)
    extracts, counted = dealt(hospital, nights, seed)
    by_night, at_once = folder / "by_night" / "s.duckdb", folder / "at_once" / "s.duckdb"
    drawn, together = random.Random(seed), dict[str, tuple[str, ...]]()  # noqa: S311 - reproducible, no secrets
    for number, extract in enumerate(extracts):
        paths = _written(extract, folder / f"night{number:02d}")
        together = {kind: together.get(kind, ()) + paths[kind] for kind in paths}
        options = RunOptions(store=by_night, as_of=LAST - timedelta(days=nights - 1 - number), **paths)
        counted["failed nights"] += not is_published_with(folder, options, drawn.choice(MISHAPS))
    everything: Any = together
    run(RunOptions(store=at_once, as_of=LAST, **everything))
    split, whole = digest(by_night), digest(at_once)
    with reading(by_night) as connection:
        wrong = faults(connection)
    return (
        {"nights": nights, "patients": patients, "rows": sum(extract["labs"].height for extract in extracts)}
        | dict(counted)
        | {
            "tables": len(whole),
            "different": [name for name in whole if whole[name] != split[name]],
            "not whole": wrong,
        }
    )


def dealt(hospital: Hospital, nights: int, seed: int) -> tuple[list[dict[str, pl.DataFrame]], Counter[str]]:
    """The hospital's rows by night, with the faults of real feeds; and how many of each."""
    drawn = random.Random(seed)  # noqa: S311
    counted: Counter[str] = Counter()
    rows: list[list[dict[str, Any]]] = [[] for _ in range(nights)]
    for row in hospital.labs.sort("resulted_at", "patient_id", "specimen_id", "loinc", "analyte_name").to_dicts():
        known = datetime.fromisoformat(row["resulted_at"] or row["collected_at"])
        due = max(0, nights - 1 - (LAST - known).days)
        night = due
        if drawn.random() < _LATE and due < nights - 1:
            night = drawn.randint(due + 1, min(due + 12, nights - 1))
            counted["late"] += 1
        rows[night].append(row)
        luck = drawn.random()
        if night < nights - 1 and luck < _CORRECTED + _CANCELLED:
            later = drawn.randint(night + 1, nights - 1)
            word = "corrected" if luck < _CORRECTED else "cancelled"
            value = (
                f"{float(row['value']) * 1.1:.2f}" if word == "corrected" and _is_number(row["value"]) else row["value"]
            )
            resulted = (LAST - timedelta(days=nights - 1 - later, hours=3)).strftime("%Y-%m-%dT%H:%M:%S")
            rows[later].append(row | {"status": word, "value": value, "resulted_at": resulted})
            counted[word] += 1
        if night < nights - 1 and drawn.random() < _REPEATED:
            rows[drawn.randint(night + 1, min(night + 3, nights - 1))].append(row)
            counted["repeated"] += 1
    merges: list[list[dict[str, str]]] = [[] for _ in range(nights)]
    ids = hospital.patients["patient_id"].sort().to_list()
    drawn.shuffle(ids)
    for old, new in zip(ids[: len(ids) // 20 * 2 : 2], ids[1 : len(ids) // 20 * 2 : 2], strict=True):
        merges[drawn.randrange(nights)].append({"patient_id": old, "replaced_by": new})
        counted["merges"] += 1
    labs = [pl.DataFrame(night, schema=hospital.labs.schema) for night in rows]
    return [
        {"labs": labs[number]}
        | {kind: _part(getattr(hospital, kind), number, nights) for kind in CHARTS if kind != "patients"}
        | {"patients": _patients(hospital.patients, number, nights, merges[number])}
        for number in range(nights)
    ], counted


def _is_number(text: str | None) -> bool:
    return bool(text) and str(text).replace(".", "", 1).isdigit()


def _part(rows: pl.DataFrame, number: int, nights: int) -> pl.DataFrame:
    """Every night a part of the chart; the first has a row of each, so that no kind of data is ever unknown."""
    return rows.with_row_index("_row").filter(pl.col("_row") % nights == number).drop("_row")


def _patients(rows: pl.DataFrame, number: int, nights: int, merges: list[dict[str, str]]) -> pl.DataFrame:
    said = pl.DataFrame(merges, schema={"patient_id": pl.String, "replaced_by": pl.String})
    return pl.concat([_part(rows, number, nights), said], how="diagonal")


def _written(extract: dict[str, pl.DataFrame], folder: Path) -> Any:
    """A file of every kind, the results in two of one name; the names are those of every night."""
    paths = {}
    for kind, rows in extract.items():
        numbered, parts = rows.with_row_index("_row"), 2 if kind == "labs" else 1
        for part in range(parts):
            path = folder / "ab"[part] / f"{kind}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            numbered.filter(pl.col("_row") % parts == part).drop("_row").write_csv(path)
            paths[kind] = (*paths.get(kind, ()), str(path))
    return paths


if __name__ == "__main__":
    main()

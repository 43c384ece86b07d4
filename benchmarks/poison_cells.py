"""Damage single cells of files of every format, and look for *other* rows that are lost or changed with them.

    python -m benchmarks.poison_cells --cells 100000 --seed 1
    python -m benchmarks.poison_cells --cells 2000 --formats hl7v2 fhir

A round writes a small hospital in one format twice: with one cell damaged in each of many records, and without these
records. What the second holds must be in the first, row by row; no row of the first may have gone to a patient whose
records are whole; and whatever is concluded of such patients must be what the second says (or the undamaged file: a record
with a damaged cell still says that this kind of data is known). Where it is not, the damaged cells are halved until one is left; differences that only many make together are told apart.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

import neutro_screen
from neutro_screen.errors import NeutroScreenError
from neutro_screen.ingest import ingest
from neutro_screen.rules.protocol import ScreenResult
from tests.formats.hospital_files import AS_OF
from tests.formats.poison import PATIENT, Hit
from tests.formats.poison_sources import SOURCES, Folder, poison_hospital

KINDS: Final = ("labs", "medications", "patients", "diagnoses", "events")
TABLES: Final = ("anc", "episode", "flag", "fall", "drug_suspect", "evidence", "workup_step", "patient_status")
Place = tuple[Path, int]


class Read:
    """What was read: the rows by kind, and what is concluded of them."""

    def __init__(self, source: Folder) -> None:
        self._extract = ingest(source.inputs)
        self.rows = {kind: _counted(getattr(self._extract, kind)) for kind in KINDS}

    @cached_property
    def concluded(self) -> ScreenResult:
        """The screen of it."""
        return neutro_screen.screen(self._extract, as_of=AS_OF)


class Fault(NamedTuple):
    """A difference and the cells that make it; one that no cell makes alone is of many records that are gone at once
    (all rows of a kind of event: what nobody records is unknown, of everybody)."""

    format: str
    what: str
    cells: tuple[str, ...]

    @property
    def is_single(self) -> bool:
        """Whether one cell makes the difference alone."""
        return len(self.cells) == 1


def main() -> None:
    """Print one JSON line a format, and every fault; exit 1 if there is one."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.poison_cells")
    options.add_argument("--cells", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--formats", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    chosen = options.parse_args()
    found = 0
    for name in chosen.formats:
        began, cells, rounds, faults = time.monotonic(), 0, 0, list[Fault]()
        with tempfile.TemporaryDirectory() as folder:
            hospital = PoisonedHospital(name, Path(folder), chosen.seed)
            while cells < chosen.cells / len(chosen.formats):
                tried, more = hospital.round(chosen.seed * 1_000_000 + rounds)
                cells, rounds = cells + tried, rounds + 1
                for fault in more:
                    sys.stdout.write(json.dumps({"round": rounds - 1} | fault._asdict()) + "\n")
                    sys.stdout.flush()
                faults += more
        single = sum(fault.is_single for fault in faults)
        found += single
        told = {"format": name, "cells": cells, "rounds": rounds, "faults": single, "together": len(faults) - single}
        sys.stdout.write(json.dumps(told | {"seconds": round(time.monotonic() - began)}) + "\n")
        sys.stdout.flush()
    sys.exit(bool(found))


class PoisonedHospital:
    """One hospital in one format, whose cells are damaged in rounds."""

    def __init__(self, name: str, folder: Path, seed: int, patients: int = 60) -> None:
        self.name = name
        self.source = SOURCES[name](poison_hospital(seed, patients), folder, seed)
        self.source.write({}, {})
        self.clean = Read(self.source)

    def round(self, seed: int) -> tuple[int, list[Fault]]:
        """How many cells were damaged, and what became of other rows."""
        hits = _drawn(self.source, random.Random(seed))  # noqa: S311 - reproducible damage
        found = _bisected(self.source, self.clean, hits)
        return len(hits), [Fault(self.name, what, tuple(cells)) for what, cells in found]


def _drawn(source: Folder, dice: random.Random) -> dict[Place, Hit]:
    """One cell in most records of half of the patients, and in some of the records of nobody."""
    known = sorted({found for part in source.parts.values() for text in part.owners for found in PATIENT.findall(text)})
    is_hit = set(dice.sample(known, len(known) // 2))
    hits = {}
    for path, part in source.parts.items():
        for record, text in enumerate(part.owners):
            owners = set(PATIENT.findall(text))
            if dice.random() < (0.9 if owners else 0.1) and owners <= is_hit:
                hits[path, record] = part.hit(record, dice)
    return hits


def _bisected(source: Folder, clean: Read, hits: dict[Place, Hit]) -> Iterator[tuple[str, list[str]]]:
    """The smallest groups of damaged cells that change other rows, each with what it does."""
    what = difference(source, clean, hits)
    if what is None:
        return
    places = list(hits)
    halves = [places[::2], places[1::2]] if len(places) > 1 else []
    found = [each for half in halves for each in _bisected(source, clean, {place: hits[place] for place in half})]
    yield from found or [(what, [f"{path.name}:{record} {hits[path, record]}" for path, record in places[:5]])]


def difference(source: Folder, clean: Read, hits: dict[Place, Hit]) -> str | None:
    """What damaged cells do to rows that are not theirs; None = nothing."""
    by_path: dict[Path, dict[int, Hit]] = {}
    for (path, record), hit in hits.items():
        by_path.setdefault(path, {})[record] = hit
    source.write({}, by_path)
    rest = Read(source)
    source.write(by_path, {})
    try:
        damaged = Read(source)
    except NeutroScreenError as error:
        return f"refused as a whole: {type(error).__name__}"
    except Exception as error:
        return f"crash: {type(error).__name__}"
    touched = set[Any]()
    for kind in KINDS:
        # What goes with the record itself (a row that refers to it) is no other row.
        others = clean.rows[kind] & rest.rows[kind]
        if lost := others - damaged.rows[kind]:
            return f"{lost.total()} other rows of {kind} lost or changed"
        touched |= {row[0] for row in clean.rows[kind] - rest.rows[kind]}
    whole = {row[0] for rows in clean.rows.values() for row in rows} - touched
    for kind in KINDS:
        if gained := [row for row in damaged.rows[kind] - clean.rows[kind] if row[0] in whole]:
            return f"{len(gained)} rows of {kind} went to another patient"
    return _concluded_otherwise(damaged, (clean, rest), whole)


def _concluded_otherwise(damaged: Read, expected: tuple[Read, ...], whole: set[Any]) -> str | None:
    """The first table that says of patients whose records are whole what none of the expected ones says."""
    try:
        found = damaged.concluded
    except Exception as error:
        return f"crash of the screen: {type(error).__name__}"
    for table in TABLES:
        told = _of(found, table, whole)
        if not any(told.equals(_of(each.concluded, table, whole)) for each in expected):
            return f"{table} of patients without a damaged record differs"
    return None


def _of(result: ScreenResult, name: str, patients: set[Any]) -> pl.DataFrame:
    table: pl.DataFrame = getattr(result, name)
    if "patient_id" not in table.columns:
        table = table.join(result.episode.select("episode_id", "patient_id"), on="episode_id", how="left")
    return table.filter(pl.col("patient_id").is_in(sorted(filter(None, patients)))).sort(pl.all())


def _counted(rows: pl.DataFrame) -> Counter[tuple[Any, ...]]:
    """Rows by their patient and all that they say; times as numbers, since Python knows no year 0."""
    told = rows.select("patient_id", pl.exclude("patient_id", "source_file", "source_row"))
    return Counter(told.with_columns(pl.selectors.temporal().to_physical()).rows())


if __name__ == "__main__":
    main()

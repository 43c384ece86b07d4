"""Partitions of a run's rows, and the results of its steps: in memory while they are few, else in a private folder.

A partition holds all rows of some patients, so that it can be judged and screened by itself, in bounded memory. Steps that
run as separate tasks pass the folder's path, never rows.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from uuid import uuid4

import polars as pl

from neutro_screen.private import private_file, removed_if_killed

#: Patients are spread over so many buckets at the least; a partition is one or more of them, or a share of one.
LEAST_BUCKETS: Final = 64
#: Who adds rows where one process does it all.
_ONLY_WRITER: Final = "run"
NO_SURVIVORS: Final = pl.DataFrame(schema={"patient_id": pl.String, "survivor_id": pl.String})


@dataclass(frozen=True)
class Layout:
    """How many buckets the rows are spread over, and whose rows count: a writer that was lost is in no list."""

    buckets: int
    writers: list[str]


@dataclass(frozen=True)
class Division:
    """The number of partitions, and the merged records (patient_id, survivor_id) that belong to that of their survivor."""

    parts: int
    survivors: pl.DataFrame


T = TypeVar("T")


class Workspace:
    """Rows of one run by partition, and the typed results of its steps (``handover``).

    Without a folder everything is in memory. With one, rows are in memory until more than ``rows_in_memory`` of one name
    have been added, so that what makes one partition (``divide`` counts laboratory rows alone) stays there; from then on
    they, and the results that are kept to the end of the run, are files. With a folder and no rows in
    memory everything is in files: the steps are tasks of their own. Several processes may then add rows, each as a
    ``writer`` of its own; and one that takes all steps of a partition has ``results_in_memory`` until it hands them over.
    """

    def __init__(
        self,
        folder: Path | None = None,
        rows_in_memory: int = 0,
        *,
        writer: str = _ONLY_WRITER,
        results_in_memory: bool = False,
    ) -> None:
        self.writer = writer
        self._folder = folder
        self._room = rows_in_memory
        self._is_in_memory = folder is None or rows_in_memory > 0
        self._holds_results = self._is_in_memory or results_in_memory
        self._added: dict[str, list[pl.DataFrame]] = {}
        self._results: dict[tuple[type[object], int], object] = {}
        self._files = 0

    def begin(self, buckets: int = LEAST_BUCKETS) -> None:
        """Forget everything: an attempt before this one may have left rows that nothing overwrites."""
        self._added, self._results, self._files = {}, {}, 0
        if self._folder is not None and self._folder.is_dir():
            # The folder itself stays: it is the one that is watched (``removed_if_killed``).
            for inside in self._folder.iterdir():
                shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
        self.keep(Layout(max(buckets, LEAST_BUCKETS), [_ONLY_WRITER]))

    def accept(self, writers: Iterable[str]) -> None:
        """From now on the rows of these writers count, beside those of the run's own process."""
        self.keep(Layout(self.kept(Layout).buckets, sorted({_ONLY_WRITER, *writers})))

    @property
    def parts(self) -> range:
        """The numbers of the partitions that the run is divided into (see ``divide``)."""
        return range(self.kept(Division).parts)

    def divide(self, rows: int, rows_at_once: int, survivors: pl.DataFrame | None = None) -> None:
        """Choose the number of partitions, so that none has many more rows than may be at work at once (one and a half times).

        The records of one person (patient_id, survivor_id) belong to the partition of the survivor.
        """
        parts, buckets = max(1, -(-rows // rows_at_once)), self.kept(Layout).buckets
        if parts > buckets:  # every bucket is cut into as many; a few rows more than were laid out for are no reason
            parts = buckets * round(parts / buckets)
        self.keep(Division(parts, NO_SURVIVORS if survivors is None else survivors))

    def add(self, name: str, rows: pl.DataFrame) -> None:
        """Add rows with a ``patient_id``; all frames of a name have the same columns."""
        if self._is_in_memory:
            self._added.setdefault(name, []).append(rows)
            if self._folder is not None and _height(self._added[name]) > self._room:
                self._move_to_files()
            return
        self._write_buckets(name, rows)

    def rows(self, name: str, part: int) -> pl.DataFrame:
        """All rows added under a name that belong to the patients of a partition."""
        division = self.kept(Division)
        own = self._rows_by_record(name, part, division.parts)
        if division.parts == 1:
            return own
        buckets = self.kept(Layout).buckets
        here, there = (_part_of(pl.col(name), division.parts, buckets) for name in ("patient_id", "survivor_id"))
        moved = division.survivors.select("patient_id", here=here, there=there).filter(
            pl.col("here") != pl.col("there")
        )
        staying = own.join(moved.filter(pl.col("here") == part), on="patient_id", how="anti", maintain_order="left")
        coming = moved.filter(pl.col("there") == part)
        guests = [
            self._rows_by_record(name, other, division.parts).join(
                coming, on="patient_id", how="semi", maintain_order="left"
            )
            for other in coming["here"].unique().sort()
        ]
        return pl.concat([staying, *guests])

    def all_rows(self, name: str) -> pl.DataFrame:
        """All rows added under a name."""
        return self._rows_by_record(name, 0, 1)

    def _rows_by_record(self, name: str, part: int, parts: int) -> pl.DataFrame:
        layout = self.kept(Layout)
        is_own = _part_of(pl.col("patient_id"), parts, layout.buckets) == part
        if self._is_in_memory:
            # In one piece: polars gathers rows out of several five times as slowly, and joins gather.
            self._added[name] = [rows] = [pl.concat(self._added[name], rechunk=True)]
            return rows if parts == 1 else rows.filter(is_own)
        folders = [self._place / name]
        folders += [self._bucket(name, number) for number in range(part % layout.buckets, layout.buckets, parts)]
        files = [file for folder in folders for file in sorted(folder.glob("*.parquet"))]
        written = [file for file in files if file.stem.rpartition(".")[0] in layout.writers]
        rows = pl.read_parquet(written, glob=False, hive_partitioning=False).rechunk()
        return rows if parts <= layout.buckets else rows.filter(is_own)

    def keep(self, result: object, part: int = 0) -> None:
        """Keep a typed result (``handover``) of a partition; an earlier one of its type is replaced."""
        if self._holds_results:
            self._results[type(result), part] = result
        else:
            self._spill(result, part)

    def kept(self, kind: type[T], part: int = 0) -> T:
        """The result of a type that was kept for a partition."""
        found = self._results.get((kind, part))
        return found if isinstance(found, kind) else self._spilled(kind, part)

    def drop(self, part: int, *kinds: type[object]) -> None:
        """Free the memory of results of a partition that nothing asks for any more."""
        for kind in kinds:
            self._results.pop((kind, part), None)

    def hand_over(self, part: int, *kinds: type[object]) -> None:
        """Results that others ask for, or that have to wait, go to disk, unless all rows are in memory as well."""
        if not self._is_in_memory:
            for kind in kinds:
                if (result := self._results.pop((kind, part), None)) is not None:
                    self._spill(result, part)

    def _spill(self, result: object, part: int) -> None:
        """A frame is a Parquet file, the other fields are one JSON file, which is written last."""
        values: dict[str, object] = {}
        for name, value in vars(result).items():
            frames = {"": value} if isinstance(value, pl.DataFrame) else value
            if isinstance(frames, dict) and frames and all(isinstance(each, pl.DataFrame) for each in frames.values()):
                for key, frame in frames.items():
                    with _put_in_place(self._file(f"{type(result).__name__}.{name}.{key}", part)) as aside:
                        self._write(frame, aside)
                values[name] = {_FRAMES: list(frames)}
            else:
                values[name] = value
        with (
            _put_in_place(self._place / f"{type(result).__name__}.{part:02d}.json") as aside,
            private_file(aside, "w") as file,
        ):
            json.dump(values, file)

    def _spilled(self, kind: type[T], part: int) -> T:
        kept = json.loads((self._place / f"{kind.__name__}.{part:02d}.json").read_text("utf-8"))
        values: dict[str, object] = {}
        for name, value in kept.items():
            if isinstance(value, dict) and _FRAMES in value:
                files = {key: self._file(f"{kind.__name__}.{name}.{key}", part) for key in value[_FRAMES]}
                if name in getattr(kind, "UNREAD", ()):
                    values[name] = files
                    continue
                frames = {key: pl.read_parquet(file, glob=False) for key, file in files.items()}
                values[name] = frames.get("", frames)
            else:
                values[name] = value
        return kind(**values)

    @property
    def _place(self) -> Path:
        if self._folder is None:
            raise LookupError("this workspace has no folder")
        return self._folder  # never made here: what a lost worker still writes after the end of the run finds no place

    def _file(self, name: str, part: int) -> Path:
        return self._place / f"{name}.{part:02d}.parquet"

    def _move_to_files(self) -> None:
        self._is_in_memory = False
        while self._added:
            name, frames = self._added.popitem()
            for frame in frames:
                self._write_buckets(name, frame)

    def _write_buckets(self, name: str, rows: pl.DataFrame) -> None:
        buckets = self.kept(Layout).buckets
        (self._place / name).mkdir(mode=0o700, exist_ok=True)
        self._files += 1
        if not (empty := self._place / name / f"{self.writer}.none.parquet").exists():
            self._write(rows.clear(), empty)
        numbered = rows.with_columns(bucket=_part_of(pl.col("patient_id"), buckets, buckets))
        for (number,), own in numbered.partition_by("bucket", as_dict=True, include_key=False).items():
            place = self._bucket(name, number)
            place.mkdir(mode=0o700, exist_ok=True)
            self._write(own, place / f"{self.writer}.{self._files:06d}.parquet")

    def _bucket(self, name: str, number: int) -> Path:
        return self._place / name / f"bucket={number:05d}"

    def _write(self, frame: pl.DataFrame, path: Path) -> None:
        with private_file(path) as file:
            frame.write_parquet(file, compression="lz4", statistics=False)


#: Says in JSON that a field is a frame, or frames by table, in files of their own.
_FRAMES: Final = "frames"


def _part_of(patient_id: pl.Expr, parts: int, buckets: int) -> pl.Expr:
    """The partition of a patient. Only for the length of one run on one version of polars (ADR 6)."""
    number = patient_id.hash(0)
    return (number % buckets % parts if parts <= buckets else number % parts).cast(pl.UInt32)


@contextmanager
def _put_in_place(path: Path) -> Iterator[Path]:
    """The name of a file to write, which then takes the place at once: a second worker may be at the same partition."""
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    yield aside
    os.replace(aside, path)


def _height(frames: list[pl.DataFrame]) -> int:
    return sum(frame.height for frame in frames)


@contextmanager
def working_folder(store: Path) -> Iterator[Path]:
    """The private folder beside a store for the length of one run (hold its lock); a killed run's is cleared first."""
    folder = work_folder(store)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        with removed_if_killed(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work_folder(store: Path) -> Path:
    """The private folder beside a store in which the rows of a run wait."""
    return store.with_name(f".{store.name}.work")

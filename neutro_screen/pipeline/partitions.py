"""Where the frames of a run wait between two steps: in memory while they are few, else as files in a private folder.

Rows of patients are *added* and come back by part: a part holds all rows of some patients, so that every part can be
judged and screened by itself, in bounded memory. Steps that run as separate tasks hand on the folder's path, never the
rows.
"""

import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl

from neutro_screen.private import private_file

#: Patients are spread over so many buckets; a part is one or more of them. The number is never stored beyond a run.
BUCKETS: Final = 64


class Workspace:
    """Named frames and notes of one run.

    Without a folder everything is in memory. With one, rows are in memory until more than ``rows_in_memory`` have been
    added; from then on they, and the frames that are kept for good, are files.
    """

    def __init__(self, folder: Path | None = None, rows_in_memory: int = 0) -> None:
        self._folder = folder
        self._room = rows_in_memory
        self._is_in_memory = folder is None or rows_in_memory > 0
        self._frames: dict[tuple[str, int], pl.DataFrame] = {}
        self._added: dict[str, list[pl.DataFrame]] = {}
        self._notes: dict[str, Any] = {}
        self._files = 0

    def begin(self) -> None:
        """Forget all frames and notes: an attempt before this one may have left some that nothing overwrites."""
        self._frames, self._added, self._notes, self._files = {}, {}, {}, 0
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def parts(self) -> range:
        """The numbers of the parts that the run is divided into (see ``divide``)."""
        return range(self.noted("parts"))

    def divide(self, rows: int, rows_at_once: int) -> None:
        """Settle the number of parts, so that none has many more rows than may be at work at once."""
        self.note("parts", min(BUCKETS, max(1, -(-rows // rows_at_once))))

    def add(self, name: str, rows: pl.DataFrame) -> None:
        """Add rows with a ``patient_id``; all frames of a name have the same columns."""
        if self._is_in_memory:
            self._added.setdefault(name, []).append(rows)
            if self._folder is not None and sum(map(_height, self._added.values())) > self._room:
                self._move_to_files()
            return
        self._write_buckets(name, rows)

    def keep_together(self, survivors: pl.DataFrame) -> None:
        """The records of one person (patient_id, survivor_id) belong to the part of the survivor, from now on."""
        self.put("survivor", survivors)

    @property
    def survivors(self) -> pl.DataFrame:
        """patient_id, survivor_id of the records that another one stands for (see ``keep_together``)."""
        return self.get("survivor")

    def rows(self, name: str, part: int) -> pl.DataFrame:
        """All rows added under a name that belong to the patients of a part."""
        parts = len(self.parts)
        own = self._rows_by_record(name, part)
        if parts == 1 or not self._has("survivor"):
            return own
        moved = self.survivors.select(
            "patient_id", here=bucket(pl.col("patient_id")) % parts, there=bucket(pl.col("survivor_id")) % parts
        ).filter(pl.col("here") != pl.col("there"))
        staying = own.join(moved.filter(pl.col("here") == part), on="patient_id", how="anti", maintain_order="left")
        coming = moved.filter(pl.col("there") == part)
        guests = [
            self._rows_by_record(name, other).join(coming, on="patient_id", how="semi", maintain_order="left")
            for other in coming["here"].unique().sort()
        ]
        return pl.concat([staying, *guests])

    def _has(self, name: str) -> bool:
        return (name, 0) in self._frames or (self._folder is not None and self._file(name, 0).exists())

    def _rows_by_record(self, name: str, part: int) -> pl.DataFrame:
        parts = len(self.parts)
        if self._is_in_memory:
            rows = pl.concat(self._added[name])
            return rows if parts == 1 else rows.filter(bucket(pl.col("patient_id")) % parts == part)
        folder = self._place / name
        files = [
            file
            for number in range(part, BUCKETS, parts)
            for file in sorted((folder / f"bucket={number:02d}").glob("*.parquet"))
        ]
        return pl.read_parquet([folder / "none.parquet", *files], glob=False, hive_partitioning=False)

    def put(self, name: str, frame: pl.DataFrame, part: int = 0) -> None:
        """Keep a frame of a part under a name; an earlier one is replaced."""
        if self._is_in_memory or self._room:
            self._frames[name, part] = frame
        else:
            self._write(frame, self._file(name, part))

    def get(self, name: str, part: int = 0) -> pl.DataFrame:
        """The frame kept under a name."""
        kept = self._frames.get((name, part))
        return kept if kept is not None else pl.read_parquet(self._file(name, part), glob=False)

    def settle(self, part: int, outcomes: Collection[str]) -> None:
        """A part is finished: of its frames only the outcomes are kept, as files if the rows did not fit in memory."""
        # A list first: the next part may be putting frames meanwhile.
        for name, number in [key for key in list(self._frames) if key[1] == part and key[0] not in _OF_THE_RUN]:
            if name not in outcomes:
                del self._frames[name, number]
            elif not self._is_in_memory:
                self._write(self._frames.pop((name, number)), self._file(name, number))

    def note(self, name: str, value: Any, part: int = 0) -> None:
        """Keep a value that JSON can hold."""
        if self._is_in_memory or self._room:
            self._notes[f"{name}.{part}"] = value
            return
        with private_file(self._place / f"{name}.{part:02d}.json", "w") as file:
            json.dump(value, file)

    def noted(self, name: str, part: int = 0) -> Any:
        """The value kept under a name."""
        if (key := f"{name}.{part}") in self._notes:
            return self._notes[key]
        return json.loads((self._place / f"{name}.{part:02d}.json").read_text("utf-8"))

    @property
    def _place(self) -> Path:
        if self._folder is None:
            raise LookupError("this workspace has no folder")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder

    def _file(self, name: str, part: int) -> Path:
        return self._place / f"{name}.{part:02d}.parquet"

    def _move_to_files(self) -> None:
        self._is_in_memory = False
        while self._added:
            name, frames = self._added.popitem()
            for frame in frames:
                self._write_buckets(name, frame)

    def _write_buckets(self, name: str, rows: pl.DataFrame) -> None:
        folder = self._place / name
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self._write(rows.clear(), folder / "none.parquet")
        self._files += 1
        numbered = rows.with_columns(bucket=bucket(pl.col("patient_id")))
        for (number,), own in numbered.partition_by("bucket", as_dict=True, include_key=False).items():
            place = folder / f"bucket={number:02d}"
            place.mkdir(mode=0o700, exist_ok=True)
            self._write(own, place / f"{self._files:06d}.parquet")

    def _write(self, frame: pl.DataFrame, path: Path) -> None:
        with private_file(path) as file:
            frame.write_parquet(file, compression="lz4", statistics=False)


#: Frames of the whole run, not of its first part.
_OF_THE_RUN: Final = (
    "origin",
    "broken_line",
    "deletion",
    "unknown_deletion",
    "survivor",
    "statement_before",
    "statement",
    "cyclic_merge",
)


def bucket(patient_id: pl.Expr) -> pl.Expr:
    """The bucket of a patient, 0 to 63. Only for the length of one run on one version of polars (ADR 6)."""
    return (patient_id.hash(0) % BUCKETS).cast(pl.UInt8)


def _height(frames: list[pl.DataFrame]) -> int:
    return sum(frame.height for frame in frames)


@contextmanager
def working_folder(store: Path) -> Iterator[Path]:
    """The private folder beside a store for the length of one run (hold its lock); a killed run's is cleared first."""
    folder = work_folder(store)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work_folder(store: Path) -> Path:
    """The private folder beside a store in which the rows of a run wait."""
    return store.with_name(f".{store.name}.work")

"""Where the frames of a run wait between two steps: in memory, or as Parquet files in a private folder.

Steps that run as separate tasks hand on the folder's path, never the rows.
"""

import json
import os
from pathlib import Path
from typing import IO, Any

import polars as pl


class Workspace:
    """Named frames and notes of one run."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._frames: dict[str, pl.DataFrame] = {}
        self._notes: dict[str, Any] = {}
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, frame: pl.DataFrame) -> None:
        """Keep a frame under a name; an earlier one is replaced."""
        if self._folder is None:
            self._frames[name] = frame
            return
        with private_file(self._folder / f"{name}.parquet") as file:
            frame.write_parquet(file)

    def get(self, name: str) -> pl.DataFrame:
        """The frame kept under a name."""
        if self._folder is None:
            return self._frames[name]
        return pl.read_parquet(self._folder / f"{name}.parquet")

    def note(self, name: str, value: Any) -> None:
        """Keep a value that JSON can hold."""
        if self._folder is None:
            self._notes[name] = value
            return
        with private_file(self._folder / f"{name}.json", "w") as file:
            json.dump(value, file)

    def noted(self, name: str) -> Any:
        """The value kept under a name."""
        if self._folder is None:
            return self._notes[name]
        return json.loads((self._folder / f"{name}.json").read_text("utf-8"))


def private_file(path: Path, mode: str = "wb") -> IO[Any]:
    """A new file that only its owner can read, whatever the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), mode)

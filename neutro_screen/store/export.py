"""The tables of a store as Parquet, in a folder or on object storage, for tools that do not read DuckDB.

A run's tables are in a folder named after it; ``manifest.json`` is written last, so a folder without one is not whole.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from neutro_screen.errors import PublishError, StoreError
from neutro_screen.ingest.remote import is_remote, storage_of
from neutro_screen.private import private_file
from neutro_screen.store.file import reading
from neutro_screen.store.journal import note_action
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import SCHEMA_VERSION, TABLES
from neutro_screen.store.views import LATEST_RUN, VIEWS

_ROWS_AT_ONCE: Final = 1 << 17


def export(store: Path, to: str, *, at: datetime, warn: Callable[[str], None] = lambda text: None) -> str:
    """Write every table and view of a store; the place of the folder. The export is noted for ``audit`` (``journal.py``).

    ``warn`` gets a line where this user may not write the journal.

    Raises:
        StoreError: the store cannot be read, or holds no run.
        PublishError: the place cannot be written to.
        ConfigurationError: fsspec or the storage's package is not installed.
    """
    with reading(store) as connection:
        run = first_row(connection, LATEST_RUN)
        place = f"{to.rstrip('/')}/{run[0].replace(':', '') if run else 'no-run'}"
        try:
            opened = _opener(place)
            written = {name: _written(connection, name, opened) for name in (*TABLES, *VIEWS)}
            with opened("manifest.json") as file:
                manifest = {"run_id": run[0] if run else None, "schema_version": SCHEMA_VERSION, "tables": written}
                file.write(json.dumps(manifest, indent=1).encode())
        except OSError as error:
            raise PublishError(f"cannot be written ({error.strerror or type(error).__name__})", where=to) from None
    try:
        note_action(store, "export", {name: table["rows"] for name, table in written.items()}, at=at)
    except StoreError as error:
        warn(f"the export is not in the audit trail: {error}")
    return place


def _opener(place: str) -> Callable[[str], IO[bytes]]:
    """A function that opens a new file in a place; local files are private to their owner."""
    if is_remote(place):
        storage, folder = storage_of(place)
        return lambda name: storage.open(f"{folder}/{name}", "wb")
    Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
    return lambda name: private_file(Path(place) / name)


def _written(connection: DuckDBPyConnection, name: str, opened: Callable[[str], IO[bytes]]) -> dict[str, Any]:
    rows, batches = 0, connection.sql(f'SELECT * FROM "{name}" ORDER BY ALL').to_arrow_reader(_ROWS_AT_ONCE)
    with opened(f"{name}.parquet") as file:
        summing = _Summing(file)
        with pq.ParquetWriter(summing, batches.schema, compression="zstd") as writer:
            for batch in batches:
                rows += batch.num_rows
                writer.write_batch(batch)
    return {"rows": rows, "sha256": summing.digest.hexdigest()}


class _Summing:
    """An append-only file that keeps the SHA-256 of its content."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.digest.update(content)
        self._file.write(content)
        return len(content)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True

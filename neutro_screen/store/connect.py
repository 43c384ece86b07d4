"""How DuckDB opens a store's file, which versions this program knows, and what DuckDB's errors mean."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb

from neutro_screen.errors import ConfigurationError, StoreError, did_you_mean
from neutro_screen.store.place import exists, not_permitted
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import SCHEMA_VERSION, departures

#: DuckDB 1.4 and later can open what is written (ADR 2); analysts' tools are often older than the writer.
STORAGE_VERSION: Final = "v1.4.0"


_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


@contextmanager
def opened(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a store of any version.

    Raises:
        StoreError: no such file, no store, damaged, or open in a writer.
    """
    if not exists(store) or not store.is_file():
        others = [path.name for path in store.parent.glob("*.duckdb")] if store.parent.is_dir() else []
        raise StoreError(
            "no such store",
            where=str(store),
            remedy=did_you_mean(store.name, others) + "`neutro-screen run` makes one.",
        )
    _check_readable(store)
    with own_name(store) as path:
        try:
            connection = duckdb.connect(duckdb_path(path), read_only=True, config=_CONFIG)
        except duckdb.Error as error:
            raise _why_not_open(error, store) from None
    with connection:
        _keep_quiet(connection)
        yield connection


def _check_readable(store: Path) -> None:
    try:
        with store.open("rb"):
            pass
    except OSError as error:
        raise not_permitted(store, error) from None


def check_blocks(connection: duckdb.DuckDBPyConnection, store: Path) -> None:
    """Read every table of an open store once: DuckDB compares a block with its checksum only when it reads it.

    Raises:
        StoreError: a table is damaged; its name is said.
    """
    for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall():
        try:
            first_row(connection, f'SELECT bit_xor(hash(t)) FROM "{table}" t')
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            raise damaged(store, f"the table {table} is damaged") from None


def attached(copy: Path, store: Path) -> duckdb.DuckDBPyConnection:
    """A connection that writes a file, new or a copy of the store; messages name the store.

    Raises:
        StoreError: the file is damaged.
    """
    connection = duckdb.connect(config=_CONFIG)
    _keep_quiet(connection)
    try:
        connection.execute(f"ATTACH {quoted(copy)} AS store (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute("USE store")
    except duckdb.Error as error:
        connection.close()
        raise _why_not_open(error, store) from None
    return connection


def complete(connection: duckdb.DuckDBPyConnection) -> None:
    """Commit, and leave the file complete in itself, without a log."""
    connection.execute("COMMIT")
    connection.execute("USE memory")
    connection.execute("CHECKPOINT store")
    connection.execute("DETACH store")


def duckdb_path(path: Path) -> str:
    """A path as DuckDB takes it: absolute, because DuckDB interprets a leading ``~`` or ``sqlite:``.

    Raises:
        ConfigurationError: it holds ``?`` or ``\\``, which DuckDB interprets wherever they are.
    """
    name = str(path.absolute())
    for sign in "?\\":
        if sign in name:
            raise ConfigurationError(
                f"a store's path cannot hold {sign}",
                where=path.name,
                remedy="Name another file or folder with --store.",
            )
    return name


def quoted(path: Path) -> str:
    """A path as an SQL string."""
    return "'" + duckdb_path(path).replace("'", "''") + "'"


def _keep_quiet(connection: duckdb.DuckDBPyConnection) -> None:
    """Without this, DuckDB draws a progress bar on standard output after two seconds."""
    connection.execute("SET enable_progress_bar = false")


@contextmanager
def own_name(store: Path) -> Iterator[Path]:
    """A second name for the file, for as long as it takes to open it.

    A process that still has a connection to this path gets the same file again from DuckDB, even after it was replaced:
    a notebook would read yesterday's store. DuckDB treats another name as another file.
    """
    name = store.with_name(f".{store.name}.{os.getpid()}.{next(_NAMES)}")
    try:
        os.link(store, name)
    except OSError:  # a folder that cannot be written: this process cannot replace the file either
        yield store
        return
    try:
        yield name
    finally:
        name.unlink()


_NAMES: Final = itertools.count()


FileState = tuple[int, int, int, int]
#: Files that have all tables of this version; DuckDB takes as long to list the columns of all views as to open a file.
_FOUND_WHOLE: Final = set[FileState]()


def file_state(store: Path) -> FileState | None:
    """What tells a file from any other, and from itself once it is changed; None where there is none."""
    try:
        found = store.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def remember_whole(store: Path) -> None:
    """Note that a file has all tables of this version: it was just made by this program, from one that had them or anew."""
    if state := file_state(store):
        _FOUND_WHOLE.add(state)


def known_version(connection: duckdb.DuckDBPyConnection, store: Path, file: FileState | None = None) -> int:
    """The schema version of an open store; the tables of a ``file`` (as it was before it was opened) are looked at once.

    Raises:
        StoreError: no store, of a newer version, or without the tables of its version.
    """
    try:
        row = first_row(connection, "SELECT max(version) FROM schema_version")
    except duckdb.Error:
        raise StoreError(
            "is a DuckDB file, but no store of neutro_screen",
            where=store.name,
            remedy="Name another file with --store.",
        ) from None
    version = row[0] if row else None
    if version is None or version > SCHEMA_VERSION:
        raise StoreError(
            f"was written by a newer version (schema {version}, this program knows {SCHEMA_VERSION})",
            where=store.name,
            remedy="Update neutro-screen.",
        )
    if version == SCHEMA_VERSION and file not in _FOUND_WHOLE and (lacking := departures(connection)):
        raise StoreError(
            f"has not the tables of its version (schema {version}): missing or of another type: {', '.join(lacking[:5])}"
            + (f" and {len(lacking) - 5} more" if lacking[5:] else ""),
            where=store.name,
            remedy="An unreleased program or another tool has written it: restore the last backup, or screen the extracts "
            "into a new store.",
        )
    if version == SCHEMA_VERSION and file is not None:
        _FOUND_WHOLE.add(file)
    return int(version)


def _why_not_open(error: duckdb.Error, store: Path) -> StoreError:
    if "Could not set lock" in str(error):
        return StoreError("another program is writing to the store", where=store.name, remedy="Close it and try again.")
    return damaged(store)


def damaged(store: Path, what: str = "is damaged, or no DuckDB file") -> StoreError:
    """The error of a store whose bytes are not what was written."""
    return StoreError(what, where=store.name, remedy="Run `neutro-screen doctor`; restore the last backup.")


def is_damage(error: duckdb.Error) -> bool:
    """Whether the file is damaged; DuckDB distinguishes this only by the error's text (checksum, unreadable block)."""
    text = str(error)
    return isinstance(error, duckdb.FatalException | duckdb.SerializationException) or any(
        word in text for word in ("Corrupt", "checksum", "Could not read", "Failed to load metadata")
    )

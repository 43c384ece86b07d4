"""The store's file: who may use it, how it is read, and how a run is published into it.

DuckDB keeps every other process out of a file that has a writer. So nobody ever writes into the published file: a run
changes a copy beside it and puts it in place with one ``os.replace``. Readers keep the old file open as long as they
like and see the new one with their next connection.
"""

import errno
import fcntl
import filecmp
import glob
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from neutro_screen.errors import PublishError, StoreError
from neutro_screen.private import owned_like, removed_if_killed
from neutro_screen.store.audit import audit
from neutro_screen.store.blocks import SuspectBlocksError
from neutro_screen.store.blocks import copy_file as _copy_file
from neutro_screen.store.connect import (
    attached,
    check_blocks,
    complete,
    damaged,
    duckdb_path,
    file_state,
    is_damage,
    known_version,
    opened,
    own_name,
    quoted,
    remember_whole,
)
from neutro_screen.store.empty import write_empty_store
from neutro_screen.store.impossible import quarantine_impossible_dates
from neutro_screen.store.journal import drop_taken_over, take_over
from neutro_screen.store.place import exists, real_path, take_rights
from neutro_screen.store.rows import first_row, size_of
from neutro_screen.store.schema import SCHEMA_VERSION, TABLES, build, columns_of

#: The least memory limit with which DuckDB writes a store of any size, bytes.
_LEAST_MEMORY: Final = 512 << 20


@contextmanager
def lock(store: Path) -> Iterator[None]:
    """Reserve the store for one command; a second one ends at once instead of waiting.

    Raises:
        StoreError: another run holds it, or the folder cannot be written.
        ConfigurationError: DuckDB cannot open a file under this path.
    """
    store = real_path(store)
    duckdb_path(store)
    try:
        descriptor = _lock_file(store)
    except OSError as error:
        raise StoreError(
            f"the store's folder cannot be used ({error.strerror})",
            where=str(store.parent),
            remedy="Make it writable for the user that runs the nights; `neutro-screen doctor` shows its permissions.",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                "another run is using the store", where=store.name, remedy="Wait until it has ended."
            ) from None
        _sweep(store)
        yield
    finally:
        os.close(descriptor)


def _lock_file(store: Path) -> int:
    """The open lock file; the folder is made where there is none, and must be writable: every command makes files in it."""
    if not store.parent.is_dir():
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owned_like(store.parent, store.parent.parent)
    path = store.with_name(f".{store.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not os.access(store.parent, os.W_OK | os.X_OK):
            raise OSError(*_not_writable(store.parent))
        if os.geteuid() == 0:
            owned_like(path, store if store.exists() else store.parent)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _not_writable(folder: Path) -> tuple[int, str]:
    is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    code = errno.EROFS if is_read_only else errno.EACCES
    return code, os.strerror(code)


def _sweep(store: Path) -> None:
    """Remove what killed processes left beside the store: half a copy, and second names of earlier files."""
    shutil.rmtree(next_folder(store), ignore_errors=True)
    for name in store.parent.glob(f".{glob.escape(store.name)}.*.*"):
        process = name.name.split(".")[-2]
        if process.isdigit() and not _is_alive(int(process)):
            name.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def reading(store: Path, *, migrating: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a published store; with ``migrating``, one of an older version is brought up to date first.

    Raises:
        StoreError: no such file, not a store, damaged, held by a writer, or from another version of the program.
        PublishError: it could not be brought up to date.
    """
    store = real_path(store)
    with ExitStack() as held:
        file = file_state(store)
        connection = held.enter_context(opened(store))
        version = known_version(connection, store, file)
        if version < SCHEMA_VERSION and migrating:
            held.close()
            migrate(store)
            connection = held.enter_context(opened(store))
        elif version < SCHEMA_VERSION:
            raise StoreError(
                f"was written by an older version (schema {version}, this program needs {SCHEMA_VERSION})",
                where=store.name,
                remedy="`neutro-screen migrate` or the next run brings it up to date and keeps a backup.",
            )
        try:
            yield connection
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            raise damaged(store) from None


@contextmanager
def publishing(store: Path, memory: int | None = None, *, anew: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a private copy of the store, in a transaction; on success it takes the store's place at once.

    Whatever happens before that moment leaves the published file as it was. A store of an older version is brought
    up to this one on the way, and the old file is kept (``next_backup``). ``memory`` bounds what DuckDB keeps in memory,
    in bytes; the rest waits in the private folder. With ``anew`` the rows that are left go into a new file, so that no
    deleted row is left in its bytes.

    Raises:
        PublishError: the copy could not be written or put in place.
        StoreError: the present store is damaged or from a newer version.
    """
    store, is_in_place = real_path(store), False
    try:
        with _next(store) as folder:
            copy, version, is_new, is_suspect = folder / store.name, None, not store.exists(), False
            file = file_state(store)
            if is_new:
                write_empty_store(copy, store)
            else:
                try:
                    _copy_file(store, copy)
                except SuspectBlocksError:
                    is_suspect = True
                take_rights(copy, store)
            with attached(copy, store) as connection:
                if not is_new:
                    version = known_version(connection, store, file)
                if is_suspect:
                    check_blocks(connection, store)
                connection.execute("SET temp_directory = ?", [str(folder)])
                if memory is not None:
                    connection.execute("SET memory_limit = ?", [f"{max(memory, _LEAST_MEMORY) >> 20}MiB"])
                if version == SCHEMA_VERSION and not _is_scattered(connection):
                    # Otherwise DuckDB compacts whole tables at every checkpoint: seconds a night on a large store.
                    connection.execute("SET max_vacuum_tasks = 0")
                connection.execute("BEGIN TRANSACTION")
                if version is not None and version != SCHEMA_VERSION:
                    build(connection)
                    _record_migration(connection, version)
                    quarantine_impossible_dates(connection)
                journal_size = take_over(connection, store)
                yield connection
                complete(connection)
            if anew:
                copy = _written_anew(copy, store)
            take_rights(copy, store)
            _synchronise(copy)
            if version is not None and version != SCHEMA_VERSION:
                _keep_backup(store, folder, version)
            # A log beside the file belongs to another writer's changes of the old file; the new file would not open with it.
            log_of(store).unlink(missing_ok=True)
            os.replace(copy, store)
            is_in_place = True
            remember_whole(store)
            drop_taken_over(store, journal_size)
            _synchronise(store.parent)
    except duckdb.Error as error:
        if is_damage(error):
            raise damaged(store) from None
        if not isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
            raise
        raise _not_published(store, "the database could not be written") from None
    except OSError as error:
        reason = error.strerror or "the file could not be written"
        raise (_not_confirmed(store, reason) if is_in_place else _not_published(store, reason)) from None


@contextmanager
def _next(store: Path) -> Iterator[Path]:
    """The folder of the next state, for as long as it is made; nothing of it is left however that ends."""
    folder = next_folder(store)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        with removed_if_killed(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _not_published(store: Path, reason: str) -> PublishError:
    return PublishError(f"could not be published ({reason})", where=store.name, remedy="The previous results stand.")


def _not_confirmed(store: Path, reason: str) -> PublishError:
    return PublishError(
        f"the new results are in place, but the disk did not confirm it ({reason})",
        where=store.name,
        remedy="Look at the disk before the next run.",
    )


def _record_migration(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    audit(connection, at=now, action="migrate", by=None, counts={"from": version, "to": SCHEMA_VERSION})


def log_of(store: Path) -> Path:
    """DuckDB's log of what was written into the file and is not yet part of it; a published store has none."""
    return store.with_name(f"{store.name}.wal")


def next_folder(store: Path) -> Path:
    """The private folder in which the next state of the store is made."""
    return store.with_name(f".{store.name}.next")


def holds_run(store: Path, run_id: str) -> bool:
    """Whether a run has been published into the store.

    Raises:
        StoreError: as ``reading``.
    """
    if not exists(store):
        return False
    with reading(store) as connection:
        return first_row(connection, "SELECT 1 FROM run WHERE run_id = ?", [run_id]) is not None


def migrate(store: Path) -> Path | None:
    """Bring a store of an older version up to this one; the path of the backup, or None where nothing was to be done.

    Raises:
        StoreError, PublishError: as ``publishing``.
    """
    store = real_path(store)
    with opened(store) as connection:
        version = known_version(connection, store)
    if version == SCHEMA_VERSION:
        return None
    backup = next_backup(store, version)
    with publishing(store):
        pass
    return backup


def backup_of(store: Path, version: int, number: int = 1) -> Path:
    """Where the file is kept as it was before its first, second … migration from a version."""
    return store.with_name(f"{store.stem}.v{version}{f'-{number}' if number > 1 else ''}.backup{store.suffix}")


def next_backup(store: Path, version: int) -> Path:
    """Where a migration keeps the file: the first name that is free, or that holds these bytes already."""
    names = (backup_of(store, version, number) for number in itertools.count(1))
    return next(name for name in names if not name.exists() or filecmp.cmp(name, store, shallow=False))


def backups_of(store: Path) -> list[Path]:
    """The files that were kept before migrations."""
    return sorted(store.parent.glob(f"{glob.escape(store.stem)}.v*.backup{glob.escape(store.suffix)}"))


def _written_anew(copy: Path, store: Path) -> Path:
    """A new file with the same rows in the same order, without the bytes of deleted rows."""
    fresh = copy.with_name("anew.duckdb")
    write_empty_store(fresh, store)
    with attached(fresh, store) as connection:
        connection.execute(f"ATTACH {quoted(copy)} AS present (READ_ONLY)")
        connection.execute("BEGIN TRANSACTION")
        for table in TABLES:
            listed = ", ".join(f'"{name}"' for name in columns_of(table))
            connection.execute(f'INSERT INTO "{table}" ({listed}) SELECT {listed} FROM present."{table}"')
        complete(connection)
    return fresh


def _is_scattered(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether deleted rows and partly filled row groups are so many that DuckDB should compact the tables."""
    for table in ("anc", "flag", "evidence"):  # lab_result only grows; it is compacted with them
        live, stored = size_of(connection, table)
        if stored > _MOST_STORED * live:
            return True
    # Every night adds a row group to each table that it writes, and it writes this one, whose groups are few to count.
    patients, groups = first_row(connection, _GROUPS) or (0, 0)
    return bool(groups > 2 * (patients // _ROW_GROUP + 1) + _SPARE_GROUPS)


#: DuckDB's own size of a full row group; stored rows per live row, and row groups beyond those needed, that are tolerated.
_ROW_GROUP: Final = 122_880
_MOST_STORED: Final = 1.25
_SPARE_GROUPS: Final = 16
_GROUPS: Final = (
    "SELECT (SELECT count(*) FROM patient_summary), count(DISTINCT row_group_id) "
    "FROM pragma_storage_info('patient_summary')"
)


def _keep_backup(store: Path, folder: Path, version: int) -> None:
    """Keep the old file under the backup's name: the same bytes, no copy where the file system knows hard links."""
    kept = folder / "backup"
    try:
        os.link(store, kept)
    except OSError:
        with suppress(SuspectBlocksError):  # its tables were read when the night began
            _copy_file(store, kept)
        _synchronise(kept)
    take_rights(kept, store)
    os.replace(kept, next_backup(store, version))


def attach(connection: duckdb.DuckDBPyConnection, store: Path, name: str) -> None:
    """Another store of this version beside the one being published, read-only, under a name, until it is published.

    Raises:
        StoreError: as ``reading``.
    """
    with reading(store):
        pass
    with own_name(store) as path:
        connection.execute(f"ATTACH {quoted(path)} AS {name} (READ_ONLY)")


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The DuckDB file: its tables and comments, and how a run is published into it (its views: ``views.py``).

DuckDB keeps every other process out of a file that has a writer. So nobody ever writes into the published file: a run
changes a copy beside it and puts it in place with one ``os.replace``. Readers keep the old file open as long as they
like and see the new one with their next connection.
"""

import fcntl
import getpass
import glob
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

import neutro_schemas as contract
from neutro_schemas import PRIORITIES, SEVERITIES
from neutro_schemas.store import (
    INTERNAL_COMMENTS,
    AuditTable,
    DrugMatch,
    LaboratoryDay,
    PatientMerge,
    QualityCount,
    QualityDrift,
    QualityMeasure,
    ReviewTable,
    RunTable,
    RunWarning,
    SourceFileTable,
    WithdrawnFlag,
    WorklistRow,
)
from neutro_screen.errors import ConfigurationError, PublishError, ReferenceDataError, StoreError, did_you_mean
from neutro_screen.store.views import LATEST_RUN as LATEST_RUN  # the reports import it from here
from neutro_screen.store.views import VIEWS, WORKLIST_ORDER, view_columns

SCHEMA_VERSION: Final = 3
#: DuckDB 1.4 and later can open what is written (ADR 2); analysts' tools are often older than the writer.
STORAGE_VERSION: Final = "v1.4.0"
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

#: What DuckDB needs to write a store of any size.
_LEAST_MEMORY: Final = 512 << 20

#: Table -> its contract. Those of ``RECEIVED`` also carry run_id: the run that brought the row.
TABLES: Final[Mapping[str, Any]] = {
    "run": RunTable,
    "run_warning": RunWarning,
    "source_file": SourceFileTable,
    "lab_result": contract.LabResult,
    "contradicted_result": contract.LabResult,
    "rejected_row": contract.RejectedRow,
    "no_result": contract.NoResult,
    "medication": contract.Medication,
    "patient": contract.Patient,
    "diagnosis": contract.Diagnosis,
    "event": contract.Event,
    "anc": contract.Anc,
    "episode": contract.Episode,
    "flag": contract.Flag,
    "withdrawn_flag": WithdrawnFlag,
    "drug_suspect": contract.DrugSuspect,
    "evidence": contract.Evidence,
    "workup_step": contract.WorkupStep,
    "patient_summary": contract.PatientStatus,
    "unassessable": contract.CannotAssess,
    "clozapine_course": contract.ClozapineCourse,
    "worklist_row": WorklistRow,
    "quality_count": QualityCount,
    "quality_measure": QualityMeasure,
    "quality_drift": QualityDrift,
    "laboratory_day": LaboratoryDay,
    "patient_merge": PatientMerge,
    "review": ReviewTable,
    "audit": AuditTable,
    "drug_match": DrugMatch,
}
RECEIVED: Final = (
    "lab_result",
    "contradicted_result",
    "rejected_row",
    "no_result",
    "medication",
    "patient",
    "diagnosis",
    "event",
    "flag",
)
#: Tables that are rewritten for every patient that is screened again.
SCREENED: Final = (
    "anc",
    "episode",
    "flag",
    "drug_suspect",
    "evidence",
    "workup_step",
    "patient_summary",
    "unassessable",
    "clozapine_course",
)


def columns_of(table: str) -> dict[str, str]:
    """Column -> SQL type of a table, in order."""
    columns = {name: _sql_type(column.dtype.type) for name, column in TABLES[table].to_schema().columns.items()}
    return columns | ({"run_id": "VARCHAR"} if table in RECEIVED else {})


def _sql_type(dtype: Any) -> str:
    if isinstance(dtype, pl.Enum):
        return "severity" if tuple(dtype.categories) == SEVERITIES else "priority"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMP"
    return _SQL_TYPES[str(dtype)]


_SQL_TYPES: Final = {
    "String": "VARCHAR",
    "Float64": "DOUBLE",
    "Boolean": "BOOLEAN",
    "Date": "DATE",
    "Int64": "BIGINT",
    "Int8": "TINYINT",
    "Int16": "SMALLINT",
}


@contextmanager
def lock(store: Path) -> Iterator[None]:
    """Hold the store for one run; a second run ends at once instead of waiting in line.

    Raises:
        StoreError: another run holds it, or the folder cannot be written.
        ConfigurationError: DuckDB cannot open a file under this path.
    """
    _duckdb_path(store)
    try:
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(store.with_name(f".{store.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the store's folder cannot be used ({error.strerror})", where=str(store.parent)) from None
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
def reading(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a published store.

    Raises:
        StoreError: no such file, not a store, damaged, held by a writer, or from another version of the program.
    """
    with _opened(store) as connection:
        version = _known_version(connection, store)
        if version < SCHEMA_VERSION:
            raise StoreError(
                f"was written by an older version (schema {version}, this program needs {SCHEMA_VERSION})",
                where=store.name,
                remedy="`neutro-screen migrate` or the next run brings it up to date and keeps a backup.",
            )
        try:
            yield connection
        except duckdb.Error as error:
            if not _is_damage(error):
                raise
            raise _damaged(store) from None


@contextmanager
def _opened(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not store.is_file():
        others = [path.name for path in store.parent.glob("*.duckdb")] if store.parent.is_dir() else []
        raise StoreError(
            "no such store",
            where=str(store),
            remedy=did_you_mean(store.name, others) + "`neutro-screen run` makes one.",
        )
    with _own_name(store) as path:
        try:
            connection = duckdb.connect(_duckdb_path(path), read_only=True, config=_CONFIG)
        except duckdb.Error as error:
            raise _why_not_open(error, store) from None
    with connection:
        _keep_quiet(connection)
        yield connection


def _duckdb_path(path: Path) -> str:
    """A path as DuckDB takes it: absolute, since ``~`` or ``sqlite:`` in front has a meaning of its own there.

    Raises:
        ConfigurationError: it holds ``?`` or ``\\``, which DuckDB takes for marks of its own wherever they stand.
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


def _quoted(path: Path) -> str:
    """A path as a text in SQL."""
    return "'" + _duckdb_path(path).replace("'", "''") + "'"


def _keep_quiet(connection: duckdb.DuckDBPyConnection) -> None:
    """Where a program has no file of its own DuckDB draws a bar on standard output after two seconds."""
    connection.execute("SET enable_progress_bar = false")


@contextmanager
def _own_name(store: Path) -> Iterator[Path]:
    """A second name for the file, for as long as it takes to open it.

    DuckDB hands a process that still holds an earlier connection to this path the earlier file again, even after the
    file was replaced: a notebook would screen against yesterday's store. Another name is another file to it.
    """
    name = store.with_name(f".{store.name}.{os.getpid()}.{next(_NAMES)}")
    try:
        os.link(store, name)
    except OSError:  # the folder is read-only for us: nobody here replaces the file either
        yield store
        return
    try:
        yield name
    finally:
        name.unlink()


_NAMES: Final = itertools.count()


def read_table(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """The rows of a query with bound parameters, severities and priorities as ordered Enums."""
    relation = connection.sql(query, params=dict(parameters) if parameters else None)
    frame: pl.DataFrame = relation.pl()
    return frame.with_columns(
        pl.col(name).cast(pl.String).cast(contract.Severity if kind == "severity" else contract.Priority)
        for name, kind in (
            (name, _enum_kind(type_)) for name, type_ in zip(relation.columns, relation.types, strict=True)
        )
        if kind
    )


def first_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()
) -> tuple[Any, ...] | None:
    """The first row of a query, or None. (A result that is not read to its end would block the connection.)"""
    rows = connection.execute(query, list(parameters)).fetchall()
    return rows[0] if rows else None


def _enum_kind(type_: Any) -> str | None:
    text = str(type_)
    if not text.startswith("ENUM"):
        return None
    return "severity" if "'profound'" in text else "priority"


@contextmanager
def publishing(store: Path, memory: int | None = None, *, anew: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a private copy of the store, in a transaction; on success it takes the store's place at once.

    Whatever happens before that moment leaves the published file as it was. A store of an older version is brought
    up to this one on the way, and the old file is kept (``backup_of``). ``memory`` bounds what DuckDB keeps in memory,
    in bytes; the rest waits in the private folder. With ``anew`` the rows that are left go into a new file, so that nothing
    deleted is in its bytes.

    Raises:
        PublishError: the copy could not be written or put in place.
        StoreError: the present store is damaged or from a newer version.
    """
    folder = next_folder(store)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        copy = folder / store.name
        version: int | None = None
        if store.exists():
            _copy_file(store, copy)
            connection = _attached(copy, store)
            version = _known_version(connection, store)
        else:
            connection = _attached(copy, store)
        with connection:
            connection.execute("SET temp_directory = ?", [str(folder)])
            if memory is not None:
                connection.execute("SET memory_limit = ?", [f"{max(memory, _LEAST_MEMORY) >> 20}MiB"])
            if version == SCHEMA_VERSION and not _is_scattered(connection):
                # Else DuckDB moves whole tables together at every checkpoint: seconds a night on a large store.
                connection.execute("SET max_vacuum_tasks = 0")
            connection.execute("BEGIN TRANSACTION")
            if version != SCHEMA_VERSION:
                _build(connection)
            yield connection
            _finish(connection)
        if anew:
            copy = _written_anew(copy, store)
        os.chmod(copy, 0o600)
        _synchronise(copy)
        if version is not None and version != SCHEMA_VERSION:
            _keep_backup(store, folder, version)
        # A log beside the file is of somebody who wrote into it; with the new file it would not open for anybody.
        log_of(store).unlink(missing_ok=True)
        os.replace(copy, store)
        _synchronise(store.parent)
    except duckdb.Error as error:
        if _is_damage(error):
            raise _damaged(store) from None
        if not isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
            raise
        raise _not_published(store, "the database could not be written") from None
    except OSError as error:
        raise _not_published(store, error.strerror or "the file could not be written") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _not_published(store: Path, reason: str) -> PublishError:
    return PublishError(f"could not be published ({reason})", where=store.name, remedy="The previous results stand.")


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
    if not store.exists():
        return False
    with reading(store) as connection:
        return first_row(connection, "SELECT 1 FROM run WHERE run_id = ?", [run_id]) is not None


def migrate(store: Path) -> Path | None:
    """Bring a store of an older version up to this one; the path of the backup, or None where nothing was to be done.

    Raises:
        StoreError, PublishError: as ``publishing``.
    """
    with _opened(store) as connection:
        version = _known_version(connection, store)
    if version == SCHEMA_VERSION:
        return None
    with publishing(store):
        pass
    return backup_of(store, version)


def backup_of(store: Path, version: int) -> Path:
    """Where the file is kept as it was before it was migrated from a version."""
    return store.with_name(f"{store.stem}.v{version}.backup{store.suffix}")


def backups_of(store: Path) -> list[Path]:
    """The files that were kept before migrations."""
    return sorted(store.parent.glob(f"{glob.escape(store.stem)}.v*.backup{glob.escape(store.suffix)}"))


def _written_anew(copy: Path, store: Path) -> Path:
    """A file with the same rows in the same order that was written from the first byte: nothing deleted is left in it."""
    fresh = copy.with_name("anew.duckdb")
    with _attached(fresh, store) as connection:
        _build(connection)
        connection.execute(f"ATTACH {_quoted(copy)} AS present (READ_ONLY)")
        connection.execute("BEGIN TRANSACTION")
        for table in TABLES:
            listed = ", ".join(f'"{name}"' for name in columns_of(table))
            connection.execute(f'INSERT INTO "{table}" ({listed}) SELECT {listed} FROM present."{table}"')
        _finish(connection)
    return fresh


def _is_scattered(connection: duckdb.DuckDBPyConnection) -> bool:
    """Deleted rows, or row groups that are far from full, have become too many: it is time to move tables together."""
    for table in ("anc", "flag", "evidence"):  # lab_result only grows; it is moved together with them
        column = next(iter(columns_of(table)))
        found = first_row(
            connection,
            f'SELECT (SELECT count(*) FROM "{table}"), coalesce(sum("count"), 0), count(DISTINCT row_group_id) '
            f"FROM pragma_storage_info('{table}') WHERE column_name = '{column}' AND segment_type <> 'VALIDITY'",
        )
        live, stored, groups = found or (0, 0, 0)
        if stored > _MOST_STORED * live or groups > 2 * (live // _ROW_GROUP + 1) + _SPARE_GROUPS:
            return True
    return False


#: DuckDB's own size of a full row group; and how many rows and groups more than needed are borne.
_ROW_GROUP: Final = 122_880
_MOST_STORED: Final = 1.25
_SPARE_GROUPS: Final = 16


def _finish(connection: duckdb.DuckDBPyConnection) -> None:
    """Commit, and leave the file complete in itself, without a log."""
    connection.execute("COMMIT")
    connection.execute("USE memory")
    connection.execute("CHECKPOINT store")
    connection.execute("DETACH store")


def _keep_backup(store: Path, folder: Path, version: int) -> None:
    """Keep the old file under the backup's name: the same bytes, no copy where the file system knows hard links."""
    kept = folder / "backup"
    try:
        os.link(store, kept)
    except OSError:
        _copy_file(store, kept)
        _synchronise(kept)
    os.chmod(kept, 0o600)
    os.replace(kept, backup_of(store, version))


def _attached(copy: Path, store: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config=_CONFIG)
    _keep_quiet(connection)
    try:
        connection.execute(f"ATTACH {_quoted(copy)} AS store (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute("USE store")
    except duckdb.Error as error:
        connection.close()
        raise _why_not_open(error, store) from None
    return connection


def attach(connection: duckdb.DuckDBPyConnection, store: Path, name: str) -> None:
    """Another store of this version beside the one being published, read-only, under a name, until it is published.

    Raises:
        StoreError: as ``reading``.
    """
    with reading(store):
        pass
    with _own_name(store) as path:
        connection.execute(f"ATTACH {_quoted(path)} AS {name} (READ_ONLY)")


def _copy_file(source: Path, target: Path) -> None:
    """Copy with the file system's own cloning where it has it (a few milliseconds whatever the size)."""
    with source.open("rb") as read, target.open("wb") as written:
        os.chmod(target, 0o600)
        try:
            fcntl.ioctl(written.fileno(), 0x40049409, read.fileno())  # FICLONE
        except OSError:
            shutil.copyfileobj(read, written, 16 << 20)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _known_version(connection: duckdb.DuckDBPyConnection, store: Path) -> int:
    """The schema version of an open store; one that this program can read or migrate."""
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
    if version == SCHEMA_VERSION and (departures := _departures(connection)):
        raise StoreError(
            f"has not the tables of its version (schema {version}): missing or of another type: {', '.join(departures[:5])}"
            + (f" and {len(departures) - 5} more" if departures[5:] else ""),
            where=store.name,
            remedy="An unreleased program or another tool has written it: restore the last backup, or screen the extracts "
            "into a new store.",
        )
    return int(version)


def _departures(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables and views of the contract that an open store lacks, and columns that it lacks or has with another type."""
    present = _present_columns(connection)
    enums = {
        name: "ENUM(" + ", ".join(f"'{word}'" for word in words) + ")"
        for name, words in (("severity", SEVERITIES), ("priority", PRIORITIES))
    }
    return [name for name in (*TABLES, *VIEWS) if name not in present] + [
        f"{table}.{column}"
        for table in TABLES
        if table in present
        for column, type_ in columns_of(table).items()
        if present[table].get(column) != enums.get(type_, type_)
    ]


def _why_not_open(error: duckdb.Error, store: Path) -> StoreError:
    text = str(error)
    if "lock" in text.lower():
        return StoreError("another program is writing to the store", where=store.name, remedy="Close it and try again.")
    return _damaged(store)


def _damaged(store: Path) -> StoreError:
    return StoreError(
        "is damaged, or no DuckDB file", where=store.name, remedy="Run `neutro-screen doctor`; restore the last backup."
    )


def _is_damage(error: duckdb.Error) -> bool:
    """DuckDB says so in words only: a checksum that does not fit, a block that cannot be read."""
    text = str(error)
    return isinstance(error, duckdb.FatalException | duckdb.SerializationException) or any(
        word in text for word in ("Corrupt", "checksum", "Could not read", "Failed to load metadata")
    )


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> Iterator[None]:
    """The frame as a view of the connection, for as long as it is needed."""
    connection.register(name, frame)
    try:
        yield
    finally:
        connection.unregister(name)


def insert(connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> None:
    """Append a frame; its columns are the table's, or some of them."""
    if not frame.height:
        return
    known = columns_of(table)
    names = [name for name in frame.columns if name in known]
    listed = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f'CAST("{name}" AS {known[name]})' for name in names)
    # Found by its name in this function: a registered view would hold the frame until the transaction ends.
    incoming = frame.select(names)  # noqa: F841
    connection.execute(f'INSERT INTO "{table}" ({listed}) SELECT {values} FROM incoming')


def delete_patients(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str], patients: pl.DataFrame, only: str = "TRUE"
) -> None:
    """Delete the rows of some patients (patient_id) from some tables; ``only`` is a condition of this program."""
    with registered(connection, "touched", patients.select("patient_id").unique()):
        for table in tables:
            connection.execute(f'DELETE FROM "{table}" WHERE patient_id IN (SELECT patient_id FROM touched) AND {only}')


def delete_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    """Delete the rows of a table that equal one of ``rows`` in all columns of ``rows``; null equals null."""
    if not rows.height:
        return
    is_same = " AND ".join(f'"{table}"."{name}" IS NOT DISTINCT FROM leaving."{name}"' for name in rows.columns)
    with registered(connection, "leaving", rows):
        connection.execute(f'DELETE FROM "{table}" USING leaving WHERE {is_same}')


def current_worklist(
    connection: duckdb.DuckDBPyConnection, at_least: str | None = None, only_new: bool = False
) -> pl.DataFrame:
    """The open rows of the latest run in order (view ``worklist``)."""
    return read_table(
        connection,
        "SELECT * FROM worklist w WHERE priority >= CAST($least AS priority) AND (NOT $only_new OR change = 'new') "
        f"ORDER BY {WORKLIST_ORDER}",
        {"least": at_least or PRIORITIES[0], "only_new": only_new},
    )


def record_review(
    store: Path, patient_id: str, status: str, *, until: date | None, note: str | None, by: str | None, at: datetime
) -> None:
    """Append a reviewer's decision, with what the patient looked like when it was taken.

    Raises:
        ConfigurationError: the store does not know the patient.
        StoreError, PublishError: as ``publishing``.
    """
    with reading(store) as connection:
        known = read_table(
            connection,
            "SELECT max(w.priority) AS priority, any_value(s.nadir_cells_per_ul) AS nadir FROM patient_summary s "
            f"LEFT JOIN worklist_row w ON w.patient_id = s.patient_id AND w.run_id = ({LATEST_RUN}) "
            "WHERE s.patient_id = $patient GROUP BY s.patient_id",
            {"patient": patient_id},
        ).to_dicts()
        merged = first_row(connection, "SELECT count(*) FROM patient_merge WHERE patient_id = ?", [patient_id])
    if merged and merged[0]:
        raise ConfigurationError(
            "this record was merged into another one", remedy="`neutro-screen explain` names it; review that one."
        )
    if not known:
        raise ConfigurationError("the store holds no such patient", remedy="Check the identifier; leading zeros count.")
    with publishing(store) as connection:
        connection.execute(
            'INSERT INTO review (patient_id, status, until, note, "by", "at", priority, nadir_cells_per_ul) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [patient_id, status, until, note, by, at, known[0]["priority"], known[0]["nadir"]],
        )
        audit(connection, at=at, action="review", by=by, patient_id=patient_id, counts={status: 1})


def audit(
    connection: duckdb.DuckDBPyConnection,
    *,
    at: datetime,
    action: str,
    by: str | None,
    counts: Mapping[str, int],
    patient_id: str | None = None,
) -> None:
    """Write down what is being done; of a patient only the hash of the identifier is kept."""
    subject = None if patient_id is None else hashlib.sha256(patient_id.encode()).hexdigest()
    connection.execute(
        'INSERT INTO audit ("at", action, "by", subject_sha256, counts) VALUES (?, ?, ?, ?, ?)',
        [at, action, by or user_name(), subject, json.dumps(dict(counts), sort_keys=True)],
    )


def user_name() -> str | None:
    """The user of the machine; None where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _build(connection: duckdb.DuckDBPyConnection) -> None:
    """Make whatever of the contract is missing: all of it in a new file, what later versions added in an older one.

    Columns that an older version did not have are null in its rows until their patients are screened again.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER)")
    for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
        connection.execute(f'DROP VIEW "{view}"')
    _build_types(connection)
    present = _present_columns(connection)
    for table, model in TABLES.items():
        wanted = columns_of(table)
        if table not in present:
            listed = ", ".join(f'"{name}" {type_}' for name, type_ in wanted.items())
            connection.execute(f'CREATE TABLE "{table}" ({listed})')
        for name in wanted.keys() - present.get(table, wanted).keys():
            connection.execute(f'ALTER TABLE "{table}" ADD COLUMN "{name}" {wanted[name]}')
        _build_comments(connection, table, model)
    for name, (query, summary) in VIEWS.items():
        connection.execute(f'CREATE VIEW "{name}" AS {query}')
        _comment(connection, f'VIEW "{name}"', summary)
        _build_view_comments(connection, name)
    connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])


def _build_types(connection: duckdb.DuckDBPyConnection) -> None:
    """The two ENUMs with the contract's words; columns of an older one are carried over by their words."""
    for type_, words in (("severity", SEVERITIES), ("priority", PRIORITIES)):
        found = connection.execute(
            "SELECT labels FROM duckdb_types() WHERE type_name = ? AND NOT internal", [type_]
        ).fetchall()
        if found and tuple(found[0][0]) == words:
            continue
        carried = [
            (table, name)
            for table, columns in _present_columns(connection).items()
            for name in columns
            if table in TABLES and columns_of(table).get(name) == type_
        ]
        for table, name in carried:
            connection.execute(f'ALTER TABLE "{table}" ALTER "{name}" TYPE VARCHAR')
        connection.execute(f"DROP TYPE IF EXISTS {type_}")
        connection.execute(f"CREATE TYPE {type_} AS ENUM (" + ", ".join(f"'{word}'" for word in words) + ")")
        for table, name in carried:
            connection.execute(f'ALTER TABLE "{table}" ALTER "{name}" TYPE {type_}')


def _present_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Table -> column -> SQL type, as they are in the file."""
    columns: dict[str, dict[str, str]] = {}
    for table, name, type_ in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
    ).fetchall():
        columns.setdefault(table, {})[name] = type_
    return columns


def _build_comments(connection: duckdb.DuckDBPyConnection, table: str, model: Any) -> None:
    summary = INTERNAL_COMMENTS.get(table) or (model.__doc__ or "").strip().splitlines()[0]
    _comment(connection, f'TABLE "{table}"', summary)
    for name, column in model.to_schema().columns.items():
        _comment(connection, f'COLUMN "{table}"."{name}"', _described(column))
    if table in RECEIVED:
        what = "Run that first raised the flag." if table == "flag" else "Run that brought the row."
        _comment(connection, f'COLUMN "{table}"."run_id"', what)


def _build_view_comments(connection: duckdb.DuckDBPyConnection, view: str) -> None:
    """A comment on every column: that of the view's own list, else that of the table's column of this name."""
    own = view_columns()
    for (name,) in connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND NOT internal", [view]
    ).fetchall():
        found = own.get((view, name)) or own.get(("*", name)) or _table_columns().get(name)
        if found is None:
            raise ReferenceDataError(f"column {view}.{name} has no comment", where="view_columns.csv")
        _comment(connection, f'COLUMN "{view}"."{name}"', found)


@cache
def _table_columns() -> dict[str, str]:
    """Column name -> its description in the first table that has it."""
    described: dict[str, str] = {"run_id": "Run."}
    for model in TABLES.values():
        for name, column in model.to_schema().columns.items():
            described.setdefault(name, _described(column))
    return described


def _described(column: Any) -> str:
    """The column's description; with a warning where a comparison would silently go wrong.

    DuckDB sorts an ENUM in its own order but compares it with a bare text alphabetically, where 'profound' is less
    than 'severe' (tried with 2.0.0): the sickest patients would be missing from ``severity >= 'severe'``.
    """
    if not isinstance(column.dtype.type, pl.Enum):
        return str(column.description)
    name = _sql_type(column.dtype.type)
    example = "severe" if name == "severity" else "high"
    return f"{column.description} Compare as {column.name} >= '{example}'::{name}, never with a bare text."


def _comment(connection: duckdb.DuckDBPyConnection, thing: str, text: str) -> None:
    quoted = text.replace("'", "''")
    connection.execute(f"COMMENT ON {thing} IS '{quoted}'")

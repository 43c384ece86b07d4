"""Rows of an open store as polars frames: reading, inserting, deleting."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

import neutro_schemas as contract
from neutro_screen.store.schema import columns_of


def read_table(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object] | None = None
) -> pl.DataFrame:
    """The rows of a query with bound parameters, severities and priorities as ordered Enums."""
    relation = connection.sql(query, params=dict(parameters) if parameters else None)
    frame: pl.DataFrame = relation.pl()
    ranked = [
        pl.col(name).cast(pl.String).cast(contract.Severity if kind == "severity" else contract.Priority)
        for name, kind in (
            (name, _enum_kind(type_)) for name, type_ in zip(relation.columns, relation.types, strict=True)
        )
        if kind
    ]
    return frame.with_columns(ranked) if ranked else frame


def first_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] = ()
) -> tuple[Any, ...] | None:
    """The first row of a query, or None. (A result that is not read to its end would block the connection.)"""
    rows = connection.execute(query, list(parameters)).fetchall()
    return rows[0] if rows else None


def size_of(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int]:
    """How many rows a table has, and the place (rowid) behind the last; at least as many places as rows, so few are looked at."""
    (rows,) = first_row(connection, f'SELECT count(*) FROM "{table}"') or (0,)
    last = f'SELECT coalesce(max(rowid) + 1, 0) FROM "{table}" WHERE rowid >= {rows - 1}'
    (end,) = first_row(connection, last) or (0,)
    return rows, end


def _enum_kind(type_: object) -> str | None:
    text = str(type_)
    if not text.startswith("ENUM"):
        return None
    return "severity" if "'profound'" in text else "priority"


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> Iterator[None]:
    """The frame as a view of the connection, for as long as it is needed."""
    connection.register(name, frame)
    try:
        yield
    finally:
        connection.unregister(name)


def insert(connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame | duckdb.DuckDBPyRelation) -> None:
    """Append a frame, or a relation of the connection; its columns are the table's, or some of them."""
    if isinstance(frame, pl.DataFrame) and not frame.height:
        return
    known = columns_of(table)
    names = [name for name in frame.columns if name in known]
    listed = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f'CAST("{name}" AS {known[name]})' for name in names)
    # polars' own kind of text is read by DuckDB as it is; of the older kind a copy would be made first.
    newest = pl.CompatLevel.newest()
    # Found by its name in this function: a registered view would hold the frame until the transaction ends.
    incoming = frame.select(names).to_arrow(compat_level=newest) if isinstance(frame, pl.DataFrame) else frame  # noqa: F841
    connection.execute(f'INSERT INTO "{table}" ({listed}) SELECT {values} FROM incoming')


@contextmanager
def parquet_rows(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[duckdb.DuckDBPyRelation]:
    """The rows of a Parquet file, read by DuckDB itself, a few at a time.

    DuckDB reads every name as a glob, ``\\`` as a separator and ``key=value`` folders as columns. An open descriptor has a
    name of digits only; whoever opens it reads from the start of the same file.
    """
    with path.open("rb") as file:
        yield connection.read_parquet(f"/dev/fd/{file.fileno()}", hive_partitioning=False)


def is_of(patients: str, table: str) -> str:
    """The condition that a row of a table is of one of the patients (patient_id) of a view.

    The places of their rows are found first, so that the other columns are read only where such rows are.
    """
    return f"(rowid IN ({places_of(patients, table)}) AND patient_id IN (SELECT patient_id FROM {patients}))"


def places_of(patients: str, table: str) -> str:
    """The query for the places (rowid) of the rows of the patients of a view, and of names with the same number by chance.

    They are looked for by numbers, of which DuckDB makes one for each name of a block and not for each row.
    """
    return f'SELECT rowid FROM "{table}" WHERE hash(patient_id) IN (SELECT hash(patient_id) FROM {patients})'


def delete_patients(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str], patients: pl.DataFrame, only: str = "TRUE"
) -> None:
    """Delete the rows of some patients (patient_id) from some tables; ``only`` is a condition of this program."""
    with registered(connection, "touched", patients.select("patient_id").unique()):
        for table in tables:
            connection.execute(f'DELETE FROM "{table}" WHERE {is_of("touched", table)} AND {only}')


def delete_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Delete the rows of a table that equal one of ``rows`` in all columns of ``rows``; null equals null.

    ``rows`` name their patients. Returns what DuckDB has deleted: the patient (patient_id) of each row.
    """
    if not rows.height:
        return rows.select("patient_id").clear()
    is_same = " AND ".join(f'stored."{name}" IS NOT DISTINCT FROM leaving."{name}"' for name in rows.columns)
    candidates = f'SELECT rowid AS place, * FROM "{table}" WHERE {is_of("leaving", table)}'
    with registered(connection, "leaving", rows):
        return read_table(
            connection,
            f'DELETE FROM "{table}" WHERE rowid IN (SELECT place FROM ({candidates}) stored JOIN leaving ON {is_same}) '
            "RETURNING patient_id",
        )

"""Rows of an open store as polars frames: reading, inserting, deleting."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

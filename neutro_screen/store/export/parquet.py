"""Every table and view as Parquet, for tools that do not read DuckDB."""

from typing import Final

import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from neutro_screen.store.export.place import Place
from neutro_screen.store.schema import TABLES
from neutro_screen.store.views import VIEWS

_ROWS_AT_ONCE: Final = 1 << 17


def write_parquet(connection: DuckDBPyConnection, place: Place) -> None:
    """One file a table and view, its rows in one order."""
    for name in (*TABLES, *VIEWS):
        write_query(connection, place, f'SELECT * FROM "{name}" ORDER BY ALL', name, entry=name)


def write_query(
    connection: DuckDBPyConnection, place: Place, query: str, name: str, *, entry: str | None = None
) -> None:
    """The rows of a query as the file ``name.parquet``, a piece at a time."""
    batches = connection.sql(query).to_arrow_reader(_ROWS_AT_ONCE)
    with (
        place.file(f"{name}.parquet", entry) as (file, about),
        pq.ParquetWriter(file, batches.schema, compression="zstd") as writer,
    ):
        for batch in batches:
            about["rows"] += batch.num_rows
            writer.write_batch(batch)

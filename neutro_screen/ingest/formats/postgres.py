"""OMOP in PostgreSQL: its tables are copied to Parquet files in a private folder, which is then read like any other.

One read-only transaction sees one state of the database; rows come in the order of the table's own id, so that their
numbers mean something. Read by ADBC, the extra ``postgres``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from neutro_screen.errors import ConfigurationError, UnreadableInputError, extra
from neutro_screen.ingest.formats.omop import KINDS_OF_TABLES, TABLES
from neutro_screen.ingest.frames import Kind
from neutro_screen.private import private_folder

ADDRESSES: Final = ("postgresql://", "postgres://")
_PLACE: Final = """
    SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE lower(table_name) = $1
    AND table_schema NOT IN ('pg_catalog', 'information_schema')
    ORDER BY coalesce(array_position(current_schemas(false), table_schema::name), 1000), table_schema, ordinal_position
"""


@contextmanager
def local_copies(
    paths: Mapping[Kind, Sequence[str]], format_name: str | None
) -> Iterator[Mapping[Kind, Sequence[str]]]:
    """The paths with a folder in place of every PostgreSQL address; the folders are gone afterwards.

    An address may hold a password: it is never repeated.

    Raises:
        ConfigurationError: the driver is not installed, or the format is another than omop.
        UnreadableInputError: the database cannot be read, or has no table of OMOP.
    """
    addresses = dict.fromkeys(
        path for listed in paths.values() for path in listed if path.lower().startswith(ADDRESSES)
    )
    if addresses and format_name not in (None, "omop"):
        raise ConfigurationError("from PostgreSQL only OMOP is read", remedy="Use --format omop.")
    with private_folder() if addresses else nullcontext(Path()) as folder:
        copies = {}
        for number, address in enumerate(addresses, start=1):
            copy = folder / f"postgresql-{number}"
            copy.mkdir(mode=0o700)
            _copy(address, copy)
            copies[address] = str(copy)
        yield {kind: [copies.get(path, path) for path in listed] for kind, listed in paths.items()}


def _copy(address: str, folder: Path) -> None:
    try:
        import adbc_driver_postgresql.dbapi as postgresql
    except ImportError:
        raise ConfigurationError("PostgreSQL needs its ADBC driver", remedy=extra("postgres")) from None
    try:
        with postgresql.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            places = {name: place for name in TABLES if (place := _place(cursor, name)) is not None}
            for name in places:
                _copy_table(cursor, name, places, folder / f"{name}.parquet")
    except (postgresql.Error, pa.ArrowException, OSError) as error:
        raise UnreadableInputError(
            f"the PostgreSQL database cannot be read{_why(error)}",
            remedy="Check the address, the server and the rights of the user.",
        ) from None
    if not places:
        raise UnreadableInputError(
            "the PostgreSQL database has no table of OMOP", remedy="Name its schema: ?options=-csearch_path%3Dcdm"
        )


def _place(cursor: Any, name: str) -> tuple[str, list[str]] | None:
    """The quoted name of a table, of the first schema of the search path that has it, and its columns that are read."""
    cursor.execute(_PLACE, (name,))
    found = cursor.fetchall()
    if not found:
        return None
    schema, table = found[0][:2]
    wanted = {*TABLES[name][0], *TABLES[name][1], f"{name}_id"}
    columns = [row[2] for row in found if row[:2] == (schema, table) and row[2].lower() in wanted]
    return f"{_quoted(schema)}.{_quoted(table)}", columns


def _copy_table(cursor: Any, name: str, places: Mapping[str, tuple[str, list[str]]], path: Path) -> None:
    import pyarrow.parquet as pq  # see ``formats.parquet``

    place, columns = places[name]
    listed = ", ".join(f"CAST({_quoted(column)} AS text) AS {_quoted(column)}" for column in columns) or "1"
    own = [_quoted(column) for column in columns if column.lower() == f"{name}_id"]
    order = ", ".join(f"{place}.{column}" for column in own or map(_quoted, columns)) or "1"
    where = _used_concepts(own[0], places) if name == "concept" and own else ""
    cursor.execute(f"SELECT {listed} FROM {place} {where} ORDER BY {order}")
    batches = cursor.fetch_record_batch()
    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _used_concepts(own: str, places: Mapping[str, tuple[str, list[str]]]) -> str:
    """A clause for the concepts that some table names: a vocabulary has millions that none does."""
    named = [
        f"SELECT CAST({_quoted(column)} AS text) FROM {places[name][0]}"
        for name in KINDS_OF_TABLES
        if name in places
        for column in places[name][1]
        if column.lower().endswith("concept_id")
    ]
    return f"WHERE CAST({own} AS text) IN ({' UNION '.join(named)})" if named else ""


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _why(error: Exception) -> str:
    """The SQLSTATE of an error; its text can hold the address."""
    state = getattr(error, "sqlstate", None)
    return f" (SQLSTATE {state})" if state else ""

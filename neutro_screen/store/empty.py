"""The file of a store without rows: made once an installation, because 800 comments take DuckDB a fifth of a second."""

from functools import cache
from pathlib import Path
from typing import Final

import duckdb

import neutro_schemas
from neutro_screen.made_once import keep, kept
from neutro_screen.private import private_file
from neutro_screen.store import schema
from neutro_screen.store.connect import STORAGE_VERSION, attached, complete
from neutro_screen.store.views import VIEWS, view_columns

_NAME: Final = "empty.duckdb"


def write_empty_store(path: Path, store: Path) -> None:
    """Write a new file with the tables, views and comments of this version; messages name the store.

    Raises:
        ReferenceDataError: a column of a view has no comment.
        OSError, duckdb.Error: the file cannot be written.
    """
    found = kept(_NAME, _origin())
    if found is not None:
        with private_file(path) as file:
            file.write(found)
        return
    with attached(path, store) as connection:
        connection.execute("BEGIN TRANSACTION")
        schema.build(connection)
        complete(connection)
    keep(_NAME, _origin(), path.read_bytes())


@cache
def _origin() -> bytes:
    """What the file is made from: contracts, views, comments, and how and by which DuckDB they are written."""
    contracts = sorted(Path(str(neutro_schemas.__file__)).parent.glob("*.py"))
    written = repr((duckdb.__version__, STORAGE_VERSION, VIEWS, view_columns()))
    return b"".join([written.encode(), *map(Path.read_bytes, [Path(schema.__file__), *contracts])])

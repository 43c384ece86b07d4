"""The store's tables, columns, types and views as text, one file a schema version: ``schema_v2.txt``.

``python -m tests.store.schema`` writes the file of the present version.
"""

import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from neutro_screen.store.file import publishing, reading
from neutro_screen.store.rows import read_table
from neutro_screen.store.schema import SCHEMA_VERSION
from neutro_screen.store.views import VIEWS

FOLDER: Final = Path(__file__).parent

#: Files of versions that stores in use have, with their SHA-256: these never change again.
RELEASED: Final = {
    "schema_v1.sql": "efb690f1015c9af31a3d0177722e7f96d41f759238f055f33d907a9b3d30bc33",
    "schema_v2.txt": "033abb21a3c5790d5d97b2f3e864fc816db2d490772e33f275dd3400af8d6c27",
}


def recorded(version: int = SCHEMA_VERSION) -> Path:
    """The file of a version."""
    return FOLDER / f"schema_v{version}.txt"


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's text."""
    return _sha256(path.read_text("utf-8"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def schema_of(store: Path) -> list[str]:
    """One line a column of a table or view with its type (an ENUM with its words), and one a view with its query's hash."""
    with reading(store) as connection:
        columns = read_table(
            connection, "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        )
    queries = [f"view {name}: {_sha256(' '.join(query.split()))}" for name, (query, _) in VIEWS.items()]
    return sorted([*(f"{table}.{column} {type_}" for table, column, type_ in columns.iter_rows()), *queries])


def present_schema() -> list[str]:
    """The schema of a store that this revision makes anew."""
    with TemporaryDirectory() as folder:
        store = Path(folder) / "s.duckdb"
        with publishing(store):
            pass
        return schema_of(store)


if __name__ == "__main__":
    if recorded().name in RELEASED:
        sys.exit(f"Version {SCHEMA_VERSION} is released: raise SCHEMA_VERSION, then record the new version.")
    recorded().write_text("\n".join(present_schema()) + "\n", "utf-8")

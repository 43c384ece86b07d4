"""A store of an older version: brought up to date on the way, with the old file kept; a newer one is left alone."""

import stat
from pathlib import Path

import duckdb
import pytest

from neutro_screen.cli.app import app
from neutro_screen.errors import StoreError
from neutro_screen.store.connect import STORAGE_VERSION
from neutro_screen.store.file import backup_of, migrate, publishing, reading
from neutro_screen.store.schema import SCHEMA_VERSION, SCREENED, TABLES, columns_of
from tests.nights import night, table

_SCHEMA_1 = (Path(__file__).parent / "schema_v1.sql").read_text("utf-8")


def old_store(store: Path, schema: str = _SCHEMA_1) -> None:
    """The sample hospital in a store of schema 1; words that the schema does not know are null."""
    night(store.with_name("new.duckdb"))
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store}' AS old (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute("USE old")
        connection.execute(schema)
        connection.execute(f"ATTACH '{store.with_name('new.duckdb')}' AS new (READ_ONLY)")
        tables = connection.execute(
            "SELECT table_name, list(column_name), list(data_type) FROM duckdb_columns() WHERE database_name = 'old' "
            "AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE database_name = 'old') GROUP BY table_name"
        ).fetchall()
        for name, columns, types in tables:
            if name != "schema_version":
                listed = ", ".join(f'"{column}"' for column in columns)
                values = ", ".join(
                    f'TRY_CAST("{column}"::VARCHAR AS {type_})' if type_.startswith("ENUM") else f'"{column}"'
                    for column, type_ in zip(columns, types, strict=True)
                )
                connection.execute(f'INSERT INTO "{name}" ({listed}) SELECT {values} FROM new."{name}"')


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of schema 1."""
    store = tmp_path / "s.duckdb"
    old_store(store)
    return store


def test_the_next_run_migrates_screens_everybody_and_keeps_the_old_file(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    old.chmod(0o644)
    summary = night(old, as_of="2026-11-23T02:00:00")
    assert summary.everybody_because is not None
    assert "new version" in summary.everybody_because
    backup = backup_of(old, 1)
    assert backup.name == "s.v1.backup.duckdb"
    assert backup.read_bytes() == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in (old, backup)} == {0o600}
    night(tmp_path / "fresh.duckdb")
    night(tmp_path / "fresh.duckdb", as_of="2026-11-23T02:00:00")
    for name in SCREENED:
        assert _by_name(old, name) == _by_name(tmp_path / "fresh.duckdb", name), name
    results = [table(store, "lab_result", "result_id") for store in (old, tmp_path / "fresh.duckdb")]
    assert results[0] == results[1]
    with reading(old) as connection:
        versions = connection.execute("SELECT version FROM schema_version ORDER BY version").fetchall()
        columns = {name: connection.sql(f'SELECT * FROM "{name}"').columns for name in TABLES}
        uncommented = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL AND NOT internal "
            "AND table_name IN (SELECT table_name FROM duckdb_tables()) AND table_name <> 'schema_version'"
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM worklist").fetchall()[0][0] > 0
    assert versions == [(1,), (SCHEMA_VERSION,)]
    assert {name: set(names) for name, names in columns.items()} == {name: set(columns_of(name)) for name in TABLES}
    assert uncommented == []


def test_a_reader_is_told_what_to_do_and_may_read_after_migrating(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoreError, match=r"older version.*`neutro-screen migrate`"), reading(old):
        pass
    app(["migrate", "--store", str(old)], result_action="return_value")
    assert "s.v1.backup.duckdb" in capsys.readouterr().out
    with reading(old) as connection:
        assert connection.execute("SELECT count(*) FROM worklist").fetchall()[0][0] > 0
    assert migrate(old) is None


def test_a_migration_that_fails_leaves_the_old_store_and_no_backup(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(RuntimeError, match="power cut"), publishing(old):
        raise RuntimeError("power cut")
    assert old.read_bytes() == before
    assert [path.name for path in old.parent.iterdir() if "backup" in path.name] == []


def test_an_older_enumeration_takes_the_words_of_this_version(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    old_store(store, _SCHEMA_1.replace(", 'profound'", ""))
    by_severity = "SELECT severity::VARCHAR, count(*) FROM anc GROUP BY ALL ORDER BY ALL"
    with duckdb.connect(str(store)) as connection:
        kept = connection.execute(by_severity).fetchall()
        assert "profound" not in str(kept)
    migrate(store)
    with reading(store) as connection:
        assert connection.execute(by_severity).fetchall() == kept
        assert connection.execute("SELECT 'profound'::severity > 'severe'::severity").fetchall() == [(True,)]


def _by_name(store: Path, name: str) -> list[tuple[object, ...]]:
    """The rows of a table with its columns in the order of their names: added columns stand last in a migrated one."""
    listed = ", ".join(f'"{column}"' for column in sorted(columns_of(name)))
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(f'SELECT {listed} FROM "{name}" ORDER BY ALL').fetchall()

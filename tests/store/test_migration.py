"""A store of an older version: brought up to date on the way, with the old file kept; a newer one is left alone."""

import shutil
import stat
from pathlib import Path

import duckdb
import pytest

from neutro_screen.cli.app import app
from neutro_screen.errors import StoreError
from neutro_screen.store.connect import STORAGE_VERSION
from neutro_screen.store.file import backup_of, backups_of, migrate, publishing, reading
from neutro_screen.store.schema import SCHEMA_VERSION, SCREENED, TABLES, columns_of
from tests.nights import night, screened_sample, table

_SCHEMA_1 = (Path(__file__).parent / "schema_v1.sql").read_text("utf-8")


def old_store(store: Path, schema: str = _SCHEMA_1) -> None:
    """The sample hospital in a store of schema 1; words that the schema does not know are null."""
    if not store.with_name("new.duckdb").exists():
        screened_sample(store.with_name("new.duckdb"))
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
            present = "worklist_entry" if name == "worklist_row" else name  # a view since version 3
            if present in TABLES:
                shared = [pair for pair in zip(columns, types, strict=True) if pair[0] in columns_of(present)]
                listed = ", ".join(f'"{column}"' for column, _ in shared)
                values = ", ".join(
                    f'TRY_CAST("{column}"::VARCHAR AS {type_})' if type_.startswith("ENUM") else f'"{column}"'
                    for column, type_ in shared
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
    screened_sample(tmp_path / "fresh.duckdb")
    night(tmp_path / "fresh.duckdb", as_of="2026-11-23T02:00:00")
    assert_screened_alike(old, concluded(tmp_path / "fresh.duckdb"))
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


SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("*.sql"))


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital in a store of this version, and after another night in which everybody is screened again."""
    folder = tmp_path_factory.mktemp("present")
    screened_sample(folder / "new.duckdb")
    shutil.copy(folder / "new.duckdb", folder / "next.duckdb")
    night(folder / "next.duckdb", as_of="2026-11-23T02:00:00", rescreen_all=True)
    return folder


@pytest.fixture(scope="module")
def afterwards(present: Path) -> dict[str, list[tuple[object, ...]]]:
    """What is concluded in that other night."""
    return concluded(present / "next.duckdb")


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_a_store_of_every_schema_that_ever_was_is_migrated_and_screened(
    tmp_path: Path, present: Path, afterwards: dict[str, list[tuple[object, ...]]], schema: Path
) -> None:
    store, version = tmp_path / "s.duckdb", int(schema.stem[1])
    shutil.copy(present / "new.duckdb", tmp_path / "new.duckdb")
    old_store(store, schema.read_text("utf-8"))
    if "schema_version BIGINT" in schema.read_text("utf-8"):
        with duckdb.connect(str(store)) as connection:
            connection.execute("UPDATE run SET schema_version = ?", [version])
    before = store.read_bytes()
    summary = night(store, as_of="2026-11-23T02:00:00")
    assert summary.everybody_because is not None
    assert backup_of(store, version).read_bytes() == before
    assert_screened_alike(store, afterwards)
    with reading(store) as connection:
        assert connection.execute("SELECT count(*) FROM worklist").fetchall()[0][0] > 0
        migrations = connection.execute("SELECT counts FROM audit WHERE action = 'migrate'").fetchall()
    assert migrations == [(f'{{"from": {version}, "to": {SCHEMA_VERSION}}}',)]
    if schema in (SCHEMAS[0], SCHEMAS[-1]):  # the store is now that of every other
        night(store, as_of="2026-11-24T02:00:00")


def concluded(store: Path) -> dict[str, list[tuple[object, ...]]]:
    """The screened tables by their columns' names (migrated ones have the newer columns last), without the run of a flag."""
    columns = {name: ", ".join(f'"{column}"' for column in columns_of(name) if column != "run_id") for name in SCREENED}
    with duckdb.connect(str(store), read_only=True) as connection:
        return {
            name: connection.execute(f'SELECT {chosen} FROM "{name}" ORDER BY ALL').fetchall()
            for name, chosen in columns.items()
        }


def assert_screened_alike(store: Path, expected: dict[str, list[tuple[object, ...]]]) -> None:
    """The screened tables of a store are those of another."""
    for name, rows in concluded(store).items():
        assert rows == expected[name], name


def test_rows_of_an_older_store_with_a_date_that_cannot_be_are_refused_and_stop_nobody(tmp_path: Path) -> None:
    """Version 1 stored year 0 and 9999: from then on there was no report for anybody."""
    store, labs = tmp_path / "s.duckdb", tmp_path / "labs.csv"
    header = "patient_id,specimen_id,collected_at,loinc,value,unit\n"
    rows = [("A", "S1", "0.05"), ("B", "S2", "3.0"), ("B", "S3", "0.9"), ("C", "S4", "2.0")]
    lines = [f"{patient},{specimen},2026-11-21 08:00,751-8,{value},10*9/L\n" for patient, specimen, value in rows]
    labs.write_text(header + "".join(lines), "utf-8")
    night(store, labs)
    with duckdb.connect(str(store)) as connection:
        for table_name in ("lab_result", "anc"):
            times = "collected_at = TIMESTAMP '0000-01-01 00:00:00' WHERE specimen_id IN ('S2', 'S4')"
            connection.execute(f"UPDATE {table_name} SET {times}")
        connection.execute("UPDATE medication SET end_date = DATE '9999-12-31' WHERE end_date IS NOT NULL")
        connection.execute("UPDATE schema_version SET version = 2")
    summary = night(store, labs, as_of="2026-11-23T02:00:00", reports=tmp_path / "reports")
    assert summary.account.accepted == 2, "the same rows with the dates that they have"
    assert (tmp_path / "reports" / "report.html").exists()
    with reading(store) as connection:
        refused = connection.execute(
            "SELECT patient_id, specimen_id, reason, \"column\" FROM rejected_row WHERE kind = 'lab' ORDER BY ALL"
        ).fetchall()
        listed = connection.execute(
            "SELECT patient_id FROM patient_summary WHERE patient_id < 'D' ORDER BY ALL"
        ).fetchall()
        last = connection.execute("SELECT max(end_date) < DATE '2030-01-01' FROM medication").fetchall()
    assert refused == [("B", "S2", "impossible_time", "collected_at"), ("C", "S4", "impossible_time", "collected_at")]
    assert listed == [("A",), ("B",), ("C",)]
    assert last == [(True,)]


def test_a_second_migration_keeps_the_backup_of_the_first(tmp_path: Path, present: Path) -> None:
    store = tmp_path / "s.duckdb"
    shutil.copy(present / "new.duckdb", tmp_path / "new.duckdb")
    contents = []
    for number in range(3):
        store.unlink(missing_ok=True)
        old_store(store)
        if number < 2:  # the third time the same file as the second
            with duckdb.connect(str(store)) as connection:
                connection.execute("UPDATE run SET status = ?", [f"of attempt {number}"])
            contents.append(store.read_bytes())
        else:
            store.write_bytes(contents[1])
        assert migrate(store) == backup_of(store, 1, min(number, 1) + 1)
    assert [path.name for path in backups_of(store)] == ["s.v1-2.backup.duckdb", "s.v1.backup.duckdb"]
    assert [backup_of(store, 1, number).read_bytes() for number in (1, 2)] == contents

"""OMOP from a PostgreSQL server: the same as from a folder of the same tables."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi as postgresql
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest import ingest
from tests.formats import hospital_files as files


def _program(name: str) -> str | None:
    """Debian keeps the server's programs out of the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(installed[0]) if installed else None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of its own, on a socket in a folder of its own; it refuses to run as root."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="neutro-pg-"))
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        shutil.chown(folder, user)
    data = str(folder / "data")
    subprocess.run(
        [initdb, "-D", data, "-A", "trust", "-U", "screener", "--no-sync"],
        user=user,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    running = subprocess.Popen(
        [postgres, "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"],
        user=user,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"postgresql:///postgres?host={folder}&user=screener"
    try:
        _wait_for(address)
        yield address
    finally:
        running.terminate()
        running.wait(120)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str) -> None:
    for _ in range(1_000):
        try:
            postgresql.connect(address).close()
        except postgresql.Error:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server does not answer")


def fill(address: str, schema: str, tables: dict[str, pl.DataFrame]) -> None:
    with postgresql.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        for name, table in tables.items():
            content = table.to_arrow(compat_level=pl.CompatLevel.oldest())
            cursor.adbc_ingest(name, content, db_schema_name=schema, mode="create")
        connection.commit()


def test_the_same_as_from_a_folder(server: str, tmp_path: Path) -> None:
    of = files.hospital(finals_only=True)
    tables = files.omop_tables(of)
    unused = pl.DataFrame(
        {"concept_id": [7], "concept_name": ["x"], "vocabulary_id": ["LOINC"], "concept_code": ["0-0"]}
    )
    tables["concept"] = pl.concat([tables["concept"], unused], how="vertical_relaxed")
    tables["measurement"] = tables["measurement"].with_row_index("measurement_id").reverse()
    fill(server, "cdm", tables)
    tables["measurement"] = tables["measurement"].reverse()
    expected = ingest(files.write_omop_folder(of, tmp_path))
    found = ingest({"lab": [server]}, format_name="omop")
    assert found.labs.height == of.labs.height
    numbers = pl.selectors.exclude("source_file", "value_text", "reference_low_text", "reference_high_text")
    assert_frame_equal(found.labs.select(numbers), expected.labs.select(numbers))
    for text in ("value_text", "reference_low_text", "reference_high_text"):
        assert_frame_equal(
            found.labs.select(pl.col(text).cast(pl.Float64, strict=False)),
            expected.labs.select(pl.col(text).cast(pl.Float64, strict=False)),
        )
    for kind in ("medications", "patients", "diagnoses"):
        key = pl.all().exclude("source_file", "source_row")
        assert_frame_equal(getattr(found, kind).select(key), getattr(expected, kind).select(key), check_row_order=False)
    assert {file.format for file in found.files} == {"omop"}
    assert not any(server in file.name for file in found.files)


def test_a_search_path_names_the_schema(server: str) -> None:
    people = pl.DataFrame({"person_id": [1], "year_of_birth": [1970]})
    fill(server, "a_first", {"person": people})
    fill(server, "z_wanted", {"person": people.with_columns(person_id=2)})
    named = f"{server}&options=-csearch_path%3Dz_wanted"
    assert ingest({"patient": [named]}, format_name="omop").patients["patient_id"].to_list() == ["2"]


def test_a_database_without_tables_of_omop(server: str) -> None:
    with postgresql.connect(server, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE empty")
    with pytest.raises(UnreadableInputError, match="has no table of OMOP"):
        ingest({"lab": [server.replace("/postgres?", "/empty?")]})


def test_a_user_without_rights_learns_the_state_and_no_password(server: str) -> None:
    with postgresql.connect(server, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE closed")
    closed = server.replace("/postgres?", "/closed?")
    fill(closed, "cdm", {"measurement": pl.DataFrame({"person_id": [1]})})
    with postgresql.connect(closed, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE VIEW cdm.person AS SELECT 1 / 0 AS person_id")
    with pytest.raises(UnreadableInputError) as raised:
        ingest({"lab": [f"{closed}&password=SECRET"]})
    assert "SECRET" not in str(raised.value)
    assert "SQLSTATE 22012" in str(raised.value)

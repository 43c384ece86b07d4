"""One schema version is one set of tables: it cannot change unnoticed, and a store that departs from it says so."""

from pathlib import Path

import duckdb
import pytest

from neutro_screen.admin.doctor import examine
from neutro_screen.cli import app as cli
from neutro_screen.errors import StoreError
from neutro_screen.pipeline.options import moment
from neutro_screen.store.file import publishing, reading
from neutro_screen.store.schema import SCHEMA_VERSION
from tests.nights import NIGHT, night, screened_sample
from tests.store.schema import FOLDER, RELEASED, fingerprint, present_schema, recorded


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The sample hospital's store."""
    return screened_sample(tmp_path_factory.mktemp("schema") / "s.duckdb").read_bytes()


def test_tables_do_not_change_without_a_new_schema_version() -> None:
    present = set(present_schema())
    written = set(recorded().read_text("utf-8").splitlines()) if recorded().exists() else set()
    assert present == written, "\n".join(
        [
            f"the tables are not those recorded for schema version {SCHEMA_VERSION}:",
            *(f"- {line}" for line in sorted(written - present)),
            *(f"+ {line}" for line in sorted(present - written)),
            "Raise SCHEMA_VERSION (neutro_screen/store/schema.py) where this version is released (tests/store/schema.py), see that",
            "`migrate` brings older stores to the new tables, and record them: python -m tests.store.schema",
        ]
    )


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_version_stays_as_it_was_recorded(name: str) -> None:
    assert fingerprint(FOLDER / name) == RELEASED[name], f"stores in use are of {name}; restore the file"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("ALTER TABLE anc DROP COLUMN cytopenia", "anc.cytopenia"),
        ("ALTER TABLE run DROP COLUMN policy_values", "run.policy_values"),
        ("ALTER TABLE flag ALTER COLUMN rule_id TYPE BLOB", "flag.rule_id"),
        ("ALTER TABLE anc ALTER COLUMN severity TYPE VARCHAR", "anc.severity"),
        ("DROP TABLE quality_drift", "quality_drift"),
        ("DROP VIEW worklist", "worklist"),
    ],
)
def test_a_store_that_departs_from_its_version_is_an_error_of_the_store(
    screened: bytes,
    tmp_path: Path,
    change: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = tmp_path / "s.duckdb"
    store.write_bytes(screened)
    with duckdb.connect(str(store)) as connection:
        connection.execute(change)
    before = store.read_bytes()
    for use in (reading, publishing):
        with pytest.raises(StoreError, match=rf"schema {SCHEMA_VERSION}.*{what}"), use(store):
            pass
    for words in (["worklist"], ["report", "--reports", str(tmp_path)], ["migrate"]):
        monkeypatch.setattr("sys.argv", ["neutro-screen", *words, "--store", str(store)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == StoreError.exit_code == 14
        assert what in capsys.readouterr().err
    assert next(found for found in examine(store, moment(NIGHT)) if found.check == "store").state == "failed"
    assert store.read_bytes() == before


def test_more_than_the_version_has_is_borne(screened: bytes, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    store.write_bytes(screened)
    with duckdb.connect(str(store)) as connection:
        connection.execute("ALTER TABLE anc ADD COLUMN own_note VARCHAR")
        connection.execute("CREATE TABLE ward (patient_id VARCHAR)")
    assert night(store, as_of="2026-11-23T02:00:00").account.rows_in > 0

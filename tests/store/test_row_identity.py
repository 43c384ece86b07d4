"""A stored row leaves the store alone: whatever another row's file name, line and run are; and every run proves it."""

import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from neutro_screen.cli.app import main
from neutro_screen.errors import PublishError
from neutro_screen.pipeline import publish
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.replay import rebuild
from neutro_screen.pipeline.rows import PLACE
from neutro_screen.pipeline.run import run
from neutro_screen.store.rows import insert
from tests.nights import NIGHT, assert_same, night

CASE = Path(__file__).parents[3] / "shared" / "cases" / "operations" / "same_file_name"
HEADER = "patient_id,specimen_id,collected_at,resulted_at,loinc,analyte_name,value,unit,status,lab\n"


def csv(path: Path, *rows: str) -> Path:
    """A laboratory file; each row is patient, day of collection (November 2026), hour of the result, analyte and value."""
    codes = {"NEUT": "751-8", "WBC": "6690-2"}
    lines = []
    for row in rows:
        patient, day, hour, analyte, value = row.split()
        status = "C" if hour > "10" else "F"
        lines.append(
            f"{patient},S{patient}{day},2026-11-{day} 08:00:00,2026-11-{day} {hour}:00:00,{codes[analyte]},{analyte},"
            f"{value},10*9/L,{status},LAB\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(lines), "utf-8")
    return path


def screened(store: Path, day: int, *labs: Path | str) -> None:
    """A night over some laboratory files."""
    paths = tuple(str(path) for path in labs)
    run(RunOptions(store=store, as_of=moment(f"2026-11-{day}T02:00"), labs=paths, max_rejected=1))


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The store after the first night of the case."""
    store = tmp_path_factory.mktemp("first") / "s.duckdb"
    screened(store, 20, str(CASE / "2026-11-1*" / "labs.csv"))
    return store.read_bytes()


@pytest.fixture
def store(tmp_path: Path, first_night: bytes) -> Path:
    """A copy of that store, of its own."""
    store = tmp_path / "s.duckdb"
    store.write_bytes(first_night)
    store.chmod(0o600)
    return store


def counts_of(store: Path, name: str) -> list[tuple[object, ...]]:
    """Patient and value of the neutrophil counts in a table."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(
            f"SELECT patient_id, value FROM {name} WHERE analyte = 'neut_abs' ORDER BY ALL"
        ).fetchall()


def test_two_files_of_one_name_do_not_share_their_rows(store: Path) -> None:
    screened(store, 21, CASE / "night2" / "labs_b.csv")
    screened(store, 22, CASE / "night3" / "labs_c.csv")
    assert counts_of(store, "lab_result") == [("Y", 0.2)]
    assert counts_of(store, "contradicted_result") == [("X", 3.0)]
    with duckdb.connect(str(store), read_only=True) as connection:
        listed = connection.execute(
            "SELECT patient_id, priority, current_severity, change FROM worklist WHERE patient_id = 'Y'"
        ).fetchall()
        assert listed == [("Y", "critical", "severe", "unchanged")]
        reasons = connection.execute("SELECT patient_id FROM rejected_row WHERE scope = 'specimen'").fetchall()
        assert reasons == [("X",)]


def test_a_count_that_comes_back_is_not_kept_out_by_one_of_the_same_place(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    screened(
        store,
        19,
        csv(tmp_path / "a" / "labs.csv", "X 18 09 NEUT 3.0"),
        csv(tmp_path / "b" / "labs.csv", "Y 18 09 NEUT 4.0"),
    )
    screened(store, 20, csv(tmp_path / "white.csv", "X 18 10 WBC 1.0", "Y 18 10 WBC 1.0"))
    assert counts_of(store, "contradicted_result") == [("X", 3.0), ("Y", 4.0)]
    screened(store, 21, csv(tmp_path / "corrected.csv", "X 18 11 WBC 6.0", "Y 19 09 WBC 5.0"))
    assert counts_of(store, "lab_result") == [("X", 3.0)]
    assert counts_of(store, "contradicted_result") == [("Y", 4.0)]


def test_a_past_night_is_made_again_with_every_row(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "past.duckdb"
    screened(store, 21, CASE / "night2" / "labs_b.csv")
    rebuild(store, moment("2026-11-21T02:00"), out)
    assert_same(out, store, ("lab_result", "contradicted_result", "worklist_row"))


def _by_place(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The deletion of version 1: every row of the same file name, line and run. It says it had deleted what it should."""
    for patient, value in rows.select("patient_id", "value").iter_rows():
        places = f"SELECT {', '.join(PLACE)} FROM {name} WHERE patient_id = ? AND value = ?"
        connection.execute(f"DELETE FROM {name} WHERE ({', '.join(PLACE)}) IN ({places})", [patient, value])
    return rows.select("patient_id")


def _none(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("patient_id")


def _strangers_row(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    """A row that was stored on an earlier night, whoever's it is, leaves beside."""
    insert(connection, name, rows)
    connection.execute("DELETE FROM lab_result WHERE rowid = 0")


def _in_the_place_of_another(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    """As many rows as there should be, but of a new row two and an old one less."""
    _strangers_row(connection, name, rows)
    insert(connection, name, rows.head(1) if name == "lab_result" else rows.clear())


def _one_fewer(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    insert(connection, name, rows.head(max(rows.height - 1, 0)) if name == "lab_result" else rows)


def _twice(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    insert(connection, name, pl.concat([rows, rows]) if name == "lab_result" else rows)


def _without_reasons(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    insert(connection, name, rows.clear() if name == "rejected_row" else rows)


def _drugs_lost(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    insert(connection, name, rows.slice(1) if name == "medication" else rows)


BREAKS: dict[str, Callable[[duckdb.DuckDBPyConnection, str, pl.DataFrame], pl.DataFrame | None]] = {
    "another row is deleted with it": _by_place,
    "nothing is deleted": _none,
    "a row that nobody speaks of is deleted": _strangers_row,
    "a row is stored twice and another deleted": _in_the_place_of_another,
    "a new row is not stored": _one_fewer,
    "a new row is stored twice": _twice,
    "a row is set aside without a reason": _without_reasons,
}


@pytest.mark.parametrize("how", BREAKS)
def test_nothing_is_published_if_the_stored_rows_do_not_add_up(
    how: str, store: Path, first_night: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is the same to the byte: its next night is that of ``test_two_files_of_one_name_…``."""
    monkeypatch.setattr(publish, "delete_rows" if BREAKS[how] in (_by_place, _none) else "insert", BREAKS[how])
    with pytest.raises(PublishError, match="leave the store without a reason on record") as raised:
        screened(store, 21, CASE / "night2" / "labs_b.csv")
    assert raised.value.exit_code == 15
    assert store.read_bytes() == first_night
    beside = {f".{store.name}.lock", f".{store.name}.journal"}
    assert {path.name for path in store.parent.iterdir()} - beside == {store.name}


def test_rows_of_the_chart_are_proven_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "insert", _drugs_lost)
    with pytest.raises(PublishError, match="1 accepted rows of 1 patients"):
        night(tmp_path / "s.duckdb")
    assert not (tmp_path / "s.duckdb").exists()


def test_the_command_ends_with_code_15(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "insert", _one_fewer)
    words = ["run", "--labs", str(CASE / "2026-11-1*" / "labs.csv"), "--store", str(tmp_path / "s.duckdb")]
    monkeypatch.setattr(sys, "argv", ["neutro-screen", *words, "--as-of", NIGHT])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 15
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "1 accepted rows of 1 patients" in error

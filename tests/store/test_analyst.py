"""The analyst's traps: ranks and booleans beside every ENUM, a comment on every column, no reserved word, runs, the CSV."""

import csv
import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from neutro_screen.cli.app import app
from neutro_screen.report import write_reports
from neutro_screen.store.journal import journal_of, note_action, note_delivery
from neutro_screen.store.review import record_review
from neutro_screen.store.views import VIEWS
from tests.nights import night

OF_VIEWS = "NOT internal AND table_name IN (SELECT view_name FROM duckdb_views() WHERE NOT internal)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights of the sample hospital, both reported, and a decision between them."""
    folder = tmp_path_factory.mktemp("analyst")
    path = folder / "s.duckdb"
    night(path, as_of="2026-11-21T02:00:00", reports=folder / "reports")
    record_review(path, "P-001", "acknowledged", until=None, note="=HYPERLINK", by="Dr K", at=datetime(2026, 11, 21, 9))
    night(path, reports=folder / "reports")
    return path


@pytest.fixture
def connection(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store, read-only."""
    with duckdb.connect(str(store), read_only=True) as opened:
        yield opened


def test_every_view_that_shows_an_enum_has_its_rank_and_its_boolean(connection: duckdb.DuckDBPyConnection) -> None:
    shown: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for view, column, type_ in connection.sql(
        f"SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE {OF_VIEWS}"
    ).fetchall():
        names.setdefault(view, set()).add(column)
        if type_.startswith("ENUM"):
            shown.setdefault(view, set()).add("severity" if "'profound'" in type_ else "priority")
    assert set(names) == set(VIEWS)
    assert len(shown) >= 8
    del shown["worklist_row"]  # a table until version 3: it has that table's columns and no other
    for view, kinds in shown.items():
        for kind in kinds:
            assert {f"{kind}_rank", {"severity": "is_severe", "priority": "is_urgent"}[kind]} <= names[view], view


@pytest.mark.parametrize(
    ("view", "severity"),
    [("patient_status", "current_severity"), ("worklist", "current_severity"), ("anc_ranked", "severity")],
)
def test_a_rank_is_higher_the_worse_it_is(connection: duckdb.DuckDBPyConnection, view: str, severity: str) -> None:
    ranked = connection.sql(
        f"SELECT DISTINCT CAST({severity} AS VARCHAR), severity_rank, is_severe FROM {view} WHERE {severity} IS NOT NULL"
    ).fetchall()
    ladder = ["normal", "mild", "moderate", "severe", "profound"]
    assert len(ranked) >= 3
    assert {(word, ladder.index(word), ladder.index(word) >= 3) for word, _, _ in ranked} == set(ranked)


def test_every_column_of_every_view_has_a_comment(connection: duckdb.DuckDBPyConnection) -> None:
    counted = connection.sql(
        f"SELECT count(*), count(*) FILTER (length(comment) >= 4) FROM duckdb_columns() WHERE {OF_VIEWS}"
    ).fetchall()
    assert counted[0][0] == counted[0][1] > 200


def test_no_column_of_a_view_is_a_reserved_word(connection: duckdb.DuckDBPyConnection) -> None:
    assert (
        connection.sql(
            f"SELECT table_name, column_name FROM duckdb_columns() WHERE {OF_VIEWS} AND lower(column_name) IN "
            "(SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved')"
        ).fetchall()
        == []
    )


def test_flagged_csv_names_the_reviewer_and_the_decision(store: Path, tmp_path: Path) -> None:
    write_reports(store, tmp_path, None)
    with (tmp_path / "flagged.csv").open(encoding="utf-8", newline="") as rows:
        (row,) = [row for row in csv.DictReader(rows) if row["patient_id"] == "P-001"]
    assert (row["review_status"], row["review_by"], row["review_at"]) == (
        "acknowledged",
        "Dr K",
        "2026-11-21T09:00:00Z",
    )
    assert row["review_note"] == "'=HYPERLINK"


def listed(store: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    """What ``runs --json`` prints."""
    app(["runs", "--store", str(store), "--json", *words], result_action="return_value")
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_runs_are_listed_with_what_became_of_them(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = listed(store, capsys)
    assert (first["status"], first["published"], first["reported"], first["notified"]) == ("done", True, True, None)
    assert (second["reported"], second["rows_in"], second["alerts"]) == (True, 1665, 25)
    kinds = ("accepted", "rejected", "no_result", "duplicate", "not_screened")
    assert sum(int(str(second[f"rows_{kind}"])) for kind in kinds) == 1665
    journal_of(store).unlink()  # what says that the second night was reported
    note_action(store, "failed_run", {"exit_code": 12}, at=datetime(2099, 1, 1))
    first, second, failed = listed(store, capsys)
    assert (first["reported"], second["reported"], second["reported_at"]) == (True, False, None)
    assert (failed["status"], failed["exit_code"], failed["published"], failed["run_id"]) == ("failed", 12, False, None)
    note_delivery(store, str(second["run_id"]), "report", at=datetime(2026, 11, 22, 2, 5))
    assert listed(store, capsys)[1]["reported_at"] == "2026-11-22 02:05:00"
    assert listed(store, capsys, "--latest", "1") == [failed]
    app(["runs", "--store", str(store)], result_action="return_value")
    text = capsys.readouterr().out
    assert "2026-11-22T02:00:00Z" in text
    assert "failed (12)" in text


def test_dates_are_dates(connection: duckdb.DuckDBPyConnection) -> None:
    assert isinstance(connection.sql("SELECT max(fell_on) FROM case_listing").fetchall()[0][0], date)

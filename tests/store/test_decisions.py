"""Decisions saved in the page: applied together, once, never against a patient who has become worse, and never told in logs."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import neutro_screen
from neutro_screen.cli.review import review
from neutro_screen.errors import ConfigurationError, UnreadableInputError
from neutro_screen.pipeline.options import moment
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.store.decisions import FORMAT
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist, record_review, review_from_file
from neutro_screen.store.rows import read_table
from tests.nights import count_rows

NIGHTS = tuple(moment(f"2026-11-{day}T02:00") for day in (18, 19, 20))
MADE = "2026-11-18T09:30:00.000Z"
AT = datetime(2026, 11, 18, 10)
#: Counts of the day before each night, in 10*9/L; a dash is a night without a specimen.
COUNTS = {"A": (0.9, 0.9, 0.9), "B": (0.8, 0.8, 0.8), "WORSE": (0.9, 0.3, 0.3), "LATER": (0.9, 0.9, 0.3)}
Decided = dict[str, Any]


def screen(folder: Path, number: int, reviews: Path | None = None) -> RunSummary:
    """Screen one night of ``COUNTS`` into ``s.duckdb`` of the folder."""
    labs = count_rows(folder, number, NIGHTS[number], COUNTS)
    return neutro_screen.run(
        labs, folder / "s.duckdb", as_of=NIGHTS[number], reports=folder / "reports", reviews=reviews
    )


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("first")
    screen(folder, 0)
    return (folder / "s.duckdb").read_bytes()


@pytest.fixture
def store(first_night: bytes, tmp_path: Path) -> Path:
    """The store after the first night."""
    (tmp_path / "s.duckdb").write_bytes(first_night)
    return tmp_path / "s.duckdb"


def seen(store: Path, patient: str, status: str = "acknowledged", **more: object) -> Decided:
    """A decision on a patient as the page of the latest run would save it."""
    with reading(store) as connection:
        row = current_worklist(connection).filter(pl.col("patient_id") == patient).to_dicts()
    standing = row[0] if row else {"priority": None, "nadir_cells_per_ul": None}
    return {
        "patient_id": patient,
        "status": status,
        "until": None,
        "note": "seen on the ward",
        "by": "AB",
        "priority": standing["priority"],
        "nadir_cells_per_ul": standing["nadir_cells_per_ul"],
    } | more


def saved(store: Path, *decisions: Decided, name: str = "decisions.json", **more: object) -> Path:
    """A file as the page saves it."""
    with reading(store) as connection:
        run_id = read_table(connection, "SELECT max(run_id) AS run_id FROM run")["run_id"][0]
    content = {"format": FORMAT, "run_id": run_id, "made_at": MADE, "decisions": decisions} | more
    path = store.parent / name
    path.write_text(json.dumps(content), "utf-8")
    return path


def reviews(store: Path) -> list[tuple[Any, ...]]:
    with reading(store) as connection:
        return read_table(connection, 'SELECT patient_id, status, "at" FROM review ORDER BY ALL').rows()


def test_decisions_are_recorded_together_with_what_was_seen_and_when(store: Path) -> None:
    file = saved(store, seen(store, "A"), seen(store, "B", "snoozed", until="2026-12-01"))
    applied = review_from_file(store, file, at=AT)
    assert (applied.recorded, applied.known, applied.refused) == (2, 0, ())
    made = datetime(2026, 11, 18, 9, 30)
    assert reviews(store) == [("A", "acknowledged", made), ("B", "snoozed", made)]
    with reading(store) as connection:
        assert current_worklist(connection)["patient_id"].sort().to_list() == ["A", "LATER", "WORSE"]
        audit = read_table(connection, "SELECT action, counts FROM audit WHERE action LIKE 'review%' ORDER BY ALL")
    assert audit["action"].to_list() == ["review", "review", "review_file"]
    assert json.loads(audit["counts"][2])["recorded"] == 2
    assert "A-0" not in str(audit.rows())


def test_applied_twice_a_file_changes_nothing(store: Path) -> None:
    file = saved(store, seen(store, "A"), seen(store, "B", "dismissed"))
    review_from_file(store, file, at=AT)
    record_review(store, "B", "acknowledged", until=None, note=None, by="CD", at=AT)
    before = store.read_bytes()
    again = review_from_file(store, file, at=AT + timedelta(days=1))
    assert (again.recorded, again.known, again.refused) == (0, 2, ())
    assert store.read_bytes() == before
    with reading(store) as connection:
        assert "B" in current_worklist(connection)["patient_id"]


def test_a_second_save_of_the_same_page_adds_only_what_is_new(store: Path) -> None:
    first = seen(store, "A", at="2026-11-18T09:10:00Z")
    review_from_file(store, saved(store, first), at=AT)
    both = saved(store, first, seen(store, "B", at="2026-11-18T09:20:00Z"), made_at="2026-11-18T09:40:00Z")
    applied = review_from_file(store, both, at=AT)
    assert (applied.recorded, applied.known) == (1, 1)
    assert [row[0] for row in reviews(store)] == ["A", "B"]


def test_who_became_worse_since_the_page_was_made_is_refused_and_named(store: Path) -> None:
    file = saved(store, seen(store, "A"), seen(store, "WORSE", "dismissed"))
    screen(store.parent, 1)
    applied = review_from_file(store, file, at=AT)
    assert (applied.recorded, [(one.position, one.patient_id) for one in applied.refused]) == (1, [(2, "WORSE")])
    assert "worse now than on the page" in applied.refused[0].reason
    assert "WORSE" not in applied.refused_in_words()
    with reading(store) as connection:
        assert "WORSE" in current_worklist(connection)["patient_id"]


def test_a_decision_about_somebody_not_on_the_worklist_does_not_hide_a_later_fall(store: Path) -> None:
    file = saved(store, seen(store, "LATER", "dismissed", priority=None, nadir_cells_per_ul=None))
    applied = review_from_file(store, file, at=AT)
    assert [one.patient_id for one in applied.refused] == ["LATER"]


def test_a_dismissal_made_without_a_priority_ends_when_the_patient_comes_onto_the_worklist(store: Path) -> None:
    record_review(store, "A", "dismissed", until=None, note=None, by=None, at=AT)
    with reading(store) as connection:
        assert "A" not in current_worklist(connection)["patient_id"]
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE review SET priority = NULL, nadir_cells_per_ul = NULL")
    with reading(store) as connection:
        assert "A" in current_worklist(connection)["patient_id"]


def test_a_patient_that_the_store_does_not_know_is_named_by_place_and_the_others_stand(store: Path) -> None:
    file = saved(store, seen(store, "A"), seen(store, "SECRET-ID"))
    applied = review_from_file(store, file, at=AT)
    assert (applied.recorded, applied.refused[0].reason) == (1, "the store holds no such patient")
    assert applied.refused_in_words() == "the store holds no such patient (decision 2)"


def test_a_snooze_that_is_over_is_refused(store: Path) -> None:
    file = saved(store, seen(store, "A", "snoozed", until="2026-11-17"))
    assert [one.reason for one in review_from_file(store, file, at=AT).refused] == ["the snooze is over already"]
    with pytest.raises(ConfigurationError, match="ended on 2026-11-17"):
        record_review(store, "A", "snoozed", until=datetime(2026, 11, 17).date(), note=None, by=None, at=AT)
    assert reviews(store) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: "", "Invalid JSON"),
        (lambda file: "[1]", "Input should be an object"),
        (lambda file: json.dumps(file | {"format": "another"}), "format: Input should be"),
        (lambda file: json.dumps({**file, "SECRET-ID": 1}), "an entry is not known"),
        (lambda file: json.dumps(file | {"made_at": "2099-01-01T00:00:00Z"}), "made in the future"),
        (lambda file: json.dumps(file | {"made_at": "2026-11-18T00:00:00"}), "made_at: Input should have timezone"),
        (lambda file: _changed(file, status="cured"), "decision 1, status: Input should be"),
        (lambda file: _changed(file, status="snoozed"), "until goes with snoozed"),
        (lambda file: _changed(file, until="2026-12-01"), "until goes with snoozed"),
        (lambda file: _changed(file, nadir_cells_per_ul=-1), "greater than or equal to 0"),
        (lambda file: _changed(file, nadir_cells_per_ul="900"), "nadir_cells_per_ul: Input should be a valid number"),
        (lambda file: _changed(file, patient_id=7), "patient_id: Input should be a valid string"),
        (lambda file: _without(file, "priority"), "decision 1, priority: Field required"),
        (lambda file: json.dumps(file | {"decisions": file["decisions"] * 2}), "decision 2 is about a patient with"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole_in_one_clear_line(
    store: Path, change: Callable[[dict[str, Any]], str], told: str
) -> None:
    file = saved(store, seen(store, "A", note="SECRET-NOTE"))
    file.write_text(change(json.loads(file.read_text("utf-8"))), "utf-8")
    with pytest.raises(UnreadableInputError, match=told) as raised:
        review_from_file(store, file, at=AT)
    assert raised.value.exit_code == 11
    assert "SECRET" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert reviews(store) == []


def _changed(file: dict[str, Any], **more: object) -> str:
    return json.dumps(file | {"decisions": [file["decisions"][0] | more]})


def _without(file: dict[str, Any], name: str) -> str:
    return json.dumps(file | {"decisions": [{key: one for key, one in file["decisions"][0].items() if key != name}]})


def test_a_page_of_another_store_is_refused(store: Path) -> None:
    with pytest.raises(ConfigurationError, match="whose run this store does not hold"):
        review_from_file(store, saved(store, seen(store, "A"), run_id="2020-01-01T000000Z"), at=AT)
    with pytest.raises(UnreadableInputError, match="cannot be read"):
        review_from_file(store, store.with_name("nowhere.json"), at=AT)


def test_the_command_applies_a_file_names_the_refused_and_writes_the_report_again(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(store, seen(store, "A", note="called the ward"), seen(store, "WORSE", "dismissed"))
    screen(store.parent, 1)
    page = store.parent / "reports" / "report.html"
    assert "called the ward" not in page.read_text("utf-8")
    review(store=store, from_=file, reports=page.parent)
    told = capsys.readouterr()
    assert "2 decisions in decisions.json: 1 recorded, 0 on record before, 1 refused" in told.out
    assert "refused, decision 2, WORSE: worse now than on the page: " in told.out
    assert "called the ward" in page.read_text("utf-8")
    review(store=store, from_=file, json_=True)
    again = json.loads(capsys.readouterr().out)
    assert (again["recorded"], again["known"], again["refused"][0]["patient_id"]) == (0, 1, "WORSE")
    review(store=store, from_=file, quiet=True)
    quiet = capsys.readouterr()
    assert (quiet.out, "WORSE" in quiet.err, "1 of 2 decisions were refused" in quiet.err) == ("", False, True)


def test_several_patients_on_one_command_line_all_or_none(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"no such patient \(number 2 of 3\)"):
        review("A", "nobody", "B", store=store, status="dismissed")
    assert reviews(store) == []
    review("A", "B", store=store, status="dismissed", by="AB")
    assert "recorded: dismissed, 2 patients" in capsys.readouterr().out
    assert [row[:2] for row in reviews(store)] == [("A", "dismissed"), ("B", "dismissed")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"from_": Path("x.json"), "status": "dismissed"}, "--from brings the decisions"),
        ({"status": None}, "name the patients and --status"),
        ({"status": "dismissed"}, "name the patients and --status"),
    ],
)
def test_patients_or_a_file_but_not_both(store: Path, words: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        review(store=store, **words)


def test_a_night_takes_over_a_folder_of_decisions_once(store: Path) -> None:
    folder = store.with_name("decided")
    folder.mkdir()
    decided = (seen(store, "A"), seen(store, "LATER", "snoozed", until="2026-12-01"), seen(store, "SECRET-ID"))
    saved(store, *decided, name="decided/monday.json")
    (folder / "broken.json").write_text("{", "utf-8")
    (folder / "notes.txt").write_text("not for us", "utf-8")
    told = [one["detail"] for one in screen(store.parent, 1, folder).warnings if one["kind"] == "refused_decision"]
    assert len(told) == 2
    assert "broken.json were not applied: no file of decisions" in str(told[0])
    assert told[1] == "1 of 3 decisions in monday.json were refused: the store holds no such patient (decision 3)"
    with reading(store) as connection:
        listed = current_worklist(connection)
        assert dict(listed.select("patient_id", "review_status").iter_rows())["A"] == "acknowledged"
        assert "LATER" not in listed["patient_id"]
    (folder / "broken.json").unlink()
    once_more = screen(store.parent, 2, folder)
    assert [one for one in once_more.warnings if one["kind"] == "refused_decision"] == []
    assert len(reviews(store)) == 2
    with reading(store) as connection:  # worse tonight: the snooze does not stand
        assert "LATER" in current_worklist(connection)["patient_id"]


def test_a_missing_folder_of_decisions_does_not_stop_the_night(store: Path) -> None:
    told = screen(store.parent, 1, store.with_name("unmounted")).warnings
    assert [one["detail"] for one in told if one["kind"] == "refused_decision"] == [
        "decisions in unmounted were not applied: decisions cannot be read (No such file or directory)"
    ]

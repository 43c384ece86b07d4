"""Published, reported and notified are states of their own: each can fail alone, is named as it is, and can be repeated.

A patient is new until reports (or, where none are asked for, a notification) have shown it.
"""

import json
import sys
from pathlib import Path

import duckdb
import pytest

from neutro_screen.admin.doctor import Finding, examine
from neutro_screen.errors import ReportError, StoreError
from neutro_screen.pipeline.options import moment
from neutro_screen.store.journal import journal_of
from tests.nights import NIGHT, command, night, table

HEADER = "patient_id,specimen_id,collected_at,loinc,value,unit"
SICK = "SECRET-SICK,S1,2026-11-21 08:00,751-8,0.05,10*9/L"  # a profound count is critical by itself
_KEEP = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def extract(folder: Path, name: str, *rows: str) -> Path:
    """A laboratory file."""
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    return path


def changes(store: Path) -> list[tuple[object, ...]]:
    """Run and change of every row of every worklist, without those of charts alone (clozapine that is never counted)."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(
            "SELECT run_id, change FROM worklist_row SEMI JOIN lab_result USING (patient_id) ORDER BY ALL"
        ).fetchall()


@pytest.fixture
def notify(tmp_path: Path) -> Path:
    """A notification file whose command appends to ``told``; as shipped, of failures, critical patients and warnings."""
    path = tmp_path / "notify.toml"
    path.write_text(f'command = ["{sys.executable}", "-c", {json.dumps(_KEEP)}, "{tmp_path / "told"}"]\n', "utf-8")
    return path


def deliveries(store: Path) -> Finding:
    """What doctor says of the latest run's reports and notification."""
    return next(found for found in examine(store, moment(NIGHT)) if found.check == "deliveries")


def run_night(tmp_path: Path, labs: Path, as_of: str, *more: object) -> "object":
    """A night by the command, with reports in a folder that the test makes or spoils."""
    words = ("run", "--labs", labs, "--store", tmp_path / "s" / "s.duckdb", "--as-of", as_of)
    return command(*words, "--reports", tmp_path / "reports", *more)


def test_reports_that_fail_are_a_state_of_their_own_and_new_stays_new(tmp_path: Path, notify: Path) -> None:
    store, reports, told = tmp_path / "s" / "s.duckdb", tmp_path / "reports", tmp_path / "told"
    labs = extract(tmp_path, "labs.csv", SICK)
    reports.write_text("a file where the folder should be", "utf-8")
    done = run_night(tmp_path, labs, "2026-11-22T02:00", "--notify", notify)
    assert done.returncode == ReportError.exit_code == 16
    assert "results are in the store" in done.stderr
    message = told.read_text("utf-8")
    assert "FAILED: ReportError, exit code 16; critical patients tonight: 1" in message
    assert "The results of this run are published" in message
    assert "Nobody was screened" not in message
    assert "SECRET" not in message + done.stderr
    assert [row[1:] for row in table(store, "run_delivery")] == [("notification", None), ("report", None)]
    # The retry, an hour later: the reader sees the patient for the first time.
    reports.unlink()
    assert run_night(tmp_path, labs, "2026-11-22T03:00", "--notify", notify).returncode == 0
    assert changes(store) == [("2026-11-22T02:00:00Z", "new"), ("2026-11-22T03:00:00Z", "new")]
    assert ",new," in (reports / "flagged.csv").read_text("utf-8")
    assert run_night(tmp_path, labs, "2026-11-23T02:00").returncode == 0
    assert changes(store)[-1] == ("2026-11-23T02:00:00Z", "unchanged")
    assert len(table(store, "lab_result")) == 1


def test_reporting_is_repeated_alone_and_the_patient_is_no_longer_new(tmp_path: Path) -> None:
    store, reports = tmp_path / "s.duckdb", tmp_path / "reports"
    labs = extract(tmp_path, "labs.csv", SICK)
    reports.write_text("a file where the folder should be", "utf-8")
    with pytest.raises(ReportError):
        night(store, labs, reports=reports)
    assert deliveries(store).state == "warning"
    assert "its reports were not written" in deliveries(store).found
    before = store.read_bytes()
    reports.unlink()
    done = command("report", "--store", store, "--reports", reports)
    assert done.returncode == 0, done.stderr
    assert ",new," in (reports / "flagged.csv").read_text("utf-8")
    assert store.read_bytes() == before
    assert deliveries(store).state == "ok"
    assert journal_of(store).stat().st_mode & 0o077 == 0
    night(store, labs, as_of="2026-11-23T02:00:00", reports=reports)
    assert changes(store)[-1] == ("2026-11-23T02:00:00Z", "unchanged")
    assert [row[1] for row in table(store, "run_delivery") if row[2] is not None] == ["report"]


def test_a_notification_that_is_not_sent_keeps_the_patient_new_until_it_is_repeated(
    tmp_path: Path, notify: Path
) -> None:
    store, labs = tmp_path / "s" / "s.duckdb", extract(tmp_path, "labs.csv", SICK)
    works, broken = notify.read_text("utf-8"), f'command = ["{tmp_path / "nowhere"}"]\n'
    words = ("run", "--labs", labs, "--store", store, "--notify", notify, "--as-of")
    notify.write_text(broken, "utf-8")
    assert command(*words, "2026-11-22T02:00").returncode == 0
    assert command(*words, "2026-11-23T02:00").returncode == 0
    assert [change for _, change in changes(store)] == ["new", "new"]
    assert "its notification was not sent" in deliveries(store).found
    notify.write_text(works, "utf-8")
    done = command("notify", notify, "--store", store)
    assert (done.returncode, done.stdout) == (0, "sent\n"), done.stderr
    assert "critical patients tonight: 1" in (tmp_path / "told").read_text("utf-8")
    assert command(*words, "2026-11-24T02:00").returncode == 0
    assert [change for _, change in changes(store)] == ["new", "new", "unchanged"]


def test_a_night_with_nothing_to_notify_is_no_night_that_was_not_notified(tmp_path: Path, notify: Path) -> None:
    store = tmp_path / "s" / "s.duckdb"
    low = extract(tmp_path, "low.csv", "A,S1,2026-11-21 08:00,751-8,0.9,10*9/L")
    notify.write_text(f'events = ["failed"]\ncommand = ["{tmp_path / "nowhere"}"]\n', "utf-8")
    for as_of in ("2026-11-22T02:00", "2026-11-23T02:00"):
        assert command("run", "--labs", low, "--store", store, "--notify", notify, "--as-of", as_of).returncode == 0
    assert [change for _, change in changes(store)] == ["new", "unchanged"]


def test_an_episode_that_began_and_ended_unseen_is_shown_after_the_reports_failed(tmp_path: Path) -> None:
    """Its patient has no row in the retry's extract: only the run that reached nobody had listed it."""
    store, reports = tmp_path / "s.duckdb", tmp_path / "reports"
    rows = [f"B,B{day},2026-11-{day:02d} 08:00,751-8,{anc},10*9/L" for day, anc in ((1, 0.05), (8, 4.0), (15, 4.1))]
    reports.write_text("a file where the folder should be", "utf-8")
    with pytest.raises(ReportError):
        night(store, extract(tmp_path, "first.csv", *rows), as_of="2026-11-16T02:00:00", reports=reports)
    reports.unlink()
    other = extract(tmp_path, "other.csv", "C,C1,2026-11-16 08:00,751-8,4.0,10*9/L")
    night(store, other, as_of="2026-11-17T02:00:00", reports=reports)
    assert changes(store) == [("2026-11-16T02:00:00Z", "new"), ("2026-11-17T02:00:00Z", "new")]
    night(store, other, as_of="2026-11-18T02:00:00", reports=reports)
    assert changes(store)[-1] == ("2026-11-17T02:00:00Z", "new")  # a recovered row is shown once


def test_a_journal_that_cannot_be_written_is_said_and_keeps_the_patient_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reports, labs = tmp_path / "s.duckdb", tmp_path / "reports", extract(tmp_path, "labs.csv", SICK)
    journal_of(store).mkdir()
    with pytest.raises(ReportError, match="reports are written, but this is not on record"):
        night(store, labs, reports=reports)
    journal_of(store).rmdir()
    night(store, labs, as_of="2026-11-23T02:00:00", reports=reports)
    assert [change for _, change in changes(store)] == ["new", "new"]


@pytest.mark.parametrize("trace", ["reports", "dead-man"])
def test_a_missing_store_is_no_new_store_where_earlier_runs_left_traces(
    tmp_path: Path, notify: Path, trace: str
) -> None:
    """A mount that is gone: a new store would know no earlier result, and its reports no earlier patient."""
    store, labs = tmp_path / "s" / "s.duckdb", extract(tmp_path, "labs.csv", SICK)
    with notify.open("a", encoding="utf-8") as file:
        file.write(f'dead_man = "{tmp_path / "alive"}"\n')
    more = ("--reports", tmp_path / "reports") if trace == "reports" else ("--notify", notify)
    words = ("run", "--labs", labs, "--store", store, *more, "--as-of")
    assert command(*words, "2026-11-22T02:00").returncode == 0
    store.rename(tmp_path / "elsewhere.duckdb")
    done = command(*words, "2026-11-23T02:00", *(() if trace == "dead-man" else ("--notify", notify)))
    assert done.returncode == StoreError.exit_code == 14
    assert "the store is missing, but earlier runs left" in done.stderr
    assert "FAILED: StoreError, exit code 14" in (tmp_path / "told").read_text("utf-8")
    assert not store.exists()
    assert command(*words, "2026-11-23T02:00", "--new-store").returncode == 0

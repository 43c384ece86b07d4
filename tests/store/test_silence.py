"""A night that brought nothing never looks like a night with nothing to find."""

import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from neutro_screen.cli import app as cli
from neutro_screen.cli.console import summary_text
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from tests.nights import SAMPLE, night, screened_sample, table


def test_a_feed_that_stops_is_told_in_the_summary_the_store_and_the_report(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    assert night(store).warnings == ()
    empty = tmp_path / "empty.csv"
    empty.write_text((SAMPLE / "labs.csv").read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    summary = night(store, labs=empty, as_of="2026-11-26T02:00:00", reports=tmp_path / "reports")
    kinds = [warning["kind"] for warning in summary.warnings]
    assert kinds[:2] == ["no_data", "late_feed"]
    assert "NO DATA: no result of the screen's analytes came in" in summary_text(summary)
    assert "LATE FEED: newest result" in summary_text(summary)
    assert [row[1] for row in table(store, "run_warning")] == sorted(kinds)
    page = (tmp_path / "reports" / "report.html").read_text("utf-8")
    assert "No new results in this run." in page
    assert "<strong>Late feed.</strong> newest result" in page


def test_the_same_files_again_are_told_as_such(tmp_path: Path) -> None:
    store = screened_sample(tmp_path / "s.duckdb")
    assert [warning["kind"] for warning in night(store).warnings] == ["nothing_new"]


def extract(folder: Path, name: str, day: str, laboratories: dict[str, tuple[str, ...]], patients: int = 8) -> Path:
    """A file with so many specimens of each laboratory, collected on a day, with the tests named (LOINC)."""
    rows = [
        f"{lab}{number},{lab}{day}{number},{day}T08:{number:02}:00,{loinc},{value},{unit},{lab}"
        for lab, tests in laboratories.items()
        for number in range(patients)
        for loinc, value, unit in (VALUES[test] for test in tests)
    ]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["patient_id,specimen_id,collected_at,loinc,value,unit,lab", *rows]) + "\n", "utf-8")
    return path


VALUES = {"wbc": ("6690-2", "6.0", "10*9/L"), "neut": ("751-8", "3.5", "10*9/L"), "renamed": ("", "3.5", "10*9/L")}
BOTH = ("wbc", "neut")


def screened(store: Path, labs: Path, day: str, **more: object) -> RunSummary:
    """The night after a day, over one file."""
    as_of = f"{date.fromisoformat(day) + timedelta(days=1)}T02:00:00"
    return run(RunOptions(store=store, as_of=moment(as_of), labs=(str(labs),), **more))  # type: ignore[arg-type]


def kinds(summary: RunSummary) -> list[tuple[str | None, str | None]]:
    """Kind and laboratory of the warnings."""
    return [(warning["kind"], warning["lab"]) for warning in summary.warnings]


@pytest.fixture(scope="module")
def five_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after five nights of laboratories A and B."""
    folder = tmp_path_factory.mktemp("nights")
    for number in range(1, 6):
        day = f"2026-11-{number:02}"
        found = screened(folder / "s.duckdb", extract(folder, f"{day}.csv", day, {"A": BOTH, "B": BOTH}), day)
        assert kinds(found) == []
    return folder / "s.duckdb"


@pytest.fixture
def store(five_nights: Path, tmp_path: Path) -> Path:
    """That store, to go on with."""
    return Path(shutil.copy(five_nights, tmp_path))


def test_a_laboratory_without_its_neutrophils_is_named_on_the_first_night(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labs = extract(tmp_path, "labs.csv", "2026-11-06", {"A": ("wbc", "renamed"), "B": BOTH})
    words = ["run", "--labs", str(labs), "--store", str(store), "--as-of", "2026-11-07T02:00", "--quiet"]
    monkeypatch.setattr("sys.argv", ["neutro-screen", *words, "--reports", str(tmp_path / "reports")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code in (0, None)
    said = "no results of Neutrophils, absolute with about 8 specimens: is a test renamed?"
    assert printed.out == ""
    assert f"MISSING ANALYTE A: {said}" in printed.err
    assert [row[1:4] for row in table(store, "run_warning") if row[0] == "2026-11-07T02:00:00Z"] == [
        ("missing_analyte", "A", said)
    ]
    page = (tmp_path / "reports" / "report.html").read_text("utf-8")
    assert f"<strong>Missing analyte, A.</strong> {said}" in page


def test_rows_that_are_all_known_are_nothing_new_of_each_laboratory_that_was_due(store: Path, tmp_path: Path) -> None:
    labs = extract(tmp_path, "labs.csv", "2026-11-05", {"A": BOTH, "B": BOTH})
    assert kinds(screened(store, labs, "2026-11-06")) == [("nothing_new", None)]


def test_a_laboratory_of_every_second_week_is_missed_on_its_night(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    for number in range(4):
        day = str(date(2026, 9, 1) + timedelta(days=14 * number))
        assert kinds(screened(store, extract(tmp_path, f"{day}.csv", day, {"A": BOTH, "B": BOTH}), day)) == []
    day = str(date(2026, 9, 1) + timedelta(days=56))
    found = screened(store, extract(tmp_path, f"{day}.csv", day, {"B": BOTH}), day)
    assert kinds(found) == [("silent_laboratory", "A")]
    assert found.warnings[0]["detail"] == "nothing new tonight; by its own calendar it was due on 2026-10-28"


@pytest.mark.parametrize(("day", "lives"), [("2026-11-05", False), ("2026-11-06", True)])
def test_a_stuck_export_is_no_sign_of_life_and_is_notified(
    store: Path, tmp_path: Path, day: str, lives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs = extract(tmp_path, "labs.csv", day, {"A": BOTH, "B": ("wbc",)})
    sent = tmp_path / "sent"
    script = f"import sys, pathlib; pathlib.Path({str(sent)!r}).write_text(sys.stdin.read())"
    notify = tmp_path / "notify.toml"
    notify.write_text(
        f"command = {[sys.executable, '-c', script]!r}\ndead_man = {str(tmp_path / 'alive')!r}\n", "utf-8"
    )
    words = ["run", "--labs", str(labs), "--store", str(store), "--as-of", "2026-11-07T02:00", "--notify", str(notify)]
    monkeypatch.setattr("sys.argv", ["neutro-screen", *words, "--quiet"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    assert (tmp_path / "alive").exists() is lives
    text = sent.read_text("utf-8")
    assert ("missing analyte 1" if lives else "nothing new 1") in text
    assert "drift 0" not in text

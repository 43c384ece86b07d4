"""A night that brought nothing never looks like a night with nothing to find."""

from pathlib import Path

from neutro_screen.cli.console import summary_text
from tests.nights import SAMPLE, night, table


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
    night(tmp_path / "s.duckdb")
    assert [warning["kind"] for warning in night(tmp_path / "s.duckdb").warnings] == ["nothing_new"]

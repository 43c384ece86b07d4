"""The sample hospital: the screen says of every teaching case what sample_data/README.md promises."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.cli.console import summary_text
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist
from neutro_screen.store.rows import read_table
from neutro_simulator import sample_expectations, sample_hospital, sample_readme, write_native

SAMPLE = Path(__file__).parents[2] / "sample_data"
NIGHT = moment("2026-11-22T02:00:00")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    """Folder of store and reports of the sample hospital, and what the run says at its end."""
    folder = tmp_path_factory.mktemp("sample")
    chart = {kind: (str(SAMPLE / f"{kind}.csv"),) for kind in ("medications", "patients", "diagnoses", "events")}
    labs = (str(SAMPLE / "labs.csv"),)
    options = RunOptions(store=folder / "s.duckdb", labs=labs, as_of=NIGHT, reports=folder / "reports", **chart)
    return folder, run(options)


@pytest.fixture(scope="module")
def folder(demo: tuple[Path, RunSummary]) -> Path:
    """Store and reports of the sample hospital."""
    return demo[0]


@pytest.fixture(scope="module")
def screened(folder: Path) -> pl.DataFrame:
    """Expected and found, side by side, one row a patient."""
    with reading(folder / "s.duckdb") as connection:
        status = read_table(connection, "SELECT patient_id, current_severity FROM patient_status")
        listed = current_worklist(connection).select("patient_id", found_priority="priority", change="change")
    return (
        sample_expectations()
        .join(status, on="patient_id", how="left")
        .join(listed, on="patient_id", how="left")
        .with_columns(pl.col("current_severity", "found_priority").cast(pl.String))
        .sort("patient_id")
    )


def test_every_teaching_case_has_the_severity_it_teaches(screened: pl.DataFrame) -> None:
    wrong = screened.filter(pl.col("severity").ne_missing(pl.col("current_severity")))
    assert wrong.select("patient_id", "severity", "current_severity").rows() == []


def test_every_teaching_case_has_the_priority_it_teaches(screened: pl.DataFrame) -> None:
    wrong = screened.filter(pl.col("priority").ne_missing(pl.col("found_priority")))
    assert wrong.select("patient_id", "priority", "found_priority").rows() == []


@pytest.mark.parametrize("name", ["flagged.csv", "flags.csv"])
def test_the_tracked_example_is_what_the_report_writes(folder: Path, name: str) -> None:
    written = (folder / "reports" / name).read_text("utf-8")
    assert written == (SAMPLE.parent / "reports" / "example" / name).read_text("utf-8")


def test_terminal_overview_and_page_count_the_same_patients(demo: tuple[Path, RunSummary]) -> None:
    folder, summary = demo
    listed = sum(summary.priorities.values())
    assert (summary.changes["new"], summary.recovered) == (listed, 2)
    assert f"worklist {listed}: " in summary_text(summary)
    assert "; besides, 2 recovered" in summary_text(summary)
    with reading(folder / "s.duckdb") as connection:
        trend = read_table(connection, 'SELECT on_worklist, "new", recovered FROM run_trend').row(0)
        burden = read_table(connection, 'SELECT alerts, "new" FROM alert_burden').row(0)
    assert (trend, burden) == ((listed, listed, 2), (listed, listed))
    page = (folder / "reports" / "report.html").read_text("utf-8")
    assert f"{listed} on the worklist = " in page
    assert f"of these {listed} new" in page
    assert "besides, 2 recovered" in page


def test_the_readme_shows_what_the_demo_says(demo: tuple[Path, RunSummary]) -> None:
    shown = (SAMPLE.parent / "README.md").read_text("utf-8").partition("```text\n")[2].partition("```")[0].splitlines()
    said = {*summary_text(replace(demo[1], report="reports/demo/report.html")).splitlines(), "..."}
    assert [line for line in shown if line not in said] == []
    assert len(shown) >= 5


def test_the_tracked_sample_is_what_the_simulator_writes(tmp_path: Path) -> None:
    write_native(sample_hospital(NIGHT), tmp_path, with_course=False)
    for path in sorted(tmp_path.rglob("*.csv")):
        assert path.read_bytes() == (SAMPLE / path.relative_to(tmp_path)).read_bytes(), path.name
    assert sample_readme(NIGHT) == (SAMPLE / "README.md").read_text("utf-8")

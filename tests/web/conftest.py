"""Stores and pages for the browser tests: the sample hospital over two nights, 500 patients, hostile texts, no data."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.report import multiply_patients
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.report import write_reports
from neutro_screen.store.rows import insert
from neutro_screen.store.schema import TABLES, columns_of
from neutro_simulator import sample_hospital, write_native

TONIGHT = datetime(2026, 11, 22, 2, 10)
#: On a busy machine a page takes longer than the five seconds that are usual.
expect.set_options(timeout=30_000)
EXTRACTS = ("labs", "medications", "patients", "diagnoses", "events")


def run_folder(folder: Path, store: Path, as_of: datetime) -> None:
    """Run the pipeline over a folder in the native layout."""
    labs, *others = ((str(folder / f"{name}.csv"),) for name in EXTRACTS)
    medications, patients, diagnoses, events = others
    run(
        RunOptions(
            store=store,
            labs=labs,
            medications=medications,
            patients=patients,
            diagnoses=diagnoses,
            events=events,
            as_of=as_of,
            max_rejected=1.0,
        )
    )


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows into a table of the store; columns not named stay null."""
    names = [name for name in columns_of(table) if any(name in row for row in rows)]
    types = {name: column.dtype.type for name, column in TABLES[table].to_schema().columns.items()}
    insert(
        connection, table, pl.DataFrame(rows, schema={name: types.get(name, pl.String) for name in names}, orient="row")
    )


def fill_conclusions(store: Path, text: str = "") -> None:
    """Replace what the rules concluded: give every open episode suspects, evidence, work-up steps, a baseline and a projection.

    ``text`` is put into every free text, to see what a page makes of it.
    """
    with duckdb.connect(str(store)) as connection:
        episodes = connection.execute(
            "SELECT e.episode_id, e.patient_id, e.started_at, e.last_low_at FROM episode e JOIN worklist_row w "
            "USING (episode_id) GROUP BY ALL ORDER BY e.patient_id, e.episode_id DESC"
        ).fetchall()
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("drug_suspect", "evidence", "workup_step")}
        for number, (episode_id, patient_id, started_at, last_low_at) in enumerate(episodes):
            of = {"episode_id": episode_id, "patient_id": patient_id}
            start = started_at.date()
            suspects = [
                (
                    "clozapine",
                    "likely",
                    11,
                    1,
                    start - timedelta(84),
                    None,
                    "started 12 weeks before, inside its window (42-126 d), still given; no earlier low value",
                ),
                (
                    "valproate",
                    "possible",
                    4,
                    2,
                    start - timedelta(400),
                    None,
                    "more than a year, stable counts until now",
                ),
                (
                    "amoxicillin",
                    "excluded",
                    None,
                    None,
                    start + timedelta(1),
                    start + timedelta(8),
                    "started the day after the fall",
                ),
            ][: 3 if number % 3 else 1]
            rows["drug_suspect"] += [
                of
                | {
                    "ingredient": name + text,
                    "drug_class": "class" + text,
                    "category": category,
                    "score": score,
                    "rank": rank,
                    "first_exposure": first,
                    "last_exposure": last,
                    "is_end_unread": False,
                    "reason": reason + text,
                    "items": "{}",
                }
                for name, category, score, rank, first, last, reason in suspects
            ]
            rows["evidence"] += [
                of
                | {
                    "category": category,
                    "rule_id": rule_id,
                    "finding": finding + text,
                    "strength": strength,
                    "source": source,
                }
                for category, rule_id, finding, strength, source in (
                    ("infection", "INF-1", "EBV VCA IgM positive on 2026-11-17", "moderate", "laboratory; RULES.md"),
                    (
                        "fever",
                        "FEV-1",
                        "fever unknown: no temperature near the severe counts in this extract",
                        "context",
                        "RULES.md",
                    ),
                    (
                        "infection",
                        "INF-1",
                        "literature, not this patient's risk: viral infection: odds ratio 4.77 below 1.0 G/L",
                        "context",
                        "literature: Andersen 2016 J Intern Med",
                    ),
                )
            ]
            rows["workup_step"] += [
                of | {"step": step, "state": state, "done_on": done, "due_on": due}
                for step, state, done, due in (
                    ("repeat_cbc", "overdue" if number % 2 else "due", None, last_low_at + timedelta(hours=24)),
                    ("smear", "due", None, TONIGHT + timedelta(hours=20)),
                    ("medication_review", "done", start, None),
                    ("travel_history", "unknown", None, None),
                    ("bone_marrow", "not_applicable", None, None),
                )
            ]
        for table, told in rows.items():
            connection.execute(f"DELETE FROM {table}")
            put(connection, table, told)
        connection.execute(
            "UPDATE worklist_entry SET next_step = 'repeat_cbc', next_step_due = last_collected_at + INTERVAL 24 HOUR, "
            "top_suspect = 'clozapine' || ? WHERE change <> 'resolved'",
            [text],
        )
        connection.execute(
            "UPDATE anc SET days_to_severe = 6, days_to_severe_low = 3, days_to_severe_high = 11, slope_low = -1.1, slope_high = -0.5 "
            "WHERE anc_cells_per_ul BETWEEN 600 AND 1000"
        )
        connection.execute(
            "UPDATE anc SET trend = 'falling', slope_log2_per_week = -0.8, baseline_cells_per_ul = b.baseline FROM "
            "(SELECT patient_id, quantile_disc(anc_cells_per_ul, 0.8) AS baseline FROM anc GROUP BY patient_id) b "
            "WHERE anc.patient_id = b.patient_id"
        )


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital in the native layout."""
    folder = tmp_path_factory.mktemp("hospital")
    write_native(sample_hospital(TONIGHT), folder)
    return folder


@pytest.fixture(scope="session")
def plain_store(hospital: Path) -> Path:
    """The sample hospital over two nights, as the pipeline leaves it."""
    store = hospital / "plain.duckdb"
    before = hospital / "before"
    before.mkdir()
    for name in EXTRACTS:
        rows = pl.read_csv(hospital / f"{name}.csv", infer_schema=False)
        known = rows.filter(pl.col("collected_at") < "2026-11-20") if name == "labs" else rows
        known.write_csv(before / f"{name}.csv")
    run_folder(before, store, TONIGHT - timedelta(days=1))
    run_folder(hospital, store, TONIGHT)
    return store


@pytest.fixture(scope="session")
def sample_store(plain_store: Path) -> Path:
    """The same with conclusions of every kind and two decisions of reviewers."""
    store = plain_store.with_name("sample.duckdb")
    shutil.copy(plain_store, store)
    fill_conclusions(store)
    with duckdb.connect(str(store)) as connection:
        first, second = connection.execute(
            "SELECT patient_id FROM worklist ORDER BY priority, patient_id LIMIT 2"
        ).fetchall()
        put(
            connection,
            "review",
            [
                {
                    "patient_id": first[0],
                    "status": "snoozed",
                    "until": TONIGHT.date() + timedelta(5),
                    "note": "known, see clinic letter",
                    "by": "reviewer",
                    "at": TONIGHT,
                    "priority": "critical",
                    "nadir_cells_per_ul": 0.0,
                },
                {
                    "patient_id": second[0],
                    "status": "acknowledged",
                    "until": None,
                    "note": None,
                    "by": "reviewer",
                    "at": TONIGHT,
                    "priority": "critical",
                    "nadir_cells_per_ul": 0.0,
                },
            ],
        )
    return store


@pytest.fixture(scope="session")
def conclude() -> Callable[..., None]:
    """``fill_conclusions``."""
    return fill_conclusions


@pytest.fixture(scope="session")
def crowd() -> Callable[[Path, Path, int], Path]:
    """``multiply_patients``."""
    return multiply_patients


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Writes the reports of a store, once, and names the page."""
    written: dict[Path, Path] = {}

    def page_of(store: Path) -> Path:
        if store not in written:
            written[store] = write_reports(store, tmp_path_factory.mktemp("reports") / store.stem)
        return written[store]

    return page_of


def chromium() -> str | None:
    """The browser: Debian's, or the one that CHROMIUM names."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; its absence is a reason to skip on a desk and a failure in continuous integration."""
    path = chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing; install Debian's package chromium")
        pytest.skip("chromium is not installed: the browser tests did not run")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


class Watched:
    """A page with everything it must not do: requests, console errors, dialogs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.trouble: list[str] = []
        page.on(
            "console",
            lambda message: self.trouble.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("dialog", lambda dialog: (self.trouble.append("dialog"), dialog.dismiss()))
        page.on(
            "request", lambda request: None if request.url.startswith("file:") else self.trouble.append(request.url)
        )


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page and, when the test is over, fails if it made a request, logged an error or raised a dialog."""
    watched: list[Watched] = []

    def open_page(file: Path, width: int = 1440, height: int = 900, fragment: str = "", **options: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        watched.append(Watched(page))
        page.goto(f"file://{file}{fragment}")
        return page

    yield open_page
    trouble = [line for one in watched for line in one.trouble]
    for one in watched:
        one.page.close()
    assert trouble == []

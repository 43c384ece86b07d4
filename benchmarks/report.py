"""The report at its limits: how long it takes to write, and how long until a browser shows a worklist that can be used.

``python -m benchmarks.report`` prints a Markdown table. The hospital is simulated; the crowd of 20,000 flagged patients is
the simulated one, copied under other names.
"""

import resource
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from playwright.sync_api import sync_playwright

from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.report import write_reports
from neutro_screen.store.schema import TABLES, columns_of
from neutro_simulator import simulate_hospital, write_native

AS_OF = datetime(2026, 11, 22, 2)  # noqa: DTZ001  (times of the store are UTC without zone)
PATIENTS, SEED = 1_200, 7
FLAGGED_IN_PAGE, FLAGGED_IN_CITY = 500, 20_000
_READY = "performance.getEntriesByName('usable')[0]?.startTime"
_FRAMES = """async () => {
  const gaps = []; let last = performance.now();
  for (let i = 0; i < 120; i++) {
    scrollBy(0, 400);
    await new Promise(requestAnimationFrame);
    gaps.push(performance.now() - last); last = performance.now();
  }
  return gaps.sort((a, b) => a - b);
}"""


def measure() -> list[dict[str, Any]]:
    """One row per figure: ``figure``, ``value``, ``unit``, ``limit`` (what is promised, or null)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = simulated_store(folder)
        ward, city = folder / "ward.duckdb", folder / "city.duckdb"
        multiply_patients(ward, store, FLAGGED_IN_PAGE)
        multiply_patients(city, store, FLAGGED_IN_CITY)
        page, *written = _written(ward, folder / "ward")
        rows = [
            _row("report of 500 flagged patients, written", written[0], "s"),
            _row("… user CPU", written[1], "s"),
            _row("… size", page.stat().st_size / 1e6, "MB", 5.0),
        ]
        rows += opened(page)
        page, *written = _written(city, folder / "city")
        return [
            *rows,
            _row("reports of 20,000 flagged patients, written", written[0], "s", 20.0),
            _row("… user CPU", written[1], "s"),
            _row("… size of report.html", page.stat().st_size / 1e6, "MB", 5.0),
            _row("… size of flags.csv", (page.parent / "flags.csv").stat().st_size / 1e6, "MB"),
        ]


def simulated_store(folder: Path) -> Path:
    """A store of one night of a simulated hospital."""
    write_native(simulate_hospital(PATIENTS, SEED, as_of=AS_OF), folder)
    labs, *chart = (
        (str(folder / f"{kind}.csv"),) for kind in ("labs", "medications", "patients", "diagnoses", "events")
    )
    medications, patients, diagnoses, events = chart
    store = folder / "screen.duckdb"
    run(
        RunOptions(
            store=store,
            labs=labs,
            medications=medications,
            patients=patients,
            diagnoses=diagnoses,
            events=events,
            as_of=AS_OF,
            max_rejected=1.0,
        )
    )
    return store


def multiply_patients(store: Path, source: Path, patients: int) -> Path:
    """A store with that many flagged patients: those of ``source``, copied under new names."""
    shutil.copy(source, store)
    with duckdb.connect(str(store)) as connection:
        flagged = (connection.execute("SELECT count(*) FROM worklist").fetchone() or (0,))[0]
        copies = -(-patients // flagged)
        connection.execute("CREATE TEMP TABLE listed AS SELECT patient_id FROM worklist")
        connection.execute(f"CREATE TEMP TABLE copy AS SELECT range AS n FROM range({copies})")
        for table in TABLES:
            columns = columns_of(table)
            if "patient_id" not in columns:
                continue
            renamed = ", ".join(
                f"t.{name} || '-' || n AS {name}" if name in ("patient_id", "episode_id") else f't."{name}"'
                for name in columns
            )
            connection.execute(
                f'CREATE TEMP TABLE crowded AS SELECT {renamed} FROM "{table}" t JOIN listed USING (patient_id), copy'
            )
            connection.execute(f'DELETE FROM "{table}"')
            connection.execute(f'INSERT INTO "{table}" BY NAME SELECT * FROM crowded')
            connection.execute("DROP TABLE crowded")
        connection.execute(
            "CREATE TEMP TABLE kept AS SELECT DISTINCT patient_id FROM worklist_row WHERE change <> 'resolved' AND run_id = "
            f"(SELECT max(run_id) FROM run) ORDER BY patient_id LIMIT {patients}"
        )
        connection.execute("DELETE FROM worklist_entry WHERE patient_id NOT IN (SELECT patient_id FROM kept)")
    return store


def opened(page: Path, times: int = 5) -> list[dict[str, Any]]:
    """Medians of opening the page in Chromium, scrolling down its worklist, sorting and searching it."""
    told: dict[str, list[float]] = {"interactive": [], "usable": [], "frame": [], "late": [], "sort": [], "find": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=["--no-sandbox"]
        )
        for _ in range(times + 1):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(f"file://{page}")
            tab.wait_for_function(f"{_READY} !== undefined")
            told["usable"].append(tab.evaluate(_READY))
            told["interactive"].append(
                tab.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            )
            frames: list[float] = tab.evaluate(_FRAMES)
            told["frame"].append(frames[len(frames) // 2])
            told["late"].append(frames[len(frames) * 95 // 100])
            told["sort"].append(tab.evaluate(_timed("new DataTable.Api('#list').order([[1, 'desc']]).draw()")))
            told["find"].append(
                tab.evaluate(_timed("find.value = 'clozapine'; find.dispatchEvent(new Event('input'))"))
            )
            tab.close()
        browser.close()
    middle = {name: statistics.median(values[1:]) for name, values in told.items()}  # the first starts the browser
    return [
        _row("… opened: DOMContentLoaded", middle["interactive"] / 1e3, "s"),
        _row("… opened: worklist usable, first chart drawn", middle["usable"] / 1e3, "s", 1.5),
        _row("… scrolled: median frame (16.7 ms is the screen's own)", middle["frame"], "ms"),
        _row("… scrolled: slowest twentieth of the frames", middle["late"], "ms"),
        _row("… sorted by count", middle["sort"], "ms"),
        _row("… searched", middle["find"], "ms"),
    ]


def _timed(act: str) -> str:
    return (
        "(() => { const find = document.getElementById('find'), began = performance.now(); "
        f"{act}; document.body.offsetHeight; return performance.now() - began; }})()"
    )


def _written(store: Path, folder: Path) -> tuple[Path, float, float]:
    """The page, seconds and user CPU seconds."""
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    page = write_reports(store, folder)
    return page, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu


def _row(figure: str, value: float, unit: str, limit: float | None = None) -> dict[str, Any]:
    return {"figure": figure, "value": round(value, 2), "unit": unit, "limit": limit}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""

    def cells(row: dict[str, Any]) -> str:
        promised = "" if row["limit"] is None else f"< {row['limit']:g} {row['unit']}"
        return f"| {row['figure']} | {row['value']:g} {row['unit']} | {promised} |"

    lines = [cells(row) for row in rows]
    return "\n".join(["| figure | measured | promised |", "|---|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown(measure()))

"""Years in chunks end in the same tables as one run over everything, also after a kill at any chunk."""

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import ConfigurationError, RefusedInputError, StoreError
from neutro_screen.pipeline.backfill import backfill, begun_as_of, chunks_of, manifest_of
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.store.file import lock, reading
from neutro_screen.store.rows import read_table
from neutro_screen.store.schema import SCREENED
from tests.nights import SAMPLE, command

NIGHT = datetime(2026, 11, 22, 2)
#: The rows themselves; run_id says which run brought them, and that differs by design.
COMPARED = (*SCREENED, "lab_result", "rejected_row", "no_result", "medication", "patient", "diagnosis", "event")


def tables(store: Path) -> dict[str, pl.DataFrame]:
    """Every compared table and the worklist, without run_id, in one order."""
    with reading(store) as connection:
        found = {name: read_table(connection, f'SELECT * FROM "{name}"') for name in (*COMPARED, "worklist")}
    return {name: frame.drop("run_id", strict=False).sort(pl.all()) for name, frame in found.items()}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital's results as one file a quarter, in folders by year; its charts undated."""
    folder = tmp_path_factory.mktemp("archive")
    labs = pl.read_csv(SAMPLE / "labs.csv", infer_schema=False)
    at = pl.coalesce("collected_at", "resulted_at").str.to_datetime(strict=False).fill_null(NIGHT)
    for (first,), part in labs.with_columns(quarter=at.dt.truncate("1q")).partition_by("quarter", as_dict=True).items():
        place = folder / f"{first:%Y}" / f"labs_{first:%Y-%m}.csv"
        place.parent.mkdir(exist_ok=True)
        part.drop("quarter").write_csv(place)
    for kind in ("medications", "patients", "diagnoses", "events"):
        (folder / f"{kind}.csv").write_bytes((SAMPLE / f"{kind}.csv").read_bytes())
    return folder


@pytest.fixture
def settings(archive: Path, tmp_path: Path) -> RunOptions:
    """A backfill of the archive."""
    charts = {kind: (str(archive / f"{kind}.csv"),) for kind in ("medications", "patients", "diagnoses", "events")}
    labs = (str(archive / "*" / "labs_*.csv"),)
    return RunOptions(store=tmp_path / "s" / "s.duckdb", as_of=NIGHT, labs=labs, max_rejected=1.0, **charts)


@pytest.fixture(scope="module")
def whole(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """What one run over everything gives."""
    store = tmp_path_factory.mktemp("whole") / "s.duckdb"
    charts = {kind: (str(archive / f"{kind}.csv"),) for kind in ("medications", "patients", "diagnoses", "events")}
    run(RunOptions(store=store, as_of=NIGHT, labs=(str(archive / "*" / "labs_*.csv"),), max_rejected=1.0, **charts))
    return tables(store)


def assert_same(store: Path, whole: dict[str, pl.DataFrame]) -> None:
    """All compared tables are equal, and none is empty by accident."""
    for name, frame in tables(store).items():
        assert frame.equals(whole[name]), name
    assert whole["lab_result"].height > 1000
    assert whole["worklist"].height


def test_chunks_by_month_end_in_the_tables_of_one_run(settings: RunOptions, whole: dict[str, pl.DataFrame]) -> None:
    seen = []
    told = backfill(settings, "month", seen.append)
    assert told.chunks_run == len(seen) == seen[0].of == 5
    assert [at.number for at in seen] == list(range(1, len(seen) + 1))
    assert_same(settings.store, whole)
    again = backfill(settings, "month")
    assert (again.chunks_run, again.chunks_finished_before, again.last) == (0, told.chunks_run, None)


_KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from neutro_screen.pipeline import backfill as module
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
store, labs, others, after = sys.argv[1:]
done = 0
def run_and_die(settings):
    global done
    summary = run(settings)
    done += 1
    if done == int(after):
        os.kill(os.getpid(), signal.SIGKILL)  # published, and not yet remembered
    return summary
charts = {kind: (f"{others}/{kind}.csv",) for kind in ("medications", "patients", "diagnoses", "events")}
settings = RunOptions(store=Path(store), as_of=datetime(2026, 11, 22, 2), labs=(labs,), max_rejected=1.0, **charts)
module.backfill(settings, "month", run_chunk=run_and_die)
"""


def test_a_backfill_that_was_killed_goes_on_and_ends_the_same(
    settings: RunOptions, archive: Path, whole: dict[str, pl.DataFrame]
) -> None:
    words = (settings.store, settings.labs[0], archive, 2)
    killed = subprocess.run([sys.executable, "-c", _KILLED, *map(str, words)], capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    manifest = manifest_of(settings.store)
    assert manifest.stat().st_mode & 0o077 == 0
    assert "P-0" not in manifest.read_text("utf-8")
    assert begun_as_of(settings.store) == NIGHT
    told = backfill(settings, "month")
    assert told.chunks_finished_before == 1
    assert_same(settings.store, whole)
    assert begun_as_of(settings.store) is None


def test_the_command_says_what_it_did_and_takes_up_the_index_time(archive: Path, tmp_path: Path) -> None:
    store = tmp_path / "s" / "s.duckdb"
    words = ("backfill", "--labs", archive / "*" / "labs_*.csv", "--store", store, "--by", "year")
    done = command(*words, "--as-of", NIGHT.isoformat(), "--reports", tmp_path / "reports")
    assert done.returncode == 0, done.stderr
    assert "chunks run, 0 finished before; rows in 1665" in done.stdout
    assert (tmp_path / "reports" / "report.html").exists()
    assert command(*words).stdout.strip().endswith("finished before: nothing to do")


def stop_after(number: int) -> object:
    """A ``run`` that publishes ``number`` chunks and refuses the next."""
    done = []

    def run_chunk(settings: RunOptions) -> RunSummary:
        if len(done) == number:
            raise RefusedInputError("enough")
        done.append(run(settings))
        return done[-1]

    return run_chunk


def test_what_the_store_does_not_hold_is_not_finished(settings: RunOptions) -> None:
    with pytest.raises(RefusedInputError):
        backfill(settings, "year", run_chunk=stop_after(1))  # type: ignore[arg-type]
    settings.store.unlink()
    with pytest.raises(RefusedInputError):
        backfill(settings, "year", run_chunk=stop_after(0))  # type: ignore[arg-type]


def test_a_backfill_does_not_go_on_with_other_settings(settings: RunOptions) -> None:
    with pytest.raises(RefusedInputError):
        backfill(settings, "year", run_chunk=stop_after(1))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="another profile, policy or format"):
        backfill(replace(settings, format="delimited"), "year")
    manifest_of(settings.store).write_text("{}", "utf-8")
    with pytest.raises(ConfigurationError, match="manifest of the backfill cannot be read"):
        backfill(settings, "year")


def test_a_backfill_goes_on_after_a_night_that_came_in_between(settings: RunOptions) -> None:
    with pytest.raises(RefusedInputError):
        backfill(settings, "year", run_chunk=stop_after(1))  # type: ignore[arg-type]
    night = datetime(2026, 11, 23, 2)
    run(replace(settings, as_of=night, labs=(str(SAMPLE / "labs.csv"),)))
    assert begun_as_of(settings.store) == night
    assert backfill(replace(settings, as_of=night), "year").chunks_run == 1
    assert begun_as_of(settings.store) is None


def test_two_backfills_of_one_store_do_not_run_at_once(settings: RunOptions) -> None:
    with lock(manifest_of(settings.store)), pytest.raises(StoreError, match="another run"):
        backfill(settings, "year")


@pytest.mark.parametrize(
    ("name", "month", "year"),
    [
        ("labs_2024-03-05.csv", "2024-03", "2024"),
        ("2024/03/labs.csv", "2024-03", "2024"),
        ("labs_20240305T0200.csv", "2024-03", "2024"),
        ("labs_202403051230.csv", "2024-03", "2024"),
        ("2023-01/labs_2024_12.csv", "2024-12", "2024"),
        ("2019/labs.csv", None, "2019"),
        ("labs_1234567.csv", None, None),
    ],
)
def test_a_chunk_is_named_by_the_last_date_of_the_path(
    tmp_path: Path, name: str, month: str | None, year: str | None
) -> None:
    file = tmp_path / "x" / name
    file.parent.mkdir(parents=True)
    file.touch()
    asked = RunOptions(store=tmp_path / "s.duckdb", as_of=NIGHT, labs=(str(file),))
    for by, expected in (("month", month), ("year", year)):
        if expected is None:
            with pytest.raises(ConfigurationError, match=f"no {by} in its path"):
                chunks_of(asked, by)  # type: ignore[arg-type]
        else:
            assert [chunk.name for chunk in chunks_of(asked, by)] == [expected]  # type: ignore[arg-type]


def test_dated_charts_come_with_the_first_chunk_that_is_not_older(tmp_path: Path) -> None:
    for name in ("labs_2024-01.csv", "labs_2024-03.csv", "meds_2024-02.csv", "meds_2025-01.csv", "patients.csv"):
        (tmp_path / name).touch()
    asked = RunOptions(
        store=tmp_path / "s.duckdb",
        as_of=NIGHT,
        labs=(f"{tmp_path}/labs_*.csv",),
        medications=(f"{tmp_path}/meds_*.csv",),
        patients=(f"{tmp_path}/patients.csv",),
    )
    first, last = chunks_of(asked, "month")
    assert {kind: [Path(path).name for path in paths] for kind, paths in first.paths.items()} == {
        "lab": ["labs_2024-01.csv"],
        "patient": ["patients.csv"],
    }
    assert [Path(path).name for path in last.paths["medication"]] == ["meds_2024-02.csv", "meds_2025-01.csv"]
    by_file = chunks_of(asked, "file")
    assert [chunk.name for chunk in by_file] == ["000001", "000002"]
    assert set(by_file[0].paths) == {"lab", "medication", "patient"}

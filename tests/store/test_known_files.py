"""Known files of an archive are not read again, and no row is lost by it: tables are those of reading everything."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from neutro_screen.cli.console import summary_text
from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.formats import parquet
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from tests.nights import SAMPLE, assert_same, table

HEADER = "patient_id,specimen_id,collected_at,loinc,value,unit,lab\n"


def day_file(archive: Path, day: int, rows: str = "") -> Path:
    """The file of a day in November 2026: one count, or the rows given."""
    archive.mkdir(exist_ok=True)
    path = archive / f"labs_{day:02}.csv"
    path.write_text(HEADER + (rows or f"P{day},S{day},2026-11-{day:02}T08:00:00,751-8,0.4,10*9/L,A\n"), "utf-8")
    return path


def night(archive: Path, day: int, **more: object) -> RunSummary:
    """The night after a day over everything in the archive."""
    options = RunOptions(
        store=archive.parent / "s.duckdb", labs=(f"{archive}/*.csv",), as_of=moment(f"2026-11-{day + 1:02}T02:00")
    )
    return run(replace(options, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of one file and the store of its night."""
    folder = tmp_path_factory.mktemp("first")
    day_file(folder / "archive", 1)
    night(folder / "archive", 1)
    return folder


@pytest.fixture
def archive(first_night: Path, tmp_path: Path) -> Path:
    """The archive after its first night, with a store of its own beside it."""
    shutil.copytree(first_night, tmp_path / "own")
    return tmp_path / "own" / "archive"


def test_a_night_reads_only_the_new_file_of_an_archive_and_says_so(archive: Path) -> None:
    for day in (2, 3):
        day_file(archive, day)
        summary = night(archive, day)
        assert (summary.account.rows_in, summary.account.duplicate) == (1, 0)
        assert (summary.known_files, summary.known_rows) == (day - 1, day - 1)
    assert "known files not read again 2 (2 rows)" in summary_text(summary)
    listed = [
        (row[1], row[5], row[6])
        for row in table(archive.parent / "s.duckdb", "source_file")
        if row[0] == summary.run_id
    ]
    assert listed == [("labs_01.csv", 0, "known"), ("labs_02.csv", 0, "known"), ("labs_03.csv", 1, None)]
    assert [row[0] for row in table(archive.parent / "s.duckdb", "patient_status")] == ["P1", "P2", "P3"]
    again = night(archive, 3, rescreen_all=True)
    assert (again.account.duplicate, again.known_files) == (3, 0)


def test_a_file_that_changed_under_its_name_is_read(archive: Path) -> None:
    day_file(archive, 1, "P9,S9,2026-11-01T08:00:00,751-8,0.2,10*9/L,A\n")
    summary = night(archive, 2)
    assert (summary.account.accepted, summary.known_files) == (1, 0)


def test_a_file_named_by_itself_is_always_read(archive: Path) -> None:
    summary = night(archive, 2, labs=(str(archive / "labs_01.csv"),))
    assert (summary.account.duplicate, summary.known_files) == (1, 0)
    assert [warning["kind"] for warning in summary.warnings] == ["nothing_new"]


def test_an_archive_without_a_new_file_is_nothing_new_and_not_no_data(archive: Path) -> None:
    summary = night(archive, 2)
    assert summary.account.rows_in == 0
    assert [warning["kind"] for warning in summary.warnings] == ["nothing_new"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("P1,S1,2026-11-05T08:00:00,751-8,0.4,10*9/L,A\n", "a result of the future is usable later"),
        ("P1,S1,2031-11-05T08:00:00,751-8,0.4,10*9/L,A\n", "an impossible time is judged by the night"),
    ],
)
def test_a_file_with_rows_that_are_refused_for_now_is_read_again(tmp_path: Path, rows: str, why: str) -> None:
    archive = tmp_path / "archive"
    day_file(archive, 1, rows + "P2,S2,2026-11-01T08:00:00,751-8,0.4,10*9/L,A\n")
    assert night(archive, 1, max_rejected=1.0).account.rejected == 1, why
    assert night(archive, 2, max_rejected=1.0).known_files == 0, why
    if "2026" in rows:
        assert night(archive, 5, max_rejected=1.0).account.accepted == 1


def test_another_way_of_reading_reads_everything_again(archive: Path, tmp_path: Path) -> None:
    profile, policy = tmp_path / "profile.toml", tmp_path / "policy.toml"
    profile.write_text('time_zone = "Europe/Berlin"\n', "utf-8")
    policy.write_text("[silence]\nshortest_d = 3\n", "utf-8")
    assert night(archive, 2).known_files == 1
    assert night(archive, 3, profile=profile).known_files == 0
    assert night(archive, 4, policy=policy).known_files == 0
    assert night(archive, 5, policy=policy).known_files == 1


def test_an_old_bad_file_stops_the_first_night_only(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    day_file(archive, 1, "".join(f"P{n},S{n},2026-11-01T08:00:00,751-8,0.4,furlongs,A\n" for n in range(9)))
    with pytest.raises(RefusedInputError):
        night(archive, 1)
    assert night(archive, 1, max_rejected=1.0).account.rejected == 9
    day_file(archive, 2)
    assert night(archive, 2).account.accepted == 1


#: Files that cannot be read, by name: what they hold.
UNREADABLE = {"labs_02.csv": b"", "labs_02.csv.gz": b"\x1f\x8bhalf", "labs_02.docx": b"PK", "labs_02.parquet": b"PAR0"}


def unreadable(archive: Path, name: str) -> None:
    (archive / name).write_bytes(UNREADABLE[name])


def test_files_that_cannot_be_read_are_told_every_night_and_the_others_are_screened(tmp_path: Path) -> None:
    archive, listed = tmp_path / "archive", ", ".join(UNREADABLE)
    day_file(archive, 1)
    for name in UNREADABLE:
        unreadable(archive, name)
    for day in (2, 3):
        summary = night(archive, day, labs=(str(archive),))
        assert summary.account.accepted == (1 if day == 2 else 0)
        (told,) = [warning for warning in summary.warnings if warning["kind"] == "unreadable_file"]
        assert told["detail"] == f"4 of 5 files could not be read ({listed}): what they hold is missing below"
        assert f"UNREADABLE FILE 4 of 5 files could not be read ({listed})" in summary_text(summary)
    assert [row[0] for row in table(tmp_path / "s.duckdb", "patient_status")] == ["P1"]
    # Repaired, it is read.
    for name in UNREADABLE:
        (archive / name).unlink()
    day_file(archive, 2)
    assert night(archive, 4).account.accepted == 1


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_ends_the_run_where_it_is_named_or_alone(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive"
    day_file(archive, 1)
    unreadable(archive, name)
    with pytest.raises(UnreadableInputError):
        night(archive, 2, labs=(str(archive / name),))
    (archive / "labs_01.csv").unlink()
    with pytest.raises(UnreadableInputError):
        night(archive, 2, labs=(str(archive),))


def test_what_stands_before_the_damage_of_a_file_is_screened_and_the_rest_is_told_every_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS_A_BATCH", 1)
    archive = tmp_path / "archive"
    first, path = day_file(archive, 1), archive / "labs_02.parquet"
    rows = pl.read_csv(first, infer_schema=False)
    both = pl.concat([rows.with_columns(patient_id=pl.lit(name), specimen_id=pl.lit(name)) for name in ("P8", "P9")])
    both.write_parquet(path, row_group_size=1, compression="uncompressed")
    whole = path.read_bytes()
    damage = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    path.write_bytes(whole[:damage] + b"\xff" * 8 + whole[damage + 8 :])
    for day in (2, 3):
        summary = night(archive, day, labs=(str(archive),))
        assert summary.account.accepted == (2 if day == 2 else 0)
        (told,) = [warning for warning in summary.warnings if warning["kind"] == "unreadable_file"]
        assert told["detail"] == (
            "1 of 2 files could not be read (labs_02.parquet after row 1): what they hold is missing below"
        )
    assert [row[0] for row in table(tmp_path / "s.duckdb", "patient_status")] == ["P1", "P8"]
    with pytest.raises(UnreadableInputError):
        night(archive, 3, labs=(str(path),))
    path.write_bytes(whole)
    repaired = night(archive, 4, labs=(str(archive),))
    assert "unreadable_file" not in [warning["kind"] for warning in repaired.warnings]
    assert [row[0] for row in table(tmp_path / "s.duckdb", "patient_status")] == ["P1", "P8", "P9"]


def test_the_tables_are_those_of_reading_everything_every_night(tmp_path: Path) -> None:
    lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines(keepends=True)
    parts = [lines[1 + number :: 3] for number in range(3)]
    stores = []
    for name, again in (("skipping", False), ("reading", True)):
        archive = tmp_path / name / "archive"
        archive.mkdir(parents=True)
        for number, part in enumerate(parts):
            (archive / f"labs_{number}.csv").write_text(lines[0] + "".join(part), "utf-8")
            night(archive, 22 + number, rescreen_all=again, max_rejected=1.0)
        stores.append(tmp_path / name / "s.duckdb")
    received = ("lab_result", "no_result", "contradicted_result")
    assert_same(*stores, (*received, "anc", "episode", "flag", "patient_summary", "unassessable"))

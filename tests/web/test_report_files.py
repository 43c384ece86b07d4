"""The files of a report without a browser: CSV for spreadsheets, same bytes for the same store, speed, access rights."""

import csv
import io
import stat
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from neutro_screen.errors import StoreError
from neutro_screen.report import csv as report_csv
from neutro_screen.report import write_reports
from neutro_screen.report.csv import harmless, spreadsheet_ids
from neutro_screen.report.html import page as html
from neutro_screen.report.words import shown

FLAGGED = (
    "run_id,patient_id,priority,previous_priority,row_group,change,is_recent,is_expected,conclusion,reasons,"
    "reason_codes,current_severity,worst_severity,"
    "last_anc_cells_per_ul,last_anc_comparator,last_collected_at,nadir_cells_per_ul,fall_pct,top_suspect,next_step,"
    "next_step_due,episode_id,episode_status,review_status,review_until,review_note,review_by,review_at,ward,requester"
)
FLAGS = "patient_id,specimen_id,episode_id,rule_id,raised_at,reason,evidence,run_id"


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))


def test_one_row_a_patient_and_one_a_flag(sample_store: Path, tmp_path: Path) -> None:
    folder = write_reports(sample_store, tmp_path).parent
    flagged, flags = rows(folder / "flagged.csv"), rows(folder / "flags.csv")
    assert (folder / "flagged.csv").read_text("utf-8").splitlines()[0] == FLAGGED
    assert (folder / "flags.csv").read_text("utf-8").splitlines()[0] == FLAGS
    patients = [row["patient_id"] for row in flagged]
    assert len(patients) == len(set(patients)) > 0
    assert {row["patient_id"] for row in flags} <= set(patients)
    with duckdb.connect(str(sample_store), read_only=True) as connection:
        expected = connection.execute(
            "SELECT count(*) FROM worklist_row WHERE run_id = (SELECT max(run_id) FROM run) AND change <> 'resolved'"
        ).fetchone()
    assert expected == (len(flagged),)
    assert all(row["last_collected_at"].endswith("Z") and row["last_collected_at"][10] == "T" for row in flagged)
    assert all(float(row["last_anc_cells_per_ul"]) >= 0 for row in flagged)


@pytest.mark.parametrize("for_excel", [False, True])
def test_flags_are_written_piece_by_piece_into_the_same_file(
    sample_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, for_excel: bool
) -> None:
    """The flags of a first night of 100 million results are gigabytes: they are never held together."""
    whole = write_reports(sample_store, tmp_path / "whole", byte_order_mark=for_excel).parent / "flags.csv"
    monkeypatch.setattr(report_csv, "PATIENTS_AT_A_TIME", 4)
    in_pieces = write_reports(sample_store, tmp_path / "pieces", byte_order_mark=for_excel).parent / "flags.csv"
    assert in_pieces.read_bytes() == whole.read_bytes()
    assert len({line.split(",")[0] for line in whole.read_text("utf-8").splitlines()[1:]}) > 4


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", "\u202e=1", "＝1", "\n=1"]
)
def test_a_spreadsheet_would_run_nothing(text: str) -> None:
    told = harmless(pl.DataFrame({"name": [text, "P-001", None], "fall": [-0.4, -1.0, None]}))
    assert told["name"].to_list() == [f"'{shown(text)}".replace("\n=", "\n'=").replace("\t=", "\t'="), "P-001", None]
    assert told["fall"].to_list() == [-0.4, -1.0, None]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "text",
    ["P;=1+1", "P; @SUM(1)", 'P;"=1+1"', "P\t+1", "P\n-1", "P\r\n=1", 'a;b;"\u200b=1', "a,=1", "P;\u202e=1", "P\r=1"],
)
def test_a_spreadsheet_of_any_country_runs_nothing(text: str, separator: str) -> None:
    """Where ``;`` or tab parts the cells, quotes that begin inside of one mean nothing, and every line break ends a row."""
    written = harmless(pl.DataFrame({"run_id": ["r"], "name": [text], "last": [1.5]})).write_csv()
    if separator == ",":
        cells = [cell for row in csv.reader(io.StringIO(written)) for cell in row]
    else:
        cells = [cell for line in written.splitlines() for cell in line.split(separator)]
    assert [cell for cell in cells if cell.strip(' "\u200b\u202e').startswith(("=", "+", "-", "@"))] == []


def test_byte_order_mark_is_a_choice(sample_store: Path, tmp_path: Path) -> None:
    plain = write_reports(sample_store, tmp_path / "plain").parent
    marked = write_reports(sample_store, tmp_path / "marked", byte_order_mark=True).parent
    for name in ("flagged.csv", "flags.csv"):
        assert (marked / name).read_bytes() == b"\xef\xbb\xbf" + (plain / name).read_bytes()
    assert (marked / "report.html").read_bytes() == (plain / "report.html").read_bytes()


@pytest.mark.parametrize("text", ["00123", "1E5", "3-4", "12:30", "12345678901234567890", "2026-11-22"])
def test_excel_does_not_turn_an_identifier_into_a_number(text: str) -> None:
    told = spreadsheet_ids(pl.DataFrame({"patient_id": [text, "P-001", "12A"], "next_step": [text] * 3}))
    assert told["patient_id"].to_list() == [f"'{text}", "P-001", "12A"]
    assert told["next_step"].to_list() == [text] * 3


def test_same_store_same_bytes_and_only_the_owner_reads_them(sample_store: Path, tmp_path: Path) -> None:
    folder = write_reports(sample_store, tmp_path / "reports").parent
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write_reports(sample_store, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert set(before) == {"flagged.csv", "flags.csv", "report.html"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_earlier_run_is_written_again_and_says_so(plain_store: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(plain_store), read_only=True) as connection:
        (first,) = connection.execute("SELECT min(run_id) FROM run").fetchone() or ("",)
    text = write_reports(plain_store, tmp_path, first).read_text("utf-8")
    assert "This is an earlier run" in text
    assert {row["run_id"] for row in rows(tmp_path / "flagged.csv")} == {first}
    with pytest.raises(StoreError, match="holds no run"):
        write_reports(plain_store, tmp_path, "never")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("a\u202eb", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
        ("é مريض", "é مريض"),
    ],
)
def test_what_cannot_be_seen_is_made_visible(text: str, seen: str) -> None:
    assert shown(text) == seen
    assert len(shown("x" * 10_000)) < 300


def test_a_page_that_would_grow_too_large_holds_fewer_patients(
    sample_store: Path, tmp_path: Path, crowd: Callable[[Path, Path, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "MOST_BYTES", 1_000_000)
    file = write_reports(crowd(tmp_path / "ward.duckdb", sample_store, 120), tmp_path / "reports")
    kept = file.read_text("utf-8").count("<article")
    assert 0 < kept < 120
    assert file.stat().st_size <= 1_000_000
    assert f"The {kept} most urgent of 120 patients are in this page" in file.read_text("utf-8")
    assert len(rows(file.parent / "flagged.csv")) == 120


def test_twenty_thousand_flagged_patients_are_written_in_time(
    sample_store: Path, tmp_path: Path, crowd: Callable[[Path, Path, int], Path]
) -> None:
    store = crowd(tmp_path / "city.duckdb", sample_store, 20_000)
    began = time.process_time()
    file = write_reports(store, tmp_path / "reports")
    took = time.process_time() - began
    assert len(rows(file.parent / "flagged.csv")) == 20_000
    text = file.read_text("utf-8")
    assert "The 500 most urgent of 20,000 patients are in this page" in text
    assert text.count("<article") == 500
    assert file.stat().st_size < 5_000_000
    assert took < 20, f"{took:.1f} s"

"""Exports of twenty hospitals, from `init` to the worklist without a hand edit and without a name (ADR 19)."""

from pathlib import Path

import polars as pl
import pytest

from neutro_screen import read, screen
from neutro_screen.admin.propose import propose_profile
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from tests.formats.odd_exports import EXPECTED, GIVEN, SURNAMES, WRITERS


def proposed(layout: str, folder: Path) -> tuple[Path, Path]:
    """The export and the profile that is proposed from it."""
    export, profile = WRITERS[layout](folder), folder / "profile.toml"
    text = propose_profile(export)
    assert not [name for name in SURNAMES + GIVEN if name.lower() in text.lower()]
    profile.write_text(text, "utf-8")
    return export, profile


@pytest.mark.parametrize("layout", list(WRITERS))
def test_every_row_of_an_odd_export_is_read(layout: str, tmp_path: Path) -> None:
    export, profile = proposed(layout, tmp_path)
    result = screen(read(str(export), profile=str(profile)), as_of="2026-11-21")
    latest = result.patient_status.sort("patient_id")
    found = latest.select("last_anc_cells_per_ul", "last_anc_comparator", pl.col("current_severity").cast(pl.String))
    assert found.rows() == EXPECTED
    assert latest["has_rapid_decline"][0]
    assert result.cannot_assess["patient_id"].to_list() == [latest["patient_id"][4]]
    assert result.anc.height == 11


def test_from_an_odd_export_to_the_right_worklist(tmp_path: Path) -> None:
    export, profile = proposed("german_sap", tmp_path)
    store = tmp_path / "s.duckdb"
    run(RunOptions(labs=(str(export),), store=store, profile=profile, as_of=moment("2026-11-21")))
    with reading(store) as connection:
        status = read_table(connection, "SELECT * FROM patient_status ORDER BY patient_id")
        cannot = read_table(connection, "SELECT patient_id FROM cannot_assess")
    found = status.select("last_anc_cells_per_ul", "last_anc_comparator", pl.col("current_severity").cast(pl.String))
    assert found.rows() == EXPECTED
    assert status["has_rapid_decline"][0]
    assert cannot["patient_id"].to_list() == [status["patient_id"][4]]


def test_columns_of_units_and_ranges_beside_those_of_a_wide_file_are_no_results(tmp_path: Path) -> None:
    """REC-3: the column of units gives its unit; the text of an unread column puts its patient on cannot-assess."""
    export, profile = tmp_path / "wide.csv", tmp_path / "profile.toml"
    export.write_text(
        "MRN,Draw Date,HGB,WBC,WBC unit,WBC ref range,wbc_date,Neut Zwickau\n"
        "77,2026-11-20,13.0,0.9,K/uL,4-11,2026-11-20,\n"
        "78,2026-11-20,12.0,,K/uL,4-11,2026-11-20,clotted\n"
        "79,2026-11-20,12.0,4.1,K/uL,4-11,2026-11-20,see remark\n",
        "utf-8",
    )
    profile.write_text(propose_profile(export), "utf-8")
    result = screen(read(str(export), profile=str(profile)), as_of="2026-11-21")
    assert result.anc.select("patient_id", "anc_cells_per_ul", "anc_comparator").rows() == [("77", 900.0, "<=")]
    assert result.cannot_assess.filter(patient_id="78")["reason"].to_list() == ["unrecognised_test"]
    assert result.rejected.filter(pl.col("reason") == "unparseable_value").height == 0


def test_headers_without_spaces_and_none_that_is_known_as_a_whole(tmp_path: Path) -> None:
    export, profile = tmp_path / "results.csv", tmp_path / "profile.toml"
    export.write_text(
        "PatientID,Sex,DOB,TestName,TestResult,TestUnits,RefLow,RefHigh,CollDate,CollTime,ResDate,ResTime,ResultStatus\n"
        "77,M,1960-01-02,WBC,4.1,K/uL,4.0,11.0,2026-11-20,08:00,2026-11-20,09:10,F\n"
        "78,F,1961-01-02,NEUT ABS,0.4,K/uL,1.8,7.7,2026-11-20,08:10,2026-11-20,09:10,F\n",
        "utf-8",
    )
    profile.write_text(propose_profile(export), "utf-8")
    result = screen(read(str(export), profile=str(profile)), as_of="2026-11-21")
    low = result.anc.filter(patient_id="78").select("anc_cells_per_ul", "collected_at").to_dicts()
    assert [(row["anc_cells_per_ul"], f"{row['collected_at']:%Y-%m-%d %H:%M}") for row in low] == [
        (400, "2026-11-20 08:10")
    ]
    assert 'reference_low = "RefLow"' in profile.read_text("utf-8")


def test_headers_that_say_nothing_are_told_by_their_values(tmp_path: Path) -> None:
    export = tmp_path / "columns.csv"
    export.write_text(
        "A1;B2;C3;D4;E5;F6\n"
        "1001;S1;20.11.2026 08:00;WBC;4,1;G/l\n"
        "1001;S1;20.11.2026 08:00;Neutrophile;55;%\n"
        "1002;S2;20.11.2026 09:00;WBC;3,1;G/l\n"
        "1002;S3;21.11.2026 09:00;WBC;2,9;G/l\n",
        "utf-8",
    )
    lines = propose_profile(export).splitlines()
    expected = {'patient_id = "A1"', 'collected_at = "C3"', 'analyte_name = "D4"', 'value = "E5"', 'unit = "F6"'}
    assert expected <= set(lines)

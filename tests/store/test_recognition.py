"""What a run says of tests that it does not understand (REC-3, REC-6), and of files that it refuses."""

import re
from pathlib import Path

import pytest

from neutro_screen.errors import RefusedInputError
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import check, run
from neutro_screen.report.words import warning_text
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table

LABS = """patient_id,specimen_id,collected_at,analyte_name,value,unit,lab
1,S1,2026-11-20 08:00,WBC COUNTQ,900,/mm3,MANUAL
2,S2,2026-11-20 08:00,WBC COUNTQ,4500,/mm3,MANUAL
3,S3,2026-11-20 08:00,ANC,4500,quux,MANUAL
4,S4,2026-11-20 08:00,Sodium,140,mmol/L,MANUAL
"""

#: Counts that are understood beside some whose unit or specimen is not, and a test that feeds no count.
UNREAD = """patient_id,specimen_id,collected_at,analyte_name,value,unit,lab,specimen_type
1,S1,2026-11-20 08:00,ANC,4500,/uL,MAIN,Blood
2,S2,2026-11-20 08:00,ANC,300,quux,MAIN,Blood
3,S3,2026-11-20 08:00,ANC,0.3,10*9/L,MAIN,Zork tube
4,S4,2026-11-20 08:00,ANC,0.4,10*9/L,MAIN,Zork box
4,S4,2026-11-20 08:00,Hemoglobin,13,g/dL,MAIN,Zork box
5,S5,2026-11-20 08:00,Hemoglobin,13,qux,MAIN,Blood
6,S6,2026-11-20 08:00,ANC,400,,MAIN,Blood
7,S7,2026-11-20 08:00,WBC,900,,WARD,Blood
"""


def options(folder: Path, profile: str = "", labs: str = LABS, **more: object) -> RunOptions:
    (folder / "labs.csv").write_text(labs, "utf-8")
    (folder / "meds.csv").write_text("patient_id,drug_name,start_date\n1,,2026-11-01\n", "utf-8")
    (folder / "p.toml").write_text(profile, "utf-8")
    return RunOptions(
        labs=(str(folder / "labs.csv"),),
        medications=(str(folder / "meds.csv"),),
        profile=folder / "p.toml",
        store=folder / "s.duckdb",
        as_of=moment("2026-11-21"),
        max_rejected=1.0,
        **more,
    )


def test_a_column_that_is_not_understood_is_warned_of_and_its_patients_cannot_be_assessed(tmp_path: Path) -> None:
    summary = run(options(tmp_path))
    told = [warning_text(warning) for warning in summary.warnings]
    assert 'UNRECOGNISED 2 rows "WBC COUNTQ" (/mm3) of MANUAL: probably wbc' in told
    with reading(tmp_path / "s.duckdb") as connection:
        cannot = read_table(connection, "SELECT patient_id, reason FROM cannot_assess ORDER BY patient_id").rows()
        table = read_table(connection, "SELECT name, certainty, reason, rows, patients FROM recognition ORDER BY name")
    assert cannot == [("1", "unrecognised_test"), ("2", "unrecognised_test"), ("3", "unit_unknown")]
    assert table.rows() == [
        ("ANC", "certain", "unit_unknown", 1, 1),
        ("Sodium", "unknown", "unmapped", 1, 1),
        ("WBC COUNTQ", "probable", "unrecognised_test", 2, 2),
    ]


def test_the_printed_lines_settle_it(tmp_path: Path) -> None:
    told = check(options(tmp_path), moment("2026-11-21"))
    lines = [row["profile_line"] for row in told["recognition"] if row["profile_line"]]
    assert sorted(lines) == ['analytes."WBC COUNTQ" = "wbc"', 'units."quux" = "10*9/L"']
    settled = check(options(tmp_path, "\n".join(lines).replace("10*9/L", "/uL")), moment("2026-11-21"))
    assert settled["counted"]["accepted"] == 3
    assert not any(row["profile_line"] for row in settled["recognition"])


def test_rec_5_a_unit_or_specimen_that_is_not_understood_is_warned_of_where_it_may_feed_the_anc(tmp_path: Path) -> None:
    summary = run(options(tmp_path, labs=UNREAD))
    told = [warning_text(warning) for warning in summary.warnings if warning["kind"] == "unrecognised"]
    assert sorted(told) == [
        'UNRECOGNISED 1 row "ANC" (10*9/L) in "Zork tube" of MAIN: specimen not understood',
        'UNRECOGNISED 1 row "ANC" (quux) of MAIN: unit not understood',
        'UNRECOGNISED 1 row "ANC" of MAIN: no unit',
        'UNRECOGNISED 1 row "WBC" of WARD: no unit',
    ]
    with reading(tmp_path / "s.duckdb") as connection:
        cannot = read_table(connection, "SELECT patient_id, reason FROM cannot_assess ORDER BY patient_id").rows()
    assert cannot == [("2", "unit_unknown"), ("3", "unknown_specimen"), ("6", "unit_missing"), ("7", "unit_missing")]


@pytest.mark.parametrize(("unit", "reason"), [("quux", "unit_unknown"), ("", "unit_missing")])
def test_rec_5_a_stray_unit_beside_many_good_ones_calls_nobody_and_is_lost_by_nobody(
    tmp_path: Path, unit: str, reason: str
) -> None:
    header = UNREAD.splitlines()[0]
    good = [f"{n},S{n},2026-11-20 08:00,ANC,4500,/uL,MAIN,Blood" for n in range(1, 31)]
    stray = f"99,S99,2026-11-20 08:00,ANC,300,{unit},MAIN,Blood"
    summary = run(options(tmp_path, labs="\n".join([header, *good, stray]), strict=True))
    assert [warning for warning in summary.warnings if warning["kind"] == "unrecognised"] == []
    with reading(tmp_path / "s.duckdb") as connection:
        assert read_table(connection, "SELECT patient_id, reason FROM cannot_assess").rows() == [("99", reason)]


def test_rec_5_the_printed_lines_settle_unit_and_specimen_and_a_strict_run_goes_through(tmp_path: Path) -> None:
    told = check(options(tmp_path, labs=UNREAD), moment("2026-11-21"))
    lines = [row["profile_line"] for row in told["recognition"] if row["profile_line"]]
    assert 'specimens."Zork tube" = "blood"' in lines
    with pytest.raises(RefusedInputError, match="unit not understood"):
        run(options(tmp_path, labs=UNREAD, strict=True))
    settled = [line for line in lines if "Hemoglobin" not in line and "qux" not in line.replace("quux", "")]
    profile = "\n".join(settled).replace("10*9/L", "/uL")
    summary = run(options(tmp_path, profile, UNREAD, strict=True))
    assert [warning for warning in summary.warnings if warning["kind"] == "unrecognised"] == []
    with reading(tmp_path / "s.duckdb") as connection:
        counted = read_table(connection, "SELECT patient_id FROM anc ORDER BY patient_id")["patient_id"].to_list()
    assert counted == ["1", "2", "3", "4", "6", "7"]


def test_a_strict_run_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RefusedInputError, match="WBC COUNTQ"):
        run(options(tmp_path, strict=True))
    assert not (tmp_path / "s.duckdb").exists()


def test_a_refused_medication_list_is_as_loud_as_a_missing_one(tmp_path: Path) -> None:
    summary = run(options(tmp_path))
    assert summary.others["medication"]["rows_in"] == 1
    assert summary.others["medication"]["accepted"] == 0
    assert any(warning["kind"] == "refused_file" for warning in summary.warnings)


def test_a_medication_list_whose_dates_cannot_be_read_is_used_and_as_loud(tmp_path: Path) -> None:
    asked = options(tmp_path)
    lines = ["patient_id,drug_name,start_date,end_date", *["1,Aspirin,2026-01-01,"] * 3, "1,Clozapine,01.13.2026,soon"]
    (tmp_path / "meds.csv").write_text("\n".join(lines), "utf-8")
    summary = run(asked)
    assert summary.others["medication"]["accepted"] == 4
    told = [warning_text(warning) for warning in summary.warnings if warning["kind"] == "unreadable_dates"]
    assert [text.partition(": ")[0] for text in told] == [
        "UNREADABLE DATES 1 of 4 medication rows have a start date that could not be read",
        "UNREADABLE DATES 1 of 4 medication rows have an end date that could not be read",
    ]
    with reading(tmp_path / "s.duckdb") as connection:
        kept = read_table(connection, "SELECT start_as_sent, end_as_sent FROM medication WHERE drug_name = 'Clozapine'")
    assert kept.rows() == [("01.13.2026", "soon")]


def test_the_page_lists_every_test_the_open_ones_first_and_the_account_of_the_other_files(tmp_path: Path) -> None:
    run(options(tmp_path, reports=tmp_path / "reports"))
    page = (tmp_path / "reports" / "report.html").read_text("utf-8")
    table = page[page.index('id="recognition"') : page.index("Not as it was")]
    rows = [re.sub(r"<[^>]*>", " ", row).split() for row in re.findall(r"<tr><td>.*?</tr>", table)]
    tests, files = rows[:-1], rows[-1]
    assert [row[1] for row in tests] == ["WBC", "ANC", "Sodium"]
    assert tests[0][-3:] == ["COUNTQ&#34;", "=", "&#34;wbc&#34;"]
    assert files[:4] == ["medication", "1", "0", "1"]
    assert "2 tests are open" in table
    assert "name of the test not understood" in table
    assert "unit missing or not known" in table
    assert "No medication list." in page
    assert "all 1 rows of the list that was given were refused" in page

"""Medication, patient, diagnosis and event files with dirt: nothing is lost silently, nothing usable is refused."""

from pathlib import Path

import pytest

from neutro_screen.ingest import Extract, Kind, ingest, read_batches
from neutro_screen.ingest.frames import SourceFile


def read(tmp_path: Path, kind: Kind, *lines: str) -> Extract:
    path = tmp_path / f"{kind}.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return ingest({kind: [str(path)]})


def told(extract: Extract, kind: Kind) -> list[tuple[int, str]]:
    return [(line.source_row, line.reason) for line in extract.refused[kind]]


def test_medication(tmp_path: Path) -> None:
    extract = read(
        tmp_path,
        "medication",
        "patient_id,drug_name,atc_code,start_date,end_date",
        "1,clozapine,,2026-01-01,",
        "2,clozapine,,31.02.2026,",
        "3, ,,2026-01-01,",
        "4,clozapine,,2026-01-01,soon",
        "5,clozapine,,2026-01-09,2026-01-01",
        "6,,N05AH02,2026-01,2026-02-30",
        "7,clozapine,, ,",
        "8,clozapine,,ca. 2019?,2026-01-31",
        "9,clozapine,,1780-01-01,2999-12-31",
    )
    assert told(extract, "medication") == [(4, "no_drug_name")]
    assert extract.refused["medication"][0].row.startswith('{"patient_id":"3","drug_name":" "')
    # Without a first day that can be read it is taken, since when is not known; what was sent is kept beside it.
    assert extract.medications.select("patient_id", "start_as_sent", "end_as_sent").rows() == [
        ("1", None, None),
        ("2", "31.02.2026", None),
        ("4", None, "soon"),
        ("5", None, None),
        ("6", None, "2026-02-30"),
        ("7", None, None),
        ("8", "ca. 2019?", None),
        ("9", None, None),
    ]
    assert extract.files[0].notes == (
        "no_start_date_rows:1",
        "unreadable_start_date_rows:2",
        "unreadable_end_date_rows:2",
        "end_before_start_rows:1",
    )
    assert extract.files[0].rows == 9


def test_patients(tmp_path: Path) -> None:
    extract = read(
        tmp_path,
        "patient",
        "patient_id,birth_date,duffy_null",
        "1,1970-01-01,yes",
        "2,the 70s,",
        "3,,maybe",
        "4,1970,no",
    )
    assert told(extract, "patient") == []
    assert extract.patients["duffy_null"].to_list() == [True, None, None, False]
    assert extract.files[0].notes == ("unreadable_birth_date_rows:1", "unreadable_duffy_null_rows:1")


def test_diagnoses(tmp_path: Path) -> None:
    extract = read(
        tmp_path, "diagnosis", "patient_id,code,system,date", "1,D70.2,ICD-10,yesterday", "2,C91.0,,2026-01-01"
    )
    assert extract.diagnoses["code"].to_list() == ["D702", "C910"]
    assert extract.files[0].notes == ("unreadable_date_rows:1",)


def test_events(tmp_path: Path) -> None:
    extract = read(
        tmp_path,
        "event",
        "patient_id,event,date,detail",
        "1,Travel,2026-01-01,Nigeria",
        "1,party,2026-01-01,",
        "1,travel,x,",
    )
    assert told(extract, "event") == [(3, "unknown_event"), (4, "unreadable_date")]
    assert extract.events["event"].to_list() == ["travel"]


@pytest.mark.parametrize("kind", ["medication", "patient", "diagnosis", "event"])
def test_lines_of_another_length_are_refused_in_every_kind(tmp_path: Path, kind: Kind) -> None:
    header = {
        "medication": "patient_id,drug_name,start_date",
        "patient": "patient_id,sex,ethnicity",
        "diagnosis": "patient_id,code,date",
        "event": "patient_id,event,date",
    }[kind]
    extract = read(tmp_path, kind, header, "1,travel,2026-01-01", "1,travel", "1,travel,2026-01-01,x,y")
    assert told(extract, kind) == [(3, "too_few_fields"), (4, "too_many_fields")]


def test_counts_of_read_batches_add_up() -> None:
    parts = [
        SourceFile("f", "medication", "fhir", "x", 1, notes) for notes in (("a_rows:2", "b:1"), ("a_rows:3", "b:1"))
    ]
    assert parts[0].followed_by(parts[1]).notes == ("a_rows:5", "b:1")


def test_every_row_is_in_exactly_one_place(tmp_path: Path) -> None:
    path = tmp_path / "drugs.csv"
    path.write_text("patient_id,drug_name,start_date\n" + "1,x,2026-01-01\n1,x,?\n1\n" * 50, "utf-8")
    (batch,) = read_batches({"medication": [str(path)]})
    assert batch.file.rows == batch.rows.height + len(batch.refused) == 150

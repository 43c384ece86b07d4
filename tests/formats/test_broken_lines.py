"""Lines that are no rows, in every reader where they occur: counted, under their own number, and their patient named."""

import json
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.ingest import Extract, Refused, ingest
from neutro_screen.ingest.formats.fhir import parsing
from neutro_screen.ingest.formats.hl7v2 import segments
from neutro_screen.ingest.profile import Profile
from tests.formats.hospital_files import write_xlsx

HEADER = "patient_id,specimen_id,collected_at,loinc,analyte_name,value,unit,comment"


def row(patient: str, comment: str = "") -> str:
    return f"{patient},S-{patient},2026-01-10T08:00:00,751-8,ANC,0.4,10*3/uL,{comment}"


def read(tmp_path: Path, *lines: str, profile: Profile | None = None, kind: str = "lab") -> Extract:
    path = tmp_path / "labs.csv"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return ingest({kind: [str(path)]}, profile)


def rows_of(extract: Extract) -> list[tuple[str, int]]:
    return extract.labs.select("patient_id", "source_row").rows()


def refused(extract: Extract) -> list[tuple[int, str, str | None]]:
    return [(line.source_row, line.reason, line.patient_id) for line in extract.refused["lab"]]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("P2,S-P2,2026-01-10T08:00:00,751-", "too_few_fields"),
        ("P2,S-P2,", "too_few_fields"),
        (row("P2", "a, b"), "too_many_fields"),
        (row("P2", '"never closed'), "broken_quotes"),
        (row("P2", "a\rb"), "lone_carriage_return"),
        (row("P2", "a\0b"), "zero_bytes"),
        (row("P2", "Größe \udcff"), "undecodable_text"),
        (row("P2", "x" * 2_100_000), "line_too_long"),
        (row("P2", "x" * 40_000_000), "line_too_long"),
    ],
    ids=range(9),
)
def test_a_broken_line_keeps_its_number_and_names_its_patient(tmp_path: Path, broken: str, reason: str) -> None:
    extract = read(tmp_path, HEADER, row("P1", "grün"), broken, row("P3"), row("P4"))
    assert rows_of(extract) == [("P1", 2), ("P3", 4), ("P4", 5)]
    assert refused(extract) == [(3, reason, "P2")]
    assert extract.files[0].rows == 4


def test_specimen_and_time_of_a_broken_line(tmp_path: Path) -> None:
    (line,) = read(tmp_path, HEADER, row("P1"), "P2,S-2,2026-01-10T08:00:00,751-8").refused["lab"]
    assert (line.specimen_id, str(line.collected_at)) == ("S-2", "2026-01-10 08:00:00")


@pytest.mark.parametrize(
    "line", ["** End of report **", "Total rows: 3", "=" * 40, "Total,3", "Printed by,A. Nurse,today", '"End', "P"]
)
def test_a_title_or_footer_names_no_patient(tmp_path: Path, line: str) -> None:
    extract = read(tmp_path, HEADER, row("P1"), row("P2"), line)
    assert [patient for _, _, patient in refused(extract)] == [None]
    assert set(extract.labs["patient_id"]) == {"P1", "P2"}


@pytest.mark.parametrize("line", ["** End of report **,,,,,,,", "Total rows,3,,,,,,", "=====,,,,,,,"])
def test_a_footer_over_all_columns_is_no_patient(tmp_path: Path, line: str) -> None:
    extract = read(tmp_path, HEADER, row("P1"), line)
    assert refused(extract) == [(3, "title_or_footer", None)]
    assert extract.labs["patient_id"].to_list() == ["P1"]
    assert extract.files[0].rows == 2


def test_a_row_with_an_identifier_and_a_time_is_a_row(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER, "P9,,2026-01-10T08:00:00,,,,,").labs["patient_id"].to_list() == ["P9"]


def test_footers_of_workbooks_and_of_patient_files(tmp_path: Path) -> None:
    path = tmp_path / "labs.xlsx"
    write_xlsx(path, [HEADER.split(","), row("P1").split(","), ["** End of report **"], [], ["Total", 1]])
    extract = ingest({"lab": [str(path)]})
    assert extract.labs["patient_id"].to_list() == ["P1"]
    assert refused(extract) == [(3, "title_or_footer", None), (5, "title_or_footer", None)]
    people = tmp_path / "patients.csv"
    people.write_text("patient_id,birth_date,sex\nP1,1970-01-01,F\nP2,,\n** End of report **,,\n", "utf-8")
    extract = ingest({"patient": [str(people)]})
    assert extract.patients["patient_id"].to_list() == ["P1", "P2"]
    assert [line.reason for line in extract.refused["patient"]] == ["title_or_footer"]


def test_lines_above_the_header_are_titles(tmp_path: Path) -> None:
    extract = read(
        tmp_path, "Haematology export", "", "printed 2026-01-11, page 1", HEADER, row("P1"), "P2,cut", row("P3")
    )
    assert rows_of(extract) == [("P1", 5), ("P3", 7)]
    assert refused(extract)[0][:2] == (6, "too_few_fields")
    assert "title_lines:3" in extract.files[0].notes


def test_a_row_that_holds_the_name_of_a_column_is_not_taken_for_the_header_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="required lab column missing") as raised:
        read(tmp_path, "SECRET-1,SECRET-NAME,value", "SECRET-2,SECRET-NAME,2")
    assert "SECRET" not in str(raised.value)


def test_blank_lines_and_line_ends_inside_quotes_shift_no_number(tmp_path: Path) -> None:
    lines = [HEADER, row("P1"), "", "", row("P2", '"two'), 'lines"', row("P3"), "P4,cut", row("P5")]
    extract = read(tmp_path, *lines)
    assert rows_of(extract) == [("P1", 2), ("P2", 5), ("P3", 7), ("P5", 9)]
    assert refused(extract)[0][:2] == (8, "too_few_fields")
    assert extract.labs["comment"].to_list() == [None, "two\nlines", None, None]


def test_a_quote_left_open_beside_one_that_spans_lines(tmp_path: Path) -> None:
    lines = [HEADER, row("P1", '"open'), row("P2"), row("P3", '"two'), 'lines"', row("P4")]
    extract = read(tmp_path, *lines)
    assert rows_of(extract) == [("P2", 3), ("P3", 4), ("P4", 6)]
    assert refused(extract) == [(2, "broken_quotes", "P1")]


@pytest.mark.parametrize("comment", [r'"said \"ok\" today"', r'"a \", b"', r'"\"quoted\""'])
def test_quotes_escaped_by_a_backslash(tmp_path: Path, comment: str) -> None:
    extract = read(tmp_path, HEADER, row("P1"), row("P2", comment), row("P3"))
    assert rows_of(extract) == [("P1", 2), ("P2", 3), ("P3", 4)]
    assert extract.labs["comment"][1] == comment[1:-1].replace("\\", "")


def test_one_line_in_another_encoding_does_not_change_the_others(tmp_path: Path) -> None:
    unit = row("P1").replace("10*3/uL", "10³/µl")
    extract = read(tmp_path, HEADER, unit, row("P2", "caf\udce9"), unit.replace("P1", "P3"))
    assert extract.labs["unit_text"].to_list() == ["10³/µl", "10³/µl"]
    assert refused(extract) == [(3, "undecodable_text", "P2")]
    assert "decoded_as_cp1252" not in extract.files[0].notes


def test_a_byte_order_mark_and_a_broken_byte(tmp_path: Path) -> None:
    extract = read(tmp_path, "\ufeff" + HEADER, row("P1"), row("P2", "\udcff"), row("P3"))
    assert rows_of(extract) == [("P1", 2), ("P3", 4)]


def test_a_lone_surrogate_in_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "labs.csv"
    text = "\n".join([HEADER, row("P1"), row("P2", "\ud800"), row("P3"), ""])
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le", "surrogatepass"))
    assert rows_of(ingest({"lab": [str(path)]})) == [("P1", 2), ("P2", 3), ("P3", 4)]


def one(extract: Extract) -> Refused:
    (line,) = extract.refused["lab"]
    return line


def test_a_broken_line_of_mimic_and_of_omop(tmp_path: Path) -> None:
    mimic, omop = tmp_path / "mimic", tmp_path / "omop"
    mimic.mkdir()
    (mimic / "LABEVENTS.csv").write_text(
        "SUBJECT_ID,ITEMID,CHARTTIME,VALUE,VALUEUOM\n1,51301,2150-01-01,4,K/uL\n2,51301,2150-01-01 08:00:00,4\n",
        "utf-8",
    )
    (mimic / "D_LABITEMS.csv").write_text("ITEMID,LABEL,FLUID\n51301,WBC,Blood\n51302,x\n", "utf-8")
    extract = ingest({"lab": [str(mimic)]})
    assert (one(extract).patient_id, str(one(extract).collected_at)) == ("2", "2150-01-01 08:00:00")
    assert "broken_lookup_lines:1" in extract.files[0].notes
    omop.mkdir()
    (omop / "person.csv").write_text("person_id,year_of_birth\n1,1970\n", "utf-8")
    (omop / "measurement.csv").write_text(
        "measurement_id,person_id,measurement_concept_id,measurement_date,value_as_number\n1,1,3013650,2026-01-01,4\n"
        "2,22,3013650,2026-0\n",
        "utf-8",
    )
    assert one(ingest({"lab": [str(omop)]})).patient_id == "22"


def test_a_broken_line_of_fhir_cdisc_and_hl7(tmp_path: Path) -> None:
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": "Patient/0042"},
        "effectiveDateTime": "2026-01-10T08:00:00Z",
        "valueQuantity": {"value": 0.4},
    }
    path = tmp_path / "labs.ndjson"
    whole = json.dumps(observation)
    path.write_text(f"{whole}\n{whole.replace('0042', '0043')[:-9]}\n{whole}\n", "utf-8")
    line = one(ingest({"lab": [str(path)]}))
    assert (line.source_row, line.reason, line.patient_id) == (2, "broken_json", "0043")
    assert str(line.collected_at) == "2026-01-10 08:00:00"

    columns = [{"name": name} for name in ("USUBJID", "LBTESTCD", "LBORRES", "LBDTC")]
    head = json.dumps({"datasetJSONVersion": "1.1.0", "columns": columns})
    path = tmp_path / "lb.ndjson"
    path.write_text(
        f'{head}\n["1", "WBC", "4", "2026-01-01"]\n["2", "WBC", "4"]\n["3", "WBC", "4", "20\n["4", "WBC", \r4, "20\n',
        "utf-8",
    )
    lines = ingest({"lab": [str(path)]}).refused["lab"]
    assert [(line.source_row, line.reason, line.patient_id) for line in lines] == [
        (3, "ragged_line", "2"),
        (4, "ragged_line", "3"),
        (5, "ragged_line", "4"),
    ]

    message = (
        "MSH|^~\\&|L|N|||20260110||ORU^R01|1|P|2.5\rPID|1||P1^^^H^MR\rOBR|1||A\rOBX|1|NM|751-8^ANC^LN||0.4|K/uL||||F\r"
    )
    path = tmp_path / "night.hl7"
    path.write_bytes(
        ("FHS|^~\\&\rPID|1||P7^^^H^MR\rOBX|1|NM|751-8^ANC^LN||0.4|K/uL||||F\r" + message + "FTS|0\r").encode()
    )
    lines = ingest({"lab": [str(path)]}).refused["lab"]
    assert {(line.source_row, line.reason, line.patient_id) for line in lines} == {
        (2, "outside_message", "P7"),
        (3, "outside_message", "P7"),
    }


def test_an_accession_number_in_the_patients_place_is_noted(tmp_path: Path) -> None:
    def notes(*lines: str) -> str:
        return " ".join(read(tmp_path, HEADER, *lines).files[0].notes)

    same = [row(f"A{number}").replace("S-", "") for number in range(5)]
    assert "patient_identifier_suspect" in notes(*same)
    assert "patient_identifier_suspect" not in notes(*same[:2])
    assert "patient_identifier_suspect" not in notes(*(row(f"P{number}") for number in range(50)))
    over_weeks = [row(f"P{number}").replace("01-10", f"0{1 + number // 10}-10") for number in range(40)]
    assert "patient_identifier_suspect" in notes(*over_weeks)
    again = [line.replace("T08", "T09").replace("S-", "T-") for line in over_weeks[:5]]
    assert "patient_identifier_suspect" not in notes(*over_weeks, *again)


def test_chart_files_name_their_patients_too(tmp_path: Path) -> None:
    extract = read(
        tmp_path, "patient_id,drug_name,start_date", "P1,clozapine,2026-01-01", "P2,,2026-01-01", kind="medication"
    )
    assert [(line.reason, line.patient_id) for line in extract.refused["medication"]] == [("no_drug_name", "P2")]
    assert extract.medications.height == 1


def test_a_wide_row_without_any_result_is_noted(tmp_path: Path) -> None:
    profile = Profile.model_validate(
        {
            "lab": {
                "wide": [
                    {"column": "WBC", "analyte": "wbc", "unit": "K/uL"},
                    {"column": "ANC", "analyte": "neut_abs", "unit": "K/uL"},
                ]
            }
        }
    )
    extract = read(
        tmp_path,
        "patient_id,collected_at,WBC,ANC",
        "P1,2026-01-10,4.0,",
        "P2,2026-01-10, ,",
        "P3,2026-01-10,QNS,0.4",
        "** End of report **,,,",
        profile=profile,
    )
    assert sorted(extract.labs.select("patient_id", "analyte_name", "value_text").rows()) == [
        ("P1", "WBC", "4.0"),
        ("P3", "ANC", "0.4"),
        ("P3", "WBC", "QNS"),
    ]
    assert "untested_rows:1" in extract.files[0].notes
    assert refused(extract) == [(5, "title_or_footer", None)]
    assert extract.labs.filter(pl.col("unit_text") != "K/uL").height == 0


def test_records_over_the_limit_are_refused_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "BLOCK_BYTES", 2_000)
    monkeypatch.setattr(parsing, "LARGEST_DOCUMENT", 10_000)
    observation = {"resourceType": "Observation", "subject": {"reference": "Patient/P1"}, "valueString": "0.4"}
    line = json.dumps(observation)
    huge = json.dumps(observation | {"subject": {"reference": "Patient/P2"}, "valueString": "x" * 50_000})
    path = tmp_path / "labs.ndjson"
    path.write_text("\n".join([line] * 30 + [huge] + [line] * 30) + "\n", "utf-8")
    extract = ingest({"lab": [str(path)]})
    assert extract.labs["source_row"].to_list() == [*range(1, 31), *range(32, 62)]
    assert refused(extract) == [(31, "line_too_long", "P2")]

    monkeypatch.setattr(segments, "_BLOCK_BYTES", 2_000)
    monkeypatch.setattr(segments, "LONGEST_MESSAGE", 10_000)

    def message(patient: str, value: str) -> str:
        return (
            f"MSH|^~\\&|L|N|||20260110||ORU^R01|1|P|2.5\rPID|1||{patient}^^^H^MR\rOBR|1||A{patient}|CBC|||20260110080000\r"
            f"OBX|1|ST|751-8^ANC^LN||{value}|K/uL||||F\r"
        )

    texts = [message(f"P{number}", "0.4") for number in range(10, 30)]
    texts[9] = message("P99", "x" * 50_000)
    path = tmp_path / "night.hl7"
    path.write_text(f"BHS|^~\\&\r{''.join(texts)}BTS|20\r", newline="")
    extract = ingest({"lab": [str(path)]})
    assert extract.labs.height == 19
    assert extract.labs["source_row"].to_list() == [5 + 4 * number for number in range(20) if number != 9]
    assert refused(extract) == [(38, "message_too_long", "P99")]

"""Flat extracts through profiles: wide files, Epic and Cerner extracts, and the profile that init proposes."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

import neutro_screen
from neutro_schemas import ScreenedResult
from neutro_screen.admin.propose import propose_profile
from neutro_screen.errors import NeutroScreenError
from neutro_screen.ingest import Extract, ingest, load_profile
from neutro_screen.ingest.profile import Profile
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.counts.results import judge_rows
from neutro_screen.validate import Split, split_valid
from tests.formats.hospital_files import hospital, write_excel, write_native, write_text_csv, write_xlsx

PROFILES = Path(__file__).parent / "profiles"
NHANES = Path(__file__).parents[3] / "shared" / "data" / "nhanes" / "CBC_J.csv"


def judged(extract: Extract, profile: Profile) -> Split:
    reference = load_reference().extended_by(profile.analytes, profile.statuses)
    rows = judge_rows(
        extract.labs, reference, load_policy(), as_of=datetime(2026, 6, 1), decimal_mark=profile.decimal_mark
    )
    return split_valid(rows.results, ScreenedResult)


@pytest.mark.skipif(not NHANES.exists(), reason="the open data are not beside the project")
def test_nhanes_wide() -> None:
    profile = load_profile(PROFILES / "nhanes.toml")
    accepted, rejected = judged(ingest({"lab": [str(NHANES)]}, profile), profile)
    counts = accepted.filter(pl.col("analyte") == "neut_abs")
    people = counts.group_by("patient_id").agg((pl.col("value") * 1000).round(6).min().alias("cells"))
    assert rejected.height == 0
    assert people.height == 7523
    assert [people.filter(pl.col("cells") < limit).height for limit in (1500, 1000, 500)] == [177, 24, 1]


def test_wide_columns_are_rows_with_their_unit(tmp_path: Path) -> None:
    path = write_text_csv(
        tmp_path / "wide.csv",
        [("id", "day", "WBC x", "Neut x"), ("1", "2026-01-01", "4.1", ""), ("2", "2026-01-02", "<0.1", "0.0")],
    )
    profile = Profile.model_validate(
        {
            "lab": {
                "columns": {"patient_id": "id", "collected_at": "day"},
                "wide": [
                    {"column": "WBC x", "analyte": "wbc", "unit": "K/uL"},
                    {"column": "Neut x", "analyte": "neut_abs", "unit": "K/uL"},
                ],
            }
        }
    )
    extract = ingest({"lab": [str(path)]}, profile)
    assert extract.labs.sort("source_row", "analyte_name").select(
        "source_row", "analyte_name", "value_text"
    ).rows() == [(2, "WBC x", "4.1"), (3, "Neut x", "0.0"), (3, "WBC x", "<0.1")]
    accepted, _ = judged(extract, profile)
    assert sorted(accepted.select("analyte", "value", "comparator").rows(), key=str) == [
        ("neut_abs", 0.0, None),
        ("wbc", 0.1, "<"),
        ("wbc", 4.1, None),
    ]


def test_rec_3_a_column_of_a_wide_file_that_no_profile_maps_and_may_feed_the_count_loses_nobody(tmp_path: Path) -> None:
    """REC-3: its cells are rows under its header; what is not understood is kept aside, a repeated analyte is left out."""
    header = ("id", "day", "wbc", "White count", "ANC (10*3/uL)", "Neutrophils Zwickau", "Neut comment", "Platelets")
    path = write_text_csv(
        tmp_path / "wide.csv",
        [
            header,
            ("1", "2026-05-01", "4.1", "4.1", "0.4", "", "see 2", "180"),
            ("2", "2026-05-01", "", "", "", "0.3", "", ""),
        ],
    )
    columns = {"patient_id": "id", "collected_at": "day"}
    profile = Profile.model_validate(
        {"lab": {"columns": columns, "wide": [{"column": "wbc", "analyte": "wbc", "unit": "K/uL"}]}}
    )
    extract = ingest({"lab": [str(path)]}, profile)
    assert extract.labs.sort("source_row", "analyte_name").select("analyte_name", "value_text", "unit_text").rows() == [
        ("ANC (10*3/uL)", "0.4", "10*3/uL"),
        ("wbc", "4.1", "K/uL"),
        ("Neutrophils Zwickau", "0.3", None),
    ]
    assert "unread_columns:2" in extract.files[0].notes
    accepted, _ = judged(extract, profile)
    assert accepted.filter(analyte="neut_abs")["value"].to_list() == [0.4]


def test_rec_3_text_in_such_a_column_loses_nobody_who_has_no_other_count(tmp_path: Path) -> None:
    """REC-3: a clotted sample, a number with a remark, a column of an unknown name with the unit of a count."""
    header = ("id", "day", "wbc", "Neutrophils Zwickau", "Zwick (10^9/L)", "wbc date", "Platelets")
    path = write_text_csv(
        tmp_path / "wide.csv",
        [
            header,
            ("1", "2026-05-01", "", "clotted", "", "2026-05-01", "180"),
            ("2", "2026-05-01", "", "0.3 (repeated)", "", "", "180"),
            ("3", "2026-05-01", "4.1", "see remark", "0.2", "2026-05-01", "180"),
            ("4", "2026-05-01", "", "", "0.2", "", ""),
            ("5", "2026-05-01", "", "", "", "2026-05-01", "180"),
            ("6", "2026-05-01", "", "10^9/L", "", "", "180"),
        ],
    )
    wide = [
        {"column": "wbc", "analyte": "wbc", "unit": "K/uL"},
        {"column": "Platelets", "analyte": "plt", "unit": "K/uL"},
    ]
    profile = Profile.model_validate({"lab": {"columns": {"patient_id": "id", "collected_at": "day"}, "wide": wide}})
    extract = ingest({"lab": [str(path)]}, profile)
    unread = extract.labs.filter(~pl.col("analyte_name").is_in(["wbc", "Platelets"])).sort("patient_id")
    assert unread.select("patient_id", "analyte_name", "value_text").rows() == [
        ("1", "Neutrophils Zwickau", "clotted"),
        ("2", "Neutrophils Zwickau", "0.3 (repeated)"),
        ("4", "Zwick (10^9/L)", "0.2"),
    ]


def test_epic_order_results(tmp_path: Path) -> None:
    header = (
        "PAT_ID",
        "ORDER_PROC_ID",
        "SPECIMN_TAKEN_TIME",
        "RESULT_TIME",
        "COMPONENT_ID",
        "COMPONENT_NAME",
        "COMPON_LNC_CODE",
        "ORD_VALUE",
        "ORD_NUM_VALUE",
        "REFERENCE_UNIT",
        "RESULT_STATUS",
    )
    rows = [
        (
            "Z007",
            "11",
            "1/10/2026 8:00:00 AM",
            "1/10/2026 9:30:00 AM",
            "1810",
            "ANC (ABS)",
            "",
            "<0.1",
            "9999999",
            "10*3/uL",
            "Final",
        ),
        (
            "Z007",
            "11",
            "1/10/2026 8:00:00 AM",
            "1/10/2026 9:30:00 AM",
            "9",
            "WBC",
            "6690-2",
            "9999999",
            "9999999",
            "10*3/uL",
            "Final",
        ),
        (
            "Z007",
            "12",
            "1/11/2026 11:15:00 PM",
            "1/12/2026 1:00:00 AM",
            "9",
            "WBC",
            "6690-2",
            "2.5",
            "2.5",
            "10*3/uL",
            "Corrected",
        ),
    ]
    profile = load_profile(PROFILES / "epic_order_results.toml")
    extract = ingest({"lab": [str(write_text_csv(tmp_path / "epic.csv", [header, *rows]))]}, profile)
    assert [str(at) for at in extract.labs["collected_at"]] == [
        "2026-01-10 14:00:00",
        "2026-01-10 14:00:00",
        "2026-01-12 05:15:00",
    ]
    accepted, rejected = judged(extract, profile)
    assert accepted.select("analyte", "value", "comparator", "status").rows() == [
        ("neut_abs", 0.1, "<", "final"),
        ("wbc", 2.5, None, "corrected"),
    ]
    assert rejected.height == 0  # the sentinel is no number at all, and no result


def test_cerner_clinical_events(tmp_path: Path) -> None:
    header = (
        "PERSON_ID",
        "ACCESSION_NBR",
        "EVENT_END_DT_TM",
        "VERIFIED_DT_TM",
        "EVENT_CD_DISP",
        "RESULT_VAL",
        "RESULT_UNITS_CD_DISP",
        "RESULT_STATUS_CD_DISP",
    )
    rows = [
        (
            "00123",
            "A1",
            "29.03.2026 03:30",
            "29.03.2026 04:00",
            "Neutrophile absolut",
            "0,450",
            "G/L",
            "Auth (Verified)",
        ),
        ("00123", "A1", "29.03.2026 03:30", "29.03.2026 05:00", "Neutrophile absolut", "-999", "G/L", "In Error"),
    ]
    path = write_text_csv(tmp_path / "cerner.txt", [header, *rows], delimiter="|", encoding="utf-16")
    profile = load_profile(PROFILES / "cerner_clinical_event.toml")
    extract = ingest({"lab": [str(path)]}, profile)
    assert extract.labs["patient_id"].to_list() == ["00123", "00123"]
    assert str(extract.labs["collected_at"][0]) == "2026-03-29 01:30:00"
    accepted, _ = judged(extract, profile)
    assert accepted.select("analyte", "value", "status").rows() == [
        ("neut_abs", 0.45, "final"),
        ("neut_abs", None, "entered_in_error"),
    ]


def proposed(tmp_path: Path, path: Path) -> tuple[Profile, str]:
    text = propose_profile(path)
    (tmp_path / "proposed.toml").write_text(text, "utf-8")
    return load_profile(tmp_path / "proposed.toml"), text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_proposal_reads_its_sample(tmp_path: Path, delimiter: str) -> None:
    header = ("Hospital Number", "Accession Number", "Collection Date", "Test Name", "Result", "Units", "Mood")
    rows = [
        ("00042", "A1", "31/01/2026 08:15", "WBC", "2,5", "10*9/L", "SECRET"),
        ("00042", "A1", "31/01/2026 08:15", "Neutro total", "0,4", "Gpt/xx", "x"),
    ]
    path = write_text_csv(tmp_path / "sample.csv", [header, *rows], delimiter=delimiter, encoding="cp1252")
    profile, text = proposed(tmp_path, path)
    assert (profile.lab.columns["patient_id"], profile.decimal_mark) == ("Hospital Number", ",")
    assert profile.datetime_formats == ("%d/%m/%Y %H:%M",)
    assert 'Columns that are not used: "Mood"' in text
    assert 'Tests that are not known by name: "Neutro total"' in text
    assert 'Units that are not known: "Gpt/xx"' in text
    assert "SECRET" not in text and "00042" not in text
    extract = ingest({"lab": [str(path)]}, profile)
    assert extract.labs.select("patient_id", "value_text").rows() == [("00042", "2,5"), ("00042", "0,4")]
    assert str(extract.labs["collected_at"][0]) == "2026-01-31 08:15:00"


@pytest.mark.parametrize(
    ("ward", "requester"),
    [
        ("Ward", "Ordering Provider"),
        ("Station", "Einsender"),
        ("NURSING_UNIT", "requested_by"),
        ("Unit/Service", "Médecin prescripteur"),
        ("Patient Location", "Referring physician"),
    ],
)
def test_a_proposal_finds_ward_and_requester(tmp_path: Path, ward: str, requester: str) -> None:
    header = ("MRN", "Accession Number", "Collection Date", "Test Name", "Result", "Units", ward, requester)
    rows = [
        ("00042", "A1", "2026-01-31 08:15", "WBC", "2.5", "10*9/L", "7B", "Secret, S."),
        ("00043", "A2", "2026-01-31 08:15", "Neutrophils", "0.4", "10*9/L", "", ""),
    ]
    path = write_text_csv(tmp_path / "sample.csv", [header, *rows])
    profile, text = proposed(tmp_path, path)
    assert "Secret" not in text
    labs = ingest({"lab": [str(path)]}, profile).labs
    assert labs.select("ward", "requester").rows() == [("7B", "Secret, S."), (None, None)]


def test_a_service_that_is_what_was_asked_for_is_no_ward(tmp_path: Path) -> None:
    header = ("MRN", "Collection Date", "Test Name", "Service", "Result", "Units")
    rows = [("00042", "2026-01-31 08:15", name, name, "2.5", "10*9/L") for name in ("WBC", "Neutrophils")]
    profile, _ = proposed(tmp_path, write_text_csv(tmp_path / "sample.csv", [header, *rows]))
    assert "ward" not in profile.lab.columns


def test_a_list_of_medications_with_a_ward_is_still_one(tmp_path: Path) -> None:
    header = ("MRN", "Drug", "Start Date", "Ward", "Ordering Provider")
    rows = [("00042", "clozapine", "2026-01-31", "7B", "Secret, S.")]
    _, text = proposed(tmp_path, write_text_csv(tmp_path / "sample.csv", [header, *rows]))
    assert "[medication.columns]" in text and "Secret" not in text


def test_a_proposal_for_a_wide_workbook(tmp_path: Path) -> None:
    path = tmp_path / "clinic.xlsx"
    write_xlsx(
        path,
        [
            ("Clinic list",),
            ("MRN", "Collection Date", "WBC (10*9/L)", "Neutrophils (%)", "Neutrophils (10*9/L)", "Mood"),
            ("1", "2026-01-31", 2.5, 10, 0.25, "fine"),
        ],
    )
    profile, text = proposed(tmp_path, path)
    assert {column.column: (column.analyte, column.unit) for column in profile.lab.wide} == {
        "WBC (10*9/L)": ("wbc", "10*9/L"),
        "Neutrophils (%)": ("neut_pct", "%"),
        "Neutrophils (10*9/L)": ("neut_abs", "10*9/L"),
    }
    assert 'not used: "Mood"' in text
    accepted, rejected = judged(ingest({"lab": [str(path)]}, profile), profile)
    assert sorted(accepted.select("analyte", "value").rows()) == [("neut_abs", 0.25), ("neut_pct", 10.0), ("wbc", 2.5)]
    assert rejected.height == 0


def test_an_ambiguous_day_is_left_open(tmp_path: Path) -> None:
    header = ("mrn", "collected", "test", "value", "unit")
    path = write_text_csv(tmp_path / "sample.csv", [header, ("1", "02/03/2026", "WBC", "4.1", "K/uL")])
    profile, text = proposed(tmp_path, path)
    assert profile.datetime_formats == ()
    assert "day/month and month/day alike" in text


@pytest.mark.parametrize("kind", ["lab", "medication", "patient", "diagnosis", "event"])
def test_proposals_for_every_kind(tmp_path: Path, kind: str) -> None:
    paths = write_native(hospital(), tmp_path)
    text = propose_profile(Path(paths[kind][0]))
    assert f"[{kind}.columns]" in text
    assert "MISSING" not in text


def test_a_proposal_for_excel_in_the_native_layout(tmp_path: Path) -> None:
    text = propose_profile(Path(write_excel(hospital(), tmp_path)["lab"][0]))
    assert "MISSING" not in text


def test_no_proposal_for_what_is_no_table(tmp_path: Path) -> None:
    for content in (b"", b"one word", bytes(range(256))):
        (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(NeutroScreenError):
            propose_profile(tmp_path / "x.csv")


def test_a_proposal_for_a_german_ward_sheet(tmp_path: Path) -> None:
    path = tmp_path / "station.xlsx"
    write_xlsx(
        path,
        [
            ("Laborexport Station 3",),
            (),
            (
                "Patientennummer",
                "Entnahmedatum",
                "Leukozyten [Gpt/l]",
                "Neutrophile [%]",
                "Neutrophile abs. [Gpt/l]",
                "Kalium [mmol/l]",
            ),
            ("0001", "31.01.2026 08:15", "2,5", "12", "0,30", "4,1"),
        ],
    )
    profile, text = proposed(tmp_path, path)
    assert profile.lab.columns == {"patient_id": "Patientennummer", "collected_at": "Entnahmedatum"}
    assert {wide.analyte: wide.unit for wide in profile.lab.wide} == {
        "wbc": "Gpt/l",
        "neut_pct": "%",
        "neut_abs": "Gpt/l",
    }
    assert 'Columns that are not used: "Kalium [mmol/l]"' in text
    assert judged(ingest({"lab": [str(path)]}, profile), profile).accepted.height == 3


@pytest.mark.parametrize(
    ("kind", "header", "row", "columns"),
    [
        (
            "medication",
            ("Fallnummer", "Pat.-Nr.", "Präparat", "ATC-Code", "Beginn", "Ende"),
            ("F1", "0001", "Leponex", "N05AH02", "01.02.2026", ""),
            {"patient_id": "Pat.-Nr.", "drug_name": "Präparat"},
        ),
        ("patient", ("PID", "Geburtsdatum", "Geschlecht"), ("0001", "13.02.1960", "w"), {"birth_date": "Geburtsdatum"}),
        (
            "diagnosis",
            ("PatientenID", "ICD-10-Code", "Diagnosedatum"),
            ("0001", "D70.1", "13.02.2026"),
            {"code": "ICD-10-Code"},
        ),
        (
            "lab",
            ("Patienten-ID", "Abnahmezeitpunkt", "Parameter", "Ergebnis", "Einheit", "Befundstatus"),
            ("0001", "31.01.2026 08:15", "Leukozyten", "2,5", "Gpt/l", "abgelegt"),
            {"collected_at": "Abnahmezeitpunkt"},
        ),
    ],
)
def test_a_proposal_for_german_files_of_every_kind(
    tmp_path: Path, kind: str, header: tuple[str, ...], row: tuple[str, ...], columns: dict[str, str]
) -> None:
    path = write_text_csv(tmp_path / "datei.csv", [header, row], delimiter=";", encoding="cp1252")
    profile, text = proposed(tmp_path, path)
    assert columns.items() <= getattr(profile, kind).columns.items()
    assert "MISSING" not in text
    assert profile.datetime_formats[0].startswith("%d.%m.%Y")
    if kind == "lab":
        assert 'Status words that are not known, and would count as preliminary: "abgelegt"' in text
    extract = ingest({kind: [str(path)]}, profile)
    assert not any(extract.refused.values())


def test_a_title_above_the_header_is_passed_over(tmp_path: Path) -> None:
    path = write_text_csv(
        tmp_path / "titled.csv",
        [("Export",), ("Patient ID", "Test", "Result", "Units"), ("SECRET", "WBC", "2", "K/uL")],
    )
    profile, text = proposed(tmp_path, path)
    assert profile.lab.columns["patient_id"] == "Patient ID"
    assert "SECRET" not in text


def test_date_and_time_in_two_columns_and_the_range_in_one(tmp_path: Path) -> None:
    path = tmp_path / "lis.csv"
    path.write_text(
        "Patientennr;Auftragsnr;Abnahmedatum;Abnahmezeit;Bezeichnung;Ergebnis;Einheit;Referenzbereich\n"
        "004712;L1;02.11.2026;07:55;Neutrophile abs.;4,2;G/l;1,8 - 7,7\n"
        "004713;L2;02.11.2026;;Neutrophile abs.;0,4;G/l;>= 1,8\n",
        "utf-8",
    )
    profile = Profile.model_validate(
        {
            "datetime_formats": ["%d.%m.%Y %H:%M", "%d.%m.%Y"],
            "lab": {
                "columns": {
                    "patient_id": "Patientennr",
                    "specimen_id": "Auftragsnr",
                    "collected_at": ["Abnahmedatum", "Abnahmezeit"],
                    "analyte_name": "Bezeichnung",
                    "value": "Ergebnis",
                    "unit": "Einheit",
                    "reference_range": "Referenzbereich",
                }
            },
        }
    )
    labs = ingest({"lab": [str(path)]}, profile).labs
    assert [str(time) for time in labs["collected_at"]] == ["2026-11-02 07:55:00", "2026-11-02 00:00:00"]
    assert labs["reference_low_text"].to_list() == ["1.8", "1.8"]
    assert labs["reference_high_text"].to_list() == ["7.7", None]


@pytest.mark.parametrize(
    ("sent", "low", "high"),
    [
        ("1.5-8.0", "1.5", "8.0"),
        ("1,500 - 8,000", "1500", "8000"),
        ("1,5 bis 8,0", "1.5", "8.0"),
        ("≤ 5", None, "5"),
        (">=1.0", "1.0", None),
        ("see text", None, None),
    ],
)
def test_ranges_in_one_text(tmp_path: Path, sent: str, low: str | None, high: str | None) -> None:
    path = tmp_path / "labs.csv"
    path.write_text(
        f'patient_id,collected_at,loinc,value,unit,reference_range\n1,2026-01-10,751-8,4,K/uL,"{sent}"\n', "utf-8"
    )
    row = ingest({"lab": [str(path)]}).labs.row(0, named=True)
    assert (row["reference_low_text"], row["reference_high_text"]) == (low, high)


@pytest.mark.parametrize(
    ("sent", "value", "unit"),
    [
        ("0.4 K/uL", "0.4", "K/uL"),
        ("<0.1 x10^9/L", "<0.1", "x10^9/L"),
        ("20 %", "20", "%"),
        ("20%", "20", "%"),
        ("0.4 L", "0.4 L", None),
        ("0.4 (L)", "0.4 (L)", None),
        ("1/2", "1/2", None),
        ("SEE COMMENT 1/2", "SEE COMMENT 1/2", None),
    ],
)
def test_a_unit_that_stands_in_the_value(tmp_path: Path, sent: str, value: str, unit: str | None) -> None:
    path = tmp_path / "labs.csv"
    path.write_text(f"patient_id,collected_at,loinc,value,unit\n1,2026-01-10,751-8,{sent},\n", "utf-8")
    assert ingest({"lab": [str(path)]}).labs.select("value_text", "unit_text").row(0) == (value, unit)


@pytest.mark.parametrize(
    ("code", "analyte"), [("WBC x 1000", "wbc"), ("wbc x 1000", "wbc"), ("Hgb", "hgb"), ("-POLYS", "neut_pct")]
)
def test_code_tables_are_matched_whatever_the_case(tmp_path: Path, code: str, analyte: str) -> None:
    path = tmp_path / "lab.csv"
    unit = {"hgb": "g/dL", "neut_pct": "%"}.get(analyte, "K/mcL")
    path.write_text(
        f"patientunitstayid,labresultoffset,labname,labresult,unit\n1,2026-01-10,{code},4,{unit}\n", "utf-8"
    )
    profile = Profile.model_validate(
        {
            "lab": {
                "columns": {
                    "patient_id": "patientunitstayid",
                    "collected_at": "labresultoffset",
                    "local_code": "labname",
                    "value": "labresult",
                },
                "constants": {"code_system": "eICU_labname"},
            }
        }
    )
    accepted, _ = judged(ingest({"lab": [str(path)]}, profile), profile)
    assert accepted["analyte"].to_list() == [analyte]


def test_a_wide_file_of_one_count_and_the_tests_that_explain_it_needs_no_hand_edit(tmp_path: Path) -> None:
    """One row a patient: the count and its unit in the header, markers beside it, one of them in words (INF-1, BMP-1)."""
    header = "patient_id,collected_at,ANC (10*9/L),Vitamin B12 (pg/mL),HIV Ag/Ab"
    rows = ["A,2026-05-01 08:00,0.9,90,reaktiv", "B,2026-05-01 08:00,3.9,,", "C,2026-05-01 08:00,2.9,400,negativ"]
    (tmp_path / "night.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    (tmp_path / "profile.toml").write_text(propose_profile(tmp_path / "night.csv"), "utf-8")
    extract = neutro_screen.read(tmp_path / "night.csv", profile=tmp_path / "profile.toml")
    result = neutro_screen.screen(extract, as_of="2026-05-02")
    assert sorted(result.anc["anc_cells_per_ul"]) == [900.0, 2900.0, 3900.0]
    assert {"INF-1", "BMP-1"} <= set(result.evidence.filter(patient_id="A")["rule_id"])

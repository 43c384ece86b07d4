"""Fields that hold the same fact twice are compared in every reader that has them (REC-7)."""

import json
from pathlib import Path

import pytest

from neutro_screen.ingest import ingest
from neutro_screen.ingest.profile import Profile

UCUM = "http://unitsofmeasure.org"


def disagree(path: Path, profile: Profile | None = None) -> list[bool]:
    return ingest({"lab": [str(path)]}, profile).labs["fields_disagree"].to_list()


@pytest.mark.parametrize(
    ("operator", "number", "unit", "source_value", "source_unit", "is_wrong"),
    [
        ("4171756", "0.1", "8848", "<0.1", "K/uL", False),
        ("4172704", "0.1", "8848", "<0.1", "", True),
        ("4172704", "1.5", "8848", "<1.5", "", True),
        ("4172703", "0.1", "8848", "<0.1", "", False),
        ("", "0.4", "8848", "0.40", "", False),
        ("", "0.4", "8848", "0,4", "", False),
        ("", "1234", "8784", "1,234", "", False),
        ("", "0.4", "8848", "4.0", "", True),
        ("", "0.4", "8848", "400", "/uL", False),
        ("", "0.4", "8848", "400", "K/uL", True),
        ("", "0.4", "8784", "", "K/uL", True),
        ("", "0.4", "8848", "", "10*9/L", False),
        ("", "20", "8554", "", "K/uL", True),
        ("", "0.4", "8792", "", "K/uL", False),
        ("", "0.4", "8848", "see comment", "furlongs", False),
        ("", "", "8848", "0.4", "", False),
    ],
)
def test_omop(
    tmp_path: Path, operator: str, number: str, unit: str, source_value: str, source_unit: str, is_wrong: bool
) -> None:
    (tmp_path / "person.csv").write_text("person_id,year_of_birth\n1,1970\n", "utf-8")
    header = "person_id,measurement_concept_id,measurement_date,operator_concept_id,value_as_number,unit_concept_id"
    (tmp_path / "measurement.csv").write_text(
        f'{header},value_source_value,unit_source_value\n1,3013650,2026-01-10,{operator},{number},{unit},"{source_value}",{source_unit}\n',
        "utf-8",
    )
    assert disagree(tmp_path) == [is_wrong]


@pytest.mark.parametrize(
    ("value", "number", "is_wrong"),
    [("0.4", "0.4", False), ("<0.1", "0.1", False), ("___", "0.4", False), ("0.4", "4", True), ("CLOTTED", "", False)],
)
def test_mimic(tmp_path: Path, value: str, number: str, is_wrong: bool) -> None:
    (tmp_path / "labevents.csv").write_text(
        f"subject_id,itemid,charttime,value,valuenum,valueuom\n1,51301,2150-01-01,{value},{number},K/uL\n", "utf-8"
    )
    (tmp_path / "d_labitems.csv").write_text("itemid,label,fluid\n51301,WBC,Blood\n", "utf-8")
    assert disagree(tmp_path) == [is_wrong]


@pytest.mark.parametrize(
    ("original", "unit", "standard", "standard_unit", "is_wrong"),
    [
        ("0.4", "10*9/L", "0.4", "10*9/L", False),
        ("400", "/uL", "0.4", "10*9/L", False),
        ("0.4", "10*9/L", "4.0", "10*9/L", True),
        ("400", "/uL", "4.0", "10*9/L", True),
        ("13.9", "g/dL", "8.6", "mmol/L", False),
    ],
)
def test_cdisc(tmp_path: Path, original: str, unit: str, standard: str, standard_unit: str, is_wrong: bool) -> None:
    names = ("USUBJID", "LBTESTCD", "LBDTC", "LBORRES", "LBORRESU", "LBSTRESC", "LBSTRESU")
    head = json.dumps({"datasetJSONVersion": "1.1.0", "columns": [{"name": name} for name in names]})
    path = tmp_path / "lb.ndjson"
    path.write_text(
        head + "\n" + json.dumps(["1", "NEUT", "2026-01-10", original, unit, standard, standard_unit]) + "\n"
    )
    assert disagree(path) == [is_wrong]


@pytest.mark.parametrize(
    ("quantity", "flag", "is_wrong"),
    [
        ({"value": 0.4, "unit": "K/uL", "system": UCUM, "code": "10*3/uL"}, "L", False),
        ({"value": 0.4, "unit": "cells/uL", "system": UCUM, "code": "10*3/uL"}, "L", True),
        ({"value": 0.1, "comparator": "<", "unit": "K/uL"}, "<", False),
        ({"value": 0.1, "comparator": "<", "unit": "K/uL"}, ">", True),
        ({"value": 20, "unit": "%", "code": "%", "system": UCUM}, "", False),
    ],
)
def test_fhir(tmp_path: Path, quantity: dict[str, object], flag: str, is_wrong: bool) -> None:
    resource = {
        "resourceType": "Observation",
        "subject": {"reference": "Patient/1"},
        "valueQuantity": quantity,
        "interpretation": [{"coding": [{"code": flag}]}],
    }
    path = tmp_path / "labs.ndjson"
    path.write_text(json.dumps(resource) + "\n", "utf-8")
    assert disagree(path) == [is_wrong]


@pytest.mark.parametrize(
    ("value", "flag", "is_wrong"), [("<0.1", "<", False), ("<0.1", ">", True), ("0.1", ">", False)]
)
def test_hl7(tmp_path: Path, value: str, flag: str, is_wrong: bool) -> None:
    path = tmp_path / "night.hl7"
    path.write_text(
        f"MSH|^~\\&|L|N|||20260110||ORU^R01|1|P|2.5\rPID|1||P1\rOBR|1||A\rOBX|1|NM|751-8^ANC^LN||{value}|K/uL||{flag}|||F\r",
        newline="",
    )
    assert disagree(path) == [is_wrong]


@pytest.mark.parametrize(
    ("text", "number", "value", "is_wrong"),
    [
        ("0.4", "0.4", "0.4", False),
        ("", "0.4", "0.4", False),
        ("___", "0.4", "0.4", False),
        ("<0.1", "0.1", "<0.1", False),
        ("<0.1", "9999999", "<0.1", False),
        ("CLOTTED", "", "CLOTTED", False),
        ("0.4", "4.0", "0.4", True),
    ],
)
def test_two_value_columns(tmp_path: Path, text: str, number: str, value: str, is_wrong: bool) -> None:
    path = tmp_path / "labs.csv"
    path.write_text(
        "hospitalization_id,lab_result_dttm,lab_category,lab_value,lab_value_numeric,reference_unit\n"
        f"1,2026-01-10 08:00:00,neutrophils_absolute,{text},{number},10^3/uL\n",
        "utf-8",
    )
    profile = Profile.model_validate(
        {
            "sentinels": ["9999999"],
            "lab": {
                "columns": {
                    "patient_id": "hospitalization_id",
                    "resulted_at": "lab_result_dttm",
                    "analyte_name": "lab_category",
                    "value": "lab_value",
                    "unit": "reference_unit",
                },
                "fallbacks": {"value": "lab_value_numeric"},
            },
        }
    )
    labs = ingest({"lab": [str(path)]}, profile).labs
    assert labs.select("value_text", "fields_disagree").row(0) == (value, is_wrong)

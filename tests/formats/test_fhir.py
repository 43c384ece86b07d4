"""FHIR R4 resources as servers and bulk exports send them (FORMATS.md A.5)."""

import json
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest import Extract, batches, ingest
from neutro_screen.ingest.formats import fhir
from neutro_screen.ingest.formats.fhir import parsing
from neutro_screen.ingest.profile import Profile

UCUM = "http://unitsofmeasure.org"


def observation(**fields: Any) -> dict[str, Any]:
    base = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "subject": {"reference": "Patient/0042"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "751-8", "display": "Neutrophils"}]},
        "effectiveDateTime": "2026-01-10T08:00:00+01:00",
        "issued": "2026-01-10T10:00:00Z",
        "valueQuantity": {"value": 0.4, "unit": "x10*9/L", "system": UCUM, "code": "10*9/L"},
    }
    return {key: value for key, value in (base | fields).items() if value is not None}


def read(
    tmp_path: Path, *resources: Any, name: str = "export.ndjson", kind: str = "lab", profile: Profile | None = None
) -> Extract:
    path = tmp_path / name
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in resources) + "\n", "utf-8")
    return ingest({kind: [str(path)]}, profile)


def value(tmp_path: Path, **fields: Any) -> tuple[str | None, str | None]:
    labs = read(tmp_path, observation(**fields)).labs
    assert labs.height == 1
    return labs["value_text"][0], labs["unit_text"][0]


def test_an_observation(tmp_path: Path) -> None:
    row = read(
        tmp_path,
        observation(
            specimen={"reference": "Specimen/s1"},
            performer=[{"display": "North"}],
            note=[{"text": "clumps"}, {"text": "seen"}],
            referenceRange=[{"low": {"value": 1.5}, "high": {"value": 8}}],
        ),
    ).labs.row(0, named=True)
    assert (row["patient_id"], row["specimen_id"], row["lab"], row["comment"]) == (
        "0042",
        "s1",
        "North",
        "clumps\nseen",
    )
    assert (str(row["collected_at"]), str(row["resulted_at"])) == ("2026-01-10 07:00:00", "2026-01-10 10:00:00")
    assert (row["loinc"], row["value_text"], row["unit_text"], row["status_text"]) == (
        "751-8",
        "0.4",
        "10*9/L",
        "final",
    )
    assert (row["reference_low_text"], row["reference_high_text"]) == ("1.5", "8")


def test_values(tmp_path: Path) -> None:
    assert value(tmp_path, valueQuantity={"value": 0.1, "comparator": "<", "unit": "K/uL"}) == ("<0.1", "K/uL")
    assert value(tmp_path, valueQuantity={"value": 4, "unit": "K/uL", "code": "other", "system": "http://x"}) == (
        "4",
        "K/uL",
    )
    assert value(tmp_path, valueQuantity={"value": 0.0, "code": "10*3/uL", "system": UCUM}) == ("0.0", "10*3/uL")
    assert value(tmp_path, valueQuantity=None, valueString="CLOTTED")[0] == "CLOTTED"
    assert value(tmp_path, valueQuantity=None, valueInteger=7)[0] == "7"
    assert (
        value(tmp_path, valueQuantity=None, valueCodeableConcept={"coding": [{"display": "Not done"}]})[0] == "Not done"
    )
    off_scale = [{"coding": [{"code": "<"}]}]
    assert value(tmp_path, valueQuantity={"value": 0.1, "unit": "K/uL"}, interpretation=off_scale)[0] == "<0.1"
    absent = {"coding": [{"code": "not-performed"}]}
    assert value(tmp_path, valueQuantity=None, dataAbsentReason=absent)[0] == "not performed"
    assert value(tmp_path, valueQuantity=None) == (None, None)


def test_components_are_rows_and_panels_are_none(tmp_path: Path) -> None:
    component = {
        "code": {"coding": [{"system": "http://loinc.org", "code": "6690-2"}]},
        "valueQuantity": {"value": 2, "unit": "K/uL"},
    }
    percent = {
        "code": {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.1", "code": "770-8"}]},
        "valueQuantity": {"value": 10, "unit": "%"},
    }
    panel = observation(valueQuantity=None, component=[component, percent])
    members = observation(valueQuantity=None, hasMember=[{"reference": "Observation/1"}])
    labs = read(tmp_path, panel, members, observation(component=[component])).labs
    assert labs.select("source_row", "loinc", "value_text").rows() == [
        (1, "6690-2", "2"),
        (1, "770-8", "10"),
        (3, "751-8", "0.4"),
        (3, "6690-2", "2"),
    ]


@pytest.mark.parametrize(
    ("subject", "patient"),
    [
        ({"reference": "Patient/0042"}, "0042"),
        ({"reference": "https://host/fhir/Patient/0042/_history/3"}, "0042"),
        ({"reference": "urn:uuid:66017fd1"}, "66017fd1"),
        ({"identifier": {"value": "MRN-7"}}, "MRN-7"),
        ({"reference": "#p1"}, None),
        ({"reference": "Group/1"}, None),
        (None, None),
    ],
)
def test_the_subject(tmp_path: Path, subject: dict[str, Any] | None, patient: str | None) -> None:
    assert read(tmp_path, observation(subject=subject)).labs["patient_id"].to_list() == [patient]


def test_times(tmp_path: Path) -> None:
    def collected(**fields: Any) -> str:
        return str(read(tmp_path, observation(effectiveDateTime=None, **fields)).labs["collected_at"][0])

    assert collected(effectiveInstant="2026-01-10T08:00:00.123Z") == "2026-01-10 08:00:00.123000"
    assert collected(effectivePeriod={"start": "2026-01-10T08:00:00Z", "end": "2026-01-11"}) == "2026-01-10 08:00:00"
    assert collected() == "None"
    partial = read(tmp_path, observation(effectiveDateTime="2026-01")).labs
    assert partial["has_unreadable_time"].to_list() == [True]


def test_specimen_resources_give_type_and_time(tmp_path: Path) -> None:
    specimen = {
        "resourceType": "Specimen",
        "id": "s1",
        "type": {"text": "Urine"},
        "collection": {"collectedDateTime": "2026-01-10T07:30:00Z"},
    }
    row = read(tmp_path, observation(specimen={"reference": "Specimen/s1"}, effectiveDateTime=None), specimen).labs.row(
        0, named=True
    )
    assert (row["specimen_type"], str(row["collected_at"])) == ("Urine", "2026-01-10 07:30:00")
    inside = observation(
        specimen={"reference": "#s"},
        contained=[{"resourceType": "Specimen", "id": "s", "type": {"coding": [{"display": "CSF"}]}}],
    )
    row = read(tmp_path, inside).labs.row(0, named=True)
    assert (row["specimen_id"], row["specimen_type"]) == (None, "CSF")


def test_local_codes(tmp_path: Path) -> None:
    code = {
        "text": "ANC",
        "coding": [{"system": "http://lab", "code": "NEUT"}, {"system": "http://loinc.org", "code": "751-8"}],
    }
    assert read(tmp_path, observation(code=code)).labs["local_code"].to_list() == [None]
    mapped = read(tmp_path, observation(code=code), profile=Profile(analytes={"NEUT": "neut_abs"}))
    assert mapped.labs["local_code"].to_list() == ["NEUT"]
    assert read(tmp_path, observation(code={"coding": code["coding"][:1]})).labs.select("local_code", "loinc").row(
        0
    ) == ("NEUT", None)


@pytest.mark.parametrize("indent", [None, 2])
def test_bundles(tmp_path: Path, indent: int | None) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": observation()},
            {"resource": {"resourceType": "Patient", "id": "0042"}},
            {"resource": {"resourceType": "Bundle", "entry": [{"resource": observation()}]}},
            {"fullUrl": "x"},
        ],
    }
    extract = read(tmp_path, json.dumps(bundle, indent=indent), name="bundle.json")
    assert extract.labs["source_row"].to_list() == [1, 3]
    assert extract.patients.height == 1
    assert read(tmp_path, json.dumps([observation(), observation()], indent=indent), name="a.json").labs.height == 2


def test_observations_inside_a_report_take_its_patient_and_time(tmp_path: Path) -> None:
    inside = observation(subject=None, effectiveDateTime=None)
    report = {
        "resourceType": "DiagnosticReport",
        "subject": {"reference": "Patient/7"},
        "effectiveDateTime": "2026-01-09",
        "contained": [inside],
    }
    row = read(tmp_path, json.dumps(report, indent=1), name="report.json").labs.row(0, named=True)
    assert (row["patient_id"], str(row["collected_at"])) == ("7", "2026-01-09 00:00:00")


def test_deleted_resources_errors_and_others_are_counted(tmp_path: Path) -> None:
    deleted = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "Observation/1"}}] * 2,
    }
    outcome = {"resourceType": "OperationOutcome", "issue": []}
    extract = read(tmp_path, observation(), deleted, outcome, {"resourceType": "Encounter"})
    notes = next(file.notes for file in extract.files if file.kind == "lab")
    assert notes == ("deleted_resources:2", "error_outcomes:1", "other_resources:1")


def test_a_death_is_read_from_the_patient(tmp_path: Path) -> None:
    died = {"resourceType": "Patient", "id": "1", "deceasedDateTime": "2026-02-04T10:00:00Z"}
    patients = read(tmp_path, died, {"resourceType": "Patient", "id": "2", "deceasedBoolean": True}).patients
    deaths = dict(patients.select("patient_id", "death_date").iter_rows())
    assert (str(deaths["1"]), deaths["2"]) == ("2026-02-04", None)


def test_a_merge_is_told_by_either_record(tmp_path: Path) -> None:
    def person(own: str, *links: tuple[str, str]) -> dict[str, Any]:
        listed = [{"type": kind, "other": {"reference": f"Patient/{other}"}} for kind, other in links]
        return {"resourceType": "Patient", "id": own, "link": listed}

    patients = read(
        tmp_path,
        person("1", ("replaced-by", "2")),
        person("5", ("replaces", "3"), ("replaces", "4"), ("seealso", "9")),
        person("6", ("replaced-by", "6")),
        person("7"),
    ).patients
    merged = patients.drop_nulls("replaced_by").sort("patient_id")
    assert merged.select("patient_id", "replaced_by").rows() == [("1", "2"), ("3", "5"), ("4", "5")]
    assert set(patients["patient_id"]) == {"1", "3", "4", "5", "6", "7"}


def test_lines_that_are_no_resource_are_refused(tmp_path: Path) -> None:
    extract = read(
        tmp_path, observation(), '{"resourceType": "Observation", "id": ', "", "7", '{"id": 1}', observation()
    )
    assert [(line.source_row, line.reason) for line in extract.refused["lab"]] == [
        (2, "broken_json"),
        (4, "not_a_resource"),
        (5, "not_a_resource"),
    ]
    assert extract.labs["source_row"].to_list() == [1, 6]


def test_wrong_types_inside_a_resource_become_blanks(tmp_path: Path) -> None:
    labs = read(
        tmp_path, observation(subject=[1], code={"coding": "x"}, valueQuantity=["a"], component={}, note="n")
    ).labs
    assert labs.select("patient_id", "loinc", "value_text").rows() == [(None, None, None)]


def test_json_of_any_depth_is_no_danger(tmp_path: Path) -> None:
    deep = '{"resourceType":"Observation","extension":' + "[" * 500_000 + "]" * 500_000 + "}"
    extract = read(tmp_path, observation(), deep, "[" * 500_000)
    assert extract.labs.height == 2
    assert [line.reason for line in extract.refused["lab"]] == ["broken_json"]
    assert all(len(line.row) <= 2000 for line in extract.refused["lab"])


def medication(resource_type: str, **fields: Any) -> dict[str, Any]:
    return {"resourceType": resource_type, "status": "active", "subject": {"reference": "Patient/1"}, **fields}


def test_medications_of_every_resource(tmp_path: Path) -> None:
    dose = {
        "route": {"text": "oral"},
        "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}],
        "timing": {"repeat": {"boundsPeriod": {"start": "2026-01-02", "end": "2026-01-09"}}},
    }
    atc = {"coding": [{"system": "http://www.whocc.no/atc", "code": "N05AH02"}], "text": "clozapine"}
    contained = [{"resourceType": "Medication", "id": "m", "code": {"text": "etoposide"}}]
    rows = read(
        tmp_path,
        medication(
            "MedicationRequest", medicationCodeableConcept=atc, authoredOn="2026-01-01", dosageInstruction=[dose]
        ),
        medication(
            "MedicationRequest",
            medicationReference={"reference": "#m"},
            contained=contained,
            authoredOn="2026-01-01",
            intent="plan",
        ),
        medication(
            "MedicationRequest",
            medicationReference={"reference": "Medication/9", "display": "prescribed"},
            doNotPerform=True,
            authoredOn="2026-01-01",
        ),
        medication(
            "MedicationAdministration",
            medicationReference={"reference": "Medication/8"},
            effectiveDateTime="2026-01-03T08:00:00Z",
            dosage={"route": {"text": "iv"}, "dose": {"value": 73, "unit": "mg"}},
        ),
        medication(
            "MedicationStatement",
            medicationCodeableConcept={"text": "x"},
            effectivePeriod={"start": "2026-01", "end": "2026-02"},
        ),
        medication("MedicationDispense", medicationCodeableConcept={"text": "y"}, whenHandedOver="2026-01-04"),
        {
            "resourceType": "Medication",
            "id": "8",
            "code": {
                "coding": [
                    {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "4179", "display": "cefazolin"}
                ]
            },
        },
    ).medications
    assert rows["drug_name"].to_list() == ["clozapine", "etoposide", "prescribed", "cefazolin", "x", "y"]
    assert rows["atc_code"].to_list() == ["N05AH02", *[None] * 5]
    assert rows["rxcui"].to_list() == [None, None, None, "4179", None, None]
    assert rows["status"].to_list() == ["active", "planned", "not-done", "active", "active", "active"]
    assert [str(day) for day in rows["start_date"]] == [
        "2026-01-02",
        "2026-01-01",
        "2026-01-01",
        "2026-01-03",
        "2026-01-01",
        "2026-01-04",
    ]
    assert [str(day) for day in rows["end_date"]] == ["2026-01-09", "None", "None", "2026-01-03", "2026-02-28", "None"]
    assert rows.select("route", "dose", "dose_unit").row(0) == ("oral", "5", "mg")
    assert rows.select("route", "dose", "dose_unit").row(3) == ("iv", "73", "mg")


def test_conditions(tmp_path: Path) -> None:
    coded = {
        "coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "D70.2"},
            {"system": "http://snomed.info/sct", "code": "165517008"},
        ]
    }
    refuted = {"coding": [{"code": "refuted"}]}
    rows = read(
        tmp_path,
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "code": coded,
            "onsetDateTime": "2026-01-01",
        },
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "code": coded,
            "verificationStatus": refuted,
        },
    ).diagnoses
    assert rows.select("code", "system").rows() == [("D702", "icd10"), ("165517008", "snomed")]


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.ndjson"
    path.write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(UnreadableInputError, match=r"empty\.ndjson: the file is empty"):
        ingest({"lab": [str(path)]}, format_name="fhir")


def test_a_file_in_many_batches_is_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row numbers, refused lines and references hold across blocks and files."""
    export = tmp_path / "export"
    export.mkdir()
    results = [
        json.dumps(observation(id=f"o{number}", specimen={"reference": f"Specimen/s{number}"}, effectiveDateTime=None))
        for number in range(40)
    ]
    results[7:7] = ["no json", ""]
    (export / "Observation.ndjson").write_text("\n".join(results), "utf-8")
    orders = [
        medication(
            "MedicationRequest", medicationReference={"reference": f"Medication/m{number}"}, authoredOn="2026-01-01"
        )
        for number in range(40)
    ]
    (export / "MedicationRequest.ndjson").write_text("\n".join(map(json.dumps, orders)), "utf-8")
    referred = [
        {"resourceType": "Medication", "id": f"m{number}", "code": {"text": f"drug {number}"}} for number in range(40)
    ]
    referred += [
        {
            "resourceType": "Specimen",
            "id": f"s{number}",
            "type": {"text": "blood"},
            "collection": {"collectedDateTime": f"2026-01-01T00:{number:02}:00Z"},
        }
        for number in range(40)
    ]
    (export / "Referred.ndjson").write_text("\n".join(map(json.dumps, referred)), "utf-8")
    whole = ingest({"lab": [str(export)]})
    monkeypatch.setattr(parsing, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(batches, "ROWS_A_BATCH", 3)
    read = fhir.read_fhir(export, "lab", Profile())
    assert sum(kind == "lab" and batch.rows.height > 0 for kind, batch in read) > 5
    assert_frame_equal(ingest({"lab": [str(export)]}).labs, whole.labs)
    assert_frame_equal(ingest({"lab": [str(export)]}).medications, whole.medications)
    assert [str(at) for at in whole.labs["collected_at"][:2]] == ["2026-01-01 00:00:00", "2026-01-01 00:01:00"]
    assert whole.labs["source_row"].to_list() == [*range(1, 8), *range(10, 43)]
    assert whole.medications["drug_name"].to_list() == [f"drug {number}" for number in range(40)]
    assert [line.source_row for line in whole.refused["lab"]] == [8]


def test_deleted_resources_are_entered_in_error(tmp_path: Path) -> None:
    def deleted(*urls: str) -> dict[str, Any]:
        entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    extract = read(
        tmp_path,
        observation(id="a"),
        observation(id="b"),
        medication("MedicationRequest", id="m", medicationCodeableConcept={"text": "x"}, authoredOn="2026-01-01"),
        deleted("Observation/b", "https://host/fhir/MedicationRequest/m", "Patient?identifier=7"),
    )
    assert extract.labs["status_text"].to_list() == ["final", "entered-in-error"]
    assert extract.medications["status"].to_list() == ["entered-in-error"]


def test_what_is_deleted_and_not_in_the_export_is_a_row_of_nothing_but_its_id(tmp_path: Path) -> None:
    deleted = {"request": {"method": "DELETE", "url": "Observation/before"}}
    (tmp_path / "export").mkdir()
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [deleted, deleted]}
    for name, resource in (("a.ndjson", bundle), ("b.ndjson", observation(id="b"))):
        (tmp_path / "export" / name).write_text(json.dumps(resource) + "\n", "utf-8")
    extract = ingest({"lab": [str(tmp_path / "export")]})
    told = extract.labs.select(
        "patient_id", "result_id", "status_text", "value_text", "source_file", "source_row"
    ).rows()
    assert set(told) == {
        ("0042", "b", "final", "0.4", "b.ndjson", 1),
        (None, "before", "entered-in-error", None, "a.ndjson", 1),
    }
    assert {file.name: (file.rows, file.notes) for file in extract.files} == {
        "a.ndjson": (1, ("deleted_resources:2",)),
        "b.ndjson": (1, ()),
    }


def test_a_damaged_first_line_refuses_one_line_not_the_file(tmp_path: Path) -> None:
    extract = read(tmp_path, '{"resourceType": "Observation", "id": ', observation(), observation())
    assert [(line.source_row, line.reason) for line in extract.refused["lab"]] == [(1, "broken_json")]
    assert extract.labs["source_row"].to_list() == [2, 3]


def test_a_bundle_with_an_entry_a_line_is_a_document(tmp_path: Path) -> None:
    entries = [json.dumps(observation()), json.dumps(observation())]
    text = "[\n" + ",\n".join(entries) + "\n]"
    assert read(tmp_path, text, name="a.json").labs.height == 2

"""``export --as fhir``: every resource validates, and our own reader reads the counts back to the same severity."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from fhir.resources.R4B.detectedissue import DetectedIssue
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient

import neutro_screen
from neutro_schemas import ANC_METHODS
from neutro_screen.errors import PublishError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.reference import FOLDER, load_reference
from neutro_screen.store.export import export, fhir
from neutro_screen.store.file import reading
from tests.nights import screened_sample
from tests.spec.tables import table

SAMPLE = Path(__file__).parents[2] / "sample_data"
NIGHT = datetime(2026, 11, 22, 2)
#: Public systems: LOINC, UCUM, HL7 terminology. Nothing else is named.
PUBLIC = (
    "http://loinc.org",
    "http://unitsofmeasure.org",
    "http://terminology.hl7.org/CodeSystem/observation-category",
    "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "http://terminology.hl7.org/CodeSystem/data-absent-reason",
)
#: A clinic with every route to a count: by hand, from percent, from segments and bands, bounds, versions, an odd identifier.
CLINIC = """
patient_id | specimen_id | collected_at     | resulted_at      | loinc   | analyte_name | value | unit   | reference_low | reference_high | status      | lab
A          | a1          | 2026-11-01 08:00 | 2026-11-01 09:00 | 751-8   | -            | 0.42  | 10*9/L | 1.8           | 7.5            | final       | East
A          | a2          | 2026-11-08 08:00 | 2026-11-08 09:00 | 753-4   | -            | 0.09  | 10*9/L | 1.8           | 7.5            | final       | East
A          | a3          | 2026-11-15 08:00 | 2026-11-15 09:00 | 751-8   | -            | <0.1  | 10*9/L | 1.8           | 7.5            | preliminary | East
B_1 x      | b1          | 2026-11-03 08:00 | 2026-11-03 09:00 | 6690-2  | -            | 2.0   | 10*9/L | -             | -              | final       | East
B_1 x      | b1          | 2026-11-03 08:00 | 2026-11-03 09:00 | 770-8   | -            | 30    | %      | -             | -              | final       | East
B_1 x      | b2          | 2026-11-05 08:00 | 2026-11-05 09:00 | 30451-9 | -            | 0.8   | 10*9/L | -             | -              | final       | East
B_1 x      | b2          | 2026-11-05 08:00 | 2026-11-05 09:00 | 26507-4 | -            | 0.1   | 10*9/L | -             | -              | final       | East
C          | -           | 2026-11-06 08:00 | -                | 6690-2  | -            | 0.3   | 10*9/L | -             | -              | final       | East
C          | c2          | 2026-11-09 08:00 | 2026-11-09 09:00 | 20482-6 | -            | 1.2   | 10*9/L | -             | -              | final       | West
D          | d1          | 2026-11-07 08:00 | 2026-11-07 09:00 | 26499-4 | -            | 1.4   | 10*9/L | 1.8           | 7.5            | final       | West
D          | d1          | 2026-11-07 08:00 | 2026-11-07 12:00 | 26499-4 | -            | 0.4   | 10*9/L | 1.8           | 7.5            | corrected   | West
D          | d2          | 2026-11-09 08:00 | 2026-11-09 09:00 | 751-8   | -            | 4.1   | 10*9/L | 1.8           | 7.5            | final       | West
"""


def exported(store: Path, to: Path) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """The folder of a FHIR export, and its resources by type."""
    folder = Path(export(store, str(to), kind="fhir", at=NIGHT))
    lines = {path.stem: path.read_text("utf-8").splitlines() for path in sorted(folder.glob("*.ndjson"))}
    return folder, {name: [json.loads(line) for line in found] for name, found in lines.items()}


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clinic's store."""
    folder = tmp_path_factory.mktemp("fhir")
    table(CLINIC).with_columns(pl.all().replace("-", None)).write_csv(folder / "labs.csv")
    run(RunOptions(store=folder / "s.duckdb", as_of=datetime(2026, 11, 16), labs=(str(folder / "labs.csv"),)))
    return folder / "s.duckdb"


@pytest.fixture(scope="module")
def resources(clinic: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the clinic exports."""
    return exported(clinic, tmp_path_factory.mktemp("out"))[1]


@pytest.fixture(scope="module")
def by_specimen(resources: dict[str, list[dict[str, Any]]]) -> Callable[[str], dict[str, Any]]:
    """The computed count of a specimen."""
    named = {
        found["specimen"]["identifier"]["value"]: found for found in resources["Observation"] if "specimen" in found
    }
    return named.__getitem__


def codes(found: Any) -> Iterator[tuple[str, str]]:
    """Every system and code of a resource."""
    if isinstance(found, dict):
        if "system" in found and "code" in found:
            yield found["system"], found["code"]
        for inside in found.values():
            yield from codes(inside)
    elif isinstance(found, list):
        for inside in found:
            yield from codes(inside)


def sample_store(folder: Path) -> Path:
    """The sample hospital with its chart."""
    return screened_sample(folder / "s.duckdb")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital's store."""
    return sample_store(tmp_path_factory.mktemp("sample"))


@pytest.mark.parametrize("which", ["clinic", "sample"])
def test_every_resource_validates_and_names_public_systems_only(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    _, found = exported(request.getfixturevalue(which), tmp_path)
    models = {"Patient": Patient, "Observation": Observation, "DetectedIssue": DetectedIssue}
    assert set(found) == set(models)
    for name, model in models.items():
        for resource in found[name]:
            model.model_validate(resource)
        identifiers = [resource["id"] for resource in found[name]]
        assert len(identifiers) == len(set(identifiers))
    assert {system for system, _ in codes(found)} <= set(PUBLIC)


@pytest.mark.parametrize("which", ["clinic", "sample"])
def test_our_own_reader_reads_every_count_back_to_the_same_severity(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = request.getfixturevalue(which)
    folder, found = exported(store, tmp_path)
    extract = neutro_screen.read(folder)
    again = neutro_screen.screen(extract, as_of=NIGHT)
    with duckdb.connect(str(store), read_only=True) as connection:
        sent = connection.sql(
            "SELECT patient_id, specimen_id, collected_at, anc_cells_per_ul, anc_comparator, "
            "CAST(severity AS VARCHAR) AS severity FROM anc"
        ).pl()
    named = {p["id"]: p["identifier"][0]["value"] if "identifier" in p else p["id"] for p in found["Patient"]}
    back = again.anc.select(sent.columns).with_columns(
        pl.col("patient_id").replace_strict(named), pl.col("severity").cast(pl.String)
    )
    assert again.rejected.height == 0
    assert sent.height > 8
    assert back.sort("patient_id", "specimen_id").equals(sent.sort("patient_id", "specimen_id"))


@pytest.mark.parametrize(
    ("specimen", "loinc", "value", "comparator", "status", "interpretation", "sources"),
    [
        ("a1", "751-8", 0.42, None, "final", "LL", ["751-8"]),
        ("a2", "753-4", 0.09, None, "final", "LL", ["753-4"]),
        ("a3", "751-8", 0.1, "<", "preliminary", "LL", ["751-8"]),
        ("b1", "26499-4", 0.6, None, "final", "L", ["6690-2", "770-8"]),
        ("b2", "26499-4", 0.9, None, "final", "L", ["26507-4", "30451-9"]),
        ("c2", "26499-4", 1.2, "<=", "final", "L", ["20482-6"]),
        ("d1", "26499-4", 0.4, None, "corrected", "LL", ["26499-4"]),
        ("d2", "751-8", 4.1, None, "final", None, ["751-8"]),
    ],
)
def test_a_count_says_how_it_was_obtained(
    by_specimen: Callable[[str], dict[str, Any]],
    specimen: str,
    loinc: str,
    value: float,
    comparator: str | None,
    status: str,
    interpretation: str | None,
    sources: list[str],
) -> None:
    found = by_specimen(specimen)
    quantity = found["valueQuantity"]
    assert (found["code"]["coding"][0]["code"], found["status"]) == (loinc, status)
    assert (quantity["value"], quantity.get("comparator"), quantity["code"]) == (value, comparator, "10*9/L")
    assert found["interpretation"][0].get("coding", [{}])[0].get("code") == interpretation
    held = {f"#{inside['id']}": inside["code"]["coding"][0]["code"] for inside in found["contained"]}
    assert sorted(held[source["reference"]] for source in found["derivedFrom"]) == sources
    assert found["effectiveDateTime"].endswith("Z")


def test_every_method_of_counting_names_its_sources_and_its_words() -> None:
    sources = pl.read_csv(FOLDER / "anc_sources.csv", infer_schema=False)
    words = pl.read_csv(FOLDER / "fhir_codes.csv", infer_schema=False).filter(element="method")
    assert set(sources["anc_method"]) == set(words["key"]) == set(ANC_METHODS)
    assert set(sources["analyte"]) <= set(load_reference().analytes["analyte"])


def test_a_limit_of_normal_is_given_where_the_laboratory_gave_one(by_specimen: Callable[[str], dict[str, Any]]) -> None:
    low = by_specimen("a1")["referenceRange"][0]["low"]
    assert (low["value"], low["code"]) == (1.8, "10*9/L")
    assert "referenceRange" not in by_specimen("b1")


def test_an_identifier_that_fhir_does_not_allow_is_kept_beside_a_stable_one(
    resources: dict[str, list[dict[str, Any]]],
) -> None:
    odd = [patient for patient in resources["Patient"] if "identifier" in patient]
    assert [patient["identifier"][0]["value"] for patient in odd] == ["B_1 x"]
    assert {patient["id"] for patient in resources["Patient"]} == {"A", "C", "D", odd[0]["id"]}
    assert set().union(*(patient.keys() for patient in resources["Patient"])) == {"resourceType", "id", "identifier"}


def test_an_open_row_is_an_issue_with_its_severity_and_the_counts_behind_it(sample: Path, tmp_path: Path) -> None:
    _, found = exported(sample, tmp_path)
    with duckdb.connect(str(sample), read_only=True) as connection:
        rows = connection.sql(
            "SELECT patient_id, priority_rank, conclusion FROM worklist WHERE row_group <> 'recovered'"
        ).fetchall()
    issues = {issue["patient"]["reference"].removeprefix("Patient/"): issue for issue in found["DetectedIssue"]}
    assert len(found["DetectedIssue"]) == len(issues) == len(rows) > 20
    counts = {f"Observation/{count['id']}": count for count in found["Observation"]}
    for patient, rank, conclusion in rows:
        issue = issues[patient]
        assert issue["severity"] == ("low", "low", "moderate", "high", "high")[rank]
        assert issue["detail"] == conclusion
        assert issue["implicated"]
        for reference in issue["implicated"]:
            assert counts[reference["reference"]]["subject"]["reference"] == f"Patient/{patient}"


def test_a_source_that_is_a_fhir_resource_is_referred_to_by_its_own_id(tmp_path: Path) -> None:
    observation = {
        "resourceType": "Observation",
        "id": "lab-1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "751-8"}]},
        "subject": {"reference": "Patient/P1"},
        "effectiveDateTime": "2026-11-20T08:00:00Z",
        "valueQuantity": {"value": 0.3, "unit": "10*9/L", "system": "http://unitsofmeasure.org", "code": "10*9/L"},
    }
    (tmp_path / "labs.ndjson").write_text(json.dumps(observation) + "\n", "utf-8")
    run(RunOptions(store=tmp_path / "s.duckdb", as_of=NIGHT, labs=(str(tmp_path / "labs.ndjson"),)))
    _, found = exported(tmp_path / "s.duckdb", tmp_path / "out")
    assert found["Observation"][0]["derivedFrom"] == [{"reference": "Observation/lab-1"}]
    assert "contained" not in found["Observation"][0]


def test_a_count_that_cannot_be_assessed_has_no_value_and_a_reason(tmp_path: Path) -> None:
    (tmp_path / "labs.csv").write_text(
        "patient_id,specimen_id,collected_at,loinc,value,unit\nA,S1,2026-11-18 08:00,751-8,4.0,10*9/L\n"
        "A,S2,2026-11-20 08:00,751-8,clotted,10*9/L\nB,S3,2026-11-20 09:00,751-8,pending,10*9/L\n"
        "C,,2026-11-20 10:00,751-8,0.4,bushels\nC,S4,2026-11-19 10:00,751-8,3.0,10*9/L\n",
        "utf-8",
    )
    store = tmp_path / "s.duckdb"
    run(RunOptions(store=store, as_of=NIGHT, labs=(str(tmp_path / "labs.csv"),), max_rejected=1.0))
    folder, found = exported(store, tmp_path / "out")
    assert [patient["id"] for patient in found["Patient"]] == ["A", "B", "C"]
    unknown = [one for one in found["Observation"] if "dataAbsentReason" in one]
    assert [
        (
            one["subject"]["reference"],
            one["effectiveDateTime"],
            one["dataAbsentReason"]["coding"][0]["code"],
            one["dataAbsentReason"]["text"],
            one.get("specimen", {}).get("identifier", {}).get("value"),
        )
        for one in unknown
    ] == [
        ("Patient/A", "2026-11-20T08:00:00Z", "unknown", "clotted", "S2"),
        ("Patient/B", "2026-11-20T09:00:00Z", "temp-unknown", "pending", "S3"),
        ("Patient/C", "2026-11-20T10:00:00Z", "unknown", "unit missing or not known", None),
    ]
    assert not any("valueQuantity" in Observation.model_validate(one).model_dump(exclude_none=True) for one in unknown)
    # Whoever reads the export does not take the normal count of before for the last word.
    again = neutro_screen.screen(neutro_screen.read(folder), as_of=NIGHT)
    assert sorted(again.cannot_assess["patient_id"]) == ["A", "B", "C"]


def test_a_merged_record_is_exported_as_its_survivor_with_its_sources(tmp_path: Path) -> None:
    (tmp_path / "labs.csv").write_text(
        "patient_id,specimen_id,collected_at,loinc,value,unit\nOLD,S1,2026-11-20 08:00,751-8,0.3,10*9/L\n", "utf-8"
    )
    (tmp_path / "patients.csv").write_text("patient_id,replaced_by\nOLD,NEW\n", "utf-8")
    labs, patients = (str(tmp_path / f"{name}.csv") for name in ("labs", "patients"))
    run(RunOptions(store=tmp_path / "s.duckdb", as_of=NIGHT, labs=(labs,), patients=(patients,)))
    _, found = exported(tmp_path / "s.duckdb", tmp_path / "out")
    assert [patient["id"] for patient in found["Patient"]] == ["NEW"]
    assert len(found["Observation"][0]["derivedFrom"]) == 1


def test_a_patient_on_the_list_without_a_count_is_there(tmp_path: Path) -> None:
    (tmp_path / "labs.csv").write_text(
        "patient_id,specimen_id,collected_at,loinc,value,unit\nA,S1,2026-11-20 08:00,751-8,3.0,10*9/L\n", "utf-8"
    )
    (tmp_path / "drugs.csv").write_text("patient_id,drug_name,start_date\nB,clozapine,2026-09-01\n", "utf-8")
    labs, drugs = (str(tmp_path / f"{name}.csv") for name in ("labs", "drugs"))
    run(RunOptions(store=tmp_path / "s.duckdb", as_of=NIGHT, labs=(labs,), medications=(drugs,)))
    _, found = exported(tmp_path / "s.duckdb", tmp_path / "out")
    assert [issue["patient"]["reference"] for issue in found["DetectedIssue"]] == ["Patient/B"]
    assert [patient["id"] for patient in found["Patient"]] == ["A", "B"]
    assert DetectedIssue.model_validate(found["DetectedIssue"][0]).implicated is None


def test_pseudonyms_stay_pseudonyms(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "key").chmod(0o600)
    labs = str(SAMPLE / "labs.csv")
    run(RunOptions(store=tmp_path / "s.duckdb", as_of=NIGHT, labs=(labs,), pseudonymise=tmp_path / "key"))
    folder, _ = exported(tmp_path / "s.duckdb", tmp_path / "out")
    for path in folder.iterdir():
        text = path.read_text("utf-8")
        assert "P-0" not in text
        assert "S-0" not in text
        assert "labs.csv" not in text


def test_an_export_is_private_whole_noted_and_the_same_again(clinic: Path, tmp_path: Path) -> None:
    folder, _ = exported(clinic, tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "left.ndjson").touch()
    assert exported(clinic, tmp_path)[0] == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    manifest = json.loads(before["manifest.json"])
    assert manifest["as"] == "fhir"
    assert {name: about["rows"] for name, about in manifest["files"].items()} == {
        name: before[name].count(b"\n") for name in before if name != "manifest.json"
    }
    run(RunOptions(store=clinic, as_of=datetime(2026, 11, 17), labs=(str(clinic.parent / "labs.csv"),)))
    with reading(clinic) as connection:
        assert ("export",) in connection.sql("SELECT action FROM audit").fetchall()


def test_an_export_that_fails_leaves_the_one_before(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = exported(clinic, tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(row: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fhir, "_issue", full)
    with pytest.raises(PublishError, match="No space left"):
        exported(clinic, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]

"""The open data beside the project: every file runs, and what is refused is known."""

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from neutro_schemas import ScreenedResult
from neutro_screen.ingest import Extract, ingest, load_profile
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.counts.results import judge_rows
from neutro_screen.validate import split_valid

DATA = Path(__file__).parents[3] / "shared" / "data"
#: Files of the folders that no reader takes anything from, and why.
NOT_READ = {"LICENSE_ODbL.md": "the licence", "MICROBIOLOGYEVENTS.csv": "cultures; no rule asks for them"}
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the open data are not beside the project")


def verdict(extract: Extract) -> tuple[int, int, int, Counter[str]]:
    """Accepted, without result, not screened, and the reasons of the refused."""
    judged = judge_rows(
        extract.labs, load_reference(), load_policy(), as_of=datetime(2203, 1, 1), patients=extract.patients
    )
    accepted, rejected = split_valid(judged.results, ScreenedResult)
    return accepted.height, judged.no_results.height, judged.not_screened.height, Counter(rejected["reason"])


def test_hl7_messages() -> None:
    extract = ingest({"lab": [str(DATA / "hl7v2")]})
    assert (extract.labs.height, extract.patients.height, sum(map(len, extract.refused.values()))) == (48, 3, 0)
    # g/l-1 and g/mL are no units of haemoglobin that anybody meant.
    assert verdict(extract) == (26, 2, 18, Counter(unit_unknown=2))


def test_fhir_examples() -> None:
    extract = ingest({"lab": [str(DATA / "fhir")]})
    assert (extract.labs.height, extract.medications.height, extract.patients.height) == (10, 10, 1)
    assert "ETOPOSIDE 20 MG/ML IV SOLN" in extract.medications["drug_name"].to_list()
    # The report names no patient; the cord blood count is not screened.
    assert verdict(extract) == (4, 0, 1, Counter(missing_patient_id=5))


def test_synthea_export() -> None:
    extract = ingest({"lab": [str(DATA / "synthea_fhir")]})
    assert (extract.labs.height, extract.medications.height, extract.patients.height) == (4409, 2414, 47)
    accepted, no_results, not_screened, rejected = verdict(extract)
    assert (accepted + sum(rejected.values()), no_results, not_screened) == (3126, 0, 1283)


def test_mimic_three() -> None:
    extract = ingest({"lab": [str(DATA / "mimic3_demo")]})
    assert (extract.labs.height, extract.medications.height, extract.patients.height, extract.diagnoses.height) == (
        76074,
        10398,
        100,
        1761,
    )
    accepted, no_results, not_screened, rejected = verdict(extract)
    assert accepted + no_results + not_screened + sum(rejected.values()) == 76074
    assert sum(rejected.values()) < 10


def test_nhanes() -> None:
    profile = load_profile(Path(__file__).parent / "profiles" / "nhanes.toml")
    extract = ingest(
        {"lab": [str(DATA / "nhanes" / "CBC_J.csv")], "patient": [str(DATA / "nhanes" / "DEMO_J.csv")]}, profile
    )
    assert (extract.labs.height, extract.patients.height) == (75250, 9254)
    assert dict(extract.patients["sex"].value_counts().iter_rows()) == {"male": 4557, "female": 4697}
    assert extract.patients["ethnicity"].null_count() == 0
    assert set(extract.labs["patient_id"]) <= set(extract.patients["patient_id"])
    judged = judge_rows(
        extract.labs,
        load_reference().extended_by(profile.named_analytes, {}),
        load_policy(),
        as_of=datetime(2019, 1, 1),
        patients=extract.patients,
    )
    accepted, rejected = split_valid(judged.results, ScreenedResult)
    assert (accepted.height, judged.no_results.height, judged.not_screened.height, rejected.height) == (75250, 0, 0, 0)
    # A person who was asked and not bled has blanks in every column: no test, and no missing result.
    (labs,) = (file for file in extract.files if file.kind == "lab")
    assert "untested_rows:838" in labs.notes


def test_every_file_is_read() -> None:
    """Each file of the open data is a source of rows, a lookup table of one, or known not to be read."""
    profile = load_profile(Path(__file__).parent / "profiles" / "nhanes.toml")
    read = {"README.md", "D_LABITEMS.csv", "ADMISSIONS.csv"}
    for folder in ("hl7v2", "fhir", "synthea_fhir", "mimic3_demo"):
        read |= {file.name for file in ingest({"lab": [str(DATA / folder)]}).files}
    read |= {
        file.name
        for file in ingest(
            {"lab": [str(DATA / "nhanes" / "CBC_J.csv")], "patient": [str(DATA / "nhanes" / "DEMO_J.csv")]}, profile
        ).files
    }
    there = {path.name for path in DATA.rglob("*") if path.is_file()}
    assert there == read | NOT_READ.keys()

"""Control material is nobody's count and no alarm; what says nothing of the material leaves nobody unassessed (REC-4)."""

import pytest

from neutro_screen.ingest.chart import usable_rows
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.typed_rows import lab_rows
from neutro_screen.rules.counts.results import JudgedRows
from tests.clinic import judged, lab_table, screened

SEVERE = "patient | specimen_type | name | value | unit\n{} | {} | Neutrophils in Blood | 0.2 | 10*9/L"


def reading(patient: str, specimen: str = "") -> JudgedRows:
    return judged(SEVERE.format(patient, specimen))[0]


@pytest.mark.parametrize(
    "number",
    ["QC-L1", "XN CHECK L2", "EQA 2026/3", "CTRL NORMAL", "Control Level 1", "e-CHECK (XN) L2", "QC 12345678", "qc1"],
)
def test_rec_4_the_number_of_control_material_is_no_patient(number: str) -> None:
    found = reading(number, "Blood")
    assert found.not_screened["not_screened"].to_list() == ["control_material"]
    result = screened(SEVERE.format(number, "Blood"))
    assert (result.anc.height, result.worklist.height, result.cannot_assess.height) == (0, 0, 0)


@pytest.mark.parametrize(
    "number",
    ["CTRL-001", "CTL0007", "CAL123", "QC123456", "CHECK", "L1", "N12", "H-100", "CONTROL, MARIA", "4711", "LOW", "E2"],
)
def test_rec_4_a_number_that_may_be_a_patients_is_one(number: str) -> None:
    assert screened(SEVERE.format(number, "Blood")).anc["severity"].to_list() == ["severe"]


def test_rec_4_controls_are_counted_per_file_and_a_profile_may_say_that_they_are_blood() -> None:
    sent = lab_table(SEVERE.format("QC-L1", "Blood") + "\nQC-L2 | | ANC | 7.0 | 10*9/L\n7 | | ANC | 4.0 | 10*9/L")
    assert usable_rows("lab", sent, lab_rows(sent, Profile())).notes == ("control_material_rows:2",)
    profile = Profile.model_validate({"specimens": {"control material": "blood"}})
    assert judged(SEVERE.format("QC-L1", "Blood"), profile=profile)[1].accepted.height == 1


def test_rec_4_a_specimen_number_of_control_material_counts_as_well() -> None:
    rows = "patient | specimen | name | value | unit\n2026-0007 | QC-L1 | ANC | 0.2 | 10*9/L"
    assert judged(rows)[0].not_screened["not_screened"].to_list() == ["control_material"]


@pytest.mark.parametrize(
    "specimen", ["QC", "EQA", "Quality control", "Calibrator", "XN CHECK", "NEQAS blood", "Ringversuch"]
)
def test_rec_4_a_specimen_of_control_material_is_nobodys(specimen: str) -> None:
    assert reading("4711", specimen).not_screened["not_screened"].to_list() == ["control_material"]


@pytest.mark.parametrize("specimen", ["Patient", "Routine", "STANDARD", "Stat / Patient", "Patient sample", "Normal"])
def test_rec_4_words_that_say_nothing_of_the_material_state_no_specimen(specimen: str) -> None:
    assert screened(SEVERE.format("4711", specimen)).anc["severity"].to_list() == ["severe"]


@pytest.mark.parametrize("specimen", ["Control", "Kontrolle", "Mittelstrahl", "Random", "Patient, line"])
def test_rec_4_words_that_may_mean_another_material_stay_open(specimen: str) -> None:
    rows = SEVERE.format("4711", specimen).replace("Neutrophils in Blood", "ANC")
    assert screened(rows).cannot_assess["reason"].to_list() == ["unknown_specimen"]
    assert screened(rows).worklist.height == 0


@pytest.mark.parametrize("specimen", ["Patient urine", "Routine CSF"])
def test_rec_4_beside_another_material_they_change_nothing(specimen: str) -> None:
    rows = SEVERE.format("4711", specimen).replace("Neutrophils in Blood", "ANC")
    assert judged(rows)[0].not_screened["not_screened"].to_list() == ["other_specimen"]

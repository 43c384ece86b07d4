"""What the store says of drugs across its patients: exposures, a signal, a listing of cases (DRG-8)."""

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.store.file import publishing, reading
from neutro_screen.store.rows import insert, read_table
from neutro_screen.store.schema import columns_of

START, SEEN = date(2026, 1, 1), datetime(2026, 2, 10, 8)


def rows(table, *given):
    """Rows of a table with every column; what is not given is null."""
    return pl.DataFrame([dict.fromkeys(columns_of(table)) | row for row in given], infer_schema_length=None)


def course(patient, ingredient, *, is_cause=True, ended_on=None):
    return {
        "patient_id": patient,
        "ingredient": ingredient,
        "course": 1,
        "started_on": START,
        "started_on_latest": START,
        "ended_on": ended_on,
        "n_lines": 1,
        "is_cause": is_cause,
        "is_confounder": False,
    }


def suspect(patient, ingredient, category="likely"):
    naranjo = {
        "1_previous_reports": 1,
        "3_improved_after_stop": None,
        "total": 3,
        "unanswered": 8,
        "category": "possible",
    }
    return {
        "patient_id": patient,
        "episode_id": f"{patient}/e",
        "fall_id": f"{patient}/fall/1",
        "leads_to_nadir": True,
        "ingredient": ingredient,
        "category": category,
        "rank": None if category == "excluded" else 1,
        "first_exposure": START,
        "is_end_unread": False,
        "reason": "r",
        "items": json.dumps({"points": {}, "naranjo": naranjo, "who_umc": "possible"}),
    }


def fall(patient):
    return {
        "patient_id": patient,
        "episode_id": f"{patient}/e",
        "fall_id": f"{patient}/fall/1",
        "kind": "onset",
        "from_cells_per_ul": 4000.0,
        "to_cells_per_ul": 50.0,
        "started_at": datetime(2026, 2, 1),
        "seen_at": SEEN,
        "reached_at": SEEN,
        "leads_to_nadir": True,
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Ten patients on clozapine, of whom two fell; forty on ramipril, of whom one fell; one on a growth factor."""
    path = tmp_path / "s.duckdb"
    clozapine, ramipril = [f"C{n}" for n in range(10)], [f"R{n}" for n in range(40)]
    fallen = [("C0", "clozapine"), ("C1", "clozapine"), ("R0", "ramipril")]
    courses = [course(patient, "clozapine") for patient in clozapine]
    courses += [course(patient, "ramipril") for patient in ramipril]
    courses += [course("G", "filgrastim", is_cause=False), course("N", "clozapine")]
    suspects = [suspect(*one) for one in fallen] + [suspect("R1", "ramipril", "excluded")]
    counted = [{"patient_id": patient} for patient in [*clozapine, *ramipril, "G"]]  # N was never counted
    with publishing(path) as connection:
        insert(connection, "drug_course", rows("drug_course", *courses))
        insert(connection, "drug_suspect", rows("drug_suspect", *suspects))
        insert(connection, "fall", rows("fall", *(fall(patient) for patient, _ in fallen)))
        insert(connection, "anc", rows("anc", *counted))
    return path


def view(store, name):
    with reading(store) as connection:
        return read_table(connection, f'SELECT * FROM "{name}"')


def test_drg_8_falls_per_thousand_exposed_stand_against_the_other_drugs_of_the_store(store):
    signal = {row["ingredient"]: row for row in view(store, "drug_signal").iter_rows(named=True)}
    assert set(signal) == {"clozapine", "ramipril"}
    clozapine = signal["clozapine"]
    assert [clozapine[name] for name in ("exposed", "falls", "per_1000", "others", "other_falls")] == [
        10,
        2,
        200.0,
        40,
        1,
    ]
    # (2.5 / 11) / (1.5 / 41), and its interval by the standard error of the logarithm
    assert (clozapine["ratio"], clozapine["low"], clozapine["high"]) == (6.21, 0.92, 42.02)
    assert signal["ramipril"]["ratio"] == pytest.approx(1 / 6.21, abs=0.005)


def test_drg_8_a_drug_begun_after_the_fall_and_a_patient_without_a_count_do_not_count(store):
    signal = {row["ingredient"]: row for row in view(store, "drug_signal").iter_rows(named=True)}
    assert (signal["ramipril"]["exposed"], signal["ramipril"]["falls"]) == (40, 1)
    assert signal["clozapine"]["exposed"] == 10


def test_drg_8_the_signal_is_evidence_for_no_patient(store):
    """Nothing that is said of a patient is read from the store's views."""
    package = Path(__file__).parents[2] / "neutro_screen" / "rules"
    assert not any("drug_signal" in path.read_text("utf-8") for path in package.rglob("*.py"))


def test_drg_1_the_view_of_exposures_has_a_row_a_course(store):
    exposures = view(store, "exposure")
    assert exposures.columns == ["patient_id", "ingredient", "started_on", "ended_on"]
    assert exposures.height == 52
    assert exposures.filter(patient_id="C0").row(0) == ("C0", "clozapine", START, None)


def test_drg_4_the_listing_of_cases_says_which_items_are_known_and_which_are_open(store):
    cases = view(store, "case_listing")
    assert cases["patient_id"].to_list() == ["C0", "C1", "R0"]
    first = cases.row(0, named=True)
    assert (first["days_to_fall"], first["fell_on"], first["from_cells_per_ul"]) == (40, SEEN.date(), 4000.0)
    assert (first["naranjo_total"], first["naranjo_category"], first["who_umc"]) == (3, "possible", "possible")
    assert first["naranjo_known"] == "1_previous_reports"
    assert first["naranjo_open"] == "3_improved_after_stop"

"""From a medication list to courses of a drug (DRG-1)."""

from datetime import date
from functools import cache

import polars as pl
import pytest

from neutro_schemas import Medication
from neutro_screen.reference import FOLDER, load_policy
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.reference.drugs import read_drug_tables
from neutro_screen.rules.causes.drug_names import KEYS, match_medications, resolve_drug_names
from neutro_screen.rules.causes.exposures import exposures_per_patient

TABLES, POLICY, RULES = read_drug_tables(FOLDER), load_policy(), load_cause_reference().rules
JANUARY = {day: date(2025, 1, day) for day in range(1, 32)}


@cache
def resolved(*line):
    """One distinct line of a medication list, resolved; the same few recur in every test."""
    return resolve_drug_names(pl.DataFrame([line], schema=dict.fromkeys(KEYS, pl.String), orient="row"), TABLES)


def medication(drug_name, start, end=None, *, latest=None, status=None, route="oral", atc_code=None):
    return {
        "patient_id": "P",
        "drug_name": drug_name,
        "atc_code": atc_code,
        "start_date": start,
        "start_date_latest": latest or start,
        "end_date": end,
        "route": route,
        "status": status,
        "source_file": "list",
        "source_row": 1,
    }


def matched(*lines):
    types = {name: field.dtype.type for name, field in Medication.to_schema().columns.items()}
    medications = pl.DataFrame(list(lines), schema=types)
    return match_medications(
        medications.lazy(), pl.concat(resolved(*line) for line in medications.select(KEYS).unique().rows())
    )


def courses(*lines):
    return exposures_per_patient(matched(*lines), TABLES, POLICY, RULES).collect()


def spans(*lines):
    return courses(*lines).select("first_exposure", "last_exposure").rows()


def test_drg_1_an_open_order_is_still_given():
    assert spans(medication("clozapine", JANUARY[1])) == [(JANUARY[1], None)]


def test_drg_1_an_end_before_the_start_counts_as_that_one_day():
    assert spans(medication("clozapine", JANUARY[9], JANUARY[3])) == [(JANUARY[9], JANUARY[9])]


def test_drg_1_overlapping_orders_are_one_course():
    found = courses(
        medication("clozapine", JANUARY[1], JANUARY[10]), medication("clozapine 100 mg", JANUARY[5], JANUARY[20])
    )
    assert found.select("first_exposure", "last_exposure", "n_orders").rows() == [(JANUARY[1], JANUARY[20], 2)]


@pytest.mark.parametrize(("restart", "n_courses"), [(17, 1), (18, 2)])
def test_drg_1_a_pause_as_long_as_the_drug_still_acts_does_not_end_a_course(restart, n_courses):
    """Ceftriaxone acts for 7 days; 10 January + 7 days is 17 January."""
    assert (
        len(
            spans(
                medication("ceftriaxone", JANUARY[1], JANUARY[10], route="iv"),
                medication("ceftriaxone", JANUARY[restart]),
            )
        )
        == n_courses
    )


def test_drg_1_an_order_inside_an_open_one_does_not_close_it():
    assert spans(medication("clozapine", JANUARY[1]), medication("clozapine", JANUARY[5], JANUARY[6])) == [
        (JANUARY[1], None)
    ]


@pytest.mark.parametrize(("second", "n_courses"), [(4, 1), (5, 2)])
def test_drg_1_each_cycle_of_a_cytotoxic_is_a_course_and_its_days_belong_together(second, n_courses):
    doses = (medication("etoposide", day, day, route="iv") for day in (JANUARY[1], JANUARY[second]))
    assert len(spans(*doses)) == n_courses


def test_drg_1_a_dose_without_an_end_is_one_dose_not_a_treatment_that_goes_on():
    assert spans(medication("docetaxel", JANUARY[1], route="iv")) == [(JANUARY[1], JANUARY[1])]
    assert spans(medication("rituximab", JANUARY[1], route="iv")) == [(JANUARY[1], JANUARY[1])]


@pytest.mark.parametrize("status", ["not-taken", "Cancelled", "entered-in-error", "planned"])
def test_drg_1_what_was_not_taken_makes_no_exposure_and_is_counted(status):
    lines = (medication("clozapine", JANUARY[1]), medication("clozapine", JANUARY[3], status=status))
    assert courses(*lines).select("n_orders", "n_not_given").rows() == [(1, 1)]
    assert courses(lines[1]).height == 0


def test_drg_1_a_completed_order_without_an_end_is_known_for_its_first_day():
    assert spans(medication("clozapine", JANUARY[1], status="completed")) == [(JANUARY[1], JANUARY[1])]
    assert spans(medication("clozapine", JANUARY[1], status="active")) == [(JANUARY[1], None)]


def test_drg_1_an_eye_drop_is_no_exposure():
    lines = (medication("chloramphenicol 0.5 % eye drops", JANUARY[1], route="ophthalmic"),)
    assert courses(*lines).height == 0


def test_drg_1_a_partial_start_date_keeps_both_ends():
    found = courses(medication("clozapine", JANUARY[1], latest=JANUARY[31]))
    assert found.select("first_exposure", "first_exposure_latest").rows() == [(JANUARY[1], JANUARY[31])]


def test_the_order_of_lines_does_not_matter():
    lines = [medication("clozapine", JANUARY[day], JANUARY[day + 2]) for day in (1, 4, 20, 9)]
    lines += [medication("ceftriaxone", JANUARY[day], JANUARY[day]) for day in (1, 20)]
    assert courses(*lines).equals(courses(*reversed(lines)))

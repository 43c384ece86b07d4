"""A drug list without dates: taken now, since when is not known (DRG-1, DRG-2, SEV-4)."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from neutro_schemas import Medication
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.validate import dtypes
from tests.clinic import screened
from tests.worklists import Nights, of

DAY_0 = datetime(2026, 2, 1, 8)


def on(days: float) -> datetime:
    """A time counted from day 0."""
    return DAY_0 + timedelta(days=days)


def listed(*lines: str) -> pl.DataFrame:
    """Lines of the drug list of patient 1: a name, and in brackets first and last day, counted from day 0."""
    rows = []
    for line in lines:
        name, _, days = line.rstrip(")").partition(" (")
        start, end = [*days.split(".."), ""][:2]
        first, last = (on(int(day)).date() if day else None for day in (start, end))
        rows.append(
            {"patient_id": "1", "drug_name": name, "start_date": first, "start_date_latest": first, "end_date": last}
            | {"source_file": "list", "source_row": len(rows)}
        )
    return pl.DataFrame(rows, schema=dtypes(Medication))


def night(counts: dict[int, str], *lines: str, day: float = 1) -> ScreenResult:
    """Patient 1 with neutrophil counts (10*9/L by day) and a drug list, screened some days after day 0."""
    labs = [f"1 | {at} | {on(at):%Y-%m-%d %H:%M} | ANC | {value}" for at, value in counts.items()]
    text = "\n".join(["patient | specimen | collected | name | value", *labs])
    return screened(text, as_of=on(day), medications=listed(*lines))


def suspects(counts: dict[int, str], *lines: str, day: float = 1) -> dict[str, dict[str, Any]]:
    return {row["ingredient"]: row for row in night(counts, *lines, day=day).drug_suspect.to_dicts()}


AGRANULOCYTOSIS = {-30: "4.2", 0: "0.2"}


@pytest.mark.parametrize(
    "drug", ["metamizole sodium", "carbimazole", "clozapine", "sulfasalazine", "rituximab", "docetaxel"]
)
def test_drg_1_a_drug_without_a_start_date_is_a_possible_suspect_and_never_more(drug: str) -> None:
    found = suspects(AGRANULOCYTOSIS, drug)[drug]
    assert (found["category"], found["first_exposure"], found["last_exposure"]) == ("possible", None, None)
    assert "taken now by the drug list, since when is not known" in found["reason"]
    assert "its window cannot be judged without a start date" in found["reason"]
    items = json.loads(found["items"])
    assert (items["points"]["onset"], items["who_umc"], items["naranjo"]["2_event_after_drug"]) == (
        0,
        "unassessable",
        None,
    )
    assert suspects({-200: "4.2", 0: "0.2"}, drug)[drug]["category"] == "possible"
    assert suspects({0: "0.2"}, drug)[drug]["category"] == "possible"


def test_drg_1_with_its_date_the_same_drug_is_likely() -> None:
    assert suspects(AGRANULOCYTOSIS, "metamizole (-20)")["metamizole sodium"]["category"] == "likely"


def test_drg_1_a_dated_line_that_is_open_tells_more_than_one_without_a_date() -> None:
    found = suspects(AGRANULOCYTOSIS, "metamizole", "metamizole (-20)")["metamizole sodium"]
    assert (found["category"], found["first_exposure"]) == ("likely", on(-20).date())
    ended = suspects(AGRANULOCYTOSIS, "metamizole", "metamizole (-400..-380)")["metamizole sodium"]
    assert (ended["category"], ended["first_exposure"]) == ("possible", None)


def test_drg_1_of_a_line_that_ended_its_end_counts() -> None:
    assert "stopped 200 days before it" not in str(suspects(AGRANULOCYTOSIS, "metamizole (..-200)"))
    stopped = suspects({**AGRANULOCYTOSIS, 12: "3.9"}, "metamizole (..1)", day=13)["metamizole sodium"]
    assert "stopped 1 day after it" in stopped["reason"]
    assert "recovered 11 days after stopping" in stopped["reason"]
    assert "since when it was given is not known" in stopped["reason"]
    assert stopped["category"] == "possible"


def test_drg_3_recovery_on_a_drug_taken_now_is_no_argument_against_it() -> None:
    found = suspects({**AGRANULOCYTOSIS, 4: "0.4", 12: "3.9"}, "metamizole", day=13)["metamizole sodium"]
    assert "recovered while it was given" not in found["reason"]


def test_drg_5_nothing_is_expected_of_a_cytotoxic_drug_whose_dose_has_no_date() -> None:
    found = suspects(AGRANULOCYTOSIS, "docetaxel", "metamizole (-20)")
    assert (found["docetaxel"]["category"], found["metamizole sodium"]["category"]) == ("possible", "likely")
    assert not night(AGRANULOCYTOSIS, "docetaxel").worklist["is_expected"].any()


def test_drg_6_the_start_of_the_partner_tells_and_one_that_is_not_known_does_not() -> None:
    found = suspects(AGRANULOCYTOSIS, "azathioprine", "allopurinol (-20)")["azathioprine"]
    assert "taken together for at most 20 days before the first low count" in found["reason"]
    assert "since when is not known" in found["reason"]
    assert found["category"] == "possible"
    reason = suspects(AGRANULOCYTOSIS, "azathioprine (-100)", "allopurinol")["azathioprine"]["reason"]
    assert "taken together" not in reason


def test_wrk_4_the_decision_on_a_high_risk_drug_without_a_date_is_the_next_step() -> None:
    row = of(night({-30: "4.2", 0: "0.8"}, "carbimazole", day=8).worklist)
    assert row is not None
    assert "carbimazole" in row["conclusion"]
    assert "its window cannot be judged without a start date" in row["conclusion"]


def test_sev_4_clozapine_without_a_date_has_its_thresholds_and_the_schedule_of_the_first_weeks() -> None:
    result = night({0: "3.4"}, "clozapine", day=1)
    course = result.clozapine_course.to_dicts()
    assert [(row["first_exposure"], row["clozapine_step"], row["next_anc_due"]) for row in course] == [
        (None, "normal", on(7))
    ]
    assert of(result.worklist) is None
    low = night({-7: "3.4", 0: "1.2"}, "clozapine", day=0.5).anc.to_dicts()[-1]
    assert (low["clozapine_step"], low["next_anc_due"]) == ("mild", on(1))
    overdue = night({0: "3.4"}, "clozapine", day=8)
    row = of(overdue.worklist)
    assert row is not None
    assert "clozapine_anc_overdue" in row["reason_codes"]
    flag = overdue.flag.filter(pl.col("rule_id") == "SEV-4")["reason"].item()
    assert flag.startswith(
        "clozapine now, since when is not known (the schedule of the first weeks holds), and the ANC over"
    )


def test_sev_4_clozapine_without_date_and_count_is_overdue_and_stays_one_case() -> None:
    nights, states = Nights(), []
    for day in (1.0, 2.0, 3.5):
        result = screened(
            "patient | specimen | collected | name | value\n1 | s | 2026-01-31 08:00 | Haemoglobin | 140",
            as_of=on(day),
            medications=listed("clozapine"),
        )
        row = of(nights.after(result, on(day)))
        assert row is not None
        states.append((row["change"], "clozapine_anc_overdue" in row["reason_codes"]))
    assert states == [("new", True), ("unchanged", True), ("unchanged", True)]


def test_mask_1_a_steroid_without_a_date_is_told_without_one() -> None:
    lines = night(AGRANULOCYTOSIS, "prednisolone").evidence.filter(pl.col("rule_id") == "MASK-1")["finding"]
    assert lines.str.starts_with("prednisolone given from a day that is not known on").all()
    assert lines.len() == 1


def test_the_course_has_no_invented_day() -> None:
    course = night(AGRANULOCYTOSIS, "metamizole").drug_course.to_dicts()[0]
    assert (course["started_on"], course["started_on_latest"], course["ended_on"]) == (None, None, None)
    assert date.min not in night(AGRANULOCYTOSIS, "metamizole", "clozapine").drug_course["started_on"].to_list()

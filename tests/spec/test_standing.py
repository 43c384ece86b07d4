"""Findings outside of an episode: a fall that is not yet low, a newborn, an overdue count; each with its numbers and its date."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from neutro_schemas import Medication, Patient
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.validate import dtypes
from tests.clinic import screened
from tests.worklists import Nights, of

NIGHT = datetime(2026, 6, 15, 6)
#: The latest count, the day before the night.
LAST = datetime(2026, 6, 14, 8)


def labs(*counts: tuple[float, str], low: str = "") -> str:
    """Neutrophils in 10*9/L by days before the latest count."""
    rows = [f"1 | {ago} | {LAST - timedelta(days=ago):%Y-%m-%d %H:%M} | ANC | {value} | {low}" for ago, value in counts]
    return "\n".join(["patient | specimen | collected | name | value | low", *rows])


def drug(name: str, start: float, end: float | None = None) -> dict[str, pl.DataFrame]:
    """A medication list of one line: from and to so many days before the latest count."""
    days = [None if ago is None else (LAST - timedelta(days=ago)).date() for ago in (start, end)]
    row = {
        "patient_id": "1",
        "drug_name": name,
        "start_date": days[0],
        "start_date_latest": days[0],
        "end_date": days[1],
    }
    return {"medications": pl.DataFrame([row | {"source_file": "f", "source_row": 1}], schema=dtypes(Medication))}


def row(result: ScreenResult) -> dict[str, Any] | None:
    """The patient's row of the worklist."""
    return of(result.worklist)


HALVED_ON_CLOZAPINE = (labs((38, "5.2"), (5, "5.3"), (1, "2.6"), (0, "2.5")), drug("clozapine", 60))
FELL_TO_1900 = (labs((28, "4.8"), (7, "4.6"), (0, "1.9")), {})


@pytest.mark.parametrize(
    ("counts", "chart"), [HALVED_ON_CLOZAPINE, FELL_TO_1900, (FELL_TO_1900[0], drug("clozapine", 300))]
)
def test_wrk_2_a_rapid_decline_that_is_not_yet_low_is_repeated_within_two_days(counts: str, chart: Any) -> None:
    found = row(screened(counts, as_of=NIGHT, **chart))
    assert found is not None
    assert found["reason_codes"] == "rapid_decline"
    assert (found["next_step"], found["next_step_due"]) == ("repeat_cbc", LAST + timedelta(hours=48))


def test_sev_4_after_a_rapid_decline_the_one_date_of_clozapine_is_within_two_days_everywhere() -> None:
    result = screened(labs((60, "4.8"), (7, "4.6"), (2, "1.4"), (0, "1.3")), as_of=NIGHT, **drug("clozapine", 300))
    repeat = result.workup_step.filter(pl.col("step") == "repeat_cbc")
    in_two_days = [LAST + timedelta(hours=48)]
    assert (repeat["due_on"].to_list(), result.clozapine_course["next_anc_due"].to_list()) == (in_two_days, in_two_days)


def test_wrk_4_the_sentence_of_such_a_row_has_the_fall_the_drug_and_the_date() -> None:
    found = row(screened(HALVED_ON_CLOZAPINE[0], as_of=NIGHT, **HALVED_ON_CLOZAPINE[1]))
    assert found is not None
    said = found["conclusion"]
    assert said.startswith("Rapid decline while not yet low: ANC fell by ")
    assert "to 2500 cells/uL" in said
    assert "on clozapine" in said
    assert said.endswith("first: repeat blood count (due 2026-06-16 08:00).")


def test_trd_2_a_significant_fall_on_a_high_risk_drug_is_listed_before_it_is_low() -> None:
    counts = labs((199, "5.0"), (99, "5.1"), (59, "5.0"), (0, "2.7"))
    result = screened(counts, as_of=NIGHT, **drug("carbimazole", 30))
    found = row(result)
    assert found is not None
    assert (found["priority"], found["reason_codes"]) == ("medium", "significant_fall_high_risk_drug")
    assert "46 % below the usual 5000 cells/uL" in found["conclusion"]
    assert "carbimazole" in found["conclusion"]
    assert (found["next_step"], found["next_step_due"]) == ("repeat_cbc", LAST + timedelta(days=7))
    (flag,) = result.flag.filter(pl.col("rule_id") == "TRD-2").iter_rows(named=True)
    assert flag["specimen_id"] == "0"


@pytest.mark.parametrize(
    ("counts", "chart"),
    [
        (labs((199, "5.0"), (99, "5.1"), (59, "5.0"), (0, "2.7")), {}),
        (labs((199, "5.0"), (99, "5.1"), (59, "5.0"), (0, "2.7")), drug("carbimazole", 30, 10)),
        (labs((199, "5.0"), (99, "5.1"), (59, "5.0"), (0, "2.7")), drug("metformin", 30)),
        (labs((199, "5.0"), (99, "5.1"), (10, "14.0"), (0, "4.9")), drug("carbimazole", 30)),
        (labs((199, "9.9"), (99, "10.1"), (59, "9.8"), (0, "5.2")), drug("carbimazole", 30)),
        (labs((199, "5.0"), (99, "5.1"), (59, "5.0"), (10, "2.7"), (0, "4.4")), drug("carbimazole", 30)),
        (labs((59, ">5.0"), (0, "2.7")), drug("carbimazole", 30)),
        (labs((199, "7.2"), (99, "7.1"), (59, "7.3"), (0, "3.9")), drug("carbimazole", 30)),
    ],
    ids=[
        "no drug",
        "drug stopped",
        "harmless",
        "after infection",
        "neutrophilia",
        "back",
        "lower bound",
        "far from low",
    ],
)
def test_trd_2_no_row_without_the_drug_or_a_fall_from_the_usual_count(counts: str, chart: Any) -> None:
    assert row(screened(counts, as_of=NIGHT, **chart)) is None


def test_sev_3_a_newborn_below_the_own_limit_is_counted_again_within_a_day() -> None:
    born = {"patient_id": "1", "birth_date": (LAST - timedelta(days=5)).date(), "source_file": "f", "source_row": 1}
    found = row(
        screened(labs((0, "1.6"), low="1.75"), as_of=NIGHT, patients=pl.DataFrame([born], schema=dtypes(Patient)))
    )
    assert found is not None
    assert (found["next_step"], found["next_step_due"]) == ("repeat_cbc", LAST + timedelta(hours=24))
    assert "1600 cells/uL" in found["conclusion"]


def test_epi_6_such_a_row_ends_with_a_newer_count_and_is_not_called_recovered() -> None:
    nights = Nights()
    nights.after(screened(FELL_TO_1900[0], as_of=NIGHT), NIGHT)
    later = NIGHT + timedelta(days=20)
    counts = labs((28, "4.8"), (7, "4.6"), (0, "1.9"), (-19, "2.0"))
    found = of(nights.after(screened(counts, as_of=later), later))
    assert found is not None
    assert (found["row_group"], found["change"]) == ("recovered", "resolved")
    assert found["reasons"] == "a newer count does not show the finding any more"

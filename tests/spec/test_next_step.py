"""The next step of a patient, by danger and then by due date (WRK-4)."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from neutro_schemas import ClozapineCourse, DrugSuspect, WorkupStep
from neutro_screen.reference import load_policy
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.rules.worklist.next_step import load_next_steps, next_step_per_patient
from neutro_screen.validate import dtypes, no_rows

NOW = datetime(2026, 3, 1, 2)
HIGH_RISK = ("clozapine",)


def step(name: str, hours: float, state: str = "due") -> dict[str, object]:
    """A step of the work-up, due so many hours from now."""
    return {"episode_id": "E", "patient_id": "P", "step": name, "state": state, "due_on": NOW + timedelta(hours=hours)}


def next_step(*steps: dict[str, object], fever: bool = False, blasts: bool = False, drug: str | None = None) -> object:
    """What comes first for a patient with an open episode."""
    episodes = pl.DataFrame(
        [
            {
                "episode_id": "E",
                "patient_id": "P",
                "status": "new",
                "ended_at": None,
                "last_low_at": NOW - timedelta(days=1),
                "is_febrile": fever,
                "has_blasts": blasts,
            }
        ],
        schema_overrides={"ended_at": pl.Datetime("us"), "last_low_at": pl.Datetime("us")},
    )
    suspect = {
        "episode_id": "E",
        "patient_id": "P",
        "ingredient": drug,
        "category": "possible",
        "first_exposure": date(2026, 1, 1),
    }
    found = next_step_per_patient(
        pl.DataFrame(list(steps), schema=dtypes(WorkupStep)),
        episodes,
        pl.DataFrame([suspect] if drug else [], schema=dtypes(DrugSuspect)),
        HIGH_RISK,
        no_rows(ClozapineCourse),
        pl.DataFrame(schema={"patient_id": pl.String, "code": pl.String, "due_on": pl.Datetime("us")}),
        load_policy(),
        NOW,
    )
    return found["next_step"].item() if found.height else None


REPEAT_NOW, REPEAT_LATER = step("repeat_cbc", 23), step("repeat_cbc", 500)
SMEAR_OVERDUE = step("smear", -100, "overdue")


@pytest.mark.parametrize(
    ("known", "steps", "first"),
    [
        ({"fever": True, "blasts": True, "drug": "clozapine"}, (SMEAR_OVERDUE, REPEAT_NOW), "fever_assessment"),
        ({"blasts": True, "drug": "clozapine"}, (SMEAR_OVERDUE, REPEAT_NOW), "repeat_cbc"),
        ({"blasts": True, "drug": "clozapine"}, (SMEAR_OVERDUE, REPEAT_LATER), "drug_decision"),
        ({"blasts": True, "drug": "amoxicillin"}, (SMEAR_OVERDUE, REPEAT_LATER), "smear_and_referral"),
        ({}, (SMEAR_OVERDUE, REPEAT_LATER), "smear"),
        ({}, (step("smear", 600), REPEAT_LATER), "repeat_cbc"),
        ({}, (step("smear", 600, "done"),), None),
    ],
)
def test_wrk_4_the_next_step_is_the_most_urgent_by_danger(
    known: dict[str, object], steps: tuple[dict[str, object], ...], first: str | None
) -> None:
    assert next_step(*steps, **known) == first  # type: ignore[arg-type]


def test_every_step_of_the_work_up_can_be_the_next_one() -> None:
    assert set(load_cause_reference().workup["step"]) <= set(load_next_steps()["code"])

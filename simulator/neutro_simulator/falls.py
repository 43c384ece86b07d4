"""Which falls a course truly has, and what explains each (RULES.md DRG-1)."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neutro_simulator.parameters import FloatArray, number
from neutro_simulator.scenario import Drug, Scenario, acting
from neutro_simulator.truth import moment

IntArray = NDArray[np.intp]
#: A fall that begins so long before its cause begins to act is still that cause's: half a day, two steps of the grid.
TOLERANCE_DAYS = 0.5


@dataclass(frozen=True)
class Falls:
    """Falls of many courses, a value a fall: the patient's row, the first and the last step of the grid."""

    patient: IntArray
    first: IntArray
    last: IntArray


def falls_of(anc: FloatArray, days: FloatArray) -> Falls:
    """Every fall of the courses (one row a patient) that ends below 1500 cells/µL and either enters a lower severity
    band or at least halves the level before it.

    A fall runs from the first step of a descent to its last; pauses shorter than [true_fall] joined_gap_days are part
    of it, so a count that is stable in between has two falls.
    """
    step = days[1] - days[0]
    falling = -np.diff(np.log(anc), axis=1) / step > number("true_fall", "least_drop_per_day")
    edges = np.diff(np.pad(falling.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    patient, first = np.nonzero(edges == 1)
    _, last = np.nonzero(edges == -1)
    gap = round(number("true_fall", "joined_gap_days") / step)
    begins = np.ones(len(first), dtype=np.bool_)
    begins[1:] = (patient[1:] != patient[:-1]) | (first[1:] - last[:-1] > gap)
    ends = np.append(begins[1:], True) if len(begins) else begins
    patient, first, last = patient[begins], first[begins], last[ends]
    before, after = anc[patient, first], anc[patient, last]
    lower = _band(after) < _band(before)
    counts = (after < number("severity", "normal_from")) & (lower | (after <= number("true_fall", "halved") * before))
    return Falls(patient[counts], first[counts], last[counts])


def fall_truth(
    cause: str, scenario: Scenario, days: FloatArray, ids: pl.Series, midnight: datetime, until_day: float
) -> pl.DataFrame:
    """One row a true fall that began by the index time.

    patient_id; from_cells_per_ul, to_cells_per_ul (noise-free); started_at, reached_at (null: still falling); ended_at
    (null: the count has not come back); kind: `onset` (from 1500 or more) or `deepening` (within an episode); cause;
    effect: reaction, late_reaction, interaction, expected, beyond_expected, null without a drug; ingredient, partner
    (the second drug of an interaction).
    """
    known = days <= until_day
    anc, days = scenario.anc[:, known], days[known]
    falls = falls_of(anc, days)
    before, after = anc[falls.patient, falls.first], anc[falls.patient, falls.last]
    reached = np.where(falls.last < len(days) - 1, days[falls.last], np.nan)
    normal = number("severity", "normal_from")
    found = pl.DataFrame(
        {
            "patient": falls.patient.astype(np.int64),
            "from_cells_per_ul": before.round(1),
            "to_cells_per_ul": after.round(1),
            "started_day": days[falls.first],
            "reached_day": reached,
            "ended_day": _ended(anc, days, falls, number("true_fall", "ended_fraction") * np.minimum(before, normal)),
            "kind": np.where(before >= normal, "onset", "deepening").tolist(),
        },
        schema_overrides={"kind": pl.String},
    ).with_columns(pl.col("reached_day", "ended_day").fill_nan(None))
    explained = _explained(found, _actions(cause, scenario))
    return explained.select(
        ids.gather(explained["patient"]).alias("patient_id"),
        "from_cells_per_ul",
        "to_cells_per_ul",
        *(moment(pl.col(f"{edge}_day"), midnight).alias(f"{edge}_at") for edge in ("started", "reached", "ended")),
        "kind",
        "cause",
        "effect",
        "ingredient",
        "partner",
    )


def _band(anc: FloatArray) -> IntArray:
    """Severity by RULES.md SEV-1 as a number, higher is better."""
    limits = [number("severity", name) for name in ("profound_below", "severe_below", "moderate_below", "normal_from")]
    return np.searchsorted(np.array(limits), anc, side="right")


def _ended(anc: FloatArray, days: FloatArray, falls: Falls, back_at: FloatArray) -> FloatArray:
    """First day after each fall on which the count is back at the given level; NaN where it is not."""
    steps = np.arange(len(days))
    back = (anc[falls.patient] >= back_at[:, None]) & (steps[None, :] > falls.last[:, None])
    return np.where(back.any(axis=1), days[back.argmax(axis=1)], np.nan)


def _actions(cause: str, scenario: Scenario) -> pl.DataFrame:
    """What explains the falls of each patient, from which day: the scenario's own, else its cause from the onset on."""
    if len(scenario.actions):
        return scenario.actions
    drugs = [Drug(ingredient, "", "") for ingredient in scenario.ingredient]
    is_drug = pl.col("ingredient").is_not_null()
    return acting(cause, scenario.onset_day, drugs).with_columns(
        pl.when(is_drug).then(pl.lit("reaction")).alias("effect")
    )


def _explained(found: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """Each fall with what began to act last before it."""
    begun = found.with_columns(from_day=pl.col("started_day") + TOLERANCE_DAYS).sort("from_day")
    return begun.join_asof(actions.sort("from_day"), on="from_day", by="patient", check_sortedness=False).sort(
        "patient", "started_day"
    )

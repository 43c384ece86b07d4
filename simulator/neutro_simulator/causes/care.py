"""What a low count brings, whatever its cause: fever, antibiotics and G-CSF begun after the fall, reviews, tests."""

from dataclasses import replace

import numpy as np
import polars as pl

from neutro_simulator.parameters import FloatArray, number, numbers, text, texts
from neutro_simulator.scenario import BoolArray, Drug, Group, Scenario, given, happened, measured, temperatures

FEVER_AFTER_DAYS = 0.3


def with_care(group: Group, scenario: Scenario) -> Scenario:
    """Adds fever and its treatment after the first ANC < 500, a drug review, a smear and negative tests."""
    severe = group.below(scenario.anc, number("severity", "severe_below"), scenario.onset_day)
    low = group.below(scenario.anc, number("severity", "normal_from"), scenario.onset_day)
    fever = group.share("fever_share") if group.sets("fever_share") else np.zeros(group.size, dtype=np.bool_)
    helped = group.share("filgrastim_share", "chemotherapy") & fever
    reviewed, smear = (group.share(name, "bystanders") for name in ("review_share", "smear_share"))
    medications = [scenario.medications, *rescue(group, severe, fever, helped)]
    events = [
        scenario.events,
        temperatures(group, severe + FEVER_AFTER_DAYS, fever),
        happened("medication_review", low + 3.0, "list reviewed", reviewed),
        happened("smear_review", low + 2.0, "no blasts", smear),
    ]
    return replace(
        scenario,
        medications=pl.concat(medications),
        events=pl.concat(events),
        markers=pl.concat([scenario.markers, *_negative_tests(group, low)]),
    )


def rescue(group: Group, severe: FloatArray, fever: BoolArray, helped: BoolArray) -> list[pl.DataFrame]:
    """Antibiotics and G-CSF, begun after the ANC fell below 500: never its cause, often taken for it."""
    antibiotic, growth_factor = (numbers("bystanders", f"{name}_days") for name in ("antibiotics", "growth_factor"))
    factor = Drug.parse(text("bystanders", "growth_factor"))
    return [
        given(antibiotics(group), severe + antibiotic[0], severe + antibiotic[1], "iv", who=fever),
        given([factor] * group.size, severe + growth_factor[0], severe + growth_factor[1], "sc", who=helped),
    ]


def antibiotics(group: Group) -> list[Drug]:
    """The antibiotic each patient would get for a fever."""
    return group.drugs("after_fever", "bystanders")


def still_given(end: FloatArray) -> FloatArray:
    """NaN for an end after the index date: it is not known yet, the drug is still being given."""
    return np.where(end > 0.0, np.nan, end)


def _negative_tests(group: Group, low: FloatArray) -> list[pl.DataFrame]:
    """Tests that were done and found nothing: a test on file is not a positive test."""
    tested = group.share("negative_tests_share", "bystanders")
    day = np.where(tested, low + 2.0, np.nan)
    markers = texts("bystanders", "negative_tests")
    return [measured(markers, np.full(group.size, float(index)), day) for index in range(len(markers))]

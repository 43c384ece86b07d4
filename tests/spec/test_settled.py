"""Long after the last date of a chart nothing that the screen says depends on the index time any more.

The nightly run relies on it: such patients are not screened again (policy ``worklist.settled_d``). A rule that goes on
counting days would fail here.
"""

from dataclasses import fields
from datetime import datetime, timedelta

import polars as pl
import pytest

import neutro_screen
from neutro_screen.reference import load_policy
from neutro_screen.rules.protocol import ScreenResult
from neutro_simulator import simulate_hospital

LAST = datetime(2026, 6, 15, 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_settled_hospital_looks_the_same_a_year_later(seed: int) -> None:
    hospital = simulate_hospital(150, seed, as_of=LAST, dirt=0.0)
    charts = (hospital.medications, hospital.patients, hospital.diagnoses, hospital.events)
    ends = hospital.medications["end_date"].drop_nulls().to_list()
    planned = [text for text in ends if text > LAST.isoformat()]
    last = max([LAST, *(datetime.fromisoformat(text) for text in planned)])
    settled = last + timedelta(days=load_policy().worklist.settled_d)
    soon, later = (
        neutro_screen.screen(hospital.labs, *charts, as_of=settled + timedelta(days=days)) for days in (1, 400)
    )
    # PIT-1 counts the days of a suspect that is still given: the run takes no such patient for settled.
    is_suspect = pl.col("category").is_in(["likely", "possible"])
    still_given = soon.drug_suspect.filter(is_suspect & pl.col("last_exposure").is_null()).unique("patient_id")
    assert soon.episode["ended_at"].null_count() > 5
    for table in fields(ScreenResult):
        before, after = (
            getattr(result, table.name).join(still_given, on="patient_id", how="anti", maintain_order="left")
            for result in (soon, later)
        )
        assert before.height > 0 or table.name in ("cannot_assess", "contradicted"), table.name
        assert before.equals(after), table.name

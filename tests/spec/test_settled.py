"""Long after the last date of a chart nothing that the screen says depends on the index time any more.

The nightly run relies on it: such patients are not screened again (policy ``worklist.settled_d``). A rule that goes on
counting days would fail here.
"""

from dataclasses import fields
from datetime import datetime, timedelta

import polars as pl
import pytest

import neutro_screen
from neutro_screen.protocol import ScreenResult
from neutro_screen.reference import load_policy
from neutro_screen.simulate import simulate_hospital

LAST = datetime(2026, 6, 15, 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_settled_hospital_looks_the_same_a_year_later(seed: int) -> None:
    hospital = simulate_hospital(150, seed, as_of=LAST, dirt=0.0)
    # A drug that is still given is never over (PIT-1 counts its days): the run does not take such a patient for settled.
    ended = hospital.medications.filter(pl.col("end_date").is_not_null())
    charts = (ended, hospital.patients, hospital.diagnoses, hospital.events)
    planned = [text for text in ended["end_date"].to_list() if text > LAST.isoformat()]
    last = max([LAST, *(datetime.fromisoformat(text) for text in planned)])
    settled = last + timedelta(days=load_policy().worklist.settled_d)
    soon, later = (
        neutro_screen.screen(hospital.labs, *charts, as_of=settled + timedelta(days=days)) for days in (1, 400)
    )
    assert soon.episode["ended_at"].null_count() > 5
    for table in fields(ScreenResult):
        assert getattr(soon, table.name).equals(getattr(later, table.name)), table.name

"""Silence changes nothing for the better (EPI-6): a night without any new result improves, resolves and lowers nothing.

One hospital; benchmarks/silent_night.py takes as many as there is time for.
"""

from datetime import datetime, timedelta

import polars as pl

import neutro_screen
from neutro_simulator import simulate_hospital
from tests.worklists import Nights

LAST = datetime(2026, 6, 15, 2)


def test_silent_nights_improve_nothing_and_lower_no_priority() -> None:
    hospital = simulate_hospital(200, 1, as_of=LAST)
    charts = (hospital.medications, hospital.patients, hospital.diagnoses, hospital.events)
    nights, before = Nights(), None
    for days in (0, 1, 8, 29, 62, 95, 400):
        as_of = LAST + timedelta(days=days)
        rows = nights.after(neutro_screen.screen(hospital.labs, *charts, as_of=as_of), as_of)
        if before is not None:
            staying = before.filter(pl.col("row_group").is_in(["open", "lost_to_follow_up"]))
            pairs = staying.join(rows, on="patient_id", how="left", suffix="_now")
            assert pairs.height > 20
            assert pairs["change_now"].null_count() == 0
            assert set(pairs["change_now"]) <= {"unchanged", "escalated", "lost"}
            assert pairs.filter(pl.col("priority_now") < pl.col("priority")).is_empty()
            # The rules themselves lower nothing; nothing has to be held.
            assert not rows["reason_codes"].str.contains("held").any()
        before = rows

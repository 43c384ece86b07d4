"""The work-up over a simulated hospital (WRK-3, WRK-4): nothing overdue since before what asks for it, no smear for a fever."""

from datetime import datetime, timedelta

import polars as pl
import pytest

import neutro_screen
from neutro_screen.api import Screening
from neutro_simulator import simulate_enriched_hospital

NIGHT = datetime(2026, 6, 15, 2)


@pytest.fixture(scope="module")
def screening() -> Screening:
    """300 patients; everybody with a count below 500 has a fever with it."""
    hospital = simulate_enriched_hospital(300, 821, as_of=NIGHT)
    plain = neutro_screen.screen(hospital.labs, as_of=NIGHT)
    severe = plain.anc.filter(pl.col("severity") >= pl.lit("severe"))
    fevers = severe.select(
        "patient_id",
        event=pl.lit("temperature"),
        date=pl.col("collected_at").dt.to_string("iso"),
        detail=pl.lit("39.2"),
    )
    events = pl.concat([hospital.events.select(fevers.columns), fevers])
    return neutro_screen.screen(
        hospital.labs, hospital.medications, hospital.patients, hospital.diagnoses, events, as_of=NIGHT
    )


def test_wrk_3_no_step_is_overdue_since_before_the_severity_that_asks_for_it(screening: Screening) -> None:
    overdue = screening.workup_step.filter(pl.col("state") == "overdue")
    reached = (
        screening.anc.filter(pl.col("severity") > pl.lit("normal"))
        .join(screening.episode.select("patient_id", "episode_id", "started_at", "last_low_at"), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .group_by("episode_id")
        .agg(
            pl.col("collected_at").filter(pl.col("severity") == pl.col("severity").max()).min().alias("worst_at"),
            severe_at=pl.col("collected_at").filter(pl.col("severity") >= pl.lit("severe")).min(),
            moderate_at=pl.col("collected_at").filter(pl.col("severity") >= pl.lit("moderate")).min(),
            first_at=pl.col("collected_at").min(),
        )
    )
    asked = overdue.join(reached, on="episode_id").with_columns(
        by_severity=pl.coalesce("severe_at", "moderate_at", "first_at")
    )
    episodes = screening.episode.select("episode_id", "is_persistent", "is_cyclic")
    judged = asked.join(episodes, on="episode_id").filter(~pl.col("is_cyclic"))
    of_severity = judged.filter((pl.col("step") != "bone_marrow") | ~pl.col("is_persistent"))
    assert of_severity.height > 100
    assert of_severity.filter(pl.col("due_on") < pl.col("by_severity")).is_empty()
    of_persistence = judged.filter((pl.col("step") == "bone_marrow") & pl.col("is_persistent"))
    first = pl.min_horizontal("severe_at", pl.col("first_at") + timedelta(days=90))
    assert of_persistence.filter(pl.col("due_on") < first).is_empty()


def test_wrk_4_a_fever_with_a_count_below_500_comes_first_and_never_a_smear(screening: Screening) -> None:
    febrile = screening.flag.filter(pl.col("rule_id") == "FEV-1").select("episode_id").unique()
    open_ones = screening.episode.filter(pl.col("ended_at").is_null() & (pl.col("status") != "died")).join(
        febrile, on="episode_id"
    )
    steps = screening.patient_status.join(open_ones.select("patient_id"), on="patient_id")["next_step"]
    assert steps.len() > 10
    assert set(steps) == {"fever_assessment"}

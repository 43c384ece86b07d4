"""A silent night over many simulated patients: how many rows improve, resolve or become less urgent without a new result.

RULES.md EPI-6 asks for none. ``python -m benchmarks.silent_night --patients 10000``.
"""

import argparse
from datetime import timedelta

import polars as pl

import neutro_screen
from neutro_schemas.store import WorklistRow
from neutro_screen.pipeline.options import moment
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.worklist.order import open_cases, worklist_rows
from neutro_screen.validate import no_rows
from neutro_simulator import simulate_hospital

LAST = moment("2026-06-15T02:00:00")


def silent_night(patients: int, seed: int, days: float) -> dict[str, int]:
    """Rows of the second of two nights without a new result, by what became of them."""
    hospital = simulate_hospital(patients, seed, as_of=LAST)
    charts = (hospital.medications, hospital.patients, hospital.diagnoses, hospital.events)
    reference, policy = load_reference().worded_by(load_policy()), load_policy()
    previous, seen = no_rows(WorklistRow), pl.DataFrame(schema={"episode_id": pl.String})
    for as_of in (LAST, LAST + timedelta(days=days)):
        result = neutro_screen.screen(hospital.labs, *charts, as_of=as_of)
        status, episodes = result.patient_status.lazy(), result.episode.lazy()
        cases = open_cases(episodes, result.flag.lazy(), status, seen.lazy(), reference)
        before = previous
        previous = worklist_rows(cases, status, before.lazy(), episodes, reference, policy, as_of, "R").collect()
        seen = result.episode.filter(pl.col("ended_at").is_not_null()).select("episode_id")
    staying = before.filter(pl.col("row_group").is_in(["open", "lost_to_follow_up"]))
    pairs = staying.join(previous, on="patient_id", how="left", suffix="_now")
    changes = dict(pairs.group_by("change_now").len().iter_rows())
    return {
        "rows": staying.height,
        "gone": pairs["change_now"].null_count(),
        "improved or resolved": changes.get("improved", 0) + changes.get("resolved", 0),
        "priority lower": pairs.filter(pl.col("priority_now") < pl.col("priority")).height,
        "priority held": previous.filter(pl.col("reason_codes").str.contains("held")).height,
        "escalated": changes.get("escalated", 0),
        "lost to follow-up": changes.get("lost", 0),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, nargs="+", default=[1, 62])
    chosen = parser.parse_args()
    for days in chosen.days:
        print(days, silent_night(chosen.patients, chosen.seed, days))

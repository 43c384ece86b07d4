"""The worklists of past nights under one policy, from night to night, without writing a store.

A night screens only the patients of whom something new had come, and those whose row may change by the passing of time
alone: an open episode, a clozapine course, a row on the list of the night before, while it is not settled (``plan.py``).
Nobody else can come onto the list or leave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas import CannotAssess, ClozapineCourse, DrugSuspect, Episode, Flag, PatientStatus
from neutro_schemas.store import WorklistRow
from neutro_screen.pipeline.backtest.history import History
from neutro_screen.pipeline.rows import patients_of
from neutro_screen.reference import Policy, load_reference
from neutro_screen.rules.protocol import ScreenResult, screen
from neutro_screen.rules.worklist.order import open_cases, worklist_rows
from neutro_screen.rules.worklist.standing import STANDING
from neutro_screen.validate import no_rows

#: What a night needs of the nights before: table of ``ScreenResult`` -> its model.
_STATE: Final = {
    "episode": Episode,
    "flag": Flag,
    "patient_status": PatientStatus,
    "cannot_assess": CannotAssess,
    "drug_suspect": DrugSuspect,
    "clozapine_course": ClozapineCourse,
}
_SHOWN: Final = ("patient_id", "priority", "change", "row_group")


@dataclass(frozen=True)
class Night:
    """One night: its worklist (patient_id, priority, change, row_group), and how many patients it screened and knew."""

    as_of: datetime
    worklist: pl.DataFrame
    patients_screened: int
    patients_known: int
    cannot_assess: int


def replay(history: History, policy: Policy, nights: Sequence[datetime]) -> list[Night]:
    """The given nights, in order. The first screens everybody known by then: what it lists was there before."""
    state = {name: no_rows(model) for name, model in _STATE.items()}
    arrivals = history.arrivals()
    previous, replayed = no_rows(WorklistRow), list[Night]()
    for night in nights:
        come = arrivals.filter(pl.col("received_at") <= night)
        if replayed:
            before = replayed[-1].as_of
            waiting = _unsettled(state, previous, history, before, policy)
            wanted = patients_of([come.filter(pl.col("received_at") > before), waiting])
        else:
            wanted = patients_of([come])
        seen = state["episode"].filter(pl.col("ended_at").is_not_null()).join(wanted, on="patient_id", how="semi")
        if wanted.height:
            state = _with_result(state, wanted, _screened(history.known_at(night, wanted), policy, night))
        previous = _worklist(state, wanted, previous, seen, policy, night)
        replayed.append(
            Night(
                as_of=night,
                worklist=previous.select(_SHOWN),
                patients_screened=wanted.height,
                patients_known=state["patient_status"].height,
                cannot_assess=state["cannot_assess"].filter(pl.col("since") <= night)["patient_id"].n_unique(),
            )
        )
    return replayed


def _unsettled(
    state: dict[str, pl.DataFrame], previous: pl.DataFrame, history: History, before: datetime, policy: Policy
) -> pl.DataFrame:
    """Patients (patient_id) whose row may look different though nothing came in."""
    is_given = pl.col("category").is_in(["likely", "possible"]) & pl.col("last_exposure").is_null()
    always = patients_of([state["clozapine_course"], state["drug_suspect"].filter(is_given)])
    candidates = patients_of(
        [state["episode"].filter(pl.col("ended_at").is_null()), state["clozapine_course"], previous]
    )
    chart = history.known_at(before, candidates)
    last = pl.max_horizontal("start_date_latest", "end_date").cast(pl.Datetime("us"))
    happened = pl.concat(
        [
            state["patient_status"]
            .join(candidates, on="patient_id", how="semi")
            .select("patient_id", at="last_collected_at"),
            chart.medication.select("patient_id", at=last),
            chart.event.select("patient_id", at="occurred_at"),
            chart.diagnosis.select("patient_id", at=pl.col("date").cast(pl.Datetime("us"))),
        ]
    )
    settled = before - timedelta(days=policy.worklist.settled_d)
    latest = happened.group_by("patient_id").agg(pl.col("at").max())
    unsettled = latest.filter((pl.col("at") >= settled).fill_null(True)).select("patient_id")
    return pl.concat([unsettled, always.join(candidates, on="patient_id", how="semi")]).unique()


def _screened(known: History, policy: Policy, night: datetime) -> ScreenResult:
    return screen(
        known.lab_result.drop("run_id"),
        known.medication.drop("run_id"),
        known.patient.drop("run_id"),
        known.diagnosis.drop("run_id"),
        known.event.drop("run_id"),
        as_of=night,
        policy=policy,
        unusable=known.unusable,
        others=known.others,
        data_kinds=known.data_kinds,
        drugs=known.drugs,
    )


def _with_result(state: dict[str, pl.DataFrame], wanted: pl.DataFrame, result: ScreenResult) -> dict[str, pl.DataFrame]:
    """The conclusions of the patients now screened in the place of their earlier ones."""
    return {
        name: pl.concat([rows.join(wanted, on="patient_id", how="anti"), getattr(result, name).select(rows.columns)])
        for name, rows in state.items()
    }


def _worklist(
    state: dict[str, pl.DataFrame],
    screened: pl.DataFrame,
    previous: pl.DataFrame,
    seen: pl.DataFrame,
    policy: Policy,
    night: datetime,
) -> pl.DataFrame:
    """The worklist of the night (``WorklistRow``), as a run would publish it (``pipeline/worklist.py``)."""
    reference = load_reference().worded_by(policy)
    is_new_end = pl.col("patient_id").is_in(screened["patient_id"].implode())
    episodes = state["episode"].filter(pl.col("priority").is_not_null() & (pl.col("ended_at").is_null() | is_new_end))
    outside = state["flag"].filter(pl.col("episode_id").is_null())
    standing = outside.filter(pl.any_horizontal(pl.col("rule_id").str.starts_with(rule) for rule in STANDING))
    wanted = patients_of([episodes, standing, previous])
    status = state["patient_status"].join(wanted, on="patient_id", how="semi").lazy()
    courses = state["episode"].join(previous, on="patient_id", how="semi").lazy()
    cases = open_cases(episodes.lazy(), standing.lazy(), status, seen.lazy(), reference)
    return worklist_rows(cases, status, previous.lazy(), courses, reference, policy, night, "").collect()

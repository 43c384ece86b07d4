"""The next step of a patient: the most urgent one by danger, then by due date (WRK-4)."""

from datetime import datetime, timedelta
from functools import cache
from typing import Final

import pandera.polars as pa
import polars as pl

from neutro_screen.reference import Policy, load_cause_reference, reference_table
from neutro_screen.rules.causes.conclusion import conclusions
from neutro_screen.rules.causes.findings import Causes

_OPEN: Final = ("due", "overdue")


class NextStep(pa.DataFrameModel):
    """One step that can be the next one, the most urgent first."""

    code: str = pa.Field(unique=True, description="Code of the step.")
    rank: int = pa.Field(ge=1, description="Order by danger; steps of one rank follow their due date.")
    label: str = pa.Field(description="The step as something to do.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


@cache
def load_next_steps() -> pl.DataFrame:
    """Read and check ``next_steps.csv``.

    Raises:
        ReferenceDataError: the table does not fit its contract.
    """
    return reference_table("next_steps.csv", NextStep)


def next_step_per_patient(
    steps: pl.DataFrame,
    episodes: pl.DataFrame,
    suspects: pl.DataFrame,
    high_risk: tuple[str, ...],
    clozapine: pl.DataFrame,
    standing: pl.DataFrame,
    policy: Policy,
    as_of: datetime,
) -> pl.DataFrame:
    """``patient_id, next_step, next_step_due`` (UTC), ``then_step``: one row per patient with anything to do.

    ``steps`` is ``WorkupStep``; ``episodes`` has ``is_febrile`` and ``has_blasts`` beside the columns of ``Episode``;
    ``clozapine`` is ``ClozapineCourse``; ``standing`` comes from ``counts_to_repeat``. In this order: fever with ANC < 500; a repeat count that is overdue or due
    within the policy's hours; a likely or high-risk suspect (``high_risk``: ingredients) still given; blasts; then the
    other steps, and a repeat count of later, by due date. A smear is never the next step of a febrile patient.
    ``then_step`` is the decision or referral that is urgent beside the next step.
    """
    open_ones = episodes.filter(pl.col("ended_at").is_null() & (pl.col("status") != "died"))
    due = steps.filter(pl.col("state").is_in(_OPEN)).select("patient_id", "due_on", code="step")
    soon = pl.lit(as_of) + timedelta(hours=policy.worklist.next_step_soon_h)
    found = (
        _of_episodes(open_ones.filter("is_febrile"), "fever_assessment"),
        due.filter((pl.col("code") == "repeat_cbc") & (pl.col("due_on") <= soon)),
        _still_given(suspects, open_ones, high_risk, as_of),
        _of_episodes(open_ones.filter("has_blasts"), "smear_and_referral"),
        due.filter((pl.col("code") != "repeat_cbc") | (pl.col("due_on") > soon)).with_columns(rank=pl.lit(_LAST)),
        _elsewhere(clozapine.select("patient_id", code=pl.lit("repeat_cbc"), due_on="next_anc_due"), open_ones),
        _elsewhere(standing, open_ones),
    )
    ranked = (
        pl.concat(found, how="diagonal")
        .join(load_next_steps().select("code", by_danger="rank"), on="code")
        .with_columns(rank=pl.coalesce("rank", pl.col("by_danger").cast(pl.Int32)))
    )
    in_order = ranked.sort("patient_id", "rank", "due_on", "code", nulls_last=True)
    first = in_order.unique("patient_id", keep="first", maintain_order=True).select(
        "patient_id", next_step="code", next_step_due="due_on"
    )
    beside = (
        in_order.filter(pl.col("code").is_in(_URGENT_BESIDE))
        .join(first, left_on=["patient_id", "code"], right_on=["patient_id", "next_step"], how="anti")
        .unique("patient_id", keep="first", maintain_order=True)
        .select("patient_id", then_step="code")
    )
    return first.join(beside, on="patient_id", how="left", validate="1:1", maintain_order="left")


#: What stands beside a next step that comes before it: neither waits for the other.
_URGENT_BESIDE: Final = ("drug_decision", "smear_and_referral")


#: The rank of a step that only its due date places.
_LAST: Final = 5


def _of_episodes(episodes: pl.DataFrame, code: str) -> pl.DataFrame:
    """A step that is due since the last low count of the episode."""
    return episodes.select("patient_id", code=pl.lit(code), due_on="last_low_at")


def _still_given(
    suspects: pl.DataFrame, open_ones: pl.DataFrame, high_risk: tuple[str, ...], as_of: datetime
) -> pl.DataFrame:
    """The decision on a suspect that is still given: a likely one, or a possible one of high risk."""
    is_current = pl.col("last_exposure").is_null() | (pl.col("last_exposure") >= pl.lit(as_of).dt.date())
    is_risky = (pl.col("category") == "possible") & pl.col("ingredient").is_in(high_risk)
    return (
        suspects.filter(((pl.col("category") == "likely") | is_risky) & is_current)
        .select("episode_id")
        .unique()
        .join(open_ones, on="episode_id")
        .pipe(_of_episodes, "drug_decision")
    )


def _elsewhere(steps: pl.DataFrame, open_ones: pl.DataFrame) -> pl.DataFrame:
    """Counts of patients without an open episode, whose own date stands in its work-up (SEV-4, WRK-2)."""
    return steps.filter(pl.col("due_on").is_not_null()).join(open_ones, on="patient_id", how="anti")


def with_conclusion(episodes: pl.DataFrame, causes: Causes, next_steps: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add ``conclusion`` and ``telling_test`` to episodes; null where an episode has no priority.

    ``next_steps`` comes from ``next_step_per_patient``.
    """
    labels = load_next_steps().lazy().select(next_step="code", label="label")
    beside = labels.rename({"next_step": "then_step", "label": "then_label"})
    steps = (
        next_steps.lazy()
        .join(labels, on="next_step", how="left", validate="m:1")
        .join(beside, on="then_step", how="left", validate="m:1")
    )
    found = conclusions(
        episodes.lazy(),
        causes.falls.lazy(),
        causes.suspects.lazy(),
        causes.evidence.lazy(),
        steps.select("patient_id", "label", "then_label", due_on="next_step_due"),
        causes.done.lazy(),
        policy,
        load_cause_reference(),
    ).collect()
    kept = episodes.drop("conclusion", "telling_test", strict=False)
    joined = kept.join(found, on="episode_id", how="left", validate="1:1", maintain_order="left")
    has_priority = pl.col("priority").is_not_null()
    return joined.with_columns(pl.when(has_priority).then(name).alias(name) for name in ("conclusion", "telling_test"))

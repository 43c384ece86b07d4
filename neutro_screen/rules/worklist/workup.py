"""The work-up of open episodes (WRK-1 ... WRK-3).

A kind of data that the extract does not have at all makes a step unknown, never overdue. The kinds are
those of the whole extract (``kinds_of_data``), so that a state does not depend on who is screened tonight.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from neutro_schemas import EVENTS, WorkupStep
from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.diagnoses import coded_diagnoses
from neutro_screen.rules.causes.leading import expected_episodes
from neutro_screen.rules.counts.context import NEWBORN
from neutro_screen.rules.counts.specimens import TIME_ORDER, is_retracted
from neutro_screen.validate import dtypes

_STEP: Final = tuple(dtypes(WorkupStep))
VIRAL: Final = "viral"


def kinds_of_data(
    events: pl.LazyFrame,
    labs: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    medications: pl.LazyFrame,
    reference: CauseReference,
) -> frozenset[str]:
    """What kinds of data an extract has: kinds of event, kinds of marker, vitamin_b12, medication, and the steps of the
    work-up that procedure codes record. Collects; ask it once of the whole extract."""
    steps = reference.diagnosis_codes.lazy().filter(pl.col("rule_id") == "WRK-1")
    # A literal alone would be one row of an empty frame: absent data must not look present.
    found = pl.concat(
        [
            events.select(kind="event").drop_nulls(),
            labs.join(reference.markers.lazy(), left_on="analyte", right_on="marker").select("kind"),
            labs.filter(pl.col("analyte") == "vitamin_b12").select(kind="analyte"),
            labs.filter(pl.col("method") == "manual").select("method", kind=pl.lit("smear")).select("kind"),
            coded_diagnoses(diagnoses, steps).select(kind="category"),
            medications.select("patient_id", kind=pl.lit("medication")).select("kind"),
        ]
    )
    return frozenset(found.unique().collect()["kind"].to_list())


def workup_steps(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    events: pl.LazyFrame,
    labs: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    medications: pl.LazyFrame,
    suspects: pl.LazyFrame,
    evidence: pl.LazyFrame,
    reference: CauseReference,
    policy: Policy,
    as_of: datetime,
    kinds: frozenset[str],
) -> pl.LazyFrame:
    """Six steps for every open episode, with the columns of ``WorkupStep``, sorted.

    The repeat count is due from the last low count by its severity, by the rapid decline of that specimen (WRK-2), or
    sooner of a newborn whom no limit of the laboratory explains,
    on clozapine on the day of its ladder (SEV-4); it is never "done" while the episode is open, ``done_on`` is the day of
    the last repeat. The other steps are due from the day on which the severity that asks for them was reached (WRK-3);
    the episodes of a cyclic patient are one work-up. Viral serology is not applicable to an explained episode, a marrow
    to one that is neither severe nor persistent nor a lasting pancytopenia, that is the expected effect of a cytotoxic
    drug and not persistent, or that the patient's context explains. ``kinds`` comes from ``kinds_of_data``.
    """
    open_ones = episodes.filter(pl.col("ended_at").is_null() & (pl.col("status") != "died"))
    cases = _with_asking(open_ones, episodes, anc, suspects, evidence, reference, policy)
    steps = [_repeat(cases, anc, policy, as_of)]
    lists = medications.select("patient_id", has_list=pl.lit(True)).unique()
    for step in reference.workup.filter(pl.col("step") != "repeat_cbc").iter_rows(named=True):
        done = days_done(step, events, labs, diagnoses, reference)
        asking = cases.join(lists, on="patient_id", how="left") if step["step"] == "medication_review" else cases
        steps.append(_step(asking, done, step, kinds, policy, as_of))
    return pl.concat(steps).sort("episode_id", "step")


def _with_asking(
    cases: pl.LazyFrame,
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    suspects: pl.LazyFrame,
    evidence: pl.LazyFrame,
    reference: CauseReference,
    policy: Policy,
) -> pl.LazyFrame:
    """Add what asks for a step, and since when (WRK-3).

    onset_at: start of the episode, of a cyclic patient that of the first cyclic one; severe_at, moderate_at: first count
    in that band or a worse one; pancytopenia_at: first specimen with both other lines low, where the latest with known
    lines still has; is_expected, is_explained (a likely or expected drug, strong evidence of a cause, isolated) and
    is_in_context (SEV-3 explains the latest low count).
    """
    first_cyclic = (
        episodes.filter("is_cyclic")
        .group_by("patient_id")
        .agg(is_cyclic=pl.lit(True), cyclic_at=pl.col("started_at").min())
    )
    onset = cases.join(first_cyclic, on=["patient_id", "is_cyclic"], how="left").with_columns(
        onset_at=pl.coalesce("cyclic_at", "started_at")
    )
    severity, cytopenia = pl.col("severity"), pl.col("cytopenia")
    is_pan = (cytopenia == "pancytopenia").fill_null(False)
    context = pl.col("severity_in_context").is_in(["within_personal_range", "normal"])
    reached = (
        anc.filter(severity > pl.lit("normal"))
        .join(onset.select("patient_id", "episode_id", "onset_at", "last_low_at"), on="patient_id")
        .filter(pl.col("collected_at").is_between("onset_at", "last_low_at"))
        .sort(TIME_ORDER)
        .group_by("episode_id", maintain_order=True)
        .agg(
            severe_at=pl.col("collected_at").filter(severity >= pl.lit("severe")).min(),
            moderate_at=pl.col("collected_at").filter(severity >= pl.lit("moderate")).min(),
            pancytopenia_at=pl.when(is_pan.filter(cytopenia.is_not_null() & (cytopenia != "unknown")).last()).then(
                pl.col("collected_at").filter(is_pan).min()
            ),
            is_in_context=context.last() & ~(severity > pl.lit("mild")).any(),
        )
    )
    expected = expected_episodes(suspects).with_columns(is_expected=pl.lit(True))
    explained = explained_episodes(episodes, suspects, evidence, reference).with_columns(is_explained=pl.lit(True))
    return (
        onset.join(reached, on="episode_id", how="left")
        .drop("is_expected", strict=False)
        .join(expected, on="episode_id", how="left")
        .join(explained, on="episode_id", how="left")
        .with_columns(pl.col("is_expected", "is_explained", "is_in_context").fill_null(False))
    )


def explained_episodes(
    episodes: pl.LazyFrame, suspects: pl.LazyFrame, evidence: pl.LazyFrame, reference: CauseReference
) -> pl.LazyFrame:
    """Episodes (episode_id) with a likely or expected drug, strong evidence of another cause, or an isolated low count."""
    competing = reference.rules.category.competing_rules
    return pl.concat(
        [
            suspects.filter(pl.col("category").is_in(["likely", "expected"])).select("episode_id"),
            evidence.filter((pl.col("strength") == "strong") & pl.col("rule_id").is_in(competing)).select("episode_id"),
            episodes.filter("is_isolated_low").select("episode_id"),
        ]
    ).unique()


def _repeat(cases: pl.LazyFrame, anc: pl.LazyFrame, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    rule = policy.worklist
    at_last = (
        anc.sort(TIME_ORDER)
        .group_by("patient_id", "collected_at", maintain_order=True)
        .agg(
            fell=pl.col("rapid_decline").any(),
            ladder_due=pl.col("next_anc_due").min(),
            is_newborn=(pl.col("context_reason") == NEWBORN).any(),
        )
        .rename({"collected_at": "last_low_at"})
    )
    hours = _by_severity("current_severity", rule.repeat_severe_h, rule.repeat_moderate_h, rule.repeat_mild_h)
    soonest = (
        pl.when("fell").then(pl.min_horizontal(hours, pl.lit(float(rule.repeat_rapid_decline_h)))).otherwise(hours)
    )
    newborn = pl.when("is_newborn").then(float(rule.repeat_newborn_h))
    due = pl.coalesce("ladder_due", _later(pl.col("last_low_at"), pl.min_horizontal(soonest, newborn)))
    return (
        cases.join(at_last, on=["patient_id", "last_low_at"], how="left")
        .with_columns(due_on=due.cast(pl.Datetime("us")))
        .select(
            "episode_id",
            "patient_id",
            step=pl.lit("repeat_cbc"),
            state=pl.when(pl.col("due_on") < as_of).then(pl.lit("overdue")).otherwise(pl.lit("due")),
            done_on=pl.when(pl.col("n_results") > 1).then(pl.col("last_low_at").dt.date()),
            due_on="due_on",
            asked_since="last_low_at",
        )
        .select(_STEP)
    )


def days_done(
    step: dict[str, object],
    events: pl.LazyFrame,
    labs: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    reference: CauseReference,
) -> pl.LazyFrame:
    """``patient_id, day``: every time the step was done, by events, laboratory codes and procedure codes."""
    codes = reference.diagnosis_codes.lazy().filter(
        (pl.col("rule_id") == "WRK-1") & (pl.col("category") == step["step"])
    )
    markers = reference.markers.filter(pl.col("kind") == (step["marker_kind"] or ""))["marker"].to_list()
    by_laboratory = pl.col("analyte").is_in(markers)
    if step["step"] == "smear":
        # A manual differential is counted on the smear.
        by_laboratory |= pl.col("method") == "manual"
    return pl.concat(
        [
            events.filter(pl.col("event") == (step["event"] or "")).select(
                "patient_id", day=pl.col("occurred_at").dt.date()
            ),
            labs.filter(by_laboratory & ~is_retracted()).select("patient_id", day=pl.col("collected_at").dt.date()),
            coded_diagnoses(diagnoses, codes).select("patient_id", day="date"),
        ]
    ).drop_nulls()


def _step(
    cases: pl.LazyFrame,
    done: pl.LazyFrame,
    step: dict[str, Any],
    kinds: frozenset[str],
    policy: Policy,
    as_of: datetime,
) -> pl.LazyFrame:
    looks_back = step["counts_from_days_before"]
    counts = (pl.col("day") <= as_of.date()) & (
        pl.col("day") >= pl.col("onset_at").dt.date() - timedelta(days=looks_back)
    )
    when_done = (
        cases.select("episode_id", "patient_id", "onset_at")
        .join(done, on="patient_id")
        .filter(counts)
        .group_by("episode_id")
        .agg(done_on=pl.col("day").max())
    )
    applies, since, due = _asking(step, policy)
    is_recorded = bool({step["event"], step["marker_kind"], step["step"]} & kinds)
    # A marrow that is asked for is due even where only other events are recorded; nobody knows whether it is overdue.
    is_due_anyway = step["asked_if"] == "severe_or_persistent" and bool(kinds & set(EVENTS))
    has_list = pl.col("has_list").fill_null(False) if step["step"] == "medication_review" else pl.lit(False)
    state = (
        pl.when(pl.col("done_on").is_not_null())
        .then(pl.lit("done"))
        .when(~applies)
        .then(pl.lit("not_applicable"))
        .when(has_list & pl.lit(not is_recorded))
        .then(pl.lit("list_on_file"))
        .when(pl.lit(not is_recorded and not is_due_anyway))
        .then(pl.lit("unknown"))
        .when(pl.lit(is_recorded) & (pl.col("due_on") < as_of))
        .then(pl.lit("overdue"))
        .otherwise(pl.lit("due"))
    )
    is_open = pl.col("state").is_in(["due", "overdue"])
    return (
        cases.join(when_done, on="episode_id", how="left")
        .with_columns(due_on=due.cast(pl.Datetime("us")), asked_since=since, step=pl.lit(step["step"]))
        .with_columns(state=state)
        .with_columns(due_on=pl.when(is_open).then("due_on"), asked_since=pl.when(is_open).then("asked_since"))
        .select(_STEP)
    )


def _asking(step: dict[str, Any], policy: Policy) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Whether a step is asked for, since when, and until when it is due: by the worst severity, from the day it was reached.

    A marrow: by a severe count, by persistence from the day it was reached, or by a pancytopenia that lasts.
    """
    hours = _by_severity("worst_severity", step["due_severe_h"], step["due_moderate_h"], step["due_mild_h"])
    reached = _by_severity("worst_severity", pl.col("severe_at"), pl.col("moderate_at"), pl.col("onset_at"))
    by_rule = {
        "always": pl.lit(True),
        "not_in_context": ~pl.col("is_in_context"),
        "unexplained": ~pl.col("is_explained") & ~pl.col("is_in_context"),
    }
    if step["asked_if"] in by_rule:
        return by_rule[step["asked_if"]], reached, _later(reached, hours)
    is_persistent = pl.col("is_persistent") & ~pl.col("is_in_context")
    is_severe = (pl.col("worst_severity") >= pl.lit("severe")) & ~pl.col("is_expected")
    lasting = pl.col("pancytopenia_at") + timedelta(days=policy.worklist.pancytopenia_marrow_d)
    is_lasting = (pl.col("last_low_at") >= lasting).fill_null(False) & ~pl.col("is_explained")
    asks = (
        (is_severe, pl.col("severe_at"), step["due_severe_h"]),
        (is_persistent, pl.col("onset_at") + timedelta(days=policy.episode.persistent_d), step["due_mild_h"]),
        (is_lasting, lasting, step["due_mild_h"]),
    )
    since = pl.min_horizontal(*(pl.when(asked).then(at) for asked, at, _ in asks))
    due = pl.min_horizontal(*(pl.when(asked).then(_later(at, pl.lit(hours))) for asked, at, hours in asks))
    return is_severe | is_persistent | is_lasting, since, due


def _later(at: pl.Expr, hours: pl.Expr) -> pl.Expr:
    return at + pl.duration(microseconds=(hours * 3_600_000_000).cast(pl.Int64))


def _by_severity(
    column: str, severe: float | pl.Expr | None, moderate: float | pl.Expr | None, mild: float | pl.Expr | None
) -> pl.Expr:
    by_band = [value if isinstance(value, pl.Expr) else pl.lit(value, pl.Float64) for value in (severe, moderate, mild)]
    return (
        pl.when(pl.col(column) >= pl.lit("severe"))
        .then(by_band[0])
        .when(pl.col(column) == pl.lit("moderate"))
        .then(by_band[1])
        .otherwise(by_band[2])
    )

"""The work-up of open episodes (WRK-1, WRK-2) and the pitfalls (PIT-1 ... PIT-4).

A kind of data that the extract does not have at all makes a step unknown, never overdue. The kinds are
those of the whole extract (``kinds_of_data``), so that a state does not depend on who is screened tonight.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from neutro_schemas import Flag, WorkupStep
from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.diagnoses import coded_diagnoses
from neutro_screen.rules.causes.leading import expected_episodes
from neutro_screen.rules.causes.markers import marker_results
from neutro_screen.rules.counts.specimens import is_retracted
from neutro_screen.validate import no_rows

_STEP: Final = tuple(WorkupStep.to_schema().columns)
_FLAG: Final = tuple(Flag.to_schema().columns)
_VIRAL: Final = "viral"


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
            events.select(kind="event"),
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
    reference: CauseReference,
    policy: Policy,
    as_of: datetime,
    kinds: frozenset[str],
) -> pl.LazyFrame:
    """Five steps for every open episode, with the columns of ``WorkupStep``, sorted.

    The repeat count is due from the last low count by its severity, or by the rapid decline of that specimen (WRK-2);
    it is never "done" while the episode is open, ``done_on`` is the day of the last repeat. The other steps are due
    from the first low count by the worst severity. A medication list of the patient is a medication history on file. A
    marrow examination is not applicable in an episode that is neither severe nor persistent, nor in one that is the
    expected effect of a cytotoxic drug and not persistent. ``kinds`` comes from ``kinds_of_data``.
    """
    open_ones = episodes.filter(pl.col("ended_at").is_null())
    expected = expected_episodes(suspects).with_columns(is_expected=pl.lit(True))
    cases = open_ones.join(expected, on="episode_id", how="left").with_columns(pl.col("is_expected").fill_null(False))
    steps = [_repeat(cases, anc, policy, as_of)]
    for step in reference.workup.filter(pl.col("step") != "repeat_cbc").iter_rows(named=True):
        done = _done(step, events, labs, diagnoses, reference)
        if step["step"] == "medication_review":
            done = pl.concat([done, medications.select("patient_id", day="start_date")])
        sources = {step["event"], step["marker_kind"], step["step"]}
        steps.append(_step(cases, done, step, bool(sources & kinds), as_of))
    return pl.concat(steps).sort("episode_id", "step")


def _repeat(cases: pl.LazyFrame, anc: pl.LazyFrame, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    rule = policy.worklist
    declined = anc.filter("rapid_decline").select("patient_id", last_low_at="collected_at", fell=pl.lit(True)).unique()
    hours = _by_severity("current_severity", rule.repeat_severe_h, rule.repeat_moderate_h, rule.repeat_mild_h)
    soonest = (
        pl.when("fell").then(pl.min_horizontal(hours, pl.lit(float(rule.repeat_rapid_decline_h)))).otherwise(hours)
    )
    due = pl.col("last_low_at") + pl.duration(microseconds=(soonest * 3_600_000_000).cast(pl.Int64))
    return (
        cases.join(declined, on=["patient_id", "last_low_at"], how="left")
        .with_columns(due_on=due.cast(pl.Datetime("us")))
        .select(
            "episode_id",
            "patient_id",
            step=pl.lit("repeat_cbc"),
            state=pl.when(pl.lit(as_of) > pl.col("due_on")).then(pl.lit("overdue")).otherwise(pl.lit("due")),
            done_on=pl.when(pl.col("n_results") > 1).then(pl.col("last_low_at").dt.date()),
            due_on="due_on",
        )
        .select(_STEP)
    )


def _done(
    step: dict[str, Any], events: pl.LazyFrame, labs: pl.LazyFrame, diagnoses: pl.LazyFrame, reference: CauseReference
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
    cases: pl.LazyFrame, done: pl.LazyFrame, step: dict[str, Any], is_in_extract: bool, as_of: datetime
) -> pl.LazyFrame:
    today = as_of.date()
    looks_back = step["counts_from_days_before"]
    onset = pl.col("started_at").dt.date()
    counts = pl.col("day") <= today
    if looks_back is not None:
        counts &= pl.col("day") >= onset - timedelta(days=looks_back)
    when_done = (
        cases.select("episode_id", "patient_id", "started_at")
        .join(done, on="patient_id")
        .filter(counts)
        .group_by("episode_id")
        .agg(done_on=pl.col("day").max())
    )
    hours = _by_severity("worst_severity", step["due_severe_h"], step["due_moderate_h"], step["due_mild_h"])
    due = (pl.col("started_at") + pl.duration(microseconds=(hours * 3_600_000_000).cast(pl.Int64))).cast(
        pl.Datetime("us")
    )
    applies = pl.lit(True)
    if step["only_if_severe_or_persistent"]:
        is_severe = pl.col("worst_severity") >= pl.lit("severe")
        applies = (is_severe & ~pl.col("is_expected")) | pl.col("is_persistent")
    state = (
        pl.when(pl.col("done_on").is_not_null())
        .then(pl.lit("done"))
        .when(~applies)
        .then(pl.lit("not_applicable"))
        .when(~pl.lit(is_in_extract))
        .then(pl.lit("unknown"))
        .when(pl.lit(as_of) > pl.col("due_on"))
        .then(pl.lit("overdue"))
        .otherwise(pl.lit("due"))
    )
    return (
        cases.join(when_done, on="episode_id", how="left")
        .with_columns(due_on=due, step=pl.lit(step["step"]))
        .with_columns(state=state)
        .with_columns(due_on=pl.when(pl.col("state").is_in(["due", "overdue"])).then("due_on"))
        .select(_STEP)
    )


def _by_severity(column: str, severe: float | None, moderate: float | None, mild: float | None) -> pl.Expr:
    return (
        pl.when(pl.col(column) >= pl.lit("severe"))
        .then(pl.lit(severe, pl.Float64))
        .when(pl.col(column) == pl.lit("moderate"))
        .then(pl.lit(moderate, pl.Float64))
        .otherwise(pl.lit(mild, pl.Float64))
    )


# ---- pitfalls -------------------------------------------------------------------------------------------------------


def pitfalls(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    suspects: pl.LazyFrame,
    evidence: pl.LazyFrame,
    steps: pl.LazyFrame,
    labs: pl.LazyFrame,
    events: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    reference: CauseReference,
    as_of: datetime,
    kinds: frozenset[str],
) -> pl.LazyFrame:
    """PIT-1 ... PIT-4 with the columns of ``Flag``, sorted. What the extract cannot show raises nothing."""
    return pl.concat(
        [
            _drug_not_recognised(episodes, anc, suspects, reference, as_of),
            _no_workup(episodes, labs, events, diagnoses, reference, as_of, kinds),
            _delayed_evaluation(episodes, steps),
            _no_viral_test(episodes, suspects, evidence, labs, reference, as_of, kinds),
        ]
    ).sort("patient_id", "episode_id", "rule_id", "reason")


def _flags(cases: pl.LazyFrame, rule_id: str, raised_at: pl.Expr, reason: pl.Expr, **facts: pl.Expr) -> pl.LazyFrame:
    return cases.select(
        "patient_id",
        "episode_id",
        specimen_id=pl.lit(None, pl.String),
        rule_id=pl.lit(rule_id),
        raised_at=raised_at.cast(pl.Datetime("us")),
        reason=reason,
        evidence=pl.struct([fact.alias(name) for name, fact in facts.items()]).struct.json_encode(),
    ).select(_FLAG)


def _day(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%d")


def _drug_not_recognised(
    episodes: pl.LazyFrame, anc: pl.LazyFrame, suspects: pl.LazyFrame, reference: CauseReference, as_of: datetime
) -> pl.LazyFrame:
    """PIT-1: a likely suspect still given more than 3 d after the first ANC < 1000 of the episode."""
    rule = reference.rules.pitfall
    first_low = (
        anc.filter(
            pl.col("severity").is_not_null() & (pl.col("anc_cells_per_ul") < rule.still_given_below_cells_per_ul)
        )
        .select("patient_id", "collected_at")
        .join(episodes.select("patient_id", "episode_id", "started_at", "last_low_at"), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .group_by("episode_id")
        .agg(low_at=pl.col("collected_at").min())
    )
    given_to = pl.min_horizontal(pl.col("last_exposure").fill_null(as_of.date()), pl.lit(as_of.date()))
    given_d = (given_to - pl.col("low_at").dt.date()).dt.total_days()
    still = (
        suspects.filter(pl.col("category") == "likely")
        .join(first_low, on="episode_id")
        .with_columns(given_d=given_d)
        .filter(pl.col("given_d") > rule.still_given_d)
    )
    return _flags(
        still,
        "PIT-1",
        pl.col("low_at"),
        pl.format(
            "{} given for {} days after the first ANC below {} cells/uL",
            "ingredient",
            "given_d",
            pl.lit(round(rule.still_given_below_cells_per_ul)),
        ),
        ingredient=pl.col("ingredient"),
        first_low=_day("low_at"),
        last_exposure=_day("last_exposure"),
    )


def _no_workup(
    episodes: pl.LazyFrame,
    labs: pl.LazyFrame,
    events: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    reference: CauseReference,
    as_of: datetime,
    kinds: frozenset[str],
) -> pl.LazyFrame:
    """PIT-2: persistent, and no smear, vitamin B12, viral test or marrow on file, though the extract has such data."""
    shown = {"smear_review", "smear", "bone_marrow", "marrow", "vitamin_b12", _VIRAL} & kinds
    if not shown:
        return no_rows(Flag).lazy()
    rows = {row["step"]: row for row in reference.workup.iter_rows(named=True)}
    viral = reference.markers.filter(pl.col("kind") == _VIRAL)["marker"].to_list()
    tested = labs.filter(pl.col("analyte").is_in([*viral, "vitamin_b12"]) & ~is_retracted()).select(
        "patient_id", day=pl.col("collected_at").dt.date()
    )
    worked_up = pl.concat(
        [tested, *(_done(rows[step], events, labs, diagnoses, reference) for step in ("smear", "bone_marrow"))]
    ).filter(pl.col("day") <= as_of.date())
    without = episodes.filter("is_persistent").join(worked_up, on="patient_id", how="anti")
    return _flags(
        without,
        "PIT-2",
        pl.col("last_low_at"),
        pl.format(
            "low for {} days and no smear, vitamin B12, viral test or marrow on file",
            pl.col("duration_days").round(0).cast(pl.Int64),
        ),
        started_at=_day("started_at"),
        last_low_at=_day("last_low_at"),
    )


def _delayed_evaluation(episodes: pl.LazyFrame, steps: pl.LazyFrame) -> pl.LazyFrame:
    """PIT-3: the repeat of a severe or profound count is overdue."""
    overdue = steps.filter((pl.col("step") == "repeat_cbc") & (pl.col("state") == "overdue")).select(
        "episode_id", "due_on"
    )
    late = episodes.filter(pl.col("current_severity") >= pl.lit("severe")).join(overdue, on="episode_id")
    return _flags(
        late,
        "PIT-3",
        pl.col("last_low_at"),
        pl.format(
            "{} neutropenia on {} and the repeat count overdue since {}",
            pl.col("current_severity").cast(pl.String),
            _day("last_low_at"),
            pl.col("due_on").dt.strftime("%Y-%m-%d %H:%M"),
        ),
        last_low_at=_day("last_low_at"),
        due_on=pl.col("due_on").dt.strftime("%Y-%m-%dT%H:%M:%S"),
    )


def _no_viral_test(
    episodes: pl.LazyFrame,
    suspects: pl.LazyFrame,
    evidence: pl.LazyFrame,
    labs: pl.LazyFrame,
    reference: CauseReference,
    as_of: datetime,
    kinds: frozenset[str],
) -> pl.LazyFrame:
    """PIT-4: no viral test from 28 d before to 28 d after the start of an unexplained episode, once that time is over.

    Explained: a likely or expected drug, or strong evidence of another cause.
    """
    window = timedelta(days=reference.rules.pitfall.viral_window_d)
    if _VIRAL not in kinds:
        return no_rows(Flag).lazy()
    explained = pl.concat(
        [
            suspects.filter(pl.col("category").is_in(["likely", "expected"])).select("episode_id"),
            evidence.filter(
                (pl.col("strength") == "strong") & pl.col("rule_id").is_in(reference.rules.category.competing_rules)
            ).select("episode_id"),
            episodes.filter("is_isolated_low").select("episode_id"),
        ]
    ).unique()
    results = marker_results(labs, reference).filter(pl.col("kind") == _VIRAL).select("patient_id", at="collected_at")
    tested = (
        results.join(episodes.select("patient_id", "episode_id", "started_at"), on="patient_id")
        .filter(pl.col("at").is_between(pl.col("started_at") - window, pl.col("started_at") + window))
        .select("episode_id")
        .unique()
    )
    missed = (
        episodes.filter(pl.lit(as_of) > pl.col("started_at") + window)
        .join(explained, on="episode_id", how="anti")
        .join(tested, on="episode_id", how="anti")
    )
    return _flags(
        missed,
        "PIT-4",
        pl.col("started_at"),
        pl.format(
            "unexplained since {} and no viral test within {} days of it",
            _day("started_at"),
            pl.lit(reference.rules.pitfall.viral_window_d),
        ),
        started_at=_day("started_at"),
    )

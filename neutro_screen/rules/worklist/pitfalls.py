"""The pitfalls of neutropenia work-up (PIT-1 ... PIT-4): what the extract cannot show raises nothing."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas import Flag
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.markers import marker_results
from neutro_screen.rules.causes.pattern_evidence import CONGENITAL
from neutro_screen.rules.counts.specimens import is_retracted
from neutro_screen.rules.worklist.status import context_per_episode
from neutro_screen.rules.worklist.workup import VIRAL, days_done, explained_episodes
from neutro_screen.validate import dtypes, no_rows

#: Evidence that a count is benign or follows a cycle.
_BENIGN: Final = ("CTX-1", "CYC-1")
_FLAG: Final = tuple(dtypes(Flag))


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
    """PIT-1 ... PIT-4 with the columns of ``Flag``, sorted.

    What the extract cannot show raises nothing, and neither does an episode that the patient's context explains (SEV-3).
    """
    context = context_per_episode(anc, episodes).filter(
        pl.any_horizontal("is_within_personal_range", "is_within_age_limits")
    )
    episodes = episodes.join(context.select("episode_id"), on="episode_id", how="anti")
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
    """PIT-1: a suspect still given more than 3 d after the first ANC < 1000 of the episode.

    A likely one, or the first-ranked possible one where it is a high-risk drug or the count still falls; not one of which
    only the drug list tells, or whose last day could not be read, since whether it was given in those days is not known.
    """
    rule = reference.rules.pitfall
    is_first = (pl.col("rank") == 1) & (pl.col("category") == "possible")
    high_risk = pl.col("ingredient").is_in(reference.rules.drug_group.high_risk)
    still_falls = pl.col("course") == "worsening"
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
        suspects.join(first_low, on="episode_id")
        .join(episodes.select("episode_id", "course"), on="episode_id")
        .filter((pl.col("category") == "likely") | (is_first & (high_risk | still_falls)))
        .filter(pl.col("first_exposure").is_not_null() & ~(pl.col("is_end_unread") & pl.col("last_exposure").is_null()))
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
    shown = {"smear_review", "smear", "bone_marrow", "marrow", "vitamin_b12", VIRAL} & kinds
    if not shown:
        return no_rows(Flag).lazy()
    rows = {row["step"]: row for row in reference.workup.iter_rows(named=True)}
    viral = reference.markers.filter(pl.col("kind") == VIRAL)["marker"].to_list()
    tested = labs.filter(pl.col("analyte").is_in([*viral, "vitamin_b12"]) & ~is_retracted()).select(
        "patient_id", day=pl.col("collected_at").dt.date()
    )
    worked_up = pl.concat(
        [tested, *(days_done(rows[step], events, labs, diagnoses, reference) for step in ("smear", "bone_marrow"))]
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

    Explained: a likely or expected drug, strong evidence of another cause, a cyclic or congenital course, a benign context.
    """
    window = timedelta(days=reference.rules.pitfall.viral_window_d)
    if VIRAL not in kinds:
        return no_rows(Flag).lazy()
    explained = explained_episodes(episodes, suspects, evidence, reference)
    is_congenital = pl.col("finding").str.starts_with(CONGENITAL)
    benign = evidence.filter(pl.col("rule_id").is_in(_BENIGN) | is_congenital).select("episode_id").unique()
    results = marker_results(labs, reference).filter(pl.col("kind") == VIRAL).select("patient_id", at="collected_at")
    tested = (
        results.join(episodes.select("patient_id", "episode_id", "started_at"), on="patient_id")
        .filter(pl.col("at").is_between(pl.col("started_at") - window, pl.col("started_at") + window))
        .select("episode_id")
        .unique()
    )
    missed = (
        episodes.filter(pl.lit(as_of) > pl.col("started_at") + window)
        .filter(~pl.col("is_cyclic"))
        .join(explained, on="episode_id", how="anti")
        .join(benign, on="episode_id", how="anti")
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

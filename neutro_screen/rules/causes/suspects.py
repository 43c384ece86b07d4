"""Which drugs may have caused an episode, how likely, and why (DRG-1 ... DRG-4).

The score is a sum of points (``causality.toml`` [points]; proposal of DRUGS.md section 4, calibrated on the project's
simulator):

- evidence level of the drug: definite, probable or possible;
- onset: the fall came between the last normal and the first low count; this interval, counted from the first dose, the
  dose or the last dose as the drug's row says, lies inside its window, overlaps it or lies outside. Without a normal
  count before, the time is unknown, which is not a point in favour;
- exposure at the first low count, or stopped no longer ago than the drug still acts (else it is no suspect);
- baseline: the last count before the drug was normal or low;
- dechallenge: recovery after stopping, less where something else may explain it, against it while given or not at all;
- rechallenge: an earlier episode on an earlier course, or a later course tolerated;
- interaction that raises its effect; mechanism and picture fit (immune: abrupt, isolated; marrow: several lines);
- alternatives: other evidence of the episode, a drug whose expected effect it is, and a stronger drug;
- drugs known for agranulocytosis gain, drugs that everybody takes and drugs begun for the first symptoms lose.

Drugs with an expected effect (cytotoxics) have category ``expected`` and ranks of their own. A drug begun on the day of
the first low count or later cannot have begun the fall: ``excluded``, without score and rank.
"""

from datetime import datetime
from typing import Final

import polars as pl

from neutro_schemas import DrugSuspect
from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.naranjo import items
from neutro_screen.rules.causes.reasons import reason, reason_of_exclusion
from neutro_screen.rules.causes.score import (
    alternatives_per_episode,
    with_category,
    with_interaction,
    with_points,
    with_rank,
)
from neutro_screen.rules.causes.timing import (
    PAIR,
    courses_and_episodes,
    with_baseline,
    with_dechallenge,
    with_expected_drugs,
    with_onset,
    with_recurrence,
    with_tolerance,
)

COLUMNS: Final = tuple(DrugSuspect.to_schema().columns)


def drug_suspects(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    exposures: pl.LazyFrame,
    evidence: pl.LazyFrame,
    patterns: pl.LazyFrame,
    policy: Policy,
    rules: CauseRules,
    as_of: datetime,
) -> pl.LazyFrame:
    """Every drug that may have caused or was begun during each episode, with the columns of ``DrugSuspect``, sorted.

    ``exposures`` comes from ``exposures.exposures_per_patient``, ``evidence`` from ``evidence.evidence_per_episode``,
    ``patterns`` from ``patterns.count_patterns``. Exposures that begin after ``as_of`` are plans and left out.
    """
    courses = courses_and_episodes(episodes, exposures, as_of)
    exposed = courses.filter(~pl.col("is_after") & pl.col("was_exposed")).pipe(with_onset)
    pairs = exposed.pipe(with_expected_drugs).pipe(with_recurrence).pipe(with_tolerance, exposures, anc, as_of)
    scored = (
        pairs.sort("onset_rank", "course", descending=[False, True])
        .unique(PAIR, keep="first", maintain_order=True)
        .pipe(with_baseline, anc, rules)
        .pipe(with_dechallenge, evidence, policy, rules)
        .pipe(with_interaction, rules)
        .join(patterns.drop("patient_id"), on="episode_id", how="left")
        .join(alternatives_per_episode(evidence, rules), on="episode_id", how="left")
        .pipe(with_points, rules)
        .pipe(with_category, rules)
        .pipe(with_rank)
    )
    suspects = scored.with_columns(reason=reason(), items=items(rules))
    excluded = (
        courses.filter(pl.col("is_after") & (pl.col("first_exposure") <= pl.col("closes")))
        .join(scored, on=PAIR, how="anti")
        .sort("first_exposure", "course")
        .unique(PAIR, keep="first", maintain_order=True)
        .with_columns(
            category=pl.lit("excluded"),
            score=pl.lit(None, pl.Int16),
            rank=pl.lit(None, pl.Int16),
            reason=reason_of_exclusion(),
            items=pl.lit("{}"),
        )
    )
    order = pl.col("category").replace_strict({"expected": 1, "excluded": 2}, default=0)
    return pl.concat([part.select(COLUMNS) for part in (suspects, excluded)]).sort(
        "episode_id", order, "rank", "ingredient", nulls_last=True
    )

"""Which drugs may have caused a fall, how likely, and why (DRG-1 ... DRG-7).

Each drug is judged against each fall that it could explain; the ranking of an episode is that of the fall that leads to
its lowest count. The score is a sum of points (``causality.toml`` [points]; proposal of DRUGS.md section 4, calibrated on
the project's simulator):

- evidence level of the drug: definite, probable or possible;
- onset: the fall came between the last count before it and the first that shows it; this interval, counted from the first
  dose, the dose or the last dose as the drug's row says, lies inside its window, overlaps it, comes late in a window
  without an end, or lies outside. Without a count before, the time is unknown, which is not a point in favour;
- exposure at the fall, or stopped no longer ago than the drug still acts (else it is no suspect);
- baseline: the last count before the drug was normal, low, or low and stable until a later fall of the episode;
- dechallenge: recovery after stopping, less where something else may explain it, against it while given or not at all;
- rechallenge: an earlier fall on an earlier course, or a later course tolerated;
- interaction: a partner whose start re-opens the window; mechanism and picture fit (immune: abrupt, isolated; marrow:
  several lines);
- alternatives: other evidence of the episode, a drug whose expected effect it is, and a stronger drug;
- drugs known for agranulocytosis gain, drugs that everybody takes and drugs begun for the first symptoms lose.

The expected effect of a drug in its time has category ``expected`` and ranks of its own; beyond its time it is
``beyond_expected``. A drug begun on the day of the last fall or later cannot have begun any: ``excluded``, without score
and rank.
"""

from datetime import datetime
from typing import Final

import polars as pl

from neutro_schemas import DrugSuspect
from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.challenge import with_baseline, with_dechallenge, with_recurrence, with_tolerance
from neutro_screen.rules.causes.expected import with_beyond_expected, with_expected_drugs, with_expected_time
from neutro_screen.rules.causes.interactions import COURSE, with_interaction
from neutro_screen.rules.causes.naranjo import items
from neutro_screen.rules.causes.reasons import reason, reason_of_exclusion
from neutro_screen.rules.causes.score import alternatives_per_fall, with_category, with_points, with_rank
from neutro_screen.rules.causes.timing import PAIR, courses_and_falls, with_onset
from neutro_screen.rules.course.given import known_day
from neutro_screen.validate import dtypes

COLUMNS: Final = tuple(dtypes(DrugSuspect))
#: Not the part of a combination: that is told with the other drug of it.
_IS_OWN: Final = pl.col("part_of").is_null()
_ORDER: Final = {"expected": 1, "excluded": 2}


def drug_suspects(
    falls: pl.LazyFrame,
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    exposures: pl.LazyFrame,
    conditions: pl.LazyFrame,
    interactions: pl.DataFrame,
    evidence: pl.LazyFrame,
    patterns: pl.LazyFrame,
    policy: Policy,
    rules: CauseRules,
    as_of: datetime,
) -> pl.LazyFrame:
    """Every drug that may have caused a fall or was begun after the last, with the columns of ``DrugSuspect``, sorted.

    ``falls`` comes from ``falls.falls_per_episode``, ``exposures`` from ``exposures.exposures_per_patient``, ``conditions``
    from ``interactions.conditions_per_patient``,
    ``interactions`` is ``DrugInteraction``, ``evidence`` comes from ``evidence.evidence_per_episode``, ``patterns`` from
    ``patterns.count_patterns``. Exposures that begin after ``as_of`` are plans and left out.
    """
    courses = _settled(courses_and_falls(falls, episodes, exposures, as_of))
    exposed = _settled(courses.filter(~pl.col("is_after") & pl.col("was_exposed")).pipe(with_onset))
    partners = pl.concat([exposures.select(COURSE), conditions])
    together = _settled(with_interaction(exposed.filter(_IS_OWN), partners, interactions))
    in_time = _settled(with_expected_drugs(_settled(with_expected_time(together))))
    given_again = _settled(with_tolerance(_settled(with_recurrence(in_time)), exposures, anc, as_of))
    one_course = _settled(_best_course(given_again))
    alternatives = alternatives_per_fall(evidence, falls, policy, rules)
    scored = _settled(
        _settled(with_beyond_expected(one_course, exposures, anc, rules))
        .pipe(with_baseline, anc, rules)
        .pipe(with_dechallenge, evidence, policy, rules)
        .join(patterns.drop("patient_id"), on="episode_id", how="left", validate="m:1")
        .join(alternatives, on="fall_id", how="left", validate="m:1")
        .pipe(with_points, rules)
        .pipe(with_category, rules)
        .pipe(with_rank)
        .with_columns(reason=reason(rules), items=items(rules))
    )
    order = pl.col("category").replace_strict(_ORDER, default=0)
    found = pl.concat([scored.select(COLUMNS), _excluded(courses, scored).select(COLUMNS)])
    return found.with_columns(known_day("first_exposure")).sort(
        "episode_id",
        "leads_to_nadir",
        "fall_id",
        order,
        "rank",
        "ingredient",
        descending=[False, True, False, False, False, False],
        nulls_last=True,
    )


def _settled(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The frame computed: each step joins it to itself, and ten such joins in one plan are a thousand scans."""
    return pairs.collect(engine="in-memory").lazy()


def _best_course(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Of the courses of a drug the one that explains the fall best, of equal ones the latest."""
    return pairs.sort("is_in_time", "onset_rank", "course", descending=[True, False, True]).unique(
        PAIR, keep="first", maintain_order=True
    )


def _excluded(courses: pl.LazyFrame, scored: pl.LazyFrame) -> pl.LazyFrame:
    """Drugs that began on the day of the last fall of an episode or later, while it lasted."""
    is_last = pl.col("fall_id") == pl.col("fall_id").sort_by("onset_day", "fall_id").last().over("episode_id")
    return (
        courses.filter(is_last, _IS_OWN)
        .filter(pl.col("is_after") & (pl.col("first_exposure") <= pl.col("closes")))
        .join(scored, on=["episode_id", "ingredient"], how="anti")
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

"""Drugs that act together (DRG-6): the partner's start re-opens the window of the drug, and the pair is named first."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseReference
from neutro_screen.reference.drugs import CONDITION
from neutro_screen.rules.causes.diagnoses import coded_diagnoses
from neutro_screen.rules.causes.timing import PAIR, onset_against, onset_rank
from neutro_screen.rules.course.given import is_undated

_STRENGTH: Final = {"definite": 0, "probable": 1, "possible": 2}
#: Pairs of this evidence are common and explain little alone: they are named and re-open nothing.
_WEAK: Final = "possible"
#: Two drugs that cause agranulocytosis make it likelier; which of them did is told by their own times.
_OF_RISK: Final = "adds_agranulocytosis_risk"
_INTERACTION: Final = (
    "partner",
    "is_condition",
    "is_risk_only",
    "partner_evidence",
    "partner_mechanism",
    "days_together",
    "together_onset",
)


def with_interaction(pairs: pl.LazyFrame, exposures: pl.LazyFrame, interactions: pl.DataFrame) -> pl.LazyFrame:
    """Add the partner of each pair and what it changes; ``pairs`` has every course of every drug that was exposed.

    ``exposures`` are the courses of all drugs and conditions (``conditions_per_patient``), ``interactions`` is
    ``DrugInteraction``. partner (null = none), is_condition, partner_evidence, partner_mechanism, is_risk_only (it only adds a risk of its own), days_together (from the first day on which both were taken to the first count of
    the fall). Where the pair's evidence is better than possible and the fall lies in the time of the pair, ``onset`` is
    the better of the drug's own and that of the pair, and ``is_reopened`` says that it is the pair's.
    """
    found = _pairs_in_time(pairs, exposures, interactions)
    better = (pl.col("together_onset") != "outside") & (pl.col("partner_evidence") != _WEAK)
    reopens = better & (onset_rank(pl.col("together_onset").fill_null("outside")) < pl.col("onset_rank"))
    return (
        pairs.join(found, on=[*PAIR, "course"], how="left", validate="1:1")
        .with_columns(is_reopened=reopens.fill_null(False))
        .with_columns(onset=pl.when("is_reopened").then("together_onset").otherwise("onset"))
        .with_columns(onset_rank=onset_rank(pl.col("onset")))
    )


def _pairs_in_time(pairs: pl.LazyFrame, exposures: pl.LazyFrame, interactions: pl.DataFrame) -> pl.LazyFrame:
    """Of each drug, fall and course the partner that tells most: the strongest evidence, then the best time.

    A partner whose first day is not known re-opens nothing; where that of the drug is not, both were taken since the
    partner's at most.
    """
    partners = interactions.lazy().select(
        "ingredient",
        "partner",
        "partner_lag_days",
        partner_evidence="evidence",
        partner_mechanism="mechanism",
        is_risk_only=pl.col("effect") == _OF_RISK,
        is_condition=pl.col("effect") == CONDITION,
        pair_from_d="from_days",
        pair_to_d="to_days",
    )
    courses = exposures.filter(~is_undated()).select(
        "patient_id", partner="ingredient", partner_from="first_exposure", partner_to="last_exposure"
    )
    together = (
        pairs.select(
            *PAIR, "course", "patient_id", "first_exposure", "last_exposure", "lag_d", "onset_day", "before_day"
        )
        .join(partners, on="ingredient")
        .join(courses, on=["patient_id", "partner"])
        .with_columns(together_from=pl.max_horizontal("first_exposure", "partner_from"))
        .filter(
            (pl.col("together_from") < pl.col("onset_day"))
            & _is_taken(pl.col("partner_to"), pl.col("partner_lag_days"), pl.col("onset_day"))
            & _is_taken(pl.col("partner_to"), pl.col("partner_lag_days"), pl.col("together_from"))
            & _is_taken(pl.col("last_exposure"), pl.col("lag_d"), pl.col("together_from"))
        )
        .with_columns(
            days_together=(pl.col("onset_day") - pl.col("together_from")).dt.total_days(),
            days_together_before=(pl.col("before_day") - pl.col("together_from")).dt.total_days(),
        )
    )
    onset = onset_against("days_together", "days_together_before", "pair_from_d", "pair_to_d", pl.lit(False))
    return (
        together.with_columns(together_onset=onset)
        .filter(pl.col("together_onset") != "outside")
        .sort(
            pl.col("partner_evidence").replace_strict(_STRENGTH, return_dtype=pl.Int64),
            onset_rank(pl.col("together_onset")),
            "days_together",
            "partner",
        )
        .unique([*PAIR, "course"], keep="first", maintain_order=True)
        .select(*PAIR, "course", *_INTERACTION)
    )


def _is_taken(last_day: pl.Expr, lag_d: pl.Expr, on: pl.Expr) -> pl.Expr:
    """A drug that was last given on ``last_day`` (null = still given) still acts on a day."""
    return last_day.is_null() | ((on - last_day).dt.total_days() <= lag_d)


#: What ``coded_diagnoses`` and a course of a drug have in common: the condition stands where the drug's name would.
COURSE: Final = ("patient_id", "ingredient", "first_exposure", "last_exposure")


def conditions_per_patient(diagnoses: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Conditions that make a drug accumulate (renal failure), as courses: ``COURSE``.

    A condition was there some days before it was coded; it lasts as long as its code's row says (null = for good). One
    without a date is left out.
    """
    codes = reference.diagnosis_codes.lazy().filter(pl.col("rule_id") == "DRG-6")
    lasts = pl.concat_str(pl.col("days_before").cast(pl.String), pl.lit("d"))
    return (
        coded_diagnoses(diagnoses, codes)
        .filter(pl.col("date").is_not_null())
        .select(
            "patient_id",
            ingredient="finding",
            first_exposure=pl.col("date").dt.offset_by(f"-{reference.rules.exposure.coded_after_d}d"),
            last_exposure=pl.col("date").dt.offset_by(lasts),
        )
    )

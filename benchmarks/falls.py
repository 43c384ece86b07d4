"""How well the screen explains falls: the tables `fall` and `drug_suspect` against the enriched hospital's truth.

A fall found by the screen belongs to the latest true fall that began before it was reached and had not ended when it
began; a found fall without one is noise of the counts, which no drug explains.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from neutro_simulator import EnrichedHospital

#: A course beyond expectation can be told from an expected one only after the expected recovery is due.
BEYOND_SHOWS_AFTER = timedelta(days=21)
#: The cause of the simulator in which a definite rival is stopped on the same day as the drug.
RIVAL = "rival_stopped"


@dataclass(frozen=True)
class FallFigures:
    """Shares of falls, each with the number it is taken of.

    true_drug_first: true drug falls whose drug (or, in an interaction, its partner) has rank 1 for the found fall; of
        several found falls of one true fall, the deepest counts. The same for those that began below 1500 cells/µL, for
        those with a rival stopped on the same day, and for all others.
    likely_without_drug: found falls that no drug explains and that have a suspect of category `likely`.
    expected_as_expected, beyond_as_expected: cytotoxic falls whose true drug is called `expected`, within and beyond
        what is expected of it.
    unseen_drug_falls: true drug falls without a found fall: no count was taken, or it was not low.
    """

    true_drug_first: float
    n_drug_falls: int
    true_drug_first_on_mild: float
    n_drug_falls_on_mild: int
    true_drug_first_with_rival: float
    n_drug_falls_with_rival: int
    true_drug_first_without_rival: float
    n_drug_falls_without_rival: int
    likely_without_drug: float
    n_falls_without_drug: int
    expected_as_expected: float
    n_expected: int
    beyond_as_expected: float
    n_beyond: int
    unseen_drug_falls: int


def fall_figures(
    hospital: EnrichedHospital, falls: pl.DataFrame, suspects: pl.DataFrame, as_of: datetime
) -> FallFigures:
    """The figures of one hospital.

    falls: fall_id, patient_id, to_cells_per_ul, started_at, reached_at. suspects: fall_id, ingredient, rank, category.
    Times are naive UTC.
    """
    matched = matched_falls(falls, hospital.fall_truth)
    drug_falls = _judged(matched.filter(pl.col("ingredient").is_not_null()), suspects).join(
        hospital.truth.select("patient_id", of_patient="cause"), on="patient_id", how="left"
    )
    with_rival = pl.col("of_patient") == RIVAL
    on_mild = drug_falls.filter(pl.col("true_kind") == "deepening")["is_first"]
    rivals, others = (drug_falls.filter(which)["is_first"] for which in (with_rival, ~with_rival))
    shows = pl.col("true_started_at") <= as_of - BEYOND_SHOWS_AFTER
    expected = drug_falls.filter(pl.col("effect") == "expected")["is_called_expected"]
    beyond = drug_falls.filter((pl.col("effect") == "beyond_expected") & shows)["is_called_expected"]
    likely = suspects.filter(pl.col("category").cast(pl.String) == "likely")["fall_id"].unique()
    accused = matched.filter(pl.col("ingredient").is_null())["fall_id"].is_in(likely.implode())
    n_true = hospital.fall_truth["ingredient"].drop_nulls().len()
    return FallFigures(
        true_drug_first=share(drug_falls["is_first"]),
        n_drug_falls=drug_falls.height,
        true_drug_first_on_mild=share(on_mild),
        n_drug_falls_on_mild=on_mild.len(),
        true_drug_first_with_rival=share(rivals),
        n_drug_falls_with_rival=rivals.len(),
        true_drug_first_without_rival=share(others),
        n_drug_falls_without_rival=others.len(),
        likely_without_drug=share(accused),
        n_falls_without_drug=accused.len(),
        expected_as_expected=share(expected),
        n_expected=expected.len(),
        beyond_as_expected=share(beyond),
        n_beyond=beyond.len(),
        unseen_drug_falls=n_true - drug_falls.height,
    )


def matched_falls(falls: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Each found fall with its true fall: true_started_at, true_kind, effect, ingredient, partner; null without one."""
    true = truth.select(
        "patient_id", "effect", "ingredient", "partner", "ended_at", true_started_at="started_at", true_kind="kind"
    )
    overlap = (pl.col("true_started_at") <= pl.col("reached_at")) & (
        pl.col("ended_at").is_null() | (pl.col("ended_at") >= pl.col("started_at"))
    )
    latest = (
        falls.join(true, on="patient_id")
        .filter(overlap)
        .sort("true_started_at")
        .unique("fall_id", keep="last", maintain_order=True)
        .select("fall_id", "true_started_at", "true_kind", "effect", "ingredient", "partner")
    )
    return falls.join(latest, on="fall_id", how="left").sort("patient_id", "started_at", "fall_id")


def _judged(drug_falls: pl.DataFrame, suspects: pl.DataFrame) -> pl.DataFrame:
    """One row a true drug fall, with the suspects of its deepest found fall: is_first, is_called_expected."""
    deepest = drug_falls.sort("to_cells_per_ul", "fall_id").unique(
        ["patient_id", "true_started_at"], keep="first", maintain_order=True
    )
    named = suspects.select("fall_id", "rank", "category", suspect="ingredient")
    is_drug = (pl.col("suspect") == pl.col("ingredient")) | (pl.col("suspect") == pl.col("partner"))
    verdicts = (
        deepest.join(named, on="fall_id")
        .filter(is_drug.fill_null(value=False))
        .group_by("fall_id")
        .agg(
            is_first=(pl.col("rank") == 1).any(),
            is_called_expected=(pl.col("category").cast(pl.String) == "expected").any(),
        )
    )
    return deepest.join(verdicts, on="fall_id", how="left").with_columns(
        pl.col("is_first", "is_called_expected").fill_null(value=False)
    )


def share(flags: pl.Series) -> float:
    """Fraction of true values; not a number where there are none."""
    return round(float(flags.cast(pl.Float64).sum()) / flags.len(), 4) if flags.len() else float("nan")

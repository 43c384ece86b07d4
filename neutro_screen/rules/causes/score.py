"""The score of a drug for an episode, its category and its rank (DRG-4); points: ``causality.toml`` [points]."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseRules, Points
from neutro_screen.rules.causes.timing import ONSETS, PAIR

#: The parts of the score, each a column ``points_<name>``.
COMPONENTS: Final = (
    "evidence",
    "onset",
    "exposure",
    "baseline",
    "dechallenge",
    "rechallenge",
    "interaction",
    "mechanism",
    "alternatives",
    "expected_drug",
    "stronger_drug",
    "known_risk",
)
_DECHALLENGES: Final = ("recovered", "recovered_confounded", "recovered_while_given", "not_recovered")


def with_interaction(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """``partner``: another drug at the same time that raises the effect of this one."""
    listed = [pair.split("+") for pair in rules.drug_group.interactions]
    partners = pl.LazyFrame(
        [row for first, second in listed for row in ((first, second), (second, first))],
        schema={"ingredient": pl.String, "partner": pl.String},
        orient="row",
    )
    together = (
        pairs.select(PAIR)
        .join(partners, on="ingredient")
        .join(pairs.select("episode_id", partner="ingredient"), on=["episode_id", "partner"], how="semi")
        .group_by(PAIR)
        .agg(pl.col("partner").min())
    )
    return pairs.join(together, on=PAIR, how="left")


def alternatives_per_episode(evidence: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """Points and names of what else may explain the episode; each category counts once, by its strongest line."""
    points = rules.points
    weight = {"strong": points.strong_alternative, "moderate": points.moderate_alternative}
    return (
        evidence.filter(
            pl.col("rule_id").is_in(rules.category.competing_rules) & pl.col("strength").is_in(list(weight))
        )
        .with_columns(weight=pl.col("strength").replace_strict(weight, return_dtype=pl.Int64))
        .group_by("episode_id", "category")
        .agg(pl.col("weight").min())
        .group_by("episode_id")
        .agg(
            alternative_points=pl.col("weight").sum().clip(lower_bound=points.alternatives_floor),
            alternatives=pl.col("category").sort().str.join(", "),
        )
    )


def with_points(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    points, group = rules.points, rules.drug_group
    is_abrupt = pl.col("nadir_cells_per_ul") < rules.category.abrupt_below_cells_per_ul
    is_isolated = pl.col("has_other_lines") & (pl.col("n_low_lines") == 0)
    is_immune = pl.col("mechanism").is_in(["immune_mediated", "mixed"])
    is_marrow = pl.col("mechanism").is_in(["dose_dependent_marrow_suppression", "direct_toxicity", "mixed"])
    fits = (is_immune & is_abrupt & is_isolated) | (is_marrow & (pl.col("n_low_lines") > 0))
    begun_in_interval = pl.col("normal_day").is_null() | (pl.col("first_exposure") > pl.col("normal_day"))
    is_protopathic = (
        pl.col("drug_class").is_in(group.protopathic_classes)
        & begun_in_interval
        & (pl.col("days_to_low") < pl.col("onset_from_d"))
    )
    known_risk = (
        pl.col("ingredient").is_in(group.high_risk).cast(pl.Int64) * points.high_risk
        + pl.col("ingredient").is_in(group.ubiquitous).cast(pl.Int64) * points.ubiquitous
        + is_protopathic.fill_null(False).cast(pl.Int64) * points.protopathic
    )
    dechallenge = ("recovered", "recovered_confounded", "recovered_while_given", "not_recovered")
    own = pairs.with_columns(
        is_protopathic=is_protopathic.fill_null(False),
        points_evidence=_worth("evidence", points, "definite", "probable", "possible"),
        points_onset=_worth("onset", points, *ONSETS, prefix="onset_"),
        points_exposure=pl.lit(points.exposed, pl.Int64),
        points_baseline=_worth("baseline", points, "normal", "low", prefix="baseline_"),
        points_dechallenge=_worth("dechallenge", points, *dechallenge),
        points_rechallenge=pl.when("has_recurred")
        .then(points.recurred)
        .when("was_tolerated")
        .then(points.tolerated_again)
        .otherwise(0)
        .cast(pl.Int64),
        points_interaction=pl.col("partner").is_not_null().cast(pl.Int64) * points.interaction,
        points_mechanism=fits.fill_null(False).cast(pl.Int64) * points.mechanism_fits,
        points_alternatives=pl.col("alternative_points").fill_null(0),
        points_expected_drug=(~pl.col("is_expected") & pl.col("expected_drugs").is_not_null()).cast(pl.Int64)
        * points.expected_drug,
        points_known_risk=known_risk,
    )
    before = pl.sum_horizontal(f"points_{name}" for name in COMPONENTS if name != "stronger_drug")
    is_weaker = before < before.max().over("episode_id")
    return own.with_columns(points_stronger_drug=is_weaker.cast(pl.Int64) * points.stronger_drug).with_columns(
        score=pl.sum_horizontal(f"points_{name}" for name in COMPONENTS).cast(pl.Int16)
    )


def _worth(column: str, points: Points, *states: str, prefix: str = "") -> pl.Expr:
    """Points of a state; 0 where it cannot be told."""
    worth = {state: getattr(points, f"{prefix}{state}") for state in states}
    return pl.col(column).replace_strict(worth, default=0, return_dtype=pl.Int64)


def with_category(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    limit = rules.category
    time_fits = pl.col("onset").is_in(["inside", "overlaps"])
    is_named = ~pl.col("is_class") & pl.col("is_start_certain")
    # A first exposure cannot act before its shortest onset; after an earlier reaction it may within hours.
    is_too_early = (pl.col("days_to_low") < pl.col("onset_from_d")) & ~pl.col("has_recurred")
    category = (
        pl.when("is_expected")
        .then(pl.lit("expected"))
        .when((pl.col("score") >= limit.likely_from) & time_fits & is_named)
        .then(pl.lit("likely"))
        .when(is_too_early)
        .then(pl.lit("unlikely"))
        .when(
            (pl.col("score") >= limit.possible_from)
            | ((pl.col("score") >= limit.weak_from) & (pl.col("onset") != "outside"))
        )
        .then(pl.lit("possible"))
        .otherwise(pl.lit("unlikely"))
    )
    return pairs.with_columns(category=category)


def with_rank(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Rank within the episode, expected drugs apart; a class never goes before a named drug."""
    lane = ("episode_id", "is_expected")
    return pairs.sort(
        *lane,
        "is_class",
        "score",
        "onset_rank",
        "points_evidence",
        "days_to_low",
        "ingredient",
        descending=[False, False, False, True, False, True, False, False],
    ).with_columns(rank=pl.int_range(1, pl.len() + 1).over(lane).cast(pl.Int16))

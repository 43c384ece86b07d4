"""The score of a drug for a fall, its category and its rank (DRG-4); points: ``causality.toml`` [points]."""

from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules, Points
from neutro_screen.rules.causes.timing import ONSETS, fits_window

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


def alternatives_per_fall(
    evidence: pl.LazyFrame, falls: pl.LazyFrame, policy: Policy, rules: CauseRules
) -> pl.LazyFrame:
    """Points and names of what else may explain the fall; each category counts once, by its strongest line.

    A benign context explains no count below the limit of the personal range (SEV-3).
    """
    points = rules.points
    weight = {"strong": points.strong_alternative, "moderate": points.moderate_alternative}
    is_too_deep = (pl.col("rule_id") == "CTX-1") & (
        pl.col("to_cells_per_ul") < policy.context.personal_from_cells_per_ul
    )
    return (
        evidence.filter(
            pl.col("rule_id").is_in(rules.category.competing_rules) & pl.col("strength").is_in(list(weight))
        )
        .with_columns(weight=pl.col("strength").replace_strict(weight, return_dtype=pl.Int64))
        .join(falls.select("episode_id", "fall_id", "to_cells_per_ul"), on="episode_id")
        .filter(~is_too_deep)
        .group_by("fall_id", "category")
        .agg(pl.col("weight").min())
        .group_by("fall_id")
        .agg(
            alternative_points=pl.col("weight").sum().clip(lower_bound=points.alternatives_floor),
            alternatives=pl.col("category").sort().str.join(", "),
        )
    )


def with_points(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """Add ``points_<component>`` for each of ``COMPONENTS``, their sum ``score``, and ``is_protopathic``, ``is_weaker``."""
    points = rules.points
    is_beside_expected = ~pl.col("is_expected") & pl.col("expected_drugs").is_not_null()
    own = pairs.with_columns(is_protopathic=_is_protopathic(rules)).with_columns(
        points_evidence=_worth("evidence", points, "definite", "probable", "possible"),
        points_onset=_worth("onset", points, *ONSETS, prefix="onset_"),
        points_exposure=pl.lit(points.exposed, pl.Int64),
        points_baseline=_worth("baseline", points, "normal", "stable", "low", prefix="baseline_"),
        points_dechallenge=_worth("dechallenge", points, *_DECHALLENGES),
        points_rechallenge=pl.when("has_recurred")
        .then(points.recurred)
        .when("was_tolerated")
        .then(points.tolerated_again)
        .otherwise(0)
        .cast(pl.Int64),
        points_interaction=_worth(
            "partner_evidence", points, "definite", "probable", "possible", prefix="interaction_"
        ),
        points_mechanism=_mechanism_fits(rules).cast(pl.Int64) * points.mechanism_fits,
        points_alternatives=pl.col("alternative_points").fill_null(0),
        points_expected_drug=is_beside_expected.cast(pl.Int64) * points.expected_drug,
        points_known_risk=_known_risk(rules),
    )
    before = pl.sum_horizontal(f"points_{name}" for name in COMPONENTS if name != "stronger_drug")
    return (
        own.with_columns(is_weaker=before < before.max().over("fall_id"))
        .with_columns(points_stronger_drug=pl.col("is_weaker").cast(pl.Int64) * points.stronger_drug)
        .with_columns(score=pl.sum_horizontal(f"points_{name}" for name in COMPONENTS).cast(pl.Int16))
    )


def _mechanism_fits(rules: CauseRules) -> pl.Expr:
    """An abrupt isolated fall of an immune drug, or several low lines of one that is toxic to the marrow."""
    is_abrupt = pl.col("depth_cells_per_ul") < rules.category.abrupt_below_cells_per_ul
    is_isolated = pl.col("has_other_lines") & (pl.col("n_low_lines") == 0)
    is_immune = pl.col("mechanism").is_in(["immune_mediated", "mixed"])
    is_marrow = pl.col("mechanism").is_in(["dose_dependent_marrow_suppression", "direct_toxicity", "mixed"])
    return ((is_immune & is_abrupt & is_isolated) | (is_marrow & (pl.col("n_low_lines") > 0))).fill_null(False)


def _is_protopathic(rules: CauseRules) -> pl.Expr:
    """Of a class that is begun for the first symptoms of a fall, and begun too shortly before it."""
    begun_in_interval = pl.col("before_day").is_null() | (pl.col("first_exposure") > pl.col("before_day"))
    is_class = pl.col("drug_class").is_in(rules.drug_group.protopathic_classes)
    return (is_class & begun_in_interval & (pl.col("days_to_low") < pl.col("onset_from_d"))).fill_null(False)


def is_high_risk(rules: CauseRules) -> pl.Expr:
    """The drug is known for agranulocytosis (``causality.toml`` [drug_group] high_risk)."""
    return pl.col("ingredient").is_in(rules.drug_group.high_risk)


def _known_risk(rules: CauseRules) -> pl.Expr:
    points = rules.points
    return (
        is_high_risk(rules).cast(pl.Int64) * points.high_risk
        + pl.col("ingredient").is_in(rules.drug_group.ubiquitous).cast(pl.Int64) * points.ubiquitous
        + pl.col("is_protopathic").cast(pl.Int64) * points.protopathic
    )


def _worth(column: str, points: Points, *states: str, prefix: str = "") -> pl.Expr:
    """Points of a state; 0 where it is not known."""
    worth = {state: getattr(points, f"{prefix}{state}") for state in states}
    return pl.col(column).replace_strict(worth, default=0, return_dtype=pl.Int64)


def with_category(pairs: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """Add ``category`` (DRG-4, DRG-5)."""
    limit = rules.category
    is_named = ~pl.col("is_class") & pl.col("is_start_certain")
    is_untested = pl.col("dechallenge").is_null() & (pl.col("onset") != "late")
    likely_from = pl.when(is_untested).then(limit.likely_untested_from).otherwise(limit.likely_from)
    is_likely = ((pl.col("score") >= likely_from) & fits_window() & is_named) | (is_named & _is_likely_late(rules))
    # A first exposure cannot act before its shortest onset; after an earlier reaction it may within hours.
    is_too_early = (pl.col("days_to_low") < pl.col("onset_from_d")) & ~pl.col("has_recurred") & ~pl.col("is_reopened")
    is_possible = (pl.col("score") >= limit.possible_from) | (
        (pl.col("score") >= limit.weak_from) & (pl.col("onset") != "outside")
    )
    category = (
        pl.when(pl.col("is_in_time") & pl.col("beyond").is_null())
        .then(pl.lit("expected"))
        .when("is_in_time")
        .then(pl.lit("beyond_expected"))
        .when(is_likely | (is_named & _is_likely_without_normal(rules)))
        .then(pl.lit("likely"))
        .when(is_too_early)
        .then(pl.lit("unlikely"))
        .when(is_possible)
        .then(pl.lit("possible"))
        .otherwise(pl.lit("unlikely"))
    )
    return pairs.with_columns(category=category)


def _is_likely_late(rules: CauseRules) -> pl.Expr:
    """A severe fall after the typical time on a high-risk drug whose window has no end, and nothing that explains it better
    (DRG-4, DRG-7). A drug that suppresses the marrow by its dose and was tolerated for years needs another reason."""
    is_severe = pl.col("depth_cells_per_ul") < rules.category.abrupt_below_cells_per_ul
    enough = pl.col("score") >= rules.category.possible_from
    is_untested = pl.col("dechallenge").is_null() & ~pl.col("was_tolerated")
    is_by_dose = pl.col("mechanism") == "dose_dependent_marrow_suppression"
    is_late = (pl.col("onset") == "late") & ~is_by_dose.fill_null(False)
    return is_high_risk(rules) & is_late & is_severe & enough & is_untested & _is_best()


def _is_best() -> pl.Expr:
    """No other evidence competes, no expected effect, and no drug scores higher."""
    return pl.col("alternatives").is_null() & pl.col("expected_drugs").is_null() & ~pl.col("is_weaker")


def _is_likely_without_normal(rules: CauseRules) -> pl.Expr:
    """A high-risk drug inside its window and nothing that explains the fall better, though no normal count stands before it
    (DRG-4): there is none at all, and the time is typical; or a low one that was stable until this fall."""
    in_typical_time = (pl.col("onset") == "unknown") & (pl.col("days_to_low") <= pl.col("onset_to_d"))
    from_stable = (pl.col("baseline") == "stable") & pl.col("onset").is_in(["inside", "overlaps"])
    is_plausible = from_stable & (pl.col("score") >= rules.category.possible_from)
    return is_high_risk(rules) & (in_typical_time | is_plausible) & _is_best() & ~pl.col("was_tolerated")


def with_rank(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Rank within the fall, expected drugs apart; a class never goes before a named drug."""
    return (
        pairs.with_columns(is_expected_lane=pl.col("category") == "expected")
        .sort(
            "fall_id",
            "is_expected_lane",
            "is_class",
            "score",
            "onset_rank",
            "points_evidence",
            "days_to_low",
            "ingredient",
            descending=[False, False, False, True, False, True, False, False],
        )
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("fall_id", "is_expected_lane").cast(pl.Int16))
    )

"""The items of Naranjo and the category of WHO-UMC, as far as an extract can answer them (DRG-4)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CategoryRule, CauseRules
from neutro_screen.rules.causes.score import COMPONENTS

_UNKNOWN: Final = pl.lit(None, pl.Int64)
_RECOVERED: Final = pl.col("dechallenge") == "recovered"


def items(rules: CauseRules) -> pl.Expr:
    """JSON: points per component, the Naranjo items (null = cannot be known from data) and the WHO-UMC category."""
    naranjo = _naranjo_items()
    total = pl.sum_horizontal(naranjo.values())
    unanswered = pl.sum_horizontal(item.is_null().cast(pl.Int64) for item in naranjo.values())
    points = pl.struct([pl.col(f"points_{name}").alias(name) for name in COMPONENTS])
    answers = pl.struct(
        [
            *(item.alias(name) for name, item in naranjo.items()),
            total.alias("total"),
            unanswered.alias("unanswered"),
            _naranjo_category(total, rules.category).alias("category"),
        ]
    )
    return pl.struct(points=points, naranjo=answers, who_umc=_who_umc()).struct.json_encode()


def _has_alternative() -> pl.Expr:
    expected_drug = pl.col("expected_drugs").is_not_null() & ~pl.col("is_in_time")
    return pl.col("alternatives").is_not_null() | expected_drug


def _naranjo_items() -> dict[str, pl.Expr]:
    """Item -> its points; null where an extract cannot answer it."""
    not_improved = pl.col("dechallenge").is_in(["not_recovered", "recovered_while_given"])
    improved = pl.when(_RECOVERED).then(1).when(not_improved).then(0)
    again = pl.when("has_recurred").then(2).when("was_tolerated").then(-1)
    answered = {
        "1_previous_reports": pl.col("evidence").is_in(["definite", "probable"]),
        "2_event_after_drug": pl.when("is_start_certain").then(2),
        "3_improved_after_stop": improved,
        "4_recurred_when_given_again": again,
        "5_alternative_causes": pl.when(_has_alternative()).then(-1),
        "6_placebo": _UNKNOWN,
        "7_toxic_level": _UNKNOWN,
        "8_dose_relation": _UNKNOWN,
        "9_similar_reaction_before": pl.when("has_recurred").then(1),
        "10_objective_evidence": pl.when(pl.col("n_results").fill_null(2) > 1).then(1),
    }
    return {name: item.cast(pl.Int64) for name, item in answered.items()}


def _naranjo_category(total: pl.Expr, limit: CategoryRule) -> pl.Expr:
    return (
        pl.when(total >= limit.naranjo_definite_from)
        .then(pl.lit("definite"))
        .when(total >= limit.naranjo_probable_from)
        .then(pl.lit("probable"))
        .when(total >= limit.naranjo_possible_from)
        .then(pl.lit("possible"))
        .otherwise(pl.lit("doubtful"))
    )


def _who_umc() -> pl.Expr:
    """The category; "certain" asks for what no extract has and is never given (DRUGS.md section 6)."""
    is_probable = (pl.col("onset") == "inside") & _RECOVERED.fill_null(False) & ~_has_alternative()
    return (
        pl.when(~pl.col("is_start_certain"))
        .then(pl.lit("unassessable"))
        .when(pl.col("onset") == "outside")
        .then(pl.lit("unlikely"))
        .when(is_probable)
        .then(pl.lit("probable"))
        .otherwise(pl.lit("possible"))
    )

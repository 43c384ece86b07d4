"""Rapid decline: a large fall of the ANC within one or two weeks (RPD-1, RPD-2, RPD-4)."""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.policy import RapidDeclineRule

_ORDER: Final = ("patient_id", "collected_at", "specimen_id")


def with_rapid_decline(anc: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``rpd_1`` and ``rpd_2`` (Boolean) and ``rpd_1_highest``, ``rpd_2_highest`` (cells/uL, null = nothing before).

    The highest value of the window counts, and the value in force when the window opened: the last one before it, if
    it is not older than the policy's carry. Upper bounds (<, <=) are no heights to fall from. A fall that ends in the
    normal range is measured from values without neutrophilia only (RPD-4).
    """
    is_bound = pl.col("anc_comparator").is_in(["<", "<="]).fill_null(False)
    is_high = pl.col("anc_cells_per_ul") > policy.rpd_4.neutrophilia_above_cells_per_ul
    anc = (
        anc.sort(_ORDER)
        .with_columns(height=pl.when(~is_bound).then("anc_cells_per_ul"))
        .with_columns(plain_height=pl.when(~is_high).then("height"))
    )
    ends_normal = pl.col("anc_cells_per_ul") >= policy.rpd_4.normal_from_cells_per_ul
    for name, rule in (("rpd_1", policy.rpd_1), ("rpd_2", policy.rpd_2)):
        anc = _with_highest(anc, "height", rule, f"{name}_any")
        anc = _with_highest(anc, "plain_height", rule, f"{name}_plain")
        highest = pl.when(ends_normal).then(f"{name}_plain").otherwise(f"{name}_any")
        anc = anc.with_columns(highest.alias(f"{name}_highest")).with_columns(
            (
                (pl.col("anc_cells_per_ul") <= (pl.col(f"{name}_highest") * rule.highest_fraction).round_sig_figs(15))
                & (pl.col("anc_cells_per_ul") < rule.below_cells_per_ul)
                & ~pl.col("anc_comparator").is_in([">", ">="]).fill_null(False)
            )
            .fill_null(False)
            .alias(name)
        )
        anc = anc.drop(f"{name}_any", f"{name}_plain")
    return anc.drop("height", "plain_height")


def _with_highest(anc: pl.LazyFrame, height: str, rule: RapidDeclineRule, name: str) -> pl.LazyFrame:
    inside = pl.col(height).rolling_max_by("collected_at", window_size=f"{rule.window_d}d", closed="both")
    heights = anc.filter(pl.col(height).is_not_null()).select(
        "patient_id", carried_at="collected_at", carried=pl.col(height)
    )
    return (
        anc.with_columns(
            inside=inside.over("patient_id"), opens_at=pl.col("collected_at") - timedelta(days=rule.window_d)
        )
        .sort("opens_at", "patient_id", "specimen_id")
        .join_asof(
            heights.sort("carried_at", "patient_id", "carried"),
            left_on="opens_at",
            right_on="carried_at",
            by="patient_id",
            strategy="backward",
            tolerance=timedelta(days=rule.carry_d),
            allow_exact_matches=False,
            check_sortedness=False,  # sorted above; polars cannot see it within groups
        )
        .with_columns(pl.max_horizontal("inside", "carried").alias(name))
        .drop("inside", "opens_at", "carried", "carried_at", strict=False)
        .sort(_ORDER)
    )

"""Which drug leads the explanations of an episode, and whether its fall is the expected effect of one (DRG-4, DRG-5)."""

from typing import Final

import polars as pl

#: Categories that make a drug an explanation, the strongest first.
LEADING: Final = ("likely", "beyond_expected", "expected", "possible")
_BEYOND: Final = ("likely", "beyond_expected")


def leading_suspects(suspects: pl.LazyFrame) -> pl.LazyFrame:
    """The drug that leads the explanations of each episode and is at least possible: one row of ``DrugSuspect`` each.

    It is first-ranked for the fall that leads to the episode's lowest count; of an expected and another drug the likely
    one, then the expected one, then the possible one.
    """
    is_first = (pl.col("rank") == 1) & pl.col("category").is_in(LEADING) & pl.col("leads_to_nadir")
    strength = pl.col("category").replace_strict({name: place for place, name in enumerate(LEADING)}, default=None)
    return (
        suspects.filter(is_first)
        .sort("episode_id", strength, "ingredient")
        .unique("episode_id", keep="first", maintain_order=True)
    )


def expected_episodes(suspects: pl.LazyFrame) -> pl.LazyFrame:
    """Episodes (episode_id) whose lowest count is the expected effect of a drug in its time, while neither that fall nor a
    later one has a likely drug or went beyond what was expected."""
    category = pl.col("category")
    # The ids of a patient's falls are in the order of time.
    nadir_fall = pl.col("fall_id").filter("leads_to_nadir").first().over("episode_id")
    since_nadir = suspects.filter(pl.col("fall_id") >= nadir_fall)
    return (
        since_nadir.group_by("episode_id")
        .agg(
            is_expected=((category == "expected") & pl.col("leads_to_nadir")).any(),
            is_beyond=category.is_in(_BEYOND).any(),
        )
        .filter(pl.col("is_expected") & ~pl.col("is_beyond"))
        .select("episode_id")
    )

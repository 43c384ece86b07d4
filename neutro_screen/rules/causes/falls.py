"""The falls of an episode: what drugs and other causes have to explain (DRG-1).

A fall is a drop into a lower severity band, or to half of the level before, at the start of an episode or within it. The
first low count of an episode always ends one. Steps down that follow each other within ``joined_d`` days without a
recovery between are one descent; after a longer stable time, after a recovery, or after steps that may be the noise of the
level before, the next step is a fall of its own.
"""

from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import FallRule

_EPISODE: Final = ("patient_id", "episode_id")
_ORDER: Final = ("collected_at", "specimen_id")


def falls_per_episode(numbered: pl.LazyFrame, episodes: pl.LazyFrame, policy: Policy, rule: FallRule) -> pl.LazyFrame:
    """One row per fall with the columns of ``Fall``, sorted by patient and time.

    ``numbered`` comes from ``episodes.with_episode_numbers``, ``episodes`` is ``Episode``.
    """
    return (
        _counts_of_episodes(numbered, episodes, rule)
        .pipe(_with_descents, rule)
        .pipe(_split_at_the_first_major_step, rule)
        .pipe(_descents)
        .filter(_is_fall(rule))
        .pipe(_with_back, numbered, policy, rule)
        .pipe(_with_nadir, episodes)
        .with_columns(
            fall_id=pl.concat_str("patient_id", pl.col("seen_at").dt.strftime("/fall/%Y-%m-%dT%H:%M")), kind=_kind()
        )
        .select(FALL_COLUMNS)
        .sort("patient_id", "seen_at")
    )


#: The columns of ``Fall``.
FALL_COLUMNS: Final = (
    "fall_id",
    "patient_id",
    "episode_id",
    "kind",
    "from_cells_per_ul",
    "started_at",
    "seen_at",
    "to_cells_per_ul",
    "to_comparator",
    "reached_at",
    "back_at",
    "leads_to_nadir",
)


def _counts_of_episodes(numbered: pl.LazyFrame, episodes: pl.LazyFrame, rule: FallRule) -> pl.LazyFrame:
    """The low counts of each episode in order of time, with the levels of the time before.

    ``level`` and ``band_level`` are medians of the low counts of the days before; null without any.
    """

    def median_before(days: int) -> pl.Expr:
        count = pl.col("anc_cells_per_ul")
        return count.rolling_median_by("collected_at", window_size=f"{days}d", closed="left").over(_EPISODE)

    return (
        numbered.filter("is_low")
        .join(episodes.select(*_EPISODE, "started_at", "last_low_at"), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .drop("started_at")
        .sort(*_EPISODE, *_ORDER)
        .with_columns(level=median_before(rule.level_d), band_level=median_before(rule.band_level_d))
    )


def _with_descents(counts: pl.LazyFrame, rule: FallRule) -> pl.LazyFrame:
    """Add ``is_down`` and ``descent``: the number of the descent within the episode that the count belongs to."""
    count = pl.col("anc_cells_per_ul")
    is_first = pl.int_range(pl.len()).over(_EPISODE, order_by=_ORDER) == 0
    is_lower_band = (pl.col("severity") > pl.col("previous_severity")).fill_null(False)
    is_down = is_first | is_lower_band | (count <= rule.down_fraction * pl.col("previous_anc")).fill_null(False)
    stepped = counts.with_columns(is_first=is_first, is_down=is_down).with_columns(
        step=pl.col("is_down").cum_sum().over(_EPISODE, order_by=_ORDER)
    )
    highest, lowest = count.max().over(*_EPISODE, "step"), count.first().over(*_EPISODE, "step", order_by=_ORDER)
    rose = (highest >= rule.recovered_factor * lowest) & (highest > lowest)
    down_at = pl.when("is_down").then("collected_at").forward_fill().shift(1).over(_EPISODE, order_by=_ORDER)
    is_late = (pl.col("collected_at") - down_at > pl.duration(days=rule.joined_d)).fill_null(False)
    return stepped.with_columns(has_risen=rose.shift(1).over(_EPISODE, order_by=_ORDER).fill_null(False)).with_columns(
        descent=(pl.col("is_down") & (pl.col("is_first") | is_late | pl.col("has_risen")))
        .cum_sum()
        .over(_EPISODE, order_by=_ORDER)
    )


def _split_at_the_first_major_step(counts: pl.LazyFrame, rule: FallRule) -> pl.LazyFrame:
    """Add ``is_major``: the descent has left the noise of the level that it began from.

    Before that it may be noise: a drug that was begun between the two is judged against what came after it.
    """
    down = pl.when("is_down").then(pl.coalesce("previous_anc", "anc_cells_per_ul"))
    began_from = down.drop_nulls().first().over(*_EPISODE, "descent", order_by=_ORDER)
    is_below = pl.col("is_down") & (pl.col("anc_cells_per_ul") <= rule.minor_fraction * began_from)
    return counts.with_columns(is_major=is_below.cum_max().over(*_EPISODE, "descent", order_by=_ORDER))


def _descents(counts: pl.LazyFrame) -> pl.LazyFrame:
    """One row per descent, from the last count before it to its lowest."""
    depth = pl.struct("anc_cells_per_ul", pl.col("anc_comparator").is_null(), "collected_at")
    lowest = pl.struct("anc_cells_per_ul", "anc_comparator", "collected_at").sort_by("depth").first()
    return (
        counts.filter("is_down")
        .with_columns(depth=depth)
        .sort(*_EPISODE, *_ORDER)
        .group_by(*_EPISODE, "descent", "is_major", maintain_order=True)
        .agg(
            is_start=pl.col("is_first").any(),
            from_cells_per_ul=pl.col("previous_anc").first(),
            from_severity=pl.col("previous_severity").first(),
            started_at=pl.coalesce("previous_at", "collected_at").first(),
            seen_at=pl.col("collected_at").first(),
            level=pl.col("level").first(),
            band_level=pl.col("band_level").first(),
            to_severity=pl.col("severity").max(),
            lowest=lowest,
        )
        .with_columns(
            to_cells_per_ul=pl.col("lowest").struct.field("anc_cells_per_ul"),
            to_comparator=pl.col("lowest").struct.field("anc_comparator"),
            reached_at=pl.col("lowest").struct.field("collected_at"),
        )
    )


def _ends_in_lower_band() -> pl.Expr:
    return (pl.col("to_severity") > pl.col("from_severity")).fill_null(False)


def _is_fall(rule: FallRule) -> pl.Expr:
    """The start of the episode, a lower band by more than the noise of one count, or half of the level before."""
    count, before = pl.col("to_cells_per_ul"), pl.col("from_cells_per_ul")
    is_deeper = _ends_in_lower_band() & (count <= rule.band_fraction * pl.max_horizontal(before, "band_level"))
    return pl.col("is_start") | is_deeper | (count <= rule.level_fraction * pl.min_horizontal(before, "level"))


def _kind() -> pl.Expr:
    return (
        pl.when(pl.col("is_start") & pl.col("from_cells_per_ul").is_null())
        .then(pl.lit("unseen"))
        .when("is_start")
        .then(pl.lit("onset"))
        .when(_ends_in_lower_band())
        .then(pl.lit("deeper"))
        .otherwise(pl.lit("halving"))
    )


def _with_back(falls: pl.LazyFrame, numbered: pl.LazyFrame, policy: Policy, rule: FallRule) -> pl.LazyFrame:
    """Add ``back_at``: the first later count at the level fallen from, or normal; null while there is none."""
    normal = policy.rpd_4.normal_from_cells_per_ul
    own_level = pl.min_horizontal(rule.back_fraction * pl.col("from_cells_per_ul"), pl.lit(normal))
    later = numbered.select("patient_id", at="collected_at", count="anc_cells_per_ul")
    back = (
        falls.join(later, on="patient_id")
        .filter((pl.col("at") > pl.col("reached_at")) & (pl.col("count") >= own_level))
        .group_by(*_EPISODE, "seen_at")
        .agg(back_at=pl.col("at").min())
    )
    return falls.join(back, on=[*_EPISODE, "seen_at"], how="left", validate="1:1")


def _with_nadir(falls: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``leads_to_nadir``: the latest fall that was seen by the time of the episode's lowest count."""
    seen = falls.join(episodes.select(*_EPISODE, "nadir_at"), on=_EPISODE, how="left", validate="m:1").with_columns(
        is_before=pl.col("seen_at") <= pl.col("nadir_at")
    )
    last = pl.col("seen_at").filter("is_before").max().over(_EPISODE)
    return seen.with_columns(leads_to_nadir=pl.col("seen_at") == last)

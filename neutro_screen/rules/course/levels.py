"""The level of a patient's counts before a result, and the result among its neighbours in time (RPD-3).

All on the natural logarithm, weighted by how exact each count is (``intervals.log_variance``).
"""

from datetime import timedelta

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.rules.counts.comparators import is_upper_bound
from neutro_screen.rules.counts.intervals import log_variance
from neutro_screen.rules.counts.specimens import TIME_ORDER


def with_log_counts(counts: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``log_count`` (natural logarithm of cells/uL) and ``log_variance``."""
    count = pl.col("anc_cells_per_ul").clip(lower_bound=policy.noise.lowest_cells_per_ul)
    return counts.with_columns(log_count=count.log(), log_variance=log_variance(policy))


def with_surroundings(counts: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``around_log`` and ``around_variance``: the count averaged with its neighbours in time.

    Neighbours are up to ``around_n`` results on each side within ``around_h`` hours. One before that lies above the count by
    more than noise belongs to the level that the count fell from and is left out; of those after it every one counts, since
    they show whether the fall was one of the tube. ``counts`` is in the order of patient and time (``TIME_ORDER``).
    """
    rule = policy.rpd_3
    reach = timedelta(hours=rule.around_h)

    def near(column: pl.Expr, steps: int) -> pl.Expr:
        if not steps:
            return column
        apart = (pl.col("collected_at") - pl.col("collected_at").shift(steps)).abs()
        belongs = (pl.col("patient_id") == pl.col("patient_id").shift(steps)) & (apart <= reach)
        if steps > 0:
            belongs &= _is_of_one_level(steps, policy)
        return pl.when(belongs.fill_null(False)).then(column.shift(steps)).otherwise(0)

    steps = range(-rule.around_n, rule.around_n + 1)
    weights = pl.sum_horizontal(near(_weight(), step) for step in steps)
    weighted = pl.sum_horizontal(near(_weight() * pl.col("log_count"), step) for step in steps)
    return counts.with_columns(around_log=weighted / weights, around_variance=1 / weights)


def levels(counts: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """The level that stood at each result: the mean of it and up to ``level_n - 1`` before it, within ``level_d`` days.

    An earlier result that lies above this one by more than noise is of another level and left out. Upper bounds (<, <=)
    are no level. ``counts`` has ``stretch`` and ``decline_next_at``. Columns: patient_id, stretch, decline_from_id,
    decline_from_at, decline_from_n, followed_at (the next result), level (logarithm), level_variance.
    """
    rule = policy.rpd_3
    oldest = pl.col("collected_at") - timedelta(days=rule.level_d)

    def before(column: pl.Expr, steps: int) -> pl.Expr:
        belongs = (
            (pl.col("patient_id") == pl.col("patient_id").shift(steps))
            & (pl.col("collected_at").shift(steps) >= oldest)
            & _is_of_one_level(steps, policy)
        )
        return pl.when(belongs).then(column.shift(steps)).otherwise(0)

    steps = range(rule.level_n)
    return (
        counts.filter(~is_upper_bound())
        .sort(TIME_ORDER)
        .select(
            "patient_id",
            "stretch",
            decline_from_id="specimen_id",
            decline_from_at="collected_at",
            followed_at="decline_next_at",
            sum_of_weights=pl.sum_horizontal(before(_weight(), step) for step in steps),
            sum_weighted=pl.sum_horizontal(before(_weight() * pl.col("log_count"), step) for step in steps),
            decline_from_n=pl.sum_horizontal(
                before(pl.col("log_count").is_not_null().cast(pl.Int64), step) for step in steps
            ),
        )
        .with_columns(
            level=pl.col("sum_weighted") / pl.col("sum_of_weights"), level_variance=1 / pl.col("sum_of_weights")
        )
    )


def _weight() -> pl.Expr:
    return 1 / pl.col("log_variance")


def _is_of_one_level(steps: int, policy: Policy) -> pl.Expr:
    """The count so many results before does not lie above this one by more than the noise of both."""
    above = pl.col("log_count").shift(steps) - pl.col("log_count")
    noise = (pl.col("log_variance").shift(steps) + pl.col("log_variance")).sqrt()
    return above <= policy.rpd_3.same_level_ratio * noise

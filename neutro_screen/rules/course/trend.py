"""The personal baseline, what counts as a real change, the trend and where it leads (TRD-1 ... TRD-4)."""

import math
from datetime import timedelta
from typing import Final

import polars as pl

from neutro_schemas import Flag
from neutro_screen.reference import Policy
from neutro_screen.rules.counts.comparators import is_lower_bound
from neutro_screen.rules.counts.intervals import log_variance
from neutro_screen.rules.counts.specimens import SPECIMEN, TIME_ORDER
from neutro_screen.rules.course.given import drugs_given
from neutro_screen.rules.words import count_text
from neutro_screen.validate import dtypes

_DAYS_PER_WEEK: Final = 7
#: Sums of floating-point numbers agree to so many digits in whatever order they are added.
_SETTLED_DIGITS: Final = 10
_DECIMALS_OF_A_DAY: Final = 3
#: Median absolute deviation of normal noise, as a fraction of its standard deviation.
_MAD_OF_NORMAL: Final = 0.6745


def with_baseline(anc: pl.LazyFrame, patients: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``baseline_cells_per_ul`` (median) and ``baseline_n`` of the results of the policy's days before (TRD-1).

    Within an episode the window ends that long before the episode's first low count: the illness is not its own
    baseline. Of a patient with recorded Duffy-null (``patients``: patient_id, duffy_null) mild counts are the usual
    level, so that the illness begins with the first count below the least that context can explain. A bound (<, <=, >,
    >=) is no level and does not count. Fewer results than the policy asks for: null baseline.
    """
    rule = policy.trend
    recorded = patients.group_by("patient_id").agg(is_duffy_null=pl.col("duffy_null").any())
    is_ill = pl.when(pl.col("is_duffy_null").fill_null(False)).then(
        pl.col("anc_cells_per_ul") < policy.context.personal_from_cells_per_ul
    )
    ordered = anc.sort(TIME_ORDER)
    earlier = (
        ordered.with_columns(level=pl.when(pl.col("anc_comparator").is_null()).then("anc_cells_per_ul"))
        .rolling(
            "collected_at",
            period=f"{rule.baseline_from_d - rule.baseline_to_d}d",
            offset=f"-{rule.baseline_from_d}d",
            closed="both",
            group_by="patient_id",
        )
        .agg(median=pl.col("level").median(), baseline_n=pl.col("level").count())
        .unique(["patient_id", "collected_at"], keep="any")
    )
    enough = pl.col("baseline_n") >= rule.baseline_minimum_n
    same_patient = pl.col("patient_id") == pl.col("patient_id").shift(1)
    goes_on = pl.col("is_ill") & pl.col("is_ill").shift(1) & same_patient
    return (
        ordered.join(recorded, on="patient_id", how="left", maintain_order="left")
        .with_columns(is_ill=pl.coalesce(is_ill, pl.col("severity") > pl.lit("normal"), False))
        .with_columns(since=pl.when(~goes_on.fill_null(False)).then("collected_at"))
        .with_columns(since=pl.col("since").forward_fill())
        .join(
            earlier,
            left_on=["patient_id", "since"],
            right_on=["patient_id", "collected_at"],
            how="left",
            maintain_order="left",
        )
        .with_columns(baseline_cells_per_ul=pl.when(enough).then("median"))
        .drop("median", "is_duffy_null", "is_ill", "since")
    )


def reference_change(policy: Policy) -> tuple[float, float]:
    """The fall and the rise, as fractions, that one in a hundred unchanged patients exceeds (TRD-2): about -43 %."""
    noise = policy.noise
    spread = math.sqrt(math.log1p(noise.cv_analytic**2) + math.log1p(noise.cv_within**2))
    reach = noise.rcv_z * math.sqrt(2) * spread
    return math.expm1(-reach), math.expm1(reach)


def with_significant_fall(anc: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add the changes from baseline and from the result before, and whether they exceed the reference change value.

    Adds ``change_from_baseline`` and ``change_from_previous`` (fractions, negative = fall; null = nothing to compare
    with), ``significant_fall`` and ``significant_change`` (from the result before, either way). Bounds are no levels
    to compare with; an upper bound that is itself a fall is one. Needs ``baseline_cells_per_ul``.
    """
    fall, rise = reference_change(policy)
    level = pl.when(pl.col("anc_comparator").is_null()).then("anc_cells_per_ul")
    previous = level.forward_fill().shift(1).over("patient_id", order_by=TIME_ORDER)
    now = pl.when(~is_lower_bound()).then("anc_cells_per_ul")
    from_previous = pl.when(previous > 0).then(now / previous - 1)
    from_baseline = pl.when(pl.col("baseline_cells_per_ul") > 0).then(now / pl.col("baseline_cells_per_ul") - 1)
    fell, fell_from_baseline = (pl.col(f"change_from_{place}") < fall for place in ("previous", "baseline"))
    rose = pl.col("change_from_previous") > rise
    return anc.with_columns(change_from_baseline=from_baseline, change_from_previous=from_previous).with_columns(
        significant_fall=fell.fill_null(False) | fell_from_baseline.fill_null(False),
        significant_change=fell.fill_null(False) | rose.fill_null(False),
    )


def fall_flags(anc: pl.LazyFrame, high_risk: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """TRD-2: a significant fall of the usual count on a drug of high risk, with the columns of ``Flag``.

    The usual count is the baseline, without one the result before. As in RPD-4 one above the limit of neutrophilia is none
    to fall from, and a count that is still far from low is no finding. ``anc`` comes from ``with_significant_fall``, ``high_risk`` is that of ``with_decline_verdict``.
    """
    fall, _ = reference_change(policy)
    from_previous = pl.col("anc_cells_per_ul") / (1 + pl.col("change_from_previous"))
    usual, change = pl.coalesce("baseline_cells_per_ul", from_previous), pl.coalesce(*_CHANGES)
    fell = anc.filter("significant_fall").with_columns(usual=usual.round(1), change=change)
    is_listed = (
        (pl.col("change") < fall)
        & (pl.col("usual") <= policy.rpd_4.neutrophilia_above_cells_per_ul)
        & (pl.col("anc_cells_per_ul") < policy.rpd_4.high_risk_below_cells_per_ul)
    )
    listed = fell.filter(is_listed).join(drugs_given(fell, high_risk), on=SPECIMEN)
    has_baseline = pl.col("baseline_cells_per_ul").is_not_null()
    return listed.select(
        "patient_id",
        "specimen_id",
        episode_id=pl.lit(None, pl.String),
        rule_id=pl.lit("TRD-2"),
        raised_at="collected_at",
        reason=pl.format(
            "ANC {} cells/uL, {} % below the {} {} cells/uL; on {}",
            count_text(pl.col("anc_cells_per_ul"), pl.col("anc_comparator")),
            (-100 * pl.col("change")).round(0).cast(pl.Int64),
            pl.when(has_baseline).then(pl.lit("usual")).otherwise(pl.lit("result before of")),
            count_text(pl.col("usual"), pl.lit(None, pl.String)),
            "drugs",
        ),
        evidence=pl.struct(
            specimen_id="specimen_id",
            collected_at=pl.col("collected_at").dt.strftime("%Y-%m-%dT%H:%M:%S"),
            anc_cells_per_ul="anc_cells_per_ul",
            comparator="anc_comparator",
            usual_cells_per_ul="usual",
        ).struct.json_encode(),
    ).select(list(dtypes(Flag)))


#: The change that counts (TRD-2): from the baseline, without one from the result before.
_CHANGES: Final = ("change_from_baseline", "change_from_previous")


def is_latest() -> pl.Expr:
    """The latest specimen of each patient."""
    is_last_time = pl.col("collected_at") == pl.col("collected_at").max().over("patient_id")
    last_id = pl.when(is_last_time).then("specimen_id").max().over("patient_id")
    return is_last_time & (pl.col("specimen_id") == last_id)


def with_trend(anc: pl.LazyFrame, policy: Policy, wanted: pl.Expr | None = None) -> pl.LazyFrame:
    """Add the robust trend of the policy's window up to the wanted specimens (default: the latest of each patient).

    Adds ``trend`` (falling, stable, rising, insufficient; null = not wanted), ``slope_log2_per_week`` with
    ``slope_low`` and ``slope_high`` (95 %), TRD-3. -1 halves the count every week. See ``median_slopes``.
    """
    rule = policy.trend
    slopes = median_slopes(anc, wanted if wanted is not None else is_latest(), rule.window_d, policy)
    return (
        anc.join(slopes, on=SPECIMEN, how="left", maintain_order="left")
        .with_columns(
            trend=pl.when(pl.col("is_wanted").is_null())
            .then(None)
            .when(pl.col("slope").is_null())
            .then(pl.lit("insufficient"))
            .when(pl.col("slope_high") < 0)
            .then(pl.lit("falling"))
            .when(pl.col("slope_low") > 0)
            .then(pl.lit("rising"))
            .otherwise(pl.lit("stable")),
            slope_log2_per_week="slope",
        )
        .drop("slope", "level_log2", "is_wanted")
    )


def with_projection(anc: pl.LazyFrame, policy: Policy, wanted: pl.Expr | None = None) -> pl.LazyFrame:
    """Add where a falling count leads (TRD-4), for the wanted specimens (default: the latest of each patient).

    Adds ``days_to_severe`` (days until the fitted line reaches 500 cells/uL) with ``days_to_severe_low`` and
    ``days_to_severe_high`` (high null: not within the horizon), ``projected_severe`` and ``expected_severe_48h``. Null
    and false where the line of the policy's shorter window does not fall for certain, is further away than the
    horizon, or the count is already there.
    """
    rule = policy.trend
    slopes = median_slopes(anc, wanted if wanted is not None else is_latest(), rule.projection_window_d, policy)
    to_go = pl.col("level_log2") - math.log2(rule.projection_to_cells_per_ul)
    is_above = pl.col("anc_cells_per_ul") >= rule.projection_to_cells_per_ul
    projects = (pl.col("slope_high") < 0) & is_above

    def days(slope: str) -> pl.Expr:
        reached = (to_go / -pl.col(slope) * _DAYS_PER_WEEK).clip(lower_bound=0).round(_DECIMALS_OF_A_DAY)
        return pl.when(projects & (reached <= rule.horizon_d)).then(reached)

    projected = (
        anc.select(*SPECIMEN, "anc_cells_per_ul")
        .join(slopes, on=SPECIMEN)
        .select(
            *SPECIMEN,
            days_to_severe=days("slope"),
            days_to_severe_low=days("slope_low"),
            days_to_severe_high=days("slope_high"),
        )
    )
    return anc.join(projected, on=SPECIMEN, how="left", maintain_order="left").with_columns(
        projected_severe=(pl.col("days_to_severe") <= rule.projected_severe_d).fill_null(False),
        expected_severe_48h=(pl.col("days_to_severe") <= rule.expected_severe_d).fill_null(False),
    )


def median_slopes(anc: pl.LazyFrame, wanted: pl.Expr, window_d: int, policy: Policy) -> pl.LazyFrame:
    """Theil-Sen line through log2 ANC over a window that ends with each wanted specimen.

    One value a day (median), so that a day of many draws weighs as one. Slope: median of the slopes of all pairs of
    days. Its interval: that of a straight line through values with the larger of the usual noise (TRD-2, and the
    chance of a manual count) and the scatter seen (median absolute deviation), widened for the lower efficiency of the
    median. Columns: patient_id, specimen_id, slope, slope_low, slope_high (log2 per week; null where the policy's
    minimum of values or days is not met), level_log2 (the line at the wanted specimen), is_wanted (true).
    """
    rule = policy.trend
    lowest = policy.noise.lowest_cells_per_ul
    usable = anc.filter(pl.col("severity").is_not_null() & ~pl.col("anc_method").str.ends_with("upper_bound"))
    values = usable.select(
        "patient_id",
        value_at="collected_at",
        log2=pl.col("anc_cells_per_ul").clip(lower_bound=lowest).log(2),
        variance=log_variance(policy) / math.log(2) ** 2,
    )
    # A number instead of patient and specimen: it is grouped and joined by four times.
    ends = anc.filter(wanted).select(*SPECIMEN, end_at="collected_at").with_row_index("end")
    age = pl.col("end_at") - pl.col("value_at")
    days = (
        ends.join(values, on="patient_id")
        .filter(age.is_between(timedelta(), timedelta(days=window_d)))
        .group_by("end", day=pl.col("value_at").dt.date())
        .agg(
            week=(-age.dt.total_seconds() / timedelta(weeks=1).total_seconds()).mean(),
            log2=pl.col("log2").median(),
            variance=pl.col("variance").mean(),
            n=pl.len(),
        )
        # Read three times below; polars would work them out anew every time.
        .collect()
        .lazy()
    )
    pairs = days.join(days.select("end", later="week", later_log2="log2"), on="end").filter(
        pl.col("week") < pl.col("later")
    )
    lines = pairs.group_by("end").agg(
        slope=((pl.col("later_log2") - pl.col("log2")) / (pl.col("later") - pl.col("week"))).median()
    )
    level = pl.col("log2") - pl.col("slope") * pl.col("week")
    scatter = (level - level.median()).abs().median() / _MAD_OF_NORMAL
    spread = pl.max_horizontal(pl.col("variance").mean().sqrt(), scatter)
    reach = rule.interval_z * spread / (((pl.col("week") - pl.col("week").mean()) ** 2).sum() * rule.efficiency).sqrt()
    fitted = (
        days.join(lines, on="end")
        .group_by("end")
        .agg(pl.col("slope").first(), level_log2=level.median(), reach=reach, n=pl.col("n").sum(), n_days=pl.len())
        .filter((pl.col("n") >= rule.minimum_n) & (pl.col("n_days") >= rule.minimum_days))
    )
    return (
        ends.select(*SPECIMEN, "end", is_wanted=pl.lit(True))
        .join(
            fitted.select(
                "end",
                "level_log2",
                slope=pl.col("slope").round_sig_figs(_SETTLED_DIGITS),
                slope_low=(pl.col("slope") - pl.col("reach")).round_sig_figs(_SETTLED_DIGITS),
                slope_high=(pl.col("slope") + pl.col("reach")).round_sig_figs(_SETTLED_DIGITS),
            ),
            on="end",
            how="left",
        )
        .drop("end")
    )

"""Rapid decline: a large fall of the ANC within one or two weeks.

RPD-1 and RPD-2 are thresholds on the results as they are (``with_rapid_decline``). RPD-3 and RPD-4 judge the patient's
true course (``with_decline_verdict``): whether a fall of that size and pace remains after subtracting the noise of the
results, and whether later results confirm it. Only the verdict counts as a decline of the patient.
"""

import math
from datetime import timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.policy_sections import RapidDeclineRule
from neutro_screen.rules.counts.comparators import is_lower_bound, is_upper_bound
from neutro_screen.rules.counts.specimens import SPECIMEN, TIME_ORDER
from neutro_screen.rules.course.episodes import days
from neutro_screen.rules.course.given import drugs_given
from neutro_screen.rules.course.levels import levels, with_log_counts, with_surroundings
from neutro_screen.rules.flags import evidence_json, result_struct
from neutro_screen.rules.words import count_text, days_text

_SECONDS_PER_DAY: Final = 86_400


def with_rapid_decline(anc: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``rpd_1`` and ``rpd_2`` (Boolean) and, where they hold, ``rpd_1_highest`` and ``rpd_2_highest`` (cells/uL).

    The highest value of the window counts, and the value in force when the window opened: the last one before it, if
    it is not older than the policy's carry. Upper bounds (<, <=) are no heights to fall from. A fall that ends in the
    normal range is measured from values without neutrophilia only (RPD-4).
    """
    is_high = pl.col("anc_cells_per_ul") > policy.rpd_4.neutrophilia_above_cells_per_ul
    below = max(policy.rpd_1.below_cells_per_ul, policy.rpd_2.below_cells_per_ul)
    heights = (
        anc.select(*TIME_ORDER, "anc_cells_per_ul", "anc_comparator")
        .with_columns(
            height=pl.when(~is_upper_bound()).then("anc_cells_per_ul"),
            can_fire=(pl.col("anc_cells_per_ul") < below) & ~is_lower_bound(),
        )
        .with_columns(plain_height=pl.when(~is_high).then("height"))
        .filter(pl.col("can_fire").any().over("patient_id"))
        .sort(TIME_ORDER)
    )
    for name, rule in (("rpd_1", policy.rpd_1), ("rpd_2", policy.rpd_2)):
        fell = _falls_to(heights, rule, policy).select(
            *SPECIMEN, pl.lit(True).alias(name), pl.col("highest").alias(f"{name}_highest")
        )
        anc = anc.join(fell, on=SPECIMEN, how="left", maintain_order="left").with_columns(pl.col(name).fill_null(False))
    return anc


def _falls_to(heights: pl.LazyFrame, rule: RapidDeclineRule, policy: Policy) -> pl.LazyFrame:
    """The results that reach the threshold of a rule, with ``highest``: what they fell from."""
    low = (
        heights.with_columns(
            pl.col(height)
            .rolling_max_by("collected_at", window_size=f"{rule.window_d}d", closed="both")
            .over("patient_id")
            .alias(f"inside_{height}")
            for height in ("height", "plain_height")
        )
        .filter(pl.col("can_fire") & (pl.col("anc_cells_per_ul") < rule.below_cells_per_ul))
        .with_columns(opens_at=pl.col("collected_at") - timedelta(days=rule.window_d))
    )
    for height in ("height", "plain_height"):
        # Of two at the same time the higher one counts.
        carried = (
            heights.filter(pl.col(height).is_not_null())
            .select("patient_id", carried_at="collected_at", carried=height)
            .sort("patient_id", "carried_at", "carried")
        )
        low = low.join_asof(
            carried.rename({"carried": f"carried_{height}"}),
            left_on="opens_at",
            right_on="carried_at",
            by="patient_id",
            strategy="backward",
            tolerance=timedelta(days=rule.carry_d),
            allow_exact_matches=False,
            check_sortedness=False,  # both are in order of time within each patient; polars cannot see it
        ).drop("carried_at", strict=False)
    ends_normal = pl.col("anc_cells_per_ul") >= policy.rpd_4.normal_from_cells_per_ul
    highest, plain = (
        pl.max_horizontal(f"inside_{height}", f"carried_{height}") for height in ("height", "plain_height")
    )
    limit = (pl.col("highest") * rule.highest_fraction).round_sig_figs(policy.anc.significant_digits)
    return low.with_columns(highest=pl.when(ends_normal).then(plain).otherwise(highest)).filter(
        pl.col("anc_cells_per_ul") <= limit
    )


def with_decline_verdict(anc: pl.LazyFrame, policy: Policy, high_risk: pl.LazyFrame) -> pl.LazyFrame:
    """Add the verdict on the true course of every specimen (RPD-3, RPD-4).

    ``high_risk`` (patient_id, ingredient, first_exposure, last_exposure; Date, null = still given) are the exposures to
    drugs of high risk. Every specimen, averaged with its neighbours in time (``levels.with_surroundings``), is held against the
    levels of the weeks before it (``levels.levels``). A fall counts if it is as large as RPD-1 or RPD-2 ask for, or a
    fall by a third that halves within 10 days, to below 2000, and exceeds what the noise of both sides explains by
    ``noise_ratio``. Where the level is older than the rule's window, it must be the value in force when the window opened
    (RPD-1), and nobody knows when in the gap the count fell: unless it was back as soon, the fall must be larger by the
    root of the gap. Columns:

    decline: null = no fall of that kind; ``confirmed``: the result before or any later one within the window of RPD-1 is
        low as well (below three quarters of the level and nearer to the fall than to the level), whatever follows;
        ``unconfirmed``: no such result (yet); ``suspected``: the fall by a third, or a single result too close to the noise;
        ``contradicted``: the next result is back too soon for a marrow to have recovered.
    has_decline: the verdict. Confirmed, unconfirmed, or suspected with no later result.
    decline_rule: RPD-4 for a confirmed halving within 7 days to 2000-3000 on a high-risk drug, else RPD-3.
    decline_from_cells_per_ul, decline_from_n, decline_from_id, decline_from_at: the level, of how many results, and
        the last of them; decline_days, decline_fall_pct, decline_noise_ratio: the fall from there;
    decline_drugs: the drugs of high risk given then, as words; null = none;
    decline_next_id, decline_next_at, decline_next_cells_per_ul, decline_next_comparator: the result that followed.
    """
    judged = (
        _falls(anc, policy)
        .pipe(_with_tests, policy)
        .pipe(_with_high_risk, high_risk, policy)
        .pipe(_with_course, policy)
    )
    weight = {kind: place for place, kind in enumerate(("confirmed", "unconfirmed", "suspected", "contradicted"))}
    # A specimen is held against several levels: the verdict that weighs most counts, then the clearest fall.
    strongest = (
        judged.sort(
            *SPECIMEN,
            pl.col("decline").replace_strict(weight),
            "decline_noise_ratio",
            "decline_from_at",
            "decline_from_id",
            descending=[False, False, False, True, True, False],
        )
        .unique(SPECIMEN, keep="first", maintain_order=True)
        .select(*SPECIMEN, pl.col("^decline.*$"), "has_decline")
    )
    return anc.join(strongest, on=SPECIMEN, how="left", maintain_order="left").with_columns(
        pl.col("has_decline").fill_null(False)
    )


def has_rapid_decline() -> pl.Expr:
    """A specimen that reaches a threshold (RPD-1, RPD-2) or has the verdict (RPD-3, RPD-4)."""
    return pl.col("rpd_1") | pl.col("rpd_2") | pl.col("has_decline")


def decline_flags(anc: pl.LazyFrame) -> pl.LazyFrame:
    """RPD-3 and RPD-4 with the numbers of the verdict; ``anc`` comes from ``with_decline_verdict``."""
    fell = anc.filter("has_decline")
    after = (
        pl.when(pl.col("decline") == "confirmed")
        .then(pl.lit("; confirmed by a second result"))
        .when(pl.col("decline") == "suspected")
        .then(pl.lit("; suspected, repeat advised"))
        .otherwise(pl.lit("; not yet confirmed by a second result"))
    )
    now = result_struct("specimen_id", "collected_at", "anc_cells_per_ul", "anc_comparator")
    level = pl.struct(
        specimen_id="decline_from_id",
        collected_at=pl.col("decline_from_at").dt.strftime("%Y-%m-%dT%H:%M:%S"),
        anc_cells_per_ul=pl.col("decline_from_cells_per_ul").round(1),
        comparator=pl.lit(None, pl.String),
    )
    following = result_struct(
        "decline_next_id", "decline_next_at", "decline_next_cells_per_ul", "decline_next_comparator"
    )
    return fell.select(
        "patient_id",
        "specimen_id",
        episode_id=pl.lit(None, pl.String),
        rule_id="decline_rule",
        raised_at="collected_at",
        reason=pl.format(
            "ANC fell by {} % in {}, from a level of {} (mean of {}) to {} cells/uL: {} times the usual noise{}{}",
            pl.col("decline_fall_pct").round(0).cast(pl.Int64),
            days_text(pl.col("decline_days")),
            pl.col("decline_from_cells_per_ul").round(0).cast(pl.Int64),
            pl.col("decline_from_n"),
            count_text(pl.col("anc_cells_per_ul"), pl.col("anc_comparator")),
            pl.col("decline_noise_ratio").round(1),
            pl.format("; on {}", "decline_drugs").fill_null(""),
            after,
        ),
        evidence=pl.when((pl.col("decline") == "confirmed") & pl.col("decline_next_at").is_not_null())
        .then(evidence_json(level, now, following))
        .otherwise(evidence_json(level, now)),
        fall_pct="decline_fall_pct",
    )


def _falls(anc: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Every pair of a low specimen and a level of the weeks before it.

    Only specimens below the highest threshold whose count lies far enough below some result of the time that levels
    are made from are paired at all, and only patients who have both are looked at; both sides meet in the same or the
    next stretch of time, which keeps the join from growing with the square of a long history.
    """
    rule = policy.rpd_3
    reach = policy.rpd_1.window_d + policy.rpd_1.carry_d
    count = pl.col("anc_cells_per_ul")
    # The frame is in order of patient and time: the next row is the next result, if it is the same patient's.
    has_next = pl.col("patient_id") == pl.col("patient_id").shift(-1)
    has_previous = pl.col("patient_id") == pl.col("patient_id").shift(1)
    following = (
        pl.when(has_next).then(pl.col(column).shift(-1)).alias(f"decline_next_{name}")
        for name, column in (
            ("id", "specimen_id"),
            ("at", "collected_at"),
            ("cells_per_ul", "anc_cells_per_ul"),
            ("comparator", "anc_comparator"),
        )
    )
    within = policy.rpd_1.window_d * _SECONDS_PER_DAY
    backwards = -pl.col("collected_at").dt.epoch("s")
    below = max(policy.rpd_4.high_risk_below_cells_per_ul, policy.rpd_1.below_cells_per_ul)
    least = max(rule.suspected_fraction, policy.rpd_1.highest_fraction, policy.rpd_2.highest_fraction)
    may_have_fallen = (count.min() < below) & (count.min() <= count.max() * least)
    usable = (
        anc.filter(pl.col("severity").is_not_null())
        .filter(may_have_fallen.over("patient_id"))
        .sort(TIME_ORDER)
        .pipe(with_log_counts, policy)
        .pipe(with_surroundings, policy)
        .select(
            *TIME_ORDER,
            "anc_cells_per_ul",
            "anc_comparator",
            "log_count",
            "log_variance",
            "around_log",
            "around_variance",
            *following,
            previous_at=pl.when(has_previous).then(pl.col("collected_at").shift(1)),
            previous_anc=pl.when(has_previous).then(count.shift(1)),
            lowest_after=count.rolling_min_by(backwards, window_size=f"{within}i", closed="left").over("patient_id"),
            highest_after=count.rolling_max_by(backwards, window_size=f"{within}i", closed="left").over("patient_id"),
            stretch=pl.col("collected_at").dt.epoch("d") // reach,
            highest=count.rolling_max_by("collected_at", window_size=f"{reach + rule.level_d}d").over("patient_id"),
            recently=count.rolling_max_by(
                "collected_at", window_size=f"{policy.rpd_4.neutrophilia_recent_d}d", closed="both"
            ).over("patient_id"),
        )
        # Both sides of the join below; polars would work them out anew for each.
        .collect(engine="in-memory")
        .lazy()
    )
    low = usable.filter((count < below) & (count <= pl.col("highest") * least) & ~is_lower_bound()).with_columns(
        stretch=pl.concat_list("stretch", pl.col("stretch") - 1)
    )
    age = pl.col("collected_at") - pl.col("decline_from_at")
    return (
        low.explode("stretch")
        .join(levels(usable, policy), on=["patient_id", "stretch"])
        .filter((age > timedelta()) & (age <= timedelta(days=reach)))
        .with_columns(fall=pl.col("level") - pl.max_horizontal("log_count", "around_log"), decline_days=days(age))
        .with_columns(
            decline_from_cells_per_ul=pl.col("level").exp(),
            decline_fall_pct=(1 - count / pl.col("level").exp()) * 100,
            decline_noise_ratio=pl.col("fall") / (pl.col("level_variance") + pl.col("around_variance")).sqrt(),
        )
    )


def _with_tests(falls: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Keep the falls that are large, fast and clear enough; add ``is_large``, ``is_early`` and ``is_clear``."""
    rule, halving, fall = policy.rpd_3, policy.rpd_1, policy.rpd_2
    count, depth, gap = pl.col("anc_cells_per_ul"), pl.col("fall"), pl.col("decline_days")
    halved = depth >= math.log(1 / halving.highest_fraction) * _pace(halving, policy).clip(lower_bound=1)
    fallen = depth >= pl.max_horizontal(
        pl.lit(math.log(1 / fall.highest_fraction)), math.log(1 / rule.fall_fraction) * _pace(fall, policy)
    )
    large = (halved & _is_in_force(halving) & (count < halving.below_cells_per_ul)) | (
        fallen & _is_in_force(fall) & (count < fall.below_cells_per_ul)
    )
    early = (
        (depth >= math.log(1 / rule.suspected_fraction))
        & (depth >= math.log(2) * gap / rule.suspected_halving_d)
        & (gap <= rule.suspected_window_d)
    )
    high = policy.rpd_4.neutrophilia_above_cells_per_ul
    from_neutrophilia = (count >= policy.rpd_4.normal_from_cells_per_ul) & (
        (pl.col("decline_from_cells_per_ul") > high) | (pl.col("recently") > high)
    )
    return falls.with_columns(
        is_large=large, is_early=early, is_clear=pl.col("decline_noise_ratio") >= rule.noise_ratio
    ).filter(
        ~from_neutrophilia
        & (
            (pl.col("is_large") & pl.col("is_clear"))
            | (pl.col("is_early") & (pl.col("decline_noise_ratio") >= rule.suspected_noise_ratio))
        )
    )


def _pace(window: RapidDeclineRule, policy: Policy) -> pl.Expr:
    """By how much a fall since an older level must be larger: the root of the gap in windows; 1 where the count was back
    within the window of RPD-1 after it, since what recovers so fast has fallen fast."""
    was_back = pl.col("highest_after") >= policy.rpd_3.agrees_fraction * pl.col("decline_from_cells_per_ul")
    return pl.when(was_back.fill_null(False)).then(1.0).otherwise((pl.col("decline_days") / window.window_d).sqrt())


def _is_in_force(window: RapidDeclineRule) -> pl.Expr:
    """The level is inside the window, or the last before it opened and not older than the carry (RPD-1)."""
    opens_at = pl.col("collected_at") - timedelta(days=window.window_d)
    is_carried = (pl.col("followed_at") > opens_at) & (pl.col("decline_days") <= window.window_d + window.carry_d)
    return (pl.col("decline_days") <= window.window_d) | is_carried.fill_null(False)


def _with_high_risk(falls: pl.LazyFrame, high_risk: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``decline_drugs`` and ``is_on_drug``: on a current drug of high risk; ``is_rpd_4``: and halved within the week to the range above RPD-1."""
    rule = policy.rpd_4
    halved = (
        (pl.col("fall") >= math.log(1 / rule.high_risk_fraction))
        & (pl.col("decline_days") <= rule.high_risk_window_d)
        & pl.col("anc_cells_per_ul").is_between(
            policy.rpd_1.below_cells_per_ul, rule.high_risk_below_cells_per_ul, closed="left"
        )
    )
    on_drug = drugs_given(falls, high_risk).rename({"drugs": "decline_drugs"})
    is_on_drug = pl.col("decline_drugs").is_not_null()
    return falls.join(on_drug, on=SPECIMEN, how="left").with_columns(
        is_on_drug=is_on_drug, is_rpd_4=halved & is_on_drug
    )


def _with_course(falls: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``decline``, ``decline_rule`` and ``has_decline``: the fall in the light of the results around it.

    Above the limit of suspicion only falls on a drug of high risk stay: confirmed as RPD-4 asks for, else suspected.
    """
    rule = policy.rpd_3
    wait = pl.col("decline_next_at") - pl.col("collected_at")
    following = pl.col("decline_next_cells_per_ul")
    within = timedelta(days=policy.rpd_1.window_d)
    # A second result that agrees is low, and nearer to the fall than to the level.
    lowest = pl.col("anc_cells_per_ul").clip(lower_bound=policy.noise.lowest_cells_per_ul)
    low_enough = pl.min_horizontal(
        pl.col("decline_from_cells_per_ul") * rule.agrees_fraction,
        (pl.col("decline_from_cells_per_ul") * lowest).sqrt(),
    )
    is_back = (following >= low_enough) & ~is_upper_bound("decline_next_comparator")
    was_low_before = (
        (pl.col("previous_at") > pl.col("decline_from_at"))
        & (pl.col("collected_at") - pl.col("previous_at") <= within)
        & (pl.col("previous_anc") < low_enough)
    )
    is_low_after = pl.col("lowest_after") < low_enough
    agrees = (
        (~is_back & (wait <= within)).fill_null(False) | is_low_after.fill_null(False) | was_low_before.fill_null(False)
    )
    too_soon = (
        pl.when(pl.col("is_large") & pl.col("is_clear"))
        .then((wait <= timedelta(days=rule.rebound_d)) & (following >= policy.rpd_4.normal_from_cells_per_ul))
        .otherwise(wait <= timedelta(days=rule.suspected_rebound_d))
    )
    is_rpd_4 = pl.col("is_rpd_4") & agrees
    # A single result that the next one does not bear out must be clearer.
    is_clear_alone = pl.col("decline_next_at").is_null() | (
        pl.col("decline_noise_ratio") >= rule.unconfirmed_noise_ratio
    )
    is_low = pl.col("anc_cells_per_ul") < rule.suspected_below_cells_per_ul
    decline = (
        pl.when((is_back & too_soon).fill_null(False))
        .then(pl.lit("contradicted"))
        .when((pl.col("is_clear") & agrees & is_low) | is_rpd_4)
        .then(pl.lit("confirmed"))
        .when(pl.col("is_large") & pl.col("is_clear") & is_clear_alone)
        .then(pl.lit("unconfirmed"))
        .otherwise(pl.lit("suspected"))
    )
    return (
        falls.filter(is_low | pl.col("is_on_drug"))
        .with_columns(decline=decline, decline_rule=pl.when(is_rpd_4).then(pl.lit("RPD-4")).otherwise(pl.lit("RPD-3")))
        .with_columns(
            has_decline=pl.col("decline").is_in(["confirmed", "unconfirmed"])
            | ((pl.col("decline") == "suspected") & pl.col("decline_next_at").is_null())
        )
    )

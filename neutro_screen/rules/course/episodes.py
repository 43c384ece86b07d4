"""Episodes of neutropenia and their course (EPI-1, EPI-2, EPI-4, EPI-5)."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.rules.counts.specimens import TIME_ORDER

_SECONDS_PER_DAY: Final = 86_400


def days(duration: pl.Expr) -> pl.Expr:
    """A duration in days, as a fraction."""
    return duration.dt.total_seconds() / _SECONDS_PER_DAY


def with_episode_numbers(anc: pl.LazyFrame) -> pl.LazyFrame:
    """Keep the results with a severity, in order of time, and number each patient's runs of low ones (EPI-1).

    Adds ``is_low``, ``episode`` (UInt32, counts within the patient), the neighbours ``previous_at``,
    ``previous_anc``, ``previous_is_low``, ``next_at`` and ``next_is_low`` (null at the ends). A result whose severity
    is unknown neither starts nor ends an episode; a preliminary one may start an episode and never ends it.
    """
    reads = pl.col("notes").fill_null("")
    is_preliminary = reads.str.contains("preliminary", literal=True) & ~reads.str.contains(
        "status_unknown", literal=True
    )
    before, after = pl.col("patient_id").shift(1), pl.col("patient_id").shift(-1)
    same_before, same_after = (pl.col("patient_id") == before), (pl.col("patient_id") == after)
    return (
        anc.filter(pl.col("severity").is_not_null() & ~(is_preliminary & (pl.col("severity") == pl.lit("normal"))))
        .sort(TIME_ORDER)
        .with_columns(is_low=pl.col("severity") > pl.lit("normal"))
        .with_columns(
            previous_at=pl.when(same_before).then(pl.col("collected_at").shift(1)),
            previous_anc=pl.when(same_before).then(pl.col("anc_cells_per_ul").shift(1)),
            previous_severity=pl.when(same_before).then(pl.col("severity").shift(1)),
            previous_is_low=pl.when(same_before).then(pl.col("is_low").shift(1)),
            next_at=pl.when(same_after).then(pl.col("collected_at").shift(-1)),
            next_is_low=pl.when(same_after).then(pl.col("is_low").shift(-1)),
        )
        .with_columns(episode=(pl.col("is_low") & ~pl.col("previous_is_low").fill_null(False)).cum_sum())
    )


def episodes_per_patient(numbered: pl.LazyFrame, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    """One row per episode with the columns of ``Episode``; ``is_cyclic`` and ``cycle_days`` are filled in later.

    ``numbered`` comes from ``with_episode_numbers``. Besides, ``course``: new, worsening, recovering or ongoing as of the
    last result, which the passing of time does not change.
    """
    rule = policy.episode
    # The last value of an open episode is carried nowhere: what follows is not known.
    until_next = pl.min_horizontal(pl.col("next_at") - pl.col("collected_at"), timedelta(days=rule.carry_d))
    carried = pl.when(pl.col("next_at").is_not_null()).then(days(until_next)).otherwise(0.0)
    lowest = pl.struct("anc_cells_per_ul", pl.col("anc_comparator").is_null(), "collected_at")
    severe = pl.col("severity") >= pl.lit("severe")
    at_severe = pl.col("collected_at").filter(severe)
    episodes = (
        numbered.filter("is_low")
        .with_columns(carried=carried, by_depth=lowest)
        .group_by("patient_id", "episode")
        .agg(
            started_at=pl.col("collected_at").min(),
            last_low_at=pl.col("collected_at").max(),
            last_normal_at=pl.col("previous_at").sort_by(TIME_ORDER).first(),
            last_normal_cells_per_ul=pl.col("previous_anc").sort_by(TIME_ORDER).first(),
            ended_at=pl.col("next_at").sort_by(TIME_ORDER).last(),
            nadir_cells_per_ul=pl.col("anc_cells_per_ul").sort_by("by_depth").first(),
            nadir_comparator=pl.col("anc_comparator").sort_by("by_depth").first(),
            nadir_at=pl.col("collected_at").sort_by("by_depth").first(),
            worst_severity=pl.col("severity").max(),
            current_severity=pl.col("severity").sort_by(TIME_ORDER).last(),
            previous_severity=pl.col("previous_severity").sort_by(TIME_ORDER).last(),
            n_results=pl.len().cast(pl.Int64),
            n_severe=severe.sum(),
            severe_span=at_severe.max() - at_severe.min(),
            **{
                f"days_{name}": pl.col("carried").filter(pl.col("severity") == pl.lit(name)).sum().round(6)
                for name in ("mild", "moderate", "severe", "profound")
            },
        )
        .sort("patient_id", "started_at")
    )
    low_span = pl.col("last_low_at") - pl.col("started_at")
    nth_before = pl.col("started_at").shift(rule.recurrent_n - 1).over("patient_id", order_by="started_at")
    is_persistent = low_span >= timedelta(days=rule.persistent_d)
    return episodes.with_columns(
        episode_id=pl.concat_str("patient_id", pl.col("started_at").dt.strftime("/%Y-%m-%dT%H:%M")),
        duration_days=days(pl.coalesce("ended_at", "last_low_at") - pl.col("started_at")),
        recovery_days=days(pl.col("ended_at") - pl.col("nadir_at")),
        is_persistent=is_persistent,
        is_severe_chronic=(pl.col("n_severe") >= rule.severe_chronic_n)
        & (pl.col("severe_span") >= timedelta(days=rule.severe_chronic_d)).fill_null(False),
        is_recurrent=(pl.col("started_at") - nth_before <= timedelta(days=rule.recurrent_d)).fill_null(False),
        is_prolonged_profound=pl.col("days_severe") + pl.col("days_profound") >= rule.prolonged_profound_d,
        is_cyclic=pl.lit(False),
        cycle_days=pl.lit(None, pl.Float64),
        is_isolated_low=(pl.col("n_results") == 1)
        & (pl.col("started_at") - pl.col("last_normal_at") <= timedelta(days=rule.isolated_low_d)).fill_null(False)
        & (pl.col("ended_at") - pl.col("started_at") <= timedelta(days=rule.isolated_low_d)).fill_null(False),
        course=_course(policy),
        status=episode_status(policy, as_of),
        notes=pl.when(is_persistent & (pl.col("n_results") < rule.persistent_minimum_n)).then(
            pl.lit("persistent_sparse")
        ),
    ).drop("episode", "n_severe", "severe_span", "previous_severity")


def episode_status(policy: Policy, as_of: datetime) -> pl.Expr:
    """Status at the index time (EPI-5): resolved, stale, worsening, recovering, new or ongoing.

    Worsening: the last result is in a worse band than the one before it. Recovering: it is in a better one than the
    worst. New: the first low result is no older than the policy's ``new_d``.
    """
    is_new = pl.lit(as_of) - pl.col("started_at") <= timedelta(days=policy.worklist.new_d)
    return (
        pl.when(pl.col("ended_at").is_not_null())
        .then(pl.lit("resolved"))
        .when(pl.lit(as_of) - pl.col("last_low_at") > timedelta(days=policy.episode.stale_d))
        .then(pl.lit("stale"))
        .otherwise(_moving(is_new))
    )


def _course(policy: Policy) -> pl.Expr:
    """``episode_status`` of an open episode as it was at its last low result."""
    return _moving(pl.col("last_low_at") - pl.col("started_at") <= timedelta(days=policy.worklist.new_d))


def _moving(is_new: pl.Expr) -> pl.Expr:
    worsening = (pl.col("current_severity") > pl.col("previous_severity")).fill_null(False)
    return (
        pl.when(worsening & (pl.col("n_results") > 1))
        .then(pl.lit("worsening"))
        .when(pl.col("current_severity") < pl.col("worst_severity"))
        .then(pl.lit("recovering"))
        .when(is_new)
        .then(pl.lit("new"))
        .otherwise(pl.lit("ongoing"))
    )


def with_deaths(episodes: pl.LazyFrame, deaths: pl.LazyFrame) -> pl.LazyFrame:
    """Close the open episodes of patients whose death is recorded (EPI-6): status ``died``.

    ``deaths`` comes from ``recorded_deaths``.
    """
    dead = deaths.select("patient_id", "died_on")
    is_dead = pl.col("died_on").is_not_null() & pl.col("ended_at").is_null()
    return (
        episodes.join(dead, on="patient_id", how="left", maintain_order="left")
        .with_columns(status=pl.when(is_dead).then(pl.lit("died")).otherwise("status"))
        .drop("died_on")
    )


def recorded_deaths(patients: pl.LazyFrame, anc: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """``patient_id, died_on``: the deaths of ``Patient`` up to the index time.

    A death with a count collected later than the day after it is not believed: one of the two is wrong, and the patient
    stays on the list.
    """
    latest = anc.group_by("patient_id").agg(latest_on=pl.col("collected_at").max().dt.date())
    return (
        patients.group_by("patient_id")
        .agg(died_on=pl.col("death_date").min())
        .filter(pl.col("died_on") <= pl.lit(as_of).dt.date())
        .join(latest, on="patient_id", how="left")
        .filter((pl.col("latest_on") <= pl.col("died_on").dt.offset_by("1d")).fill_null(True))
        .select("patient_id", "died_on")
    )

"""Cyclic neutropenia: a periodogram on the few patients who were counted often enough and fell low twice (EPI-3)."""

from datetime import timedelta
from math import lgamma
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neutro_screen.reference import Policy
from neutro_screen.rules.counts.specimens import TIME_ORDER
from neutro_screen.rules.course.episodes import days

FloatArray = NDArray[np.float64]

#: Trial periods per independent frequency of a series: finer than this the power no longer changes.
_OVERSAMPLING: Final = 10
#: Far above the rounding of 1 / (1 / period), far below a minute.
_SLACK: Final = 1e-9


def cyclic_series(anc: pl.DataFrame, policy: Policy, cytotoxic: pl.DataFrame) -> pl.DataFrame:
    """The series of results that are cyclic (EPI-3).

    Columns: patient_id, started_at, last_at, cycle_days, n_cycles (of the period within the series),
    n_troughs, false_alarm_probability. ``cytotoxic`` (patient_id, first_exposure, last_exposure; Date, null = still
    given) are exposures whose effect is expected: a series that one reaches into is explained and not cyclic.

    A series is a run of results without a long pause. Lomb-Scargle power of the logarithm, the mean fitted with it;
    false-alarm probability by Baluev (2008, MNRAS 385:1279), which accounts for all the periods tried. Troughs count
    once per cycle of the period found.
    """
    candidates = _candidates(anc.lazy(), policy, cytotoxic.lazy()).collect(engine="in-memory")
    found = [_judge(series, policy) for _, series in candidates.group_by("series", maintain_order=True)]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "patient_id": pl.String,
        "started_at": pl.Datetime("us"),
        "last_at": pl.Datetime("us"),
        "cycle_days": pl.Float64,
        "n_cycles": pl.Float64,
        "n_troughs": pl.Int64,
        "false_alarm_probability": pl.Float64,
    }
    rule = policy.cyclic
    return (
        pl.DataFrame(found, schema=schema)
        .filter(
            (pl.col("false_alarm_probability") < rule.false_alarm_probability)
            & (pl.col("n_cycles") >= rule.minimum_cycles)
            & (pl.col("n_troughs") >= rule.minimum_troughs)
        )
        .sort("patient_id", "started_at")
    )


def with_cyclic(episodes: pl.LazyFrame, series: pl.DataFrame) -> pl.LazyFrame:
    """Set ``is_cyclic`` and ``cycle_days`` of the episodes that lie in a cyclic series (``cyclic_series``)."""
    spans = series.lazy().select("patient_id", "last_at", series_at="started_at", found="cycle_days")
    inside = (
        episodes.select("patient_id", "episode_id", "started_at", "last_low_at")
        .join(spans, on="patient_id")
        .filter((pl.col("started_at") <= pl.col("last_at")) & (pl.col("last_low_at") >= pl.col("series_at")))
        .sort("episode_id", "series_at")
        .unique("episode_id", keep="last", maintain_order=True)
        .select("episode_id", "found")
    )
    return (
        episodes.join(inside, on="episode_id", how="left", maintain_order="left")
        .with_columns(is_cyclic=pl.col("found").is_not_null(), cycle_days="found")
        .drop("found")
    )


def _candidates(anc: pl.LazyFrame, policy: Policy, cytotoxic: pl.LazyFrame) -> pl.LazyFrame:
    rule = policy.cyclic
    # In order of patient and time the row before is the result before, if it is the same patient's.
    gap = pl.when(pl.col("patient_id") == pl.col("patient_id").shift(1)).then(pl.col("collected_at").diff())
    measured = anc.filter(pl.col("severity").is_not_null() & ~pl.col("anc_method").str.ends_with("upper_bound"))
    # Every trough is a low count: of most patients there are too few of them for any series.
    highest_trough = max(rule.trough_below_cells_per_ul, rule.low_below_cells_per_ul)
    often_low = (
        measured.filter(pl.col("anc_cells_per_ul") < highest_trough)
        .group_by("patient_id")
        .len()
        .filter(pl.col("len") >= rule.minimum_troughs)
    )
    numbered = (
        measured.join(often_low, on="patient_id", how="semi")
        .sort(TIME_ORDER)
        .select(*TIME_ORDER, "anc_cells_per_ul", gap=gap)
        # Numbered through all patients.
        .with_columns(series=(pl.col("gap") > timedelta(days=rule.largest_gap_d)).fill_null(True).cum_sum())
        .filter(pl.len().over("series") >= rule.minimum_n)
        .with_columns(
            day=days(pl.col("collected_at") - pl.col("collected_at").min().over("series")),
            median=pl.col("anc_cells_per_ul").median().over("series"),
        )
        .with_columns(
            is_trough=(pl.col("anc_cells_per_ul") < rule.trough_below_cells_per_ul)
            | (
                (pl.col("anc_cells_per_ul") < pl.col("median") * rule.trough_fraction_of_median)
                & (pl.col("anc_cells_per_ul") < rule.low_below_cells_per_ul)
            )
        )
    )
    # The first gap of a series is the pause before it.
    inner = pl.col("gap").sort_by("day").slice(1)
    # No period tried finds more troughs than the shortest one: a series that has too few of them needs no periodogram.
    half = rule.period_from_d / 2 * (1 - _SLACK)
    apart = (pl.col("day").filter("is_trough").sort().diff() >= half).sum()
    spans = (
        numbered.group_by("series")
        .agg(
            pl.col("patient_id").first(),
            spacing=inner.median(),
            started_at=pl.col("collected_at").min(),
            last_at=pl.col("collected_at").max(),
            n_low=pl.col("is_trough").sum(),
            n_troughs=1 + apart,
        )
        .filter(
            (pl.col("n_low") >= rule.minimum_troughs)
            & (pl.col("n_troughs") >= rule.minimum_troughs)
            & (pl.col("spacing") <= timedelta(days=rule.median_spacing_d))
            & (pl.col("last_at") - pl.col("started_at") >= timedelta(days=rule.minimum_cycles * rule.period_from_d))
        )
    )
    explained = (
        spans.join(cytotoxic.select("patient_id", "first_exposure", "last_exposure"), on="patient_id")
        .filter(
            (pl.col("first_exposure") <= pl.col("last_at").dt.date())
            & (
                pl.col("last_exposure") >= (pl.col("started_at") - timedelta(days=rule.cytotoxic_before_d)).dt.date()
            ).fill_null(True)
        )
        .select("series")
        .unique()
    )
    return numbered.join(spans.join(explained, on="series", how="anti"), on="series", how="semi").sort(TIME_ORDER)


def _judge(series: pl.DataFrame, policy: Policy) -> dict[str, object]:
    rule = policy.cyclic
    day = series["day"].to_numpy()
    log_anc = np.log(series["anc_cells_per_ul"].clip(lower_bound=policy.noise.lowest_cells_per_ul).to_numpy())
    span = float(day[-1])
    slowest, fastest = 1 / rule.period_to_d, 1 / rule.period_from_d
    n_trials = max(int(np.ceil((fastest - slowest) * span * _OVERSAMPLING)), _OVERSAMPLING)
    frequencies = np.linspace(slowest, fastest, n_trials)
    power = periodogram(day, log_anc, frequencies)
    best = int(np.argmax(power))
    period = float(1 / frequencies[best])
    return {
        "patient_id": series["patient_id"][0],
        "started_at": series["collected_at"].min(),
        "last_at": series["collected_at"].max(),
        "cycle_days": period,
        "n_cycles": span / period,
        "n_troughs": _troughs(day, series["is_trough"].to_numpy(), period),
        "false_alarm_probability": false_alarm_probability(float(power[best]), day, fastest - slowest),
    }


def periodogram(day: FloatArray, level: FloatArray, frequencies: FloatArray) -> FloatArray:
    """Share of the variance (0 ... 1) that a sinusoid with a free mean explains at each frequency (cycles per day).

    The generalised Lomb-Scargle power (Zechmeister & Kuerster 2009, A&A 496:577, equations 5 to 15) with equal weights;
    0 where the level does not vary. ``scipy.signal.lombscargle`` gives the same (a test holds the two together), but
    importing it takes a fifth of a small night.
    """
    centred = level - level.mean()
    variance = float(np.mean(centred**2))
    if not variance:
        return np.zeros_like(frequencies)
    angle = 2 * np.pi * np.outer(frequencies, day)
    cos, sin = np.cos(angle), np.sin(angle)
    cos -= cos.mean(axis=1, keepdims=True)
    sin -= sin.mean(axis=1, keepdims=True)
    with_cos, with_sin = (wave @ centred / len(day) for wave in (cos, sin))
    cos_cos, sin_sin, cos_sin = (np.mean(one * other, axis=1) for one, other in ((cos, cos), (sin, sin), (cos, sin)))
    explained = sin_sin * with_cos**2 + cos_cos * with_sin**2 - 2 * cos_sin * with_cos * with_sin
    power: FloatArray = explained / (variance * (cos_cos * sin_sin - cos_sin**2))
    return power


def _troughs(day: FloatArray, is_trough: NDArray[np.bool_], period: float) -> int:
    """Troughs at least half a period apart: the low results of one trough count once."""
    low_days = day[is_trough]
    return 0 if not low_days.size else 1 + int((np.diff(low_days) >= period / 2).sum())


def false_alarm_probability(power: float, day: FloatArray, bandwidth: float) -> float:
    """Chance that noise alone reaches this normalised power (0 ... 1) at any frequency of the band (Baluev 2008).

    ``bandwidth`` in cycles per day; the extreme-value approximation for a sinusoid with a free mean.
    """
    n = len(day)
    width = bandwidth * np.sqrt(4 * np.pi * np.var(day))
    gamma = np.sqrt(2 / (n - 1)) * np.exp(lgamma((n - 1) / 2) - lgamma((n - 2) / 2))
    single = (1 - power) ** ((n - 3) / 2)
    crossings = gamma * width * (1 - power) ** ((n - 4) / 2) * np.sqrt((n - 1) / 2 * power)
    return float(1 - (1 - single) * np.exp(-crossings))

"""Cyclic neutropenia (EPI-3)."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from neutro_screen.reference import load_policy
from neutro_screen.rules.course.cyclic import cyclic_series, false_alarm_probability, periodogram, with_cyclic
from tests.spec.counts import DAY_0, counts, exposures

POLICY = load_policy()
THREE_A_WEEK = [7 * week + day for week in range(9) for day in (0, 2, 4)]
NO_CYCLES = exposures("patient | first | last").collect()


def series(anc: Callable[[int], float], days: list[int] = THREE_A_WEEK) -> pl.DataFrame:
    rows = "\n".join(f"A | {day} | {anc(day):.0f}" for day in days)
    return counts(f"patient | day | anc\n{rows}").collect()


def cycle(period: float, trough: float = 100.0, peak: float = 2600.0) -> Callable[[int], float]:
    return lambda day: peak * (trough / peak) ** (((1 + math.cos(2 * math.pi * day / period)) / 2) ** 3)


@pytest.mark.parametrize("period", [15, 18, 21, 23])
def test_epi_3_three_counts_a_week_show_the_period(period: float) -> None:
    found = cyclic_series(series(cycle(period)), POLICY, NO_CYCLES)
    assert found.height == 1
    assert found["cycle_days"][0] == pytest.approx(period, abs=0.7)
    assert found["n_troughs"][0] >= 2


def test_epi_3_less_than_two_and_a_half_periods_are_no_cycle() -> None:
    assert cyclic_series(series(cycle(26)), POLICY, NO_CYCLES).is_empty()


def test_epi_3_one_fall_and_recovery_is_no_cycle() -> None:
    once = series(lambda day: 3000 if not 20 <= day <= 34 else 200)
    assert cyclic_series(once, POLICY, NO_CYCLES).is_empty()


def test_epi_3_noise_around_a_steady_low_count_is_no_cycle() -> None:
    chance = np.random.default_rng(5)
    steady = {day: 700 * math.exp(chance.normal(0, 0.17)) for day in THREE_A_WEEK}
    assert cyclic_series(series(lambda day: steady[day]), POLICY, NO_CYCLES).is_empty()


def test_epi_3_swings_of_a_neutrophilia_are_no_cyclic_neutropenia() -> None:
    assert cyclic_series(series(cycle(21, trough=3000, peak=20000)), POLICY, NO_CYCLES).is_empty()


@pytest.mark.parametrize("days", [[3 * step for step in range(9)], [9 * step for step in range(12)]])
def test_epi_3_fewer_than_ten_results_or_wider_than_a_week_cannot_show_it(days: list[int]) -> None:
    assert cyclic_series(series(cycle(21), days), POLICY, NO_CYCLES).is_empty()


@pytest.mark.parametrize(
    ("first", "last", "n_found"), [("1", "43", 0), ("-27", "-27", 0), ("-90", "-60", 1), ("70", "", 1)]
)
def test_epi_3_cytotoxic_cycles_explain_it(first: str, last: str, n_found: int) -> None:
    given = exposures(f"patient | first | last\nA | {first} | {last}").collect()
    assert cyclic_series(series(cycle(21)), POLICY, given).height == n_found


def test_epi_3_the_episodes_of_the_series_are_marked() -> None:
    found = cyclic_series(series(cycle(21)), POLICY, NO_CYCLES)
    span = pl.datetime(DAY_0.year, DAY_0.month, 1, 8)
    episodes = pl.LazyFrame({"patient_id": ["A", "A", "B"], "episode_id": ["in", "after", "other"]}).with_columns(
        started_at=(span + pl.duration(days=pl.Series([20, 200, 20]))).cast(pl.Datetime("us")),
        last_low_at=(span + pl.duration(days=pl.Series([24, 202, 24]))).cast(pl.Datetime("us")),
        is_cyclic=pl.lit(False),
        cycle_days=pl.lit(None, pl.Float64),
    )
    marked = episodes.pipe(with_cyclic, found).collect()
    assert marked["is_cyclic"].to_list() == [True, False, False]
    assert marked["cycle_days"].to_list() == [found["cycle_days"][0], None, None]


def test_the_false_alarm_probability_bounds_how_often_noise_reaches_a_power() -> None:
    """Of 400 series of pure noise no more than about 1 % may pass at 0.01."""
    from scipy.signal import lombscargle

    chance = np.random.default_rng(11)
    days = np.array(THREE_A_WEEK, dtype=float)
    frequencies = np.linspace(1 / 36, 1 / 14, 40)
    passed = 0
    for _ in range(400):
        power = lombscargle(
            days, chance.normal(0, 1, days.size), 2 * np.pi * frequencies, normalize=True, floating_mean=True
        ).max()
        passed += false_alarm_probability(float(power), days, 1 / 14 - 1 / 36) < 0.01
    assert passed <= 10
    assert false_alarm_probability(0.95, days, 1 / 14 - 1 / 36) < 1e-9
    assert false_alarm_probability(0.05, days, 1 / 14 - 1 / 36) > 0.5


def test_the_periodogram_is_that_of_scipy() -> None:
    from scipy.signal import lombscargle  # slow to import, which is why the product has its own

    rng = np.random.default_rng(3)
    frequencies = np.linspace(1 / 36, 1 / 14, 60)
    for n in (10, 27, 80):
        day = np.sort(rng.uniform(0, 150, n))
        level = np.sin(2 * np.pi * day / 21) + rng.normal(0, 1, n)
        expected = lombscargle(day, level, 2 * np.pi * frequencies, normalize=True, floating_mean=True)
        assert periodogram(day, level, frequencies) == pytest.approx(expected, abs=1e-9)


def test_a_level_that_never_changes_has_no_period() -> None:
    assert not periodogram(np.arange(30.0), np.full(30, 5.0), np.linspace(1 / 36, 1 / 14, 9)).any()

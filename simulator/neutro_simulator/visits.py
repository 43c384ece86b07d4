"""When blood is taken: the schedule of each setting, as days a patient; NaN where there is no further visit."""

import numpy as np

from neutro_simulator.parameters import FloatArray, draw, number, numbers
from neutro_simulator.scenario import Group


def outpatient(group: Group, gap: str = "outpatient_gap_days") -> FloatArray:
    """Sparse visits over the whole history, at gaps drawn from the named entry of [visits]."""
    history = number("grid", "history_days")
    shortest = numbers("visits", gap)[2]
    gaps = draw(group.rng, "visits", gap, (group.size, int(history / shortest) + 1))
    days = -history + np.cumsum(gaps, axis=1) - gaps[:, :1] * group.rng.random((group.size, 1))
    return _until(days, np.zeros(group.size))


def at(*days: FloatArray) -> FloatArray:
    """Single visits: one day a patient and column."""
    return np.column_stack(days)


def every(start: FloatArray, stop: FloatArray, gap_days: float) -> FloatArray:
    """Regular visits from start to stop."""
    longest = np.nanmax(np.append(stop - start, 0.0))
    return _until(start[:, None] + np.arange(int(longest / gap_days) + 1) * gap_days, stop)


def clozapine(start: FloatArray) -> FloatArray:
    """A count before the first dose, then weekly, two-weekly, monthly (US label)."""
    weekly, two_weekly, monthly = numbers("visits", "clozapine_gaps_days")
    first = number("visits", "clozapine_weekly_until_days")
    second = number("visits", "clozapine_two_weekly_until_days")
    since = np.concatenate(
        [
            np.array([-2.0]),
            np.arange(weekly, first + 1, weekly),
            np.arange(first + two_weekly, second + 1, two_weekly),
            np.arange(second + monthly, number("grid", "history_days") + 1, monthly),
        ]
    )
    return _until(start[:, None] + since, np.zeros(len(start)))


def chemotherapy(start: FloatArray, cycles: FloatArray, cycle_days: float, nadir_day: FloatArray) -> FloatArray:
    """The day before each dose and about the nadir of each cycle, and one count after the last."""
    cycle = np.arange(int(cycles.max()) + 1)
    doses = start[:, None] + cycle * cycle_days
    before = np.where(cycle <= cycles[:, None], doses - 1.0, np.nan)
    about_nadir = np.where(cycle < cycles[:, None], doses + nadir_day[:, None], np.nan)
    return np.concatenate([before, about_nadir], axis=1)


def cyclic(start: FloatArray) -> FloatArray:
    """Three counts a week for nine weeks."""
    gaps = numbers("visits", "cyclic_gaps_days")
    weeks = int(number("visits", "cyclic_weeks"))
    return np.asarray(start[:, None] + np.concatenate([[0.0], np.cumsum(np.tile(gaps, weeks))])[None, :])


def together(*schedules: FloatArray) -> FloatArray:
    """All visits of several schedules in the order of their days."""
    return np.sort(np.concatenate(schedules, axis=1), axis=1)


def _until(days: FloatArray, stop: FloatArray) -> FloatArray:
    return np.where(days <= stop[:, None], days, np.nan)

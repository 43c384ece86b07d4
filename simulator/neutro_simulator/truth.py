"""What truly happened, from the noise-free course: the measure of the screen (RULES.md RPD-3)."""

from datetime import datetime

import numpy as np
import polars as pl

from neutro_simulator.parameters import FloatArray, number
from neutro_simulator.scenario import Scenario

MICROSECONDS_PER_DAY = 86_400_000_000


def moment(day: pl.Expr, midnight: datetime) -> pl.Expr:
    """A day of the simulation as a time, to the minute."""
    micros = (day * MICROSECONDS_PER_DAY).round(0).cast(pl.Int64)
    return (pl.lit(midnight) + pl.duration(microseconds=micros)).dt.truncate("1m")


def rapid_decline_day(anc: FloatArray, days: FloatArray) -> FloatArray:
    """First day on which a course has halved within 14 days to below 2000, or fallen by 30 % within 7 days to below
    1500 cells/µL (RULES.md RPD-3); NaN where that never happens. One row a patient."""
    halved = (anc <= number("true_decline", "halving_fraction") * _highest(anc, days, "halving_window_days")) & (
        anc < number("true_decline", "halving_below")
    )
    fallen = (anc <= number("true_decline", "fall_fraction") * _highest(anc, days, "fall_window_days")) & (
        anc < number("true_decline", "fall_below")
    )
    declined = halved | fallen
    return np.where(declined.any(axis=1), days[declined.argmax(axis=1)], np.nan)


def _highest(anc: FloatArray, days: FloatArray, window: str) -> FloatArray:
    """The highest value of the days up to and including each grid point."""
    steps = round(number("true_decline", window) / (days[1] - days[0]))
    highest, width = anc.copy(), 1
    # Two windows of one width, shifted against each other, make a wider one: a few passes instead of one a step.
    while width < steps + 1:
        shift = min(width, steps + 1 - width)
        highest[:, shift:] = np.maximum(highest[:, shift:], highest[:, :-shift])
        width += shift
    return highest


def shown_by_sampling(specimens: pl.DataFrame) -> pl.DataFrame:
    """For each patient, whether the specimens taken could show a rapid decline at all.

    Takes patient, day, true_anc (noise-free). Applies RULES.md RPD-1 and RPD-2 with their carry to the noise-free
    values at the sampling times. Returns patient, sampling_could_show_it.
    """
    values = specimens.select("patient", "day", "true_anc")
    halving, fall = number("true_decline", "halving_window_days"), number("true_decline", "fall_window_days")
    halved = pl.col("true_anc") <= number("true_decline", "seen_halving_fraction") * pl.col(f"highest_{halving:g}")
    fallen = pl.col("true_anc") <= number("true_decline", "seen_fall_fraction") * pl.col(f"highest_{fall:g}")
    return (
        values.lazy()
        .join(values.lazy().rename({"day": "earlier_day", "true_anc": "earlier_anc"}), on="patient")
        .filter(pl.col("earlier_day") <= pl.col("day"))
        .with_columns((pl.col("day") - pl.col("earlier_day")).alias("gap"))
        .group_by("patient", "day", "true_anc")
        .agg(_highest_with_carry(halving), _highest_with_carry(fall))
        .group_by("patient")
        .agg(
            (
                (halved & (pl.col("true_anc") < number("true_decline", "halving_below")))
                | (fallen & (pl.col("true_anc") < number("true_decline", "fall_below")))
            )
            .any()
            .alias("sampling_could_show_it")
        )
        .sort("patient")
        .collect()
    )


def _highest_with_carry(window: float) -> pl.Expr:
    """Highest value of the window, the last value before it included if not older than the carry allows."""
    inside = pl.col("gap") <= window
    before = pl.col("gap") > window
    last_before = before & (pl.col("gap") == pl.col("gap").filter(before).min())
    carried = last_before & (pl.col("gap") <= window + number("true_decline", "carry_days"))
    return pl.col("earlier_anc").filter(inside | carried).max().alias(f"highest_{window:g}")


def true_course(
    scenario: Scenario, days: FloatArray, ids: pl.Series, midnight: datetime, until_day: float
) -> pl.DataFrame:
    """patient_id, at, anc_cells_per_ul (noise-free): every six hours on days of change, else once a day."""
    steps_per_day = round(1.0 / (days[1] - days[0]))
    known = days <= until_day
    anc, days = scenario.anc[:, known], days[known]
    daily = np.arange(len(days)) % steps_per_day == 0
    log_anc = np.log(anc)
    moved = np.abs(np.diff(log_anc, axis=1, prepend=log_anc[:, :1])) * steps_per_day
    kept = daily[None, :] | (moved > number("grid", "change_shown"))
    patient, step = np.nonzero(kept)
    return pl.DataFrame({"patient": patient, "day": days[step], "anc_cells_per_ul": anc[patient, step]}).select(
        ids.gather(patient).alias("patient_id"),
        moment(pl.col("day"), midnight).alias("at"),
        pl.col("anc_cells_per_ul").round(1),
    )


def truth(
    cause: str,
    scenario: Scenario,
    days: FloatArray,
    ids: pl.Series,
    midnight: datetime,
    until_day: float,
    taken: pl.DataFrame,
) -> pl.DataFrame:
    """One row a patient: what the screen should find, over the course up to the index time."""
    known = days <= until_day
    anc, days = scenario.anc[:, known], days[known]
    decline = rapid_decline_day(anc, days)
    shown = shown_by_sampling(taken)
    return (
        pl.DataFrame(
            {
                "patient": np.arange(len(ids)),
                "patient_id": ids,
                "cause": [cause] * len(ids),
                "causal_ingredient": list(scenario.ingredient),
                "onset_day": np.where(scenario.onset_day <= until_day, scenario.onset_day, np.nan),
                "true_nadir_cells_per_ul": anc.min(axis=1),
                "nadir_day": days[anc.argmin(axis=1)],
                "cycle_days": scenario.cycle_days,
                "decline_day": decline,
            },
            schema_overrides={"causal_ingredient": pl.String},
        )
        .join(shown, on="patient", how="left", maintain_order="left")
        .with_columns(pl.col("onset_day", "cycle_days", "decline_day").fill_nan(None))
        .select(
            "patient_id",
            "cause",
            "causal_ingredient",
            moment(pl.col("onset_day"), midnight).alias("onset_at"),
            pl.col("true_nadir_cells_per_ul").round(1),
            moment(pl.col("nadir_day"), midnight).alias("true_nadir_at"),
            pl.col("cycle_days").is_not_null().alias("is_cyclic"),
            pl.col("cycle_days").round(2),
            pl.col("decline_day").is_not_null().alias("has_true_rapid_decline"),
            moment(pl.col("decline_day"), midnight).alias("rapid_decline_at"),
            (pl.col("sampling_could_show_it").fill_null(value=False) & pl.col("decline_day").is_not_null()).alias(
                "sampling_could_show_it"
            ),
        )
    )

"""Blood is taken: planned visits, and repeats that get denser as long as the count seen is low."""

import numpy as np
import polars as pl

from neutro_simulator.parameters import HOURS_PER_DAY, FloatArray, draw, number
from neutro_simulator.scenario import Group, OtherLines, Scenario

DIFFERENTIAL = ("lymphocytes", "monocytes", "eosinophils", "basophils")


def specimens(scenario: Scenario, group: Group, until_day: float) -> pl.DataFrame:
    """One row a blood specimen, before any laboratory has counted it.

    Columns: patient (position in the group), number (of the patient's specimen), day, resulted_day, true_anc
    (noise-free), and what circulates at that moment, with biological variation: anc, bands, lymphocytes, monocytes,
    eosinophils, basophils, blasts (cells/µL), haemoglobin (g/dL), platelets (10*9/L), mcv (fL).
    """
    taken = _taken(scenario, group, until_day)
    if scenario.seen_until is not None:
        taken = taken.filter(taken["day"] <= pl.Series(scenario.seen_until[taken["patient"].to_numpy()]))
    rng, person = group.rng, taken["patient"].to_numpy()
    day = taken["day"].to_numpy()
    size = len(person)
    reached = _reached(scenario, day, person)
    anc = taken["anc"].to_numpy()
    columns: dict[str, FloatArray] = {
        "bands": anc * _varied(rng, scenario.bands_fraction[person], 0.3).clip(max=0.5),
        "blasts": _varied(rng, scenario.blasts[person] * reached, 0.2),
    }
    for line in DIFFERENTIAL:
        own = draw(rng, "healthy", line, group.size)[person]
        columns[line] = _varied(rng, own * _changed(scenario.lines, line, reached), number("noise", "cv_within_person"))
    for line, variation in (("haemoglobin", "cv_haemoglobin"), ("platelets", "cv_platelets"), ("mcv", "cv_mcv")):
        own = draw(rng, "healthy", line, group.size)[person]
        columns[line] = _varied(rng, own * _changed(scenario.lines, line, reached), number("noise", variation))
    after = draw(rng, "visits", "result_after_hours", size) / HOURS_PER_DAY
    return taken.with_columns(
        pl.Series("resulted_day", day + after), *(pl.Series(name, values) for name, values in columns.items())
    ).filter(pl.col("resulted_day") < until_day)


def _taken(scenario: Scenario, group: Group, until_day: float) -> pl.DataFrame:
    """Goes from visit to visit for all patients at once; the next is the next planned one or the repeat, if sooner."""
    rng = group.rng
    planned = np.sort(scenario.visits, axis=1)  # NaN last
    planned = np.where(np.isnan(planned) | (planned < group.days[0]), np.inf, planned)
    planned.sort(axis=1)
    everyone = np.arange(group.size)
    next_day = planned[:, 0] if planned.shape[1] else np.full(group.size, np.inf)
    low_run = np.zeros(group.size)
    spread = np.sqrt(np.log1p(number("noise", "cv_within_person") ** 2))
    limits = np.array([number("severity", name) for name in ("severe_below", "moderate_below", "normal_from")])
    repeats = np.array(
        [number("visits", f"repeat_after_{name}_days") for name in ("severe", "moderate", "mild")] + [np.inf]
    )
    dense = number("visits", "dense_repeats")
    parts: list[dict[str, FloatArray]] = []
    count = np.zeros(group.size)
    while len(active := everyone[np.floor(next_day) < until_day]):
        hours = draw(rng, "visits", "morning_hours", len(active))
        day = np.floor(next_day[active]) + hours / HOURS_PER_DAY
        true_anc = _at(scenario.anc, group.days, active, day)
        seen = true_anc * np.exp(rng.normal(0.0, spread, len(active)))
        false_low = np.floor(scenario.artefact_visit[active]) == np.floor(day)
        seen = np.where(false_low, seen * scenario.artefact_fraction[active], seen)
        count[active] += 1
        parts.append(
            {
                "patient": active.astype(np.float64),
                "number": count[active],
                "day": day,
                "true_anc": true_anc,
                "anc": seen,
            }
        )
        low_run[active] = np.where(seen < limits[-1], low_run[active] + 1, 0)
        gap = repeats[np.searchsorted(limits, seen, side="right")]
        repeat = np.where(low_run[active] <= dense, np.floor(day) + gap, np.inf)
        position = (np.floor(planned[active]) <= np.floor(day)[:, None]).sum(axis=1)
        following = np.where(
            position < planned.shape[1], planned[active, np.minimum(position, planned.shape[1] - 1)], np.inf
        )
        next_day[active] = np.minimum(repeat, following)
    merged = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0)
        for name in ("patient", "number", "day", "true_anc", "anc")
    }
    return pl.DataFrame(merged).with_columns(pl.col("patient", "number").cast(pl.Int64)).sort("patient", "number")


def _at(
    anc: FloatArray, days: FloatArray, patient: np.ndarray[tuple[int], np.dtype[np.intp]], day: FloatArray
) -> FloatArray:
    """The true course between two grid points, straight on the log scale."""
    step = days[1] - days[0]
    position = np.clip((day - days[0]) / step, 0, len(days) - 1.001)
    left = position.astype(np.intp)
    part = position - left
    log_left, log_right = np.log(anc[patient, left]), np.log(anc[patient, left + 1])
    return np.asarray(np.exp(log_left * (1 - part) + log_right * part))


def _reached(scenario: Scenario, day: FloatArray, person: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    """How far the other cell lines have come towards their changed level: 0 before onset, 1 at the end."""
    since = day - scenario.onset_day[person]
    return np.nan_to_num(np.clip(since / scenario.lines.days, 0.0, 1.0))


def _changed(lines: OtherLines, line: str, reached: FloatArray) -> FloatArray:
    return 1.0 + (getattr(lines, line, 1.0) - 1.0) * reached


def _varied(rng: np.random.Generator, level: FloatArray, variation: float) -> FloatArray:
    spread = np.sqrt(np.log1p(variation**2))
    return level * np.exp(rng.normal(0.0, spread, len(level)))

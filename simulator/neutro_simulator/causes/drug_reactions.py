"""Idiosyncratic drug reactions: a fall some time after the first dose, at the latency of the drug."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from neutro_simulator import visits
from neutro_simulator.causes.care import still_given, with_care
from neutro_simulator.parameters import FloatArray, number, text
from neutro_simulator.scenario import Drug, Group, Scenario, coded, given, ingredients, outline


def clozapine(group: Group) -> Scenario:
    """Life-threatening agranulocytosis: a continuous fall, > 2 to < 0.5 G/L in a mean of 8.4 days (Taylor 2022)."""
    baseline, nadir = group.draw("anc"), group.draw("nadir")
    rate = np.log(4.0) / group.draw("two_to_half_days")
    fall = np.log(baseline / nadir) / rate
    return _drug_fall(group, baseline, nadir, fall, visits.clozapine, "oral", "F20.0")


def antithyroid(group: Group) -> Scenario:
    """Agranulocytosis of thiamazole, carbimazole or propylthiouracil: acute, mostly in the first three months."""

    def schedule(start: FloatArray) -> FloatArray:
        return visits.every(start - 3.0, np.zeros(len(start)), number("visits", "antithyroid_gap_days"))

    return _drug_fall(group, group.draw("anc"), group.draw("nadir"), group.draw("fall_days"), schedule, "oral", "E05.0")


def beta_lactam(group: Group) -> Scenario:
    """Neutropenia of a long intravenous beta-lactam course, counted daily in hospital or weekly outside it."""

    def schedule(start: FloatArray) -> FloatArray:
        gap = np.where(
            group.share("daily_share"), number("visits", "inpatient_gap_days"), number("visits", "opat_gap_days")
        )
        daily = start[:, None] + np.arange(int(number(group.cause, "course_days")))
        return np.where((daily - start[:, None]) % gap[:, None] == 0, daily, np.nan)

    return _drug_fall(group, group.draw("anc"), group.draw("nadir"), group.draw("fall_days"), schedule, "iv", "I33.0")


def rituximab(group: Group) -> Scenario:
    """Late-onset neutropenia weeks to months after the last dose of rituximab (Wolach 2010)."""
    onset = group.draw("onset_day")
    last_dose = onset - group.draw("latency_days")
    doses = np.floor(group.draw("doses"))
    baseline, nadir, fall = group.draw("anc"), group.draw("nadir"), group.draw("fall_days")
    anc = group.drawn_dip(baseline, onset, fall, nadir)
    drugs = group.drugs()
    gap = number(group.cause, "dose_gap_days")
    given_doses = [
        given(drugs, np.where(doses > index, last_dose - index * gap, np.nan), last_dose - index * gap, "iv")
        for index in range(int(doses.max()))
    ]
    seen = onset + fall + group.delay()
    planned = visits.together(visits.outpatient(group), visits.at(last_dose - 1.0, onset - 14.0, seen))
    scenario = replace(
        outline(group, anc, planned),
        onset_day=onset,
        ingredient=ingredients(drugs),
        medications=pl.concat(given_doses),
        diagnoses=coded("C83.3", last_dose - doses * gap),
    )
    return with_care(group, scenario)


def steroid_masked(group: Group) -> Scenario:
    """A drug fall hidden by a corticosteroid while that lasts (RULES.md MASK-1)."""
    onset, fall = group.draw("onset_day"), group.draw("fall_days")
    start = onset - group.draw("latency_days")
    stay, recovery, masked = group.draw("nadir_days"), group.draw("recovery_days"), group.draw("steroid_days")
    bare = group.dip(group.draw("anc"), onset, fall, group.draw("nadir"), stay, recovery)
    on_steroid = (group.days[None, :] >= onset[:, None]) & (group.days[None, :] < (onset + masked)[:, None])
    # The effect comes and goes over about a day; a jump of the count between two grid points would be no course.
    weight = _smoothed(on_steroid.astype(np.float64))
    anc = bare * np.exp(np.log(number(group.cause, "mask_factor")) * weight)
    drugs = group.drugs()
    steroid = Drug.parse(text(group.cause, "steroid"))
    planned = visits.every(start - 3.0, onset + stay + 30.0, number("visits", "antithyroid_gap_days"))
    seen = visits.at(onset + fall, onset + masked + 3.0)
    scenario = outline(group, anc, visits.together(visits.outpatient(group), planned, seen))
    stopped = still_given(onset + fall + group.draw("stopped_after_days"))
    scenario = replace(
        scenario,
        onset_day=onset,
        ingredient=ingredients(drugs),
        medications=pl.concat(
            [given(drugs, start, stopped, "oral"), given([steroid] * group.size, onset - 1.0, onset + masked, "oral")]
        ),
        diagnoses=coded("E05.0", start),
    )
    return with_care(group, scenario)


def _drug_fall(
    group: Group,
    baseline: FloatArray,
    nadir: FloatArray,
    fall: FloatArray,
    schedule: Callable[[FloatArray], FloatArray],
    route: str,
    indication: str,
) -> Scenario:
    """A fall some time after the first dose, found at a visit or by its symptoms; the drug stopped; recovery."""
    onset = group.draw("onset_day")
    start = onset - group.draw("latency_days")
    anc = group.drawn_dip(baseline, onset, fall, nadir)
    severe = group.below(anc, number("severity", "severe_below"), onset)
    found = np.where(np.isnan(severe), onset + fall, severe)
    drugs = group.drugs()
    seen = found + group.delay()
    scenario = outline(group, anc, visits.together(visits.outpatient(group), schedule(start), visits.at(seen)))
    scenario = replace(
        scenario,
        onset_day=onset,
        ingredient=ingredients(drugs),
        medications=given(drugs, start, still_given(found + group.draw("stopped_after_days")), route),
        diagnoses=coded(indication, start),
    )
    return with_care(group, scenario)


def _smoothed(weight: FloatArray, steps: int = 5) -> FloatArray:
    kernel = np.ones(steps) / steps
    return np.vstack([np.convolve(row, kernel, mode="same") for row in weight])

"""Idiosyncratic drug reactions: a fall some time after the first dose, at the latency of the drug."""

from collections.abc import Callable
from dataclasses import dataclass, replace

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
    return after_last_dose(group, "C83.3")


def after_last_dose(group: Group, indication: str) -> Scenario:
    """A fall that comes long after the last of several doses; all numbers from the group's own section."""
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
        diagnoses=coded(indication, last_dose - doses * gap),
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
    reaction = Reaction(start, onset, fall, group.drugs())
    return reacting(group, anc, reaction, schedule, route, indication)


@dataclass(frozen=True)
class Reaction:
    """A drug fall, a value a patient: day of the first dose, day and length of the fall, the drugs.

    beside: other drugs and their first day, stopped on the same day as the drug.
    """

    start: FloatArray
    onset: FloatArray
    fall: FloatArray
    drugs: list[Drug]
    beside: tuple[tuple[list[Drug], FloatArray], ...] = ()


def reacting(
    group: Group,
    anc: FloatArray,
    reaction: Reaction,
    schedule: Callable[[FloatArray], FloatArray],
    route: str,
    indication: str,
) -> Scenario:
    """The scenario of a drug fall: found at a visit or by its symptoms, the drug stopped, the fever treated.

    schedule: planned visits from the day of the first dose. indication: ICD-10 code, recorded on that day.
    """
    severe = group.below(anc, number("severity", "severe_below"), reaction.onset)
    found = np.where(np.isnan(severe), reaction.onset + reaction.fall, severe)
    seen = found + group.delay()
    planned = visits.together(visits.outpatient(group), schedule(reaction.start), visits.at(seen))
    scenario = outline(group, anc, planned)
    stopped = still_given(found + group.draw("stopped_after_days"))
    taken = ((reaction.drugs, reaction.start), *reaction.beside)
    scenario = replace(
        scenario,
        onset_day=reaction.onset,
        ingredient=ingredients(reaction.drugs),
        medications=pl.concat([given(drugs, start, stopped, route) for drugs, start in taken]),
        diagnoses=coded(indication, reaction.start),
    )
    return with_care(group, scenario)


def _smoothed(weight: FloatArray, steps: int = 5) -> FloatArray:
    kernel = np.ones(steps) / steps
    return np.vstack([np.convolve(row, kernel, mode="same") for row in weight])

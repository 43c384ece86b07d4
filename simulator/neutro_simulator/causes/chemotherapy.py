"""Cytotoxic courses: cycles whose nadir is expected (RULES.md DRG-5)."""

from dataclasses import replace

import numpy as np
import polars as pl

from neutro_simulator import visits
from neutro_simulator.causes.care import FEVER_AFTER_DAYS, rescue
from neutro_simulator.myelosuppression import CELLS_PER_GIGA, Treatment, neutrophils, regimens
from neutro_simulator.parameters import HOURS_PER_DAY, FloatArray, number, numbers, text
from neutro_simulator.scenario import Drug, Group, Scenario, acting, coded, given, ingredients, outline, temperatures

#: Position of the late falls in too_long_deep_late.
LATE = 2


def chemotherapy(group: Group) -> Scenario:
    """Cycles of docetaxel, paclitaxel or etoposide by the model of Friberg 2002, with spread between patients."""
    rng, size = group.rng, group.size
    cycle_days = number(group.cause, "cycle_days")
    names = regimens()
    which = rng.integers(0, len(names), size)
    cycles = np.floor(group.draw("cycles") + 0.5)
    start = rng.uniform(-number("grid", "history_days") + 60, -3, size)
    surface = group.draw("body_surface")
    nadir_visit = np.empty(size)
    anc = np.empty((size, len(group.days)))
    medications = []
    drugs = [Drug(None, "", "")] * size
    for index, regimen in enumerate(names):
        of_regimen = np.flatnonzero(which == index)
        if not len(of_regimen):
            continue
        treatment = _treatment(group, regimen, surface[of_regimen], cycles[of_regimen])
        anc[of_regimen] = _courses(group.days, treatment, start[of_regimen])
        low, high = numbers(f"regimen.{regimen}", "literature_nadir_day")
        nadir_visit[of_regimen] = rng.uniform(low, high, len(of_regimen))
        drug = Drug.parse(text(f"regimen.{regimen}", "drug"))
        for patient in of_regimen:
            drugs[patient] = drug
        medications += _doses(drug, np.where(which == index, start, np.nan), cycles, treatment)
    severe = group.below(anc, number("severity", "severe_below"), start)
    fever, helped = group.share("fever_share"), group.share("filgrastim_share")
    planned = visits.chemotherapy(start, cycles, cycle_days, nadir_visit)
    scenario = outline(group, anc, visits.together(visits.outpatient(group), planned))
    return replace(
        scenario,
        onset_day=group.below(anc, number("severity", "normal_from"), start),
        ingredient=ingredients(drugs),
        lines=group.other_lines(days=cycle_days),
        medications=pl.concat([*medications, *rescue(group, severe, fever, helped)]),
        diagnoses=coded("C50.9", start - 20.0),
        events=temperatures(group, severe + FEVER_AFTER_DAYS, fever),
        actions=acting(group.cause, start, drugs, "expected"),
    )


def _treatment(group: Group, regimen: str, surface: FloatArray, cycles: FloatArray) -> Treatment:
    """The regimen's typical patient with the spread between patients; surface in m2, a value a patient."""
    section = f"regimen.{regimen}"
    spread = {
        name: np.exp(group.rng.normal(0.0, number(group.cause, f"{name}_log_sd"), len(surface)))
        for name in ("circ0", "mtt", "slope", "clearance")
    }
    usual = number(section, "circ0") * CELLS_PER_GIGA * spread["circ0"]
    return Treatment(
        regimen=regimen,
        circ0=np.maximum(usual, number(group.cause, "baseline_minimum")),
        mtt=number(section, "mtt_hours") * spread["mtt"],
        slope=number(section, "slope_per_um") * spread["slope"],
        dose_mg=number(section, "dose_mg_per_m2") * surface,
        clearance=spread["clearance"],
        cycles=cycles,
        cycle_days=number(group.cause, "cycle_days"),
    )


def _courses(days: FloatArray, treatment: Treatment, start: FloatArray) -> FloatArray:
    """The counts on the grid, a row a patient: baseline before the first dose, the model's last value after its end."""
    span = int((treatment.cycles.max() + 2) * treatment.cycle_days)
    course = neutrophils(treatment, span)
    hours = np.arange(course.shape[1]) / HOURS_PER_DAY
    return np.vstack([np.interp(days - first, hours, row) for first, row in zip(start, course, strict=True)])


def _doses(drug: Drug, start: FloatArray, cycles: FloatArray, treatment: Treatment) -> list[pl.DataFrame]:
    """Medication rows of each cycle; NaN starts belong to patients on another regimen."""
    last_day = numbers(f"regimen.{treatment.regimen}", "dose_days")[-1]
    rows = []
    for cycle in range(int(cycles.max())):
        first = np.where(cycles > cycle, start + cycle * treatment.cycle_days, np.nan)
        rows.append(given([drug] * len(start), first, first + last_day, "iv", f"cycle {cycle + 1}"))
    return rows


def chemotherapy_beyond(group: Group) -> Scenario:
    """A course that leaves what is expected (RULES.md DRG-5): its last nadir too long or too deep, or a fall too late
    after its last dose, which the drug does not explain.
    """
    usual = replace(group, cause="chemotherapy")
    scenario = chemotherapy(usual)
    dose = _last_dose(group, scenario)
    course = np.searchsorted(np.cumsum(numbers(group.cause, "too_long_deep_late")), group.rng.random(group.size))
    levels, stays, delays = (
        np.vstack([group.draw(f"{too}_{what}") for too in ("long", "deep", "late")])
        for what in ("level", "days", "after_days")
    )
    everyone = np.arange(group.size)
    onset = dose + delays[course, everyone]
    fall = np.full(group.size, number(group.cause, "fall_days"))
    stay = stays[course, everyone]
    begins = np.nan_to_num(onset, nan=np.inf)
    worse = group.dip(scenario.anc[:, 0], begins, fall, levels[course, everyone], stay, group.draw("recovery_days"))
    counted = visits.every(onset + fall, onset + fall + stay + 20.0, number(group.cause, "visit_gap_days"))
    drugs = [Drug(ingredient, "", "") for ingredient in scenario.ingredient]
    is_late = course == LATE
    actions = [
        scenario.actions,
        acting(group.cause, np.where(is_late, np.nan, dose), drugs, "beyond_expected"),
        acting("after_chemotherapy", np.where(is_late, onset, np.nan)),
    ]
    return replace(
        scenario,
        anc=np.minimum(scenario.anc, worse),
        visits=visits.together(scenario.visits, counted),
        actions=pl.concat(actions),
    )


def _last_dose(group: Group, scenario: Scenario) -> FloatArray:
    """The first day of the last cycle that each patient has had long enough for its fall to begin; NaN without one."""
    given_by_now = (pl.col("start_day") <= -number(group.cause, "fall_days")) & pl.col("dose").str.starts_with("cycle")
    last = scenario.medications.filter(given_by_now).group_by("patient").agg(pl.col("start_day").max())
    everyone = pl.DataFrame({"patient": np.arange(group.size)})
    by_patient = everyone.join(last, on="patient", how="left", maintain_order="left")
    return np.asarray(by_patient["start_day"].fill_null(np.nan).to_numpy(), dtype=np.float64)

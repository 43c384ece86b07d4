"""Neutrophils after chemotherapy: the semi-mechanistic model of Friberg 2002 (J Clin Oncol 20:4713).

Proliferating cells, three maturing stages and the circulating cells; the drug kills in proportion to its plasma
concentration, and few circulating cells raise proliferation:

    prol'  = ktr * prol * (1 - slope * C) * (circ0 / circ) ** gamma - ktr * prol
    stage' = ktr * (previous stage - stage)          three times
    circ'  = ktr * (third stage - circ)              ktr = 4 / mean transit time
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from neutro_simulator.parameters import HOURS_PER_DAY, FloatArray, all_parameters, entry, number, numbers

CELLS_PER_GIGA = 1000.0
MICROMOLES = 1000.0
MATURING_STAGES = 3


@dataclass(frozen=True)
class Disposition:
    """Plasma concentration of a unit dose as a sum of exponentials: coefficients in 1/L, rates in 1/h."""

    coefficients: FloatArray
    rates: FloatArray


@dataclass(frozen=True)
class Treatment:
    """One course for each patient: arrays of one value a patient unless said otherwise.

    circ0 in cells/µL, mtt in h, slope in L/µmol, dose in mg, cycles a count; dose_days are the days of a cycle.
    """

    regimen: str
    circ0: FloatArray
    mtt: FloatArray
    slope: FloatArray
    dose_mg: FloatArray
    clearance: FloatArray
    cycles: FloatArray
    cycle_days: float


def regimens() -> tuple[str, ...]:
    """The regimens that have parameters, in the order of the file."""
    return tuple(all_parameters()["regimen"])


def disposition(regimen: str) -> Disposition:
    """The drug's disposition after an intravenous dose; from micro constants where the source gives those."""
    section = f"regimen.{regimen}"
    if "micro_constants" not in all_parameters()["regimen"][regimen]:
        return Disposition(
            np.array(numbers(section, "coefficients_per_l")), np.array(numbers(section, "rates_per_hour"))
        )
    volume, k10, k12, k21, k13, k31 = numbers(section, "micro_constants")
    matrix = np.array([[-(k10 + k12 + k13), k21, k31], [k12, -k21, 0.0], [k13, 0.0, -k31]])
    values, vectors = np.linalg.eig(matrix)
    weights = np.linalg.solve(vectors, np.array([1.0, 0.0, 0.0]))
    return Disposition((vectors[0] * weights).real / volume, -values.real)


def mean_concentration(regimen: str, hours: FloatArray) -> FloatArray:
    """Mean plasma concentration, in µmol/L for 1 mg given, over each step between the hours since the infusion began.

    The mean over the step, not the value at its end: an infusion of an hour must not fall between two steps.
    """
    section = f"regimen.{regimen}"
    infusion, molar_mass = number(section, "infusion_hours"), number(section, "molar_mass")
    drug = disposition(regimen)
    since = hours[:, None]
    during = np.clip(since, 0.0, infusion)
    after = np.clip(since - infusion, 0.0, None)
    a, k = drug.coefficients, drug.rates
    # Area under the curve of a constant infusion: rising part, then washing out.
    rising = (during - (1.0 - np.exp(-k * during)) / k) / k
    washing = (1.0 - np.exp(-k * infusion)) * (1.0 - np.exp(-k * after)) / k**2
    area = (a * (rising + washing)).sum(axis=1) / infusion
    return np.asarray(np.diff(area) / np.diff(hours) * MICROMOLES / molar_mass)


def neutrophils(treatment: Treatment, days: int, step_hours: float = 1.0) -> FloatArray:
    """ANC in cells/µL, a row a patient, a column each step from the first dose to `days` after it.

    Proliferation is integrated on the log scale with the mean concentration of the step, which stays exact where the
    drug effect is steep.
    """
    section = f"regimen.{treatment.regimen}"
    gamma = number(section, "gamma")
    steps = int(days * HOURS_PER_DAY / step_hours)
    hours = np.arange(steps + 1, dtype=np.float64) * step_hours
    exposure = np.zeros((len(treatment.circ0), steps))
    for cycle in range(int(treatment.cycles.max())):
        given = (treatment.cycles > cycle).astype(np.float64) * treatment.dose_mg / treatment.clearance
        for day in numbers(section, "dose_days"):
            start = (cycle * treatment.cycle_days + day) * HOURS_PER_DAY
            exposure += given[:, None] * mean_concentration(treatment.regimen, hours - start)
    effect = treatment.slope[:, None] * exposure

    rate = (MATURING_STAGES + 1) / treatment.mtt
    moved = 1.0 - np.exp(-rate * step_hours)
    log_proliferating = np.zeros(len(rate))
    stages = [np.ones(len(rate)) for _ in range(MATURING_STAGES)]
    circulating = np.ones(len(rate))
    course = np.empty((len(rate), steps + 1))
    course[:, 0] = 1.0
    for step in range(steps):
        feedback = circulating**-gamma
        before = np.exp(log_proliferating)
        log_proliferating = log_proliferating + rate * step_hours * ((1.0 - effect[:, step]) * feedback - 1.0)
        # What arrives in a stage is the mean of the stage before it over the step.
        arriving = (before + np.exp(log_proliferating)) / 2.0
        for index, stage in enumerate(stages):
            stages[index] = stage + moved * (arriving - stage)
            arriving = (stage + stages[index]) / 2.0
        circulating = circulating + moved * (arriving - circulating)
        course[:, step + 1] = circulating
    return course * treatment.circ0[:, None]


def typical_treatment(regimen: str, cycles: int = 1) -> Treatment:
    """The published typical patient, without spread between patients."""
    section = f"regimen.{regimen}"
    surface = float(entry("chemotherapy", "body_surface")["value"][0])
    return Treatment(
        regimen=regimen,
        circ0=np.array([number(section, "circ0") * CELLS_PER_GIGA]),
        mtt=np.array([number(section, "mtt_hours")]),
        slope=np.array([number(section, "slope_per_um")]),
        dose_mg=np.array([number(section, "dose_mg_per_m2") * surface]),
        clearance=np.ones(1),
        cycles=np.array([float(cycles)]),
        cycle_days=number("chemotherapy", "cycle_days"),
    )


def regimen_courses() -> pl.DataFrame:
    """Nadir and recovery of the typical patient of each regimen, beside the literature.

    Columns: regimen, nadir_day, nadir_cells_per_ul, recovery_day (first day after the nadir at 80 % of baseline),
    and literature_… low and high of each, with the source. One cycle, days counted from the first dose.
    """
    rows = []
    recovered_fraction = number("chemotherapy", "recovered_fraction")
    for regimen in regimens():
        section = f"regimen.{regimen}"
        step_hours = 1.0
        course = neutrophils(typical_treatment(regimen), days=35, step_hours=step_hours)[0]
        nadir = int(course.argmin())
        recovered = nadir + int((course[nadir:] >= recovered_fraction * course[0]).argmax())
        row: dict[str, object] = {
            "regimen": regimen,
            "nadir_day": round(nadir * step_hours / HOURS_PER_DAY, 1),
            "nadir_cells_per_ul": round(float(course[nadir])),
            "recovery_day": round(recovered * step_hours / HOURS_PER_DAY, 1),
        }
        scales = {"nadir_day": 1.0, "nadir": CELLS_PER_GIGA, "recovery_day": 1.0}
        for name, scale in scales.items():
            low, high = numbers(section, f"literature_{name}")
            row |= {f"literature_{name}_low": low * scale, f"literature_{name}_high": high * scale}
            row[f"literature_{name}_source"] = entry(section, f"literature_{name}")["source"]
        rows.append(row)
    return pl.DataFrame(rows)

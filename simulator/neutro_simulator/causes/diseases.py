"""Diseases that lower the count: infection, marrow, immune, constitutional."""

from dataclasses import replace

import numpy as np
import polars as pl

from neutro_simulator import visits
from neutro_simulator.causes.care import FEVER_AFTER_DAYS, rescue, with_care
from neutro_simulator.parameters import FloatArray, number, texts
from neutro_simulator.scenario import DAYS_PER_YEAR, Group, Scenario, coded, happened, measured, outline, temperatures

FOREVER = np.inf


def viral(group: Group) -> Scenario:
    """A short fall in the first week of a viral illness, found because the patient comes with it."""
    onset, fall = group.draw("onset_day"), group.draw("fall_days")
    anc = group.drawn_dip(group.draw("anc"), onset, fall, group.draw("nadir"))
    seen = onset + fall + group.delay()
    travelled = group.share("travel_share", "bystanders")
    scenario = outline(group, anc, visits.together(visits.outpatient(group), visits.at(seen)))
    cared = with_care(group, replace(scenario, onset_day=onset, lines=group.other_lines(days=5.0)))
    markers = texts(group.cause, "markers")
    exposed = onset - number(group.cause, "incubation_days")
    return replace(
        cared,
        markers=measured(markers, group.rng.integers(0, len(markers), group.size).astype(np.float64), seen),
        events=pl.concat([cared.events, happened("travel", exposed, "West Africa", travelled)]),
        diagnoses=coded("B34.9", seen),
    )


def hiv(group: Group) -> Scenario:
    """Slow mild neutropenia with lymphopenia in untreated HIV infection."""
    scenario, seen = _slow(group, "HIV")
    markers = texts(group.cause, "markers")
    tests = [measured(markers, np.full(group.size, float(index)), seen + 2.0) for index in range(len(markers))]
    known = group.rng.random(group.size) < 0.5
    return replace(scenario, markers=pl.concat(tests), diagnoses=coded("B20", seen + 5.0, known))


def leukaemia(group: Group) -> Scenario:
    """Acute leukaemia: neutrophils, haemoglobin and platelets fall over weeks while blasts appear."""
    scenario, seen = _slow(group, "leukaemia")
    marrow = group.share("marrow_share", "bystanders")
    severe = group.below(scenario.anc, number("severity", "severe_below"), scenario.onset_day)
    fever = group.share("fever_share")
    blasts = group.draw("blasts")
    medications = pl.concat(rescue(group, severe, fever, np.zeros(group.size, dtype=np.bool_)))
    fevers = temperatures(group, severe + FEVER_AFTER_DAYS, fever)
    examined = happened("bone_marrow", seen + 3.0, "acute leukaemia", marrow)
    return replace(
        scenario,
        blasts=blasts,
        medications=medications,
        diagnoses=coded("C92.0", seen + 6.0, marrow),
        events=pl.concat([scenario.events, fevers, examined]),
    )


def mds(group: Group) -> Scenario:
    """Myelodysplasia: slow pancytopenia with a high MCV in the old."""
    scenario, seen = _slow(group, "MDS")
    marrow = group.share("marrow_share", "bystanders")
    examined = happened("bone_marrow", seen + 14.0, "dysplasia", marrow)
    return replace(
        scenario, diagnoses=coded("D46.9", seen + 20.0, marrow), events=pl.concat([scenario.events, examined])
    )


def b12_deficiency(group: Group) -> Scenario:
    """Megaloblastic pancytopenia of vitamin B12 deficiency."""
    scenario, seen = _slow(group, "B12")
    return replace(scenario, markers=measured(texts(group.cause, "markers"), np.zeros(group.size), seen + 1.0))


def autoimmune(group: Group) -> Scenario:
    """Chronic isolated neutropenia with slow swings and antibodies."""
    rng, size = group.rng, group.size
    level = group.draw("anc")
    swing, length = number(group.cause, "swing_log_sd"), number(group.cause, "swing_days")
    knots = np.arange(group.days[0], group.days[-1] + 2 * length, length)
    swings = rng.normal(0.0, swing, (size, len(knots)))
    anc = np.vstack([np.exp(np.interp(group.days, knots, row)) for row in swings]) * level[:, None]
    anc = np.minimum(anc, number("severity", "normal_from") - 1.0)
    start = group.days[0] + rng.uniform(5, 60, size)
    markers = texts(group.cause, "markers")
    return replace(
        outline(group, anc, visits.outpatient(group, "chronic_gap_days")),
        onset_day=np.full(size, group.days[0]),
        markers=measured(markers, rng.integers(0, len(markers), size).astype(np.float64), start + 40.0),
        diagnoses=coded("D70.8", start + 60.0, rng.random(size) < 0.5),
        events=happened("smear_review", start + 10.0, "neutropenia, no blasts", rng.random(size) < 0.5),
    )


def cyclic(group: Group) -> Scenario:
    """Cyclic neutropenia: about 21 days, below 200 cells/µL for some days of each cycle."""
    rng, size = group.rng, group.size
    period, trough, peak = group.draw("period_days"), group.draw("trough"), group.draw("peak")
    phase = rng.random(size)
    angle = 2.0 * np.pi * (group.days[None, :] / period[:, None] + phase[:, None])
    depth = ((1.0 + np.cos(angle)) / 2.0) ** number(group.cause, "sharpness")
    anc = peak[:, None] * np.exp(np.log(trough / peak)[:, None] * depth)
    start = group.draw("onset_day").clip(max=-7.0 * number("visits", "cyclic_weeks"))
    low = group.below(anc, number("severity", "severe_below"), start)
    return replace(
        outline(group, anc, visits.together(visits.outpatient(group), visits.cyclic(start))),
        onset_day=np.full(size, group.days[0]),
        cycle_days=period,
        events=temperatures(group, low + 2.0, group.share("fever_share")),
        diagnoses=coded("D70.4", start + 70.0, rng.random(size) < 0.5),
    )


def congenital(group: Group) -> Scenario:
    """Severe congenital neutropenia of an infant: low from the first count, monocytosis."""
    age = group.draw("age_days")
    born = -age
    first = born + group.draw("first_count_day")
    marrow = group.share("marrow_share", "bystanders")
    planned = visits.together(visits.at(first), visits.outpatient(group, "chronic_gap_days"))
    anc = group.steady(group.draw("anc"))
    return replace(
        outline(group, anc, np.where(planned >= first[:, None], planned, np.nan)),
        onset_day=born,
        age_years=age / DAYS_PER_YEAR,
        lines=group.other_lines(),
        diagnoses=coded("D70.0", first + 30.0, marrow),
        events=happened("bone_marrow", first + 20.0, "maturation arrest", marrow),
    )


def hypersplenism(group: Group) -> Scenario:
    """A large spleen: mild and stable, with low platelets."""
    first = np.full(group.size, group.days[0])
    return replace(
        outline(group, group.steady(group.draw("anc")), visits.outpatient(group)),
        onset_day=first,
        lines=group.other_lines(),
        diagnoses=pl.concat([coded("D73.1", first + 30.0), coded("K74.6", first + 20.0)]),
    )


def _slow(group: Group, finding: str) -> tuple[Scenario, FloatArray]:
    """A disease that takes weeks or months to the count it stays at; also the day it is first seen at that count."""
    onset = group.draw("onset_day").clip(max=-30.0) - group.draw("fall_days") * 0.8
    fall = group.draw("fall_days")
    size = group.size
    anc = group.dip(group.usual("anc"), onset, fall, group.draw("anc"), np.full(size, FOREVER), np.ones(size))
    seen = onset + fall * 0.9
    smear = group.share("smear_share", "bystanders")
    scenario = replace(
        outline(group, anc, visits.together(visits.outpatient(group), visits.at(seen))),
        onset_day=onset,
        lines=group.other_lines(days=float(np.median(fall))),
        events=happened("smear_review", seen + 1.0, finding, smear),
    )
    return scenario, seen

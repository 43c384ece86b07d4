"""The causes: one function each, from a group of patients to their story. Numbers and sources: simulation.toml."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from neutro_simulator import visits
from neutro_simulator.myelosuppression import CELLS_PER_GIGA, Treatment, neutrophils, regimens
from neutro_simulator.parameters import FloatArray, draw, number, numbers, text, texts
from neutro_simulator.story import (
    BoolArray,
    Drug,
    Group,
    OtherLines,
    Story,
    coded,
    given,
    happened,
    measured,
    temperatures,
)

FOREVER = np.inf
FEVER_AFTER_DAYS = 0.3
DAYS_PER_YEAR = 365.25


def plain(group: Group, anc: FloatArray, planned: FloatArray) -> Story:
    """A story with nothing but a course and visits; the causes replace what differs."""
    nothing = np.full(group.size, np.nan)
    return Story(
        anc=anc,
        visits=planned,
        onset_day=nothing,
        ingredient=(None,) * group.size,
        cycle_days=nothing,
        age_years=group.draw("age_years"),
        artefact_visit=nothing,
        artefact_fraction=np.ones(group.size),
        blasts=np.zeros(group.size),
        bands_fraction=draw(group.rng, "healthy", "bands_fraction", group.size),
        duffy_null=("",) * group.size,
    )


def healthy(group: Group) -> Story:
    """A steady normal count and now and then a blood test."""
    return plain(group, group.steady(group.draw("anc")), visits.outpatient(group))


def healthy_on_clozapine(group: Group) -> Story:
    """On clozapine, counted by the label's schedule, and never low: the denominator of the clozapine cases."""
    start = group.rng.uniform(-number("grid", "history_days") + 10, -7, group.size)
    choices = [Drug.parse(written) for written in texts("clozapine", "drugs")]
    drugs = [choices[index] for index in group.rng.integers(0, len(choices), group.size)]
    story = plain(group, group.steady(group.draw("anc")), visits.clozapine(start))
    return replace(
        story, medications=given(drugs, start, np.full(group.size, np.nan), "oral"), diagnoses=coded("F20.0", start)
    )


def infection_neutrophilia(group: Group) -> Story:
    """Neutrophilia of a bacterial infection that returns to the person's normal: no rapid decline (RULES.md RPD-4)."""
    onset = group.draw("onset_day")
    baseline, peak = group.draw("anc"), group.draw("peak")
    rise, stay, recovery = group.draw("rise_days"), group.draw("peak_days"), group.draw("recovery_days")
    anc = group.dip(baseline, onset, rise, peak, stay, recovery)
    admitted = onset + rise / 2
    end = admitted + stay + recovery
    story = plain(
        group,
        anc,
        visits.together(visits.outpatient(group), visits.every(admitted, end, number("visits", "inpatient_gap_days"))),
    )
    return replace(
        story,
        onset_day=onset,
        bands_fraction=np.full(group.size, number("infection_neutrophilia", "bands_fraction")),
        medications=given(_after_fever(group), admitted, end, "iv"),
        diagnoses=coded("J18.9", admitted),
        events=temperatures(group, admitted, group.share("fever_share")),
    )


def artefact(group: Group) -> Story:
    """A true count that never changes and one falsely low specimen, repeated normal within days (RULES.md EPI-4)."""
    onset = group.draw("onset_day")
    story = plain(
        group,
        group.steady(group.draw("anc")),
        visits.together(visits.outpatient(group), visits.at(onset, onset + number("artefact", "repeat_after_days"))),
    )
    return replace(story, artefact_visit=onset, artefact_fraction=group.draw("seen_fraction"))


def duffy_null(group: Group) -> Story:
    """A lower count for life without disease: Duffy-null associated neutrophil count."""
    story = plain(group, group.steady(group.draw("anc")), visits.outpatient(group))
    recorded = group.share("recorded_share")
    return replace(story, duffy_null=tuple("true" if known else "" for known in recorded))


def chemotherapy(group: Group) -> Story:
    """Cycles of docetaxel, paclitaxel or etoposide by the model of Friberg 2002, with spread between patients."""
    rng, size = group.rng, group.size
    cycle_days = number(group.cause, "cycle_days")
    names = regimens()
    which = rng.integers(0, len(names), size)
    cycles = np.floor(group.draw("cycles") + 0.5)
    length = cycles * cycle_days
    start = rng.uniform(-number("grid", "history_days") + 60, -3, size)
    nadir_visit = np.empty(size)
    anc = np.empty((size, len(group.days)))
    medications = []
    ingredient: list[str | None] = [None] * size
    surface = group.draw("body_surface")
    for index, regimen in enumerate(names):
        of_regimen = np.flatnonzero(which == index)
        if not len(of_regimen):
            continue
        section = f"regimen.{regimen}"
        spread = {
            name: np.exp(rng.normal(0.0, number(group.cause, f"{name}_log_sd"), len(of_regimen)))
            for name in ("circ0", "mtt", "slope", "clearance")
        }
        treatment = Treatment(
            regimen=regimen,
            circ0=np.maximum(
                number(section, "circ0") * CELLS_PER_GIGA * spread["circ0"], number(group.cause, "baseline_minimum")
            ),
            mtt=number(section, "mtt_hours") * spread["mtt"],
            slope=number(section, "slope_per_um") * spread["slope"],
            dose_mg=number(section, "dose_mg_per_m2") * surface[of_regimen],
            clearance=spread["clearance"],
            cycles=cycles[of_regimen],
            cycle_days=cycle_days,
        )
        span = int(length[of_regimen].max() + 2 * cycle_days)
        course = neutrophils(treatment, span)
        hours = np.arange(course.shape[1]) / 24.0
        for row, patient in enumerate(of_regimen):
            anc[patient] = np.interp(group.days - start[patient], hours, course[row])
        low, high = numbers(section, "literature_nadir_day")
        nadir_visit[of_regimen] = rng.uniform(low, high, len(of_regimen))
        drug = Drug.parse(text(section, "drug"))
        for patient in of_regimen:
            ingredient[patient] = drug.ingredient
        days_of_cycle = numbers(section, "dose_days")
        for cycle in range(int(cycles.max())):
            doses = np.full(size, np.nan)
            doses[of_regimen] = np.where(cycles[of_regimen] > cycle, start[of_regimen] + cycle * cycle_days, np.nan)
            medications.append(given([drug] * size, doses, doses + days_of_cycle[-1], "iv", f"cycle {cycle + 1}"))
    onset = group.below(anc, number("severity", "normal_from"), start)
    severe = group.below(anc, number("severity", "severe_below"), start)
    fever = group.share("fever_share")
    helped = group.share("filgrastim_share")
    story = plain(
        group,
        anc,
        visits.together(visits.outpatient(group), visits.chemotherapy(start, cycles, cycle_days, nadir_visit)),
    )
    return replace(
        story,
        onset_day=onset,
        ingredient=tuple(ingredient),
        lines=OtherLines(
            haemoglobin=number(group.cause, "haemoglobin_fraction"),
            platelets=number(group.cause, "platelet_fraction"),
            lymphocytes=number(group.cause, "lymphocyte_fraction"),
            days=float(cycle_days),
        ),
        medications=pl.concat([*medications, *_rescue(group, severe, fever, helped)]),
        diagnoses=coded("C50.9", start - 20.0),
        events=temperatures(group, severe + FEVER_AFTER_DAYS, fever),
    )


def clozapine(group: Group) -> Story:
    """Life-threatening agranulocytosis: a continuous fall, > 2 to < 0.5 G/L in a mean of 8.4 days (Taylor 2022)."""
    baseline, nadir = group.draw("anc"), group.draw("nadir")
    rate = np.log(4.0) / group.draw("two_to_half_days")
    fall = np.log(baseline / nadir) / rate
    return _drug_fall(group, baseline, nadir, fall, visits.clozapine, "oral", "F20.0")


def antithyroid(group: Group) -> Story:
    """Agranulocytosis of thiamazole, carbimazole or propylthiouracil: acute, mostly in the first three months."""

    def schedule(start: FloatArray) -> FloatArray:
        return visits.every(start - 3.0, np.zeros(len(start)), number("visits", "antithyroid_gap_days"))

    return _drug_fall(group, group.draw("anc"), group.draw("nadir"), group.draw("fall_days"), schedule, "oral", "E05.0")


def beta_lactam(group: Group) -> Story:
    """Neutropenia of a long intravenous beta-lactam course, counted daily in hospital or weekly outside it."""

    def schedule(start: FloatArray) -> FloatArray:
        gap = np.where(
            group.share("daily_share"), number("visits", "inpatient_gap_days"), number("visits", "opat_gap_days")
        )
        daily = start[:, None] + np.arange(int(number(group.cause, "course_days")))
        return np.where((daily - start[:, None]) % gap[:, None] == 0, daily, np.nan)

    return _drug_fall(group, group.draw("anc"), group.draw("nadir"), group.draw("fall_days"), schedule, "iv", "I33.0")


def rituximab(group: Group) -> Story:
    """Late-onset neutropenia weeks to months after the last dose of rituximab (Wolach 2010)."""
    size = group.size
    onset = group.draw("onset_day")
    last_dose = onset - group.draw("latency_days")
    doses = np.floor(group.draw("doses"))
    baseline, nadir, fall = group.draw("anc"), group.draw("nadir"), group.draw("fall_days")
    anc = group.dip(baseline, onset, fall, nadir, group.draw("nadir_days"), group.draw("recovery_days"))
    drugs = group.drugs()
    gap = number(group.cause, "dose_gap_days")
    given_doses = [
        given(drugs, np.where(doses > index, last_dose - index * gap, np.nan), last_dose - index * gap, "iv")
        for index in range(int(doses.max()))
    ]
    seen = onset + fall + draw(group.rng, "visits", "late_by_days", size)
    story = plain(group, anc, visits.together(visits.outpatient(group), visits.at(last_dose - 1.0, onset - 14.0, seen)))
    return _with_care(
        group,
        replace(
            story,
            onset_day=onset,
            ingredient=tuple(drug.ingredient for drug in drugs),
            medications=pl.concat(given_doses),
            diagnoses=coded("C83.3", last_dose - doses * gap),
        ),
    )


def viral(group: Group) -> Story:
    """A short fall in the first week of a viral illness, found because the patient comes with it."""
    onset, fall = group.draw("onset_day"), group.draw("fall_days")
    anc = group.dip(
        group.draw("anc"), onset, fall, group.draw("nadir"), group.draw("nadir_days"), group.draw("recovery_days")
    )
    seen = onset + fall + draw(group.rng, "visits", "late_by_days", group.size)
    markers = texts(group.cause, "markers")
    travelled = group.rng.random(group.size) < number("bystanders", "travel_share")
    story = plain(group, anc, visits.together(visits.outpatient(group), visits.at(seen)))
    cared = _with_care(
        group,
        replace(
            story, onset_day=onset, lines=OtherLines(lymphocytes=number(group.cause, "lymphocyte_fraction"), days=5.0)
        ),
    )
    return replace(
        cared,
        markers=measured(markers, group.rng.integers(0, len(markers), group.size).astype(np.float64), seen),
        events=pl.concat(
            [cared.events, happened("travel", onset - number(group.cause, "incubation_days"), "West Africa", travelled)]
        ),
        diagnoses=coded("B34.9", seen),
    )


def hiv(group: Group) -> Story:
    """Slow mild neutropenia with lymphopenia in untreated HIV infection."""
    story, seen = _slow(group, "HIV")
    markers = texts(group.cause, "markers")
    tests = [measured(markers, np.full(group.size, float(index)), seen + 2.0) for index in range(len(markers))]
    return replace(
        story, markers=pl.concat(tests), diagnoses=coded("B20", seen + 5.0, group.rng.random(group.size) < 0.5)
    )


def leukaemia(group: Group) -> Story:
    """Acute leukaemia: neutrophils, haemoglobin and platelets fall over weeks while blasts appear."""
    story, seen = _slow(group, "leukaemia")
    marrow = group.rng.random(group.size) < number("bystanders", "marrow_share")
    severe = group.below(story.anc, number("severity", "severe_below"), story.onset_day)
    fever = group.share("fever_share")
    return replace(
        story,
        blasts=group.draw("blasts"),
        medications=pl.concat(_rescue(group, severe, fever, np.zeros(group.size, dtype=np.bool_))),
        diagnoses=coded("C92.0", seen + 6.0, marrow),
        events=pl.concat(
            [
                story.events,
                temperatures(group, severe + FEVER_AFTER_DAYS, fever),
                happened("bone_marrow", seen + 3.0, "acute leukaemia", marrow),
            ]
        ),
    )


def mds(group: Group) -> Story:
    """Myelodysplasia: slow pancytopenia with a high MCV in the old."""
    story, seen = _slow(group, "MDS")
    marrow = group.rng.random(group.size) < number("bystanders", "marrow_share")
    return replace(
        story,
        diagnoses=coded("D46.9", seen + 20.0, marrow),
        events=pl.concat([story.events, happened("bone_marrow", seen + 14.0, "dysplasia", marrow)]),
    )


def b12_deficiency(group: Group) -> Story:
    """Megaloblastic pancytopenia of vitamin B12 deficiency."""
    story, seen = _slow(group, "B12")
    return replace(story, markers=measured(texts(group.cause, "markers"), np.zeros(group.size), seen + 1.0))


def autoimmune(group: Group) -> Story:
    """Chronic isolated neutropenia with slow swings and antibodies."""
    rng, size = group.rng, group.size
    level = group.draw("anc")
    swing, length = number(group.cause, "swing_log_sd"), number(group.cause, "swing_days")
    knots = np.arange(group.days[0], group.days[-1] + 2 * length, length)
    swings = rng.normal(0.0, swing, (size, len(knots)))
    anc = np.vstack([np.exp(np.interp(group.days, knots, row)) for row in swings]) * level[:, None]
    normal = number("severity", "normal_from")
    anc = np.minimum(anc, normal - 1.0)
    start = group.days[0] + rng.uniform(5, 60, size)
    markers = texts(group.cause, "markers")
    return replace(
        plain(group, anc, visits.outpatient(group, "chronic_gap_days")),
        onset_day=np.full(size, group.days[0]),
        markers=measured(markers, rng.integers(0, len(markers), size).astype(np.float64), start + 40.0),
        diagnoses=coded("D70.8", start + 60.0, rng.random(size) < 0.5),
        events=happened("smear_review", start + 10.0, "neutropenia, no blasts", rng.random(size) < 0.5),
    )


def cyclic(group: Group) -> Story:
    """Cyclic neutropenia: about 21 days, below 200 cells/µL for some days of each cycle."""
    rng, size = group.rng, group.size
    period, trough, peak = group.draw("period_days"), group.draw("trough"), group.draw("peak")
    phase = rng.random(size)
    angle = 2.0 * np.pi * (group.days[None, :] / period[:, None] + phase[:, None])
    depth = ((1.0 + np.cos(angle)) / 2.0) ** number(group.cause, "sharpness")
    anc = peak[:, None] * np.exp(np.log(trough / peak)[:, None] * depth)
    start = group.draw("onset_day").clip(max=-7.0 * number("visits", "cyclic_weeks"))
    low = group.below(anc, number("severity", "severe_below"), start)
    story = plain(group, anc, visits.together(visits.outpatient(group), visits.cyclic(start)))
    return replace(
        story,
        onset_day=np.full(size, group.days[0]),
        cycle_days=period,
        events=temperatures(group, low + 2.0, group.share("fever_share")),
        diagnoses=coded("D70.4", start + 70.0, rng.random(size) < 0.5),
    )


def congenital(group: Group) -> Story:
    """Severe congenital neutropenia of an infant: low from the first count, monocytosis."""
    age = group.draw("age_days")
    born = -age
    first = born + group.draw("first_count_day")
    marrow = group.rng.random(group.size) < number("bystanders", "marrow_share")
    planned = visits.together(visits.at(first), visits.outpatient(group, "chronic_gap_days"))
    return replace(
        plain(group, group.steady(group.draw("anc")), np.where(planned >= first[:, None], planned, np.nan)),
        onset_day=born,
        age_years=age / DAYS_PER_YEAR,
        lines=OtherLines(
            monocytes=number(group.cause, "monocyte_fraction"), haemoglobin=number(group.cause, "haemoglobin_fraction")
        ),
        diagnoses=coded("D70.0", first + 30.0, marrow),
        events=happened("bone_marrow", first + 20.0, "maturation arrest", marrow),
    )


def hypersplenism(group: Group) -> Story:
    """A large spleen: mild and stable, with low platelets."""
    first = np.full(group.size, group.days[0])
    return replace(
        plain(group, group.steady(group.draw("anc")), visits.outpatient(group)),
        onset_day=first,
        lines=OtherLines(
            haemoglobin=number(group.cause, "haemoglobin_fraction"), platelets=number(group.cause, "platelet_fraction")
        ),
        diagnoses=pl.concat([coded("D73.1", first + 30.0), coded("K74.6", first + 20.0)]),
    )


def steroid_masked(group: Group) -> Story:
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
    story = plain(group, anc, visits.together(visits.outpatient(group), planned, seen))
    stopped = onset + fall + group.draw("stopped_after_days")
    return _with_care(
        group,
        replace(
            story,
            onset_day=onset,
            ingredient=tuple(drug.ingredient for drug in drugs),
            medications=pl.concat(
                [
                    given(drugs, start, _still(stopped), "oral"),
                    given([steroid] * group.size, onset - 1.0, onset + masked, "oral"),
                ]
            ),
            diagnoses=coded("E05.0", start),
        ),
    )


CAUSES: dict[str, Callable[[Group], Story]] = {
    cause.__name__: cause
    for cause in (
        healthy,
        healthy_on_clozapine,
        infection_neutrophilia,
        artefact,
        duffy_null,
        chemotherapy,
        clozapine,
        antithyroid,
        beta_lactam,
        rituximab,
        viral,
        hiv,
        leukaemia,
        mds,
        b12_deficiency,
        autoimmune,
        cyclic,
        congenital,
        hypersplenism,
        steroid_masked,
    )
}


def _drug_fall(
    group: Group,
    baseline: FloatArray,
    nadir: FloatArray,
    fall: FloatArray,
    schedule: Callable[[FloatArray], FloatArray],
    route: str,
    indication: str,
) -> Story:
    """A fall some time after the first dose, found at a visit or by its symptoms; the drug stopped; recovery."""
    onset = group.draw("onset_day")
    start = onset - group.draw("latency_days")
    anc = group.dip(baseline, onset, fall, nadir, group.draw("nadir_days"), group.draw("recovery_days"))
    severe = group.below(anc, number("severity", "severe_below"), onset)
    found = np.where(np.isnan(severe), onset + fall, severe)
    drugs = group.drugs()
    seen = found + draw(group.rng, "visits", "late_by_days", group.size)
    story = plain(group, anc, visits.together(visits.outpatient(group), schedule(start), visits.at(seen)))
    return _with_care(
        group,
        replace(
            story,
            onset_day=onset,
            ingredient=tuple(drug.ingredient for drug in drugs),
            medications=given(drugs, start, _still(found + group.draw("stopped_after_days")), route),
            diagnoses=coded(indication, start),
        ),
    )


def _slow(group: Group, finding: str) -> tuple[Story, FloatArray]:
    """A disease that takes weeks or months to the count it stays at; also the day it is first seen at that count."""
    onset = group.draw("onset_day").clip(max=-30.0) - group.draw("fall_days") * 0.8
    fall = group.draw("fall_days")
    size = group.size
    anc = group.dip(group.usual("anc"), onset, fall, group.draw("anc"), np.full(size, FOREVER), np.ones(size))
    seen = onset + fall * 0.9
    lines = {
        line: number(group.cause, f"{name}_fraction")
        for line, name in {
            "haemoglobin": "haemoglobin",
            "platelets": "platelet",
            "mcv": "mcv",
            "lymphocytes": "lymphocyte",
        }.items()
        if group.sets(f"{name}_fraction")
    }
    smear = group.rng.random(size) < number("bystanders", "smear_share")
    story = plain(group, anc, visits.together(visits.outpatient(group), visits.at(seen)))
    return (
        replace(
            story,
            onset_day=onset,
            lines=OtherLines(days=float(np.median(fall)), **lines),
            events=happened("smear_review", seen + 1.0, finding, smear),
        ),
        seen,
    )


def _with_care(group: Group, story: Story) -> Story:
    """Adds what a low count brings: fever measured, antibiotics and G-CSF begun after the fall, reviews."""
    severe = group.below(story.anc, number("severity", "severe_below"), story.onset_day)
    low = group.below(story.anc, number("severity", "normal_from"), story.onset_day)
    fever = group.share("fever_share") if group.sets("fever_share") else np.zeros(group.size, dtype=np.bool_)
    helped = fever & (group.rng.random(group.size) < number("chemotherapy", "filgrastim_share"))
    reviewed = group.rng.random(group.size) < number("bystanders", "review_share")
    smear = group.rng.random(group.size) < number("bystanders", "smear_share")
    return replace(
        story,
        medications=pl.concat([story.medications, *_rescue(group, severe, fever, helped)]),
        events=pl.concat(
            [
                story.events,
                temperatures(group, severe + FEVER_AFTER_DAYS, fever),
                happened("medication_review", low + 3.0, "list reviewed", reviewed),
                happened("smear_review", low + 2.0, "no blasts", smear),
            ]
        ),
        markers=pl.concat([story.markers, *_negative_tests(group, low)]),
    )


def _negative_tests(group: Group, low: FloatArray) -> list[pl.DataFrame]:
    """Tests that were done and found nothing: a test on file is not a positive test."""
    tested = group.rng.random(group.size) < number("bystanders", "negative_tests_share")
    day = np.where(tested, low + 2.0, np.nan)
    markers = texts("bystanders", "negative_tests")
    return [measured(markers, np.full(group.size, float(index)), day) for index in range(len(markers))]


def _rescue(group: Group, severe: FloatArray, fever: BoolArray, helped: BoolArray) -> list[pl.DataFrame]:
    """Antibiotics and G-CSF, begun after the ANC fell below 500: never its cause, often taken for it."""
    antibiotic, growth_factor = (numbers("bystanders", f"{name}_days") for name in ("antibiotics", "growth_factor"))
    factor = Drug.parse(text("bystanders", "growth_factor"))
    return [
        given(_after_fever(group), severe + antibiotic[0], severe + antibiotic[1], "iv", who=fever),
        given([factor] * group.size, severe + growth_factor[0], severe + growth_factor[1], "sc", who=helped),
    ]


def _after_fever(group: Group) -> list[Drug]:
    choices = [Drug.parse(written) for written in texts("bystanders", "after_fever")]
    return [choices[index] for index in group.rng.integers(0, len(choices), group.size)]


def _still(end: FloatArray) -> FloatArray:
    """An end after the index date is not known yet: the drug is still being given."""
    return np.where(end > 0.0, np.nan, end)


def _smoothed(weight: FloatArray, steps: int = 5) -> FloatArray:
    kernel = np.ones(steps) / steps
    return np.vstack([np.convolve(row, kernel, mode="same") for row in weight])

"""Patients whose true count is never low for an illness: the denominator of the screen."""

from dataclasses import replace

import numpy as np

from neutro_simulator import visits
from neutro_simulator.causes.care import antibiotics
from neutro_simulator.parameters import number
from neutro_simulator.scenario import Group, Scenario, coded, given, outline, temperatures


def healthy(group: Group) -> Scenario:
    """A steady normal count and a blood test now and then."""
    return outline(group, group.steady(group.draw("anc")), visits.outpatient(group))


def healthy_on_clozapine(group: Group) -> Scenario:
    """On clozapine, counted by the label's schedule, and never low: the denominator of the clozapine cases."""
    start = group.rng.uniform(-number("grid", "history_days") + 10, -7, group.size)
    drugs = group.drugs("drugs", "clozapine")
    scenario = outline(group, group.steady(group.draw("anc")), visits.clozapine(start))
    medications = given(drugs, start, np.full(group.size, np.nan), "oral")
    return replace(scenario, medications=medications, diagnoses=coded("F20.0", start))


def infection_neutrophilia(group: Group) -> Scenario:
    """Neutrophilia of a bacterial infection that returns to the person's normal: no rapid decline (RULES.md RPD-4)."""
    onset = group.draw("onset_day")
    baseline, peak = group.draw("anc"), group.draw("peak")
    rise, stay, recovery = group.draw("rise_days"), group.draw("peak_days"), group.draw("recovery_days")
    anc = group.dip(baseline, onset, rise, peak, stay, recovery)
    admitted = onset + rise / 2
    end = admitted + stay + recovery
    daily = number("visits", "inpatient_gap_days")
    scenario = outline(group, anc, visits.together(visits.outpatient(group), visits.every(admitted, end, daily)))
    return replace(
        scenario,
        onset_day=onset,
        bands_fraction=np.full(group.size, number("infection_neutrophilia", "bands_fraction")),
        medications=given(antibiotics(group), admitted, end, "iv"),
        diagnoses=coded("J18.9", admitted),
        events=temperatures(group, admitted, group.share("fever_share")),
    )


def artefact(group: Group) -> Scenario:
    """A true count that never changes and one falsely low specimen, repeated normal within days (RULES.md EPI-4)."""
    onset = group.draw("onset_day")
    repeat = onset + number("artefact", "repeat_after_days")
    scenario = outline(
        group, group.steady(group.draw("anc")), visits.together(visits.outpatient(group), visits.at(onset, repeat))
    )
    return replace(scenario, artefact_visit=onset, artefact_fraction=group.draw("seen_fraction"))


def duffy_null(group: Group) -> Scenario:
    """A lower count for life without disease: Duffy-null associated neutrophil count."""
    scenario = outline(group, group.steady(group.draw("anc")), visits.outpatient(group))
    recorded = group.share("recorded_share")
    return replace(scenario, duffy_null=tuple("true" if known else "" for known in recorded))


def withdrawn_count(group: Group) -> Scenario:
    """A normal count and one falsely low result that the laboratory cancels or corrects (RULES.md EPI-6)."""
    onset = group.draw("onset_day")
    planned = visits.together(visits.outpatient(group), visits.at(onset))
    scenario = outline(group, group.steady(group.draw("anc")), planned)
    cancelled = group.share("cancelled_share")
    return replace(
        scenario,
        artefact_visit=onset,
        artefact_fraction=group.draw("seen_fraction"),
        retraction=tuple("cancelled" if taken_back else "corrected" for taken_back in cancelled),
    )

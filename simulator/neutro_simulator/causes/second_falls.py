"""Falls on a count that was low before, and several falls in one episode (RULES.md DRG-1)."""

from dataclasses import replace

import numpy as np
import polars as pl

from neutro_simulator import visits
from neutro_simulator.causes.care import with_care
from neutro_simulator.causes.drug_reactions import Reaction, reacting
from neutro_simulator.causes.idiosyncratic import drawn_reactions, every_two_weeks
from neutro_simulator.parameters import FloatArray, number, text, texts
from neutro_simulator.scenario import Drug, Group, Scenario, acting, coded, given, measured, outline

FOREVER = np.inf


def graves_then_antithyroid(group: Group) -> Scenario:
    """Mild neutropenia of untreated Graves disease, then agranulocytosis of the antithyroid drug."""
    drug = replace(group, cause="antithyroid")
    onset = group.draw("onset_day")
    start = onset - drug.draw("latency_days")
    level, mild_fall = group.draw("mild_level"), group.draw("mild_fall_days")
    mild_onset = start - group.draw("mild_before_days") - mild_fall
    mild = _lasting(group, group.usual("anc"), mild_onset, mild_fall, level)
    fall, nadir = drug.draw("fall_days"), drug.draw("nadir")
    reaction = Reaction(start, onset, fall, drug.drugs())

    def schedule(start: FloatArray) -> FloatArray:
        gap = number("visits", "antithyroid_gap_days")
        known_mild = visits.at(mild_onset + mild_fall + 1.0, start - 1.0)
        return visits.together(known_mild, visits.every(start, np.zeros(group.size), gap))

    scenario = reacting(drug, mild * _relative(drug, onset, fall, nadir / level), reaction, schedule, "oral", "E05.0")
    first = acting("graves_disease", mild_onset)
    return replace(scenario, actions=pl.concat([first, acting(group.cause, onset, reaction.drugs, "reaction")]))


def duffy_null_on_clozapine(group: Group) -> Scenario:
    """A Duffy-null person with mild counts for life, then agranulocytosis of clozapine."""
    drug = replace(group, cause="clozapine")
    onset = group.draw("onset_day")
    start = onset - drug.draw("latency_days")
    level, nadir = group.draw("anc"), drug.draw("nadir")
    fall = np.log(level / nadir) / (np.log(4.0) / drug.draw("two_to_half_days"))
    reaction = Reaction(start, onset, fall, drug.drugs())
    anc = group.steady(level) * _relative(drug, onset, fall, nadir / level)
    scenario = reacting(drug, anc, reaction, visits.clozapine, "oral", "F20.0")
    recorded = group.share("recorded_share")
    return replace(
        scenario,
        duffy_null=tuple("true" if known else "" for known in recorded),
        actions=acting(group.cause, onset, reaction.drugs, "reaction"),
    )


def mds_on_azacitidine(group: Group) -> Scenario:
    """Myelodysplasia with a mild count, then the expected nadirs of azacitidine."""
    disease = replace(group, cause="mds")
    start, count = group.draw("onset_day"), np.floor(group.draw("cycles"))
    mds_fall = disease.draw("fall_days")
    mds_onset = start - group.draw("before_treatment_days") - mds_fall
    level = group.draw("anc")
    anc = _lasting(group, group.usual("anc"), mds_onset, mds_fall, level)
    after, fall, ratio = group.draw("fall_after_days"), group.draw("fall_days"), group.draw("nadir") / level
    stay, recovery = group.draw("nadir_days"), group.draw("recovery_days")
    drugs = [Drug.parse(text(group.cause, "drug"))] * group.size
    doses = [
        np.where(count > cycle, start + cycle * number(group.cause, "cycle_days"), np.nan)
        for cycle in range(int(count.max()))
    ]
    for dose in doses:
        onset = np.where(np.isnan(dose), FOREVER, dose + after)
        anc = anc * group.dip(np.ones(group.size), onset, fall, ratio, stay, recovery)
    last_dose_day = number(group.cause, "dose_days") - 1.0
    planned = [visits.at(dose - 1.0, dose + number(group.cause, "second_visit_days")) for dose in doses]
    known = visits.at(mds_onset + mds_fall * 0.9, start - 2.0)
    scenario = replace(
        outline(disease, anc, visits.together(visits.outpatient(group), known, *planned)),
        onset_day=mds_onset,
        ingredient=(drugs[0].ingredient,) * group.size,
        lines=disease.other_lines(days=float(np.median(mds_fall))),
        medications=pl.concat(
            [given(drugs, dose, dose + last_dose_day, "sc", f"cycle {cycle + 1}") for cycle, dose in enumerate(doses)]
        ),
        diagnoses=coded("D46.9", start - 10.0),
        actions=pl.concat([acting("mds", mds_onset), acting(group.cause, start, drugs, "expected")]),
    )
    return with_care(disease, scenario)


def two_drug_falls(group: Group) -> Scenario:
    """A mild fall on a drug that is continued, then a deep fall on a second drug begun in the same episode."""
    onset = group.draw("onset_day")
    drugs, latency = drawn_reactions(group, "reactions")
    start = onset - latency
    earlier, earlier_latency = drawn_reactions(group, "reactions", other_than=drugs)
    level, first_fall = group.draw("first_level"), group.draw("first_fall_days")
    first_onset = start - group.draw("apart_days") - first_fall
    first_start = first_onset - earlier_latency
    mild = _lasting(group, group.usual("anc"), first_onset, first_fall, level)
    own = replace(group, cause="reactions")
    fall, nadir = own.draw("fall_days"), np.minimum(own.draw("nadir"), 0.5 * level)
    reaction = Reaction(start, onset, fall, drugs)

    def schedule(start: FloatArray) -> FloatArray:
        return visits.together(visits.at(first_onset + first_fall + 1.0, start - 1.0), every_two_weeks(start))

    scenario = reacting(own, mild * _relative(own, onset, fall, nadir / level), reaction, schedule, "oral", "R69")
    continued = given(earlier, first_start, np.full(group.size, np.nan), "oral")
    actions = [acting(group.cause, first_onset, earlier, "reaction"), acting(group.cause, onset, drugs, "reaction")]
    return replace(scenario, medications=pl.concat([scenario.medications, continued]), actions=pl.concat(actions))


def viral_on_mild(group: Group) -> Scenario:
    """Chronic mild neutropenia and a viral fall in it; the drug taken for years has nothing to do with either."""
    illness = replace(group, cause="viral")
    onset, fall = group.draw("onset_day"), illness.draw("fall_days")
    level = group.draw("first_level")
    anc = group.steady(level) * _relative(illness, onset, fall, np.minimum(group.draw("nadir") / level, 1.0))
    seen = onset + fall + group.delay()
    drugs = group.drugs("long_term_drugs")
    scenario = replace(
        outline(group, anc, visits.together(visits.outpatient(group), visits.at(onset - 20.0, seen))),
        onset_day=onset,
        medications=given(drugs, onset - group.draw("long_term_drug_days"), np.full(group.size, np.nan), "oral"),
        actions=acting("viral", onset),
    )
    cared = with_care(illness, scenario)
    markers = texts("viral", "markers")
    found = group.rng.integers(0, len(markers), group.size).astype(np.float64)
    return replace(cared, markers=measured(markers, found, seen), diagnoses=coded("B34.9", seen))


def _lasting(group: Group, baseline: FloatArray, onset: FloatArray, fall: FloatArray, level: FloatArray) -> FloatArray:
    """A fall to a level that stays."""
    return group.dip(baseline, onset, fall, level, np.full(group.size, FOREVER), np.ones(group.size))


def _relative(group: Group, onset: FloatArray, fall: FloatArray, ratio: FloatArray) -> FloatArray:
    """A fall to so large a part of whatever the count was before, with the group's own stay and recovery."""
    return group.drawn_dip(np.ones(group.size), onset, fall, ratio)

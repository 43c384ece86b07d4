"""Reactions of drugs from a table, each with its own latency: with a rival, late, or by an interaction."""

from dataclasses import replace

import numpy as np

from neutro_simulator import visits
from neutro_simulator.causes.drug_reactions import Reaction, after_last_dose, reacting
from neutro_simulator.parameters import FloatArray, number, texts
from neutro_simulator.scenario import Drug, Group, Scenario, acting

NO_CODE = "R69"


def rival_stopped(group: Group) -> Scenario:
    """A drug fall; a second known cause of neutropenia, taken for longer, is stopped on the same day."""
    drugs, latency = drawn_reactions(group, "reactions")
    onset = group.draw("onset_day")
    rivals = _different(group, [Drug.parse(written) for written in texts(group.cause, "rivals")], drugs)
    beside = ((rivals, onset - group.draw("rival_days")),)
    return _reaction(group, onset, onset - latency, drugs, beside=beside)


def late_reaction(group: Group) -> Scenario:
    """A fall after years on the drug (RULES.md DRG-7)."""
    drugs, latency = drawn_reactions(group, "late_reaction")
    onset = group.draw("onset_day")
    return _reaction(group, onset, onset - latency, drugs, effect="late_reaction")


def interaction(group: Group) -> Scenario:
    """A drug taken for long without effect, and a fall after a second one that raises its effect (RULES.md DRG-6)."""
    pairs = [written.split("|") for written in texts(group.cause, "pairs")]
    chosen = [pairs[index] for index in group.rng.integers(0, len(pairs), group.size)]
    drugs, partners = ([Drug(*pair[first : first + 3]) for pair in chosen] for first in (0, 3))
    limits = np.array([[float(value) for value in pair[6:]] for pair in chosen])
    onset = group.draw("onset_day")
    begun = onset - _latency(group, limits[:, :3])
    start = begun - group.rng.uniform(limits[:, 3], limits[:, 4])
    return _reaction(group, onset, start, drugs, effect="interaction", beside=((partners, begun),))


def late_immune(group: Group) -> Scenario:
    """Neutropenia weeks to months after the last dose of an antibody: immune, not the expected effect."""
    scenario = after_last_dose(group, "G35")
    drugs = [Drug(ingredient, "", "") for ingredient in scenario.ingredient]
    return replace(scenario, actions=acting(group.cause, scenario.onset_day, drugs, "late_reaction"))


def drawn_reactions(group: Group, section: str, other_than: list[Drug] | None = None) -> tuple[list[Drug], FloatArray]:
    """A drug a patient from the section's `drugs`, and days from its first dose to the fall.

    other_than: drugs the patients take already; another one is drawn.
    """
    rows = [written.split("|") for written in texts(section, "drugs")]
    drugs = [Drug(*row[:3]) for row in rows]
    latencies = {drug.ingredient: [float(value) for value in row[3:]] for drug, row in zip(drugs, rows, strict=True)}
    chosen = _different(group, drugs, other_than)
    return chosen, _latency(group, np.array([latencies[drug.ingredient] for drug in chosen]))


def every_two_weeks(start: FloatArray) -> FloatArray:
    """Counts before the first dose and every two weeks of treatment."""
    return visits.every(start - 1.0, np.zeros(len(start)), number("reactions", "monitoring_gap_days"))


def _different(group: Group, choices: list[Drug], other_than: list[Drug] | None) -> list[Drug]:
    """A drug a patient, all equally likely; the next of the list where it would be the one taken already."""
    chosen = group.rng.integers(0, len(choices), group.size)
    if other_than is not None:
        same = [choices[index].ingredient == drug.ingredient for index, drug in zip(chosen, other_than, strict=True)]
        chosen = (chosen + np.array(same)) % len(choices)
    return [choices[index] for index in chosen]


def _latency(group: Group, limits: FloatArray) -> FloatArray:
    """Days, lognormal about the median and cut to the limits; columns of `limits`: median, shortest, longest."""
    spread = np.exp(group.rng.normal(0.0, number("reactions", "latency_log_sd"), group.size))
    return np.clip(limits[:, 0] * spread, limits[:, 1], limits[:, 2])


def _reaction(
    group: Group,
    onset: FloatArray,
    start: FloatArray,
    drugs: list[Drug],
    effect: str = "reaction",
    beside: tuple[tuple[list[Drug], FloatArray], ...] = (),
) -> Scenario:
    """A drug fall with the depth and length of [reactions], counted as long-term drugs or new ones are."""
    own = replace(group, cause="reactions")
    fall = own.draw("fall_days")
    anc = own.drawn_dip(own.draw("anc"), onset, fall, own.draw("nadir"))
    gap = number("reactions", "monitoring_gap_days" if effect == "reaction" else "long_term_gap_days")
    first_count = group.days[0] + group.rng.uniform(0.0, gap, group.size)

    def schedule(start: FloatArray) -> FloatArray:
        return visits.every(np.maximum(start - 1.0, first_count), np.zeros(group.size), gap)

    scenario = reacting(own, anc, Reaction(start, onset, fall, drugs, beside), schedule, "oral", NO_CODE)
    partner = beside[0][0] if effect == "interaction" else None
    return replace(scenario, actions=acting(group.cause, onset, drugs, effect, partner))

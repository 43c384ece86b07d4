"""Evidence for the cause of an episode beside its drugs (RULES.md section 5).

Each line names its rule, what was found with date and number, how much it weighs and where it comes from. What is not in
the extract leaves no line, except that fever is then said to be unknown.
"""

from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.context import context_findings, travel_findings
from neutro_screen.rules.causes.diagnoses import diagnosis_findings
from neutro_screen.rules.causes.fever import fever_findings
from neutro_screen.rules.causes.leading import expected_episodes
from neutro_screen.rules.causes.literature import literature_lines
from neutro_screen.rules.causes.markers import marker_findings
from neutro_screen.rules.causes.masking import masking_findings
from neutro_screen.rules.causes.pattern_evidence import pattern_findings

EVIDENCE_ORDER: Final = ("episode_id", "rule_id", "category", "strength", "finding", "source")


def evidence_per_episode(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    labs: pl.LazyFrame,
    diagnoses: pl.LazyFrame,
    events: pl.LazyFrame,
    patients: pl.LazyFrame,
    exposures: pl.LazyFrame,
    patterns: pl.LazyFrame,
    policy: Policy,
    reference: CauseReference,
) -> pl.LazyFrame:
    """All lines of evidence beside drugs and literature, with the columns of ``Evidence``, sorted.

    ``episodes`` is ``Episode``, ``anc`` ``Anc``, ``labs`` ``LabResult`` with markers as analytes, ``exposures`` from
    ``exposures.exposures_per_patient``, ``patterns`` from ``patterns.count_patterns``. Empty frames are allowed for what
    the extract does not have.
    """
    rules = reference.rules
    return (
        pl.concat(
            [
                marker_findings(episodes, labs, reference),
                diagnosis_findings(episodes, diagnoses, reference),
                pattern_findings(episodes, patterns, patients, policy, rules),
                context_findings(episodes, anc, patients),
                travel_findings(episodes, events, rules),
                fever_findings(episodes, anc, labs, events, rules),
                masking_findings(episodes, events, exposures),
            ],
            how="vertical",
        )
        .unique()
        .sort(EVIDENCE_ORDER)
    )


def with_suspects(
    evidence: pl.LazyFrame, episodes: pl.LazyFrame, suspects: pl.LazyFrame, reference: CauseReference
) -> pl.LazyFrame:
    """The evidence as it stands beside the suspects (``DrugSuspect``): with the literature that fits, sorted.

    A low count that is the expected effect of a cytotoxic drug makes no pattern of a malignancy (MAL-2).
    """
    expected = expected_episodes(suspects).with_columns(rule_id=pl.lit("MAL-2"))
    kept = evidence.join(expected, on=["episode_id", "rule_id"], how="anti")
    return pl.concat([kept, literature_lines(episodes, suspects, reference)]).sort(EVIDENCE_ORDER)

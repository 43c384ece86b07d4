"""Everything that RULES.md section 5 and 6 say of an episode: exposures, suspects, evidence, work-up, pitfalls."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from neutro_schemas import Diagnosis, DrugSuspect, Event, Medication, Patient
from neutro_screen.reference import Policy, load_cause_reference, load_drug_tables
from neutro_screen.rules.causes.drug_names import KEYS, RESOLVED, match_medications, resolve_drug_names
from neutro_screen.rules.causes.evidence import evidence_per_episode, with_suspects
from neutro_screen.rules.causes.exposures import exposures_per_patient
from neutro_screen.rules.causes.falls import falls_per_episode
from neutro_screen.rules.causes.fever import febrile_neutropenia
from neutro_screen.rules.causes.interactions import conditions_per_patient
from neutro_screen.rules.causes.leading import expected_episodes
from neutro_screen.rules.causes.markers import is_read
from neutro_screen.rules.causes.patterns import count_patterns
from neutro_screen.rules.causes.suspects import drug_suspects
from neutro_screen.rules.causes.telling import tests_done
from neutro_screen.rules.course.given import is_undated, known_day
from neutro_screen.rules.worklist.pitfalls import pitfalls
from neutro_screen.rules.worklist.workup import kinds_of_data, workup_steps
from neutro_screen.validate import no_rows


@dataclass(frozen=True)
class Chart:
    """What is known of the patients beside their counts; a kind that is absent is an empty frame."""

    medications: pl.DataFrame
    patients: pl.DataFrame
    diagnoses: pl.DataFrame
    events: pl.DataFrame

    @classmethod
    def of(
        cls,
        medications: pl.DataFrame | None = None,
        patients: pl.DataFrame | None = None,
        diagnoses: pl.DataFrame | None = None,
        events: pl.DataFrame | None = None,
    ) -> "Chart":
        """What is known; None is an empty frame."""
        frames = zip((Medication, Patient, Diagnosis, Event), (medications, patients, diagnoses, events), strict=True)
        return cls(*(no_rows(model) if frame is None else frame for model, frame in frames))


@dataclass(frozen=True)
class Causes:
    """``exposures`` per patient and drug, ``patterns`` per episode, ``done`` from ``telling.tests_done``; the others as their
    models in ``neutro_schemas``.
    """

    exposures: pl.DataFrame
    patterns: pl.DataFrame
    falls: pl.DataFrame
    suspects: pl.DataFrame
    evidence: pl.DataFrame
    steps: pl.DataFrame
    done: pl.DataFrame
    flags: pl.DataFrame


def resolved_drugs(medications: pl.DataFrame) -> pl.DataFrame:
    """The drugs that each distinct line of the medication lists names, as ``drug_names.resolve_drug_names`` has them.

    This is the one place where names are matched; screening, data quality, the table ``drug_match`` and the report read it.
    """
    keys = list(KEYS)
    distinct = medications.select(keys).unique().sort(keys)
    return resolve_drug_names(distinct, load_drug_tables()) if distinct.height else pl.DataFrame(schema=RESOLVED)


def exposures_of(medications: pl.DataFrame, drugs: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The courses of every listed drug, per patient (DRG-1); ``drugs`` comes from ``resolved_drugs``."""
    matched = match_medications(medications.lazy(), drugs)
    return exposures_per_patient(matched, load_drug_tables(), policy, load_cause_reference().rules).collect()


def drug_courses(exposures: pl.DataFrame) -> pl.DataFrame:
    """Every course of every listed drug, with the columns of ``DrugCourse``; ``exposures`` from ``exposures_of``."""
    return exposures.with_columns(known_day("first_exposure"), known_day("first_exposure_latest")).rename(
        {
            "first_exposure": "started_on",
            "first_exposure_latest": "started_on_latest",
            "last_exposure": "ended_on",
            "n_orders": "n_lines",
        }
    )


def high_risk_courses(exposures: pl.DataFrame) -> pl.LazyFrame:
    """Courses of drugs of high risk (TRD-2, RPD-4): patient_id, ingredient, first_exposure, first_exposure_latest,
    last_exposure (null = still given), is_end_unread.
    """
    listed = load_cause_reference().rules.drug_group.high_risk
    return _courses(exposures, pl.col("ingredient").is_in(listed))


def clozapine_courses(exposures: pl.DataFrame) -> pl.LazyFrame:
    """Courses of clozapine (SEV-4), as ``high_risk_courses``."""
    return _courses(exposures, pl.col("ingredient") == "clozapine")


def cytotoxic_courses(exposures: pl.DataFrame) -> pl.DataFrame:
    """Courses of drugs whose effect on the count is expected (EPI-3), as ``high_risk_courses``; those of which the days are known."""
    return _courses(exposures, pl.col("is_expected") & ~is_undated()).collect()


def _courses(exposures: pl.DataFrame, wanted: pl.Expr) -> pl.LazyFrame:
    return (
        exposures.lazy()
        .filter(wanted)
        .select("patient_id", "ingredient", "first_exposure", "first_exposure_latest", "last_exposure", "is_end_unread")
    )


def kinds_of(labs: pl.DataFrame, chart: Chart) -> frozenset[str]:
    """The kinds of data that an extract has: what is in none of its rows is unknown of everybody (WRK-1)."""
    return kinds_of_data(
        chart.events.lazy(), labs.lazy(), chart.diagnoses.lazy(), chart.medications.lazy(), load_cause_reference()
    )


def find_causes(
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    specimens: pl.LazyFrame,
    numbered: pl.LazyFrame,
    labs: pl.DataFrame,
    chart: Chart,
    exposures: pl.DataFrame,
    policy: Policy,
    as_of: datetime,
    data_kinds: frozenset[str] | None = None,
) -> Causes:
    """Suspects, evidence, work-up and pitfalls of every episode; ``exposures`` comes from ``exposures_of``.

    ``specimens`` are the counts of ``anc`` with the columns of ``cytopenia.with_other_lines``, ``numbered`` comes from
    ``episodes.with_episode_numbers``. ``labs`` is ``LabResult``,
    markers included; only rows of patients with an episode are read.
    """
    reference = load_cause_reference()
    rules = reference.rules
    cases = episodes.select("patient_id").unique()
    own = labs.lazy().filter(is_read(reference)).join(cases, on="patient_id", how="semi").collect().lazy()
    medications, patients, diagnoses, events = (
        frame.lazy() for frame in (chart.medications, chart.patients, chart.diagnoses, chart.events)
    )
    kinds = (
        data_kinds if data_kinds is not None else kinds_of_data(events, labs.lazy(), diagnoses, medications, reference)
    )
    courses = exposures.lazy()
    patterns = count_patterns(episodes, specimens, labs.lazy(), policy, rules).collect()
    evidence = evidence_per_episode(
        episodes, anc, own, diagnoses, events, patients, courses, patterns.lazy(), policy, reference
    ).collect(engine="in-memory")
    falls = falls_per_episode(numbered, episodes, policy, rules.fall).collect(engine="in-memory")
    conditions = conditions_per_patient(diagnoses, reference).collect()
    suspects = _suspects(falls, episodes, anc, exposures, conditions, evidence, patterns, policy, as_of)
    shown = with_suspects(evidence.lazy(), episodes, suspects.lazy(), reference).collect(engine="in-memory")
    steps = workup_steps(
        episodes,
        anc,
        events,
        own,
        diagnoses,
        medications,
        suspects.lazy(),
        evidence.lazy(),
        reference,
        policy,
        as_of,
        kinds,
    ).collect(engine="in-memory")
    missed = pitfalls(
        episodes, anc, suspects.lazy(), shown.lazy(), steps.lazy(), own, events, diagnoses, reference, as_of, kinds
    )
    febrile = febrile_neutropenia(anc, own, events, rules)
    return Causes(
        exposures=exposures,
        patterns=patterns,
        falls=falls,
        suspects=suspects,
        evidence=shown,
        steps=steps,
        done=tests_done(episodes, own, patients, steps.lazy(), reference).collect(engine="in-memory"),
        flags=pl.concat([missed, febrile], how="diagonal").collect(engine="in-memory"),
    )


def _suspects(
    falls: pl.DataFrame,
    episodes: pl.LazyFrame,
    anc: pl.LazyFrame,
    exposures: pl.DataFrame,
    conditions: pl.DataFrame,
    evidence: pl.DataFrame,
    patterns: pl.DataFrame,
    policy: Policy,
    as_of: datetime,
) -> pl.DataFrame:
    """``drug_suspects`` of the patients with an exposure; nobody else can have one."""
    if exposures.is_empty():
        return no_rows(DrugSuspect)
    exposed, rules = exposures.lazy().select("patient_id").unique(), load_cause_reference().rules
    of_falls, episodes, anc = (
        frame.join(exposed, on="patient_id", how="semi") for frame in (falls.lazy(), episodes, anc)
    )
    return drug_suspects(
        of_falls,
        episodes,
        anc,
        exposures.lazy(),
        conditions.lazy(),
        load_drug_tables().interactions,
        evidence.lazy(),
        patterns.lazy(),
        policy,
        rules,
        as_of,
    ).collect(engine="in-memory")


def of_causes(causes: Causes, flags: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """What an episode's priority needs to know of its causes, one row per episode with any of it (section 7).

    has_likely_drug_now, has_high_risk_drug_now (exposure at the last low count or later: the mere end
    of a planned course, without a new count, lowers no priority), is_expected, is_beyond_expected, has_cytopenia,
    has_blasts,
    is_febrile, has_pitfall.
    """
    high_risk = set(load_cause_reference().rules.drug_group.high_risk)
    suspects = causes.suspects.lazy().join(episodes.select("episode_id", "last_low_at"), on="episode_id")
    is_current = pl.col("last_exposure").is_null() | (pl.col("last_exposure") >= pl.col("last_low_at").dt.date())
    counts = pl.col("category").is_in(["likely", "possible", "unlikely"])
    of_drugs = suspects.group_by("episode_id").agg(
        has_likely_drug_now=((pl.col("category") == "likely") & is_current).any(),
        has_high_risk_drug_now=(counts & pl.col("ingredient").is_in(high_risk) & is_current).any(),
        is_beyond_expected=(pl.col("category") == "beyond_expected").any(),
    )
    expected = expected_episodes(suspects).with_columns(is_expected=pl.lit(True))
    of_counts = causes.patterns.lazy().select("episode_id", "has_blasts", has_cytopenia=pl.col("n_low_lines") > 0)
    of_flags = flags.group_by("episode_id").agg(
        is_febrile=(pl.col("rule_id") == "FEV-1").any(), has_pitfall=pl.col("rule_id").str.starts_with("PIT-").any()
    )
    joined = of_counts
    for part in (of_drugs, expected, of_flags.filter(pl.col("episode_id").is_not_null())):
        joined = joined.join(part, on="episode_id", how="full", coalesce=True)
    return joined

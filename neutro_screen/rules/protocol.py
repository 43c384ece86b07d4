"""The protocol of the screen, read from top to bottom: from accepted results to a worklist.

Pure: frames in, frames out; the index time is an argument; no files, no clock, no logging.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import pandera.polars as pa
import polars as pl

from neutro_schemas import (
    Anc,
    CannotAssess,
    ClozapineCourse,
    DrugCourse,
    DrugSuspect,
    Episode,
    Evidence,
    Fall,
    Flag,
    PatientStatus,
    WorkupStep,
)
from neutro_schemas.store import WorklistRow
from neutro_screen.reference import Policy, Reference, load_cause_reference, load_policy, load_reference
from neutro_screen.rules.causes.duffy import with_laboratory_duffy
from neutro_screen.rules.causes.findings import (
    Chart,
    clozapine_courses,
    cytotoxic_courses,
    drug_courses,
    exposures_of,
    find_causes,
    high_risk_courses,
    resolved_drugs,
)
from neutro_screen.rules.counts.anc import count_neutrophils
from neutro_screen.rules.counts.context import newborn_flags, with_severity_in_context
from neutro_screen.rules.counts.cytopenia import with_other_lines
from neutro_screen.rules.counts.intervals import with_interval
from neutro_screen.rules.counts.severity import with_grades
from neutro_screen.rules.counts.specimen_notes import with_mix_up_note
from neutro_screen.rules.course.clozapine import clozapine_courses_now, clozapine_flags, with_clozapine_ladder
from neutro_screen.rules.course.cyclic import cyclic_series, with_cyclic
from neutro_screen.rules.course.episodes import episodes_per_patient, recorded_deaths, with_deaths, with_episode_numbers
from neutro_screen.rules.course.rapid_decline import (
    decline_flags,
    has_rapid_decline,
    with_decline_verdict,
    with_rapid_decline,
)
from neutro_screen.rules.course.trend import (
    fall_flags,
    with_baseline,
    with_projection,
    with_significant_fall,
    with_trend,
)
from neutro_screen.rules.flags import episode_flags, rapid_decline_flags, severity_flags, with_episode
from neutro_screen.rules.worklist.next_step import next_step_per_patient, with_conclusion
from neutro_screen.rules.worklist.order import in_worklist_order, open_cases, worklist_rows
from neutro_screen.rules.worklist.priority import with_priority
from neutro_screen.rules.worklist.standing import counts_to_repeat
from neutro_screen.rules.worklist.status import (
    cannot_assess,
    counts_per_patient,
    known_patients,
    patient_status,
    verdicts,
)
from neutro_screen.validate import in_shape, no_rows


@dataclass(frozen=True)
class ScreenResult:
    """The tables of one screening, each as described by its model in ``neutro_schemas``, sorted.

    ``contradicted`` (patient_id, specimen_id, analyte, is_manual, reason) names results that the rest of their
    specimen refutes (ANC-9): they were not used and go to quarantine.
    """

    anc: pl.DataFrame
    episode: pl.DataFrame
    flag: pl.DataFrame
    drug_course: pl.DataFrame
    fall: pl.DataFrame
    drug_suspect: pl.DataFrame
    evidence: pl.DataFrame
    workup_step: pl.DataFrame
    patient_status: pl.DataFrame
    worklist: pl.DataFrame
    cannot_assess: pl.DataFrame
    clozapine_course: pl.DataFrame
    contradicted: pl.DataFrame


def screen(
    labs: pl.DataFrame,
    medications: pl.DataFrame | None = None,
    patients: pl.DataFrame | None = None,
    diagnoses: pl.DataFrame | None = None,
    events: pl.DataFrame | None = None,
    *,
    as_of: datetime,
    policy: Policy | None = None,
    unusable: pl.DataFrame | None = None,
    others: pl.DataFrame | None = None,
    data_kinds: frozenset[str] | None = None,
    drugs: pl.DataFrame | None = None,
) -> ScreenResult:
    """Screen the full history of some patients.

    ``labs`` has the columns of ``LabResult``; the others those of their models in ``neutro_schemas.chart``.
    ``unusable`` (patient_id, specimen_id, reason, since) are refused and missing results of these patients; ``others``
    (patient_id) are patients of whom nothing else came: they have a status too, an unknown one.
    ``data_kinds`` (``rules.causes.kinds_of``) says what the whole extract has, where these patients are a part of it:
    a kind of data that is nowhere is unknown, not missing. ``drugs`` (``rules.causes.resolved_drugs``) says what the lines
    of the medication lists name, where that is known already. ``as_of`` is UTC.
    """
    policy = policy or load_policy()
    reference = load_reference().worded_by(policy)
    chart = _with_laboratory_duffy(Chart.of(medications, patients, diagnoses, events), labs)
    exposures = exposures_of(chart.medications, resolved_drugs(chart.medications) if drugs is None else drugs, policy)

    counted = count_neutrophils(labs.lazy(), reference, policy)
    specimens = _judged_specimens(counted.anc, labs, chart.patients, exposures, policy)
    anc = _anc_table(specimens)

    numbered = _collected(with_episode_numbers(specimens.lazy()))
    cyclic = cyclic_series(specimens, policy, cytotoxic_courses(exposures))
    deaths = _collected(recorded_deaths(chart.patients.lazy(), anc.lazy(), as_of))
    episodes = _collected(
        episodes_per_patient(numbered.lazy(), policy, as_of).pipe(with_cyclic, cyclic).pipe(with_deaths, deaths.lazy())
    )
    clozapine = _collected(
        clozapine_courses_now(specimens.lazy(), clozapine_courses(exposures), policy, as_of).join(
            deaths.lazy(), on="patient_id", how="anti"
        )
    )
    causes = find_causes(
        episodes.lazy(),
        anc.lazy(),
        specimens.lazy(),
        numbered.lazy(),
        labs,
        chart,
        exposures,
        policy,
        as_of,
        data_kinds,
    )

    raised = (
        severity_flags(numbered.lazy(), episodes.lazy()),
        rapid_decline_flags(specimens.lazy(), policy),
        decline_flags(specimens.lazy()),
        episode_flags(episodes.lazy(), policy, reference),
        newborn_flags(specimens.lazy()),
        fall_flags(specimens.lazy(), high_risk_courses(exposures), policy),
        clozapine_flags(clozapine.lazy(), as_of),
        causes.flags.lazy(),
    )
    flags = _collected(pl.concat(raised, how="diagonal").pipe(with_episode, episodes.lazy()))
    declines = verdicts(flags.lazy(), specimens.lazy()).collect()
    ranked = with_priority(episodes, declines, flags, specimens, causes, reference, policy)
    high_risk = load_cause_reference().rules.drug_group.high_risk
    counts = counts_per_patient(specimens)
    again = counts_to_repeat(flags.lazy(), counts.lazy(), policy).collect()
    next_steps = next_step_per_patient(
        causes.steps, ranked, causes.suspects, high_risk, clozapine, again, policy, as_of
    )
    ranked = with_conclusion(ranked, causes, next_steps, policy)

    missing = [counted.missing(), _indeterminate(specimens), *([unusable] if unusable is not None else [])]
    given = exposures.lazy().filter(pl.col("ingredient").is_in(high_risk))
    unassessable = cannot_assess(pl.concat(missing).lazy(), specimens.lazy(), given, as_of).collect()
    everybody = known_patients(labs, clozapine, *missing, *([others] if others is not None else []))
    status = patient_status(counts, ranked, declines, causes.suspects, next_steps, deaths, everybody, unassessable)

    return ScreenResult(
        anc=anc,
        episode=_table(ranked, Episode, "patient_id", "started_at"),
        flag=_table(flags, Flag, "patient_id", "raised_at", "rule_id", "specimen_id", "episode_id", "reason"),
        drug_course=_table(drug_courses(exposures), DrugCourse, "patient_id", "ingredient", "course"),
        fall=_table(causes.falls, Fall, "patient_id", "seen_at"),
        drug_suspect=_table(causes.suspects, DrugSuspect, "episode_id", "fall_id", "rank", "ingredient"),
        evidence=_table(causes.evidence, Evidence, "episode_id", "category", "rule_id", "finding", "source"),
        workup_step=_table(causes.steps, WorkupStep, "episode_id", "step"),
        patient_status=_table(status, PatientStatus, "patient_id"),
        worklist=_first_worklist(ranked, flags, status, reference, policy, as_of),
        cannot_assess=_table(unassessable, CannotAssess, "patient_id", "since", "reason"),
        clozapine_course=_table(clozapine, ClozapineCourse, "patient_id"),
        contradicted=counted.contradicted,
    )


def _first_worklist(
    episodes: pl.DataFrame,
    flags: pl.DataFrame,
    status: pl.DataFrame,
    reference: Reference,
    policy: Policy,
    as_of: datetime,
) -> pl.DataFrame:
    """The worklist in its order, as if nobody had seen any of it before."""
    nothing = no_rows(WorklistRow).lazy()
    cases = open_cases(episodes.lazy(), flags.lazy(), status.lazy(), nothing, reference)
    rows = worklist_rows(cases, status.lazy(), nothing, episodes.lazy(), reference, policy, as_of, "")
    return in_worklist_order(rows.collect()).drop("run_id")


def _with_laboratory_duffy(chart: Chart, labs: pl.DataFrame) -> Chart:
    return replace(chart, patients=with_laboratory_duffy(chart.patients, labs, load_cause_reference()))


def _judged_specimens(
    counts: pl.DataFrame, labs: pl.DataFrame, patients: pl.DataFrame, exposures: pl.DataFrame, policy: Policy
) -> pl.DataFrame:
    """Every count with severity, grades, context, trend and decline: what the rules of sections 2 and 4 add to it.

    Each step joins the frame to itself, so each result is collected: twelve joins in one lazy plan are 4,096 scans.
    """
    reference, people = load_reference(), patients.lazy()
    graded = _collected(with_grades(counts.lazy(), people, reference))
    bounded = _collected(with_interval(graded.lazy(), policy, reference))
    based = _collected(with_baseline(bounded.lazy(), people, policy))
    compared = _collected(with_significant_fall(based.lazy(), policy))
    noted = _collected(with_mix_up_note(compared.lazy(), labs, policy))
    in_context = _collected(with_severity_in_context(noted.lazy(), people, policy))
    with_lines = _collected(with_other_lines(in_context.lazy(), labs, policy))
    declining = _collected(with_rapid_decline(with_lines.lazy(), policy))
    judged = _collected(with_decline_verdict(declining.lazy(), policy, high_risk_courses(exposures)))
    trended = _collected(with_trend(judged.lazy(), policy))
    projected = _collected(with_projection(trended.lazy(), policy))
    return _collected(with_clozapine_ladder(projected.lazy(), clozapine_courses(exposures), people, policy))


def _collected(plan: pl.LazyFrame) -> pl.DataFrame:
    """The in-memory engine adds new columns beside the old ones; the streaming engine copies all of them."""
    return plan.collect(engine="in-memory")


def _indeterminate(specimens: pl.DataFrame) -> pl.DataFrame:
    """Counts whose severity is unknown (ANC-6, ANC-10), as ``unusable``."""
    return specimens.filter(pl.col("severity").is_null()).select(
        "patient_id", "specimen_id", reason=pl.lit("indeterminate"), since="collected_at"
    )


def _anc_table(specimens: pl.DataFrame) -> pl.DataFrame:
    routes = specimens.with_columns(
        rapid_decline=has_rapid_decline(),
        anc_reported=pl.coalesce("neut_abs", "neut_abs_manual"),
        anc_segs_and_bands=pl.coalesce("segs_and_bands", "segs_and_bands_manual"),
        anc_from_percent=pl.coalesce("from_percent", "from_percent_manual"),
        anc_manual="chosen_manual",
        wbc_cells_per_ul="wbc",
        # Sums and means of floats differ in the last digits from run to run: what is published does not.
        **{name: pl.col(name).round_sig_figs(9) for name in _FITTED},
    )
    return _table(routes, Anc, "patient_id", "collected_at", "specimen_id")


_FITTED: Final = (
    "baseline_cells_per_ul",
    "slope_log2_per_week",
    "slope_low",
    "slope_high",
    "days_to_severe",
    "days_to_severe_low",
    "days_to_severe_high",
)


def _table(frame: pl.DataFrame, model: type[pa.DataFrameModel], *order: str) -> pl.DataFrame:
    return in_shape(frame, model).sort(order, nulls_last=True)

"""What the rules conclude: ANC per specimen, episodes, flags, suspects, evidence, work-up, status per patient."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from neutro_schemas.vocabulary import ANC_METHODS, COMPARATORS, PRIORITIES, SEVERITIES

Microseconds = Annotated[pl.Datetime, "us", None]
SeverityType = Annotated[pl.Enum, SEVERITIES]
PriorityType = Annotated[pl.Enum, PRIORITIES]


class Anc(pa.DataFrameModel):
    """One specimen and the absolute neutrophil count that was chosen for it (RULES.md sections 1, 2 and 4)."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    specimen_id: str = pa.Field(description="The source's specimen id; '@' and the collection time where it has none.")
    collected_at: Microseconds = pa.Field(description="Collection time, UTC.")
    anc_cells_per_ul: float = pa.Field(ge=0, description="ANC in cells/uL; with a comparator, the bound.")
    anc_comparator: str = pa.Field(nullable=True, isin=COMPARATORS, description="Comparator of a censored ANC.")
    anc_method: str = pa.Field(isin=ANC_METHODS, description="Route by which the ANC was obtained (ANC-3, ANC-10).")
    anc_low: float = pa.Field(nullable=True, description="Lower end of the 95 % interval, cells/uL (ANC-8).")
    anc_high: float = pa.Field(nullable=True, description="Upper end of the 95 % interval, cells/uL (ANC-8).")
    severity: SeverityType = pa.Field(nullable=True, description="Context-free severity (SEV-1); null = unknown.")
    severity_in_context: str = pa.Field(nullable=True, description="Severity with the patient's context (SEV-3).")
    ctcae_v4_grade: pl.Int8 = pa.Field(nullable=True, description="CTCAE v4.03 grade 0-4; null = not graded.")
    ctcae_v5_grade: pl.Int8 = pa.Field(nullable=True, description="CTCAE v5.0 grade 0-4; null = not graded.")
    ctcae_v6_grade: pl.Int8 = pa.Field(nullable=True, description="CTCAE v6.0 grade 0-4; null = not graded.")
    daids_grade: pl.Int8 = pa.Field(nullable=True, description="DAIDS v2.1 grade 0-4 by age; null = not graded.")
    baseline_cells_per_ul: float = pa.Field(nullable=True, description="Personal baseline, cells/uL (TRD-1).")
    trend: str = pa.Field(nullable=True, description="falling, stable, rising or insufficient (TRD-3).")
    slope_log2_per_week: float = pa.Field(nullable=True, description="Robust slope of log2 ANC per week (TRD-3).")
    slope_low: float = pa.Field(nullable=True, description="Lower end of the slope's 95 % interval.")
    slope_high: float = pa.Field(nullable=True, description="Upper end of the slope's 95 % interval.")
    days_to_severe: float = pa.Field(nullable=True, description="Days until 500 cells/uL, falling for certain (TRD-4).")
    days_to_severe_low: float = pa.Field(nullable=True, description="Lower end of its interval, days.")
    days_to_severe_high: float = pa.Field(nullable=True, description="Upper end; null = not within the horizon.")
    significant_fall: bool = pa.Field(nullable=True, description="Fall beyond the reference change value (TRD-2).")
    rapid_decline: bool = pa.Field(description="RPD-1, RPD-2 or the verdict of RPD-3 and RPD-4 on this specimen.")
    decline: str = pa.Field(
        nullable=True,
        isin=("confirmed", "unconfirmed", "suspected", "contradicted"),
        description="Verdict on the true course (RPD-3, RPD-4); null = no fall of that kind.",
    )
    context_reason: str = pa.Field(nullable=True, description="What context the count is seen in (SEV-3).")
    cytopenia: str = pa.Field(
        nullable=True,
        isin=("isolated", "bicytopenia", "pancytopenia", "unknown"),
        description="Other cell lines at a low ANC (SEV-5).",
    )
    clozapine_step: str = pa.Field(nullable=True, description="Step of the clozapine ladder while on it (SEV-4).")
    next_anc_due: Microseconds = pa.Field(nullable=True, description="Next ANC by the clozapine schedule, UTC (SEV-4).")
    notes: str = pa.Field(nullable=True, description="What was unusual, comma-separated words.")
    anc_reported: float = pa.Field(nullable=True, description="Reported absolute count, cells/uL.")
    anc_segs_and_bands: float = pa.Field(nullable=True, description="Segmented plus band count, cells/uL.")
    anc_from_percent: float = pa.Field(nullable=True, description="WBC x percent / 100, cells/uL.")
    anc_manual: float = pa.Field(nullable=True, description="Count from the manual differential, cells/uL.")
    wbc_cells_per_ul: float = pa.Field(nullable=True, description="White cells used, cells/uL.")
    reference_low: float = pa.Field(nullable=True, description="The row's own lower limit of normal, cells/uL.")
    resulted_at: Microseconds = pa.Field(nullable=True, description="Time of the latest result used, UTC.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported.")

    class Config:
        strict = True


class Episode(pa.DataFrameModel):
    """One episode of neutropenia (EPI-1 ... EPI-5)."""

    episode_id: str = pa.Field(description="Patient and start of the episode.")
    patient_id: str = pa.Field(description="Patient identifier, text.")
    started_at: Microseconds = pa.Field(description="First ANC < 1500, UTC.")
    ended_at: Microseconds = pa.Field(nullable=True, description="First later ANC >= 1500; null while open.")
    last_low_at: Microseconds = pa.Field(description="Last ANC < 1500 of the episode, UTC.")
    nadir_cells_per_ul: float = pa.Field(description="Lowest ANC, cells/uL.")
    nadir_comparator: str = pa.Field(nullable=True, isin=COMPARATORS, description="Comparator of the nadir.")
    nadir_at: Microseconds = pa.Field(description="Time of the nadir, UTC.")
    worst_severity: SeverityType = pa.Field(description="Worst severity within the episode.")
    current_severity: SeverityType = pa.Field(nullable=True, description="Severity of the episode's last result.")
    duration_days: float = pa.Field(description="First low to the end, or to the last low while open, days.")
    n_results: int = pa.Field(ge=1, description="Number of low results.")
    days_mild: float = pa.Field(description="Days at mild, each value carried to the next, at most 30 d.")
    days_moderate: float = pa.Field(description="Days at moderate.")
    days_severe: float = pa.Field(description="Days at severe.")
    days_profound: float = pa.Field(description="Days at profound.")
    last_normal_at: Microseconds = pa.Field(nullable=True, description="Last ANC >= 1500 before the episode, UTC.")
    last_normal_cells_per_ul: float = pa.Field(nullable=True, description="That value, cells/uL.")
    recovery_days: float = pa.Field(nullable=True, description="Days from the nadir to >= 1500; null while open.")
    is_persistent: bool = pa.Field(description="Low for as long as persistent means in the policy (EPI-2).")
    is_severe_chronic: bool = pa.Field(description="Severe as often and as long as the policy asks for (EPI-2).")
    is_recurrent: bool = pa.Field(description="As many episodes within the time that the policy names (EPI-2).")
    is_prolonged_profound: bool = pa.Field(description="Severe or profound for as long as the policy names (EPI-2).")
    is_cyclic: bool = pa.Field(description="Cyclic pattern (EPI-3).")
    cycle_days: float = pa.Field(nullable=True, description="Period of the cycle, days (EPI-3).")
    is_isolated_low: bool = pa.Field(description="One low value between normals (EPI-4).")
    status: str = pa.Field(
        isin=("new", "worsening", "ongoing", "recovering", "resolved", "stale", "died"),
        description="Status at the run's index time (EPI-5); died = the patient's death is recorded (EPI-6).",
    )
    is_expected: bool = pa.Field(
        nullable=True, description="The leading explanation is the expected effect of a cytotoxic drug (DRG-5)."
    )
    priority: PriorityType = pa.Field(nullable=True, description="Highest priority of this episode (section 7).")
    reasons: str = pa.Field(nullable=True, description="Reasons in plain words, most urgent first.")
    reason_codes: str = pa.Field(nullable=True, description="Reason codes, comma-separated, most urgent first.")
    conclusion: str = pa.Field(
        nullable=True,
        description="One sentence: the leading explanation, what argues for and against it, the first thing to do.",
    )
    telling_test: str = pa.Field(
        nullable=True, description="The one test that would best tell the two leading explanations apart (WRK-4)."
    )
    notes: str = pa.Field(nullable=True, description="What was unusual, comma-separated words.")

    class Config:
        strict = True


class Flag(pa.DataFrameModel):
    """One rule that fired, with the results it was raised from."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    specimen_id: str = pa.Field(nullable=True, description="The specimen that raised it, where one did.")
    episode_id: str = pa.Field(nullable=True, description="The episode it belongs to, where it does.")
    rule_id: str = pa.Field(description="Rule of RULES.md.")
    raised_at: Microseconds = pa.Field(description="Collection time of the result that raised it, UTC.")
    reason: str = pa.Field(description="The rule in plain words, with this patient's numbers.")
    evidence: str = pa.Field(description="JSON: the results it was raised from: specimen ids, times, values.")

    class Config:
        strict = True


class DrugCourse(pa.DataFrameModel):
    """One course of one listed drug, made from the lines of the medication lists (DRG-1)."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    ingredient: str = pa.Field(description="Ingredient (INN); for a class fall-back the class.")
    use: str = pa.Field(nullable=True, description="What it is given for, where code or name tell (drug_uses.csv).")
    course: int = pa.Field(ge=1, description="1 = first course of the drug.")
    started_on: pl.Date = pa.Field(
        nullable=True, description="First day, the earliest that its line allows; null = not known."
    )
    started_on_latest: pl.Date = pa.Field(
        nullable=True, description="The latest first day that its line allows; null = not known."
    )
    ended_on: pl.Date = pa.Field(nullable=True, description="Last day; null = still given.")
    is_start_unread: bool = pa.Field(description="A start was sent that could not be read: since when is not known.")
    is_end_unread: bool = pa.Field(
        description="An end was sent that could not be read: whether it is still given is not known."
    )
    n_lines: int = pa.Field(ge=1, description="Lines of the medication list that the course is made from.")
    is_cause: bool = pa.Field(description="The drug is listed as a cause of neutropenia.")
    is_confounder: bool = pa.Field(description="The drug raises the count or hides a fall.")
    part_of: str = pa.Field(
        nullable=True, description="Drug of the same days with which it counts as one exposure; null = none."
    )

    class Config:
        strict = True


class Fall(pa.DataFrameModel):
    """One fall of the count: at the start of an episode or within it; what drugs are judged against (DRG-1)."""

    fall_id: str = pa.Field(unique=True, description="Patient and first count that shows the fall.")
    patient_id: str = pa.Field(description="Patient identifier, text.")
    episode_id: str = pa.Field(description="Episode.")
    kind: str = pa.Field(
        isin=("onset", "unseen", "deeper", "halving"),
        description="onset: from a normal count into the episode; unseen: no count before; deeper: into a lower severity "
        "band within the episode; halving: to half of the level before, in the same band.",
    )
    from_cells_per_ul: float = pa.Field(nullable=True, description="Last ANC before the fall, cells/uL; null = none.")
    started_at: Microseconds = pa.Field(description="Time of that count, UTC; of the first low count where none is.")
    seen_at: Microseconds = pa.Field(description="First count that shows the fall, UTC.")
    to_cells_per_ul: float = pa.Field(description="Lowest ANC of the descent, cells/uL.")
    to_comparator: str = pa.Field(nullable=True, isin=COMPARATORS, description="Comparator of the lowest ANC.")
    reached_at: Microseconds = pa.Field(description="Time of the lowest count of the descent, UTC.")
    back_at: Microseconds = pa.Field(
        nullable=True, description="First later count that is normal or at the level fallen from, UTC; null = none yet."
    )
    leads_to_nadir: bool = pa.Field(
        description="It leads to the episode's lowest count: its suspects rank the episode."
    )

    class Config:
        strict = True


class DrugSuspect(pa.DataFrameModel):
    """One drug and one fall (DRG-1 ... DRG-7); an excluded drug stands once, beside the last fall of its episode."""

    episode_id: str = pa.Field(description="Episode.")
    fall_id: str = pa.Field(description="Fall that the drug is judged against.")
    leads_to_nadir: bool = pa.Field(description="The fall leads to the episode's lowest count: the episode's ranking.")
    patient_id: str = pa.Field(description="Patient identifier, text.")
    ingredient: str = pa.Field(description="Ingredient (INN); for a class fall-back the class.")
    drug_class: str = pa.Field(nullable=True, description="Class of the drug.")
    category: str = pa.Field(
        isin=("likely", "possible", "unlikely", "expected", "beyond_expected", "excluded"),
        description="Category (DRG-4, DRG-5); expected = cytotoxic in its time; beyond_expected = longer or deeper than "
        "that; excluded = started after the last fall.",
    )
    score: pl.Int16 = pa.Field(nullable=True, description="Causality score; null where excluded.")
    rank: pl.Int16 = pa.Field(
        nullable=True, description="1 = strongest suspect of the fall, expected drugs apart; null where excluded."
    )
    first_exposure: pl.Date = pa.Field(
        nullable=True, description="First day of the exposure that counts; null = not known."
    )
    last_exposure: pl.Date = pa.Field(nullable=True, description="Last day; null = still given.")
    is_end_unread: bool = pa.Field(
        description="An end was sent that could not be read: whether it is still given is not known."
    )
    reason: str = pa.Field(description="Why, in one sentence.")
    items: str = pa.Field(description="JSON: points per component; Naranjo and WHO-UMC items, unknown ones as null.")

    class Config:
        strict = True


class Evidence(pa.DataFrameModel):
    """One line of evidence for a cause (RULES.md section 5)."""

    episode_id: str = pa.Field(description="Episode.")
    patient_id: str = pa.Field(description="Patient identifier, text.")
    category: str = pa.Field(description="medication, haematologic malignancy, infection, marrow production, ...")
    rule_id: str = pa.Field(description="Rule of RULES.md.")
    finding: str = pa.Field(description="What was found, with its date and number.")
    strength: str = pa.Field(isin=("strong", "moderate", "weak", "context"), description="How much it weighs.")
    source: str = pa.Field(description="Where the finding came from and the source of the rule.")

    class Config:
        strict = True


class WorkupStep(pa.DataFrameModel):
    """One step of the work-up of one open episode (WRK-1 ... WRK-3)."""

    episode_id: str = pa.Field(description="Episode.")
    patient_id: str = pa.Field(description="Patient identifier, text.")
    step: str = pa.Field(
        description="repeat_cbc, smear, medication_review, travel_history, viral_serology or bone_marrow."
    )
    state: str = pa.Field(
        isin=("done", "due", "overdue", "list_on_file", "not_applicable", "unknown"),
        description="list_on_file = a medication list, but no review recorded; unknown = no such data in the extract; "
        "neither is ever overdue.",
    )
    done_on: pl.Date = pa.Field(nullable=True, description="Day it was done.")
    due_on: Microseconds = pa.Field(nullable=True, description="When it is due, UTC.")
    asked_since: Microseconds = pa.Field(
        nullable=True, description="When the severity that asks for the step was reached, UTC (WRK-3)."
    )

    class Config:
        strict = True


class ClozapineCourse(pa.DataFrameModel):
    """One patient on clozapine and when the next ANC is due (SEV-4)."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    first_exposure: pl.Date = pa.Field(nullable=True, description="First day of the present course; null = not known.")
    last_exposure: pl.Date = pa.Field(nullable=True, description="Last day; null = still given.")
    is_end_unread: bool = pa.Field(description="An end was sent that could not be read: it counts as given.")
    last_anc_cells_per_ul: float = pa.Field(nullable=True, description="Last ANC on the course, cells/uL; null = none.")
    last_anc_comparator: str = pa.Field(nullable=True, description="Comparator of that ANC.")
    last_collected_at: Microseconds = pa.Field(nullable=True, description="Collection time of that ANC, UTC.")
    clozapine_step: str = pa.Field(nullable=True, description="Step of the ladder at that ANC.")
    next_anc_due: Microseconds = pa.Field(description="When the next ANC is due, UTC.")

    class Config:
        strict = True


class PatientStatus(pa.DataFrameModel):
    """One patient at the index time of the run."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    worst_severity: SeverityType = pa.Field(nullable=True, description="Worst severity ever; null = never assessable.")
    current_severity: SeverityType = pa.Field(nullable=True, description="Severity of the latest ANC; null = unknown.")
    last_anc_cells_per_ul: float = pa.Field(nullable=True, description="Latest ANC, cells/uL.")
    last_anc_comparator: str = pa.Field(nullable=True, description="Comparator of the latest ANC.")
    last_collected_at: Microseconds = pa.Field(nullable=True, description="Collection time of the latest ANC, UTC.")
    current_severity_in_context: str = pa.Field(nullable=True, description="That of the latest ANC (SEV-3).")
    nadir_cells_per_ul: float = pa.Field(nullable=True, description="Lowest ANC ever, cells/uL.")
    nadir_comparator: str = pa.Field(nullable=True, description="Comparator of the lowest ANC.")
    has_rapid_decline: bool = pa.Field(description="A rapid decline was flagged at any time.")
    is_persistent: bool = pa.Field(description="Any episode is persistent.")
    is_cyclic: bool = pa.Field(description="The pattern is cyclic.")
    top_suspect: str = pa.Field(
        nullable=True, description="First-ranked ingredient of the latest episode, if possible."
    )
    priority: PriorityType = pa.Field(nullable=True, description="Highest priority of any episode; null = none.")
    reasons: str = pa.Field(nullable=True, description="Reasons in plain words, most urgent first.")
    reason_codes: str = pa.Field(nullable=True, description="Reason codes, comma-separated, most urgent first.")
    episode_id: str = pa.Field(nullable=True, description="The latest episode.")
    episode_status: str = pa.Field(nullable=True, description="Its status (EPI-5).")
    died_on: pl.Date = pa.Field(nullable=True, description="Recorded death, where no count was collected after it.")
    next_step: str = pa.Field(nullable=True, description="Next step due.")
    next_step_due: Microseconds = pa.Field(nullable=True, description="When the next step is due, UTC.")
    fall_pct: float = pa.Field(nullable=True, description="Steepest flagged fall, percent (ties on the worklist).")

    class Config:
        strict = True


class CannotAssess(pa.DataFrameModel):
    """One patient and one reason why the count cannot be assessed (ANC-9b)."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    reason: str = pa.Field(description="Reason of the refusal, kind of non-result, or what is missing.")
    since: Microseconds = pa.Field(description="Collection time of the result that could not be used, UTC.")
    specimen_id: str = pa.Field(nullable=True, description="Specimen that could not be used.")
    last_anc_cells_per_ul: float = pa.Field(nullable=True, description="Last usable ANC before it, cells/uL.")
    last_anc_comparator: str = pa.Field(nullable=True, description="Comparator of that ANC.")
    last_severity: SeverityType = pa.Field(nullable=True, description="Severity of that ANC; null = never assessable.")
    high_risk_drug: str = pa.Field(nullable=True, description="High-risk drugs given at the index time (RPD-4).")

    class Config:
        strict = True

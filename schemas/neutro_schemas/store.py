"""Tables that exist only in the store: runs, files, the worklist of every run, reviews, data quality."""

from typing import Annotated, Final

import pandera.polars as pa
import polars as pl

from neutro_schemas.vocabulary import PRIORITIES, SEVERITIES

Microseconds = Annotated[pl.Datetime, "us", None]
SeverityType = Annotated[pl.Enum, SEVERITIES]
PriorityType = Annotated[pl.Enum, PRIORITIES]


#: Changes of a worklist row against the run before (RULES.md section 7).
CHANGES: Final = ("new", "escalated", "unchanged", "improved", "resolved", "withdrawn", "lost", "died")


class RunTable(pa.DataFrameModel):
    """One run."""

    run_id: str = pa.Field(description="Index time of the run, with a number behind it where there are several.")
    started_at: Microseconds = pa.Field(description="When the run started by the machine's clock, UTC.")
    as_of: Microseconds = pa.Field(description="Index time: the only clock of the rules, UTC.")
    policy_version: str = pa.Field(description="Version of the policy.")
    policy_sha256: str = pa.Field(description="SHA-256 of the policy's values.")
    policy_values: str = pa.Field(nullable=True, description="JSON: the policy's values; null before version 2.")
    pseudonym_key: str = pa.Field(nullable=True, description="Fingerprint of the key of the pseudonyms; null = none.")
    software_version: str = pa.Field(description="Version of neutro_screen.")
    schema_version: int = pa.Field(nullable=True, description="Version of the store's tables; null before version 2.")
    rows_in: int = pa.Field(description="Laboratory rows read.")
    rows_accepted: int = pa.Field(description="Laboratory rows accepted and new.")
    rows_rejected: int = pa.Field(description="Laboratory rows refused.")
    rows_no_result: int = pa.Field(description="Laboratory rows that say that there is no result.")
    rows_duplicate: int = pa.Field(description="Laboratory rows that were there already.")
    rows_not_screened: int = pa.Field(description="Laboratory rows that are no business of the screen.")
    patients_touched: int = pa.Field(description="Patients screened in this run.")
    data_kinds: str = pa.Field(description="Kinds of data received so far, comma-separated; others are unknown.")
    counts: str = pa.Field(description="JSON: the account, flags by severity and priorities.")
    newest_result_at: Microseconds = pa.Field(nullable=True, description="Newest collection time received, UTC.")
    carries_since: str = pa.Field(
        nullable=True,
        description="First of the runs up to this one of which each carried over worklist rows from the one before; null "
        "before version 3.",
    )
    status: str = pa.Field(description="done; reduced where retention has removed what only that run had.")


class RunDelivery(pa.DataFrameModel):
    """One way in which a run was to reach its readers besides the store: the reports or a notification.

    A patient counts as new until a run whose reports were written (or, where none were asked for, whose notification was
    sent) has shown it.
    """

    run_id: str = pa.Field(description="Run.")
    kind: str = pa.Field(isin=("report", "notification"), description="report or notification, as asked for.")
    delivered_at: Microseconds = pa.Field(
        nullable=True,
        description="When it was done, UTC; null = not yet. Entered by the publication after it: until then it is in the "
        "journal beside the store.",
    )


class SourceFileTable(pa.DataFrameModel):
    """One input file of one run."""

    run_id: str = pa.Field(description="Run that read the file.")
    name: str = pa.Field(description="Name of the file.")
    kind: str = pa.Field(description="lab, medication, patient, diagnosis or event.")
    format: str = pa.Field(description="Format it was read as.")
    sha256: str = pa.Field(description="SHA-256 of its bytes.")
    rows: int = pa.Field(description="Rows read.")
    notes: str = pa.Field(nullable=True, description="What was unusual, comma-separated words.")
    first_collected_at: Microseconds = pa.Field(nullable=True, description="First collection time, UTC.")
    last_collected_at: Microseconds = pa.Field(nullable=True, description="Last collection time, UTC.")


class RunWarning(pa.DataFrameModel):
    """Something that was expected and did not come in."""

    run_id: str = pa.Field(description="Run.")
    kind: str = pa.Field(
        isin=(
            "no_data",
            "nothing_new",
            "late_feed",
            "silent_laboratory",
            "missing_analyte",
            "shrunken_extract",
            "missing_extract",
            "policy",
            "unrecognised",
            "refused_file",
            "patient_identifier",
            "refused_decision",
            "unreadable_file",
            "unreadable_dates",
        ),
        description="What is amiss.",
    )
    lab: str = pa.Field(nullable=True, description="The laboratory; null = the whole feed, or one without a name.")
    detail: str = pa.Field(description="In one sentence.")
    since: Microseconds = pa.Field(nullable=True, description="When it was last heard of, UTC; null = never.")


class RecognitionTable(pa.DataFrameModel):
    """One test of one laboratory in one run: what it was read as, how surely, and what decided (REC-6)."""

    run_id: str = pa.Field(description="Run.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported.")
    code_system: str = pa.Field(nullable=True, description="System of code.")
    code: str = pa.Field(nullable=True, description="The source's own code, else the LOINC code, as sent.")
    name: str = pa.Field(nullable=True, description="Test name as sent.")
    unit: str = pa.Field(nullable=True, description="Unit as sent.")
    specimen: str = pa.Field(nullable=True, description="Specimen as sent.")
    analyte: str = pa.Field(
        nullable=True, description="What it was read as; where it was not used, what it probably is."
    )
    specimen_read: str = pa.Field(nullable=True, description="blood, other, control or unknown; null = not stated.")
    certainty: str = pa.Field(
        isin=("certain", "probable", "unknown", "other_test", "conflict"), description="Only what is certain is used."
    )
    decided_by: str = pa.Field(nullable=True, description="profile, code, name, unit, specimen or values.")
    reason: str = pa.Field(nullable=True, description="Why its rows are kept aside or not screened, or a note.")
    rows: int = pa.Field(description="Rows of this run.")
    patients: int = pa.Field(description="Patients of these rows.")
    profile_line: str = pa.Field(nullable=True, description="TOML line for a profile that would settle it.")


class LaboratoryDay(pa.DataFrameModel):
    """One day on which a laboratory collected: how often it usually sends."""

    lab: str = pa.Field(nullable=True, description="The laboratory that reported; null where it has no name.")
    day: pl.Date = pa.Field(description="Day of collection, UTC.")
    newest_at: Microseconds = pa.Field(description="Newest collection time of that day, UTC.")


class WithdrawnFlag(pa.DataFrameModel):
    """One flag that no longer stands: a later run did not raise it again."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    specimen_id: str = pa.Field(nullable=True, description="Specimen; null where the rule is about an episode.")
    episode_id: str = pa.Field(nullable=True, description="Episode.")
    rule_id: str = pa.Field(description="Rule of RULES.md.")
    run_id: str = pa.Field(description="Run that first raised the flag.")
    withdrawn_by: str = pa.Field(description="Run in which it no longer stood.")


class PatientMerge(pa.DataFrameModel):
    """One patient record that was merged into another; its rows are screened as the survivor's."""

    patient_id: str = pa.Field(description="The record that was merged away; rows received under it keep it.")
    survivor_id: str = pa.Field(description="The record that stands for the person, over any number of merges.")
    replaced_by: str = pa.Field(description="The record that it was merged into.")
    source_file: str = pa.Field(description="Name of the input file that said so.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")
    run_id: str = pa.Field(description="Run that brought the merge.")


class WorklistRow(pa.DataFrameModel):
    """One patient on the worklist of one run."""

    run_id: str = pa.Field(description="Run.")
    patient_id: str = pa.Field(description="Patient identifier, text.")
    priority: PriorityType = pa.Field(description="Priority of what is open, or was seen for the first time.")
    previous_priority: PriorityType = pa.Field(nullable=True, description="Priority in the run before.")
    row_group: str = pa.Field(
        nullable=True,
        isin=("open", "recovered", "withdrawn", "lost_to_follow_up", "died"),
        description="Group on the page (EPI-6); null in runs before version 3.",
    )
    change: str = pa.Field(
        isin=CHANGES, description="Against the run before; improved and resolved need a new result (EPI-6)."
    )
    is_recent: bool = pa.Field(
        nullable=True, description="New or changed, and the latest ANC is of the last days (policy worklist.new_d)."
    )
    is_expected: bool = pa.Field(nullable=True, description="The lane of expected cytotoxic neutropenia (DRG-5).")
    conclusion: str = pa.Field(nullable=True, description="One sentence: what leads, and the first thing to do.")
    reasons: str = pa.Field(nullable=True, description="Reasons in plain words, most urgent first.")
    reason_codes: str = pa.Field(nullable=True, description="Reason codes, most urgent first.")
    current_severity: SeverityType = pa.Field(nullable=True, description="Severity of the latest ANC.")
    worst_severity: SeverityType = pa.Field(nullable=True, description="Worst severity of the episode.")
    last_anc_cells_per_ul: float = pa.Field(nullable=True, description="Latest ANC, cells/uL.")
    last_anc_comparator: str = pa.Field(nullable=True, description="Comparator of the latest ANC.")
    last_collected_at: Microseconds = pa.Field(nullable=True, description="Collection time of the latest ANC, UTC.")
    nadir_cells_per_ul: float = pa.Field(nullable=True, description="Lowest ANC of the episode, cells/uL.")
    fall_pct: float = pa.Field(nullable=True, description="Steepest flagged fall, percent.")
    top_suspect: str = pa.Field(nullable=True, description="First-ranked ingredient.")
    next_step: str = pa.Field(nullable=True, description="Next step due.")
    next_step_due: Microseconds = pa.Field(nullable=True, description="When it is due, UTC.")
    episode_id: str = pa.Field(nullable=True, description="The episode that decides the priority.")
    episode_status: str = pa.Field(nullable=True, description="Its status.")


class WorklistEntry(WorklistRow):
    """One row of the worklist, kept once for all runs in which it stands unchanged; worklist_row shows it in each."""

    stands_until: Microseconds = pa.Field(
        nullable=True,
        description="Index time of the last run that carried the row over; null = it still stands, if it is of a patient "
        "lost to follow-up or of a finding outside of an episode. Other rows are of their run only.",
    )


class QualityCount(pa.DataFrameModel):
    """Rows of one run by file, laboratory, analyte and what became of them."""

    run_id: str = pa.Field(description="Run.")
    source_file: str = pa.Field(description="Name of the file.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported.")
    analyte: str = pa.Field(nullable=True, description="Analyte, or the source's own code and name where unmapped.")
    disposition: str = pa.Field(description="accepted, rejected, no_result, duplicate or not_screened.")
    reason: str = pa.Field(nullable=True, description="Why, for rows that were not accepted.")
    rows: int = pa.Field(description="Number of rows.")


class QualityMeasure(pa.DataFrameModel):
    """One measure of data quality of one run: how many of how many, and the share or the median."""

    run_id: str = pa.Field(description="Run.")
    source_file: str = pa.Field(nullable=True, description="Name of the file; null = all files of the laboratory.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported; null = not named.")
    analyte: str = pa.Field(nullable=True, description="Analyte; null = all of the laboratory's rows.")
    measure: str = pa.Field(
        description="rows, accepted, new, rejected, no_result, unit, median, unmapped, code_contradicts_unit, "
        "wbc_without_differential, anc_discordant, hour_of_day, or what is odd about a collection time: date_only, "
        "midnight, collected_after_resulted, collected_from_result_time, time_skipped_by_clock, "
        "time_shown_twice_by_clock."
    )
    detail: str = pa.Field(
        nullable=True,
        description="Reason, kind of non-result, unit as sent, code or hour (local); null = all of them together.",
    )
    n: int = pa.Field(description="How many: rows, or specimens for the differential, discordance and hours.")
    of: int = pa.Field(description="Of how many.")
    value: float = pa.Field(nullable=True, description="n / of; for median the median in the canonical unit.")


class QualityDrift(pa.DataFrameModel):
    """One thing about a laboratory that is not as it was in its last runs."""

    run_id: str = pa.Field(description="Run.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported; null = not named.")
    analyte: str = pa.Field(nullable=True, description="Analyte; null = the laboratory as a whole.")
    what: str = pa.Field(
        description="What drifted: a measure of quality_measure, volume or new_laboratory (drift_rules.csv)."
    )
    before: str = pa.Field(nullable=True, description="As it was, in words.")
    now: str = pa.Field(nullable=True, description="As it is, in words.")
    before_value: float = pa.Field(nullable=True, description="As it was: share, median or rows a run.")
    now_value: float = pa.Field(nullable=True, description="As it is.")
    n: int = pa.Field(description="Rows or specimens of this run that say so.")
    runs: int = pa.Field(description="Earlier runs that it was compared with.")
    words: str = pa.Field(description="The finding as a sentence.")


class AuditTable(pa.DataFrameModel):
    """One thing that was done to the store or with it, and every run that failed."""

    at: Microseconds = pa.Field(description="When, UTC, by the machine's clock.")
    action: str = pa.Field(
        isin=("run", "review", "review_file", "retention", "migrate", "rebuild", "export", "failed_run"),
        description="What.",
    )
    by: str = pa.Field(nullable=True, description="Who: the reviewer as named, else the user of the machine.")
    subject_sha256: str = pa.Field(
        nullable=True, description="SHA-256 of the patient's identifier, where it is about one."
    )
    counts: str = pa.Field(
        description="JSON: rows by kind or table, a failed run's exit code, a migration's versions, the hash of a file."
    )


class ReviewTable(pa.DataFrameModel):
    """One decision of a reviewer."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    status: str = pa.Field(isin=("acknowledged", "snoozed", "dismissed"), description="Decision.")
    until: pl.Date = pa.Field(nullable=True, description="Last day of a snooze.")
    note: str = pa.Field(nullable=True, description="Reason given.")
    by: str = pa.Field(nullable=True, description="Who decided.")
    at: Microseconds = pa.Field(description="When, UTC.")
    priority: PriorityType = pa.Field(
        nullable=True, description="Priority when it was reviewed; a higher one wakes it."
    )
    nadir_cells_per_ul: float = pa.Field(nullable=True, description="Nadir when it was reviewed; a lower one wakes it.")


class DrugMatch(pa.DataFrameModel):
    """One way in which the medication lists write a drug, and an ingredient that it names."""

    drug_name: str = pa.Field(nullable=True, description="The drug as written by the source.")
    atc_code: str = pa.Field(nullable=True, description="ATC code as sent, upper case.")
    rxcui: str = pa.Field(nullable=True, description="RxNorm concept as sent.")
    route: str = pa.Field(nullable=True, description="Route as sent.")
    ingredient: str = pa.Field(nullable=True, description="Ingredient of the drug tables; null where no table has it.")
    drug_class: str = pa.Field(nullable=True, description="Its class.")
    matched_by: str = pa.Field(description="atc, rxcui, name, regimen, fuzzy, atc_prefix, or why nothing matched.")


INTERNAL_COMMENTS: Final = {
    "contradicted_result": "Results that the rest of their specimen contradicts; judged anew every time.",
    "patient_summary": "What the view patient_status shows.",
    "unassessable": "What the view cannot_assess shows.",
}

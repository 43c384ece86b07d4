"""The contracts of neutro_screen's tables: pandera models and vocabularies, nothing else."""

from neutro_schemas.chart import Diagnosis, Event, Medication, Patient
from neutro_schemas.lab_result import DAMAGED_NUMBER, LabResult, LabRow, NoResult, RejectedRow, ScreenedResult
from neutro_schemas.result import (
    Anc,
    CannotAssess,
    ClozapineCourse,
    DrugSuspect,
    Episode,
    Evidence,
    Flag,
    PatientStatus,
    WorkupStep,
)
from neutro_schemas.vocabulary import (
    ANC_METHODS,
    COMPARATORS,
    NOT_UNDERSTOOD,
    PRIORITIES,
    RETRACTED_STATUSES,
    SEVERITIES,
    STATUSES,
    WITHHELD,
    Priority,
    Severity,
)

__all__ = [
    "ANC_METHODS",
    "COMPARATORS",
    "DAMAGED_NUMBER",
    "NOT_UNDERSTOOD",
    "PRIORITIES",
    "RETRACTED_STATUSES",
    "SEVERITIES",
    "STATUSES",
    "WITHHELD",
    "Anc",
    "CannotAssess",
    "ClozapineCourse",
    "Diagnosis",
    "DrugSuspect",
    "Episode",
    "Event",
    "Evidence",
    "Flag",
    "LabResult",
    "LabRow",
    "Medication",
    "NoResult",
    "Patient",
    "PatientStatus",
    "Priority",
    "RejectedRow",
    "ScreenedResult",
    "Severity",
    "WorkupStep",
]

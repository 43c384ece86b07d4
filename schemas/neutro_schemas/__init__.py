"""The contracts of neutro_screen's tables: pandera models and vocabularies, nothing else."""

from neutro_schemas.chart import Diagnosis, Event, Medication, Patient
from neutro_schemas.lab_result import DAMAGED_NUMBER, LabResult, LabRow, NoResult, RejectedRow, ScreenedResult
from neutro_schemas.result import (
    Anc,
    CannotAssess,
    DrugSuspect,
    Episode,
    Evidence,
    Fall,
    Flag,
    PatientStatus,
    WorkupStep,
)
from neutro_schemas.vocabulary import (
    ANC_METHODS,
    COMPARATORS,
    PRIORITIES,
    RETRACTED_STATUSES,
    SEVERITIES,
    STATUSES,
    Priority,
    Severity,
)

__all__ = [
    "ANC_METHODS",
    "COMPARATORS",
    "DAMAGED_NUMBER",
    "PRIORITIES",
    "RETRACTED_STATUSES",
    "SEVERITIES",
    "STATUSES",
    "Anc",
    "CannotAssess",
    "Diagnosis",
    "DrugSuspect",
    "Episode",
    "Event",
    "Evidence",
    "Fall",
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

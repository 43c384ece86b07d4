"""The closed vocabularies of the tables, in clinical order where there is one."""

from typing import Final

import polars as pl

#: Ascending, so that ``severity >= 'severe'`` reads as it is meant (RULES.md SEV-1).
SEVERITIES: Final = ("normal", "mild", "moderate", "severe", "profound")
#: Ascending (RULES.md section 7).
PRIORITIES: Final = ("info", "low", "medium", "high", "critical")
COMPARATORS: Final = ("<", "<=", ">", ">=")

#: Result status in the pipeline, weakest first; the version that counts is the strongest (RULES.md ANC-2).
STATUSES: Final = ("preliminary", "final", "corrected")
#: A result with one of these takes back what was reported before it.
RETRACTED_STATUSES: Final = ("cancelled", "entered_in_error")

#: Why a row is kept aside that may feed the ANC: what it measures was not understood (RULES.md REC-2 to REC-4).
WITHHELD: Final = ("unrecognised_test", "code_name_conflict", "specimen_conflict", "unknown_specimen")
#: Of these, what is about the test and not about the specimen of an order.
NOT_UNDERSTOOD: Final = WITHHELD[:3]

#: Events of the chart that the rules can use.
EVENTS: Final = (
    "travel",
    "smear_review",
    "bone_marrow",
    "medication_review",
    "splenectomy",
    "transfusion",
    "growth_factor",
    "temperature",
)

ANC_METHODS: Final = (
    "reported",
    "reported_manual",
    "segs_and_bands",
    "segs_and_bands_manual",
    "wbc_percent",
    "wbc_percent_manual",
    "granulocyte_upper_bound",
    "granulocyte_percent_upper_bound",
    "differential_upper_bound",
    "wbc_upper_bound",
)

Severity: Final = pl.Enum(SEVERITIES)
Priority: Final = pl.Enum(PRIORITIES)

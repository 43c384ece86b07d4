"""What the page needs for decisions: preset reasons, and of every patient it shows what the saved file says of it."""

from functools import cache
from typing import Any, Final

from neutro_schemas.reference import ReviewReason
from neutro_screen.reference import reference_table
from neutro_screen.report.contents import RunContents
from neutro_screen.report.html.patients import key_of
from neutro_screen.store.decisions import FORMAT

Row = dict[str, Any]
#: What the saved file says of a patient.
_SUBJECT: Final = ("patient_id", "priority", "nadir_cells_per_ul")
#: Rows of the list of unknown counts that the page holds.
MOST_UNKNOWN: Final = 1000


@cache
def presets() -> list[Row]:
    """Reasons for a decision: status, key (of the keyboard), reason, days (of a snooze; null = none)."""
    return reference_table("review_reasons.csv", ReviewReason).select("status", "key", "reason", "days").to_dicts()


def unknown_rows(contents: RunContents) -> list[Row]:
    """The view ``cannot_assess`` by risk, the first ``MOST_UNKNOWN``: with ``key``, and ``is_first`` where a patient begins."""
    seen: set[str] = set()
    rows = []
    for row in contents.cannot_assess.head(MOST_UNKNOWN).iter_rows(named=True):
        rows.append(row | {"key": key_of(row["patient_id"]), "is_first": row["patient_id"] not in seen})
        seen.add(row["patient_id"])
    return rows


def deciding(contents: RunContents, panels: list[Row]) -> Row:
    """For the script: format, run, first day of a snooze, and key -> identifier, priority and nadir (cells/uL) as shown."""
    listed = {row[0]: list(row) for row in contents.worklist.select(_SUBJECT).iter_rows()}
    shown = dict.fromkeys(row["patient_id"] for row in [*panels, *unknown_rows(contents)])
    return {
        "format": FORMAT,
        "run_id": contents.run["run_id"],
        "first_day": contents.run["as_of"].date().isoformat(),
        "presets": presets(),
        "subjects": {key_of(patient): listed.get(patient, [patient, None, None]) for patient in shown},
    }

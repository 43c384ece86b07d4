"""The command that records a reviewer's decision."""

from pathlib import Path
from typing import Literal

from neutro_screen.cli.output import AsJson, Quiet, write_result
from neutro_screen.errors import ConfigurationError


def review(
    patient_id: str,
    *,
    store: Path,
    status: Literal["acknowledged", "snoozed", "dismissed"],
    until: str | None = None,
    note: str | None = None,
    by: str | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Record a reviewer's decision. A higher priority or a lower nadir wakes the patient again.

    Example: neutro-screen review P-001 --store screen.duckdb --status snoozed --until 2026-12-01 --note "repeat booked"

    Parameters
    ----------
    patient_id
        The patient's identifier.
    store
        The DuckDB file.
    status
        acknowledged stays on the worklist; snoozed comes back after --until; dismissed leaves it.
    until
        Last day of the snooze, ISO date.
    note
        Why.
    by
        Who decided.
    quiet
        Show nothing but errors.
    json_
        Print the decision as JSON.
    """
    from neutro_screen.pipeline.options import clock, moment
    from neutro_screen.store.file import lock
    from neutro_screen.store.review import record_review

    if (status == "snoozed") != (until is not None):
        raise ConfigurationError("--until goes with --status snoozed, and only with it")
    last_day = moment(until).date() if until else None
    with lock(store):
        record_review(store, patient_id, status, until=last_day, note=note, by=by, at=clock())
    write_result({"status": status, "until": last_day, "note": note, "by": by}, f"recorded: {status}", quiet, json_)

"""The command that records reviewers' decisions: of the patients named, or of a file that the page saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from neutro_screen.cli.output import AsJson, Quiet, warn, write_result
from neutro_screen.errors import ConfigurationError

if TYPE_CHECKING:
    from neutro_screen.store.decisions import Applied

Status = Literal["acknowledged", "snoozed", "dismissed"]


def review(
    *patient_id: str,
    store: Path,
    status: Status | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    until: str | None = None,
    note: str | None = None,
    by: str | None = None,
    reports: Path | None = None,
    csv_bom: bool = False,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Record reviewers' decisions. A higher priority or a lower nadir wakes the patient again.

    Example: ``neutro-screen review P-001 P-002 --store screen.duckdb --status snoozed --until 2027-01-15 --note "repeat booked"``

    With --from, the decisions that were saved in the page are put on record together. Those whose patient has become worse
    since are refused and named; applied once more, the file changes nothing.

    Parameters
    ----------
    patient_id
        The patients' identifiers.
    store
        The DuckDB file.
    status
        acknowledged stays on the worklist; snoozed comes back after --until; dismissed leaves it.
    from_
        File of decisions that the page saved, instead of patients and --status.
    until
        Last day of the snooze, ISO date.
    note
        Why.
    by
        Who decided.
    reports
        Folder for report.html, flagged.csv and flags.csv, which are written again with the decisions.
    csv_bom
        CSV files for Excel: a byte order mark, and an apostrophe before ids that Excel would turn into numbers.
    quiet
        Show nothing but errors and warnings.
    json_
        Print the decisions as JSON.
    """
    from neutro_screen.pipeline.options import clock, moment
    from neutro_screen.pipeline.report import report_again
    from neutro_screen.store.file import lock
    from neutro_screen.store.review import record_review, review_from_file

    if from_ is not None and (patient_id or status or until or note or by):
        raise ConfigurationError(
            "--from brings the decisions; name no patient, --status, --until, --note or --by with it"
        )
    if from_ is None and not (patient_id and status):
        raise ConfigurationError("name the patients and --status, or a file that the page saved with --from")
    if (status == "snoozed") != (until is not None):
        raise ConfigurationError("--until goes with --status snoozed, and only with it")
    with lock(store):
        if from_ is not None:
            result, text = _told(review_from_file(store, from_, at=clock()), from_.name, quiet)
        else:
            last_day = moment(until).date() if until else None
            record_review(store, patient_id, str(status), until=last_day, note=note, by=by, at=clock())
            result = {"status": status, "until": last_day, "note": note, "by": by}
            text = f"recorded: {status}" + (f", {len(patient_id)} patients" if len(patient_id) > 1 else "")
    if reports is not None:
        page = report_again(store, reports, None, byte_order_mark=csv_bom, warn=warn)
        result, text = result | {"report": page}, f"{text}\nreport {page}"
    write_result(result, text, quiet, json_)


def _told(applied: "Applied", name: str, quiet: bool) -> tuple[dict[str, Any], str]:
    """What became of a file of decisions, for JSON and in lines; the patients of those refused are named in them only."""
    total = applied.recorded + applied.known + len(applied.refused)
    lines = [
        f"{total} decisions in {name}: {applied.recorded} recorded, {applied.known} on record before, "
        f"{len(applied.refused)} refused"
    ]
    lines += [f"refused, decision {one.position}, {one.patient_id}: {one.reason}" for one in applied.refused]
    if applied.refused and quiet:
        warn(f"{len(applied.refused)} of {total} decisions were refused: {applied.refused_in_words()}")
    refused = [
        {"position": one.position, "patient_id": one.patient_id, "reason": one.reason} for one in applied.refused
    ]
    return {"recorded": applied.recorded, "known": applied.known, "refused": refused}, "\n".join(lines)

"""The report step: the reports of the published run are written. The store is not touched, so it can be taken again."""

from collections.abc import Callable
from pathlib import Path

from neutro_screen.errors import ReportError, StoreError
from neutro_screen.pipeline.handover import Plan
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.report import write_reports
from neutro_screen.store.file import reading
from neutro_screen.store.journal import delivered, note_delivery
from neutro_screen.store.rows import first_row
from neutro_screen.store.views import LATEST_RUN


def report_step(settings: RunOptions, work: Workspace) -> Path | None:
    """Write the reports of the run and return the page; None where none are asked for.

    That they were written is noted in the store's journal.

    Raises:
        ReportError: the run is published, but its reports could not be written, or that they were not put on record.
    """
    if settings.reports is None:
        return None
    run_id = work.kept(Plan).run_id
    page = write_reports(settings.store, settings.reports, run_id, byte_order_mark=settings.csv_bom)
    note_report(settings.store, run_id)
    return page


def report_again(
    store: Path, folder: Path, run_id: str | None, *, byte_order_mark: bool, warn: Callable[[str], None]
) -> Path:
    """Write the reports of a run (default: the latest) without a run, and return the page.

    If that run had asked for reports and they had failed, it counts as reported from now on; ``warn`` gets a line where
    this user may not put it on record.

    Raises:
        StoreError, ReportError: as ``write_reports``.
    """
    page = write_reports(store, folder, run_id, byte_order_mark=byte_order_mark)
    with reading(store) as connection:
        asked = first_row(
            connection,
            f"SELECT run_id FROM run_delivery WHERE run_id = coalesce(?, ({LATEST_RUN})) AND kind = 'report' "
            "AND delivered_at IS NULL",
            [run_id],
        )
    if asked and "report" not in delivered(store, asked[0]):
        try:
            note_report(store, asked[0])
        except ReportError as error:
            warn(str(error))
    return page


def note_report(store: Path, run_id: str) -> None:
    """Note that the reports of a run were written, so that its patients are no longer new in the next one.

    Raises:
        ReportError: the journal cannot be written.
    """
    try:
        note_delivery(store, run_id, "report", at=clock())
    except StoreError as error:
        raise ReportError(
            f"the reports are written, but this is not on record ({error.what})",
            where=error.where,
            remedy="The next run shows the same patients as new once more.",
        ) from None

"""The report step: the reports of the published run are written. The store is not touched, so it can be taken again."""

from pathlib import Path

from neutro_screen.errors import NeutroScreenError, ReportError
from neutro_screen.pipeline.handover import Plan
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.report import write_reports


def report_step(settings: RunOptions, work: Workspace) -> Path | None:
    """Write the reports of the run and return the page; None where none are asked for.

    Raises:
        ReportError: the run is published, but its reports could not be written.
        StoreError: the store cannot be read any more.
    """
    if settings.reports is None:
        return None
    try:
        return write_reports(settings.store, settings.reports, work.kept(Plan).run_id, byte_order_mark=settings.csv_bom)
    except NeutroScreenError:
        raise
    except Exception as error:  # its text may quote a patient's value
        raise ReportError(
            f"the results are in the store, but their report could not be made ({type(error).__name__})",
            where=str(settings.reports),
            remedy="`neutro-screen report` makes it again; with --debug where patient data may be shown.",
        ) from error

"""The nightly run as a Prefect flow: the steps of the pipeline as tasks that hand on a folder and counts.

Prefect keeps parameters, return values, log lines and exception texts in its database. So tasks get paths and return
counts; the rows wait as Parquet in a private work folder that is removed at the end, and an error says kind, place and
remedy only. Environment (see docs/operations.md): a private PREFECT_HOME, DO_NOT_TRACK=1,
PREFECT_SERVER_ANALYTICS_ENABLED=false.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from neutro_screen.admin.notify import notifying
from neutro_screen.orchestration.flow_options import with_run_options
from neutro_screen.orchestration.tasks import run_step_by_step
from neutro_screen.pipeline.options import RunOptions


@flow(name="neutro-screen-nightly", persist_result=False, log_prints=False)
@with_run_options
def nightly(options: RunOptions) -> dict[str, Any]:
    """Screen one night's extracts; the same steps, and the same tables, as ``neutro-screen run``.

    Returns the run's summary: counts and the report's path.
    """
    with notifying(options, get_run_logger().warning) as night:
        ended = run_step_by_step(options, night.published)
        night.ended(ended)
    summary = ended.as_dict()
    create_markdown_artifact(artifact_markdown(summary), key="neutro-screen-nightly", description="counts only")
    return summary


def artifact_markdown(summary: dict[str, Any]) -> str:
    """Counts of a run and where its report is, for Prefect's own pages; no patient data."""
    account = " + ".join(f"{name.replace('_', ' ')} {n}" for name, n in summary["account"].items() if name != "rows_in")
    rows = "\n".join(f"| {name} | {n} |" for name, n in summary["priorities"].items())
    return (
        f"# Neutropenia screen {summary['run_id']}\n\nrows in {summary['account']['rows_in']} = {account}\n\n"
        f"| priority | patients |\n|---|---|\n{rows}\n| cannot assess | {summary['cannot_assess']} |\n\n"
        f"report: {summary['report'] or 'none asked for'}\n"
    )

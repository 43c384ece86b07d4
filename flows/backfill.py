"""A backfill as a Prefect flow: chunk after chunk, the parts of each mapped over a task runner: this machine or a cluster.

The same function, and the same tables, as ``neutro-screen backfill``; a flow that was killed goes on when it is started
again. Nothing but paths and counts reaches Prefect. ``NEUTRO_SCREEN_TASK_RUNNER`` says where the parts are screened
(docs/scale.md): nothing for this machine, ``dask:4`` for four processes on it, ``dask:tcp://HOST:8786`` for a cluster.
"""

from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from neutro_screen.admin.notify import notifying
from neutro_screen.orchestration.flow_options import task_runner, with_run_options
from neutro_screen.orchestration.tasks import run_parts_at_once
from neutro_screen.pipeline.backfill import Progress
from neutro_screen.pipeline.backfill import backfill as run_backfill
from neutro_screen.pipeline.options import RunOptions


@flow(name="neutro-screen-backfill", persist_result=False, log_prints=False, task_runner=task_runner())
@with_run_options
def backfill(
    options: RunOptions, by: Literal["file", "month", "year"] = "month", parts: int | None = None
) -> dict[str, Any]:
    """Screen years of extracts in chunks; returns the summary: chunks, rows and the last run's counts.

    ``parts``: the least number of parts that a chunk is divided into; a few for every worker of a cluster.
    """
    logger = get_run_logger()
    share = create_progress_artifact(progress=0.0, key="neutro-screen-backfill", description="chunks finished, %")

    def show(at: Progress) -> None:
        logger.info("chunk %s of %s: %s", at.number, at.of, at.chunk)
        update_progress_artifact(share, progress=100 * (at.number - 1) / at.of)
        night.began()

    with notifying(options, logger.warning) as night:
        summary = run_backfill(options, by, show, run_chunk=run_parts_at_once(parts, night.published))
        if summary.last:
            night.ended(summary.last)
    update_progress_artifact(share, progress=100.0)
    return summary.as_dict()

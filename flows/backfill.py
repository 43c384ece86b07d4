"""A backfill as a Prefect flow: every chunk is a task, tried again where reading or publishing failed for a moment.

The same function, and the same tables, as ``neutro-screen backfill``; a flow that was killed goes on when it is started
again. Nothing but paths and counts reaches Prefect.
"""

from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from neutro_screen.backfill import Progress, begun_as_of
from neutro_screen.backfill import backfill as run_backfill
from neutro_screen.notify import load_notify, telling
from neutro_screen.pipeline import RunSettings, RunSummary, run
from neutro_screen.schedule import BACK_OFF_SECONDS, may_pass, settings_of


@task(
    task_run_name="chunk",
    retries=len(BACK_OFF_SECONDS),
    retry_delay_seconds=BACK_OFF_SECONDS,
    retry_condition_fn=may_pass,
    persist_result=False,
)
def chunk(settings: RunSettings) -> RunSummary:
    """Screen one chunk and publish it."""
    return run(settings)


@flow(name="neutro-screen-backfill", persist_result=False, log_prints=False)
def backfill(
    labs: list[str],
    store: str,
    by: Literal["file", "month", "year"] = "month",
    medications: list[str] | None = None,
    patients: list[str] | None = None,
    diagnoses: list[str] | None = None,
    events: list[str] | None = None,
    reports: str | None = None,
    format: str | None = None,
    profile: str | None = None,
    policy: str | None = None,
    as_of: str | None = None,
    max_rejected: float = 0.2,
    notify: str | None = None,
) -> dict[str, Any]:
    """Screen years of extracts in chunks; returns the summary: chunks, rows and the last run's counts."""
    begun = begun_as_of(Path(store))
    asked = {
        "labs": labs, "store": store, "medications": medications, "patients": patients, "diagnoses": diagnoses,
        "events": events, "reports": reports, "format": format, "profile": profile, "policy": policy,
        "as_of": as_of or (begun.isoformat() if begun else None), "max_rejected": max_rejected,
    }  # fmt: skip
    logger = get_run_logger()
    share = create_progress_artifact(progress=0.0, key="neutro-screen-backfill", description="chunks finished, %")

    def show(at: Progress) -> None:
        logger.info("chunk %s of %s: %s", at.number, at.of, at.chunk)
        update_progress_artifact(share, progress=100 * (at.number - 1) / at.of)

    with telling(load_notify(Path(notify) if notify else None), logger.warning) as told:
        summary = run_backfill(settings_of(asked), by, show, run_chunk=chunk)
        if summary.last:
            told(summary.last.as_dict())
    update_progress_artifact(share, progress=100.0)
    return summary.as_dict()

"""The nightly run as a Prefect flow: the five steps of the pipeline as tasks that hand on a folder and counts.

Prefect keeps parameters, return values, log lines and exception texts in its database. So tasks get paths and return
counts; the rows wait as Parquet in a private work folder that is removed at the end, and an error says kind, place and
remedy only. Environment (see docs/operations.md): a private PREFECT_HOME, DO_NOT_TRACK=1,
PREFECT_SERVER_ANALYTICS_ENABLED=false.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from neutro_screen.errors import PublishError, UnreadableInputError
from neutro_screen.pipeline import (
    RunSettings,
    bytes_of,
    history_step,
    ingest_step,
    moment,
    now,
    publish_step,
    screen_step,
    survey_step,
    validate_step,
)
from neutro_screen.store import lock
from neutro_screen.workspace import Workspace, working_folder

Step = Callable[..., Any]


def _may_pass(task: Any, run: Any, state: Any) -> bool:
    """Reading and publishing may fail for a moment (a share that is away, a full disk); a refusal stays a refusal."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, UnreadableInputError | PublishError)


def _take(step: Step, settings: RunSettings, work: str, *part: int) -> dict[str, Any]:
    told = step(settings, Workspace(Path(work)), *part)
    return told if isinstance(told, dict) else told.as_dict()


@task(retries=2, retry_delay_seconds=[10, 60], retry_condition_fn=_may_pass, persist_result=False)
def ingest(settings: RunSettings, work: str) -> dict[str, Any]:
    """Read all inputs into the canonical frames."""
    return _take(ingest_step, settings, work)


@task(persist_result=False)
def survey(settings: RunSettings, work: str) -> dict[str, Any]:
    """Look at the store: who has to be screened again, and in how many parts."""
    return _take(survey_step, settings, work)


@task(persist_result=False)
def validate(settings: RunSettings, work: str, part: int) -> dict[str, Any]:
    """Judge every row; split accepted from refused."""
    return _take(validate_step, settings, work, part)


@task(persist_result=False)
def history(settings: RunSettings, work: str, part: int) -> dict[str, Any]:
    """Merge with what the store holds of the touched patients."""
    return _take(history_step, settings, work, part)


@task(persist_result=False)
def screen(settings: RunSettings, work: str, part: int) -> dict[str, Any]:
    """Apply the rules."""
    return _take(screen_step, settings, work, part)


@task(retries=2, retry_delay_seconds=[10, 60], retry_condition_fn=_may_pass, persist_result=False)
def publish(settings: RunSettings, work: str) -> dict[str, Any]:
    """Put the results in place and write the reports."""
    return _take(publish_step, settings, work)


@flow(name="neutro-screen-nightly", persist_result=False, log_prints=False)
def nightly(
    labs: list[str],
    store: str,
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
    rescreen_all: bool = False,
    memory: str = "4GB",
) -> dict[str, Any]:
    """Screen one night's extracts; the same steps, and the same tables, as ``neutro-screen run``.

    Returns the run's summary: counts and the report's path.
    """
    settings = RunSettings(
        store=Path(store),
        as_of=moment(as_of) if as_of else now(),
        labs=tuple(labs),
        medications=tuple(medications or ()),
        patients=tuple(patients or ()),
        diagnoses=tuple(diagnoses or ()),
        events=tuple(events or ()),
        reports=Path(reports) if reports else None,
        format=format,
        profile=Path(profile) if profile else None,
        policy=Path(policy) if policy else None,
        max_rejected=max_rejected,
        rescreen_all=rescreen_all,
        memory=bytes_of(memory),
    )
    with lock(settings.store), working_folder(settings.store) as folder:
        work = str(folder)
        ingest(settings, work)
        for part in range(survey(settings, work)["parts"]):
            for step in (validate, history, screen):
                step(settings, work, part)
        summary = publish(settings, work)
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

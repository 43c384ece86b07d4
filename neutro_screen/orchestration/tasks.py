"""The steps of a run as Prefect tasks, shared by the flows. They hand on a folder's path and counts, never rows.

Here and not in ``flows/``: a worker of a cluster finds a task by the name of its module, so it must be in the package.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from prefect import task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from neutro_screen.errors import PublishError, ReportError, UnreadableInputError
from neutro_screen.pipeline.handover import Outcome, Plan, Screened
from neutro_screen.pipeline.history import history_step
from neutro_screen.pipeline.ingest import gather_step, ingest_step, read_step, share_out_step
from neutro_screen.pipeline.new_store import check_new_store
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.outcome import Published, known_outcome
from neutro_screen.pipeline.partitions import Workspace, working_folder
from neutro_screen.pipeline.plan import survey_step
from neutro_screen.pipeline.publish import publish_step
from neutro_screen.pipeline.report import report_step
from neutro_screen.pipeline.run import PART_STEPS
from neutro_screen.pipeline.screen import screen_step
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.pipeline.validate import validate_step
from neutro_screen.private import forbid_core_dumps
from neutro_screen.store.file import lock

Counts = dict[str, int]
#: Reading, publishing and reporting are tried again after these pauses; a refusal is not.
BACK_OFF_SECONDS: Final = [10, 60, 300]


def may_pass(task: object, run: object, state: State[Any]) -> bool:
    """Whether a task is worth another try: a share that is away, a file still to come, a full disk. A refusal stays."""
    return isinstance(state.result(raise_on_failure=False), UnreadableInputError | PublishError | ReportError)


#: Nothing that a task returns is kept; reading and publishing are tried again.
_KEPT: Final[dict[str, Any]] = {"persist_result": False}
_TRIED_AGAIN: Final[dict[str, Any]] = _KEPT | {
    "retries": len(BACK_OFF_SECONDS),
    "retry_delay_seconds": BACK_OFF_SECONDS,
    "retry_condition_fn": may_pass,
}


@task(**_TRIED_AGAIN)
def ingest(settings: RunOptions, work: str) -> Counts:
    """Read all inputs into the canonical frames."""
    return ingest_step(settings, Workspace(Path(work)))


@task(**_TRIED_AGAIN)
def share_out(settings: RunOptions, work: str, least_shares: int) -> int:
    """Find the inputs, and share them out among the workers; the number of shares."""
    return share_out_step(settings, Workspace(Path(work)), least_shares)


@task(**_TRIED_AGAIN, task_run_name="share-{share}")
def read_share(settings: RunOptions, work: str, share: int) -> Counts:
    """Read one share of the inputs, on any machine that sees them and the work folder.

    Every attempt adds its rows under a name of its own: what one that was lost has left is read by nobody.
    """
    return read_step(settings, Workspace(Path(work), writer=f"{share:06d}-{uuid4().hex}"), share)


@task(**_KEPT)
def gather(settings: RunOptions, work: str) -> Counts:
    """Settle what the rows of all shares have in common."""
    return gather_step(settings, Workspace(Path(work)))


@task(**_KEPT)
def survey(settings: RunOptions, work: str, parts: int | None = None) -> Counts:
    """Look at the store: who has to be screened again, and in how many parts (at least ``parts``)."""
    workspace = Workspace(Path(work))
    counts = survey_step(settings, workspace)
    if parts is not None and parts > counts["parts"]:
        workspace.divide(parts, 1, workspace.kept(Plan).survivors)
        counts["parts"] = len(workspace.parts)
    return counts


@task(**_KEPT)
def validate(settings: RunOptions, work: str, part: int) -> Counts:
    """Judge every row; split accepted from refused."""
    return validate_step(settings, Workspace(Path(work)), part)


@task(**_KEPT)
def history(settings: RunOptions, work: str, part: int) -> Counts:
    """Merge with what the store holds of the touched patients."""
    return history_step(settings, Workspace(Path(work)), part)


@task(**_KEPT)
def screen(settings: RunOptions, work: str, part: int) -> Counts:
    """Apply the rules."""
    return screen_step(settings, Workspace(Path(work)), part)


@task(**_TRIED_AGAIN, task_run_name="part-{part}")
def whole_part(settings: RunOptions, work: str, part: int) -> Counts:
    """Validate, history and screen for one part, on any machine that sees the store and the work folder.

    Taken twice, by a second worker after the first was lost, it writes the same files again.
    """
    counts: Counts = {"part": part}
    workspace = Workspace(Path(work), results_in_memory=True)
    for step in PART_STEPS:
        counts |= step(settings, workspace, part)
    workspace.hand_over(part, Screened, Outcome)
    return counts


@task(**_TRIED_AGAIN)
def publish(settings: RunOptions, work: str) -> RunSummary:
    """Put the results in place; taken again, a run that is in place stays as it is."""
    return publish_step(settings, Workspace(Path(work)))


@task(**_TRIED_AGAIN)
def report(settings: RunOptions, work: str) -> Path | None:
    """Write the reports of the published run; the path of the page."""
    return report_step(settings, Workspace(Path(work)))


def published_and_reported(settings: RunOptions, work: str, published: Published) -> RunSummary:
    """The last two steps, each tried again by itself: a report that fails does not publish again."""
    summary = publish(settings, work)
    published(summary)
    return summary.with_report(report(settings, work)) if settings.reports else summary


def run_step_by_step(settings: RunOptions, published: Published) -> RunSummary:
    """A run as tasks one after the other, every step of every part to be seen."""
    forbid_core_dumps()
    check_new_store(settings)
    with lock(settings.store), working_folder(settings.store) as folder:
        work = str(folder)
        with known_outcome(settings, Workspace(folder), published):
            ingest(settings, work)
            for part in range(survey(settings, work)["parts"]):
                for step in (validate, history, screen):
                    step(settings, work, part)
            return published_and_reported(settings, work, published)


def run_parts_at_once(
    parts: int | None = None, published: Published = lambda summary: None
) -> Callable[[RunOptions], RunSummary]:
    """A run whose inputs, and then its parts, at least ``parts`` of them, are mapped over the flow's task runner.

    Raises:
        PublishError: the workers did not return every share and partition: nothing is published.
    """

    def run(settings: RunOptions) -> RunSummary:
        forbid_core_dumps()
        with lock(settings.store), working_folder(settings.store) as folder:
            work = str(folder)
            with known_outcome(settings, Workspace(folder), published):
                shares = share_out(settings, work, parts or 1)
                _came_back("share", [read_share.submit(settings, work, share) for share in range(shares)])
                gather(settings, work)
                numbers = range(survey(settings, work, parts)["parts"])
                _came_back("part", [whole_part.submit(settings, work, number) for number in numbers])
                return published_and_reported(settings, work, published)

    return run


def _came_back(what: str, given_out: Sequence[PrefectFuture[Counts]]) -> None:
    """Wait for all shares or parts, also if one fails: none may write any more when the work folder is removed.

    Raises:
        PublishError: another one came back than was given out.
        NeutroScreenError: the error of the first that failed.
    """
    for future in given_out:
        future.wait()
    finished = [future.result()[what] for future in given_out]
    if finished != list(range(len(given_out))):
        raise PublishError(f"{len(given_out)} {what}s were given out and {len(set(finished))} came back")

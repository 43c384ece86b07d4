"""What became of a run that was broken off: published and not reported, or not published and on record as failed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from neutro_screen.errors import NeutroScreenError, PublishError, ReportError, StoreError, is_panic
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.publish import published_summary
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.store.journal import note_action

#: Receives the summary of a run as soon as it is published; its reports are not written yet.
Published = Callable[[RunSummary], None]
PUBLISHED_NOTE: Final = "the results of this run are published; the reports may show an earlier night"


@contextmanager
def known_outcome(settings: RunOptions, work: Workspace, published: Published) -> Iterator[None]:
    """Whatever ends the steps inside, by error or signal, the store decides whether the run is published.

    If it is, ``published`` gets its summary, an error becomes a ``ReportError`` and a signal carries a note. If it is not,
    the failure is noted in the store's journal.

    Raises:
        ReportError: the run is published, and something failed after that.
        PublishError: the system refused a file of the run (no room, no permission).
    """
    try:
        yield
    except BaseException as error:
        summary = published_summary(settings, work)
        if summary is None:
            _note_failure(settings, error)
            if isinstance(error, OSError):
                reason = error.strerror or type(error).__name__
                raise PublishError(f"stopped: a file beside the store cannot be used ({reason})") from error
            raise
        published(summary)
        if isinstance(error, ReportError):
            raise
        if isinstance(error, Exception) or is_panic(error):
            raise _not_reported(error) from error
        error.add_note(PUBLISHED_NOTE)
        raise


def _not_reported(error: BaseException) -> ReportError:
    what = error.what if isinstance(error, NeutroScreenError) else f"unexpected {type(error).__name__}"
    return ReportError(
        f"the results are published, but not reported ({what})", remedy="`neutro-screen report` writes the reports."
    )


def _note_failure(settings: RunOptions, error: BaseException) -> None:
    """Put the failure on record. A folder that cannot be written is the error that is raised already."""
    if settings.store.exists():
        with suppress(StoreError):
            note_action(settings.store, "failed_run", {"exit_code": getattr(error, "exit_code", 1)}, at=clock())

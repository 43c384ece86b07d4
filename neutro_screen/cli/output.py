"""How a command shows its progress and writes its result."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Annotated, Final

from cyclopts import Parameter

from neutro_screen.cli.process import abandon_standard_output
from neutro_screen.errors import OutputError, visible
from neutro_screen.pipeline.options import Control

AsJson = Annotated[bool, Parameter(name="--json"), Control]
Quiet = Annotated[bool, Control]
#: Finished steps that a terminal keeps in view.
_MOST_STEPS: Final = 8


@contextmanager
def progress_on_terminal(silent: bool) -> Iterator[Callable[[str], None]]:
    """Shows the step at work and its time on a terminal; each finished step stays with the time it took."""
    if silent or sys.stderr is None or not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        one_at_a_time = Lock()

        def show(step: str) -> None:
            with one_at_a_time:  # the steps of two parts are taken beside each other
                for task in progress.task_ids:
                    progress.update(task, completed=1)
                for task in progress.task_ids[: -_MOST_STEPS + 1]:
                    progress.remove_task(task)
                progress.add_task(visible(step), total=1)

        yield show
        for task in progress.task_ids:
            progress.update(task, completed=1)


def write_result(result: Mapping[str, object], text: str, quiet: bool, as_json: bool) -> None:
    """What a command has done, as JSON, as text, or not at all (see ``conclude``)."""
    if as_json:
        conclude(json.dumps(result, indent=2, default=str))
    elif not quiet:
        conclude(text)


def warn(text: str) -> None:
    """A warning on standard error."""
    say(f"warning: {text}")


def say(text: str) -> None:
    """A line on standard error, at once. Where that is closed or full, nobody can be shown anything: it is left out."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"neutro-screen: {visible(text)}\n")
        sys.stderr.flush()


def write(text: str) -> None:
    """Lines on standard output, for which the command was called, without a sign that would steer a terminal.

    Raises:
        OutputError: standard output is closed or full.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.write(visible(text.rstrip("\n")) + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(f"standard output cannot be written ({error.strerror})") from None


def conclude(text: str) -> None:
    """The last lines of a command that has done its work: if they cannot be shown, that is a warning, no failure."""
    try:
        write(text)
    except OutputError as error:
        abandon_standard_output()
        warn(f"the command is done; {error.what}")

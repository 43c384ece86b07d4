"""How a command shows its progress and writes its result."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Final

from cyclopts import Parameter

from neutro_screen.errors import visible
from neutro_screen.pipeline.options import Control

AsJson = Annotated[bool, Parameter(name="--json"), Control]
Quiet = Annotated[bool, Control]
#: Finished steps that a terminal keeps in view.
_MOST_STEPS: Final = 8


@contextmanager
def progress_on_terminal(silent: bool) -> Iterator[Callable[[str], None]]:
    """Shows the step at work and its time on a terminal; each finished step stays with the time it took."""
    if silent or not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def show(step: str) -> None:
            for task in progress.task_ids:
                progress.update(task, completed=1)
            for task in progress.task_ids[: -_MOST_STEPS + 1]:
                progress.remove_task(task)
            progress.add_task(visible(step), total=1)

        yield show
        for task in progress.task_ids:
            progress.update(task, completed=1)


def write_result(result: Mapping[str, object], text: str, quiet: bool, as_json: bool) -> None:
    """A command's result as JSON, as text, or not at all."""
    if as_json:
        write(json.dumps(result, indent=2, default=str))
    elif not quiet:
        write(text)


def warn(text: str) -> None:
    """A warning on standard error."""
    say(f"warning: {text}")


def say(text: str) -> None:
    """A line on standard error, at once."""
    sys.stderr.write(f"neutro-screen: {visible(text)}\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Lines on standard output, without a sign that would steer a terminal."""
    sys.stdout.write(visible(text.rstrip("\n")) + "\n")

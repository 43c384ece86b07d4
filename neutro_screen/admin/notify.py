"""Telling somebody how a night ended: through a command, through the services of Apprise, and by a file that an outside
monitor watches.

A message may leave the house. It holds counts, kinds and exit codes; it never quotes an error's text, which may name a
file, and a file may be named after a patient. A message that cannot be sent is a warning and never fails a run.
"""

import os
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, SecretStr, ValidationError

from neutro_screen.errors import ConfigurationError, NeutroScreenError, ReportError

Event = Literal["failed", "critical", "warning", "done"]


class Notify(BaseModel):
    """Who is told what. The default tells nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: what is told; ``done`` is every other night
    events: tuple[Event, ...] = ("failed", "critical", "warning")
    #: a program and its arguments, run without a shell; the message is its standard input
    command: tuple[str, ...] = ()
    #: Apprise addresses, for example ``mailto://…``; they hold passwords
    urls: tuple[SecretStr, ...] = ()
    #: touched by every run that published and had data
    dead_man: Path | None = None
    timeout_seconds: PositiveFloat = 30


@dataclass(frozen=True)
class Message:
    """What somebody is told."""

    event: str
    title: str
    body: str
    exit_code: int = 0


def load_notify(path: Path | None) -> Notify:
    """Read who is told what; ``None`` tells nobody.

    Raises:
        ConfigurationError: the file cannot be read, an entry is unknown, or Apprise is needed and not installed.
    """
    if path is None:
        return Notify()
    try:
        notify = Notify.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"notifications cannot be read: {reason}", where=path.name) from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ConfigurationError(
            f"notification entry {'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where=path.name,
            remedy="docs/operations.md lists the entries.",
        ) from None
    if notify.urls and find_spec("apprise") is None:
        raise ConfigurationError(
            "urls need Apprise, which is not installed", where=path.name, remedy="pip install 'neutro-screen[notify]'"
        )
    return notify


@contextmanager
def telling(notify: Notify, warn: Callable[[str], None]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Tell how the run inside ends: call what is yielded with its summary (``RunSummary.as_dict()``).

    An error of the run is told and goes on. ``warn`` gets a line for everything that could not be told.
    """

    def published(summary: Mapping[str, Any]) -> None:
        message = end_of_run(summary, notify.events)
        for problem in [*(send(message, notify) if message else []), *_sign_of_life(summary, notify)]:
            warn(problem)

    try:
        yield published
    except Exception as error:
        if "failed" in notify.events:
            for problem in send(failure(error), notify):
                warn(problem)
        raise


def end_of_run(summary: Mapping[str, Any], events: tuple[Event, ...] = ("critical", "warning")) -> Message | None:
    """The message of a run that published, or None where none of ``events`` happened."""
    warnings = _warnings(summary)
    critical = summary["priorities"]["critical"]
    told: dict[Event, str] = {}
    if critical and "critical" in events:
        told["critical"] = f"critical patients tonight: {critical}"
    if warnings and "warning" in events:
        told["warning"] = "warnings: " + _counted(warnings)
    if not told and "done" in events:
        told["done"] = "done"
    if not told:
        return None
    account = summary["account"]
    lines = [
        f"run {summary['run_id']}",
        f"rows in {account['rows_in']}, accepted {account['accepted']}, rejected {account['rejected']}",
        "worklist: " + _counted(summary["priorities"]),
        "since the run before: " + _counted(summary["changes"]),
        f"cannot assess: {summary['cannot_assess']} patients",
        f"warnings: {_counted(warnings) or 'none'}",
        f"report: {summary['report'] or 'none asked for'}",
    ]
    return Message(next(iter(told)), "neutro-screen: " + "; ".join(told.values()), "\n".join(lines))


def failure(error: Exception) -> Message:
    """The message of a run that failed: the kind of error and the exit code, never the error's own text."""
    if isinstance(error, NeutroScreenError):
        kind, code, meaning = type(error).__name__, error.exit_code, (type(error).__doc__ or "").splitlines()[0]
    else:
        kind, code, meaning = type(error).__name__, 1, "An error that the program does not expect."
    return Message(
        "failed",
        f"neutro-screen FAILED: {kind}, exit code {code}",
        f"{meaning}\n{_what_stands(error)}\nThe run's own output says where and what to do.",
        code,
    )


def _what_stands(error: Exception) -> str:
    """What the store and the reports hold after a run that ended in an error."""
    if isinstance(error, ReportError):
        return (
            "Tonight's results are in the store; the reports show an earlier night. `neutro-screen report` writes them."
        )
    return "The results of the run before stand. Nobody was screened tonight."


def send(message: Message, notify: Notify) -> list[str]:
    """Send a message by all ways; what could not be sent, in words. Raises nothing."""
    problems = []
    if notify.command and (problem := _run_command(message, notify)):
        problems.append(f"the notification command {problem}")
    if notify.urls and (failed := _unsent_by_apprise(message, notify)):
        problems.append(f"{failed} of {len(notify.urls)} notification services were not reached")
    return problems


def _run_command(message: Message, notify: Notify) -> str | None:
    told = {"EVENT": message.event, "TITLE": message.title, "EXIT_CODE": str(message.exit_code)}
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, no shell, nothing of an input in it
            notify.command,
            input=f"{message.title}\n\n{message.body}\n",
            env=os.environ | {f"NEUTRO_SCREEN_{name}": value for name, value in told.items()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=notify.timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {notify.timeout_seconds:g} s"
    except (OSError, ValueError) as error:
        return f"cannot be run ({getattr(error, 'strerror', None) or type(error).__name__})"
    return f"ended with code {done.returncode}" if done.returncode else None


def _unsent_by_apprise(message: Message, notify: Notify) -> int:
    import apprise

    kind = {"failed": "failure", "critical": "warning", "warning": "warning"}.get(message.event, "info")
    failed = 0
    for url in notify.urls:
        service = apprise.Apprise()
        try:
            sent = service.add(url.get_secret_value()) and service.notify(
                title=message.title, body=message.body, notify_type=apprise.NotifyType(kind)
            )
        except Exception:  # a plug-in of Apprise may raise anything, and no message may fail the run
            sent = False
        failed += not sent
    return failed


def _sign_of_life(summary: Mapping[str, Any], notify: Notify) -> list[str]:
    """Touch the dead-man file, save after a night without data: silence is not health."""
    if notify.dead_man is None or "no data" in _warnings(summary):
        return []
    try:
        notify.dead_man.touch(mode=0o644)
    except OSError as error:
        return [f"the dead-man file cannot be touched ({error.strerror})"]
    return []


def _warnings(summary: Mapping[str, Any]) -> Counter[str]:
    return Counter(str(warning["kind"]).replace("_", " ") for warning in summary["warnings"])


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())

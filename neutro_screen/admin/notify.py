"""Notifications of how a night ended: through a command, through the services of Apprise, and by a file that an outside
monitor watches.

A message may leave the hospital. It holds counts, kinds and exit codes; it never quotes an error's text, which may name a
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
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, SecretStr, ValidationError

from neutro_screen.errors import ConfigurationError, NeutroScreenError, StoreError, extra, neighbour
from neutro_screen.pipeline.new_store import check_new_store
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.pipeline.summary import RunSummary, stored_summary
from neutro_screen.private import is_stream
from neutro_screen.store.journal import note_delivery

Event = Literal["failed", "critical", "warning", "done"]


class Notify(BaseModel):
    """Who is notified of what. The default notifies nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: what is notified; ``done`` is every other night
    events: tuple[Event, ...] = ("failed", "critical", "warning")
    #: a program and its arguments, run without a shell; the message is its standard input
    command: tuple[str, ...] = ()
    #: Apprise addresses, for example ``mailto://…``; they hold passwords
    urls: tuple[SecretStr, ...] = ()
    #: touched by every run that published and had new data, or on a night on which none is usual
    dead_man: Path | None = None
    timeout_seconds: PositiveFloat = 30

    @property
    def has_way(self) -> bool:
        """Whether a message can go anywhere; a dead-man file gets none."""
        return bool(self.command or self.urls)


@dataclass(frozen=True)
class Message:
    """One notification: its event, title and text."""

    event: str
    title: str
    body: str
    exit_code: int = 0


def load_notify(path: Path | None) -> Notify:
    """Read who is notified of what; ``None`` notifies nobody.

    Raises:
        ConfigurationError: the file cannot be read, an entry is unknown, or Apprise is needed and not installed.
    """
    if path is None:
        return Notify()
    if is_stream(path):
        raise ConfigurationError(
            "is a named pipe, socket or device, no file", where=path.name, remedy="Write the settings into a file."
        )
    try:
        notify = Notify.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"notifications cannot be read: {reason}", where=path.name, remedy=neighbour(path, "notify.toml")
        ) from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ConfigurationError(
            f"notification entry {'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where=path.name,
            remedy="docs/operations.md lists the entries.",
        ) from None
    if notify.urls and find_spec("apprise") is None:
        raise ConfigurationError("urls need Apprise, which is not installed", where=path.name, remedy=extra("notify"))
    return notify


def load_with_a_way(path: Path) -> Notify:
    """As ``load_notify``, for a message that somebody asks for.

    Raises:
        ConfigurationError: also where the file names no way that a message could go.
    """
    notify = load_notify(path)
    if not notify.has_way:
        raise ConfigurationError(
            "names no way that a message could go",
            where=path.name,
            remedy="Write `command` or `urls` into it; a dead-man file gets no message.",
        )
    return notify


class Night:
    """What is known of a run at work: nothing, its summary when it is published, and that it ended."""

    def __init__(self, notify: Notify, options: RunOptions, warn: Callable[[str], None]) -> None:
        self._notify, self._options, self._warn = notify, options, warn
        self._published: dict[str, object] | None = None

    def began(self) -> None:
        """A run begins: of the one before it (an earlier chunk of a backfill) nothing is left to notify."""
        self._published = None

    def published(self, summary: RunSummary) -> None:
        """The run is in the store; its reports are not written yet."""
        self._published = summary.as_dict()

    def ended(self, summary: RunSummary) -> None:
        """The run is published and reported: send its notification, and touch the dead-man file."""
        self._published = summary.as_dict()
        message = end_of_run(self._published, self._notify.events)
        problems = send(message, self._notify) if message else []
        if self._options.notify and not self._notify.has_way and self._notify.dead_man is None:
            problems = [f"{self._options.notify.name} names no way that a message could go: nobody is notified"]
        if not problems:
            problems = self._on_record(summary.run_id)
        for problem in [*problems, *_sign_of_life(self._published, self._notify)]:
            self._warn(problem)

    def failed(self, error: BaseException) -> None:
        """The run ended in an error or a signal: send what it is, and what stands."""
        if "failed" in self._notify.events:
            message: Message | None = failure(error, self._published)
        else:
            message = end_of_run(self._published, self._notify.events) if self._published else None
        for problem in send(message, self._notify) if message else []:
            self._warn(problem)

    def _on_record(self, run_id: str) -> list[str]:
        return [] if self._options.notify is None else _on_record(self._options.store, run_id)


def _on_record(store: Path, run_id: str) -> list[str]:
    """Note that the notification of a run was sent; what could not be noted, in words."""
    try:
        note_delivery(store, run_id, "notification", at=clock())
    except StoreError as error:
        return [f"the notification is sent, but this is not on record ({error.what})"]
    return []


def notify_again(settings: Path, store: Path, run_id: str | None = None) -> list[str]:
    """Send the notification of a published run (default: the latest) without a run; what could not be sent, in words.

    Raises:
        ConfigurationError: the notification file cannot be used, or the store holds no such run.
        StoreError: the store cannot be read.
    """
    notify, summary = load_with_a_way(settings), stored_summary(store, run_id)
    message = end_of_run(summary.as_dict(), tuple({*notify.events, "done"}))
    return (send(message, notify) if message else []) or _on_record(store, summary.run_id)


@contextmanager
def notifying(options: RunOptions, warn: Callable[[str], None]) -> Iterator[Night]:
    """Notify how the run inside ends, whatever ends it. Call ``published`` and ``ended`` of what is yielded.

    ``warn`` gets a line for everything that could not be sent.

    Raises:
        ConfigurationError: the notification file cannot be used.
        StoreError: the store is missing although a dead-man file shows that there were runs before.
    """
    notify = load_notify(options.notify)
    night = Night(notify, options, warn)
    try:
        check_new_store(options, [notify.dead_man])
        yield night
    except BaseException as error:
        night.failed(error)
        raise


def end_of_run(summary: Mapping[str, Any], events: tuple[Event, ...] = ("critical", "warning")) -> Message | None:
    """The message of a run that published, or None where none of ``events`` happened."""
    warnings = _warnings(summary)
    critical = summary["priorities"]["critical"]
    happened: dict[Event, str] = {}
    if critical and "critical" in events:
        happened["critical"] = f"critical patients tonight: {critical}"
    if warnings and "warning" in events:
        happened["warning"] = "warnings: " + _counted(warnings)
    if not happened and "done" in events:
        happened["done"] = "done"
    if not happened:
        return None
    lines = [*_counts_of(summary), f"report: {summary['report'] or 'none written'}"]
    return Message(next(iter(happened)), "neutro-screen: " + "; ".join(happened.values()), "\n".join(lines))


def _counts_of(summary: Mapping[str, Any]) -> list[str]:
    account = summary["account"]
    return [
        f"run {summary['run_id']}",
        f"rows in {account['rows_in']}, accepted {account['accepted']}, rejected {account['rejected']}",
        "worklist: " + _counted(summary["priorities"]),
        "since the run before: " + _counted(summary["changes"]),
        f"cannot assess: {summary['cannot_assess']} patients",
        f"warnings: {_counted(_warnings(summary)) or 'none'}",
    ]


def failure(error: BaseException, published: Mapping[str, Any] | None = None) -> Message:
    """The message of a run that ended in an error or a signal: its kind and the exit code, never the error's own text.

    ``published`` is the summary of the run (``RunSummary.as_dict()``) if its results are in the store: then the critical
    patients are in the title, because no report shows them yet.
    """
    kind, code, meaning = _kind_of(error)
    critical = published["priorities"]["critical"] if published else 0
    title = f"neutro-screen FAILED: {kind}, exit code {code}" + (
        f"; critical patients tonight: {critical}" if critical else ""
    )
    return Message(
        "failed", title, f"{meaning}\n{_what_stands(published)}\nThe run's own output says where and what to do.", code
    )


def _kind_of(error: BaseException) -> tuple[str, int, str]:
    if isinstance(error, NeutroScreenError):
        return type(error).__name__, error.exit_code, (type(error).__doc__ or "").splitlines()[0]
    if isinstance(error, KeyboardInterrupt):
        return "stopped", getattr(error, "exit_code", 130), "The run was stopped by a signal or by its operator."
    return type(error).__name__, 1, "An error that the program does not expect."


def _what_stands(published: Mapping[str, object] | None) -> str:
    """What the store and the reports hold after a run that ended in an error."""
    if published is None:
        return "The results of the run before stand; this run published nothing."
    lines = [
        "The results of this run are published; the reports may show an earlier night.",
        "`neutro-screen report` writes the reports, `neutro-screen notify FILE --store STORE` sends the notification.",
        *_counts_of(published),
    ]
    return "\n".join(lines)


def send(message: Message, notify: Notify) -> list[str]:
    """Send a message by all ways; what could not be sent, in words. Raises nothing."""
    problems = []
    if notify.command and (problem := _run_command(message, notify)):
        problems.append(f"the notification command {problem}")
    if notify.urls and (failed := _unsent_by_apprise(message, notify)):
        problems.append(f"{failed} of {len(notify.urls)} notification services were not reached")
    return problems


def _run_command(message: Message, notify: Notify) -> str | None:
    variables = {"EVENT": message.event, "TITLE": message.title, "EXIT_CODE": str(message.exit_code)}
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, no shell, nothing of an input in it
            notify.command,
            input=f"{message.title}\n\n{message.body}\n",
            env=os.environ | {f"NEUTRO_SCREEN_{name}": value for name, value in variables.items()},
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


def _sign_of_life(summary: Mapping[str, object], notify: Notify) -> list[str]:
    """Touch the dead-man file, save after a night that lacks what was due: a stuck export, or a file that cannot be read."""
    if notify.dead_man is None or _NO_LIFE & _warnings(summary).keys():
        return []
    try:
        notify.dead_man.touch(mode=0o644)
    except OSError as error:
        return [f"the dead-man file cannot be touched ({error.strerror})"]
    return []


#: Warnings of a night that brought nothing new though something was due, or not all of what was sent.
_NO_LIFE: Final = frozenset({"no data", "nothing new", "unreadable file"})


def _warnings(summary: Mapping[str, Any]) -> Counter[str]:
    """Warnings and findings of drift by kind."""
    kinds = Counter(str(warning["kind"]).replace("_", " ") for warning in summary["warnings"])
    return kinds + Counter(drift=len(summary.get("drift", ())))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())

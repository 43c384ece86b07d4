"""What a user gets when something is wrong: one short message and an exit code (CONTRACT.md).

A message says what is wrong, where, and what to do. It never holds a patient's value.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Final

#: Signs that are not seen: they steer a terminal, turn the direction of reading or take no room. Line feed and tab are none.
UNSEEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_UNSEEN: Final = re.compile(f"[{UNSEEN}\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with a replacement character (U+FFFD) for every sign that is not seen: names and values steer no terminal."""
    if text.isprintable():  # no unseen sign is: the common case, and much faster than to look for each
        return text
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


class NeutroScreenError(Exception):
    """Base of every error the program expects. ``exit_code`` is the process's exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(visible(". ".join(part for part in (f"{where}: {what}" if where else what, remedy) if part)))


class ConfigurationError(NeutroScreenError):
    """A profile, a policy or an option cannot be used."""

    exit_code = 10


class UnreadableInputError(NeutroScreenError):
    """An input file cannot be read."""

    exit_code = 11


class RefusedInputError(NeutroScreenError):
    """An input was read and must not be used: columns missing, wrong types, too many rows refused."""

    exit_code = 12


class ReferenceDataError(NeutroScreenError):
    """The reference data that came with the program contradict themselves."""

    exit_code = 13


class StoreError(NeutroScreenError):
    """The store is busy, damaged or from a newer version."""

    exit_code = 14


class PublishError(NeutroScreenError):
    """The results could not be published; the previous ones stand."""

    exit_code = 15


class ReportError(NeutroScreenError):
    """The results are published, but not reported: their reports could not be written."""

    exit_code = 16


class OutputError(NeutroScreenError):
    """The command's result could not be written to standard output."""

    exit_code = 17


class Stopped(KeyboardInterrupt):
    """The process was asked to end by a signal; ``exit_code`` is 128 plus its number, as shells have it."""

    def __init__(self, signal_number: int) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(f"signal {signal_number}")


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of a library in Rust (polars): no ``Exception``, and not a request to stop."""
    return type(error).__module__ == "pyo3_runtime"


def extra(name: str) -> str:
    """The remedy where an optional library is missing. The program is installed from its wheel or repository, from no index."""
    return f"Install the extra {name}: pip install 'FILE.whl[{name}]', or '.[{name}]' in the repository."


def neighbour(path: Path, starter: str) -> str:
    """The remedy where a file of settings cannot be read: one with nearly this name beside it, else how to make one."""
    beside = [other.name for other in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    return did_you_mean(path.name, beside) + f"`neutro-screen init DIR` writes a {starter} to edit."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'? `` for a slip of the pen, else nothing. Only for names of this program and of files.

    Never for a patient's identifier: the nearest one is another patient's.
    """
    near = get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f"Did you mean {near[0]!r}? " if near else ""

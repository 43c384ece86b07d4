"""Nights as the command takes them, whose reports or notification cannot be delivered."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from neutro_screen.admin.notify import notifying
from neutro_screen.errors import NeutroScreenError, ReportError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run

MISHAPS: Final = ("none", "none", "reports", "notification", "reports and notification")


def take_night(options: RunOptions) -> None:
    """A night as the command takes it: the run, its reports, its notification."""
    with notifying(options, lambda text: None) as night:
        night.ended(run(options, published=night.published))


def with_delivery(folder: Path, options: RunOptions, mishap: str = "none") -> RunOptions:
    """The options with reports and a notification, both under ``folder``; broken is what the mishap names."""
    broken = folder / "no folder"
    if "reports" in mishap:
        broken.touch()
    command = f"{broken}/nowhere" if "notification" in mishap else "true"
    settings = folder / f"notify-{command == 'true'}.toml"
    settings.write_text(f'command = ["{command}"]\n', "utf-8")
    reports = broken if "reports" in mishap else folder / "reports"
    return replace(options, reports=reports, notify=settings)


def is_published_with(folder: Path, options: RunOptions, mishap: str) -> bool:
    """Take a night with what is broken tonight; whether it is published."""
    try:
        with suppress(ReportError):
            take_night(with_delivery(folder, options, mishap))
    except NeutroScreenError:
        return False
    return True

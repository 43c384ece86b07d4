"""A store that is missing although there were runs before: a lost mount, never a new store by accident."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from neutro_screen.errors import StoreError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.store.place import exists

_REPORTS: Final = ("report.html", "flagged.csv", "flags.csv")


def check_new_store(settings: RunOptions, traces: Iterable[Path | None] = ()) -> None:
    """Refuse to make a new store where earlier runs left reports, or one of ``traces`` (the dead-man file).

    A new store knows no earlier result: patients who are not in tonight's extract would be on no list.

    Raises:
        StoreError: the store is missing, a trace of earlier runs exists, and ``new_store`` was not asked for.
    """
    if settings.new_store or exists(settings.store):
        return
    reports = [settings.reports / name for name in _REPORTS] if settings.reports is not None else []
    found = [trace.name for trace in (*reports, *traces) if trace is not None and trace.exists()]
    if found:
        raise StoreError(
            f"the store is missing, but earlier runs left {', '.join(found)}",
            where=str(settings.store),
            remedy="Is its file system mounted? Restore it from a backup; `--new-store` begins a new one, without any history.",
        )

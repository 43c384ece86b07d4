"""Reports of one run: CSV for spreadsheets and one HTML page. They show what the store holds and decide nothing."""

import os
from pathlib import Path

from neutro_screen.errors import ReportError
from neutro_screen.private import private_file
from neutro_screen.report.contents import RunContents, run_contents
from neutro_screen.report.csv import flag_csv, flagged_csv
from neutro_screen.report.html.page import page
from neutro_screen.store.file import reading

__all__ = ["RunContents", "run_contents", "write_reports"]


def write_reports(store: Path, folder: Path, run_id: str | None = None, *, byte_order_mark: bool = False) -> Path:
    """Write ``flagged.csv``, ``flags.csv`` and ``report.html`` of a run (default: the latest) and return the page.

    The CSV is UTF-8; ``byte_order_mark`` makes it for Excel: a mark in front, without which Excel takes it for the local
    encoding, and an apostrophe before identifiers that Excel would turn into numbers or dates.
    Every file replaces its predecessor at once and is readable by its owner only.

    Raises:
        StoreError: the store cannot be read, or holds no such run.
        ReportError: the folder cannot be written.
    """
    with reading(store) as connection:
        contents = run_contents(connection, run_id)
    texts = {
        "flagged.csv": flagged_csv(contents, for_excel=byte_order_mark),
        "flags.csv": flag_csv(contents, for_excel=byte_order_mark),
        "report.html": page(contents),
    }
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
        for name, text in texts.items():
            aside = folder / f".{name}.next"
            with private_file(aside) as file:
                file.write(text.encode("utf-8", "replace"))
            os.replace(aside, folder / name)
    except OSError as error:
        raise ReportError(
            f"the results are in the store, but the reports could not be written ({error.strerror})",
            where=str(folder),
            remedy="Make the folder writable; `neutro-screen report` writes them.",
        ) from None
    return folder / "report.html"

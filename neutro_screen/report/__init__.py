"""Reports of one run: CSV for spreadsheets and one HTML page. They show what the store holds and decide nothing."""

from collections.abc import Iterable
from pathlib import Path

from neutro_screen.errors import ReportError
from neutro_screen.private import replace_together
from neutro_screen.report.contents import RunContents, run_contents
from neutro_screen.report.csv import flag_csv, flagged_csv
from neutro_screen.report.html.page import page
from neutro_screen.store.file import reading
from neutro_screen.store.place import real_path

__all__ = ["RunContents", "run_contents", "write_reports"]


def write_reports(store: Path, folder: Path, run_id: str | None = None, *, byte_order_mark: bool = False) -> Path:
    """Write ``flagged.csv``, ``flags.csv`` and ``report.html`` of a run (default: the latest) and return the page.

    The CSV is UTF-8; ``byte_order_mark`` makes it for Excel: a mark in front, without which Excel takes it for the local
    encoding, and an apostrophe before identifiers that Excel would turn into numbers or dates.
    The three appear together or not at all, each readable by its owner only; a symbolic link in the folder stays, and the
    file that it names is replaced.

    Raises:
        StoreError: the store cannot be read, or holds no such run.
        ReportError: the reports cannot be made, or the folder cannot be written; the reports of the run before stand.
    """
    with reading(store) as connection:
        contents = run_contents(connection, run_id)
        try:
            files: dict[str, Iterable[bytes | memoryview]] = {
                "flagged.csv": [flagged_csv(contents, for_excel=byte_order_mark)],
                "flags.csv": flag_csv(connection, contents, for_excel=byte_order_mark),
                "report.html": [page(contents).encode("utf-8", "replace")],
            }
        except Exception as error:
            raise _not_made(folder, error) from error
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True)
            replace_together({real_path(folder / name): pieces for name, pieces in files.items()})
        except OSError as error:
            raise ReportError(
                f"the results are in the store, but the reports could not be written ({error.strerror})",
                where=str(folder),
                remedy="Make room, or the folder writable; `neutro-screen report` writes them.",
            ) from None
        except Exception as error:  # flags.csv is made while it is written
            raise _not_made(folder, error) from error
    return folder / "report.html"


def _not_made(folder: Path, error: Exception) -> ReportError:
    """The text of the error may quote a patient's value: only its type is told."""
    return ReportError(
        f"the results are in the store, but their reports could not be made (unexpected {type(error).__name__})",
        where=str(folder),
        remedy="Repeat `neutro-screen report` with --debug where patient data may be shown, and report it.",
    )

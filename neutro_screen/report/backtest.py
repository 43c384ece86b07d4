"""A backtest as CSV for spreadsheets and one HTML page, private to their owner."""

from pathlib import Path
from typing import Literal

import polars as pl

from neutro_screen.errors import ReportError
from neutro_screen.private import replace_together
from neutro_screen.report.csv import harmless
from neutro_screen.report.html.backtest import BacktestContents, PolicyFigures, backtest_page

__all__ = ["BacktestContents", "PolicyFigures", "write_backtest"]


def write_backtest(contents: BacktestContents, folder: Path) -> Path:
    """Write backtest.html, backtest_summary.csv, backtest_nights.csv and backtest_falls.csv together; return the page.

    Raises:
        ReportError: the folder cannot be written; files of an earlier backtest stand.
    """
    texts = {
        "backtest.html": backtest_page(contents),
        "backtest_summary.csv": _csv(pl.DataFrame([dict(figures.summary) for figures in contents.policies])),
        "backtest_nights.csv": _csv(_together(contents, "nights")),
        "backtest_falls.csv": _csv(_together(contents, "falls")),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_together({folder / name: [text.encode("utf-8", "replace")] for name, text in texts.items()})
    except OSError as error:
        raise ReportError(
            f"the backtest is done, but its files could not be written ({error.strerror})",
            where=str(folder),
            remedy="Name another folder with --out.",
        ) from None
    return folder / "backtest.html"


def _together(contents: BacktestContents, table: Literal["nights", "falls"]) -> pl.DataFrame:
    """One table of all policies, the policy in front."""
    return pl.concat(
        (figures.nights if table == "nights" else figures.falls).select(
            pl.lit(figures.policy).alias("policy"), pl.all()
        )
        for figures in contents.policies
    )


def _csv(frame: pl.DataFrame) -> str:
    return harmless(frame).write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ", date_format="%Y-%m-%d")

"""CSV for spreadsheets: stable columns, ISO times, no cell that a spreadsheet would run as a formula."""

import polars as pl

from neutro_screen.report.contents import RunContents

#: Spreadsheets run a text that starts with one of these (OWASP, CSV injection).
_FORMULA = r"^[=+\-@\t\r]"


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells that a spreadsheet would run get an apostrophe in front; numbers stay numbers."""
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA)).then(pl.format("'{}", pl.col(name))).otherwise(name).alias(name)
        for name, dtype in frame.schema.items()
        if dtype == pl.String
    )


def flagged_csv(contents: RunContents) -> str:
    """One row per patient on the worklist, in its order."""
    return _csv(contents.worklist)


def flag_csv(contents: RunContents) -> str:
    """One row per rule that fired, of the patients on the worklist."""
    return _csv(contents.flag)


def _csv(frame: pl.DataFrame) -> str:
    return harmless(frame).write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")

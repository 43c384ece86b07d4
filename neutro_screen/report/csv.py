"""CSV for spreadsheets: stable columns, ISO times, no cell that a spreadsheet would run as a formula."""

from typing import Final

import polars as pl

from neutro_schemas import Flag
from neutro_schemas.store import WorklistRow
from neutro_screen.report.contents import RunContents

#: Spreadsheets run a text that starts so (OWASP, CSV injection), also behind blanks and in full-width form.
_FORMULA: Final = r"^[\s\p{Cf}]*[=+\-@＝＋－＠]|^[\t\r\n]"
_REVIEW: Final = ("review_status", "review_until", "review_note")


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells that a spreadsheet would run get an apostrophe in front; numbers and times stay what they are."""
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA)).then(pl.format("'{}", pl.col(name))).otherwise(name).alias(name)
        for name, dtype in frame.schema.items()
        if dtype == pl.String
    )


def flagged_csv(contents: RunContents) -> str:
    """One row per patient on the worklist, in its order: the columns of ``WorklistRow`` and the standing review."""
    return _csv(contents.worklist.select(*WorklistRow.to_schema().columns, *_REVIEW))


def flag_csv(contents: RunContents) -> str:
    """One row per rule that fired, of the patients on the worklist: the columns of ``Flag`` and the run of each."""
    return _csv(contents.flag.select(*Flag.to_schema().columns, "run_id"))


def _csv(frame: pl.DataFrame) -> str:
    return harmless(frame).write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ", date_format="%Y-%m-%d")

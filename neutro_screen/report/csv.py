"""CSV for spreadsheets: stable columns, ISO times, no cell that a spreadsheet would run as a formula, no unseen sign."""

from collections.abc import Iterator
from io import BytesIO
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import Flag
from neutro_schemas.store import WorklistRow
from neutro_screen.errors import UNSEEN
from neutro_screen.report.contents import RunContents
from neutro_screen.store.rows import read_table, registered
from neutro_screen.validate import dtypes

#: Spreadsheets run a text that starts so (OWASP, CSV injection), also behind blanks and in full-width form.
_FORMULA: Final = r"^[\s\p{Cf}]*[=+\-@＝＋－＠]|^[\t\r\n]"
#: A spreadsheet that parts cells at ``;`` or tab (much of Europe) finds the start of a cell inside one of ours, and one that
#: parts them so finds no quotes around a line break either.
_FORMULA_INSIDE: Final = r"([;\t\n][\s\p{Cf}\"]*)([=+\-@＝＋－＠])"
_UNSEEN: Final = f"[{UNSEEN}]"
#: What may have to be changed: a column without it, as most are, is not rewritten.
_HARMFUL: Final = f"{_FORMULA}|[;\t\n]|{_UNSEEN}"
#: Identifiers that Excel would turn into numbers, dates or times: 00123, 1E5, 3-4, 12:30.
_NUMBER_LIKE: Final = (
    r"^\s*(?:[\d.,]+(?:[eE][+-]?\d+)?|\d{1,4}[-/.]\d{1,2}(?:[-/.]\d{1,4})?|\d{1,2}:\d{2}(?::\d{2})?)\s*$"
)
IDENTIFIERS: Final = ("patient_id", "specimen_id", "episode_id")
REQUEST_COLUMNS: Final = ("ward", "requester")
#: Patients whose flags are read, put in order and written together.
PATIENTS_AT_A_TIME: Final = 20_000
_FLAG_COLUMNS: Final = (*dtypes(Flag), "run_id")
_ORDER_OF_FLAGS: Final = ("patient_id", "raised_at", "rule_id", "specimen_id", "reason")
REVIEW_COLUMNS: Final = ("review_status", "review_until", "review_note", "review_by", "review_at")


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Text that a spreadsheet would run gets an apostrophe in front, unseen signs become U+FFFD; numbers and times stay.

    The same for what would be a cell of its own where ``;`` or tab parts the cells: ``P;=1+1`` becomes ``P;'=1+1``.
    """
    is_harmful = frame.select(pl.col(pl.String).str.contains(_HARMFUL).any())
    texts = [name for name in is_harmful.columns if is_harmful[name].item()]
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA))
        .then(pl.format("'{}", _inside(pl.col(name))))
        .otherwise(_inside(pl.col(name)))
        .alias(name)
        for name in texts
    )


def _inside(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(_UNSEEN, "\N{REPLACEMENT CHARACTER}").str.replace_all(_FORMULA_INSIDE, "${1}'${2}")


def spreadsheet_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """Identifiers that Excel would take for numbers, dates or times get an apostrophe in front; 00123 stays 00123."""
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_NUMBER_LIKE))
        .then(pl.format("'{}", pl.col(name)))
        .otherwise(name)
        .alias(name)
        for name in IDENTIFIERS
        if name in frame.columns
    )


def flagged_csv(contents: RunContents, *, for_excel: bool = False) -> memoryview:
    """One row per patient on the worklist, in its order: the columns of ``WorklistRow``, the standing review, ward and requester."""
    columns = (*dtypes(WorklistRow), *REVIEW_COLUMNS, *REQUEST_COLUMNS)
    return _csv(contents.worklist.select(columns), for_excel=for_excel)


def flag_csv(connection: DuckDBPyConnection, contents: RunContents, *, for_excel: bool = False) -> Iterator[memoryview]:
    """One row per rule that fired, of the patients on the worklist: the columns of ``Flag`` and the run of each.

    Piece by piece: the flags of a large first night are some gigabytes.
    """
    listed = contents.worklist.select("patient_id").sort("patient_id")
    pieces = list(listed.iter_slices(PATIENTS_AT_A_TIME)) or [listed]
    for number, piece in enumerate(pieces):
        with registered(connection, "listed", piece):
            flags = read_table(
                connection, f"SELECT {', '.join(_FLAG_COLUMNS)} FROM flag SEMI JOIN listed USING (patient_id)"
            )
        # Sorted here: DuckDB takes twice as long to put long texts in order.
        in_order = flags.sort(_ORDER_OF_FLAGS, nulls_last=True, maintain_order=True)
        yield _csv(in_order, for_excel=for_excel, is_first=number == 0)


def _csv(frame: pl.DataFrame, *, for_excel: bool, is_first: bool = True) -> memoryview:
    safe, file = harmless(spreadsheet_ids(frame) if for_excel else frame), BytesIO()
    safe.write_csv(
        file,
        include_bom=for_excel and is_first,
        include_header=is_first,
        datetime_format="%Y-%m-%dT%H:%M:%SZ",
        date_format="%Y-%m-%d",
    )
    return file.getbuffer()

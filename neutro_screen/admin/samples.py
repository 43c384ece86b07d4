"""The first rows of a file as text columns, whatever its format: what a profile is proposed from."""

import csv
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.files import encoding_by_mark, head_of, refusing, transcoded, unpacked
from neutro_screen.ingest.formats.excel import HEADER_WITHIN, sheets_of
from neutro_screen.ingest.formats.excel import recognises as is_excel
from neutro_screen.private import private_folder

_SAMPLE: Final = 5_000
_LONGEST_SAMPLE: Final = 8 << 20


def sample_of(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The sample, and lines for the profile that say how the file is written.

    Raises:
        UnreadableInputError: the file cannot be read as a table.
        RefusedInputError: a workbook is empty.
    """
    if is_excel(path):
        return _first_table(sheets_of(path), path.name), []
    if path.suffix == ".parquet":
        with refusing("is not a readable Parquet file", path, pl.exceptions.PolarsError, OSError):
            frame = pl.scan_parquet(path.absolute(), glob=False).head(_SAMPLE).collect()
            return frame.select(pl.col(name).cast(pl.String, strict=False) for name in frame.columns), []
    with private_folder() as folder:
        text = unpacked(path, folder)
        encoding = encoding_by_mark(head_of(text))
        if encoding not in (None, "utf-8-sig"):
            text = transcoded(text, str(encoding), folder)
        try:
            with text.open("rb") as file:
                raw = file.read(_LONGEST_SAMPLE)
        except OSError:
            raise UnreadableInputError("cannot be read", where=path.name) from None
    try:
        sampled, details = raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        sampled, details = raw.decode("cp1252", errors="replace"), ['encoding = "cp1252"']
    lines = sampled.splitlines()[: _SAMPLE + 1]
    if not lines or "\0" in lines[0]:
        raise UnreadableInputError("is empty or no text", where=path.name)
    delimiter = max(",;\t|", key=lines[0].count)
    if not lines[0].count(delimiter):
        delimited = [number for number, line in enumerate(lines[:HEADER_WITHIN], start=1) if _has_several(line)]
        if delimited:
            lines = lines[delimited[0] - 1 :]
            delimiter = max(",;\t|", key=lines[0].count)
    return _table(list(islice(csv.reader(lines, delimiter=delimiter), _SAMPLE))), details


def _has_several(line: str) -> bool:
    """Whether a line has as many columns as the smallest extract."""
    return max(map(line.count, ",;\t|")) >= 3


def _first_table(sheets: list[list[list[str | None]]], name: str) -> pl.DataFrame:
    """The sheet and line with the most names in it."""
    headers = [
        (sum(cell is not None for cell in row), -line, sheet)
        for sheet, rows in enumerate(sheets)
        for line, row in enumerate(rows[:HEADER_WITHIN])
    ]
    if not headers:
        raise RefusedInputError("the workbook is empty", where=name)
    _, line, sheet = max(headers)
    return _table([[cell or "" for cell in row] for row in sheets[sheet][-line : -line + _SAMPLE]])


def _table(rows: list[list[str]]) -> pl.DataFrame:
    header = [name.strip() for name in rows[0]]
    kept = [position for position, name in enumerate(header) if name and header.index(name) == position]
    body = [[row[position].strip() or None for position in kept] for row in rows[1:] if len(row) == len(header)]
    return pl.DataFrame(body, schema=dict.fromkeys((header[position] for position in kept), pl.String), orient="row")

"""Delimited text (CSV, TSV, semicolon, pipe), plain or compressed, in any layout that a profile describes.

Three ways lead to the same rows and line numbers. A text without quotes in which every line has as many delimiters as the
header is split by polars. Any other is split by DuckDB, half as fast: unlike polars it hands back the lines that do not have
the header's number of fields. Where lines and rows are not one to one (a quote left open, a line end inside quotes, a blank
line, a lone carriage return, a zero byte, an endless line), every line is read for itself (``lines.py``).
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.batches import RawBatch
from neutro_screen.ingest.broken_lines import BrokenLine
from neutro_screen.ingest.control import Stated, check_rows, without_trailer
from neutro_screen.ingest.engine import engine
from neutro_screen.ingest.files import encoding_by_mark, plain_name, transcoded, unpacked
from neutro_screen.ingest.formats.lines import LONGEST_LINE, Layout, Line, broken_line, numbered_lines, records
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.header import repeated_columns
from neutro_screen.ingest.layout import named_columns
from neutro_screen.ingest.profile import Profile
from neutro_screen.private import private_folder

SUFFIXES: Final = (".csv", ".tsv", ".txt", ".psv")
_DELIMITERS: Final = (",", ";", "\t", "|")
#: The header is looked for in so many lines: exports start with titles.
HEADER_WITHIN: Final = 50
#: So many columns must be found below a title; in the first line one is enough.
_FOUND_BELOW_TITLE: Final = 3
ROWS_A_BATCH: Final = 500_000
_CHUNK: Final = 16 << 20
#: Looked at together: what fits into the processor's cache. A longer line is left to DuckDB.
_LOOK: Final = 128 << 10
#: So many lines that are no UTF-8, and none before them that is: then the text is in another encoding.
_LINES_OF_ONE_ENCODING: Final = 1_000
_TAIL: Final = 65_536


def read_delimited(path: Path, kind: Kind, profile: Profile) -> Iterator[RawBatch]:
    """Read one file of a kind as text columns under the file's own header names; see ``read_columns``."""
    return read_columns(
        path, named_columns(kind, profile), profile.encoding, profile.delimiter, profile.control.trailer
    )


def read_columns(
    path: Path,
    expected: set[str],
    encoding: str | None = None,
    delimiter: str | None = None,
    trailer: str | None = None,
) -> Iterator[RawBatch]:
    """Read one file as text, in batches; header and delimiter are those that find most ``expected`` columns.

    The last line is no row where ``trailer`` (a regular expression) describes it: it states the number of rows.

    Lines with too few or too many fields, broken quotes, undecodable or zero bytes, a lone carriage return, or more than
    2 MB become ``refused``, each with the fields that can be read all the same. Lines above the header are a note.

    Raises:
        UnreadableInputError: no bytes, not text, a damaged archive, a copy that was cut off (zero bytes at its end).
        RefusedInputError: none of the expected columns in the first lines, a name twice in the header, no
            trailer, or another number of rows than it states.
    """
    with private_folder() as folder:
        text = unpacked(path, folder)
        marked = encoding or encoding_by_mark(_head(text, path.name))
        notes: tuple[str, ...] = ()
        if marked not in (None, "utf-8", "utf-8-sig"):
            text = transcoded(text, marked, folder)
        elif marked is None and not _is_utf8(text):
            # Western European single-byte text is the one other encoding of exports without a mark; letters in names
            # and the micro sign are all that differ.
            text, notes = transcoded(text, "cp1252", folder), ("decoded_as_cp1252",)
        stated = None
        if trailer is not None:
            text, stated = without_trailer(text, path, trailer, folder / "without_trailer")
        layout, found = _layout(text, path, expected, delimiter), 0
        if layout.header_line > 1:
            notes += (f"title_lines:{layout.header_line - 1}",)
        for batch in _plain_batches(layout) if _is_plain(layout) else _split_batches(layout):
            found += batch.rows.height + len(batch.refused)
            yield batch._replace(notes=notes)
        if trailer is not None:
            check_rows(path, found, Stated(rows=stated))


def _layout(text: Path, path: Path, expected: set[str], delimiter: str | None) -> Layout:
    """The first line with most expected columns is the header; one below a title must have several of them."""
    with text.open("rb") as file:
        lines = [line for _, line in zip(range(HEADER_WITHIN), numbered_lines(file), strict=False)]
    if not lines:  # nothing but the mark of its encoding
        raise _is_empty(path.name)
    _check_text(lines[0], path.name)
    best, most = Layout(text, path, [], ",", 1), 0
    for line in lines:
        for candidate in [delimiter] if delimiter else _DELIMITERS:
            header = _header(line.content, candidate)
            found = len(expected & set(header))
            if found > most and (line.number == 1 or found >= _FOUND_BELOW_TITLE):
                best, most = Layout(text, path, header, candidate, line.number), found
    if not most:
        raise RefusedInputError(
            "none of the expected columns is in the first lines",
            where=path.name,
            remedy=f"Expected some of: {', '.join(sorted(expected))}. Is the header line there? Else use --profile.",
        )
    if repeated := repeated_columns(best.header, expected):
        raise RefusedInputError(repeated, where=path.name)
    return best


def _check_text(first: Line, name: str) -> None:
    if first.is_too_long:
        raise UnreadableInputError("the first line is longer than 2 MB", where=name, remedy="Is this a text export?")
    if b"\0" in first.content:
        raise UnreadableInputError("is not text (zero bytes)", where=name, remedy="Is this a text export?")
    if b"\r" in first.content.rstrip(b"\r\n"):
        raise RefusedInputError(
            "the first line holds carriage returns", where=name, remedy="Save the file with line feeds as line ends."
        )


def _header(line: bytes, delimiter: str) -> list[str]:
    text = line.decode("utf-8", errors="replace").lstrip("\ufeff").rstrip("\r\n")
    try:
        return [column.strip() for column in next(csv.reader([text], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _head(text: Path, name: str) -> bytes:
    with text.open("rb") as file:
        head = file.read(64)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise _is_empty(name)
    return head


def _is_empty(name: str) -> UnreadableInputError:
    return UnreadableInputError("the file is empty", where=name, remedy="Check the export; nothing was screened.")


def _is_utf8(text: Path) -> bool:
    """Whether the text is UTF-8; a few lines among others that are none are refused by themselves."""
    n_other = 0
    with text.open("rb") as file:
        while (chunk := file.read(_CHUNK)) and n_other < _LINES_OF_ONE_ENCODING:
            for line in () if chunk.isascii() else chunk.split(b"\n"):
                if line.isascii():
                    continue
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    n_other += 1
                    if n_other == _LINES_OF_ONE_ENCODING:
                        break
                else:
                    return True
    return not n_other


def _is_plain(layout: Layout) -> bool:
    """Whether the text is UTF-8 without quotes in which every line has the header's number of fields."""
    width, mark = len(layout.header), ord(layout.delimiter)
    with layout.text.open("rb") as file:
        rest = b""
        for _ in range(layout.header_line - 1):
            file.readline()
        while chunk := file.read(_LOOK):
            end = chunk.rfind(b"\n") + 1
            if not end or not _is_plain_text(rest + chunk[:end], width, mark):
                return False
            rest = chunk[end:]
    return width > 1 and (not rest or _is_plain_text(rest + b"\n", width, mark))


def _is_plain_text(lines: bytes, width: int, mark: int) -> bool:
    """Whether these lines are split by nothing but delimiters and line ends, ``width`` fields each."""
    if b'"' in lines or b"\0" in lines or (b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n")):
        return False
    try:
        lines.isascii() or lines.decode()
    except UnicodeDecodeError:
        return False
    letters = np.frombuffer(lines, dtype=np.uint8)
    ends = letters[(letters == mark) | (letters == ord("\n"))]
    if ends.size % width:
        return False
    by_line = ends.reshape(-1, width)
    return bool((by_line[:, -1] == ord("\n")).all() and (by_line[:, :-1] == mark).all())


def _plain_batches(layout: Layout) -> Iterator[RawBatch]:
    """The rows of a text that ``_is_plain``: every line below the header is a row."""
    columns = dict.fromkeys(layout.header, pl.String)
    first, n_rows = layout.header_line + 1, 0
    with _splitting(layout):
        lines = pl.scan_csv(
            layout.text,
            has_header=False,
            skip_lines=layout.header_line,
            schema=columns,
            separator=layout.delimiter,
            quote_char=None,
            glob=False,
        )
        for rows in lines.collect_batches(chunk_size=ROWS_A_BATCH):
            numbers = pl.int_range(first + n_rows, first + n_rows + pl.len(), dtype=pl.Int64)
            yield RawBatch(layout.path, rows.with_columns(source_row=numbers))
            n_rows += rows.height
    if n_rows == 0:
        yield RawBatch(layout.path, _rows_of(layout, []))


def _split_batches(layout: Layout) -> Iterator[RawBatch]:
    """The rows of any other text: by DuckDB where lines and rows are one to one, else line by line."""
    n_lines = _count_lines(layout)
    try:
        refused, n_rows = _refusals(layout) if n_lines else ([], 0)
    except duckdb.Error:
        n_lines = 0
    if not n_lines or layout.header_line + n_rows + len(refused) != n_lines or any(map(_needs_its_line, refused)):
        yield from _line_by_line(layout)
    else:
        yield from _batches(layout, refused)


def _needs_its_line(line: BrokenLine) -> bool:
    """Whether DuckDB may have cut the line differently, or could not give its whole text."""
    return line.reason not in _RAGGED.values() or '"' in line.text


def _count_lines(layout: Layout) -> int:
    """The number of lines, blank ones at the end left out; 0 where some line needs to be read for itself.

    Raises:
        UnreadableInputError: zero bytes at the end of the file: the copy was cut off.
    """
    n_lines, is_odd, tail = 0, False, b""
    with layout.text.open("rb") as file:
        while chunk := file.read(_CHUNK):
            seen = tail[-1:] + chunk
            n_lines += chunk.count(b"\n")
            # A chunk without a line end is a part of a line that DuckDB cannot hold.
            is_odd |= b"\0" in chunk or (len(chunk) == _CHUNK and b"\n" not in chunk)
            is_odd |= seen.count(b"\r") - seen.endswith(b"\r") != seen.count(b"\r\n")
            tail = seen[-_TAIL:]
    if tail.endswith(b"\0"):
        raise UnreadableInputError(
            "is not text (zero bytes)", where=layout.path.name, remedy="Was the copy cut off? Send it again."
        )
    last_line_ends = tail[len(tail.rstrip(b"\r\n")) :].count(b"\n")
    return 0 if is_odd else n_lines - last_line_ends + 1


def _refusals(layout: Layout) -> tuple[list[BrokenLine], int]:
    """The lines that cannot be split, known before the first row is taken, and the number of rows."""
    with engine() as connection, plain_name(layout.text) as name:
        counted = _scan(connection, name, layout).aggregate("count(*), count(COLUMNS(*))").fetchall()
        refused = connection.sql(
            "SELECT line, any_value(CAST(error_type AS VARCHAR)) AS error, any_value(csv_line) AS text "
            "FROM reject_errors GROUP BY line ORDER BY line"
        ).fetchall()
    lines = [
        broken_line(line, _RAGGED.get(error, error), (text or "").encode(), layout) for line, error, text in refused
    ]
    return lines, counted[0][0]


def _batches(layout: Layout, refused: Sequence[BrokenLine]) -> Iterator[RawBatch]:
    """The rows with their line numbers, some hundred thousand at a time, and all refused lines with the first."""
    taken, n_rows = [line.source_row for line in refused], 0
    with engine() as connection, plain_name(layout.text) as name, _splitting(layout):
        for rows in _gathered(_scan(connection, name, layout).to_arrow_reader(ROWS_A_BATCH)):
            numbers = _line_numbers(n_rows, rows.height, taken, layout.header_line + 1)
            yield RawBatch(layout.path, rows.with_columns(numbers), refused if n_rows == 0 else ())
            n_rows += rows.height
    if n_rows == 0:
        yield RawBatch(layout.path, _rows_of(layout, []), refused)


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    """DuckDB hands out smaller batches than it is asked for: together they are batches of about ROWS_A_BATCH rows."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= ROWS_A_BATCH:
            yield pl.DataFrame(pa.Table.from_batches(held))
            held = []
    if held:
        yield pl.DataFrame(pa.Table.from_batches(held))


def _line_by_line(layout: Layout) -> Iterator[RawBatch]:
    rows: list[tuple[str | int, ...]] = []
    refused: list[BrokenLine] = []
    for record in records(layout):
        if isinstance(record, BrokenLine):
            refused.append(record)
        else:
            rows.append(record)
        if len(rows) == ROWS_A_BATCH:
            yield RawBatch(layout.path, _rows_of(layout, rows), tuple(refused))
            rows, refused = [], []
    yield RawBatch(layout.path, _rows_of(layout, rows), tuple(refused))


def _rows_of(layout: Layout, rows: list[tuple[str | int, ...]]) -> pl.DataFrame:
    columns = dict.fromkeys(layout.header, pl.String) | {"source_row": pl.Int64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def _scan(connection: duckdb.DuckDBPyConnection, name: str, layout: Layout) -> duckdb.DuckDBPyRelation:
    """The rows of the text under a name that is no pattern (``plain_name``)."""
    return connection.read_csv(
        name,
        header=True,
        sep=layout.delimiter,
        quotechar='"',
        escapechar='"',
        columns=dict.fromkeys(layout.header, "VARCHAR"),
        auto_detect=False,
        null_padding=False,
        strict_mode=True,
        max_line_size=LONGEST_LINE,
        skiprows=layout.header_line - 1,
        store_rejects=True,
        rejects_limit=0,
    )


@contextmanager
def _splitting(layout: Layout) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pa.ArrowException, pl.exceptions.PolarsError, UnicodeDecodeError):
        raise UnreadableInputError("cannot be split into lines and columns", where=layout.path.name) from None


#: What DuckDB calls lines that do not have the header's number of fields.
_RAGGED: Final = {"MISSING COLUMNS": "too_few_fields", "TOO MANY COLUMNS": "too_many_fields"}


def _line_numbers(n_before: int, rows: int, taken: list[int], first: int) -> pl.Series:
    """Line numbers of accepted rows, of which ``n_before`` came before: the first can stand in line ``first``, and refused
    lines keep theirs."""
    gaps = np.asarray(taken, dtype=np.int64) - np.arange(len(taken)) - first
    accepted = np.arange(n_before, n_before + rows, dtype=np.int64)
    return pl.Series("source_row", accepted + first + np.searchsorted(gaps, accepted, side="right"))

"""Delimited text (CSV, TSV, semicolon, pipe), plain or compressed, in any layout that a profile describes.

DuckDB splits the lines: it is fast, and unlike polars it hands back every line that does not have the header's number
of fields, with its number, instead of padding or dropping it. A file that cannot have such a line (no quotes, and every
line has as many delimiters as the header) is read by polars, in half the time.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.batches import RawBatch, refused_text
from neutro_screen.ingest.engine import engine
from neutro_screen.ingest.files import encoding_by_mark, plain_name, transcoded, unpacked
from neutro_screen.ingest.frames import Kind, Refused
from neutro_screen.ingest.header import repeated_columns
from neutro_screen.ingest.layout import named_columns
from neutro_screen.ingest.profile import Profile
from neutro_screen.private import private_folder

SUFFIXES = (".csv", ".tsv", ".txt", ".psv")
_DELIMITERS = (",", ";", "\t", "|")
#: A longer line is no row of a laboratory extract.
LONGEST_LINE = 2_000_000
ROWS_A_BATCH = 500_000
_CHUNK = 16 << 20
#: Looked at together: what fits into the processor's cache. A longer line is left to DuckDB.
_LOOK = 128 << 10


def read_delimited(path: Path, kind: Kind, profile: Profile) -> Iterator[RawBatch]:
    """Read one file of a kind as text columns under the file's own header names; see ``read_columns``."""
    return read_columns(path, named_columns(kind, profile), profile.encoding, profile.delimiter)


def read_columns(
    path: Path, expected: set[str], encoding: str | None = None, delimiter: str | None = None
) -> Iterator[RawBatch]:
    """Read one file as text, in batches; the delimiter is the one that finds most ``expected`` columns in the header.

    Lines with too few or too many fields, broken quotes or undecodable bytes become ``refused``. The lines that a quote
    left open would swallow are read for themselves.

    Raises:
        UnreadableInputError: no bytes, not text, damaged archive, a line longer than 2 MB.
        RefusedInputError: none of the expected columns in the first line.
    """
    with private_folder() as folder:
        text = unpacked(path, folder)
        marked = encoding or encoding_by_mark(_head(text, path.name))
        if marked not in (None, "utf-8"):
            text = transcoded(text, marked, folder)
        notes: tuple[str, ...] = ()
        layout = _layout(text, path, expected, delimiter)
        if _is_plain(layout):
            yield from _plain_batches(layout)
            return
        refusals = _refusals(layout)
        if marked is None and any(refusal.reason == "undecodable_text" for refusal in refusals):
            # Western European single-byte text is the one other encoding of exports without a mark; letters in names
            # and the micro sign are all that differ.
            layout = _layout(transcoded(text, "cp1252", folder), path, expected, delimiter)
            refusals, notes = _refusals(layout), ("decoded_as_cp1252",)
        has_open_quote = any(refusal.reason == "broken_quotes" for refusal in refusals)
        for batch in _line_by_line(layout) if has_open_quote else _batches(layout, refusals):
            yield batch._replace(notes=notes)


class _Layout(NamedTuple):
    """A UTF-8 text, the file it was made from, and how its lines are split."""

    text: Path
    path: Path
    header: list[str]
    delimiter: str


def _layout(text: Path, path: Path, expected: set[str], delimiter: str | None) -> _Layout:
    header, found = _header(text, path.name, expected, delimiter)
    _check_zero_bytes(text, path.name)
    return _Layout(text, path, header, found)


def _head(text: Path, name: str) -> bytes:
    with text.open("rb") as file:
        head = file.read(64)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UnreadableInputError("the file is empty", where=name, remedy="Check the export; nothing was screened.")
    return head


def _is_plain(layout: _Layout) -> bool:
    """Whether the text is UTF-8 without quotes in which every line has the header's number of fields."""
    width, mark = len(layout.header), ord(layout.delimiter)
    with layout.text.open("rb") as file:
        rest = b""
        while chunk := file.read(_LOOK):
            end = chunk.rfind(b"\n") + 1
            if not end or not _is_plain_text(rest + chunk[:end], width, mark):
                return False
            rest = chunk[end:]
    return width > 1 and (not rest or _is_plain_text(rest + b"\n", width, mark))


def _is_plain_text(lines: bytes, width: int, mark: int) -> bool:
    """Whether these lines are split by nothing but delimiters and line ends, ``width`` fields each."""
    if b'"' in lines or (b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n")):
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


def _plain_batches(layout: _Layout) -> Iterator[RawBatch]:
    """The rows of a text that ``_is_plain``: the header is line 1, and every line behind it is a row."""
    columns = dict.fromkeys(layout.header, pl.String)
    n_rows = 0
    with _splitting(layout):
        lines = pl.scan_csv(
            layout.text,
            has_header=False,
            skip_lines=1,
            schema=columns,
            separator=layout.delimiter,
            quote_char=None,
            glob=False,
        )
        for rows in lines.collect_batches(chunk_size=ROWS_A_BATCH):
            numbers = pl.int_range(n_rows + 2, n_rows + 2 + pl.len(), dtype=pl.Int64)
            yield RawBatch(layout.path, rows.with_columns(source_row=numbers))
            n_rows += rows.height
    if n_rows == 0:
        yield RawBatch(layout.path, _rows_of(layout, []))


def _refusals(layout: _Layout) -> list[Refused]:
    """The lines that cannot be split: known before the first row is taken, so that every row gets its own number."""
    with engine() as connection, plain_name(layout.text) as name, _splitting(layout):
        _scan(connection, name, layout).aggregate("count(COLUMNS(*))").fetchall()
        refused = connection.sql(
            "SELECT line, any_value(CAST(error_type AS VARCHAR)) AS error, any_value(csv_line) AS text "
            "FROM reject_errors GROUP BY line ORDER BY line"
        ).fetchall()
    return [
        Refused(layout.path.name, line, _REASONS.get(error, "ragged_line"), refused_text(text or ""))
        for line, error, text in refused
    ]


def _batches(layout: _Layout, refused: Sequence[Refused]) -> Iterator[RawBatch]:
    """The rows with their line numbers, some hundred thousand at a time, and all refused lines with the first."""
    taken, n_rows = [line.source_row for line in refused], 0
    with engine() as connection, plain_name(layout.text) as name, _splitting(layout):
        for rows in _gathered(_scan(connection, name, layout).to_arrow_reader(ROWS_A_BATCH)):
            numbers = _line_numbers(n_rows, rows.height, taken)
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


def _line_by_line(layout: _Layout) -> Iterator[RawBatch]:
    """Every line read for itself, as a slow but sure way: a quote left open would swallow all lines behind it."""
    rows: list[tuple[str | int, ...]] = []
    refused: list[Refused] = []
    with layout.text.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1 or not line.strip():
                continue
            fields, reason = _fields(line, layout)
            if reason:
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                refused.append(Refused(layout.path.name, number, reason, refused_text(text)))
            else:
                rows.append((*fields, number))
            if len(rows) == ROWS_A_BATCH:
                yield RawBatch(layout.path, _rows_of(layout, rows), tuple(refused))
                rows, refused = [], []
    yield RawBatch(layout.path, _rows_of(layout, rows), tuple(refused))


def _fields(line: bytes, layout: _Layout) -> tuple[list[str], str | None]:
    """The fields of one line, or why it is refused."""
    try:
        fields = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], delimiter=layout.delimiter, strict=True))
    except UnicodeDecodeError:
        return [], "undecodable_text"
    except csv.Error:
        return [], "broken_quotes"
    if len(fields) == len(layout.header):
        return fields, None
    return [], "too_few_fields" if len(fields) < len(layout.header) else "too_many_fields"


def _rows_of(layout: _Layout, rows: list[tuple[str | int, ...]]) -> pl.DataFrame:
    columns = dict.fromkeys(layout.header, pl.String) | {"source_row": pl.Int64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def _scan(connection: duckdb.DuckDBPyConnection, name: str, layout: _Layout) -> duckdb.DuckDBPyRelation:
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
        store_rejects=True,
        rejects_limit=0,
    )


@contextmanager
def _splitting(layout: _Layout) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pa.ArrowException, pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise UnreadableInputError(_why(error), where=layout.path.name, remedy="Is a quote left open?") from None


_REASONS = {
    "MISSING COLUMNS": "too_few_fields",
    "TOO MANY COLUMNS": "too_many_fields",
    "UNQUOTED VALUE": "broken_quotes",
    "INVALID ENCODING": "undecodable_text",
    "LINE SIZE OVER MAXIMUM": "line_too_long",
}


def _header(text: Path, name: str, expected: set[str], delimiter: str | None) -> tuple[list[str], str]:
    with text.open("rb") as file:
        raw = file.readline(LONGEST_LINE + 1)
    if len(raw) > LONGEST_LINE:
        raise UnreadableInputError("the first line is longer than 2 MB", where=name, remedy="Is this a text export?")
    if b"\0" in raw:
        raise UnreadableInputError("is not text (zero bytes)", where=name, remedy="Is this a text export?")
    line = raw.decode("utf-8", errors="replace").lstrip("\ufeff").rstrip("\r\n")
    if "\r" in line:
        raise RefusedInputError(
            "the first line holds carriage returns", where=name, remedy="Save the file with line feeds as line ends."
        )
    best: tuple[list[str], str] = ([], ",")
    for candidate in [delimiter] if delimiter else _DELIMITERS:
        header = [column.strip() for column in next(csv.reader([line], delimiter=candidate), [])]
        if len(expected & set(header)) > len(expected & set(best[0])):
            best = header, candidate
    if not best[0]:
        raise RefusedInputError(
            "none of the expected columns is in the first line",
            where=name,
            remedy=f"Expected some of: {', '.join(sorted(expected))}. Is the header line there? Else use --profile.",
        )
    if repeated := repeated_columns(best[0], expected):
        raise RefusedInputError(repeated, where=name)
    return best


def _check_zero_bytes(text: Path, name: str) -> None:
    """The tail of a copy that broke off is often zeros, and DuckDB passes over a last line of them without a word."""
    with text.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                raise UnreadableInputError(
                    "is not text (zero bytes)", where=name, remedy="Was the copy cut off? Send it again."
                )


def _line_numbers(n_before: int, rows: int, taken: list[int]) -> pl.Series:
    """Line numbers of accepted rows, of which ``n_before`` came before: the header is line 1, and refused lines keep
    theirs."""
    gaps = np.asarray(taken, dtype=np.int64) - np.arange(len(taken)) - 2
    accepted = np.arange(n_before, n_before + rows, dtype=np.int64)
    return pl.Series("source_row", accepted + 2 + np.searchsorted(gaps, accepted, side="right"))


def _why(error: Exception) -> str:
    text = str(error)
    if "aximum line size" in text or "maximum_line_size" in text or "max_line_size" in text:
        return "a line is longer than 2 MB"
    return "cannot be split into lines and columns"

"""Delimited text (CSV, TSV, semicolon, pipe), plain or compressed, in any layout that a profile describes.

Two ways lead to the same rows and line numbers. Where lines and rows are one to one, polars splits all lines but the few odd
ones (``even_lines.py``). Where a quote left open may be closed by a later line, a line is endless, or odd lines are many, every
line is read for itself (``lines.py``).
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.batches import RawBatch
from neutro_screen.ingest.broken_lines import BrokenLine
from neutro_screen.ingest.control import Stated, check_rows, without_trailer
from neutro_screen.ingest.files import encoding_by_mark, transcoded, unpacked
from neutro_screen.ingest.formats.even_lines import rows_of, sections
from neutro_screen.ingest.formats.lines import Layout, Line, numbered_lines, records
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.header import repeated_columns, without_headers
from neutro_screen.ingest.layout import named_columns
from neutro_screen.ingest.printed import delimited_copy
from neutro_screen.ingest.profile import Profile
from neutro_screen.prefetch import ahead
from neutro_screen.private import private_folder

SUFFIXES: Final = (".csv", ".tsv", ".txt", ".psv", ".lst", ".lis", ".prn", ".rpt", ".out", ".tab", ".asc", ".dat")
_DELIMITERS: Final = (",", ";", "\t", "|", "^")
#: The header is looked for in so many lines: exports start with titles.
HEADER_WITHIN: Final = 50
#: So many columns must be found below a title; in the first line one is enough.
_FOUND_BELOW_TITLE: Final = 3
ROWS_A_BATCH: Final = 500_000
_CHUNK: Final = 16 << 20
#: So many lines that are no UTF-8, and none before them that is: then the text is in another encoding.
_LINES_OF_ONE_ENCODING: Final = 1_000


def recognises(path: Path) -> bool:
    """By its name; what is inside is checked when it is read."""
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix.lower() in SUFFIXES


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

    A table as a program prints it is read by its columns (printed.py); a header that is repeated is no row.

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
        printed, text = text, delimited_copy(text, path.name, delimiter or "\t", folder / "delimited")
        if printed != text:
            notes += ("printed_table",)
        layout, found = _layout(text, path, expected, delimiter), 0
        if layout.header_line > 1:
            notes += (f"title_lines:{layout.header_line - 1}",)
        for batch in _batches(layout):
            rows = without_headers(batch.rows)
            found += rows.height + len(batch.refused)
            yield batch._replace(rows=rows, notes=notes)
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


def _batches(layout: Layout) -> Iterator[RawBatch]:
    """A section is looked at while the one before it is split."""
    for section in ahead(sections(layout, ROWS_A_BATCH)):
        if section.is_even:
            yield rows_of(section, layout)
        else:
            yield from _line_by_line(layout, section.first, section.start)


def _line_by_line(layout: Layout, first: int, start: int) -> Iterator[RawBatch]:
    rows: list[tuple[str | int, ...]] = []
    refused: list[BrokenLine] = []
    for record in records(layout, first, start):
        if isinstance(record, BrokenLine):
            refused.append(record)
        else:
            rows.append(record)
        if len(rows) + len(refused) == ROWS_A_BATCH:
            yield RawBatch(layout.path, _rows_of(layout, rows), tuple(refused))
            rows, refused = [], []
    yield RawBatch(layout.path, _rows_of(layout, rows), tuple(refused))


def _rows_of(layout: Layout, rows: list[tuple[str | int, ...]]) -> pl.DataFrame:
    columns = dict.fromkeys(layout.header, pl.String) | {"source_row": pl.Int64}
    return pl.DataFrame(rows, schema=columns, orient="row")

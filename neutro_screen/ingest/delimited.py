"""Delimited text (CSV, TSV, semicolon, pipe), plain or compressed, in any layout that a profile describes.

DuckDB splits the lines: it is fast, and unlike polars it hands back every line that does not have the header's number
of fields, with its number, instead of padding or dropping it.
"""

import csv
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.engine import engine
from neutro_screen.ingest.files import encoding_by_mark, private_folder, transcoded, unpacked
from neutro_screen.ingest.frames import Kind, Refused
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.tabular import Table, named_columns, refused_text

SUFFIXES = (".csv", ".tsv", ".txt", ".psv")
_DELIMITERS = (",", ";", "\t", "|")
#: A longer line is no row of a laboratory extract.
LONGEST_LINE = 2_000_000
_CHUNK = 16 << 20


def read_delimited(path: Path, kind: Kind, profile: Profile) -> Table:
    """Read one file of a kind as text columns under the file's own header names; see ``read_columns``."""
    return read_columns(path, named_columns(kind, profile), profile.encoding, profile.delimiter)


def read_columns(path: Path, expected: set[str], encoding: str | None = None, delimiter: str | None = None) -> Table:
    """Read one file as text; the delimiter is the one that finds most of the ``expected`` columns in the header.

    Lines with too few or too many fields, broken quotes or undecodable bytes become ``refused``.

    Raises:
        UnreadableInputError: no bytes, not text, damaged archive, a line longer than 2 MB.
        RefusedInputError: none of the expected columns in the first line.
    """
    with private_folder() as folder:
        text = unpacked(path, folder)
        marked = encoding or encoding_by_mark(_head(text, path.name))
        if marked not in (None, "utf-8"):
            text = transcoded(text, marked, folder)
        table = _split(path, text, expected, delimiter)
        if marked is None and any(line.reason == "undecodable_text" for line in table.refused):
            # Western European single-byte text is the one other encoding of exports without a mark; letters in names
            # and the micro sign are all that differ.
            table = _split(path, transcoded(text, "cp1252", folder), expected, delimiter)
            return table._replace(notes=("decoded_as_cp1252",))
        return table


def _head(text: Path, name: str) -> bytes:
    with text.open("rb") as file:
        head = file.read(64)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UnreadableInputError("the file is empty", where=name, remedy="Check the export; nothing was screened.")
    return head


def _split(path: Path, text: Path, expected: set[str], delimiter: str | None) -> Table:
    header, delimiter = _header(text, path.name, expected, delimiter)
    _check_zero_bytes(text, path.name)
    with engine() as connection:
        try:
            relation = connection.read_csv(
                str(text),
                header=True,
                sep=delimiter,
                quotechar='"',
                escapechar='"',
                columns=dict.fromkeys(header, "VARCHAR"),
                auto_detect=False,
                null_padding=False,
                strict_mode=True,
                max_line_size=LONGEST_LINE,
                store_rejects=True,
                rejects_limit=0,
            )
            rows = relation.pl()
            refused = connection.sql(
                "SELECT line, any_value(CAST(error_type AS VARCHAR)) AS error, any_value(csv_line) AS text "
                "FROM reject_errors GROUP BY line ORDER BY line"
            ).fetchall()
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise UnreadableInputError(_why(error), where=path.name) from None
    return Table(
        path,
        rows.with_columns(source_row=_line_numbers(rows.height, [line for line, _, _ in refused])),
        [
            Refused(path.name, line, _REASONS.get(error, "ragged_line"), refused_text(text or ""))
            for line, error, text in refused
        ],
    )


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
    if repeated := {column for column in best[0] if best[0].count(column) > 1}:
        raise RefusedInputError(f"column names stand twice in the header: {sorted(repeated)}", where=name)
    return best


def _check_zero_bytes(text: Path, name: str) -> None:
    """The tail of a copy that broke off is often zeros, and DuckDB passes over a last line of them without a word."""
    with text.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                raise UnreadableInputError(
                    "is not text (zero bytes)", where=name, remedy="Was the copy cut off? Send it again."
                )


def _line_numbers(rows: int, refused: list[int]) -> pl.Series:
    """Line numbers of the accepted rows: the header is line 1, and refused lines leave their numbers free."""
    before = np.asarray(refused, dtype=np.int64) - np.arange(len(refused)) - 2
    accepted = np.arange(rows, dtype=np.int64)
    return pl.Series("source_row", accepted + 2 + np.searchsorted(before, accepted, side="right"))


def _why(error: Exception) -> str:
    text = str(error)
    if "aximum line size" in text or "maximum_line_size" in text or "max_line_size" in text:
        return "a line is longer than 2 MB"
    return "cannot be split into lines and columns"

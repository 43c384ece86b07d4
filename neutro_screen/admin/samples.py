"""The first rows of a file as text columns, whatever its format: what a profile is proposed from."""

import csv
import re
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.admin.columns import roles_of
from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.files import encoding_by_mark, head_of, refusing, transcoded, unpacked
from neutro_screen.ingest.formats.excel import HEADER_WITHIN, sheets_of
from neutro_screen.ingest.formats.excel import recognises as is_excel
from neutro_screen.ingest.formats.flat_json import json_rows
from neutro_screen.ingest.formats.flat_json import recognises as is_flat_json
from neutro_screen.ingest.header import without_headers
from neutro_screen.ingest.printed import delimited_lines, printed_table
from neutro_screen.private import private_folder
from neutro_screen.recognition.words import load_words, tokens
from neutro_screen.text import filled

_SAMPLE: Final = 5_000
_LONGEST_SAMPLE: Final = 8 << 20
#: Encodings of exports that are not UTF-8, the most usual first.
_ENCODINGS: Final = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1254",
    "cp1253",
    "cp1257",
    "cp1256",
    "cp1255",
    "cp874",
    "gb18030",
    "cp932",
    "cp949",
    "big5",
)
#: A raised digit behind a ten, as units have it: 10³/µL, 10⁹/L.
_RAISED: Final = re.compile(r"10[\u00b2\u00b3\u2079]")
_DELIMITERS: Final = ",;\t|^"
_LONGEST_LETTER: Final = 4
_LETTERS_LOOKED_AT: Final = 20_000
_WORDS_LOOKED_AT: Final = 200
#: JSON, or a message of HL7: a profile would quote what stands in it.
_MESSAGES: Final = re.compile(r"[\s\x0b]*(?:[{\[]\s*[{\[\"]|(?:MSH|FHS|BHS)\|)")
#: A number, a date or a time: no column is called so.
NO_NAME: Final = r"\s*[<>]?\d+([.,]\d+)*\s*$|\s*\d{4}-\d\d-\d\d|\s*\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\s*\d{8,}"
_ROWS_LOOKED_AT: Final = 30


def sample_of(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The sample, and lines for the profile that say how the file is written.

    Raises:
        UnreadableInputError: the file cannot be read as a table.
        RefusedInputError: a workbook is empty.
    """
    if is_excel(path):
        return _first_table(sheets_of(path), path.name), []
    if is_flat_json(path):
        return _named_by_all(json_rows(path)[0].drop("source_row").head(_SAMPLE), path.name), []
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
    sampled, details = _decoded(raw)
    lines = sampled.replace("\f", "").splitlines()[: _SAMPLE + 1]
    if not lines or "\0" in lines[0]:
        raise UnreadableInputError("is empty or no text", where=path.name)
    if _MESSAGES.match(sampled):
        raise RefusedInputError(
            "is no table of columns",
            where=path.name,
            remedy="HL7 and FHIR are read without a profile: `neutro-screen check --labs FILE`. Export other JSON as CSV.",
        )
    if (printed := printed_table(lines, path.name)) is not None:
        rows = list(delimited_lines(lines, printed, path.name))
        return _table([printed.header, *filter(None, rows[printed.header_line :])]), details
    start, delimiter = _header_of(lines)
    return _table(list(islice(csv.reader(lines[start:], delimiter=delimiter), _SAMPLE))), details


def _named_by_all(objects: pl.DataFrame, name: str) -> pl.DataFrame:
    """Objects of which each has the same names, blanks for None: other names may be those of patients, whom a profile would quote.

    Raises:
        RefusedInputError: there is one object, or no name that all of them have.
    """
    if objects.height < _LEAST_OBJECTS or all(objects[each].null_count() for each in objects.columns):
        raise RefusedInputError(
            "its objects have no names in common",
            where=name,
            remedy="Export one object a result with the same members.",
        )
    return objects.with_columns(filled(pl.all()))


#: What several objects have in common is known from two on.
_LEAST_OBJECTS: Final = 2


def _decoded(raw: bytes) -> tuple[str, list[str]]:
    """The text, and the line of the profile that names its encoding where it is not UTF-8.

    Bytes fit many encodings; the right one is that in which most words of laboratories are found.
    """
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        if error.end >= len(raw) - _LONGEST_LETTER:  # a letter that the end of the sample cuts through
            return raw.decode("utf-8-sig", errors="ignore"), []
    texts = {encoding: raw.decode(encoding, errors="replace") for encoding in _ENCODINGS}
    encoding = max(texts, key=lambda name: (_known_words(texts[name]), -_ENCODINGS.index(name)))
    return texts[encoding], [f'encoding = "{encoding}"']


def _known_words(text: str) -> float:
    """How many distinct words that are not all ASCII are words of tests, specimens or headers; a damaged letter is against it."""
    words = sorted({word for word in tokens(text[:_LETTERS_LOOKED_AT]) if not word.isascii()})[:_WORDS_LOOKED_AT]
    known = sum(bool(roles_of(word)) or bool(load_words().read(word)[0]) for word in words if len(word) > 1)
    known += len(set(_RAISED.findall(text)))
    return known - text[:_LETTERS_LOOKED_AT].count("\ufffd")


def _header_of(lines: list[str]) -> tuple[int, str]:
    """The place of the header and its delimiter: the first line with as many names as the lines below it have fields."""
    best, most = (0, max(_DELIMITERS, key=lines[0].count)), 1
    for delimiter in _DELIMITERS:
        widths = [len(row) for row in csv.reader(lines[: HEADER_WITHIN + _ROWS_LOOKED_AT], delimiter=delimiter)]
        for place, line in enumerate(lines[:HEADER_WITHIN]):
            named = sum(is_name(name) for name in next(csv.reader([line], delimiter=delimiter), []))
            below = widths[place + 1 :]
            is_width_of_rows = not below or below.count(widths[place]) * 2 >= len(below)
            if named > most and is_width_of_rows:
                best, most = (place, delimiter), named
    return best


def is_name(text: str) -> bool:
    """Whether a cell can be the name of a column; the cells of a row below it are more, where an index has no name."""
    return bool(text.strip()) and re.match(NO_NAME, text) is None and text.strip("-= ") != ""


def _first_table(sheets: list[list[list[str | None]]], name: str) -> pl.DataFrame:
    """The sheet and line with the most names in it."""
    headers = [
        (sum(cell is not None and is_name(cell) for cell in row), -line, sheet)
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
    names = dict.fromkeys((header[position] for position in kept), pl.String)
    return without_headers(pl.DataFrame(body, schema=names, orient="row"))

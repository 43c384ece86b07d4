"""Flat JSON: an array of objects, an object that holds one such array, or an object a line. Each object is a row of texts.

Numbers keep the digits that were sent. A cell that holds an object or a list is no cell of a table: the file is refused.
"""

import json
from pathlib import Path
from typing import Any, Final

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.batches import RawBatch, as_utf8
from neutro_screen.ingest.broken_lines import BrokenLine, refused_text
from neutro_screen.ingest.files import head_of
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.header import columns_told
from neutro_screen.ingest.layout import named_columns
from neutro_screen.ingest.profile import Profile

_SUFFIXES: Final = (".json", ".ndjson", ".jsonl")
#: A document is held in memory as a whole.
_LARGEST: Final = 256 << 20

Row = dict[str, Any]


def recognises(path: Path) -> bool:
    """By its name and that it begins as JSON; formats of a standard are asked first."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    return (
        path.is_file() and name.endswith(_SUFFIXES) and head_of(path).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    )


def read_flat_json(path: Path, kind: Kind, profile: Profile) -> RawBatch:
    """The objects as text columns under their own names; a missing or null member is blank.

    ``source_row`` is the number of the line, or of the object in its array. A line that is no object, or no UTF-8, is refused:
    letters that are replaced would make one patient of two.

    Raises:
        UnreadableInputError: no JSON, or a document of more than 256 MB.
        RefusedInputError: no table: members hold objects or lists, or none of the expected columns is there.
    """
    rows, refused = json_rows(path)
    expected = named_columns(kind, profile)
    if rows.width and not expected & set(rows.columns):
        raise RefusedInputError(
            "none of the expected columns is there",
            where=path.name,
            remedy=f"{columns_told(rows.columns, expected)} Map names with --profile.",
        )
    return RawBatch(path, rows, refused)


def json_rows(path: Path) -> tuple[pl.DataFrame, list[BrokenLine]]:
    """All rows of a flat document with ``source_row``, and the lines that are none. Raises as ``read_flat_json``."""
    with as_utf8(path) as text:
        if text.stat().st_size > _LARGEST:
            raise UnreadableInputError("is more than 256 MB of JSON", where=path.name, remedy="Export CSV or Parquet.")
        content = text.read_bytes()
    try:
        whole = _loads(content)
    except ValueError:
        numbered, refused = _lines(content)
        if not numbered:
            raise UnreadableInputError("is not readable JSON", where=path.name) from None
    else:
        numbered, refused = list(enumerate(_objects(whole, path.name), start=1)), []
    if any(isinstance(cell, dict | list) for _, row in numbered for cell in row.values()):
        raise RefusedInputError(
            "is no table: members hold objects or lists",
            where=path.name,
            remedy="Export one flat object a result, or CSV. FHIR and CDISC are read as they are.",
        )
    names = list(dict.fromkeys(name for _, row in numbered for name in row))
    schema = dict.fromkeys(names, pl.String) | {"source_row": pl.Int64}
    cells = [(*(_text(row.get(name)) for name in names), number) for number, row in numbered]
    return pl.DataFrame(cells, schema=schema, orient="row"), refused


def _loads(content: bytes) -> object:
    """JSON with its numbers as they were written; what is nested too deep is none. Raises ValueError, also for what is no UTF-8."""
    try:
        return json.loads(content.decode("utf-8-sig"), parse_float=str, parse_int=str)
    except RecursionError:
        raise ValueError from None


def _lines(content: bytes) -> tuple[list[tuple[int, Row]], list[BrokenLine]]:
    rows, refused = list[tuple[int, Row]](), list[BrokenLine]()
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        reason = "broken_json"
        try:
            row = _loads(line)
        except UnicodeDecodeError:
            row, reason = None, "undecodable_text"
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            refused.append(BrokenLine(number, reason, refused_text(line.decode("utf-8", errors="replace"))))
    return rows, refused


def _objects(document: object, name: str) -> list[Row]:
    """The objects of an array, of the one array that an object holds, or the object itself."""
    arrays = [each for each in document.values() if isinstance(each, list)] if isinstance(document, dict) else []
    found = arrays[0] if len(arrays) == 1 else [document] if isinstance(document, dict) else document
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise RefusedInputError("is no array of objects", where=name, remedy="Export one object a result, or CSV.")
    return found


def _text(cell: object) -> str | None:
    if cell is None:
        return None
    return str(cell).lower() if isinstance(cell, bool) else str(cell)

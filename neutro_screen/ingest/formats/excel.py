"""Excel workbooks (.xlsx, .xlsm): long or wide sheets, title lines above the header, merged cells.

Read by python-calamine, the extra ``excel``.
"""

import re
import zipfile
import zlib
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import ConfigurationError, RefusedInputError, UnreadableInputError, extra
from neutro_screen.ingest.batches import RawBatch
from neutro_screen.ingest.files import refusing
from neutro_screen.ingest.formats.excel_formats import column_number, percent_cells
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.header import repeated_columns, without_headers
from neutro_screen.ingest.layout import has_required, named_columns
from neutro_screen.ingest.profile import Profile

#: What python-calamine yields.
Cell = int | float | str | bool | time | date | datetime | timedelta
SUFFIXES: Final = (".xlsx", ".xlsm")
#: The header is looked for in so many lines: hospital sheets start with titles.
HEADER_WITHIN: Final = 50
_LARGEST_UNPACKED: Final = 1 << 30
_MOST_CELLS: Final = 30_000_000
_CHUNK: Final = 1 << 20
_SPACE: Final = rb"[ \t\r\n]{0,999}"
#: The attribute ``r``, which the parser takes without a space before it too; not the end of another name.
_PLACE: Final = b"(?<![A-Za-z0-9:_-])r" + _SPACE + b"=" + _SPACE + rb"[\"']"
_CELL: Final = re.compile(_PLACE + rb"([A-Za-z]{0,3})([0-9]{1,7})[\"']")
#: No sheet reaches so far, and the parser's arithmetic runs over on it.
_IMPOSSIBLE_CELL: Final = re.compile(_PLACE + b"(?:[A-Za-z]{4}|[A-Za-z]{0,3}[0-9]{8})")
_OVERLAP: Final = 4096


def recognises(path: Path) -> bool:
    """By its name; what is inside is checked when it is read."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_excel(path: Path, kind: Kind, profile: Profile) -> RawBatch:
    """Read the sheet whose header fits best, and every other one that has the required columns, as text columns.

    Sheets follow each other; ``source_row`` counts lines on from one sheet to the next that is read.

    A merged cell's value holds for every cell it covers, so that an identifier merged over several lines is filled
    down; a cell that is merely empty stays empty, since the line above may be another patient's.

    Raises:
        ConfigurationError: python-calamine is not installed.
        UnreadableInputError: no workbook, damaged, protected, or far larger unpacked than any laboratory's.
        RefusedInputError: no sheet has one of the expected columns, or the header names a column twice.
    """
    sheets = sheets_of(path)
    expected = named_columns(kind, profile)
    headers = [_header_at(cells, expected) for cells in sheets]
    fitting = max((fits for fits, _ in headers), default=0)
    if not fitting:
        raise RefusedInputError(
            "none of the expected columns is in any sheet",
            where=path.name,
            remedy=f"Expected some of: {', '.join(sorted(expected))}. Map names with --profile.",
        )
    tables, before = list[pl.DataFrame](), 0
    for cells, (fits, header_at) in zip(sheets, headers, strict=True):
        if fits == fitting or has_required(cells[header_at] if fits else (), kind, profile):
            rows = _rows(cells, header_at, path.name, expected)
            tables.append(rows.with_columns(pl.col("source_row") + before))
            before += len(cells)
    notes = (f"other_sheets:{len(sheets) - len(tables)}",) if len(sheets) > len(tables) else ()
    return RawBatch(path, without_headers(pl.concat(tables, how="diagonal")), notes=notes)


def _header_at(cells: list[list[str | None]], expected: set[str]) -> tuple[int, int]:
    """How many expected columns the best line of a sheet names, and where it stands, from 0."""
    fits = [(len(expected & set(row)), -line) for line, row in enumerate(cells[:HEADER_WITHIN])]
    found, line = max(fits, default=(0, 0))
    return found, -line


def sheets_of(path: Path) -> list[list[list[str | None]]]:
    """Every sheet's cells as text, merged cells filled.

    Raises:
        ConfigurationError: python-calamine is not installed.
        UnreadableInputError: no workbook, damaged, protected, or far larger unpacked than any laboratory's.
    """
    try:
        import python_calamine
    except ImportError:
        raise ConfigurationError("Excel files need python-calamine", remedy=extra("excel")) from None
    _check_size(path)
    sheets: list[list[list[str | None]]] = []
    with (
        refusing("is not a readable workbook", path, Exception, remedy="Save it again as .xlsx."),
        python_calamine.load_workbook(str(path)) as workbook,
    ):
        shown = percent_cells(path)
        for position, name in enumerate(workbook.sheet_names):
            sheet = workbook.get_sheet_by_name(name)
            cells = sheet.to_python(skip_empty_area=False)
            for row, column in shown[position] if position < len(shown) else ():
                if row < len(cells) and column < len(cells[row]):
                    cells[row][column] = _as_percent(cells[row][column])
            _fill_merged(cells, list(sheet.merged_cell_ranges or ()))
            sheets.append([[_text(cell) for cell in row] for row in cells])
    return sheets


def _rows(cells: list[list[str | None]], header_at: int, name: str, expected: set[str]) -> pl.DataFrame:
    header = cells[header_at]
    named = [(position, column) for position, column in enumerate(header) if column]
    names = [column for _, column in named]
    if repeated := repeated_columns(names, expected):
        raise RefusedInputError(repeated, where=name)
    body = [
        (number, [row[position] for position, _ in named])
        for number, row in enumerate(cells[header_at + 1 :], start=header_at + 2)
    ]
    filled = [(number, row) for number, row in body if any(row)]
    frame = pl.DataFrame([row for _, row in filled], schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.with_columns(pl.Series("source_row", [number for number, _ in filled], dtype=pl.Int64))


def _fill_merged(cells: list[list[Cell]], merged: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """Raises ValueError if merged cells overlap each other, which no program writes."""
    left_over = sum(len(row) for row in cells)
    for (top, left), (bottom, right) in merged:
        for row in cells[top : bottom + 1]:
            last = min(right + 1, len(row))
            left_over -= max(0, last - left)
            if left_over < 0:
                raise ValueError
            row[left:last] = [cells[top][left]] * (last - left)


def _text(cell: Cell) -> str | None:
    """A cell as text: whole numbers without a point, times in ISO 8601, midnight as a date."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return f"{cell:.15g}"
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time.min else cell.isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell).strip() or None


def _as_percent(cell: Cell) -> Cell:
    """A number as the sheet shows it: 0.2 is 20%."""
    return f"{cell * 100:.15g}%" if isinstance(cell, float | int) and not isinstance(cell, bool) else cell


def _check_size(path: Path) -> None:
    """Unpack every part once without keeping it: the sizes that a workbook declares need not be true.

    A sheet is laid out as one block up to its farthest cell, so a single cell in the last corner is a bomb too.
    """
    unpacked = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                rows, columns, held = 0, 0, b""
                with archive.open(part) as stream:
                    while chunk := stream.read(_CHUNK):
                        unpacked += len(chunk)
                        if unpacked > _LARGEST_UNPACKED:
                            raise UnreadableInputError(
                                "unpacks to more than 1 GB", where=path.name, remedy="Export CSV."
                            )
                        seen = held + chunk
                        if _IMPOSSIBLE_CELL.search(seen):
                            rows = columns = _MOST_CELLS
                        for letters, digits in _CELL.findall(seen):
                            rows, columns = max(rows, int(digits)), max(columns, column_number(letters))
                        held = seen[-_OVERLAP:]
                if rows * columns > _MOST_CELLS:
                    raise UnreadableInputError("a sheet spans too many cells", where=path.name, remedy="Export CSV.")
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError):
        raise UnreadableInputError(
            "is not a readable workbook", where=path.name, remedy="Save it again as .xlsx."
        ) from None

"""Which cells of a workbook are shown as percentages: the cell holds 0.2, the sheet shows 20 %.

python-calamine gives the number without its format, so the styles are read from the workbook's own parts.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Built-in formats 0% and 0.00%.
_PERCENT_FORMATS: Final = {9, 10}
_TAG: Final = re.compile(rb"<(?:\w+:)?(row|c|xf|numFmt|cellXfs|sheet|Relationship)\b([^<>]*)>|</(?:\w+:)?cellXfs\s*>")
_ATTRIBUTE: Final = re.compile(rb"(?:^|[ \t\r\n\"'])([\w:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_PLACE: Final = re.compile(rb"^([A-Za-z]{1,3})([0-9]{1,7})$")
_WORKBOOK: Final = "xl/workbook.xml"


def percent_cells(path: Path) -> list[set[tuple[int, int]]]:
    """Of each sheet, in the order of the workbook, the (row, column) of every cell that is shown as a percentage, from 0."""
    with zipfile.ZipFile(path) as archive:
        parts = set(archive.namelist())
        styles = _percent_styles(archive.read("xl/styles.xml")) if "xl/styles.xml" in parts else set()
        sheets = _sheets(archive, parts)
        return [_cells(archive.read(name), styles) if styles and name in parts else set() for name in sheets]


def _tags(content: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Start tags with their attributes, and an empty name for the end of cellXfs."""
    for tag in _TAG.finditer(content):
        found = _ATTRIBUTE.findall(tag.group(2) or b"")
        yield tag.group(1) or b"", {name: double or single for name, double, single in found}


def _percent_styles(content: bytes) -> set[int]:
    """The numbers of the cell styles whose number format has a per cent sign."""
    formats, styles, position, is_inside = set(_PERCENT_FORMATS), set(), 0, False
    for name, attributes in _tags(content):
        if (
            name == b"numFmt"
            and b"%" in attributes.get(b"formatCode", b"")
            and attributes.get(b"numFmtId", b"").isdigit()
        ):
            formats.add(int(attributes[b"numFmtId"]))
        elif name in (b"cellXfs", b""):
            is_inside = name == b"cellXfs"
        elif name == b"xf" and is_inside:
            number = attributes.get(b"numFmtId", b"")
            if number.isdigit() and int(number) in formats:
                styles.add(position)
            position += 1
    return styles


def _sheets(archive: zipfile.ZipFile, parts: set[str]) -> list[str]:
    """The parts that hold the sheets, in the order of the workbook."""
    relations = "xl/_rels/workbook.xml.rels"
    if not {_WORKBOOK, relations} <= parts:
        return []
    targets = {
        attributes.get(b"Id", b""): attributes.get(b"Target", b"").decode("utf-8", "replace")
        for name, attributes in _tags(archive.read(relations))
        if name == b"Relationship"
    }
    listed = [
        next((targets.get(value, "") for key, value in attributes.items() if key.endswith(b":id")), "")
        for name, attributes in _tags(archive.read(_WORKBOOK))
        if name == b"sheet"
    ]
    return [target.removeprefix("/") if target.startswith("/") else f"xl/{target}" for target in listed]


def _cells(content: bytes, styles: set[int]) -> set[tuple[int, int]]:
    """The cells with one of these styles. A cell without its place stands right of the one before it."""
    found: set[tuple[int, int]] = set()
    row = column = -1
    for name, attributes in _tags(content):
        place = attributes.get(b"r", b"")
        if name == b"row":
            row, column = (int(place) - 1 if place.isdigit() else row + 1), -1
        elif name == b"c":
            written = _PLACE.match(place)
            row, column = (int(written[2]) - 1, column_number(written[1]) - 1) if written else (row, column + 1)
            style = attributes.get(b"s", b"")
            if style.isdigit() and int(style) in styles:
                found.add((row, column))
    return found


def column_number(letters: bytes) -> int:
    """A is 1, AA is 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number

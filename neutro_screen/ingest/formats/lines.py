"""Delimited text read line by line: a slow but sure way, in which no line can swallow or lose another."""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from neutro_screen.ingest.broken_lines import BrokenLine

#: A longer line is no row of a laboratory extract.
LONGEST_LINE: Final = 2_000_000
#: Of a refused line so much is looked at for the fields that can be read.
_READABLE: Final = 65_536
_CHUNK: Final = 1 << 20
#: A field with line ends inside quotes spans at most so many lines.
_MOST_CONTINUED: Final = 20
#: After so many quotes that no line closes, none is expected to be closed by a later line.
_MOST_LEFT_OPEN: Final = 1_000
csv.field_size_limit(LONGEST_LINE)


class Layout(NamedTuple):
    """A UTF-8 text, the file it was made from, and how its lines are split; the header stands in line ``header_line``."""

    text: Path
    path: Path
    header: list[str]
    delimiter: str
    header_line: int


class Line(NamedTuple):
    """One line with its number, from 1; of one that is too long only the start."""

    number: int
    content: bytes
    is_too_long: bool


def numbered_lines(file: BinaryIO, first: int = 1) -> Iterator[Line]:
    """The lines of a file from where it stands, in bounded memory; the next is line ``first``."""
    number = first - 1
    while content := file.readline(LONGEST_LINE + 1):
        number += 1
        is_too_long = len(content) > LONGEST_LINE
        rest = content
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(_CHUNK)
        yield Line(number, content, is_too_long)


def records(layout: Layout, first: int, start: int) -> Iterator[tuple[str | int, ...] | BrokenLine]:
    """Every row from line ``first`` on, which begins at ``start``, as its fields and its line number, or why the line is
    refused; blank lines are passed over."""
    ahead: deque[Line] = deque()
    left_open = 0
    with layout.text.open("rb") as file:
        file.seek(start)
        lines = numbered_lines(file, first)
        while line := ahead.popleft() if ahead else next(lines, None):
            if not line.content.strip():
                continue
            fields, reason = ([], "line_too_long") if line.is_too_long else fields_of(line.content, layout)
            if reason == "broken_quotes" and left_open < _MOST_LEFT_OPEN:
                fields = _continued(line, ahead, lines, layout)
                left_open += not fields
            if fields:
                yield *fields, line.number
            else:
                yield broken_line(line.number, str(reason), line.content, layout)


def _continued(line: Line, ahead: deque[Line], lines: Iterator[Line], layout: Layout) -> list[str]:
    """The fields of a row whose quotes are closed in a later line; none if a line before that is a row by itself."""
    content = line.content
    for position in range(_MOST_CONTINUED):
        if position == len(ahead):
            following = next(lines, None)
            if following is None:
                break
            ahead.append(following)
        following = ahead[position]
        if following.is_too_long or fields_of(following.content, layout)[0]:
            break
        content += following.content
        fields, _ = fields_of(content, layout)
        if fields:
            for _ in range(position + 1):
                ahead.popleft()
            return fields
    return []


def fields_of(content: bytes, layout: Layout) -> tuple[list[str], str | None]:
    """The fields of a line, as many as the header has, or why it is refused."""
    if b"\0" in content:
        return [], "zero_bytes"
    try:
        text = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return [], "undecodable_text"
    fields, reason = _split(text, layout.delimiter)
    if "\\" in text and '"' in text and len(fields) != len(layout.header):
        # Some exports write a quote inside quotes as \" instead of "".
        escaped = _split(text, layout.delimiter, escape="\\")[0]
        if len(escaped) == len(layout.header):
            return escaped, None
    if reason is None and len(fields) != len(layout.header):
        reason = "too_few_fields" if len(fields) < len(layout.header) else "too_many_fields"
    return ([], reason) if reason else (fields, None)


def _split(text: str, delimiter: str, escape: str | None = None) -> tuple[list[str], str | None]:
    if '"' not in text:
        return ([], "lone_carriage_return") if "\r" in text else (text.split(delimiter), None)
    try:
        reader = csv.reader([text], delimiter=delimiter, escapechar=escape, doublequote=escape is None, strict=True)
        return next(reader), None
    except csv.Error as error:
        return [], "lone_carriage_return" if str(error).startswith("new-line character") else "broken_quotes"


def broken_line(number: int, reason: str, content: bytes, layout: Layout) -> BrokenLine:
    """A refused line with the fields before the place where it breaks; the one that breaks is left out."""
    text = content[:_READABLE].decode("utf-8", errors="replace").rstrip("\r\n")
    readable = text
    for mark in ("\ufffd", "\0", "\r"):
        readable = readable.split(mark, maxsplit=1)[0]
    try:
        values = next(csv.reader([readable], delimiter=layout.delimiter), [])
    except csv.Error:
        values = readable.split(layout.delimiter)
    if reason != "too_many_fields":
        values = values[:-1]
    return BrokenLine(number, reason, text, dict(zip(layout.header, values, strict=False)))

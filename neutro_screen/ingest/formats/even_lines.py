"""Delimited text in which lines and rows are one to one, split by polars; the few odd lines among the others by Python.

An *even* line has as many fields as the header, and what quotes it has surround whole fields. numpy finds the odd lines in a
first reading, so that the refused ones are known before the first row is taken; polars, which pads short lines without a
word, never sees them.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.batches import RawBatch
from neutro_screen.ingest.broken_lines import BrokenLine
from neutro_screen.ingest.formats.lines import LONGEST_LINE, Layout, broken_line, fields_of

#: Looked at together: what fits into the processor's cache.
_LOOK: Final = 128 << 10
#: Odd lines are kept to the end of the reading, about a kilobyte each: with more of them the text is read line by line.
MOST_ODD: Final = 100_000
_LINE_END, _QUOTE, _RETURN = ord("\n"), ord('"'), ord("\r")

Letters = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]


class OddLine(NamedTuple):
    """A line that is split by itself: its number and where it lies in the file."""

    number: int
    start: int
    end: int


class Section(NamedTuple):
    """Some successive lines: the number of the first, how many there are, where they lie, and the odd ones among them."""

    first: int
    n_lines: int
    start: int
    end: int
    odd: list[OddLine]


class Survey(NamedTuple):
    """What the first reading found: the sections below the header, the rows of odd lines, and the refused lines."""

    sections: list[Section]
    #: number of the line -> its fields
    rows: dict[int, list[str]]
    refused: list[BrokenLine]


def surveyed(layout: Layout, rows_a_section: int) -> Survey | None:
    """The lines below the header, looked at; None where a quote may be closed by a later line, or a line is endless, or
    more than ``MOST_ODD`` are odd.

    Raises:
        UnreadableInputError: zero bytes at the end of the file: the copy was cut off.
    """
    survey, n_odd = Survey([], {}, []), 0
    if len(layout.header) < 2:
        return None
    with layout.text.open("rb") as file:
        _check_end(file, layout)
        for _ in range(layout.header_line):
            file.readline()
        section = Section(layout.header_line + 1, 0, file.tell(), file.tell(), [])
        for block in _blocks(file):
            if len(block) > LONGEST_LINE:
                return None
            odd = odd_lines(block, len(layout.header), ord(layout.delimiter))
            n_odd += len(odd)
            if n_odd > MOST_ODD or not all(_is_settled(survey, layout, block, line, section) for line in odd):
                return None
            n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
            section = section._replace(n_lines=section.n_lines + n_lines, end=section.end + len(block))
            if section.n_lines >= rows_a_section:
                survey.sections.append(section)
                section = Section(section.first + section.n_lines, 0, section.end, section.end, [])
    if section.n_lines:
        survey.sections.append(section)
    return survey


def even_batches(layout: Layout, survey: Survey) -> Iterator[RawBatch]:
    """The rows with their line numbers, a section at a time, and all refused lines with the first.

    Raises:
        UnreadableInputError: polars splits a section into another number of rows than it has lines.
    """
    columns = dict.fromkeys(layout.header, pl.String())
    refused = survey.refused
    with layout.text.open("rb") as file:
        for section in survey.sections or [Section(0, 0, 0, 0, [])]:
            rows = _split(_even_text(file, section), layout, columns)
            odd = [line.number - section.first for line in section.odd]
            numbers = np.delete(np.arange(section.first, section.first + section.n_lines, dtype=np.int64), odd)
            if rows.height != numbers.size:
                raise UnreadableInputError("cannot be split into lines and columns", where=layout.path.name)
            rows = rows.with_columns(source_row=pl.Series(numbers))
            found = [(*survey.rows[line.number], line.number) for line in section.odd if line.number in survey.rows]
            if found:
                others = pl.DataFrame(found, schema=rows.schema, orient="row")
                rows = pl.concat([rows, others]).sort("source_row")
            yield RawBatch(layout.path, rows, refused)
            refused = []


def odd_lines(block: bytes, width: int, mark: int) -> list[tuple[int, int, int]]:
    """The lines of a block of whole lines that are not even: place among its lines, start and end in the block.

    Odd are also blank lines, those with a zero byte or a carriage return that ends no line, and bytes that are no UTF-8.
    """
    letters = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", dtype=np.uint8)
    places = np.flatnonzero((letters == mark) | (letters == _LINE_END) | (letters == _QUOTE))
    signs = letters[places]
    ends = np.flatnonzero(signs == _LINE_END)
    n_signs = np.diff(ends, prepend=-1)
    is_odd = _odd_by_quotes(letters, places, signs, ends, n_signs, width, mark) if b'"' in block else n_signs != width
    if not _is_clean(block):
        lines = block.removesuffix(b"\n").split(b"\n")
        is_odd |= np.fromiter((not _is_clean(line + b"\n") for line in lines), bool, len(lines))
    if not is_odd.any():
        return []
    line_ends = places[ends] + 1
    starts = np.concatenate([[0], line_ends[:-1]])
    return [(int(line), int(starts[line]), int(line_ends[line])) for line in np.flatnonzero(is_odd)]


def _odd_by_quotes(
    letters: Letters, places: Places, signs: Letters, ends: Places, n_signs: Places, width: int, mark: int
) -> npt.NDArray[np.bool_]:
    """The lines with another number of fields than ``width``, a quote left open, or one within a field without quotes."""
    is_quote = signs == _QUOTE
    n_quotes = np.cumsum(is_quote, dtype=np.int32)
    up_to = n_quotes[ends]
    before = np.concatenate([np.zeros(1, np.int32), up_to[:-1]])
    is_inside = ((n_quotes - np.repeat(before, n_signs)) & 1).astype(bool)
    n_fields = np.add.reduceat(~is_quote & ~is_inside, ends - n_signs + 1, dtype=np.int32)
    is_odd: npt.NDArray[np.bool_] = (n_fields != width) | ((up_to - before) & 1).astype(bool)
    opening, closing = places[is_quote & is_inside], places[is_quote & ~is_inside]
    previous, following = letters[opening - 1], letters[closing + 1]
    begins = (previous == mark) | (previous == _LINE_END) | (previous == _QUOTE) | (opening == 0)
    stops = (following == mark) | (following == _LINE_END) | (following == _QUOTE) | (following == _RETURN)
    wrong = np.concatenate([opening[~begins], closing[~stops]])
    is_odd[np.searchsorted(places[ends], wrong)] = True
    return is_odd


def _is_clean(lines: bytes) -> bool:
    """Whether these bytes are UTF-8 without zero bytes, and carriage returns stand only before line feeds."""
    if b"\0" in lines or (b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n")):
        return False
    try:
        lines.isascii() or lines.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_settled(survey: Survey, layout: Layout, block: bytes, line: tuple[int, int, int], section: Section) -> bool:
    """Enter an odd line as row or as refused; whether that needs no other line."""
    place, start, end = line
    number, content = section.first + section.n_lines + place, block[start:end]
    section.odd.append(OddLine(number, section.end + start, section.end + start + len(content)))
    if not content.strip():
        return True
    fields, reason = fields_of(content, layout)
    if reason is None:
        survey.rows[number] = fields
    else:
        survey.refused.append(broken_line(number, reason, content, layout))
    return reason != "broken_quotes" and len(content) <= LONGEST_LINE


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file in blocks of whole lines."""
    rest = b""
    while chunk := file.read(_LOOK):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = chunk[end:]
        else:
            rest += chunk
            if len(rest) > LONGEST_LINE:
                break
    if rest:
        yield rest


def _check_end(file: BinaryIO, layout: Layout) -> None:
    file.seek(-1, 2)
    if file.read() == b"\0":
        raise UnreadableInputError(
            "is not text (zero bytes)", where=layout.path.name, remedy="Was the copy cut off? Send it again."
        )
    file.seek(0)


def _even_text(file: BinaryIO, section: Section) -> bytes:
    """The bytes of a section without its odd lines."""
    file.seek(section.start)
    text = file.read(section.end - section.start)
    if not section.odd:
        return text
    starts = [section.start, *(line.end for line in section.odd)]
    ends = [*(line.start for line in section.odd), section.end]
    return b"".join(text[start - section.start : end - section.start] for start, end in zip(starts, ends, strict=True))


def _split(text: bytes, layout: Layout, columns: dict[str, pl.String]) -> pl.DataFrame:
    """Even lines as text columns."""
    if not text:
        return pl.DataFrame(schema=columns)
    try:
        return pl.read_csv(
            text, has_header=False, schema=columns, separator=layout.delimiter, quote_char='"' if b'"' in text else None
        )
    except pl.exceptions.PolarsError:
        raise UnreadableInputError("cannot be split into lines and columns", where=layout.path.name) from None

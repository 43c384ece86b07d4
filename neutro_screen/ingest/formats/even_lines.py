"""Delimited text in which lines and rows are one to one, split by polars; the few odd lines among the others by Python.

An *even* line has as many fields as the header, and what quotes it has surround whole fields. numpy finds the odd lines;
polars, which pads short lines without a word, never sees them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.batches import RawBatch
from neutro_screen.ingest.broken_lines import BrokenLine
from neutro_screen.ingest.formats.lines import LONGEST_LINE, Layout, broken_line, fields_of

#: Looked at together: what fits into the processor's cache.
_LOOK: Final = 128 << 10
#: Odd lines of a section are kept one by one, about a kilobyte each: with more of them the text is read line by line.
MOST_ODD: Final = 100_000
_LINE_END, _QUOTE, _RETURN = ord("\n"), ord('"'), ord("\r")

Letters = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]


@dataclass
class Section:
    """Some successive lines below the header, looked at: the even ones as text, the fields of odd ones that are rows
    nevertheless, and the refused ones. One that is not even has to be read line by line, with all that follows it."""

    first: int
    #: where it begins in the file
    start: int
    n_lines: int = 0
    size: int = 0
    texts: list[bytes] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    rows: list[tuple[str | int, ...]] = field(default_factory=list)
    refused: list[BrokenLine] = field(default_factory=list)
    is_even: bool = True

    def add(self, block: bytes, layout: Layout) -> None:
        """Look at a block of whole lines; it is not even where a quote may be closed by a later line, a line is endless,
        or more than ``MOST_ODD`` are odd."""
        rest, self.is_even = 0, len(block) <= LONGEST_LINE
        for place, start, end in odd_lines(block, len(layout.header), ord(layout.delimiter)) if self.is_even else ():
            number, content = self.first + self.n_lines + place, block[start:end]
            self.odd.append(number - self.first)
            self.texts.append(block[rest:start])
            rest = end
            if content.strip():
                self._settle(number, content, layout)
            self.is_even &= len(content) <= LONGEST_LINE and len(self.odd) <= MOST_ODD
            if not self.is_even:
                return
        self.texts.append(block[rest:])
        self.n_lines += block.count(b"\n") + (not block.endswith(b"\n"))
        self.size += len(block)

    def _settle(self, number: int, content: bytes, layout: Layout) -> None:
        fields, reason = fields_of(content, layout)
        if reason is None:
            self.rows.append((*fields, number))
            return
        self.refused.append(broken_line(number, reason, content, layout))
        self.is_even = reason != "broken_quotes"


def sections(layout: Layout, rows_a_section: int) -> Iterator[Section]:
    """The lines below the header, one section at the least; where one is not even, it is the last.

    Raises:
        UnreadableInputError: zero bytes at the end of the file: the copy was cut off.
    """
    with layout.text.open("rb") as file:
        _check_end(file, layout)
        for _ in range(layout.header_line):
            file.readline()
        section = Section(layout.header_line + 1, file.tell(), is_even=len(layout.header) > 1)
        for block in _blocks(file) if section.is_even else ():
            section.add(block, layout)
            if not section.is_even:
                break
            if section.n_lines >= rows_a_section:
                yield section
                section = Section(section.first + section.n_lines, section.start + section.size)
    if section.n_lines or not section.is_even or section.first == layout.header_line + 1:
        yield section


def rows_of(section: Section, layout: Layout) -> RawBatch:
    """The rows of an even section as text columns, with their line numbers, and its refused lines.

    Raises:
        UnreadableInputError: polars splits the section into another number of rows than it has lines.
    """
    rows = _split(b"".join(section.texts), layout)
    numbers = np.delete(np.arange(section.first, section.first + section.n_lines, dtype=np.int64), section.odd)
    if rows.height != numbers.size:
        raise UnreadableInputError("cannot be split into lines and columns", where=layout.path.name)
    rows = rows.with_columns(source_row=pl.Series(numbers))
    if section.rows:
        others = pl.DataFrame(section.rows, schema=rows.schema, orient="row")
        rows = pl.concat([rows, others]).sort("source_row")
    return RawBatch(layout.path, rows, section.refused)


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


def _split(text: bytes, layout: Layout) -> pl.DataFrame:
    """Even lines as text columns, in one piece: polars gathers rows out of several pieces five times as slowly."""
    columns = dict.fromkeys(layout.header, pl.String())
    if not text:
        return pl.DataFrame(schema=columns)
    try:
        return pl.read_csv(
            text, has_header=False, schema=columns, separator=layout.delimiter, quote_char='"' if b'"' in text else None
        ).rechunk()
    except pl.exceptions.PolarsError:
        raise UnreadableInputError("cannot be split into lines and columns", where=layout.path.name) from None

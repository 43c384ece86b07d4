"""Lines of JSON that are one flat array each, cut into cells by numpy; whatever else a line is, its reader parses it by itself.

An *even* line is an array of as many cells as there are columns, each a text in quotes or a value without any, with one space
at most behind a comma. It holds no escaped quote, so that every quote begins or ends a text.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

#: Looked at together: what fits into the processor's cache.
_LOOK: Final = 128 << 10
_LINE_END, _RETURN, _SPACE, _QUOTE, _COMMA = (ord(letter) for letter in '\n\r ",')
_OPENING, _CLOSING, _BACKSLASH = (ord(letter) for letter in "[]\\")

Letters = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]
Marks = npt.NDArray[np.bool_]


class EvenArrays(NamedTuple):
    """The cells of the even lines, a column each."""

    #: of all lines, where they end in the text, behind their line end
    line_ends: Places
    #: of the even lines, the place among all lines
    places: Places
    #: Cells as they stand in the text; of texts what lies between the quotes, with its escapes.
    cells: list[pl.Series]
    #: line by column: whether the cell is a text
    is_text: Marks


def numbers_of(places: Places) -> pl.Series:
    """Places as numbers of a frame, by Arrow: polars loads numpy.ma, which takes 25 ms, for an array of numpy's."""
    return _by_arrow(pa.Array.from_buffers(pa.int64(), places.size, [None, pa.py_buffer(places)]))


def marks_of(marks: Marks) -> pl.Series:
    """Marks as a column of a frame, the same way."""
    letters = np.ascontiguousarray(marks).view(np.uint8)
    return _by_arrow(pa.Array.from_buffers(pa.uint8(), letters.size, [None, pa.py_buffer(letters)])).cast(pl.Boolean)


class _Piece(NamedTuple):
    """A part of the text: where its lines end, which are even, and the cells of these, line by column."""

    line_ends: Places
    is_even: Marks
    starts: Places
    stops: Places
    is_text: Marks


def even_arrays(text: bytes, width: int) -> EvenArrays:
    """Cut the lines of a UTF-8 text into cells, ``width`` a line."""
    line_ends, is_even = [np.zeros(0, np.intp)], [np.zeros(0, np.bool_)]
    bounds, is_text = [np.zeros(1, np.int32)], [np.zeros((0, width), np.bool_)]
    for start, part in _parts(text):
        piece = _cut(np.frombuffer(part if part.endswith(b"\n") else part + b"\n", dtype=np.uint8), width)
        line_ends.append(piece.line_ends + (start + 1))
        is_even.append(piece.is_even)
        bounds.append((np.stack([piece.starts, piece.stops], axis=-1).ravel() + start).astype(np.int32))
        is_text.append(piece.is_text)
    places = np.flatnonzero(np.concatenate(is_even))
    cells = _columns(text, np.concatenate(bounds), width)
    return EvenArrays(np.concatenate(line_ends), places, cells, np.concatenate(is_text))


def utf8(content: bytes) -> bytes:
    """The content, what is no UTF-8 replaced."""
    try:
        content.isascii() or content.decode()
    except UnicodeDecodeError:
        return content.decode("utf-8", errors="replace").encode()
    return content


def _parts(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The text in parts of whole lines, with the place where each begins."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + _LOOK) + 1 or text.find(b"\n", start) + 1 or len(text)
        yield start, text[start:end]
        start = end


def _columns(text: bytes, bounds: npt.NDArray[np.int32], width: int) -> list[pl.Series]:
    """The cells between ``bounds``, and what lies between them, as one array over the text; of it every second, by column."""
    cells = pl.col("cells").gather_every
    columns = (cells(2 * width, 1 + 2 * at).alias(str(at)) for at in range(width))
    return _by_arrow(texts_between(text, bounds)).to_frame("cells").select(columns).get_columns()


def texts_between(text: bytes, bounds: npt.NDArray[np.integer[Any]]) -> pa.StringArray:
    """The pieces of a UTF-8 text between each place and the next, not copied."""
    places = pa.py_buffer(bounds.astype(np.int32, copy=False))
    return pa.StringArray.from_buffers(bounds.size - 1, places, pa.py_buffer(text))


def _by_arrow(array: pa.Array) -> pl.Series:
    """An array of Arrow's as a series, by a record batch: polars loads pyarrow.compute, a tenth of a second, to take an array by itself."""
    return pl.DataFrame(pl.from_arrow(pa.RecordBatch.from_arrays([array], ["array"]))).to_series()


def _cut(letters: Letters, width: int) -> _Piece:
    """Cut whole lines: cells lie between commas outside of texts."""
    places = np.flatnonzero((letters == _QUOTE) | (letters == _COMMA) | (letters == _LINE_END))
    signs = letters[places]
    is_quote, is_line_end = signs == _QUOTE, signs == _LINE_END
    ends = np.flatnonzero(is_line_end)
    bounds = np.flatnonzero(is_line_end | ((signs == _COMMA) & ~_inside(is_quote, ends)))
    n_cells = np.diff(np.searchsorted(bounds, ends, side="right"), prepend=0)
    line_ends = places[ends]
    is_even = _are_arrays(letters, line_ends) & (n_cells == width)
    is_kept = np.repeat(is_even, n_cells)
    stops = places[bounds]
    starts = np.concatenate([[0], stops[:-1] + 1])[is_kept].reshape(-1, width)
    n_quotes = np.diff(np.cumsum(is_quote, dtype=np.int32)[bounds], prepend=0)[is_kept].reshape(-1, width)
    stops = stops[is_kept].reshape(-1, width)
    starts[:, 0] += 1
    stops[:, -1] -= 1 + (letters[stops[:, -1] - 1] == _RETURN)
    starts += letters[starts] == _SPACE
    is_text = (n_quotes == 2) & (letters[starts] == _QUOTE) & (letters[stops - 1] == _QUOTE)
    is_cell = (is_text | (n_quotes == 0)).all(axis=1)
    is_even[is_even] = is_cell
    is_text = is_text[is_cell]
    starts, stops = starts[is_cell] + is_text, stops[is_cell] - is_text
    return _Piece(line_ends, is_even, starts, stops, is_text)


def _controls(letters: Letters) -> Places:
    """Where control characters stand in whole lines, besides their ends."""
    is_control = letters < _SPACE
    is_control &= letters != _LINE_END
    places = np.flatnonzero(is_control)
    ends_line = (letters[places] == _RETURN) & (letters[places + 1] == _LINE_END)
    inside: Places = places[~ends_line]
    return inside


def _inside(is_quote: Marks, ends: Places) -> Marks:
    """Of each sign whether it stands in a text or closes none; a quote left open ends with its line."""
    inside = np.bitwise_xor.accumulate(is_quote)
    left_open = inside[ends]
    if left_open.any():
        before = np.concatenate([[False], left_open[:-1]])
        inside ^= np.repeat(before, np.diff(ends, prepend=-1))
    return inside


def _are_arrays(letters: Letters, line_ends: Places) -> Marks:
    """The lines in brackets, without control characters and without an escaped quote or backslash."""
    starts = np.concatenate([[0], line_ends[:-1] + 1])
    stops = line_ends - (letters[line_ends - 1] == _RETURN)
    are_arrays: Marks = (letters[starts] == _OPENING) & (letters[stops - 1] == _CLOSING)
    escapes = np.flatnonzero(letters == _BACKSLASH)
    escaped = letters[escapes + 1]
    is_confusing = (escaped == _QUOTE) | (escaped == _BACKSLASH)
    confusing = np.concatenate([_controls(letters), escapes[is_confusing]])
    are_arrays[np.searchsorted(line_ends, confusing)] = False
    return are_arrays

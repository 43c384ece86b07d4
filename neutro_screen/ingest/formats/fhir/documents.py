"""One JSON document of many resources - a Bundle or an array - cut into its elements before anything parses it.

A parser that holds all of a Bundle takes many times its size, and DuckDB's unnest of one long list grows with its square.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: Looked at together: what fits into the processor's cache.
_LOOK: Final = 128 << 10
_BLANK: Final = b"\xef\xbb\xbf \t\r\n\0"
_ENTRIES: Final = re.compile(rb'"entry"\s*:\s*\Z')
#: Before the bracket of a list its name is looked for in so many letters.
_LONGEST_NAME: Final = 64
_BACKSLASH, _QUOTE, _BRACKET, _BRACE = (ord(letter) for letter in '\\"[{')
_OPENING, _CLOSING = (np.isin(np.arange(256), [ord(letter) for letter in letters]) for letters in ("{[", "}]"))
_SIGN: Final = _OPENING | _CLOSING | (np.arange(256) == _QUOTE)

Places = npt.NDArray[np.intp]


class Elements(NamedTuple):
    """The objects of a document's list: where each starts and stops, and the document without them."""

    content: bytes
    starts: Places
    stops: Places
    #: The document, its list empty.
    shell: bytes

    def blocks(self, size: int) -> Iterator[pa.Table]:
        """The elements with their numbers, from 1, about ``size`` bytes together: line, source_row."""
        first = 0
        while first < self.starts.size:
            behind = max(int(np.searchsorted(self.stops, self.starts[first] + size, side="right")), first + 1)
            bounds = zip(self.starts[first:behind].tolist(), self.stops[first:behind].tolist(), strict=True)
            lines = [self.content[start:stop].decode("utf-8", errors="replace") for start, stop in bounds]
            yield pa.table({"line": lines, "source_row": np.arange(first + 1, behind + 1)})
            first = behind


class _Brackets(NamedTuple):
    """Brackets outside of texts, their places and the depth behind each."""

    places: Places
    depths: Places
    is_opening: npt.NDArray[np.bool_]


def cut(content: bytes) -> Elements | None:
    """The elements of an array, or of the ``entry`` of an object; none where the document is anything else.

    Only brackets and quotes are looked at: an element may still be no JSON by itself.
    """
    start = len(content) - len(content.lstrip(_BLANK))
    brackets = _outer_brackets(content)
    places, depths = brackets.places, brackets.depths
    if not places.size or places[0] != start or depths[-1] or (depths[:-1] == 0).any():
        return None
    if content[places[-1] + 1 :].strip(_BLANK):
        return None
    first = 0 if content[start] == _BRACKET else _entries(content, brackets)
    if first is None:
        return None
    depth = depths[first]
    behind = first + 1 + int(np.argmax(depths[first + 1 :] < depth))
    inner = slice(first + 1, behind)
    places, depths, is_opening = places[inner], depths[inner], brackets.is_opening[inner]
    starts = places[is_opening & (depths == depth + 1)]
    stops = places[~is_opening & (depths == depth)] + 1
    opened, closed = int(brackets.places[first]) + 1, int(brackets.places[behind])
    elements = Elements(content, starts, stops, content[:opened] + content[closed:])
    return elements if starts.size and _are_all(elements, opened, closed) else None


def _entries(content: bytes, brackets: _Brackets) -> int | None:
    """Which bracket opens the list ``entry`` of an object; none where there is not exactly one."""
    found = [
        int(number)
        for number in np.flatnonzero(brackets.is_opening & (brackets.depths == 2))
        if content[place := brackets.places[number]] == _BRACKET
        and _ENTRIES.search(content[max(0, place - _LONGEST_NAME) : place])
    ]
    return found[0] if len(found) == 1 else None


def _are_all(elements: Elements, opened: int, closed: int) -> bool:
    """Whether the elements are objects, with nothing but a comma between them, and nothing before and behind them."""
    content = elements.content
    between = zip(elements.stops[:-1].tolist(), elements.starts[1:].tolist(), strict=True)
    ends = content[opened : elements.starts[0]] + content[elements.stops[-1] : closed]
    are_objects = bool((np.frombuffer(content, np.uint8)[elements.starts] == _BRACE).all())
    return not ends.strip() and are_objects and all(content[stop:start].strip() == b"," for stop, start in between)


def _outer_brackets(content: bytes) -> _Brackets:
    """The brackets of the three outermost levels, looked for in pieces."""
    places, depths, openings = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], [np.zeros(0, np.bool_)]
    letters = np.frombuffer(content, np.uint8)
    start, depth, is_inside = 0, 0, False
    while start < len(content):
        stop = min(start + _LOOK, len(content))
        # A backslash and the letter behind it stay together.
        while stop < len(content) and content[stop - 1] == _BACKSLASH:
            stop += 1
        piece = letters[start:stop]
        signs = np.flatnonzero(_SIGN[piece])
        is_quote = piece[signs] == _QUOTE
        if b"\\" in content[start:stop]:
            is_escaped = is_quote & _escaped(piece)[signs]
            signs, is_quote = signs[~is_escaped], is_quote[~is_escaped]
        is_text = np.logical_xor.accumulate(is_quote) ^ is_inside
        if signs.size:
            is_inside = bool(is_text[-1])
        signs = signs[~is_quote & ~is_text]
        is_opening = _OPENING[piece[signs]]
        behind = depth + np.cumsum(np.where(is_opening, 1, -1))
        if signs.size:
            depth = int(behind[-1])
        is_outer = behind <= np.where(is_opening, 3, 2)
        places.append(signs[is_outer] + start)
        depths.append(behind[is_outer])
        openings.append(is_opening[is_outer])
        start = stop
    return _Brackets(np.concatenate(places), np.concatenate(depths), np.concatenate(openings))


def _escaped(piece: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Of each letter whether a backslash escapes it: the first of a run escapes the second, not the third."""
    places = np.flatnonzero(piece == _BACKSLASH)
    number = np.arange(places.size)
    starts_run = np.diff(places, prepend=-2) != 1
    is_active = (number - np.maximum.accumulate(np.where(starts_run, number, 0))) % 2 == 0
    escaped = np.zeros(piece.size + 1, np.bool_)
    escaped[places[is_active] + 1] = True
    return escaped[:-1]

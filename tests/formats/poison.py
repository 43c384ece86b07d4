"""Files of every format as records with cells, and what one cell may hold that it should not.

A record is what is lost at most when one of its cells is damaged: a line, a row, an HL7 segment (a whole message where the
cell belongs to all of it), a FHIR resource. ``benchmarks/poison_cells.py`` looks for *other* rows that are lost with it.
"""

import csv
import io
import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import polars as pl

#: An identifier of the simulated hospital.
PATIENT: Final = re.compile(r"P-\d{6}")
#: Texts that any file can hold, binary ones too.
TEXTS: Final = (
    *("", " ", "0", "-0", "-1", "1e308", "-1e308", "1e999", "1e-400", "NaN", "inf", "-inf", "9" * 400, "0x10", "1_000"),
    *("<", "<<0.1", ">1e308", "<-1", "0.1.2", "1,5", "1.234,5", "2,40,000", "5 - 7", "12345.0", "1.2345E+4", "١٢٣"),
    *("0000-01-01", "0000-00-00", "0000-01-01T00:00:00", "0001-01-01", "1582-10-10", "9999-12-31T23:59:59"),
    *(
        "10000-01-01",
        "-0044-03-15",
        "2026-02-30",
        "2026-11-22T25:61:61",
        "20260230256199",
        "00000000",
        "99999999999999",
    ),
    *("2026-02-01T00:00:00+99:99", "1900-01-00", "45000.5", "1769904000000"),
    *("=1+1", "P;=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "null", "NULL", "None", "true", "#N/A", "___", "\\N"),
    *("patient_id", "value", "** End of report **", "TRAILER|5", "10*9/L", "%", "10^9/L", "/uL", "C", "X", "W", "D"),
    *(
        "\u202e321",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\x85",
        "\U0001f489",
        "é",
        "e\u0301",
        "\ufffd",
        "ß" * 3000,
        "'; DROP TABLE run; --",
    ),
    *("6690-2", "751-8", "WBC", "Neutrophils", "' OR 1=1", "../../etc/passwd", "{0}", "%s%n", "$(id)", "[*]", "*"),
)
#: Characters that only some files can hold in a cell.
CONTROLS: Final = ("\0", "a\0b", "\x1b[31m", "\x0b", "\x1c", "\x1a", "\x7f", "\b")
#: Bytes that are no text, or that end cells and records where the sender does not escape them.
RAW: Final = (
    *(b"\xed\xa0\x80", b"\xff", b"\xc3\x28", b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", b"caf\xe9", b"\xf0\x9f"),
    *(
        b"a\rb",
        b"\r",
        b"a\nb",
        b"\n",
        b"a\r\nb",
        b"\r\n\r\n",
        b'"',
        b'"abc',
        b'ab"c',
        b'""',
        b'"a"b',
        b"'",
        b"\\",
        b'\\"',
    ),
    *(
        b",",
        b";",
        b"\t",
        b"|",
        b",,,,",
        b"a,b;c|d\te",
        b"^",
        b"~",
        b"&",
        b"^^^^",
        b"\\.br\\",
        b"\\X0D\\",
        b"\\X",
        b"|||",
    ),
    *(b"{", b"}", b"[", b"]", b'":', b"[" * 3000, b"<", b"</v>", b"]]>", b"MSH|^~\\&|", b"OBX|1|NM", b"x" * 70_000),
)
#: Values of JSON that are no text.
JSON_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1e308, 10**400, 0.1, [], {}, [None], [{}], [[]], {"value": None}, {"a": {"b": []}}),
    *("\ud800", "a\udc00b", "\0", [{"coding": [None]}], {"reference": 5}, {"value": "5"}, {"resourceType": "Bundle"}),
)
MEGABYTE: Final = 1 << 20

Cell = tuple[int, int]


class Records(Protocol):
    """One file: ``owners`` has the text of each record; ``written`` is the file with cells changed and records left out."""

    kind: str
    owners: Sequence[str]

    def hit(self, record: int, dice: random.Random) -> "Hit":
        """A cell of the record and what it will hold."""

    def written(self, hits: Mapping[int, "Hit"], without: Collection[int] = ()) -> bytes:
        """The bytes of the file."""


class Hit:
    """A cell (``place`` in words) and what is done to its record."""

    def __init__(self, place: str, poison: object, change: Callable[[Any], Any]) -> None:
        self.place, self.poison, self.change = place, poison, change

    def __repr__(self) -> str:
        return f"{self.place} = {str(self.poison)[:40]!r}"


def a_text(dice: random.Random, controls: bool = True) -> str:
    """A text that a cell should not hold."""
    if dice.random() < 0.003:
        return "x" * MEGABYTE
    return dice.choice((*TEXTS, *CONTROLS) if controls else TEXTS)


def some_bytes(dice: random.Random) -> bytes:
    """Bytes that a cell should not hold, as a careless sender writes them."""
    return dice.choice(RAW) if dice.random() < 0.5 else a_text(dice).encode()


class Delimited:
    """Lines below a header; a cell is written as it is, or in quotes by the rules."""

    def __init__(self, frame: pl.DataFrame, kind: str, delimiter: str = ",", line_end: str = "\n") -> None:
        self.kind, self.columns, self.delimiter, self.line_end = kind, frame.columns, delimiter, line_end
        self.rows = [["" if cell is None else str(cell) for cell in row] for row in frame.rows()]
        self.owners = [delimiter.join(row) for row in self.rows]

    def hit(self, record: int, dice: random.Random) -> Hit:
        column, is_quoted = dice.randrange(len(self.columns)), dice.random() < 0.4
        poison = a_text(dice).encode() if is_quoted else some_bytes(dice)
        cell = b'"' + poison.replace(b'"', b'""') + b'"' if is_quoted else poison

        def change(cells: list[bytes]) -> list[bytes]:
            return [*cells[:column], cell, *cells[column + 1 :]]

        return Hit(self.columns[column], cell, change)

    def written(self, hits: Mapping[int, Hit], without: Collection[int] = ()) -> bytes:
        end, mark = self.line_end.encode(), self.delimiter.encode()
        lines = [mark.join(column.encode() for column in self.columns)]
        for number, row in enumerate(self.rows):
            if number not in without:
                cells = [self._quoted(cell).encode() for cell in row]
                lines.append(mark.join(hits[number].change(cells) if number in hits else cells))
        return end.join(lines) + end

    def _quoted(self, cell: str) -> str:
        written = io.StringIO()
        csv.writer(written, delimiter=self.delimiter, lineterminator="").writerow([cell, ""])
        return written.getvalue()[: -len(self.delimiter)]


class Messages:
    """HL7 messages; a record is an OBX or DG1 segment, or all of a message where the segment is another."""

    _ALONE: Final = ("OBX", "DG1")

    def __init__(self, content: bytes, kind: str = "hl7v2") -> None:
        self.kind = kind
        messages = [("MSH" + text).rstrip("\r").split("\r") for text in content.decode().split("MSH")[1:]]
        self.messages = [[line for line in lines if line[:3] not in ("BTS", "FTS")] for lines in messages]
        self.places = [
            (message, line) for message, lines in enumerate(self.messages) for line in range(len(lines)) if lines[line]
        ]
        self.owners = [" ".join(self.messages[message][:2]) for message, _ in self.places]

    def hit(self, record: int, dice: random.Random) -> Hit:
        message, line = self.places[record]
        text = self.messages[message][line]
        # The name of a segment and the marks of a message are no cells.
        field = dice.randrange(2 if text.startswith("MSH") else 1, text.count("|") + 1)
        poison = some_bytes(dice)

        def change(segment: bytes) -> bytes:
            fields = segment.split(b"|")
            return b"|".join([*fields[:field], poison, *fields[field + 1 :]])

        return Hit(f"{text[:3]}-{field}", poison, change)

    def written(self, hits: Mapping[int, Hit], without: Collection[int] = ()) -> bytes:
        gone = {self.places[record] for record in without}
        whole = {message for message, line in gone if self.messages[message][line][:3] not in self._ALONE}
        segments = []
        for record, (message, line) in enumerate(self.places):
            if message not in whole and (message, line) not in gone:
                segment = self.messages[message][line].encode()
                segments.append(hits[record].change(segment) if record in hits else segment)
        return b"\r".join(segments) + b"\r"


class JsonLines:
    """One JSON value a line; a cell is any leaf of it. The first ``heads`` lines are left alone."""

    def __init__(self, content: bytes, kind: str, heads: int = 0) -> None:
        lines = content.decode().splitlines()
        self.kind, self.heads, self.lines = kind, lines[:heads], lines[heads:]
        self.owners = self.lines

    def hit(self, record: int, dice: random.Random) -> Hit:
        leaves = list(_leaves(json.loads(self.lines[record])))
        path = dice.choice(leaves)
        is_raw = dice.random() < 0.3
        poison: object = (
            some_bytes(dice) if is_raw else dice.choice(JSON_VALUES) if dice.random() < 0.4 else a_text(dice)
        )

        def change(line: bytes) -> bytes:
            value = _with(json.loads(line), path, _MARK if is_raw else poison)
            text = json.dumps(value).encode()
            return text.replace(_MARK.encode(), poison) if isinstance(poison, bytes) else text

        return Hit(".".join(map(str, path)), poison, change)

    def written(self, hits: Mapping[int, Hit], without: Collection[int] = ()) -> bytes:
        lines = [line.encode() for line in self.heads]
        for number, line in enumerate(self.lines):
            if number not in without:
                lines.append(hits[number].change(line.encode()) if number in hits else line.encode())
        return b"\n".join(lines) + b"\n"


_MARK: Final = "a-cell-of-bytes"


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """The paths of what is no container."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
        return
    for key, inside in items:
        if (*path, key) != ("resourceType",):
            yield from _leaves(inside, (*path, key))


def _with(value: Any, path: tuple[Any, ...], leaf: object) -> Any:
    if not path:
        return leaf
    value[path[0]] = _with(value[path[0]], path[1:], leaf)
    return value


class Table:
    """Rows of a binary file, all text; ``write`` makes the file of a frame. ``longest`` bounds a text, in ASCII if given."""

    def __init__(
        self,
        frame: pl.DataFrame,
        kind: str,
        write: Callable[[pl.DataFrame], bytes],
        *,
        controls: bool = True,
        longest: int | None = None,
    ) -> None:
        self.frame = frame.with_columns(pl.all().cast(pl.String))
        self.kind, self.write, self.controls, self.longest = kind, write, controls, longest
        self.owners = ["|".join(str(cell) for cell in row) for row in self.frame.rows()]

    def hit(self, record: int, dice: random.Random) -> Hit:
        column, poison = dice.choice(self.frame.columns), a_text(dice, self.controls)
        if self.longest is not None:
            poison = poison.encode("ascii", "ignore").decode()[: self.longest]
        return Hit(column, poison, lambda row: row | {column: poison})

    def written(self, hits: Mapping[int, Hit], without: Collection[int] = ()) -> bytes:
        rows = [
            hits[number].change(row) if number in hits else row
            for number, row in enumerate(self.frame.iter_rows(named=True))
            if number not in without
        ]
        return self.write(pl.DataFrame(rows, schema=self.frame.schema))

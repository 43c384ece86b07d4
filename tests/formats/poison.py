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
from pathlib import Path
from typing import Any, Final, Protocol

import duckdb
import polars as pl
import pyreadstat

from neutro_screen.ingest import Kind
from neutro_simulator import Hospital, simulate_hospital
from tests.formats import hospital_files as files

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


class Folder:
    """An input of several files of records, which one path or one path a kind names."""

    def __init__(self, folder: Path, inputs: dict[Kind, list[str]], parts: dict[Path, Records]) -> None:
        self.folder, self.inputs, self.parts = folder, inputs, parts

    def write(self, hits: Mapping[Path, Mapping[int, Hit]], without: Mapping[Path, Collection[int]]) -> None:
        """Write all files, with these cells changed and these records left out."""
        for path, part in self.parts.items():
            path.write_bytes(part.written(hits.get(path, {}), without.get(path, ())))


def poison_hospital(seed: int, patients: int = 60) -> Hospital:
    """Some patients with a few specimens each, and their charts."""
    whole = simulate_hospital(patients, seed, as_of=files.AS_OF, dirt=0.0)
    labs = whole.labs.group_by("patient_id", maintain_order=True).tail(12)
    return Hospital(
        **{name: getattr(whole, name) for name in vars(whole) if name != "labs"},
        labs=labs.filter(pl.col("value").str.contains(r"^<?[\d.]+$")),
    )


def _native(of: Hospital) -> dict[Kind, pl.DataFrame]:
    frames: dict[Kind, pl.DataFrame] = {
        "lab": of.labs,
        "medication": of.medications,
        "patient": of.patients,
        "diagnosis": of.diagnoses,
        "event": of.events,
    }
    return frames


def _one_file_a_kind(of: Hospital, folder: Path, suffix: str, make: Callable[[pl.DataFrame, str], Records]) -> Folder:
    paths = {kind: folder / f"{kind}{suffix}" for kind in _native(of)}
    parts = {paths[kind]: make(frame, kind) for kind, frame in _native(of).items()}
    return Folder(folder, {kind: [str(path)] for kind, path in paths.items()}, parts)


def _parquet(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


def _excel(frame: pl.DataFrame, folder: Path) -> bytes:
    path = folder / "sheet.tmp"
    files.write_xlsx(path, [tuple(frame.columns), *frame.rows()])
    content = path.read_bytes()
    path.unlink()
    return content


def _xpt(frame: pl.DataFrame, name: str, folder: Path) -> bytes:
    path = folder / "table.tmp"
    pyreadstat.write_xport(frame.fill_null(""), str(path), table_name=name, file_format_version=5)
    content = path.read_bytes()
    path.unlink()
    return content


def _delimited(of: Hospital, folder: Path, seed: int) -> Folder:
    delimiter, line_end = ((",", "\n"), (";", "\r\n"), ("\t", "\n"), ("|", "\r\n"))[seed % 4]
    return _one_file_a_kind(of, folder, ".csv", lambda frame, kind: Delimited(frame, kind, delimiter, line_end))


def _parquet_files(of: Hospital, folder: Path, seed: int) -> Folder:
    return _one_file_a_kind(of, folder, ".parquet", lambda frame, kind: Table(frame, kind, _parquet))


def _workbooks(of: Hospital, folder: Path, seed: int) -> Folder:
    """XML cannot hold control characters at all: no workbook has them."""

    def make(frame: pl.DataFrame, kind: str) -> Records:
        return Table(frame, kind, lambda rows: _excel(rows, folder), controls=False)

    return _one_file_a_kind(of, folder, ".xlsx", make)


def _hl7(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_hl7(of, folder)
    path = Path(inputs["lab"][0])
    return _beside(folder, inputs, of, {path: Messages(path.read_bytes())})


def _fhir(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_fhir(of, folder)
    export = Path(inputs["lab"][0])
    parts: dict[Path, Records] = {
        path: JsonLines(path.read_bytes(), path.stem) for path in sorted(export.glob("*.ndjson"))
    }
    return _beside(folder, inputs, of, parts)


def _mimic(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_mimic4(of, folder)
    return _beside(folder, inputs, of, _csv_parts(Path(inputs["lab"][0])))


def _omop(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_omop_folder(of, folder)
    cdm = Path(inputs["lab"][0])
    for table in cdm.glob("*.parquet"):
        pl.read_parquet(table).write_csv(table.with_suffix(".csv"))
        table.unlink()
    return _beside(folder, inputs, of, _csv_parts(cdm))


def _omop_parquet(of: Hospital, folder: Path, seed: int) -> Folder:
    cdm = folder / "cdm"
    cdm.mkdir()
    parts: dict[Path, Records] = {
        cdm / f"{name}.parquet": Table(table, name, _parquet) for name, table in files.omop_tables(of).items()
    }
    return _beside(folder, {"lab": [str(cdm)]}, of, parts)


def _dataset_json(of: Hospital, folder: Path, seed: int) -> Folder:
    """All datasets as NDJSON: a document that is no JSON any more has no records."""
    inputs: Any = files.write_dataset_json(of, folder)
    sdtm = Path(inputs["lab"][0])
    parts: dict[Path, Records] = {sdtm / "lb.ndjson": JsonLines((sdtm / "lb.ndjson").read_bytes(), "LB", heads=1)}
    for path in sorted(sdtm.glob("*.json")):
        document = json.loads(path.read_text("utf-8"))
        rows = document.pop("rows")
        content = "\n".join(map(json.dumps, [document, *rows])).encode()
        parts[path.with_suffix(".ndjson")] = JsonLines(content, path.stem.upper(), heads=1)
        path.unlink()
    return _beside(folder, inputs, of, parts)


def _xpt_files(of: Hospital, folder: Path, seed: int) -> Folder:
    sdtm = folder / "sdtm"
    sdtm.mkdir()
    parts: dict[Path, Records] = {
        sdtm / f"{name.lower()}.xpt": Table(
            table, name, lambda rows, name=name: _xpt(rows, name, folder), controls=False, longest=200
        )
        for name, table in files.sdtm_tables(of).items()
    }
    return _beside(folder, {"lab": [str(sdtm)]}, of, parts)


def _omop_database(of: Hospital, folder: Path, seed: int) -> Folder:
    """One file of all tables; only the measurements are hit."""
    tables = files.omop_tables(of)

    def write(rows: pl.DataFrame) -> bytes:
        path = folder / "tables.tmp"
        with duckdb.connect(str(path)) as database:
            database.execute("CREATE SCHEMA cdm")
            for name, table in (tables | {"measurement": rows}).items():
                database.register("rows", table)
                database.execute(f"CREATE TABLE cdm.{name} AS SELECT * FROM rows")
        content = path.read_bytes()
        path.unlink()
        return content

    path = folder / "cdm.duckdb"
    return _beside(folder, {"lab": [str(path)]}, of, {path: Table(tables["measurement"], "measurement", write)})


def _csv_parts(folder: Path) -> dict[Path, Records]:
    return {
        path: Delimited(pl.read_csv(path, infer_schema=False), path.stem.lower())
        for path in sorted(folder.iterdir())
        if path.suffix == ".csv"
    }


def _beside(folder: Path, inputs: dict[Kind, list[str]], of: Hospital, parts: dict[Path, Records]) -> Folder:
    """With the kinds of data that a format has none of in files of the native layout, which are not hit."""
    for kind in ("diagnosis", "event"):
        inputs.pop(kind, None)
    return Folder(folder, inputs, parts)


SOURCES: Final[dict[str, Callable[[Hospital, Path, int], Folder]]] = {
    "delimited": _delimited,
    "parquet": _parquet_files,
    "excel": _workbooks,
    "hl7v2": _hl7,
    "fhir": _fhir,
    "mimic": _mimic,
    "omop": _omop,
    "omop_parquet": _omop_parquet,
    "omop_database": _omop_database,
    "cdisc": _dataset_json,
    "cdisc_xpt": _xpt_files,
}
PATIENT: Final = re.compile(r"P-\d{6}")

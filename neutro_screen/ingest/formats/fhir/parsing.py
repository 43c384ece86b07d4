"""From the text of a file to resources: NDJSON lines, Bundles, arrays and reports, parsed by DuckDB.

DuckDB is fast, and nesting of any depth does it no harm. What is read of each resource type is data: structures.toml.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.batches import Block, as_utf8, blocks
from neutro_screen.ingest.distinct import per_distinct
from neutro_screen.ingest.engine import engine
from neutro_screen.ingest.files import head_of
from neutro_screen.ingest.formats.even_json import texts_between, utf8
from neutro_screen.ingest.formats.fhir.containers import CONTAINERS, ENTRY, INSIDE, OLDER, PANELS
from neutro_screen.ingest.formats.fhir.documents import Elements, cut
from neutro_screen.ingest.formats.fhir.structures import IDENTITY, STRUCTURES, UNREAD, UNREAD_COMPONENT, Structure

BLOCK_BYTES: Final = 32 << 20
LARGEST_DOCUMENT: Final = 256 << 20
#: Of a Bundle or an array so many bytes are parsed together.
ELEMENT_BYTES: Final = 4 << 20
_LINE_END: Final = re.compile(rb"\n")
_DEEPEST_BUNDLE: Final = 3
_LINES_LOOKED_AT: Final = 50
_LONGEST_LOOKED_AT: Final = 1 << 20
#: Looked at together for line ends: what fits into the processor's cache.
_LOOK: Final = 128 << 10
_BLANK: Final = "\ufeff \t\r\n\0"
_TYPED: Final = """
    SELECT source_row, is_json, resource, CASE WHEN NOT ({is_read}) THEN line END AS line
    FROM (SELECT source_row, line, {is_json} AS is_json, {resource} AS resource FROM lines)
"""


class Marks(NamedTuple):
    """Texts of which a file, and each line in it, must hold one to be looked at; without any, all are."""

    of_file: tuple[bytes, ...] = ()
    of_line: tuple[bytes, ...] = ()


class Sink(Protocol):
    """Takes what is parsed."""

    def add(self, resource_type: str, resources: pl.DataFrame) -> None:
        """Resources of one type: source_row and the elements of STRUCTURES, or source_row and line for other types.

        Observations, of which there are most, have their elements as JSON, for ``elements``; those not wanted only id and meta.
        """

    def add_deletions(self, deletions: pl.DataFrame) -> None:
        """What a Bundle deletes: source_row, deleted_url, deleted_at."""

    def refuse(self, lines: pl.DataFrame, reason: str) -> None:
        """Lines that are no resource: source_row, text."""

    def leave_out(self, resources: pl.DataFrame, reason: str) -> None:
        """Resources of a Bundle in a Bundle, deeper than is opened, or older versions in a history."""


def parse_file(
    connection: duckdb.DuckDBPyConnection, path: Path, wanted: Collection[str], sink: Sink, marks: Marks = Marks()
) -> Iterator[None]:
    """Parse a file block by block into ``sink``; yields after every block.

    ``wanted`` are the resource types whose elements are read. A file, a block and a line that hold none of their ``marks`` are
    passed over.

    Raises:
        UnreadableInputError: empty, a damaged archive, no text, one JSON document of more than 256 MB.
    """
    with as_utf8(path) as text:
        if marks.of_file and not _holds_any(text, marks.of_file):
            return
        if not head_of(text).strip(b"\xef\xbb\xbf \t\r\n"):
            raise UnreadableInputError(
                "the file is empty", where=path.name, remedy="Check the export; nothing was screened."
            )
        is_document = _is_document(connection, text, path.name)
        whole_lines = (
            iter([Block(text.read_bytes())]) if is_document else blocks(text, BLOCK_BYTES, _LINE_END, LARGEST_DOCUMENT)
        )
        first = 1
        try:
            if is_document and (document := _long_document(connection, text)):
                container, elements_inside = document
                for lines in elements_inside.blocks(ELEMENT_BYTES):
                    _parse_elements(connection, container, _marked(lines, marks), wanted, sink)
                    yield
                return
            for block in whole_lines:
                if block.is_too_long:
                    head = block.content.decode("utf-8", errors="replace")
                    sink.refuse(pl.DataFrame({"source_row": [first], "text": [head]}), "line_too_long")
                elif not marks.of_line or any(mark in block.content for mark in marks.of_line):
                    lines = _marked(_lines(block.content, first, is_document), marks)
                    _parse(connection, lines, wanted, sink, _DEEPEST_BUNDLE)
                first += 1 if block.is_too_long else block.content.count(b"\n")
                yield
        except duckdb.Error:
            raise UnreadableInputError("holds JSON that cannot be taken apart", where=path.name) from None


def _marked(lines: pa.Table, marks: Marks) -> pa.Table:
    """The lines that hold a mark; all where none is asked for."""
    if not marks.of_line:
        return lines
    is_marked = pl.col("line").str.contains_any([mark.decode() for mark in marks.of_line])
    return pl.DataFrame(lines).filter(is_marked).to_arrow()


def _long_document(connection: duckdb.DuckDBPyConnection, text: Path) -> tuple[str, Elements] | None:
    """The type and the elements of a document that is parsed in pieces; none where it is short, neither Bundle nor array, or a
    history, whose entries undo each other."""
    if text.stat().st_size <= ELEMENT_BYTES or (elements := cut(text.read_bytes())) is None:
        return None
    shell = pl.DataFrame({"line": [utf8(elements.shell).decode()], "source_row": [1]})
    typed = _typed(connection, shell, {"type": "VARCHAR"})
    resource_type, (declared,) = str(typed["type"].first()), typed["resource"].struct.field("type").head(1)
    return (resource_type, elements) if resource_type in ("Bundle", "array") and declared != "history" else None


def _parse_elements(
    connection: duckdb.DuckDBPyConnection, container: str, lines: pa.Table, wanted: Collection[str], sink: Sink
) -> None:
    """Parse some elements of a document into ``sink``; each that is no JSON is refused by itself."""
    if container == "array":
        _parse(connection, lines, wanted, sink, _DEEPEST_BUNDLE - 1, is_piece=True)
        return
    entries = _typed(connection, lines, ENTRY)
    sink.refuse(entries.filter(~pl.col("is_json")).select("source_row", text="line"), "broken_json")
    entry = pl.col("resource").struct
    request = entry.field("request").struct
    is_deletion = request.field("method").str.to_uppercase() == "DELETE"
    inside = entries.filter("is_json").select(
        "source_row",
        line=entry.field("resource"),
        deleted_url=pl.when(is_deletion).then(request.field("url").fill_null("")),
        deleted_at=entry.field("response").struct.field("lastModified"),
    )
    _parse_inside(connection, inside, wanted, sink, _DEEPEST_BUNDLE, is_piece=True)


def _holds_any(text: Path, marks: Sequence[bytes]) -> bool:
    """Whether a file holds any of these texts, looked at in pieces that stay in the processor's cache."""
    overlap = max(map(len, marks)) - 1
    piece = b""
    with text.open("rb", buffering=0) as file:
        while read := file.read(_LOOK):
            piece = piece[-overlap:] + read
            if any(mark in piece for mark in marks):
                return True
    return False


def _is_document(connection: duckdb.DuckDBPyConnection, text: Path, name: str) -> bool:
    """Whether the file is one JSON value over several lines: then its first line is not one.

    Where only the first line is damaged, one of the next is a resource by itself, and the whole is no JSON.
    """
    with text.open("rb") as file:
        first = file.readline(LARGEST_DOCUMENT).strip(b"\xef\xbb\xbf \t\r\n")
        while not first and (line := file.readline(LARGEST_DOCUMENT)):
            first = line.strip()
        others = [line for _ in range(_LINES_LOOKED_AT) if (line := file.readline(_LONGEST_LOOKED_AT).strip())]
    if not others:
        # A Bundle in one line; a short one is a line like any other.
        return first[:1] in (b"{", b"[") and ELEMENT_BYTES < len(first) < LARGEST_DOCUMENT
    if first[:1] not in (b"{", b"[") or _is_json(connection, first):
        return False
    is_too_large = text.stat().st_size > LARGEST_DOCUMENT
    is_resource = (
        line.startswith(b"{") and b'"resourceType"' in line and _is_json(connection, line) for line in others
    )
    if any(is_resource):
        return not is_too_large and _is_json(connection, text.read_bytes())
    if is_too_large:
        raise UnreadableInputError("one JSON document of more than 256 MB", where=name, remedy="Export NDJSON instead.")
    return True


def _is_json(connection: duckdb.DuckDBPyConnection, content: bytes) -> bool:
    """By DuckDB, which builds nothing: Python's objects take ten times the memory of their text."""
    text = content.decode("utf-8", errors="replace").strip(_BLANK)
    return connection.execute("SELECT json_valid(CAST(? AS VARCHAR))", [text]).fetchall() == [(True,)]


def _lines(content: bytes, first: int, is_document: bool) -> pa.Table:
    """The lines of a block with their numbers, blank ones among them: line, source_row.

    Where each is an object from its first letter to its last, as almost always, none is copied.
    """
    text = utf8(content)
    starts = np.array([0, len(text)]) if is_document else _line_starts(text)
    numbers = pa.array(np.arange(first, first + starts.size - 1))
    lines = texts_between(text, starts)
    if not _are_objects(np.frombuffer(text, np.uint8), starts):
        stripped = pl.DataFrame(pa.table({"line": lines})).select(pl.col("line").str.strip_chars(_BLANK))
        lines = stripped.to_arrow()["line"]
    return pa.table({"line": lines, "source_row": numbers})


def _line_starts(text: bytes) -> npt.NDArray[np.intp]:
    """Where the lines of a text start, and where the last one ends."""
    letters = np.frombuffer(text, np.uint8)
    ends = [
        start + 1 + np.flatnonzero(letters[start : start + _LOOK] == ord("\n")) for start in range(0, len(text), _LOOK)
    ]
    is_open = not text.endswith(b"\n")
    return np.concatenate([np.zeros(1, np.intp), *ends, np.full(int(is_open), len(text))])


def _are_objects(letters: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp]) -> bool:
    """Whether each line starts with the brace of an object and ends with one, its line end aside."""
    last = starts[1:] - 1
    for blank in "\n\r":
        last -= letters[last] == ord(blank)
    return bool((letters[starts[:-1]] == ord("{")).all() and (letters[last] == ord("}")).all())


def _parse(
    connection: duckdb.DuckDBPyConnection,
    lines: pa.Table | pl.DataFrame,
    wanted: Collection[str],
    sink: Sink,
    depth: int,
    *,
    is_piece: bool = False,
) -> None:
    """Sort the lines by resource type into ``sink``; containers are opened, and what they hold is parsed the same way.

    What a container holds that stands alone is numbered by its position, but not in a piece of a document.
    """
    typed = _typed(connection, lines, UNREAD if "Observation" in wanted else IDENTITY)
    refused = typed.filter(pl.col("type").is_null()).select("source_row", "is_json", text="line")
    sink.refuse(refused.filter(~pl.col("is_json")), "broken_json")
    sink.refuse(refused.filter("is_json"), "not_a_resource")
    for name, of_type in _by_type(typed):
        if name == "Observation":
            observations = of_type.select("source_row", pl.col("resource").struct.unnest()).drop("resourceType")
            sink.add(name, observations)
            is_panel = pl.col("hasMember").str.contains('"#', literal=True)
            if name in wanted and (panels := observations.filter(is_panel)).height:
                connection.register("panels", panels)
                connection.register("lines", connection.sql(PANELS).pl())
                members = connection.sql(INSIDE["DiagnosticReport"]).pl().sort("source_row", "position")
                _parse_inside(connection, members, wanted, sink, depth, is_piece=is_piece)
            continue
        connection.register("lines", of_type.select("source_row", "line"))
        if name in wanted:
            parsed = connection.sql(
                f"SELECT source_row, json_transform(line, '{json.dumps(STRUCTURES[name])}') AS resource FROM lines"
            ).pl()
            sink.add(name, parsed.sort("source_row", maintain_order=True).unnest("resource"))
        elif name not in CONTAINERS:
            sink.add(name, of_type.select("source_row", "line"))
        else:
            inside = connection.sql(INSIDE[name]).pl().sort("source_row", "position")
            if name == "Bundle":
                inside = _without_older_versions(connection, inside, sink)
            if name != "DiagnosticReport" and typed.height == 1 and not is_piece:
                inside = inside.with_columns(source_row="position")
            sink.add(name, of_type.select("source_row", "line"))
            _parse_inside(connection, inside, wanted, sink, depth, is_piece=is_piece)


def _parse_inside(
    connection: duckdb.DuckDBPyConnection,
    inside: pl.DataFrame,
    wanted: Collection[str],
    sink: Sink,
    depth: int,
    *,
    is_piece: bool,
) -> None:
    """What containers hold: ``line`` = resource, ``deleted_url`` = what an entry deletes, ``deleted_at`` = when."""
    deleted = inside.filter(pl.col("deleted_url").is_not_null())
    sink.add_deletions(deleted.select("source_row", "deleted_url", "deleted_at"))
    inside = inside.filter(pl.col("line").is_not_null()).select("line", "source_row")
    if inside.height and depth:
        _parse(connection, inside, wanted, sink, depth - 1, is_piece=is_piece)
    elif inside.height:
        sink.leave_out(inside, "nested_too_deeply")


def _without_older_versions(connection: duckdb.DuckDBPyConnection, inside: pl.DataFrame, sink: Sink) -> pl.DataFrame:
    """Entries of Bundles; of a history, newest first where no times tell, without what a newer version makes void."""
    connection.register("entries", inside)
    older = connection.sql(OLDER).pl()
    sink.leave_out(inside.join(older, on=["source_row", "position"], how="semi").drop_nulls("line"), "older_versions")
    return inside.join(older, on=["source_row", "position"], how="anti", maintain_order="left")


def _by_type(typed: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The resources by their type; most files hold one type, and its resources are not copied."""
    types = typed["type"].unique()
    if types.len() == 1 and types[0] is not None:
        yield types[0], typed
        return
    for (resource_type,), of_type in typed.drop_nulls("type").group_by("type", maintain_order=True):
        yield str(resource_type), of_type


def _typed(
    connection: duckdb.DuckDBPyConnection, lines: pa.Table | pl.DataFrame, unread: Mapping[str, Structure]
) -> pl.DataFrame:
    """The lines that are not blank with ``is_json``, ``type`` (null = no resource) and ``resource``: resourceType and ``unread`` elements.

    The line itself is null where its resource has been read.
    """
    connection.register("lines", lines)
    resource = f"json_transform(line, '{json.dumps({'resourceType': 'VARCHAR', **unread})}')"
    is_read = "resource.resourceType IS NOT DISTINCT FROM 'Observation'" if unread else "false"
    typed: pl.DataFrame | None = None
    # The error quotes the line, and often ends within a letter, which Python cannot decode.
    with suppress(duckdb.InvalidInputException, UnicodeDecodeError):
        typed = connection.sql(_TYPED.format(is_json="true", resource=resource, is_read=is_read)).pl()
    if typed is None:
        # A line is no JSON: only now each is asked first, which parses it twice.
        resource = f"CASE WHEN json_valid(line) THEN {resource} END"
        typed = connection.sql(_TYPED.format(is_json="json_valid(line)", resource=resource, is_read=is_read)).pl()
    if not typed["source_row"].is_sorted():
        typed = typed.sort("source_row", maintain_order=True)
    is_array = pl.col("is_json") & pl.col("line").str.starts_with("[")
    named = pl.col("resource").struct.field("resourceType")
    return (
        typed.with_columns(pl.col("line").str.strip_chars(_BLANK))
        .filter(pl.col("line").ne_missing(""))
        .with_columns(type=pl.coalesce(named, pl.when(is_array).then(pl.lit("array"))))
    )


def elements(rows: pl.DataFrame, kept: Sequence[str], wanted: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Columns ``kept`` and expressions over the elements of Observations, or of their components, that are still JSON."""
    return per_distinct(rows, kept, wanted, _read)


def _read(unread: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """The elements in the form of STRUCTURES, those of all frames by one query; components keep theirs as JSON."""
    structures: dict[str, Structure] = STRUCTURES["Observation"] | {"component": UNREAD_COMPONENT}
    present = [[name for name in frame.columns if frame[name].null_count() < frame.height] for frame in unread]
    nested = {
        f"{number} {name}": (frame[name], json.dumps(structures[name]))
        for number, (frame, names) in enumerate(zip(unread, present, strict=True))
        for name in names
        if structures[name] != "VARCHAR"
    }
    opened = _opened(nested) if nested else pl.DataFrame()
    return [
        frame.with_columns(
            opened[f"{number} {name}"].head(frame.height).alias(name)
            if f"{number} {name}" in nested
            else pl.lit(None, _dtype(structures[name])).alias(name)
            for name in frame.columns
            if name not in names or structures[name] != "VARCHAR"
        )
        for number, (frame, names) in enumerate(zip(unread, present, strict=True))
    ]


def _opened(columns: Mapping[str, tuple[pl.Series, str]]) -> pl.DataFrame:
    """Columns of JSON in the form of DuckDB's json_transform that stands with each, below each other's end filled up with null."""
    height = max(texts.len() for texts, _ in columns.values())
    filled = pl.DataFrame(
        {name: texts.extend_constant(None, height - texts.len()) for name, (texts, _) in columns.items()}
    )
    transformed = (f'json_transform("{name}", \'{structure}\') AS "{name}"' for name, (_, structure) in columns.items())
    with engine() as connection:
        connection.register("unread", filled.with_row_index("row"))
        opened: pl.DataFrame = connection.sql(f"SELECT row, {', '.join(transformed)} FROM unread").pl()
    return opened if opened["row"].is_sorted() else opened.sort("row")


def _dtype(structure: Structure) -> pl.DataType:
    if isinstance(structure, list):
        return pl.List(_dtype(structure[0]))
    if isinstance(structure, dict):
        return pl.Struct({name: _dtype(inner) for name, inner in structure.items()})
    return pl.String()

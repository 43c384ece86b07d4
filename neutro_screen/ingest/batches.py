"""Reading in batches: text in blocks of whole records, rows gathered from several blocks. Memory does not grow with the file."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from neutro_screen.ingest.broken_lines import BrokenLine
from neutro_screen.ingest.files import encoding_by_mark, head_of, is_packed, transcoded, unpacked
from neutro_screen.ingest.frames import KINDS, NATIVE_COLUMNS, Kind
from neutro_screen.private import private_folder

#: Rows of one batch: enough that the cost of a batch does not count, and some tens of megabytes.
ROWS_A_BATCH: Final = 100_000
#: Of a record that is too long, its start is kept; its end may stand across two reads.
_START: Final = 65_536
_OVERLAP: Final = 8
#: Marks of a text that needs no copy.
_UTF8: Final = (None, "utf-8-sig")
#: Native columns that a refused line may still name.
_READABLE: Final = ("patient_id", "specimen_id", "collected_at")


class RawBatch(NamedTuple):
    """Rows of a file as text, with ``source_row``, under the source's own or the native column names; and refused lines.

    A large file comes as several; a note is given once a file.
    """

    path: Path
    rows: pl.DataFrame
    refused: Sequence[BrokenLine] = ()
    notes: tuple[str, ...] = ()


RawBatches = Iterator[tuple[Kind, RawBatch]]


@contextmanager
def as_utf8(path: Path) -> Iterator[Path]:
    """The file itself, or a copy of it that exists as long as the context: unpacked, and UTF-16 as UTF-8.

    Raises:
        UnreadableInputError: a damaged archive, or bytes that are not text in the encoding that their mark declares.
    """
    if not is_packed(path) and encoding_by_mark(head_of(path)) in _UTF8:
        yield path
        return
    with private_folder() as folder:
        text = unpacked(path, folder)
        marked = encoding_by_mark(head_of(text))
        yield text if marked in _UTF8 else transcoded(text, str(marked), folder)


class Block(NamedTuple):
    """Whole records of a file; or one that is too long to be held, of which only the start is here."""

    content: bytes
    is_too_long: bool = False
    #: of one that is too long: the line ends in it
    n_line_ends: int = 0


def blocks(text: Path, size: int, end_of_record: re.Pattern[bytes], longest: int) -> Iterator[Block]:
    """The bytes of a file in blocks of about ``size``, each of whole records; none holds a record over ``longest`` bytes."""
    held = b""
    with text.open("rb") as file:
        while chunk := file.read(size):
            held += chunk
            if len(chunk) < size:
                break
            if end := _last_end(held, end_of_record):
                yield Block(held[:end])
                held = held[end:]
            elif len(held) > longest:
                start, n_line_ends = held[:_START], _line_ends(held)
                held = held[-_OVERLAP:]
                while (match := end_of_record.search(held)) is None and (chunk := file.read(size)):
                    n_line_ends += _line_ends(chunk)
                    held = held[-_OVERLAP:] + chunk
                rest = held[match.end() :] if match else b""
                yield Block(start, is_too_long=True, n_line_ends=n_line_ends - _line_ends(rest))
                held = rest
    if held:
        yield Block(held)


def _last_end(content: bytes, end_of_record: re.Pattern[bytes]) -> int:
    """Where the last whole record of a content ends; looked for from its end, where it usually is."""
    for first in (max(0, len(content) - _START), 0):
        ends = [match.end() for match in end_of_record.finditer(content, first)]
        if ends:
            return ends[-1]
    return 0


def _line_ends(content: bytes) -> int:
    return max(content.count(b"\n"), content.count(b"\r"))


class GatheredRows:
    """What the blocks of one file yield: rows by kind in the native layout, refused lines, and counts for its notes."""

    def __init__(self, path: Path, kinds: Sequence[Kind]) -> None:
        self.path, self.kinds = path, tuple(kinds)
        self.counts: Counter[str] = Counter()
        self.has_refused = False
        self._seen: Counter[Kind] = Counter()
        self._rows: dict[Kind, list[pl.DataFrame]] = {kind: [] for kind in kinds}
        self._refused: list[BrokenLine] = []

    def add(self, kind: Kind, *frames: pl.DataFrame) -> None:
        """Keep rows of a kind that is asked for; native columns may be missing."""
        if kind in self._rows:
            self._rows[kind] += [detached(rows) for rows in frames]
            self._seen[kind] += sum(rows.height for rows in frames)

    @property
    def main_kind(self) -> Kind:
        """The kind that the file holds most rows of so far; the first where it holds none."""
        return max(self.kinds, key=lambda kind: self._seen[kind])

    def refuse(self, lines: pl.DataFrame, reason: str) -> None:
        """Refuse lines: source_row, text, and native columns that could be read of them."""
        self.has_refused |= lines.height > 0
        for line in lines.iter_rows(named=True):
            fields = {name: line[name] for name in _READABLE if line.get(name)}
            self._refused.append(BrokenLine(line["source_row"], reason, line["text"], fields))

    def taken(self, kind: Kind) -> pl.DataFrame:
        """The rows of a kind in the order of the file, all native columns present; they are then gone from here."""
        frames, self._rows[kind] = self._rows[kind], []
        return pl.concat([no_text_rows(kind), *frames], how="diagonal").sort("source_row", maintain_order=True)

    def batches(self, refused_with: Kind) -> RawBatches:
        """All that was gathered so far, refused lines with the kind ``refused_with``."""
        refused, self._refused = sorted(self._refused, key=lambda line: line.source_row), []
        for kind in self._rows:
            rows = self.taken(kind)
            if rows.height or (refused and kind == refused_with):
                yield kind, RawBatch(self.path, rows, refused if kind == refused_with else ())

    def notes(self, kind: Kind) -> tuple[Kind, RawBatch]:
        """A batch without rows that carries the counts: ``name:count``."""
        notes = tuple(f"{name}:{count}" for name, count in sorted(self.counts.items()) if count)
        return kind, RawBatch(self.path, no_text_rows(kind), notes=notes)


def gathered(batches: Iterable[tuple[Kind, RawBatch]]) -> RawBatches:
    """Put small batches of one file and kind together until they have ROWS_A_BATCH rows; order within a kind is kept."""
    path: Path | None = None
    held: dict[Kind, list[RawBatch]] = {kind: [] for kind in KINDS}
    for kind, batch in batches:
        if batch.path != path:
            yield from _rest(held)
            path = batch.path
        held[kind].append(batch)
        if sum(each.rows.height for each in held[kind]) >= ROWS_A_BATCH:
            yield kind, _joined(held[kind])
            held[kind] = []
    yield from _rest(held)


def no_text_rows(kind: Kind) -> pl.DataFrame:
    """No rows in the native layout: text columns and ``source_row``."""
    return pl.DataFrame(schema={**dict.fromkeys(NATIVE_COLUMNS[kind], pl.String), "source_row": pl.Int64})


def detached(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with texts of their own; before that they keep the whole block they were cut from in memory."""
    return pl.DataFrame(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _rest(held: dict[Kind, list[RawBatch]]) -> RawBatches:
    for kind, batches in held.items():
        if batches:
            yield kind, _joined(batches)
            held[kind] = []


def _joined(batches: list[RawBatch]) -> RawBatch:
    return RawBatch(
        batches[0].path,
        pl.concat(batch.rows for batch in batches),
        [line for batch in batches for line in batch.refused],
        tuple(dict.fromkeys(note for batch in batches for note in batch.notes)),
    )

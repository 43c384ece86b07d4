r"""HL7 v2 messages: ORU/OUL results, RDE/RDS/RAS medication, PID patients, DG1 diagnoses.

Single messages, batches (FHS/BHS) and MLLP dumps. A small tolerant splitter: the known parsers see one segment where
lines end in a line feed, lose ``\.br\`` and are a hundred times slower. A regular expression finds the segments, polars
splits the fields; every row keeps the number of its segment in the file.
"""

import re
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.batches import GatheredRows, RawBatch, RawBatches, as_utf8, gathered, no_text_rows
from neutro_screen.ingest.files import head_of
from neutro_screen.ingest.formats.hl7v2.fields import Marks, Messages
from neutro_screen.ingest.formats.hl7v2.rows import ROWS
from neutro_screen.ingest.formats.hl7v2.segments import (
    Trailers,
    cut_message,
    decoded_segments,
    message_blocks,
    placed,
    strays,
)
from neutro_screen.ingest.frames import NATIVE_COLUMNS, Kind
from neutro_screen.ingest.profile import Profile

MOST_MARKS: Final = 16
_FIRST_SEGMENT: Final = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\x0b\s]*(?:MSH|FHS|BHS)[^\sA-Za-z0-9]")
#: What every message repeats.
_REPEATED: Final[tuple[Kind, ...]] = ("patient", "diagnosis")


def recognises(path: Path) -> bool:
    """A file whose first segment is MSH, FHS or BHS, after a byte-order mark or MLLP byte if there is one."""
    return path.is_file() and _FIRST_SEGMENT.match(head_of(path).replace(b"\0", b"")) is not None


def read_hl7(path: Path, kind: Kind, profile: Profile) -> RawBatches:
    """Read one file of messages; with ``lab`` it brings every kind that is there, else the one asked for.

    Which field feeds which column is a table, fields.csv. Results of control material (SPM-11) are skipped and counted.
    What stands outside a message, and a message longer than 64 MB, becomes ``refused``. People and diagnoses, which every message repeats, are kept until
    the end of the file.

    Raises:
        UnreadableInputError: no message in the file, a damaged archive.
        RefusedInputError: the counts of BTS-1 or FTS-1 do not fit, or a batch has no end: the file was cut off.
    """
    return gathered(_batches(path, kind, profile))


def _batches(path: Path, kind: Kind, profile: Profile) -> RawBatches:
    rows = GatheredRows(path, tuple(ROWS) if kind == "lab" else (kind,))
    repeated = {each: no_text_rows(each) for each in rows.kinds if each in _REPEATED}
    trailers = Trailers(path.name)
    next_row = 1
    with as_utf8(path) as text:
        for block in message_blocks(text):
            texts, guessed = decoded_segments(block.content)
            segments = placed(texts, next_row)
            if block.is_too_long:
                trailers.count(segments.filter(pl.col("type") == "MSH"))
                rows.refuse(cut_message(segments), "message_too_long")
                next_row += block.n_line_ends
                continue
            next_row += len(texts)
            rows.counts["messages_decoded_as_cp1252"] += guessed
            trailers.count(segments)
            rows.refuse(strays(segments), "outside_message")
            for messages in _by_marks(segments, path.name):
                _add_rows(rows, messages, profile)
            for each, before in repeated.items():
                repeated[each] = _distinct(pl.concat([before, rows.taken(each)]), each)
            yield from rows.batches(kind)
    trailers.check_end()
    if not trailers.messages:
        raise UnreadableInputError("holds no HL7 message", where=path.name, remedy="Every message starts with MSH|.")
    for each, distinct in repeated.items():
        if distinct.height:
            yield each, RawBatch(path, distinct)
    yield rows.notes(kind)


def _by_marks(segments: pl.DataFrame, name: str) -> list[Messages]:
    """The messages, together where they have the same marks.

    Raises:
        UnreadableInputError: there are more sets of marks than any sender uses.
    """
    inside = segments.filter(pl.col("msh").is_not_null())
    if inside["marks"].n_unique() > MOST_MARKS:
        raise UnreadableInputError("the headers of its messages differ in their separators", where=name)
    return [Messages(of_marks, _marks(sent)) for (sent,), of_marks in sorted(inside.group_by("marks"))]


def _marks(sent: str) -> Marks:
    """A header that is too short declares no marks; the recommended ones stand in."""
    return Marks(*(sent if len(sent) == len(Marks._fields) else f"{sent[:1] or '|'}^~\\&"))


def _add_rows(rows: GatheredRows, messages: Messages, profile: Profile) -> None:
    rows.counts["other_messages"] += messages.n_other_messages
    for kind in rows.kinds:
        if kind not in ROWS or not messages.has(*ROWS[kind].segments):
            continue
        found = ROWS[kind].rows(messages, profile)
        if kind == "lab":
            rows.counts["qc_rows_skipped"] += found.filter("is_control").height
            found = found.filter(~pl.col("is_control"))
        rows.add(kind, found.select(*(name for name in found.columns if name in NATIVE_COLUMNS[kind]), "source_row"))


def _distinct(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """One row of every person, of every column the last value; and every diagnosis once."""
    if kind == "diagnosis":
        return rows.unique([*NATIVE_COLUMNS[kind]], keep="first", maintain_order=True)
    last = pl.exclude("patient_id").drop_nulls().last()
    return rows.group_by("patient_id", maintain_order=True).agg(last).select(rows.columns)

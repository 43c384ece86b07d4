"""From the bytes of a file to segments: whole messages, their character sets, their place in the file, batch trailers."""

import itertools
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest.batches import Block, blocks
from neutro_screen.ingest.formats.hl7v2.codes import CHARACTER_SETS

ENVELOPE: Final = ("FHS", "BHS", "BTS", "FTS")
_BLOCK_BYTES: Final = 16 << 20
LONGEST_MESSAGE: Final = 64 << 20
_NEXT_MESSAGE: Final = re.compile(rb"[\r\n\x0b\x1c](?=MSH[^\sA-Za-z0-9])")
_MESSAGE_START: Final = re.compile(rb"(?:\A|[\r\n\x0b\x1c])(?=MSH[^\sA-Za-z0-9])")


def message_blocks(text: Path) -> Iterator[Block]:
    """The bytes of as many whole messages as fit into a block."""
    return blocks(text, _BLOCK_BYTES, _NEXT_MESSAGE, LONGEST_MESSAGE)


def decoded_segments(block: bytes) -> tuple[pl.Series, int]:
    """The segments of a block as text, and how many messages had to be decoded by guess (as Windows-1252)."""
    try:
        return _split(block.decode("utf-8-sig")), 0
    except UnicodeDecodeError:
        pass
    starts = [0, *(match.end() for match in _MESSAGE_START.finditer(block)), len(block)]
    segments, guessed = [pl.Series(dtype=pl.String)], 0
    for start, end in itertools.pairwise(starts):
        message = block[start:end]
        for encoding in (_declared_encoding(message), "utf-8"):
            try:
                decoded = message.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
        else:
            guessed += 1
            decoded = message.decode("cp1252", errors="replace")
        segments.append(_split(decoded))
    return pl.concat(segments), guessed


def _declared_encoding(message: bytes) -> str:
    """Python's name of the encoding that MSH-18 declares; ASCII where there is none or it is unknown."""
    header = re.split(rb"[\r\n]", message, maxsplit=1)[0]
    fields = header.split(header[3:4]) if header[3:4] else []
    declared = b"".join(fields[17:18]).split(b"~")[0].decode("ascii", "replace").strip().upper()
    return CHARACTER_SETS.get(declared, "ascii")


def _split(text: str) -> pl.Series:
    """Split at line ends that a segment follows; any other line end belongs to the text of the field before it."""
    lines = _lines(text)
    if lines is None:
        separators = set(re.findall(r"(?:\A|[\r\n\x0b])(?:MSH|FHS|BHS)([^\sA-Za-z0-9])", text))
        lines = pl.Series(re.split(rf"[\r\n\x0b\x1c](?={_segment_start(separators)})", text), dtype=pl.String)
    stripped = lines.str.strip_chars("\r\n\x0b\x1c\x1a\0 \ufeff")
    return stripped.filter(stripped != "")


def _lines(text: str) -> pl.Series | None:
    """The lines of a text in which every line is a segment, as almost always; else None."""
    ends = [mark for mark in "\r\n\x0b\x1c" if mark in text] or ["\r"]
    plain = re.sub(f"[{''.join(ends)}]+", ends[0], text) if len(ends) > 1 else text
    lines = pl.Series([plain]).str.split(ends[0]).explode()
    starts = lines.str.slice(0, 4).unique().to_list()
    separators = {match[1] for start in starts if (match := re.fullmatch(r"(?:MSH|FHS|BHS)([^\sA-Za-z0-9])", start))}
    is_segment = re.compile(_segment_start(separators))
    return lines if all(not start or is_segment.match(start) for start in starts) else None


def _segment_start(separators: Collection[str]) -> str:
    """What a segment begins with, by the field marks of a text's headers."""
    marks = re.escape("".join(sorted(separators)) or "|")
    return rf"[A-Z][A-Z0-9]{{2}}[{marks}]|(?:BTS|FTS|BHS)(?:[\r\n\x1c]|\Z)"


def placed(texts: pl.Series, first_row: int) -> pl.DataFrame:
    """Segments with their number, type, marks, and the latest MSH, PID, ORC and OBR before them in their message.

    Columns: source_row, text, type, start, msh (null outside a message), marks (MSH-1 and MSH-2), pid, orc, obr.
    """
    row, segment = pl.col("source_row"), pl.col("type")
    segments = pl.DataFrame({"text": texts}).select(
        pl.int_range(first_row, first_row + texts.len(), dtype=pl.Int64).alias("source_row"),
        "text",
        type=pl.col("text").str.slice(0, 3),
    )
    starts = segment.is_in(["MSH", *ENVELOPE])
    segments = segments.with_columns(
        start=pl.when(starts).then(row).forward_fill(),
        msh=pl.when(starts).then(pl.when(segment == "MSH").then(row).otherwise(0)).forward_fill(),
        marks=pl.when(segment == "MSH").then(pl.col("text").str.slice(3, 5)),
        **{name.lower(): pl.when(segment == name).then(row).forward_fill() for name in ("PID", "ORC", "OBR")},
    )
    return segments.with_columns(
        pl.when(pl.col("msh") > 0).then("msh").alias("msh"),
        pl.col("marks").forward_fill(),
        *(pl.when(pl.col(name) > pl.col("start")).then(name).alias(name) for name in ("pid", "orc", "obr")),
    )


def strays(segments: pl.DataFrame) -> pl.DataFrame:
    """Segments outside any message: source_row, text, and the patient_id of the PID before them, by the usual marks."""
    outside = segments.filter(pl.col("msh").is_null(), ~pl.col("type").is_in(ENVELOPE))
    return outside.select("source_row", "text", patient_id=_patient_in_pid().forward_fill().over("start"))


def cut_message(segments: pl.DataFrame) -> pl.DataFrame:
    """The first segment of a message of which only the start is here, and its patient: source_row, text, patient_id."""
    return segments.select(pl.col("source_row", "text").first(), patient_id=_patient_in_pid().drop_nulls().first())


def _patient_in_pid() -> pl.Expr:
    """The first identifier of a PID, by the usual marks; null in other segments."""
    fields = pl.col("text").str.split("|")
    listed = pl.coalesce(fields.list.get(number, null_on_oob=True).replace("", None) for number in (3, 2))
    return pl.when(pl.col("type") == "PID").then(listed.str.extract(r"^([^~^&]+)"))


class Trailers:
    """Counts messages and batches against BTS-1 and FTS-1."""

    def __init__(self, name: str) -> None:
        self.name, self.messages, self.batches = name, 0, 0
        self.in_batch: int | None = None
        self.in_file = False

    def count(self, segments: pl.DataFrame) -> None:
        """Count the messages of these segments and compare where a trailer is met.

        Raises:
            RefusedInputError: the counts do not fit.
        """
        is_message = segments["type"] == "MSH"
        envelopes = segments.select("type", "text", before=is_message.cum_sum()).filter(pl.col("type").is_in(ENVELOPE))
        counted = 0
        for segment, text, before in envelopes.iter_rows():
            self._count_messages(before - counted)
            counted = before
            announced = re.match(r"...[^\sA-Za-z0-9](\d{1,9})", text)
            if segment == "FHS":
                self.in_file, self.batches = True, 0
            elif segment == "BHS":
                self.in_batch, self.batches = 0, self.batches + 1
            elif segment == "BTS":
                self._compare("BTS-1", announced, self.in_batch, "messages")
                self.in_batch = None
            else:
                self._compare("FTS-1", announced, self.batches, "batches")
                self.in_file = False
        self._count_messages(int(is_message.sum()) - counted)

    def check_end(self) -> None:
        """Raises RefusedInputError if a batch or the file has no trailer."""
        if self.in_batch is not None or self.in_file:
            raise self._cut_off(f"the {'batch' if self.in_batch is not None else 'file'} has a header and no trailer")

    def _count_messages(self, more: int) -> None:
        self.messages += more
        self.in_batch = None if self.in_batch is None else self.in_batch + more

    def _compare(self, field: str, announced: re.Match[str] | None, counted: int | None, of_what: str) -> None:
        if announced and counted is not None and counted != int(announced.group(1)):
            raise self._cut_off(f"{field} announces {int(announced.group(1))} {of_what}, {counted} are there")

    def _cut_off(self, what: str) -> RefusedInputError:
        return RefusedInputError(what, where=self.name, remedy="The file was cut off or mixed up; send it again.")

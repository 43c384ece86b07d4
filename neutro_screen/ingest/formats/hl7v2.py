"""HL7 v2 messages: ORU/OUL results, RDE/RDS/RAS medication, PID patients, DG1 diagnoses.

Single messages, batches (FHS/BHS) and MLLP dumps. A small tolerant splitter: the known parsers see one segment where
lines end in a line feed, lose ``\\.br\\`` and are a hundred times slower. A regular expression finds the segments, polars
splits the fields; every row keeps the number of its segment in the file.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.batches import gathered
from neutro_screen.ingest.files import encoding_by_mark, head_of, transcoded, unpacked
from neutro_screen.ingest.frames import NATIVE_COLUMNS, Kind, Refused
from neutro_screen.ingest.layout import (
    LOINC_NUMBER,
    Table,
    detached,
    kept_local_code,
    no_text_rows,
    refused_text,
    with_off_scale,
)
from neutro_screen.ingest.profile import Profile
from neutro_screen.private import private_folder

#: MSH-18 (table 0211) -> Python's name of the encoding.
CHARACTER_SETS: Final = {
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
}
#: SPM-11 (table 0369): material that belongs to no patient: blind sample, calibrator, electronic or other control.
QC_ROLES: Final = ("B", "C", "E", "F", "O", "Q", "V")
RESULT_MESSAGES: Final = ("ORU", "OUL")
PHARMACY_MESSAGES: Final = ("RDE", "RDS", "RAS")
#: ADT events in which the record of MRG is merged into, or renamed to, the one of PID (HL7 v2.5 chapter 3). Merges of
#: accounts and visits (A35, A41, A42, A50) and moves of single visits (A43 to A45) are none.
MERGE_EVENTS: Final = ("A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47")
#: ORC-1 (table 0119), ORC-5 (0038) and RXA-20 (0322) in the words that the medication rules know.
ORDER_CONTROLS: Final = {
    "CA": "cancelled",
    "OC": "cancelled",
    "CR": "cancelled",
    "DC": "discontinued",
    "OD": "discontinued",
    "DR": "discontinued",
    "HD": "held",
    "OH": "held",
}
ORDER_STATUSES: Final = {
    "CA": "cancelled",
    "CM": "completed",
    "DC": "discontinued",
    "ER": "entered-in-error",
    "HD": "held",
}
ADMINISTRATION_STATUSES: Final = {"CP": "completed", "PA": "completed", "RE": "refused", "NA": "not administered"}
_BLOCK: Final = 16 << 20
_LONGEST_MESSAGE: Final = 64 << 20
MOST_MARKS: Final = 16
_MESSAGE_START: Final = re.compile(rb"(?:\A|[\r\n\x0b\x1c])(?=MSH[^\sA-Za-z0-9])")
_FIRST_SEGMENT: Final = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\x0b\s]*(?:MSH|FHS|BHS)[^\sA-Za-z0-9]")
#: YYYY[MM[DD[HH[MM[SS[.S]]]]]][+-ZZZZ] -> ISO 8601 step by step; what fits no step stays as it is.
_TIME_STEPS: Final = (
    (r"^([0-9]{10})([+-][0-9]{4})?$", "${1}0000${2}"),
    (r"^([0-9]{12})([+-][0-9]{4})?$", "${1}00${2}"),
    (
        r"^([0-9]{4})([0-9][0-9])([0-9][0-9])([0-9][0-9])([0-9][0-9])([0-9][0-9])((?:\.[0-9]+)?)([+-][0-9]{4})?$",
        "${1}-${2}-${3}T${4}:${5}:${6}${7}${8}",
    ),
    (r"^(.*T.*[+-][0-9][0-9])([0-9][0-9])$", "${1}:${2}"),
    (r"^([0-9]{4})([0-9][0-9])([0-9][0-9])(?:[+-][0-9]{4})?$", "${1}-${2}-${3}"),
    (r"^([0-9]{4})([0-9][0-9])$", "${1}-${2}"),
)
_BLANKS: Final[dict[str, str | None]] = {"": None, '""': None}


class Marks(NamedTuple):
    """The separators of a message (MSH-1, MSH-2)."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str


def recognises(path: Path) -> bool:
    """A file whose first segment is MSH, FHS or BHS, after a byte-order mark or MLLP byte if there is one."""
    return path.is_file() and _FIRST_SEGMENT.match(head_of(path).replace(b"\0", b"")) is not None


def read_hl7(path: Path, kind: Kind, profile: Profile) -> Iterator[tuple[Kind, Table]]:
    """Read one file of messages in pieces; with ``lab`` it brings every kind that is there, else the one asked for.

    Collected is OBX-14, else SPM-17, else OBR-7; resulted OBX-19, else OBR-22, else MSH-7. The specimen is SPM-2, else
    the order number (OBR-3, OBR-2), one for all orders of a message that were drawn at the same time. A ``<`` or ``>``
    in OBX-8 and the comparator of an SN value go in front of the value. Results of control material (SPM-11) are
    skipped and counted. What stands outside a message becomes ``refused``. People and diagnoses, which every message
    repeats, are kept until the end of the file.

    Raises:
        UnreadableInputError: no message in the file, a message longer than 64 MB, a damaged archive.
        RefusedInputError: the counts of BTS-1 or FTS-1 do not fit, or a batch has no end: the file was cut off.
    """
    return gathered(_pieces(path, kind, profile))


def _pieces(path: Path, kind: Kind, profile: Profile) -> Iterator[tuple[Kind, Table]]:
    wanted = tuple(_ROWS) if kind == "lab" else (kind,) if kind in _ROWS else ()
    repeated = {each: no_text_rows(each) for each in wanted if each in _REPEATED}
    counts: Counter[str] = Counter()
    batches = _Batches(path.name)
    with private_folder() as folder:
        text = unpacked(path, folder)
        if (marked := encoding_by_mark(head_of(text))) not in (None, "utf-8-sig"):
            text = transcoded(text, str(marked), folder)
        next_row = 1
        for texts, is_guessed in _blocks(text, path.name):
            segments = _placed(texts, next_row)
            next_row += len(texts)
            counts["messages_decoded_as_cp1252"] += is_guessed
            batches.count(segments)
            if refused := _outside(segments, path.name):
                yield kind, Table(path, no_text_rows(kind), refused)
            found: dict[Kind, list[pl.DataFrame]] = {each: [no_text_rows(each)] for each in wanted}
            for said, marks in _all_marks(segments, path.name).items():
                block = _Block(segments.filter(pl.col("marks") == said), marks)
                for each in wanted:
                    found[each].append(detached(_ROWS[each](block, profile)))
                counts.update(block.counts)
            for each, frames in found.items():
                rows = pl.concat(frames).sort("source_row")
                if each in repeated:
                    repeated[each] = _distinct(pl.concat([repeated[each], rows]), each)
                elif rows.height:
                    yield each, Table(path, rows)
    batches.check_end()
    if not batches.messages:
        raise UnreadableInputError("holds no HL7 message", where=path.name, remedy="Every message starts with MSH|.")
    for each, rows in repeated.items():
        if rows.height:
            yield each, Table(path, rows)
    notes = tuple(f"{name}:{count}" for name, count in sorted(counts.items()) if count)
    yield kind, Table(path, no_text_rows(kind), notes=notes)


def _blocks(text: Path, name: str) -> Iterator[tuple[list[str], int]]:
    """Segments of as many whole messages as fit into a block, and how many messages had to be decoded by guess."""
    held = b""
    with text.open("rb") as file:
        while chunk := file.read(_BLOCK):
            held += chunk
            starts = [match.end() for match in _MESSAGE_START.finditer(held)] if len(chunk) == _BLOCK else []
            if len(starts) > 1:
                yield _decoded(held[: starts[-1]])
                held = held[starts[-1] :]
            elif len(held) > _LONGEST_MESSAGE:
                raise UnreadableInputError("a message is longer than 64 MB", where=name, remedy="Is this an HL7 file?")
    if held:
        yield _decoded(held)


def _decoded(block: bytes) -> tuple[list[str], int]:
    try:
        return _segments(block.decode("utf-8-sig")), 0
    except UnicodeDecodeError:
        pass
    starts = [0, *(match.end() for match in _MESSAGE_START.finditer(block)), len(block)]
    segments, guessed = [], 0
    for start, end in itertools.pairwise(starts):
        message = block[start:end]
        header = re.split(rb"[\r\n]", message, maxsplit=1)[0]
        fields = header.split(header[3:4]) if header[3:4] else []
        declared = b"".join(fields[17:18]).split(b"~")[0].decode("ascii", "replace").strip().upper()
        for encoding in (CHARACTER_SETS.get(declared), "utf-8"):
            try:
                decoded = message.decode(encoding or "ascii")
                break
            except UnicodeDecodeError:
                continue
        else:
            guessed += 1
            decoded = message.decode("cp1252", errors="replace")
        segments += _segments(decoded)
    return segments, guessed


def _segments(text: str) -> list[str]:
    """Split at line ends that a segment follows; any other line end belongs to the text of the field before it."""
    separators = set(re.findall(r"(?:\A|[\r\n\x0b])(?:MSH|FHS|BHS)([^\sA-Za-z0-9])", text)) or {"|"}
    marks = re.escape("".join(sorted(separators)))
    split = re.split(rf"[\r\n\x0b\x1c](?=[A-Z][A-Z0-9]{{2}}[{marks}]|(?:BTS|FTS|BHS)(?:[\r\n\x1c]|\Z))", text)
    return [stripped for segment in split if (stripped := segment.strip("\r\n\x0b\x1c\x1a\0 \ufeff"))]


def _placed(texts: list[str], first_row: int) -> pl.DataFrame:
    """Segments with their number, type, and the latest MSH, PID, ORC and OBR before them in their message."""
    row, segment = pl.col("source_row"), pl.col("type")
    segments = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(
        pl.int_range(first_row, first_row + len(texts), dtype=pl.Int64).alias("source_row"),
        "text",
        type=pl.col("text").str.slice(0, 3),
    )
    starts = segment.is_in(["MSH", "FHS", "BHS", "BTS", "FTS"])
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


def _outside(segments: pl.DataFrame, name: str) -> list[Refused]:
    strays = segments.filter(pl.col("msh").is_null() & ~pl.col("type").is_in(["FHS", "BHS", "BTS", "FTS"]))
    return [
        Refused(name, row, "outside_message", refused_text(text))
        for row, text in strays.select("source_row", "text").iter_rows()
    ]


def _all_marks(segments: pl.DataFrame, name: str) -> dict[str, Marks]:
    distinct = segments.filter(pl.col("msh").is_not_null())["marks"].unique().sort().to_list()
    if len(distinct) > MOST_MARKS:
        raise UnreadableInputError("the headers of its messages differ in their separators", where=name)
    # A header that is too short has said nothing; the recommended marks stand in.
    return {said: Marks(*(said if len(said) == len(Marks._fields) else f"{said[:1] or '|'}^~\\&")) for said in distinct}


class _Batches:
    """Counts messages and batches against what the trailers BTS-1 and FTS-1 say."""

    def __init__(self, name: str) -> None:
        self.name, self.messages, self.batches = name, 0, 0
        self.in_batch: int | None = None
        self.in_file = False

    def count(self, segments: pl.DataFrame) -> None:
        listed = segments.filter(pl.col("type").is_in(["MSH", "FHS", "BHS", "BTS", "FTS"])).select("type", "text")
        for segment, text in listed.iter_rows():
            said = re.match(r"...[^\sA-Za-z0-9](\d{1,9})", text)
            if segment == "MSH":
                self.messages += 1
                self.in_batch = None if self.in_batch is None else self.in_batch + 1
            elif segment == "FHS":
                self.in_file, self.batches = True, 0
            elif segment == "BHS":
                self.in_batch, self.batches = 0, self.batches + 1
            elif segment == "BTS":
                self._compare("BTS-1", said, self.in_batch, "messages")
                self.in_batch = None
            else:
                self._compare("FTS-1", said, self.batches, "batches")
                self.in_file = False

    def check_end(self) -> None:
        if self.in_batch is not None or self.in_file:
            raise self._cut_off(f"the {'batch' if self.in_batch is not None else 'file'} has a header and no trailer")

    def _compare(self, field: str, said: re.Match[str] | None, counted: int | None, of_what: str) -> None:
        if said and counted is not None and counted != int(said.group(1)):
            raise self._cut_off(f"{field} announces {int(said.group(1))} {of_what}, {counted} are there")

    def _cut_off(self, what: str) -> RefusedInputError:
        return RefusedInputError(what, where=self.name, remedy="The file was cut off or mixed up; send it again.")


class _Block:
    """The segments of messages that share their marks, with access to fields by segment and number."""

    def __init__(self, segments: pl.DataFrame, marks: Marks) -> None:
        self.marks = marks
        self.segments = segments.with_columns(
            fields=pl.when(pl.col("type") == "MSH")
            .then(pl.concat_str(pl.lit("MSH" + marks.field), pl.col("text").str.slice(3)))
            .otherwise("text")
            .str.split(marks.field)
        )
        headers = (
            self.of("MSH")
            .select(
                "msh",
                message_type=self.component(self.field(9), 1).str.to_uppercase(),
                message_event=self.component(self.field(9), 2).str.to_uppercase(),
                message_at=hl7_time(self.component(self.field(7), 1)),
                sender=pl.coalesce(self.component(self.field(4), 1), self.component(self.field(3), 1)),
            )
            .collect()
        )
        self.segments = self.segments.join(headers, on="msh", how="left", maintain_order="left")
        kinds = headers["message_type"]
        known = kinds.is_in([*RESULT_MESSAGES, *PHARMACY_MESSAGES]).fill_null(True)
        self.counts = {"other_messages": int((~known).sum())}

    def of(self, *types: str) -> pl.LazyFrame:
        """The segments of these types."""
        return self.segments.lazy().filter(pl.col("type").is_in(types))

    def field(self, number: int) -> pl.Expr:
        """A field as sent, blank and the HL7 null ("") as null."""
        return pl.col("fields").list.get(number, null_on_oob=True).str.strip_chars().replace(_BLANKS)

    def first(self, field: pl.Expr) -> pl.Expr:
        """The first repetition."""
        return field.str.split(self.marks.repetition).list.get(0)

    def component(self, field: pl.Expr, number: int, subcomponent: int = 1) -> pl.Expr:
        """A component of the first repetition, unescaped, blank as null."""
        component = self.first(field).str.split(self.marks.component).list.get(number - 1, null_on_oob=True)
        text = component.str.split(self.marks.subcomponent).list.get(subcomponent - 1, null_on_oob=True)
        return self.text(text)

    def text(self, text: pl.Expr) -> pl.Expr:
        """Unescaped text, blank as null."""
        mark = self.marks.escape
        return (
            text.str.replace_many(
                {
                    f"{mark}F{mark}": self.marks.field,
                    f"{mark}S{mark}": self.marks.component,
                    f"{mark}T{mark}": self.marks.subcomponent,
                    f"{mark}R{mark}": self.marks.repetition,
                    f"{mark}E{mark}": mark,
                    f"{mark}.br{mark}": "\n",
                    f"{mark}.sp{mark}": "\n",
                    f"{mark}H{mark}": "",
                    f"{mark}N{mark}": "",
                    f"{mark}X0D{mark}": "\n",
                    f"{mark}X0A{mark}": "\n",
                    f"{mark}XB5{mark}": "\u00b5",
                }
            )
            .str.strip_chars()
            .replace(_BLANKS)
        )


def hl7_time(text: pl.Expr) -> pl.Expr:
    """An HL7 time in ISO 8601; any other text stays as it is."""
    for pattern, iso in _TIME_STEPS:
        text = text.str.replace(pattern, iso)
    return text


def _patient_ids(block: _Block, profile: Profile) -> pl.LazyFrame:
    """PID-3 by PID: pid, patient_id."""
    pid = block.of("PID").select("pid", listed=pl.coalesce(block.field(3), block.field(2)))
    return _picked_ids(pid, block, profile)


def _picked_ids(listed: pl.LazyFrame, block: _Block, profile: Profile) -> pl.LazyFrame:
    """Of the identifiers of a PID the one of the profile's authority, else the record number (MR), else PI, else the first."""
    each = (
        listed.with_columns(listed=pl.col("listed").str.split(block.marks.repetition))
        .explode("listed", empty_as_null=True)
        .select(
            "pid",
            patient_id=block.component(pl.col("listed"), 1),
            authority=block.component(pl.col("listed"), 4),
            type=block.component(pl.col("listed"), 5).str.to_uppercase(),
        )
        .filter(pl.col("patient_id").is_not_null())
        .with_row_index("position")
        .with_columns(rank=pl.col("type").replace_strict({"MR": 0, "PI": 1}, default=2, return_dtype=pl.Int64))
    )
    if profile.patient_authority is not None:
        each = each.filter(pl.col("authority") == profile.patient_authority)
    return (
        each.sort("pid", "rank", "position")
        .unique("pid", keep="first", maintain_order=True)
        .select("pid", "patient_id")
    )


def _notes(block: _Block) -> pl.LazyFrame:
    """NTE-3 joined per segment that the notes stand behind: source_row, note."""
    anchor = pl.when(pl.col("type") != "NTE").then("source_row").forward_fill()
    return (
        block.segments.lazy()
        .select("source_row", "type", "fields", anchor=anchor)
        .filter(pl.col("type") == "NTE")
        .select("anchor", note=block.text(block.field(3).str.replace_all(block.marks.repetition, "\n", literal=True)))
        .drop_nulls()
        .group_by("anchor", maintain_order=True)
        .agg(pl.col("note").str.join("\n"))
        .rename({"anchor": "source_row"})
    )


def _lab_rows(block: _Block, profile: Profile) -> pl.DataFrame:
    component, field = block.component, block.field
    notes = _notes(block)
    orders = _orders(block).join(
        notes.rename({"source_row": "obr", "note": "order_note"}), on="obr", how="left", maintain_order="left"
    )
    codes = [
        {
            "code": component(field(3), first),
            "text": component(field(3), first + 1),
            "system": component(field(3), first + 2),
        }
        for first in (1, 4)
    ]
    is_loinc = [
        code["system"].str.to_uppercase().is_in(["LN", "LOINC", "LNC"])
        | (code["system"].is_null() & code["code"].str.contains(LOINC_NUMBER))
        for code in codes
    ]
    loinc = pl.coalesce(*(pl.when(is_one).then(code["code"]) for code, is_one in zip(codes, is_loinc, strict=True)))
    local = pl.coalesce(
        *(pl.when(~is_one.fill_null(False)).then(code["code"]) for code, is_one in zip(codes, is_loinc, strict=True))
    )
    # The fields of a segment are a list; joins, which would copy it row by row, come after it has been read.
    said = (
        block.of("OBX")
        .filter(pl.col("message_type").is_in(RESULT_MESSAGES) | pl.col("message_type").is_null())
        .select(
            "pid",
            "obr",
            "source_row",
            "message_at",
            loinc=loinc,
            local=local,
            analyte_name=pl.coalesce(codes[0]["text"], codes[1]["text"], component(field(3), 9)),
            value=with_off_scale(_value(block), component(field(8), 1)),
            unit=_unit(block),
            reference=pl.coalesce(block.text(block.first(field(7))), pl.lit("")),
            own_status=field(11),
            observed_at=hl7_time(component(field(14), 1)),
            analysed_at=hl7_time(component(field(19), 1)),
            lab=pl.coalesce(component(field(23), 1), "sender"),
        )
    )
    reference = pl.col("reference")
    rows = (
        said.join(_patient_ids(block, profile), on="pid", how="left", maintain_order="left")
        .join(orders, on="obr", how="left", maintain_order="left")
        .join(notes, on="source_row", how="left", maintain_order="left")
        .select(
            "patient_id",
            "specimen_id",
            "loinc",
            "specimen_type",
            "source_row",
            "specimen_role",
            "analyte_name",
            "value",
            "unit",
            "lab",
            collected_at=pl.coalesce("observed_at", "specimen_at", "order_at"),
            resulted_at=pl.coalesce("analysed_at", "reported_at", "message_at"),
            local_code=kept_local_code(pl.col("local"), profile),
            reference_low=pl.coalesce(
                reference.str.extract(r"^\s*([\d.]+)\s*(?:-|\x{2013}|to)\s*[\d.]+"),
                reference.str.extract(r"^\s*>=?\s*([\d.]+)"),
            ),
            reference_high=pl.coalesce(
                reference.str.extract(r"^\s*[\d.]+\s*(?:-|\x{2013}|to)\s*([\d.]+)"),
                reference.str.extract(r"^\s*<=?\s*([\d.]+)"),
            ),
            status=pl.coalesce("own_status", pl.when(pl.col("order_status") != "A").then("order_status")),
            comment=pl.concat_str("note", "order_note", separator="\n", ignore_nulls=True).replace("", None),
        )
    )
    found = rows.collect(engine="in-memory")
    is_material = pl.col("specimen_role").is_in(QC_ROLES).fill_null(False)
    block.counts["qc_rows_skipped"] = found.filter(is_material).height
    return _all_columns(found.filter(~is_material).lazy(), "lab")


def _orders(block: _Block) -> pl.LazyFrame:
    """One row per OBR with what holds for its results: specimen, times, status."""
    component, field = block.component, block.field
    specimens = (
        block.of("SPM")
        .select(
            "obr",
            number=pl.coalesce(component(field(2), 2), component(field(2), 1)),
            specimen_type=pl.coalesce(component(field(4), 2), component(field(4), 9), component(field(4), 1)),
            specimen_role=component(field(11), 1).str.to_uppercase(),
            specimen_at=hl7_time(component(field(17), 1)),
        )
        .drop_nulls("obr")
        .unique("obr", keep="first", maintain_order=True)
    )
    orders = block.of("OBR").select(
        "obr",
        "msh",
        "pid",
        own=pl.coalesce(component(field(3), 1), component(field(2), 1)),
        drawn=field(7),
        order_at=hl7_time(component(field(7), 1)),
        reported_at=hl7_time(component(field(22), 1)),
        order_status=field(25).str.to_uppercase(),
        source=component(field(15), 1, 1),
    )
    # A panel and its differential are often two orders of one draw; apart they would make no count.
    draw = (pl.col("own").first().over("msh", "pid", "drawn"), pl.col("own"))
    orders = orders.with_columns(draw=pl.when(pl.col("drawn").is_not_null()).then(pl.coalesce(*draw)).otherwise("own"))
    return orders.join(specimens, on="obr", how="left", maintain_order="left").select(
        "obr",
        "specimen_at",
        "order_at",
        "reported_at",
        "order_status",
        "specimen_role",
        specimen_id=pl.coalesce("number", "draw"),
        specimen_type=pl.coalesce("specimen_type", "source"),
    )


def _value(block: _Block) -> pl.Expr:
    """OBX-5 as text, by OBX-2: SN joined, a coded value by its text, repetitions as lines; no text for ED and RP."""
    kind, whole = block.field(2).str.to_uppercase(), block.field(5)
    coded = pl.coalesce(*(block.component(whole, number) for number in (2, 9, 5, 1)))
    parts = block.first(whole).str.split(block.marks.component)
    numbers = pl.concat_str(
        *(parts.list.get(number, null_on_oob=True).fill_null("").str.strip_chars() for number in range(4))
    )
    lines = block.text(whole.str.replace_all(block.marks.repetition, "\n", literal=True))
    return (
        pl.when(kind.is_in(["ED", "RP"]))
        .then(None)
        .when(kind == "SN")
        .then(numbers.replace("", None))
        .when(kind.is_in(["CE", "CWE", "CNE", "CF"]))
        .then(coded)
        .otherwise(lines)
    )


def _unit(block: _Block) -> pl.Expr:
    """OBX-6. ``10^3/uL`` is often sent with its circumflex unescaped and then looks like two components."""
    unit = block.field(6)
    first, second = block.component(unit, 1), block.component(unit, 2)
    is_power = first.str.contains(r"^[xX*]?\s*10$") & second.str.contains(r"^\d+\s*/")
    return (
        pl.when(is_power.fill_null(False))
        .then(pl.concat_str(first, pl.lit("^"), second))
        .otherwise(pl.coalesce(first, second))
    )


def _medication_rows(block: _Block, profile: Profile) -> pl.DataFrame:
    """One row per RXE (order), RXD (dispense) or RXA (administration)."""
    component, field = block.component, block.field
    orders = block.of("ORC").select(
        "orc",
        control=field(1).str.to_uppercase().replace_strict(ORDER_CONTROLS, default=None, return_dtype=pl.String),
        order_status=field(5).str.to_uppercase().replace_strict(ORDER_STATUSES, default=None, return_dtype=pl.String),
        effective=hl7_time(pl.coalesce(component(field(15), 1), component(field(9), 1))),
    )
    timing = (
        block.of("TQ1")
        .select("orc", timed_from=hl7_time(component(field(7), 1)), timed_to=hl7_time(component(field(8), 1)))
        .drop_nulls("orc")
        .unique("orc", keep="first", maintain_order=True)
    )
    routes = (
        block.of("RXR")
        .select("orc", route=pl.coalesce(component(field(1), 2), component(field(1), 1)))
        .drop_nulls("orc")
        .unique("orc", keep="first", maintain_order=True)
    )
    lines = (
        block.of("RXE", "RXD", "RXA")
        .filter(pl.col("message_type").is_in(PHARMACY_MESSAGES))
        .join(_patient_ids(block, profile), on="pid", how="left", maintain_order="left")
        .join(orders, on="orc", how="left", maintain_order="left")
        .join(timing, on="orc", how="left", maintain_order="left")
        .join(routes, on="orc", how="left", maintain_order="left")
    )
    is_given = pl.col("type") == "RXA"
    drug = pl.when(is_given).then(field(5)).otherwise(field(2))
    systems = [component(drug, first + 2).str.to_uppercase() for first in (1, 4)]

    def coded(*names: str) -> pl.Expr:
        return pl.coalesce(
            *(
                pl.when(system.is_in(names)).then(component(drug, first))
                for system, first in zip(systems, (1, 4), strict=True)
            )
        )

    ordered_from = pl.coalesce("timed_from", hl7_time(component(field(1), 4)), "effective", "message_at")
    return _all_columns(
        lines.select(
            "patient_id",
            "route",
            "source_row",
            drug_name=pl.coalesce(*(component(drug, number) for number in (2, 5, 9, 1))),
            atc_code=coded("ATC", "WHOATC", "WHO ATC"),
            rxcui=coded("RXNORM", "RXN", "RXCUI"),
            start_date=pl.when(pl.col("type") == "RXE")
            .then(ordered_from)
            .otherwise(pl.coalesce(hl7_time(component(field(3), 1)), ordered_from)),
            end_date=pl.when(pl.col("type") == "RXE")
            .then(
                pl.coalesce(
                    "timed_to",
                    hl7_time(component(field(1), 5)),
                    pl.when(pl.col("control") == "discontinued").then("effective"),
                )
            )
            .when(is_given)
            .then(pl.coalesce(hl7_time(component(field(4), 1)), hl7_time(component(field(3), 1)))),
            dose=pl.when(is_given)
            .then(component(field(6), 1))
            .when(pl.col("type") == "RXD")
            .then(component(field(4), 1))
            .otherwise(component(field(3), 1)),
            dose_unit=pl.when(is_given)
            .then(pl.coalesce(component(field(7), 2), component(field(7), 1)))
            .when(pl.col("type") == "RXD")
            .then(component(field(5), 1))
            .otherwise(component(field(5), 1)),
            status=pl.coalesce(
                "control",
                pl.when(is_given).then(
                    field(20)
                    .str.to_uppercase()
                    .replace_strict(ADMINISTRATION_STATUSES, default=None, return_dtype=pl.String)
                ),
                "order_status",
            ),
        ),
        "medication",
    )


def _patient_rows(block: _Block, profile: Profile) -> pl.DataFrame:
    """One row per PID, and one per MRG of a merge: the prior record, replaced by the one of its PID."""
    component, field = block.component, block.field
    ids = _patient_ids(block, profile)
    people = block.of("PID").join(ids, on="pid", how="inner", maintain_order="left")
    merges = block.of("MRG").filter(pl.col("message_event").is_in(MERGE_EVENTS))
    prior = _picked_ids(merges.select("pid", listed=pl.coalesce(field(1), field(4))), block, profile)
    merged = (
        merges.select("pid", "source_row")
        .join(prior, on="pid", how="inner", maintain_order="left")
        .join(ids.rename({"patient_id": "replaced_by"}), on="pid", how="inner", maintain_order="left")
        # A record that replaces itself says nothing; in the canonical layout it would undo a merge.
        .filter(pl.col("patient_id") != pl.col("replaced_by"))
    )
    return pl.concat(
        [
            _all_columns(
                people.select(
                    "patient_id",
                    "source_row",
                    birth_date=hl7_time(component(field(7), 1)),
                    sex=component(field(8), 1),
                    ethnicity=pl.coalesce(component(field(22), 2), component(field(22), 1), component(field(10), 2)),
                ),
                "patient",
            ),
            _all_columns(merged.select("patient_id", "replaced_by", "source_row"), "patient"),
        ]
    )


def _diagnosis_rows(block: _Block, profile: Profile) -> pl.DataFrame:
    component, field = block.component, block.field
    coded = block.of("DG1").join(_patient_ids(block, profile), on="pid", how="inner", maintain_order="left")
    systems = {"I10": "icd10", "I10C": "icd10", "I9": "icd9", "I9C": "icd9", "SCT": "snomed"}
    system = pl.coalesce(component(field(3), 3), component(field(2), 1))
    return _all_columns(
        coded.select(
            "patient_id",
            "source_row",
            code=component(field(3), 1),
            system=system.str.to_uppercase().replace(systems),
            date=hl7_time(component(field(5), 1)),
        ).drop_nulls("code"),
        "diagnosis",
    )


_ROWS: Final[dict[Kind, Callable[[_Block, Profile], pl.DataFrame]]] = {
    "lab": _lab_rows,
    "medication": _medication_rows,
    "patient": _patient_rows,
    "diagnosis": _diagnosis_rows,
}


def _all_columns(rows: pl.LazyFrame, kind: Kind) -> pl.DataFrame:
    present = rows.collect_schema().names()
    missing = [pl.lit(None, pl.String).alias(column) for column in NATIVE_COLUMNS[kind] if column not in present]
    whole = rows.with_columns(*missing).select(*NATIVE_COLUMNS[kind], "source_row").sort("source_row")
    # The streaming engine takes half a second to prepare so many expressions, whatever the number of messages.
    return whole.collect(engine="in-memory")


#: What every message repeats.
_REPEATED: Final = ("patient", "diagnosis")


def _distinct(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """One row of every person, of every column what was said last; and every diagnosis once."""
    if kind == "diagnosis":
        said = [column for column in rows.columns if column != "source_row"]
        return rows.unique(said, keep="first", maintain_order=True)
    last = pl.exclude("patient_id").drop_nulls().last()
    return rows.group_by("patient_id", maintain_order=True).agg(last).select(rows.columns)

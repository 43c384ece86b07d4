"""Fields of HL7 messages by their place (OBX-14.1), and the table of which place feeds which column (fields.csv)."""

from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from neutro_screen.ingest.distinct import per_distinct
from neutro_screen.ingest.formats.hl7v2.codes import word

#: kind, segment, column, places (in the order in which they are looked at), read_as, note.
FIELDS: Final = pl.read_csv(Path(__file__).parent / "fields.csv", infer_schema=False)
#: A segment that other segments belong to or stand behind -> the column that holds its number in each of them.
_ANCHORS: Final = {
    "MSH": "msh",
    "PID": "pid",
    "PV1": "pid",
    "OBR": "obr",
    "SPM": "obr",
    "ORC": "orc",
    "TQ1": "orc",
    "RXR": "orc",
}
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
#: FIELDS by segment: column, places, read_as.
_LISTED: Final[dict[str, list[tuple[str, list[str], str]]]] = {}
for _segment, _column, _places, _read_as in FIELDS.select("segment", "column", "places", "read_as").iter_rows():
    _LISTED.setdefault(_segment, []).append((_column, _places.split(), _read_as))
_READ_BY_PLACE: Final = ("text", "time", "code", "order", "status", "person")
#: What is replaced and by what, as expressions: to make them anew of a dictionary for every field took a tenth of the reading.
_BLANKS: Final = pl.lit(pl.Series(["", '""'])), pl.lit(pl.Series([None, None], dtype=pl.String))


class Marks(NamedTuple):
    """The separators of a message (MSH-1, MSH-2)."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str


class Messages:
    """The segments of messages that share their marks, with access to fields by place."""

    def __init__(self, segments: pl.DataFrame, marks: Marks) -> None:
        self.marks = marks
        self._escaped = self._escapes()
        self.segments = segments
        self.has_offsets = False
        self._of_type = {str(name): of_type for (name,), of_type in segments.group_by("type", maintain_order=True)}
        if "MSH" in self._of_type:
            # The field mark of a header is its first field.
            counted = pl.concat_str(pl.lit("MSH" + marks.field), pl.col("text").str.slice(3))
            self._of_type["MSH"] = self._of_type["MSH"].with_columns(text=counted)
        message_type = self.component(self.field(9), 1).str.to_uppercase()
        self._headers = self.read(
            "MSH",
            "msh",
            carries=pl.when(message_type.is_not_null()).then(word(message_type, "MSH-9.1").fill_null("other")),
            event=word(self.component(self.field(9), 2), "MSH-9.2"),
            offset=self.component(self.field(7), 1).str.extract(r"^[0-9.]{8,}([+-][0-9]{4})$"),
        )
        self.has_offsets = self._headers["offset"].is_not_null().any()
        self.n_other_messages = self._headers.filter(carries="other").height

    def _escapes(self) -> tuple[pl.Expr, pl.Expr]:
        """What an escape sequence is sent as, and what each means."""
        meant = {
            "F": self.marks.field,
            "S": self.marks.component,
            "T": self.marks.subcomponent,
            "R": self.marks.repetition,
            "E": self.marks.escape,
            **dict.fromkeys((".br", ".sp", "X0D", "X0A"), "\n"),
            **dict.fromkeys(("H", "N"), ""),
            "XB5": "\u00b5",
        }
        escape = self.marks.escape
        sent = [f"{escape}{name}{escape}" for name in meant]
        return pl.lit(pl.Series([sent])), pl.lit(pl.Series([list(meant.values())]))

    def has(self, *types: str) -> bool:
        """Whether there is a segment of any of these types."""
        return any(name in self._of_type for name in types)

    def read(self, segment: str, *kept: str, **wanted: pl.Expr) -> pl.DataFrame:
        """The segments of a type: columns that are kept, and expressions over ``field``."""
        rows = self._of_type.get(segment, self.segments.clear())
        if self.has_offsets:
            rows = rows.join(self._headers.select("msh", "offset"), on="msh", how="left", maintain_order="left")
        fields = rows.select(text=pl.col("text").str.split(self.marks.field))["text"]
        inputs = {name for expression in wanted.values() for name in expression.meta.root_names()} - {"offset"}
        rows = rows.with_columns(
            fields.list.get(_number(name), null_on_oob=True).alias(name) for name in sorted(inputs)
        )
        return per_distinct(rows, kept, wanted)

    def rows(self, segment: str, **own: pl.Expr) -> pl.DataFrame:
        """One row per segment of a type.

        Its columns are named by their places: the places of fields.csv in the segment itself and in those that it belongs
        to or that stand with it (of several the first); ``own`` are further expressions over the segment's fields.
        """
        anchors = ("source_row", "pid", "msh", "orc", "obr")
        rows = self.read(segment, *anchors, **self._places(segment, segment), **own)
        rows = rows.join(
            self._headers.select("msh", "carries", "event"), on="msh", how="left", validate="m:1", maintain_order="left"
        )
        for other, anchor in _ANCHORS.items():
            places = self._places(segment, other)
            if other != segment and places:
                beside = self.read(other, anchor, **places).drop_nulls(anchor)
                if other.lower() != anchor:
                    beside = beside.unique(anchor, keep="first", maintain_order=True)
                rows = rows.join(beside, on=anchor, how="left", maintain_order="left")
        return rows

    def identifiers(self, segment: str, place: str | None = None) -> pl.Expr:
        """The field that lists the identifiers of a PID or MRG, with all repetitions: ``place``, else that of the table."""
        (listed,) = FIELDS.filter(segment=segment, column="patient_id")["places"]
        return pl.coalesce(*(self.field(int(each.partition("-")[2])) for each in (place or listed).split()))

    def _places(self, of_rows: str, segment: str) -> dict[str, pl.Expr]:
        return {place: self._read(place, read_as) for place, read_as in _read_from(of_rows, segment).items()}

    def _read(self, place: str, read_as: str) -> pl.Expr:
        number, _, component = place.partition("-")[2].partition(".")
        field = self.field(int(number))
        text = self.component(field, int(component)) if component else field
        return self.time(text) if read_as == "time" else word(text, place) if read_as == "code" else text

    def time(self, text: pl.Expr) -> pl.Expr:
        """A time in ISO 8601. The offset of MSH-7 holds for all times of the message that have none of their own."""
        time = hl7_time(text)
        if not self.has_offsets:
            return time
        is_without = time.str.contains(r"T[0-9:.]+$") & pl.col("offset").is_not_null()
        return pl.when(is_without).then(pl.concat_str(time, "offset")).otherwise(time)

    def field(self, number: int) -> pl.Expr:
        """A field as sent, blank and the HL7 null ("") as null; for ``read``."""
        return pl.col(f"field {number}").str.strip_chars().replace(*_BLANKS)

    def first(self, field: pl.Expr) -> pl.Expr:
        """The first repetition."""
        return field.str.split(self.marks.repetition).list.get(0)

    def component(self, field: pl.Expr, number: int) -> pl.Expr:
        """A component of the first repetition, of it the first subcomponent, unescaped, blank as null."""
        component = self.first(field).str.split(self.marks.component).list.get(number - 1, null_on_oob=True)
        return self.text(component.str.split(self.marks.subcomponent).list.get(0))

    def lines(self, field: pl.Expr) -> pl.Expr:
        """All repetitions as lines of one text."""
        return self.text(field.str.replace_all(self.marks.repetition, "\n", literal=True))

    def text(self, text: pl.Expr) -> pl.Expr:
        """Unescaped text, blank as null."""
        return text.str.replace_many(*self._escaped).str.strip_chars().replace(*_BLANKS)


def columns(segment: str, *read_as: str) -> dict[str, pl.Expr]:
    """Column -> the first of its places that is there, for the columns of fields.csv that are read in these ways."""
    meant = read_as or ("text", "time", "code")
    return {column: pl.coalesce(places) for column, places, way in _LISTED[segment] if way in meant}


def _number(field: str) -> int:
    """The number in the name of a column that ``Messages.field`` reads."""
    return int(field.removeprefix("field "))


def _read_from(of_rows: str, segment: str) -> dict[str, str]:
    """The places in ``segment`` that rows of another (or the same) segment are read from, and how each is read."""
    return {
        place: read_as
        for _, places, read_as in _LISTED[of_rows]
        if read_as in _READ_BY_PLACE
        for place in places
        if place.startswith(f"{segment}-")
    }


def hl7_time(text: pl.Expr) -> pl.Expr:
    """An HL7 time in ISO 8601; any other text stays as it is."""
    for pattern, iso in _TIME_STEPS:
        text = text.str.replace(pattern, iso)
    return text

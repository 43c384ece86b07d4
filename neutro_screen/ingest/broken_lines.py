"""Lines that cannot be split into columns: each is refused, and what can be read of it all the same names its patient."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from neutro_screen.ingest.frames import Refused
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.times import parse_times

#: Why a line of a laboratory file is refused as a whole. Its patient, where it names one, cannot be assessed (ANC-9b).
BROKEN_LINE_REASONS: Final = (
    "too_few_fields",
    "too_many_fields",
    "ragged_line",
    "broken_quotes",
    "undecodable_text",
    "zero_bytes",
    "lone_carriage_return",
    "line_too_long",
    "message_too_long",
    "broken_json",
    "outside_message",
)
_LONGEST_TEXT: Final = 2_000
_IDS_LOOKED_AT: Final = 10_000
_LONGEST_ID: Final = 64


class BrokenLine(NamedTuple):
    """A refused line: its number, the reason, its text, and the fields that can be read, by native column."""

    source_row: int
    reason: str
    text: str
    fields: Mapping[str, str] = {}

    def lower_case(self) -> "BrokenLine":
        """The same line, the names of its fields in lower case."""
        return self._replace(fields={name.lower(): text for name, text in self.fields.items()})

    def named(self, columns: Mapping[str, Sequence[str]]) -> "BrokenLine":
        """The same line, its fields under the native names: native column -> the source's columns."""
        native = {
            name: " ".join(self.fields[own] for own in owns)
            for name, owns in columns.items()
            if owns and all(own in self.fields for own in owns)
        }
        return self._replace(fields=native)


def refused_lines(
    lines: Sequence[BrokenLine], source_file: str, patient_ids: pl.Series, profile: Profile
) -> list[Refused]:
    """The lines as refused rows, with patient, specimen and time where they can be read.

    ``patient_ids`` are those of the rows that were read: a text that looks like none of them (``** End of report **``)
    is no patient.
    """
    if not lines:
        return []
    is_patient = _Pattern(patient_ids)
    times = parse_times(
        pl.Series([line.fields.get("collected_at") for line in lines], dtype=pl.String),
        profile.time_zone,
        profile.datetime_formats,
    ).utc
    return [
        _refused(line, source_file, is_patient, collected_at) for line, collected_at in zip(lines, times, strict=True)
    ]


def refused_text(text: str) -> str:
    """The text of a refused row, cut where it is longer than anyone reads."""
    return text[:_LONGEST_TEXT]


def _refused(line: BrokenLine, source_file: str, is_patient: "_Pattern", collected_at: datetime | None) -> Refused:
    patient = (line.fields.get("patient_id") or "").strip()
    # A line with a collection time in its place is a row, whatever its identifier looks like.
    if not (0 < len(patient) <= _LONGEST_ID) or (collected_at is None and not is_patient.fits(patient)):
        return Refused(source_file, line.source_row, line.reason, refused_text(line.text))
    return Refused(
        source_file,
        line.source_row,
        line.reason,
        refused_text(line.text),
        patient_id=patient,
        specimen_id=(line.fields.get("specimen_id") or "").strip() or None,
        collected_at=collected_at,
    )


class _Pattern:
    """What the identifiers of a file look like: the kinds of characters in them."""

    def __init__(self, identifiers: pl.Series) -> None:
        known = identifiers.drop_nulls().head(_IDS_LOOKED_AT).unique()
        self.kinds = set().union(*map(_kinds, known)) if known.len() else _kinds("Aa0-_./")
        self.have_digits = bool(known.str.contains(r"\d").all())

    def fits(self, text: str) -> bool:
        has_digit = re.search(r"\d", text) is not None
        return _kinds(text) <= self.kinds and (has_digit or not self.have_digits)


def _kinds(text: str) -> set[str]:
    """Letter, digit, and every other character by itself."""
    return {"letter" if letter.isalpha() else "digit" if letter.isdigit() else letter for letter in text}

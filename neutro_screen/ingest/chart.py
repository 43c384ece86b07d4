"""Medication, patient, diagnosis and event rows that cannot be used, or not wholly: refused with a reason, or counted.

A row without what it is for (a day that can be read, a drug, a known kind of event) is refused with its text. A row that
lacks less is kept, since losing a drug or a person would lose more; how many there are is a note of the file.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import polars as pl

from neutro_schemas import EVENTS
from neutro_screen.ingest.broken_lines import refused_text
from neutro_screen.ingest.frames import NATIVE_COLUMNS, Kind, Refused
from neutro_screen.recognition.controls import CONTROL_SPECIMEN
from neutro_screen.text import filled

#: The reason for a title or footer.
NO_ROW: Final = "title_or_footer"
#: One of these makes a row one of the laboratory.
_OF_A_RESULT: Final = (
    "loinc",
    "analyte_name",
    "local_code",
    "value",
    "status",
    "result_id",
    "collected_at",
    "resulted_at",
)
#: Words with blanks between them, or a frame of signs: ** End of report **, ===, Total rows.
_NO_IDENTIFIER: Final = r"\s|^[^\p{L}\p{N}]|[^\p{L}\p{N}]$"


class ChartRows(NamedTuple):
    """Rows in the canonical shape, those that are refused, and notes such as ``unreadable_end_date_rows:3``."""

    rows: pl.DataFrame
    refused: Sequence[Refused]
    notes: tuple[str, ...]


def usable_rows(kind: Kind, sent: pl.DataFrame, typed: pl.DataFrame, constants: Collection[str] = ()) -> ChartRows:
    """Split what was sent (native layout, text) by what became of it (``typed``, the same rows in the same order).

    ``constants`` are the columns whose value is not the row's own but the profile's.
    """
    both = pl.concat([typed, sent.select(pl.all().name.prefix("sent_"))], how="horizontal")
    counted = both.select(pl.when(is_odd).then(1).sum().alias(name) for name, is_odd in ODDITIES[kind].items())
    notes = tuple(
        f"{name}_rows:{count}" for name, count in (counted.row(0, named=True) if counted.width else {}).items() if count
    )
    judged = both.select(
        "source_file",
        "source_row",
        reason=pl.coalesce(
            *(pl.when(is_refused).then(pl.lit(reason)) for reason, is_refused in REASONS[kind].items()),
            pl.when(_is_no_row(kind, constants)).then(pl.lit(NO_ROW)),
        ),
    )
    is_refused = judged["reason"].is_not_null()
    if not is_refused.any():
        return ChartRows(typed, (), notes)
    as_sent = pl.struct(pl.col(f"sent_{column}").alias(column) for column in NATIVE_COLUMNS[kind]).struct.json_encode()
    texts = both.filter(is_refused).select(as_sent.alias("text"), "patient_id")
    refused = [
        Refused(file, row, reason, refused_text(text), patient_id=None if reason == NO_ROW else patient)
        for (file, row, reason), (text, patient) in zip(
            judged.filter(is_refused).iter_rows(), texts.iter_rows(), strict=True
        )
    ]
    return ChartRows(typed.filter(~is_refused), refused, notes)


def _is_no_row(kind: Kind, constants: Collection[str]) -> pl.Expr:
    """A title or footer that an export spreads over the columns of a row: a text in the patient's place and nothing else.

    A laboratory row needs a test, a value or a time; a patient may be nothing but an identifier, if it can be one.
    """
    if kind == "patient":
        others = [pl.col(f"sent_{column}").is_null() for column in NATIVE_COLUMNS[kind] if column != "patient_id"]
        return pl.all_horizontal(others) & pl.col("patient_id").str.contains(_NO_IDENTIFIER)
    if kind != "lab":
        return pl.lit(False)
    own = [column for column in _OF_A_RESULT if column not in constants]
    is_bare = pl.all_horizontal(pl.col(f"sent_{column}").is_null() for column in own)
    return is_bare & pl.col("patient_id").is_not_null()


def _is_unreadable(column: str, typed: str | None = None) -> pl.Expr:
    return pl.col(f"sent_{column}").is_not_null() & pl.col(typed or column).is_null()


REASONS: Final[dict[Kind, dict[str, pl.Expr]]] = {
    "lab": {},
    "medication": {"no_drug_name": pl.all_horizontal(filled(pl.col("drug_name", "atc_code", "rxcui")).is_null())},
    "patient": {},
    "diagnosis": {},
    "event": {
        "unreadable_date": _is_unreadable("date", "occurred_at"),
        "unknown_event": pl.col("event").is_not_null() & ~pl.col("event").is_in(EVENTS),
    },
}
ODDITIES: Final[dict[Kind, dict[str, pl.Expr]]] = {
    # Known by the number in the patient's or specimen's place; not screened.
    "lab": {"control_material": pl.col("specimen_type") == CONTROL_SPECIMEN},
    "medication": {
        # Both: taken, since when is not known (rules/course/given.py).
        "no_start_date": pl.col("start_date").is_null() & pl.col("start_as_sent").is_null(),
        "unreadable_start_date": pl.col("start_as_sent").is_not_null(),
        # Whether it is still given is not known (rules/causes/exposures.py).
        "unreadable_end_date": pl.col("end_as_sent").is_not_null(),
        # Counts as one day (rules/causes/exposures.py).
        "end_before_start": pl.col("end_date") < pl.col("start_date"),
    },
    "patient": {
        "unreadable_birth_date": _is_unreadable("birth_date"),
        "unreadable_duffy_null": _is_unreadable("duffy_null"),
        "unreadable_death_date": _is_unreadable("death_date"),
    },
    "diagnosis": {"unreadable_date": _is_unreadable("date")},
    "event": {},
}

"""Medication, patient, diagnosis and event rows that cannot be used, or not wholly: refused with a reason, or counted.

A row without what it is for (a day that can be read, a drug, a known kind of event) is refused with its text. A row that
lacks less is kept, since losing a drug or a person would lose more; how many there are is a note of the file.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from neutro_schemas import Event
from neutro_screen.ingest.batches import refused_text
from neutro_screen.ingest.frames import NATIVE_COLUMNS, Kind, Refused

_EVENTS: Final = tuple(Event.to_schema().columns["event"].checks[0].statistics["allowed_values"])


class ChartRows(NamedTuple):
    """Rows in the canonical shape, those that are refused, and notes such as ``unreadable_end_date_rows:3``."""

    rows: pl.DataFrame
    refused: Sequence[Refused]
    notes: tuple[str, ...]


def usable_rows(kind: Kind, sent: pl.DataFrame, typed: pl.DataFrame) -> ChartRows:
    """Split what was sent (native layout, text) by what became of it (``typed``, the same rows in the same order)."""
    both = pl.concat([typed, sent.select(pl.all().name.prefix("sent_"))], how="horizontal")
    counted = both.select(pl.when(is_odd).then(1).sum().alias(name) for name, is_odd in ODDITIES[kind].items())
    notes = tuple(
        f"{name}_rows:{count}" for name, count in (counted.row(0, named=True) if counted.width else {}).items() if count
    )
    if not REASONS[kind]:
        return ChartRows(typed, (), notes)
    reasons = [pl.when(is_refused).then(pl.lit(reason)) for reason, is_refused in REASONS[kind].items()]
    judged = both.select(
        "source_file",
        "source_row",
        reason=pl.coalesce(*reasons),
        row=pl.struct(pl.col(f"sent_{column}").alias(column) for column in NATIVE_COLUMNS[kind]).struct.json_encode(),
    )
    refused = [
        Refused(file, row, reason, refused_text(text))
        for file, row, reason, text in judged.filter(pl.col("reason").is_not_null()).iter_rows()
    ]
    return ChartRows(typed.filter(judged["reason"].is_null()), refused, notes)


def _is_unreadable(column: str, typed: str | None = None) -> pl.Expr:
    return pl.col(f"sent_{column}").is_not_null() & pl.col(typed or column).is_null()


REASONS: Final[dict[Kind, dict[str, pl.Expr]]] = {
    "lab": {},
    "medication": {
        "unreadable_start_date": _is_unreadable("start_date"),
        "no_drug_name": pl.all_horizontal(
            pl.col("drug_name", "atc_code", "rxcui").str.strip_chars().replace("", None).is_null()
        ),
    },
    "patient": {},
    "diagnosis": {},
    "event": {
        "unreadable_date": _is_unreadable("date", "occurred_at"),
        "unknown_event": pl.col("event").is_not_null() & ~pl.col("event").is_in(_EVENTS),
    },
}
ODDITIES: Final[dict[Kind, dict[str, pl.Expr]]] = {
    "lab": {},
    "medication": {
        # An end that cannot be read counts as none: the exposure stays open.
        "unreadable_end_date": _is_unreadable("end_date"),
        # Counts as one day (rules/exposures.py).
        "end_before_start": pl.col("end_date") < pl.col("start_date"),
    },
    "patient": {
        "unreadable_birth_date": _is_unreadable("birth_date"),
        "unreadable_duffy_null": _is_unreadable("duffy_null"),
    },
    "diagnosis": {"unreadable_date": _is_unreadable("date")},
    "event": {},
}

"""What all steps know of rows: their tables, what makes two the same, where they were read and whose they are."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from neutro_schemas import Diagnosis, Event, Medication, Patient, RejectedRow
from neutro_screen.ingest import Kind
from neutro_screen.store.schema import TABLES
from neutro_screen.validate import dtypes, in_shape

#: What is known of a patient besides the laboratory: kind -> contract.
CHART: Final[Mapping[Kind, Any]] = {
    "medication": Medication,
    "patient": Patient,
    "diagnosis": Diagnosis,
    "event": Event,
}
#: The tables of what was received of a patient.
HISTORY: Final = ("lab_result", "no_result", "rejected_row", "request", *CHART)
#: What makes two laboratory rows the same row: everything but where they were read. No two stored results are equal in
#: it (``history_step``), so that it is the key of a result. The place of reading is none: two files of one name, in two
#: folders, have a line 2 each.
IDENTITY: Final = (
    "patient_id",
    "specimen_id",
    "collected_at",
    "resulted_at",
    "analyte",
    "method",
    "value",
    "comparator",
    "value_text",
    "status",
    "lab",
)
#: Where a row was read, as far as the name of its file says; never a key.
PLACE: Final = ("source_file", "source_row", "run_id")


def identity(table: str) -> list[str]:
    """The columns that make two rows of a table the same, wherever they were read."""
    if table == "lab_result":
        return list(IDENTITY)
    return [name for name in dtypes(TABLES[table]) if name not in ("source_file", "source_row")]


def distinct(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """One of every set of identical rows, the first by place of reading.

    The first columns tell nearly all rows apart; all are compared only of the few that are alike in these. Wide rows are
    moved once, by their numbers, into one piece: polars gathers rows out of several pieces five times as slowly.
    """
    same = identity(table)
    alike = frame.select(pl.struct(same[:_TELLING]).hash()).to_series().is_duplicated()
    few = frame.filter(alike).with_columns(place=alike.arg_true())
    repeated = few.filter(pl.struct(same).is_duplicated())
    if not repeated.height:
        return frame
    places = ["source_file", "source_row"]
    rest = [name for name in frame.columns if name not in places]
    once = repeated.sort(*places, *rest).unique(same, keep="first", maintain_order=True)["place"]
    others = pl.int_range(frame.height, dtype=pl.UInt32, eager=True)
    kept = pl.concat([others.filter(~others.is_in(repeated["place"].implode())), once], rechunk=True)
    return frame[kept]


#: Of the columns that make two rows the same so many are looked at first.
_TELLING: Final = 5


def patients_of(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The patients (patient_id) of all these frames, sorted; rows that name none are left out."""
    named = [frame.select("patient_id").drop_nulls().unique() for frame in frames]
    return pl.concat(named).unique().sort("patient_id")


def of_run(rows: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """The rows with this run as the one that brought them (run_id)."""
    return rows.with_columns(run_id=pl.lit(run_id, pl.String))


def rejected_rows(rows: pl.DataFrame, kind: str, as_read: Iterable[str | pl.Expr]) -> pl.DataFrame:
    """Refused rows (with ``reason`` and ``column``) as ``RejectedRow``, with the columns ``as_read`` as JSON."""
    absent: dict[str, pl.DataType] = {
        "specimen_id": pl.String(),
        "collected_at": pl.Datetime("us"),
        "analyte": pl.String(),
    }
    content = rows.select(*as_read).drop("source_file", "source_row")
    return in_shape(
        rows.with_columns(
            *(pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name not in rows.columns),
            kind=pl.lit(kind),
            scope=pl.lit("row"),
            row=content.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
        ),
        RejectedRow,
    )

"""What the spec tests speak: a laboratory's rows as a plain table in, what the screen says per specimen or patient out."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl

from neutro_schemas import LabResult, ScreenedResult
from neutro_screen.ingest.frames import NATIVE_COLUMNS
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.typed_rows import lab_rows
from neutro_screen.pipeline.screen import unusable_results
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.counts.results import JudgedRows, judge_rows
from neutro_screen.rules.protocol import ScreenResult, screen
from neutro_screen.validate import Split, in_shape, split_valid
from tests.spec.tables import table

NIGHT = datetime(2026, 3, 1, 2)
_SHORT = {
    "patient": "patient_id",
    "specimen": "specimen_id",
    "collected": "collected_at",
    "resulted": "resulted_at",
    "name": "analyte_name",
    "low": "reference_low",
    "high": "reference_high",
}


def lab_table(text: str) -> pl.DataFrame:
    """Rows of a table whose columns are parted by ``|``; short column names allowed, blank or ``-`` = empty.

    Patient and specimen are 1 and S1, the collection time 2026-02-01 08:00 and the unit 10*9/L where not given.
    """
    rows = table(text)
    usual = {"patient_id": "1", "specimen_id": "S1", "collected_at": "2026-02-01 08:00", "unit": "10*9/L"}
    named = rows.rename({name: _SHORT.get(name, name) for name in rows.columns})
    missing = [name for name in NATIVE_COLUMNS["lab"] if name not in named.columns]
    return named.with_columns(pl.lit(usual.get(name), pl.String).alias(name) for name in missing).select(
        *NATIVE_COLUMNS["lab"], source_file=pl.lit("spec"), source_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    )


def side_by_side(texts: Iterable[str]) -> pl.DataFrame:
    """Tables of one patient each as the rows of one night: patients 01, 02, …, each of a laboratory of its own."""
    tables = [
        lab_table(text).with_columns(patient_id=pl.lit(f"{number:02}"), lab=pl.lit(f"L{number}"))
        for number, text in enumerate(texts, start=1)
    ]
    return pl.concat(tables).with_columns(source_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))


def judged(
    rows_in: str | pl.DataFrame, *, as_of: datetime = NIGHT, profile: Profile | None = None, **chart: Any
) -> tuple[JudgedRows, Split]:
    """The rows judged, and the screened ones split into accepted and rejected."""
    profile = profile or Profile()
    rows = judge_rows(
        lab_rows(lab_table(rows_in) if isinstance(rows_in, str) else rows_in, profile),
        load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units, profile.specimens),
        load_policy(),
        as_of=as_of,
        decimal_mark=profile.decimal_mark,
        **chart,
    )
    return rows, split_valid(rows.results, ScreenedResult)


def screened(rows_in: str | pl.DataFrame, *, as_of: datetime = NIGHT, **chart: pl.DataFrame) -> ScreenResult:
    """What the screen says of a laboratory's rows: a table as text, or several ``side_by_side``."""
    patients = chart.get("patients")
    rows, split = judged(rows_in, as_of=as_of, patients=patients)
    return screen(
        in_shape(split.accepted, LabResult),
        as_of=as_of,
        unusable=unusable_results(split.rejected, rows.no_results.with_columns(kind="no_result"), as_of),
        **chart,
    )


def anc_of(text: str, **more: Any) -> dict[str, Any]:
    """The ANC row of the only specimen of a table."""
    rows = screened(text, **more).anc.to_dicts()
    assert len(rows) == 1, f"{len(rows)} specimens have a count"
    return rows[0]


def reasons(rows_in: str | pl.DataFrame, **more: Any) -> list[str]:
    """Why rows were refused, in their order."""
    return judged(rows_in, **more)[1].rejected["reason"].to_list()


def notes(row: dict[str, Any]) -> set[str]:
    """The notes of an ANC row."""
    return set((row["notes"] or "").split(", ")) - {""}

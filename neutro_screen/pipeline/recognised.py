"""What the run's tests were recognised as: the table of the store, its warnings, and the run that is refused for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas.store import RecognitionTable, RunWarning
from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest import UNREADABLE, load_profile
from neutro_screen.pipeline.handover import Ingested
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.recognition.table import in_words, recognition, unrecognised
from neutro_screen.reference import load_reference
from neutro_screen.store.rows import insert
from neutro_screen.validate import dtypes


def recognised(settings: RunOptions, ingested: Ingested, counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The recognition table of a run (``RecognitionTable`` without run_id) from what its partitions counted."""
    profile = load_profile(settings.profile)
    reference = load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units)
    total = pl.concat(counts).group_by("test_no").agg(pl.col("rows", "patients").sum())
    return recognition(ingested.origins, total, reference)


def check_recognised(table: pl.DataFrame, settings: RunOptions) -> None:
    """Refuse a strict run in which a test that may feed the ANC was not understood.

    Raises:
        RefusedInputError: naming the tests and the lines of the profile that settle them.
    """
    found = unrecognised(table)
    if settings.strict and found.height:
        told = [in_words(row) for row in found.head(_MOST_NAMED).iter_rows(named=True)]
        lines = found["profile_line"].drop_nulls().head(_MOST_NAMED)
        raise RefusedInputError(
            f"{found.height} tests that may feed the ANC were not recognised: " + "; ".join(told),
            remedy="Nothing was published (--strict). Lines for the top of the profile: " + " ; ".join(lines),
        )


def publish_recognition(
    connection: DuckDBPyConnection, table: pl.DataFrame, refused: pl.DataFrame, run_id: str
) -> pl.DataFrame:
    """Store the table and what is warned of; returns the warnings (``RunWarning`` without run_id), ``refused`` first."""
    insert(connection, "recognition", table.with_columns(run_id=pl.lit(run_id)).select(*dtypes(RecognitionTable)))
    warnings = pl.concat([refused, recognition_warnings(table)])
    insert(connection, "run_warning", warnings.with_columns(run_id=pl.lit(run_id)))
    return warnings


def recognition_warnings(table: pl.DataFrame) -> pl.DataFrame:
    """A warning for every test that was not understood and may feed the ANC (``RunWarning`` without run_id).

    A name of which no word was understood only warns where the laboratory sends no count that was understood.
    """
    counted = table.filter(pl.col("certainty") == "certain", pl.col("analyte").is_in(["wbc", "neut_abs", "neut_pct"]))
    has_none = ~pl.col("lab").is_in(counted["lab"].unique().implode(), nulls_equal=True)
    found = unrecognised(table).filter((pl.col("certainty") != "unknown") | has_none)
    columns = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}
    rows = [
        {"kind": "unrecognised", "lab": row["lab"], "detail": in_words(row), "since": None}
        for row in found.head(_MOST_WARNED).iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=columns)


def refused_files(others: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """A warning for every kind of file of which much was refused: as loud as a file that is missing."""
    columns = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}
    rows = []
    for kind, account in others.items():
        refused = account["rows_in"] - account["accepted"]
        if refused and (not account["accepted"] or refused > _MUCH * account["rows_in"]):
            why = ", ".join(f"{reason} {n}" for reason, n in account["refused"].items())
            detail = f"{refused:,} of {account['rows_in']:,} {kind} rows were refused ({why}): they are missing below"
            rows.append({"kind": "refused_file", "lab": None, "detail": detail, "since": None})
    return pl.DataFrame(rows, schema=columns)


def unreadable_files(files: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A warning for the files of an archive that could not be read: their rows are missing, those of the others are not."""
    columns = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}
    named = [file["name"] for file in files if UNREADABLE in file["notes"]]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    listed = ", ".join(named[:_MOST_NAMED]) + more
    detail = f"{len(named)} of {len(files)} files could not be read ({listed}): what they hold is missing below"
    row = {"kind": "unreadable_file", "lab": None, "detail": detail, "since": None}
    return pl.DataFrame([row] if named else [], schema=columns)


#: The share of a kind's rows whose refusal is warned of.
_MUCH = 0.2
#: Tests in the message of a refused run, and warnings of one run.
_MOST_NAMED = 5
_MOST_WARNED = 20

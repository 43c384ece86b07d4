"""What the run's tests were recognised as: the table of the store, its warnings, and the run that is refused for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas.store import RecognitionTable, RunWarning
from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest import UNREADABLE, load_profile
from neutro_screen.ingest.identifiers import SUSPECT
from neutro_screen.pipeline.handover import Ingested
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.recognition.table import in_words, recognition, understood, unrecognised
from neutro_screen.recognition.words import limits
from neutro_screen.reference import load_reference
from neutro_screen.store.rows import insert
from neutro_screen.validate import dtypes


def recognised(settings: RunOptions, ingested: Ingested, counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The recognition table of a run (``RecognitionTable`` without run_id) from what its partitions counted."""
    profile = load_profile(settings.profile)
    reference = load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units, profile.specimens)
    total = pl.concat(counts).group_by("test_no").agg(pl.col("rows", "patients", "unused").sum())
    return recognition(ingested.origins, total, reference)


def check_recognised(table: pl.DataFrame, settings: RunOptions) -> None:
    """Refuse a strict run in which a test that may feed the ANC, its unit or its specimen was not understood.

    Raises:
        RefusedInputError: naming the tests and the lines of the profile that settle them.
    """
    found = unrecognised(table)
    if settings.strict and found.height:
        told = [in_words(row) for row in found.head(_MOST_NAMED).iter_rows(named=True)]
        lines = found["profile_line"].drop_nulls().head(_MOST_NAMED)
        raise RefusedInputError(
            f"{found.height} tests that may feed the ANC were not understood: " + "; ".join(told),
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
    """A warning for every test that may feed the ANC and was not understood, or its unit or specimen was not
    (``RunWarning`` without run_id).

    A name of which no word was understood only warns where the laboratory sends no count that was understood.
    """
    counted = understood(table).filter(pl.col("analyte").is_in(["wbc", "neut_abs", "neut_pct"]))
    has_none = ~pl.col("lab").is_in(counted["lab"].unique().implode(), nulls_equal=True)
    found = unrecognised(table).filter((pl.col("certainty") != "unknown") | has_none)
    columns = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}
    rows = [
        {"kind": "unrecognised", "lab": row["lab"], "detail": in_words(row), "since": None}
        for row in found.head(_MOST_WARNED).iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=columns)


def input_warnings(files: Sequence[Mapping[str, Any]], others: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """A warning for every kind of file of which much was refused, as loud as a file that is missing, for every file in
    whose patient's place another number seems to stand, for medication dates of which many could not be read, and for the
    files of an archive that could not be read (``RunWarning`` without run_id).
    """
    columns = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}
    rows = []
    for kind, account in others.items():
        refused = account["rows_in"] - account["accepted"]
        if refused and (not account["accepted"] or refused > limits()["refused_file_share"] * account["rows_in"]):
            why = ", ".join(f"{reason} {n}" for reason, n in account["refused"].items())
            detail = f"{refused:,} of {account['rows_in']:,} {kind} rows were refused ({why}): they are missing below"
            rows.append({"kind": "refused_file", "lab": None, "detail": detail, "since": None})
    rows += [
        {"kind": "patient_identifier", "lab": None, "detail": f"{file['name']}: {_NO_PATIENTS}", "since": None}
        for file in files
        if any(note.startswith(SUSPECT) for note in file["notes"])
    ]
    rows += [
        {"kind": "unreadable_dates", "lab": None, "detail": detail, "since": None}
        for detail in _unreadable_dates(files, others)
    ]
    unread = [
        f"{file['name']} after row {file['rows']:,}" if file["rows"] else file["name"]
        for file in files
        if UNREADABLE in file["notes"]
    ]
    if unread:
        more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
        listed = ", ".join(unread[:_MOST_NAMED]) + more
        detail = f"{len(unread)} of {len(files)} files could not be read ({listed}): what they hold is missing below"
        rows.append({"kind": "unreadable_file", "lab": None, "detail": detail, "since": None})
    return pl.DataFrame(rows, schema=columns)


def _unreadable_dates(files: Sequence[Mapping[str, Any]], others: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for the first and for the last days of medications, where many of them are no dates that can be read."""
    rows_in = others["medication"]["rows_in"] if "medication" in others else 0
    for day, named, effect in (
        ("start", "a start date", "since when those drugs are taken"),
        ("end", "an end date", "whether those drugs are still given"),
    ):
        counts = (
            int(note.removeprefix(f"unreadable_{day}_date_rows:"))
            for file in files
            if file["kind"] == "medication"
            for note in file["notes"]
            if note.startswith(f"unreadable_{day}_date_rows:")
        )
        unread = sum(counts)
        if unread > limits()["refused_file_share"] * rows_in:
            yield (
                f"{unread:,} of {rows_in:,} medication rows have {named} that could not be read: {effect} is not "
                "known. If the dates have a format of their own, name it in datetime_formats of the profile"
            )


_NO_PATIENTS = (
    "nearly every patient has one specimen, so the identifier may be that of the specimen; then no fall is seen. Name the "
    "patient's column in the profile, or the field in patient_identifier for HL7 messages"
)
#: Tests in the message of a refused run, and warnings of one run.
_MOST_NAMED = 5
_MOST_WARNED = 20

"""Reviewers' decisions that the pages of earlier nights saved: put on record before tonight's worklist is ranked.

A file is applied once. One that cannot be used, and decisions that cannot stand, are a warning of the run and never stop it.
"""

from pathlib import Path
from typing import Any

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas.store import RunWarning
from neutro_screen.errors import NeutroScreenError
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.store.decisions import is_applied, judged, read_decisions, record
from neutro_screen.validate import dtypes


def publish_decisions(connection: DuckDBPyConnection, settings: RunOptions) -> pl.DataFrame:
    """Put on record what of the decisions can stand; returns the warnings (``RunWarning`` without run_id).

    They are judged by the worklist of the night before: who becomes worse tonight wakes by tonight's row.
    """
    columns = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}
    details = [] if settings.reviews is None else _applied(connection, settings.reviews)
    rows: list[dict[str, Any]] = [
        {"kind": "refused_decision", "lab": None, "detail": detail, "since": None} for detail in details
    ]
    return pl.DataFrame(rows, schema=columns)


def _applied(connection: DuckDBPyConnection, place: Path) -> list[str]:
    """What of the folder (or of one file) could not be put on record, in words that name no patient."""
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    told = []
    for file in files:
        try:
            read, sha256 = read_decisions(file, clock())
            if is_applied(connection, sha256):
                continue
            applied = record(connection, judged(connection, read), sha256, at=clock())
        except NeutroScreenError as error:
            told.append(f"decisions in {file.name} were not applied: {error.what}")
            continue
        if applied.refused:
            total = len(read.decisions)
            told.append(
                f"{len(applied.refused)} of {total} decisions in {file.name} were refused: {applied.refused_in_words()}"
            )
    return told

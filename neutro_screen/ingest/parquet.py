"""Parquet files in any layout that a profile describes; typed columns are brought to text as a CSV would show them."""

from pathlib import Path

import polars as pl

from neutro_screen.ingest.files import refusing
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.tabular import Table, named_columns


def read_parquet(path: Path, kind: Kind, profile: Profile) -> Table:
    """Read one file as text columns under its own names; see ``text_columns``."""
    return text_columns(path, named_columns(kind, profile))


def text_columns(path: Path, wanted: set[str]) -> Table:
    """Read the wanted columns of one file, those that are there, as text.

    Raises:
        UnreadableInputError: not a Parquet file, damaged, or a wanted column holds lists or structures.
    """
    with refusing("is not a readable Parquet file", path, pl.exceptions.PolarsError, OSError):
        scan = pl.scan_parquet(path)
        schema = scan.collect_schema()
        rows = scan.select(name for name in schema if name in wanted).collect()
        texts = [
            pl.col(name).dt.to_string("iso:strict") if isinstance(dtype, pl.Datetime) else pl.col(name).cast(pl.String)
            for name, dtype in rows.schema.items()
        ]
        rows = rows.select(*texts, source_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    ignored = len(schema) - len(rows.columns) + 1
    return Table(path, rows, notes=(f"ignored_columns:{ignored}",) if ignored else ())

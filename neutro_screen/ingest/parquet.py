"""Parquet files in any layout that a profile describes; typed columns are brought to text as a CSV would show them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.ingest.files import refusing
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.tabular import Table, named_columns

#: Rows of one piece: a few row groups of most files.
ROWS_A_PIECE: Final = 500_000


def read_parquet(path: Path, kind: Kind, profile: Profile) -> Iterator[Table]:
    """Read one file as text columns under its own names; see ``text_columns``."""
    return text_columns(path, named_columns(kind, profile))


def text_columns(path: Path, wanted: set[str]) -> Iterator[Table]:
    """Read the wanted columns of one file, those that are there, as text and in pieces.

    Raises:
        UnreadableInputError: not a Parquet file, damaged, or a wanted column holds lists or structures.
    """
    with refusing("is not a readable Parquet file", path, pl.exceptions.PolarsError, OSError):
        scan = pl.scan_parquet(path)
        schema = scan.collect_schema()
        present = [name for name in schema if name in wanted]
        n_rows = scan.select(pl.len()).collect().item()
    ignored = len(schema) - len(present)
    notes = (f"ignored_columns:{ignored}",) if ignored else ()
    for first in range(0, max(n_rows, 1), ROWS_A_PIECE):
        with refusing("is not a readable Parquet file", path, pl.exceptions.PolarsError, OSError):
            rows = scan.select(present).slice(first, ROWS_A_PIECE).collect()
            rows = rows.select(
                *(_text(name, dtype) for name, dtype in rows.schema.items()),
                source_row=pl.int_range(first + 1, first + pl.len() + 1, dtype=pl.Int64),
            )
        yield Table(path, rows, notes=notes)


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).dt.to_string("iso:strict") if isinstance(dtype, pl.Datetime) else pl.col(name).cast(pl.String)

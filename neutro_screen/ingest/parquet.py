"""Parquet files in any layout that a profile describes; typed columns are brought to text as a CSV would show them."""

from pathlib import Path

import polars as pl

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.tabular import Table, named_columns


def read_parquet(path: Path, kind: Kind, profile: Profile) -> Table:
    """Read one file as text columns under its own names.

    Raises:
        UnreadableInputError: not a Parquet file, or damaged.
    """
    try:
        scan = pl.scan_parquet(path)
        wanted = [name for name in scan.collect_schema().names() if name in named_columns(kind, profile)]
        ignored = [name for name in scan.collect_schema().names() if name not in wanted]
        rows = scan.select(wanted).collect()
    except (pl.exceptions.PolarsError, OSError):
        raise UnreadableInputError("is not a readable Parquet file", where=path.name) from None
    texts = [
        pl.col(name).dt.to_string("iso:strict") if isinstance(dtype, pl.Datetime) else pl.col(name).cast(pl.String)
        for name, dtype in rows.schema.items()
    ]
    return Table(
        path,
        rows.select(*texts, source_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)),
        notes=(f"ignored_columns:{len(ignored)}",) if ignored else (),
    )

"""Files that are read in pieces, so that memory does not grow with the file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.ingest.frames import KINDS, Kind
from neutro_screen.ingest.layout import Table

#: Rows of one piece: enough that what is done once a piece does not count, and some tens of megabytes.
ROWS_A_PIECE: Final = 100_000


def gathered(pieces: Iterable[tuple[Kind, Table]]) -> Iterator[tuple[Kind, Table]]:
    """Put small pieces of one file and kind together until they have ROWS_A_PIECE; order within a kind is kept."""
    path: Path | None = None
    held: dict[Kind, list[Table]] = {kind: [] for kind in KINDS}
    for kind, table in pieces:
        if table.path != path:
            yield from _rest(held)
            path = table.path
        held[kind].append(table)
        if sum(each.rows.height for each in held[kind]) >= ROWS_A_PIECE:
            yield kind, _joined(held[kind])
            held[kind] = []
    yield from _rest(held)


def _rest(held: dict[Kind, list[Table]]) -> Iterator[tuple[Kind, Table]]:
    for kind, tables in held.items():
        if tables:
            yield kind, _joined(tables)
            held[kind] = []


def _joined(tables: list[Table]) -> Table:
    return Table(
        tables[0].path,
        pl.concat(table.rows for table in tables),
        [line for table in tables for line in table.refused],
        tuple(dict.fromkeys(note for table in tables for note in table.notes)),
    )

"""Wards and requesters: kept beside the results, by specimen, and judged by nothing.

An extract names a few hundred of them. Its rows carry the number of theirs (``request_no``, null where none is named), so
that they cost next to nothing on the way, and an extract without them nothing at all.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from neutro_schemas import Request
from neutro_screen.validate import in_shape

#: The columns of ``LabRow`` that say who asked; they are no part of what a row is judged by.
ASKED: Final = ("ward", "requester")
_ORDER: Final = ("patient_id", "specimen_id", "collected_at")
_PLACE: Final = ("source_file", "source_row")


def no_requests() -> pl.DataFrame:
    """An empty table of wards and requesters: ``ASKED`` and ``request_no``."""
    return pl.DataFrame(schema=dict.fromkeys(ASKED, pl.String()) | {"request_no": pl.UInt64()})


def number_requests(rows: pl.DataFrame, requests: pl.DataFrame, first: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows (``LabRow``) with ``request_no`` in place of ``ASKED``, and the table with those that are new, from ``first`` on."""
    names = list(ASKED)
    if all(rows[name].null_count() == rows.height for name in names):
        return rows.drop(names).with_columns(request_no=pl.lit(None, pl.UInt64)), requests
    named = rows.select(names).filter(pl.any_horizontal(pl.col(names).is_not_null())).unique().sort(names)
    new = named.join(requests, on=names, how="anti", nulls_equal=True, maintain_order="left")
    first += requests.height
    numbers = pl.int_range(first, first + new.height, dtype=pl.UInt64, eager=True)
    requests = pl.concat([requests, new.with_columns(request_no=numbers)])
    numbered = rows.join(requests, on=names, how="left", nulls_equal=True, maintain_order="left")
    return numbered.drop(names), requests


def requests_of(judged: Iterable[pl.DataFrame], requests: pl.DataFrame) -> pl.DataFrame:
    """The specimens of judged rows (with ``request_no``) whose ward or requester is named (``Request``).

    Refused rows and those without a result count as well: their patients are looked for, too. One row for each ward and
    requester of a specimen, the first by place of reading.
    """
    columns = (*_ORDER, "request_no", *_PLACE)
    rows = [frame.select(columns).drop_nulls((*_ORDER, "request_no")) for frame in judged]
    first = (
        pl.concat(rows)
        .group_by(*_ORDER, "request_no")
        .agg(pl.col(_PLACE).sort_by(*_PLACE).first())
        .join(requests, on="request_no", validate="m:1")
    )
    return in_shape(first, Request).sort(pl.all())

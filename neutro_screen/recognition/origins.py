"""What many laboratory rows have in common is settled once: test, unit, status and reference range as they were sent.

An extract of millions of rows holds a few hundred such *origins*. Each is resolved once and the rows carry its number.
"""

from typing import Final

import polars as pl

from neutro_schemas import LabRow
from neutro_screen.recognition import analytes, values
from neutro_screen.reference import Reference
from neutro_screen.text import match_key
from neutro_screen.validate import dtypes

#: The columns of ``LabRow`` that make up an origin.
COLUMNS: Final = (
    *analytes.KEYS,
    "is_unit_stated",
    "reference_low_text",
    "reference_high_text",
    "status_text",
    "lab",
    "source_file",
)


def no_origins() -> pl.DataFrame:
    """An empty table of origins: ``COLUMNS`` and ``origin_no``."""
    types = dtypes(LabRow)
    return pl.DataFrame(schema={name: types[name] for name in COLUMNS} | {"origin_no": pl.UInt32()})


def number_origins(rows: pl.DataFrame, origins: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows (``LabRow``) with ``origin_no`` in place of ``COLUMNS``, and the origins with those that are new."""
    columns = list(COLUMNS)
    distinct = rows.select(columns).unique().sort(columns)
    new = distinct.join(origins, on=columns, how="anti", nulls_equal=True, maintain_order="left")
    numbers = pl.int_range(origins.height, origins.height + new.height, dtype=pl.UInt32, eager=True).alias("origin_no")
    origins = pl.concat([origins, new.with_columns(numbers)])
    return rows.join(origins, on=columns, how="left", nulls_equal=True).drop(columns), origins


def described(origins: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Origins with what ``resolve_analytes`` finds, their status and their reference range in the canonical unit."""
    keys = list(analytes.KEYS)
    distinct = origins.select(keys).unique().sort(keys)
    return (
        origins.join(
            analytes.resolve_analytes(distinct, reference), on=keys, how="left", nulls_equal=True, maintain_order="left"
        )
        .with_columns(is_small_unit=(pl.col("factor") < 1).fill_null(False))
        .pipe(with_status, reference)
        .pipe(with_reference_range)
    )


def with_status(origins: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Add ``status`` from the source's word; an unknown word counts as preliminary and is noted."""
    known = dict(reference.status_words.select("match_key", "status").iter_rows())
    words = origins.select("status_text").unique().with_columns(key=match_key(pl.col("status_text")))
    words = words.select(
        "status_text",
        status=pl.col("key").replace_strict(known, default="preliminary", return_dtype=pl.String),
        status_note=pl.when(~pl.col("key").is_in(list(known), nulls_equal=True)).then(pl.lit("status_unknown")),
    )
    return origins.join(words, on="status_text", how="left", nulls_equal=True, maintain_order="left")


def with_reference_range(origins: pl.DataFrame) -> pl.DataFrame:
    """Add ``reference_low`` and ``reference_high`` in the canonical unit, by the row's own factor; unreadable = null."""
    is_marker = pl.col("dimension") == "marker"
    factor = pl.when(is_marker).then(1.0).otherwise("factor")
    offset = pl.when(is_marker).then(0.0).otherwise("offset")
    return origins.with_columns(
        ((values.number(pl.col(f"reference_{end}_text")) - offset) * factor)
        .round_sig_figs(15)
        .alias(f"reference_{end}")
        for end in ("low", "high")
    )


class TextCounts:
    """How often each text was sent under each origin, counted one portion of an extract after the other."""

    def __init__(self) -> None:
        self._counts = [pl.DataFrame(schema={"origin_no": pl.UInt32, "value_text": pl.String, "n": pl.Int64})]

    def add(self, rows: pl.DataFrame) -> None:
        """Count some rows with ``origin_no``."""
        self._counts.append(rows.group_by("origin_no", "value_text").agg(n=pl.len().cast(pl.Int64)))
        if len(self._counts) > _PORTIONS_HELD:
            self._counts = [self.counted]

    @property
    def counted(self) -> pl.DataFrame:
        """``origin_no``, ``value_text`` and their number ``n``."""
        return pl.concat(self._counts).group_by("origin_no", "value_text").agg(pl.col("n").sum())


_PORTIONS_HELD: Final = 16

"""Texts of an extract repeat from row to row - codes, units, times of one draw: what is made of them is made once each."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

Frames = list[pl.DataFrame]


def made_once(inputs: pl.DataFrame, make: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """What ``make`` makes of every row; it sees each distinct row once, and answers with as many rows in the same order."""
    (made,) = _each_made_once([inputs], lambda distinct: [make(distinct[0])])
    return made


def per_distinct(
    rows: pl.DataFrame,
    kept: Sequence[str],
    wanted: Mapping[str, pl.Expr],
    opened: Callable[[Frames], Frames] = lambda distinct: distinct,
) -> pl.DataFrame:
    """The columns ``kept`` and ``wanted``: row by row, each expression worked out once per distinct set of its inputs.

    The expressions may look at no other row; one that reads a part of what another reads is worked out with it. ``opened``
    makes of the distinct inputs the columns, of the same names and in the same order of rows, that the expressions read.
    """
    by_inputs: dict[frozenset[str], dict[str, pl.Expr]] = {}
    read_by = {name: frozenset(expression.meta.root_names()) for name, expression in wanted.items()}
    for name in sorted(wanted, key=lambda name: -len(read_by[name])):
        inputs = next((inputs for inputs in by_inputs if read_by[name] <= inputs), read_by[name])
        by_inputs.setdefault(inputs, {})[name] = wanted[name]

    def read(distinct: Frames) -> Frames:
        read_from = zip(opened(distinct), by_inputs.values(), strict=True)
        return pl.collect_all(
            [inputs.lazy().select(**expressions) for inputs, expressions in read_from], engine="in-memory"
        )

    found = _each_made_once([rows.select(sorted(inputs)) for inputs in by_inputs], read)
    return pl.concat([rows.select(kept), *found], how="horizontal").select(*kept, *wanted)


def _each_made_once(inputs: Frames, make: Callable[[Frames], Frames]) -> Frames:
    """``made_once`` of several sets of inputs together: a query for all costs little more than one for each."""
    keys = [frame.rename(lambda name: f"key {name}") for frame in inputs]
    varying = [[key.name for key in frame if key.null_count() < key.len()] for frame in keys]
    of_each = list(zip(keys, varying, strict=True))
    distinct = pl.collect_all(
        [rows.lazy().unique(on) if on else rows.lazy().head(1) for rows, on in of_each], engine="in-memory"
    )
    made = make([rows.rename(lambda key: key.removeprefix("key ")) for rows in distinct])
    tables = zip(of_each, distinct, made, strict=True)
    return pl.collect_all(
        [_looked_up(rows, on, found, result) for (rows, on), found, result in tables], engine="in-memory"
    )


def _looked_up(keys: pl.DataFrame, varying: list[str], distinct: pl.DataFrame, made: pl.DataFrame) -> pl.LazyFrame:
    """Of every row of ``keys`` what was made of it."""
    if not varying:
        return made.lazy().select(pl.all().gather(pl.repeat(0, keys.height, dtype=pl.UInt32)))
    table = pl.concat([distinct.select(varying), made], how="horizontal").lazy()
    joined = keys.lazy().select(varying).join(table, on=varying, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(made.columns)

"""Texts of an extract repeat from row to row - codes, units, times of one draw: what is made of them is made once each."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl


def made_once(inputs: pl.DataFrame, make: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """What ``make`` makes of every row; it sees each distinct row once, and answers with as many rows in the same order."""
    keys = inputs.rename(lambda name: f"key {name}")
    varying = [key.name for key in keys if key.null_count() < keys.height]
    distinct = keys.unique(varying) if varying else keys.head(1)
    made = make(distinct.rename(lambda key: key.removeprefix("key ")))
    if not varying:
        return made.select(pl.all().gather(pl.repeat(0, keys.height, dtype=pl.UInt32)))
    table = pl.concat([distinct.select(varying), made], how="horizontal")
    joined = keys.select(varying).join(table, on=varying, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(made.columns)


def per_distinct(
    rows: pl.DataFrame,
    kept: Sequence[str],
    wanted: Mapping[str, pl.Expr],
    opened: Callable[[pl.DataFrame], pl.DataFrame] = lambda distinct: distinct,
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
    found = [rows.select(kept)]
    for inputs, expressions in by_inputs.items():

        def read(distinct: pl.DataFrame, expressions: Mapping[str, pl.Expr] = expressions) -> pl.DataFrame:
            return opened(distinct).select(**expressions)

        found.append(made_once(rows.select(sorted(inputs)), read))
    return pl.concat(found, how="horizontal").select(*kept, *wanted)

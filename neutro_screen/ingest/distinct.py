"""Texts of an extract repeat from row to row - codes, units, times of one draw: what is made of them is made once each."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl


def per_distinct(
    rows: pl.DataFrame,
    kept: Sequence[str],
    wanted: Mapping[str, pl.Expr],
    opened: Callable[[pl.DataFrame], pl.DataFrame] = lambda distinct: distinct,
) -> pl.DataFrame:
    """The columns ``kept`` and ``wanted``: row by row, each expression worked out once per distinct set of its inputs.

    The expressions may look at no other row. ``opened`` makes of the distinct inputs the columns, of the same names and
    in the same order of rows, that the expressions read.
    """
    by_inputs: dict[tuple[str, ...], dict[str, pl.Expr]] = {}
    for name, expression in wanted.items():
        by_inputs.setdefault(tuple(sorted(set(expression.meta.root_names()))), {})[name] = expression
    found = [rows.select(kept)]
    for inputs, expressions in by_inputs.items():
        keys = rows.select(pl.col(name).alias(f"key {name}") for name in inputs)
        distinct = keys.unique()
        values = opened(distinct.rename(lambda key: key.removeprefix("key "))).select(**expressions)
        table = pl.concat([distinct, values], how="horizontal")
        joined = keys.join(table, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")
        found.append(joined.select(values.columns))
    return pl.concat(found, how="horizontal")

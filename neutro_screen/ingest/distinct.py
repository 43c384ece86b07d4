"""Texts of an extract repeat from row to row - codes, units, times of one draw: what is made of them is made once each."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl


def made_once(inputs: pl.DataFrame, make: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """What ``make`` makes of every row; it sees each distinct row once, and answers with as many rows in the same order."""
    keys = inputs.rename(lambda name: f"key {name}")
    distinct = keys.unique()
    made = make(distinct.rename(lambda key: key.removeprefix("key ")))
    table = pl.concat([distinct, made], how="horizontal")
    joined = keys.join(table, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(made.columns)


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

        def read(distinct: pl.DataFrame, expressions: Mapping[str, pl.Expr] = expressions) -> pl.DataFrame:
            return opened(distinct).select(**expressions)

        found.append(made_once(rows.select(inputs), read))
    return pl.concat(found, how="horizontal")

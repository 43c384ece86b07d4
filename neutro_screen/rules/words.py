"""Numbers of the policy as they are read in a sentence."""

import polars as pl


def number(value: float) -> str:
    """A number without needless decimals: ``500``, ``38.3``."""
    return f"{value:g}" if value < 1_000_000 else f"{value:.0f}"


def count_text(anc: pl.Expr, comparator: pl.Expr) -> pl.Expr:
    """A count as text: ``< 100``, ``1230``; one decimal only where there is one."""
    whole = anc.round(1).cast(pl.String).str.strip_suffix(".0")
    return pl.concat_str(comparator, whole, separator=" ", ignore_nulls=True)


def days_text(days: pl.Expr) -> pl.Expr:
    """A number of days in words: ``1 day``, ``2.5 days``."""
    shown = days.round(1).cast(pl.String).str.strip_suffix(".0")
    return pl.concat_str(shown, pl.when(shown == "1").then(pl.lit(" day")).otherwise(pl.lit(" days")))

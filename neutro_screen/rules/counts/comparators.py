"""Comparators of censored counts (ANC-6): which way the true count may lie."""

import polars as pl


def is_upper_bound(comparator: str = "anc_comparator") -> pl.Expr:
    """The value is ``<`` or ``<=``: the true count may be lower. False where there is no comparator."""
    return pl.col(comparator).is_in(["<", "<="]).fill_null(False)


def is_lower_bound(comparator: str = "anc_comparator") -> pl.Expr:
    """The value is ``>`` or ``>=``: the true count may be higher. False where there is no comparator."""
    return pl.col(comparator).is_in([">", ">="]).fill_null(False)

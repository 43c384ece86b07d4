"""Scatter that a few outlying nights do not move."""

from typing import Final

import polars as pl

#: 1.4826 times the median deviation is the standard deviation of a normal scatter.
_MAD_TO_SD: Final = 1.4826


def robust_sd(deviations: pl.Expr) -> pl.Expr:
    """The standard deviation of deviations from what is usual, by their median; an aggregation."""
    return deviations.abs().median() * _MAD_TO_SD

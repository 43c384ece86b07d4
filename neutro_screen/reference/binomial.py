"""The exact interval of a count of cells by hand, computed once an installation: loading scipy for it takes 0.2 s."""

import json
from functools import cache
from importlib.metadata import version
from typing import Final

import numpy as np
import polars as pl

from neutro_screen.made_once import keep, kept

_NAME: Final = "clopper-pearson"


@cache
def clopper_pearson(cells_counted: int, confidence: float) -> pl.DataFrame:
    """The exact binomial interval for every possible count: cells_found, share_low, share_high (fractions)."""
    origin = repr((cells_counted, confidence, version("scipy"))).encode()
    content = kept(_NAME, origin)
    if content is None:
        content = json.dumps(_ends(cells_counted, confidence)).encode()
        keep(_NAME, origin, content)
    low, high = json.loads(content)
    found = pl.int_range(cells_counted + 1, dtype=pl.Int64, eager=True)
    return pl.DataFrame({"cells_found": found, "share_low": low, "share_high": high})


def _ends(cells_counted: int, confidence: float) -> tuple[list[float], list[float]]:
    from scipy.special import betaincinv  # loaded only here

    found = np.arange(cells_counted + 1)
    tail = (1 - confidence) / 2
    # The beta quantile is undefined at the two ends, where the interval reaches 0 or 1.
    low = np.where(found == 0, 0.0, betaincinv(np.maximum(found, 1), cells_counted - found + 1, tail))
    high = np.where(found == cells_counted, 1.0, betaincinv(found + 1, np.maximum(cells_counted - found, 1), 1 - tail))
    return low.tolist(), high.tolist()

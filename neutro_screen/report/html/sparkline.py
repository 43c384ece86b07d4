"""The course of the count in the worklist: a few strokes of SVG, on the same log scale for every patient."""

import math
from functools import cache
from typing import Any, Final

from neutro_screen.reference import load_reference

WIDTH: Final = 96
HEIGHT: Final = 30
MOST_POINTS: Final = 12
_LOWEST, _HIGHEST = 50.0, 12_000.0


def sparkline(anc: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Path, last point and the height of the normal limit of a patient's latest counts; null without a count."""
    kept = anc[-MOST_POINTS:]
    if not kept:
        return None
    first = kept[0]["collected_at"]
    span = (kept[-1]["collected_at"] - first).total_seconds() or 1.0
    points = [
        (round(3 + (WIDTH - 6) * (row["collected_at"] - first).total_seconds() / span, 1), _y(row["anc_cells_per_ul"]))
        for row in kept
    ]
    return {
        "path": "M" + "L".join(f"{x:g},{y:g}" for x, y in points),
        "x": points[-1][0],
        "y": points[-1][1],
        "limit": _normal_limit(),
        "width": WIDTH,
        "height": HEIGHT,
    }


@cache
def _normal_limit() -> float:
    bands = load_reference().anc_bands
    return _y(bands.filter(severity="normal")["lower"].item())


def _y(cells_per_ul: float) -> float:
    share = math.log(min(max(cells_per_ul, _LOWEST), _HIGHEST) / _LOWEST) / math.log(_HIGHEST / _LOWEST)
    return round(HEIGHT - 3 - (HEIGHT - 6) * share, 1)

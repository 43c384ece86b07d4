"""The plot of growth: seconds of a run by its rows, both axes logarithmic, as a small SVG."""

from collections.abc import Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 420, 70, 50, 20, 150
#: What is drawn: its name, the input, the figure, colour and dashes.
_LINES = (
    ("run, as sent", "as sent", "seconds", "#b3261e", ""),
    ("its processor seconds", "as sent", "processor", "#b3261e", "2 4"),
    ("its lower floor", "as sent", "lower", "#b3261e", "8 4"),
    ("run, clean CSV", "clean csv", "seconds", "#1f5fa8", ""),
    ("its lower floor", "clean csv", "lower", "#1f5fa8", "8 4"),
)


def draw(taken: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the plot of measured runs: dicts with what, rows, seconds, processor and lower (None: not measured)."""
    lines = [
        (name, colour, dashes, points)
        for name, what, figure, colour, dashes in _LINES
        if (points := [(one["rows"], one[figure]) for one in taken if one["what"] == what and one[figure]])
    ]
    sizes, seconds = zip(*(point for *_, points in lines for point in points), strict=True)
    columns, rows = _decades(sizes), _decades(seconds)

    def x(size: float) -> float:
        return round(_LEFT + _share(size, columns) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(second: float) -> float:
        return round(_HEIGHT - _BOTTOM - _share(second, rows) * (_HEIGHT - _BOTTOM - _TOP), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">'
        "<title>Seconds of a run by its rows</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    ]
    for size in columns:
        parts.append(_rule(x(size), _TOP, x(size), _HEIGHT - _BOTTOM))
        parts.append(_text(x(size), _HEIGHT - _BOTTOM + 18, _short(size), "middle"))
    for second in rows:
        parts.append(_rule(_LEFT, y(second), _WIDTH - _RIGHT, y(second)))
        parts.append(_text(_LEFT - 8, y(second) + 4, f"{second:g} s", "end"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, "laboratory rows", "middle"))
    labels = _apart([y(points[-1][1]) for *_, points in lines])
    for (name, colour, dashes, points), at in zip(lines, labels, strict=True):
        places = " ".join(f"{x(size)},{y(second)}" for size, second in points)
        parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        parts += [f'<circle cx="{x(size)}" cy="{y(second)}" r="3" fill="{colour}"/>' for size, second in points]
        parts.append(_text(x(points[-1][0]) + 8, at + 4, name, "start", colour))
    path.write_text("\n".join([*parts, "</svg>\n"]), "utf-8")


def _decades(values: Sequence[float]) -> list[float]:
    return [10.0**power for power in range(floor(log10(min(values))), ceil(log10(max(values))) + 1)]


def _share(value: float, decades: Sequence[float]) -> float:
    return log10(value / decades[0]) / max(log10(decades[-1] / decades[0]), 1)


def _apart(places: Sequence[float]) -> list[float]:
    """The heights of the labels, moved down where two would overlap."""
    moved, lowest = {}, float("-inf")
    for index, place in sorted(enumerate(places), key=lambda numbered: numbered[1]):
        lowest = moved[index] = max(place, lowest + 14)
    return [moved[index] for index in range(len(places))]


def _short(size: float) -> str:
    return f"{size / 1e6:g} M" if size >= 1e6 else f"{size / 1e3:g} k" if size >= 1e3 else f"{size:g}"


def _rule(left: float, top: float, right: float, bottom: float) -> str:
    return f'<line x1="{left}" y1="{top}" x2="{right}" y2="{bottom}" stroke="#d5d5d5"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333333") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{text}</text>'

"""The page of a backtest: figures side by side, alerts a night and warning times as SVG; no script at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any, Final

import polars as pl
from jinja2 import Environment
from markupsafe import Markup

from neutro_schemas import PRIORITIES
from neutro_screen.report import words
from neutro_screen.report.html.parts import asset, escaping_environment, hashes

#: Falls that the page lists; all of them are in the CSV.
MOST_FALLS: Final = 200
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 190, 34, 20, 6
#: Days of warning by which the falls are counted.
_LEADS: Final = (0.0, 1.0, 2.0, 4.0, 7.0, 14.0, 28.0)
#: Figure, its words, and how it is written.
_FIGURES: Final = (
    ("alerts_median", "Patients on the list, a night (median)", "count"),
    ("alerts_most", "… most in a night", "count"),
    ("new_median", "New on the list, a night (median)", "count"),
    ("new_total", "… in all nights", "count"),
    ("new_urgent_total", "… of these high or critical", "count"),
    ("to_read_median", "To read, new or escalated, a night (median)", "count"),
    ("to_read_most", "… most in a night", "count"),
    ("to_read_total", "… in all nights", "count"),
    ("falls", "Falls below 500 in these nights", "count"),
    ("falls_seen_before", "… of these on the list before", "count"),
    ("share_seen_before", "… as a share", "share"),
    ("lead_days_median", "Days on the list before (median)", "days"),
    ("lead_days_lower_quartile", "… lower quartile", "days"),
    ("lead_days_upper_quartile", "… upper quartile", "days"),
    ("falls_seen_urgent", "Falls that were high or critical before", "count"),
    ("urgent_lead_days_median", "Days at high or critical before (median)", "days"),
)


@dataclass(frozen=True)
class PolicyFigures:
    """What one policy would have shown: frames and figures as ``pipeline.backtest.measures.Burden`` has them."""

    policy: str
    nights: pl.DataFrame
    falls: pl.DataFrame
    summary: Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class BacktestContents:
    """All that the page and the files show. ``received``: what counted as the time of receipt, ``result`` or ``run``."""

    first: datetime
    last: datetime
    received: str
    rows: int
    patients: int
    software_version: str
    policies: Sequence[PolicyFigures]


def backtest_page(contents: BacktestContents) -> str:
    """The whole page; the content security policy allows its one style and nothing else."""
    style = Markup(asset("report.css").replace("RUN_ID", "backtest") + asset("backtest.css"))  # noqa: S704  (own files)
    policies = contents.policies
    most = max((_largest(figures.nights["alerts"]) for figures in policies), default=0)
    most_read = max((_largest(figures.nights["to_read"]) for figures in policies), default=0)
    return (
        _environment()
        .get_template("backtest.html.jinja")
        .render(
            policy_header=Markup(  # noqa: S704  (a hash of this module)
                f"default-src 'none'; style-src {hashes([style])}; base-uri 'none'; form-action 'none'"
            ),
            style=style,
            contents=contents,
            names=[figures.policy for figures in policies],
            figures=[
                {"words": told, "values": [_written(figures.summary[name], kind) for figures in policies]}
                for name, told, kind in _FIGURES
            ],
            cards=[
                {
                    "policy": figures.policy,
                    "summary": figures.summary,
                    "alerts": _bars(figures.nights, PRIORITIES[::-1], most),
                    "read": _bars(figures.nights, ("to_read",), most_read),
                    "leads": _leads(figures.falls),
                }
                for figures in policies
            ],
            falls=_fall_rows(policies)[:MOST_FALLS],
            falls_more=max(policies[0].falls.height - MOST_FALLS, 0) if policies else 0,
            priorities=PRIORITIES[::-1],
        )
    )


def _largest(values: pl.Series) -> int:
    found = values.max()
    return int(found) if isinstance(found, int) else 0


def _written(value: float | int | str | None, kind: str) -> str:
    if value is None:
        return "–"
    if kind == "share":
        return f"{float(value):.0%}"
    if kind == "days":
        return f"{float(value):.1f}"
    return f"{value:,.1f}".removesuffix(".0") if isinstance(value, float) else f"{value:,}"


def _bars(nights: pl.DataFrame, columns: Sequence[str], most: int) -> dict[str, Any]:
    """A bar a night, stacked by column, the first at the bottom; the same scale for every policy (``most``)."""
    ceiling = _ceiling(most)
    room, high = _WIDTH - _LEFT, _HEIGHT - _BOTTOM - _TOP
    step = room / max(nights.height, 1)
    paths = {name: list[str]() for name in columns}
    for place, row in enumerate(nights.select(columns).iter_rows(named=True)):
        left, width, below = _LEFT + place * step, max(step - (1 if step > 4 else 0), 0.5), 0
        for name in columns:
            if row[name]:
                y = _TOP + high * (1 - (below + row[name]) / ceiling)
                paths[name].append(f"M{left:.1f},{y:.1f}h{width:.2f}v{high * row[name] / ceiling:.1f}h-{width:.2f}z")
            below += row[name]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        # Not a text to be shown: the page would shorten it. Only numbers of this function are in it.
        "paths": [{"name": name, "d": Markup("".join(parts))} for name, parts in paths.items() if parts],  # noqa: S704
        "lines": [
            {"y": round(_TOP + high * (1 - part / 2), 1), "n": f"{ceiling * part / 2:,g}", "x": _LEFT}
            for part in (0, 1, 2)
        ],
        "months": _months(nights, step),
    }


def _ceiling(most: int) -> int:
    """An even number not below ``most``, of two digits that count."""
    size = int("1" + "0" * max(len(str(most)) - 2, 0))
    ceiling = -(-max(most, 2) // size) * size
    return ceiling if ceiling % 2 == 0 else ceiling + size


def _months(nights: pl.DataFrame, step: float) -> list[dict[str, Any]]:
    """A label at the first night of each month, or of every second one where they would touch; of a few nights, the ends."""
    times = nights["as_of"].to_list()
    starts = [place for place, (one, other) in enumerate(pairwise(times), start=1) if one.month != other.month]
    if len(starts) < 2:
        ends = [0, len(times) - 1] if len(times) > 1 else [0]
        shown = [(place, words.day(times[place])) for place in ends]
        return [
            {"x": round(_LEFT + step * place + step / 2, 1), "words": told, "end": place == ends[-1] and len(ends) > 1}
            for place, told in shown
        ]
    every = -(-len(starts) // 12)
    return [
        {
            "x": round(_LEFT + step * place, 1),
            "words": f"{times[place]:%b %y}" if times[place].month == 1 else f"{times[place]:%b}",
            "end": False,
        }
        for place in starts[::every]
    ]


def _leads(falls: pl.DataFrame) -> list[dict[str, Any]]:
    """How many falls had how many days of warning, those without any first; width is the share of the longest bar."""
    days = falls["lead_h"] / 24
    counts = [("not on the list before", int(days.null_count()))]
    for low, high in zip(_LEADS, (*_LEADS[1:], None), strict=True):
        inside = days.drop_nulls()
        n = ((inside >= low) & ((inside < high) if high is not None else True)).sum()
        counts.append((f"{low:g} to {high:g} days" if high is not None else f"{low:g} days and more", int(n)))
    longest = max(n for _, n in counts) or 1
    return [
        {"words": told, "n": n, "width": round(100 * n / longest, 1), "name": "missed" if place == 0 else "seen"}
        for place, (told, n) in enumerate(counts)
    ]


def _fall_rows(policies: Sequence[PolicyFigures]) -> list[dict[str, Any]]:
    """The falls, those with the least warning under the first policy on top, with the warning under each."""
    if not policies:
        return []
    order = policies[0].falls.sort("lead_h", "reached_at", "patient_id", nulls_last=False)["episode_id"]
    by_episode = [{row["episode_id"]: row for row in figures.falls.iter_rows(named=True)} for figures in policies]
    return [
        by_episode[0][episode]
        | {"leads": [_written(of[episode]["lead_h"] and of[episode]["lead_h"] / 24, "days") for of in by_episode]}
        for episode in order
    ]


@cache
def _environment() -> Environment:
    environment = escaping_environment()
    environment.filters |= {"day": words.day, "minute": words.minute, "count": words.count}
    return environment

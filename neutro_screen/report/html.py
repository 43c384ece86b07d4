"""The HTML page of one run, from one autoescaped template."""

import math
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from neutro_screen.reference import load_reference
from neutro_screen.report.contents import RunContents

_WIDTH, _HEIGHT, _LOWEST, _HIGHEST = 640, 200, 50.0, 20_000.0


def page(contents: RunContents) -> str:
    """The whole page: summary, worklist, cannot assess, and the course of every patient on the worklist."""
    environment = Environment(
        loader=PackageLoader("neutro_screen.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    anc = contents.anc.partition_by("patient_id", as_dict=True)
    flags = contents.flag.partition_by("patient_id", as_dict=True)
    patients = [
        row
        | {
            "chart": course(anc[(row["patient_id"],)].to_dicts()) if (row["patient_id"],) in anc else None,
            "flags": flags[(row["patient_id"],)].to_dicts()[::-1][:20] if (row["patient_id"],) in flags else [],
        }
        for row in contents.worklist.to_dicts()
    ]
    return environment.get_template("report.html.jinja").render(
        run=contents.run,
        counts=contents.counts,
        patients=patients,
        cannot_assess=contents.cannot_assess.to_dicts(),
        files=contents.source_file.to_dicts(),
        quality=contents.data_quality.to_dicts(),
    )


def course(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Points of an ANC course for the template, on a log axis, with the severity bands behind them."""
    first: datetime = results[0]["collected_at"]
    span = max((results[-1]["collected_at"] - first).total_seconds(), 1.0)
    points = [
        {
            "x": round(10 + (_WIDTH - 20) * (row["collected_at"] - first).total_seconds() / span, 1),
            "y": _y(row["anc_cells_per_ul"]),
            "text": f"{row['collected_at']:%Y-%m-%d %H:%M}: "
            f"{row['anc_comparator'] or ''}{row['anc_cells_per_ul']:g} cells/uL ({row['severity'] or 'cannot tell'})",
            "is_reported": row["anc_method"].startswith("reported"),
        }
        for row in results
    ]
    bands = [
        {
            "name": band["severity"],
            "y": _y(band["upper"] or _HIGHEST),
            "height": round(_y(max(band["lower"], _LOWEST)) - _y(band["upper"] or _HIGHEST), 1),
        }
        for band in load_reference().anc_bands.to_dicts()
    ]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "points": points,
        "bands": bands,
        "line": " ".join(f"{p['x']},{p['y']}" for p in points),
        "first": f"{first:%d %b %Y}",
        "last": f"{results[-1]['collected_at']:%d %b %Y}",
    }


def _y(cells_per_ul: float) -> float:
    share = math.log(min(max(cells_per_ul, _LOWEST), _HIGHEST) / _LOWEST) / math.log(_HIGHEST / _LOWEST)
    return round(_HEIGHT - 20 - (_HEIGHT - 30) * share, 1)

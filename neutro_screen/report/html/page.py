"""The HTML page of one run: one file, one autoescaped template, scripts and styles allowed by their hash only."""

import base64
import gzip
import json
import re
import tomllib
from collections import Counter
from datetime import date, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import polars as pl
from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from neutro_schemas import ANC_METHODS, PRIORITIES
from neutro_screen.reference import FOLDER, load_cause_reference, load_policy, load_reference
from neutro_screen.report import words
from neutro_screen.report.contents import DAYS_OF_REVIEWS, OTHER_LINES, RunContents, zone_of
from neutro_screen.report.html.decisions import MOST_UNKNOWN, deciding, presets, unknown_rows
from neutro_screen.report.html.parts import asset, escaping_environment, hashes
from neutro_screen.report.html.patients import minutes, patient_panels
from neutro_screen.report.html.quality import quality_tables

#: Room for the rows as read; the most urgent patients have them in the page, all have them in the store.
SOURCE_ROOM_BYTES: Final = 4_000_000
#: Runs that the course of the worklist shows.
MOST_RUNS: Final = 60
MOST_BYTES: Final = 4_900_000
#: The page's own script, one module made of these in turn.
_OWN: Final = ("patient.js", "decide.js", "worklist.js", "overview.js", "page.js")
_LIBRARIES: Final = ("d3.min.js", "plot.umd.min.js", "dataTables.min.js")
#: The style element that Observable Plot writes into each chart of class "drawn"; allowed by its hash.
_PLOT_STYLE: Final = (
    ":where(.drawn) {\n  --plot-background: white;\n  display: block;\n  height: auto;\n  height: intrinsic;\n"
    "  max-width: 100%;\n}\n:where(.drawn text),\n:where(.drawn tspan) {\n  white-space: pre;\n}"
)


def page(contents: RunContents) -> str:
    """The whole page: headline, worklist, a panel per patient, cannot assess, overview, data quality, methods.

    A page that would grow beyond ``MOST_BYTES`` holds fewer patients, the most urgent, and says so.
    """
    panels = patient_panels(contents)
    _keep_sources_in_room(panels)
    _write_panels(contents, panels)
    text = _page_of(contents, panels)
    while len(text.encode("utf-8", "replace")) > MOST_BYTES and len(panels) > 1:
        panels = panels[: len(panels) * 4 // 5]
        text = _page_of(contents, panels)
    return text


def _write_panels(contents: RunContents, panels: list[dict[str, Any]]) -> None:
    """Add to each panel its row of the list and its text (``in_list``, ``panel``): once, however often patients are left out.

    The numbers of the literature stay what they are when the last panels go: each is numbered where it is first named.
    """
    numbered_literature(panels)
    written: Any = _environment().get_template("patient.html.jinja").make_module(_shared(contents, panels))
    for panel in panels:
        panel |= {"in_list": written.in_list(panel), "panel": written.panel(panel)}


def _shared(contents: RunContents, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """What every part of the page may say of the run."""
    return {
        "run": contents.run,
        "zone": zone_of(contents),
        "record_link": contents.counts.get("page", {}).get("record_link"),
        "chart_rows": contents.chart_rows,
        "wards": ward_counts(panels),
        "has_requests": any(row["ward"] or row["requester"] for row in [*panels, *contents.cannot_assess.to_dicts()]),
        "severe_limit": next(
            band["upper"] for band in load_reference().anc_bands.to_dicts() if band["severity"] == "severe"
        ),
    }


def _page_of(contents: RunContents, panels: list[dict[str, Any]]) -> str:
    courses = {panel["key"]: panel["payload"] | {"sources": panel["sources"]} for panel in panels}
    style = Markup(asset("report.css").replace("RUN_ID", re.sub(r"[^\w:.\-]", "", contents.run["run_id"])))  # noqa: S704
    early = Markup('document.documentElement.classList.add("js");')
    libraries = [Markup(asset(name)) for name in _LIBRARIES]  # noqa: S704  (files of this package)
    own = Markup("\n".join(asset(name) for name in _OWN))  # noqa: S704
    literature = numbered_literature(panels)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            **_shared(contents, panels),
            groups=group_counts(panels),
            presets=presets(),
            title=words.day(words.local(contents.run["as_of"], zone_of(contents))),
            policy_header=Markup(  # noqa: S704  (hashes of this module)
                f"default-src 'none'; script-src {hashes([early, *libraries, own])}; "
                f"style-src {hashes([style, _PLOT_STYLE])}; base-uri 'none'; form-action 'none'"
            ),
            style=style,
            early=early,
            libraries=libraries,
            own=own,
            headline=headline(contents),
            panels=panels,
            total=contents.worklist.height,
            left=contents.left.to_dicts(),
            cannot_assess=unknown_rows(contents),
            unknown_more=max(contents.cannot_assess.height - MOST_UNKNOWN, 0),
            files=contents.source_file.to_dicts(),
            quality=quality(contents) | quality_tables(contents),
            suspects=contents.suspects.to_dicts(),
            policy_rows=policy_rows(contents.run["policy_sha256"]),
            rules=[
                row | {"family": words.RULE_FAMILIES.get(row["rule_id"].split("-")[0], "")}
                for row in contents.rules.to_dicts()
            ],
            bands=load_reference().anc_bands.to_dicts(),
            literature=literature,
            is_latest=contents.is_latest,
            warnings=contents.warnings.to_dicts(),
            overview=packed(overview(contents, panels) | {"courses": courses, "deciding": deciding(contents, panels)}),
            has_history=contents.trend.height > 1,
            has_baselines=any(panel["baseline"] is not None for panel in panels),
            throughput=contents.throughput.to_dicts(),
            review_time=contents.review_time.to_dicts(),
            days_of_reviews=DAYS_OF_REVIEWS,
        )
    )


def headline(contents: RunContents) -> dict[str, Any]:
    """Counts that add up: open rows by priority, changes, what reviewers set aside, and how fresh the feed is.

    The worklist is counted as everywhere else: rows that are there the next night, too; who recovered or was withdrawn is
    counted beside it.
    """
    run, on_list = contents.run, contents.worklist.filter("is_staying")
    is_open = on_list.filter(~pl.col("is_set_aside"))
    newest, previous = run["newest_result_at"], contents.previous
    by_priority = dict(is_open.group_by(pl.col("priority").cast(pl.String)).len().iter_rows())
    by_change = dict(on_list.group_by("change").len().iter_rows())
    changed = {
        (priority, change): n
        for priority, change, n in is_open.group_by(pl.col("priority").cast(pl.String), "change").len().iter_rows()
    }
    return {
        "tiles": [
            {
                "priority": name,
                "n": by_priority.get(name, 0),
                "new": changed.get((name, "new"), 0),
                "escalated": changed.get((name, "escalated"), 0),
            }
            for name in PRIORITIES[::-1]
            if name != "info" or by_priority.get(name)
        ],
        "on_list": on_list.height,
        "open": is_open.height,
        "set_aside": on_list.height - is_open.height,
        "changes": {name: by_change.get(name, 0) for name in ("new", "escalated", "unchanged", "improved")},
        "recovered": contents.worklist.height - on_list.height,
        "left": {name: contents.left.filter(change=name).height for name in ("resolved", "withdrawn", "died")},
        "cannot_assess": contents.cannot_assess["patient_id"].n_unique(),
        "patients": contents.counts.get("patients", 0),
        "newest_age": words.duration(run["as_of"] - newest) if newest else None,
        "not_used": _not_used(contents.data_quality),
        "is_ahead": newest is not None and newest > run["as_of"],
        "is_silent": newest is None or (previous is not None and (previous["newest_result_at"] or newest) >= newest),
        "has_data": bool(contents.chart_rows["lab_result"]),
        "has_new_data": bool(run["rows_accepted"]),
        "is_missed": not {"no_data", "nothing_new"}.isdisjoint(contents.warnings["kind"]),
        "previous": previous,
    }


def _not_used(counted: pl.DataFrame) -> dict[str, str]:
    """Disposition -> why its rows were not used, the commonest reasons with their numbers."""
    of = counted.group_by("disposition", "reason").agg(pl.col("rows").sum()).drop_nulls("reason")
    of = of.sort("disposition", "rows", "reason", descending=[False, True, False])
    by_disposition = {}
    for (disposition,), reasons in of.group_by("disposition", maintain_order=True):
        named = [f"{words.spoken(reason)} {rows:,}" for reason, rows in reasons.select("reason", "rows").head(3).rows()]
        by_disposition[str(disposition)] = ", ".join([*named, "…"] if reasons.height > len(named) else named)
    return by_disposition


def quality(contents: RunContents) -> dict[str, Any]:
    """Rows by what became of them and why, over all files, and the same by file and laboratory."""
    counted = contents.data_quality
    by_reason = (
        counted.filter(pl.col("disposition") != "accepted")
        .group_by("disposition", "reason")
        .agg(pl.col("rows").sum())
        .sort("disposition", "rows", "reason", descending=[False, True, False])
    )
    by_analyte = counted.filter(pl.col("disposition") != "accepted").sort(
        "rows",
        "disposition",
        "reason",
        "analyte",
        "lab",
        "source_file",
        descending=[True, *[False] * 5],
        nulls_last=True,
    )
    by_lab = (
        counted.group_by("source_file", "lab")
        .agg(
            rows=pl.col("rows").sum(),
            **{name: pl.col("rows").filter(pl.col("disposition") == name).sum() for name in words.DISPOSITIONS},
        )
        .sort("source_file", "lab", nulls_last=True)
    )
    return {
        "reasons": by_reason.to_dicts(),
        "labs": by_lab.to_dicts(),
        "details": by_analyte.head(100).to_dicts(),
        "details_more": max(by_analyte.height - 100, 0),
    }


def overview(contents: RunContents, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """What the charts of the whole unit draw: open rows per run and priority, and nadir against baseline per patient."""
    analytes = {row["analyte"]: row for row in load_reference().analytes.iter_rows(named=True)}
    return {
        "bands": [[band["severity"], band["lower"], band["upper"]] for band in load_reference().anc_bands.to_dicts()],
        "methods": [words.METHODS[name] for name in ANC_METHODS],
        "lines": [
            [
                name,
                analytes[name]["label"].removesuffix(", absolute"),
                analytes[name]["canonical_unit"].replace("10*9/L", "×10⁹/L"),
            ]
            for name in OTHER_LINES
        ],
        "shapes": dict(words.PRIORITY_SHAPES),
        "as_of": minutes(contents.run["as_of"]),
        "zone": zone_of(contents),
        "history": [
            [
                row["run_id"],
                *(row[name] for name in (*PRIORITIES[::-1], "new", "escalated", "resolved", "cannot_assess")),
            ]
            for row in contents.trend.tail(MOST_RUNS).to_dicts()
        ],
        "population": [
            [
                panel["key"],
                words.shown(panel["patient_id"]),
                panel["baseline"],
                panel["nadir_cells_per_ul"],
                panel["priority"],
            ]
            for panel in panels
            if panel["baseline"] is not None and panel["nadir_cells_per_ul"] is not None
        ],
    }


def group_counts(panels: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Name, title and number of the rows of each group of the page that has any, in the page's order."""
    of = Counter(panel["group"] for panel in panels if not panel["is_set_aside"])
    return [(name, title, of[name]) for name, title in words.GROUPS.items() if of[name]]


def ward_counts(panels: list[dict[str, Any]]) -> list[tuple[str | None, int]]:
    """Each ward of the page by name with its rows, then how many are of no known ward; empty where none is named."""
    of = Counter(panel["ward"] for panel in panels if not panel["is_set_aside"])
    named = sorted((ward, n) for ward, n in of.items() if ward)
    return [*named, *([(None, of[None])] if of[None] else [])] if named else []


def numbered_literature(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every figure from the literature once, numbered from 1; each panel gets the numbers of its own (``cited``)."""
    figures = dict.fromkeys(
        (words.prose(row["statement"], "UTC"), words.source(row["source"]))
        for row in load_cause_reference().literature.to_dicts()
    )
    figures |= dict.fromkeys((line["statement"], line["source"]) for panel in panels for line in panel["literature"])
    numbers = {figure: number for number, figure in enumerate(figures, start=1)}
    for panel in panels:
        panel["cited"] = sorted({numbers[line["statement"], line["source"]] for line in panel["literature"]})
    return [{"number": n, "statement": statement, "source": source} for (statement, source), n in numbers.items()]


def policy_rows(sha256: str) -> list[dict[str, Any]] | None:
    """Every number of the built-in policy with unit and source; null where the run used other numbers."""
    if load_policy().sha256 != sha256:
        return None
    policy = tomllib.loads((FOLDER / "policy.toml").read_text("utf-8"))
    return [
        {"name": f"{section}.{name}", **entry}
        for section, entries in policy.items()
        if isinstance(entries, dict)
        for name, entry in entries.items()
    ]


def packed(value: object) -> Markup:
    """JSON, gzip, base64: a quarter of the size, and no text in it can end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Markup(base64.b64encode(gzip.compress(text, compresslevel=6, mtime=0)).decode())  # noqa: S704  (base64)


def _keep_sources_in_room(panels: list[dict[str, Any]]) -> None:
    """Keep the rows as read of the most urgent patients only, as far as there is room; null says that they were left out."""
    room = SOURCE_ROOM_BYTES
    for panel in panels:
        room -= len(json.dumps(panel["sources"], ensure_ascii=False).encode())
        if room < 0:
            panel["sources"] = None


@cache
def _environment() -> Environment:
    environment = escaping_environment()
    environment.globals["shapes"] = words.PRIORITY_SHAPES
    environment.globals["time_oddities"] = list(words.TIME_ODDITIES.items())
    environment.globals["dispositions"] = words.DISPOSITIONS
    environment.globals["methods"] = words.METHODS
    environment.globals["cytopenias"] = words.CYTOPENIAS
    environment.globals["next_steps"] = words.NEXT_STEPS
    environment.filters |= {
        "near": _near,
        "day": _day,
        "minute": _minute,
        "percent": words.percent,
        "sentence": words.sentence,
        "record_address": record_address,
        "count": words.count,
        "spoken": words.spoken,
        "refused": words.refused,
        "hours": words.hours,
    }
    return environment


@pass_context
def _near(context: Context, moment: datetime | None, now: datetime) -> str:
    zone = context["zone"]
    return words.near(words.local(moment, zone), words.local(now, zone))


@pass_context
def _day(context: Context, moment: date | None) -> str:
    return words.day(words.local(moment, context["zone"]))


@pass_context
def _minute(context: Context, moment: datetime | None) -> str:
    return words.minute(words.local(moment, context["zone"]))


def record_address(patient_id: str, template: str) -> str:
    """The address of a patient in the hospital's record system: the profile's template with the identifier, encoded."""
    return template.replace("{patient_id}", quote(patient_id, safe=""))

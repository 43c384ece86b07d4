"""Timeliness: what did not come in tonight that should have. Pure: frames in, findings out.

A laboratory, an analyte of it or a kind of data is missed on the first night on which it was due by its own rhythm
(``quality.rhythm``); a laboratory or kind without one when nothing has come for longer than its usual interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas.store import LaboratoryDay, RunWarning
from neutro_screen.quality.rhythm import (
    by_night,
    due_sources,
    is_quiet_night,
    laboratories_by_night,
    missing_analytes,
    numbered_nights,
    shrunken_sources,
)
from neutro_screen.reference import load_reference
from neutro_screen.reference.policy_sections import SilenceRule
from neutro_screen.validate import dtypes, in_shape

#: The most urgent first.
WARNING_KINDS: Final = (
    "no_data",
    "nothing_new",
    "late_feed",
    "silent_laboratory",
    "missing_analyte",
    "shrunken_extract",
    "missing_extract",
)
#: Of a laboratory (null = not named): new results by the run that brought them.
ARRIVALS: Final[dict[str, pl.DataType]] = {
    "at": pl.Datetime("us"),
    "lab": pl.String(),
    "analyte": pl.String(),
    "n": pl.Int64(),
}
#: Of a kind of data: the rows read of it by the run that read them.
EXTRACTS: Final[dict[str, pl.DataType]] = {"at": pl.Datetime("us"), "kind": pl.String(), "n": pl.Int64()}


@dataclass(frozen=True)
class Received:
    """What was received, tonight and before.

    ``read_rows`` of tonight are laboratory rows, ``usable_rows`` of them results of the screen's analytes and ``new_rows`` of
    these were not in the store. ``days`` (``LaboratoryDay``) are all days ever collected on, ``arrivals`` (``ARRIVALS``),
    ``extracts`` (``EXTRACTS``) and ``runs`` (at) of the last runs, tonight's included.
    """

    read_rows: int
    usable_rows: int
    new_rows: int
    days: pl.DataFrame
    arrivals: pl.DataFrame
    extracts: pl.DataFrame
    runs: pl.DataFrame


def laboratory_days(results: pl.DataFrame, known: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The days on which each laboratory collected, those ``known`` and those of new ``results`` (``LabResult``).

    A time after ``as_of`` is no evidence that the feed works and is left out.
    """
    added = results.filter(pl.col("collected_at") <= as_of).select(
        "lab", day=pl.col("collected_at").dt.date(), newest_at="collected_at"
    )
    together = pl.concat([known.select("lab", "day", "newest_at"), added])
    days = together.group_by("lab", "day").agg(pl.col("newest_at").max()).sort("lab", "day", nulls_last=True)
    return in_shape(days, LaboratoryDay)


def silence_warnings(received: Received, as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    """What did not come in (``RunWarning`` without run_id), the most urgent first."""
    nights = numbered_nights(received.runs, as_of)
    results = by_night(received.arrivals.filter(pl.col("n") > 0), nights)
    laboratories = laboratories_by_night(results)
    due = due_sources(laboratories.filter(~_is_named(rule.laboratory_h, "name")), nights, as_of, rule)
    is_quiet = not due["is_silent"].any() and is_quiet_night(laboratories, nights)
    silent = pl.concat([_silent_by_rhythm(due, nights), _silent_laboratories(received.days, as_of, rule)]).unique(
        "lab", keep="first", maintain_order=True
    )
    kinds = by_night(received.extracts.rename({"kind": "name"}), nights).filter(
        pl.col("n") > 0, pl.col("name") != "lab"
    )
    missing = pl.concat(
        [
            _missing_by_rhythm(due_sources(kinds, nights, as_of, rule), nights),
            _missing_extracts(received.extracts, as_of, rule),
        ]
    ).unique("name", keep="first", maintain_order=True)
    parts = [
        _nothing(received, due, is_quiet),
        _late_feed(received.days, as_of, rule, is_quiet),
        silent,
        _missing_analytes(missing_analytes(results, rule), nights),
        _shrunken(laboratories, nights, rule),
        missing.drop("name"),
    ]
    order = pl.col("kind").replace_strict({kind: place for place, kind in enumerate(WARNING_KINDS)})
    return pl.concat(parts).sort(order, "lab", "detail", nulls_last=False)


def _nothing(received: Received, due: pl.DataFrame, is_quiet: bool) -> pl.DataFrame:
    """Nothing came, or nothing new, on a night on which something should have."""
    last = received.days["newest_at"].max()
    newest = last if isinstance(last, datetime) else None
    if received.usable_rows == 0 and not (is_quiet and received.read_rows == 0):
        return _finding(
            "no_data", "no result of the screen's analytes came in: no flags does not mean no neutropenia", newest
        )
    if received.new_rows == 0 and not is_quiet:
        return _finding("nothing_new", "every accepted row was in the store already: is the export new?", newest)
    if due.height and due["is_silent"].all():
        return _finding("nothing_new", f"none of the {due.height} laboratories that were due sent anything new", newest)
    return _findings(pl.DataFrame(schema=_SHAPE))


def _silent_by_rhythm(due: pl.DataFrame, nights: pl.DataFrame) -> pl.DataFrame:
    return _findings(
        due.filter("is_silent")
        .pipe(_with_since, nights)
        .with_columns(
            kind=pl.lit("silent_laboratory"),
            lab="name",
            detail=pl.when(pl.col("due_by").is_null())
            .then(pl.format("nothing new tonight; about {} specimens were due by now", _whole("expected")))
            .otherwise(pl.format("nothing new tonight; by its own calendar it was due on {}", "due_by")),
        )
    )


def _missing_by_rhythm(due: pl.DataFrame, nights: pl.DataFrame) -> pl.DataFrame:
    found = due.filter("is_silent").pipe(_with_since, nights)
    by_week = pl.format("no {} extract tonight; about {} rows were due by now", "name", _whole("expected"))
    by_calendar = pl.format("no {} extract tonight; by its own calendar it was due on {}", "name", "due_by")
    return _of_kinds(
        found.with_columns(detail=pl.when(pl.col("due_by").is_null()).then(by_week).otherwise(by_calendar))
    )


def _missing_analytes(missing: pl.DataFrame, nights: pl.DataFrame) -> pl.DataFrame:
    """One finding a laboratory, the analytes that feed the count first."""
    reference = load_reference().analytes.select("analyte", "label", "feeds_anc")
    return _findings(
        missing.join(reference, on="analyte", how="left")
        .pipe(_with_since, nights)
        .sort("lab", ~pl.col("feeds_anc").fill_null(False), "analyte")
        .group_by("lab", maintain_order=True)
        .agg(pl.col("since").max(), named=pl.coalesce("label", "analyte").str.join("; "), base=pl.col("base").min())
        .with_columns(
            kind=pl.lit("missing_analyte"),
            detail=pl.format("no results of {} with about {} specimens: is a test renamed?", "named", "base"),
        )
    )


def _shrunken(laboratories: pl.DataFrame, nights: pl.DataFrame, rule: SilenceRule) -> pl.DataFrame:
    """Far fewer specimens than usual of a laboratory, or of all of them together."""
    alone = shrunken_sources(laboratories, nights, rule).with_columns(of=pl.lit(""))
    together = laboratories.group_by("night").agg(pl.col("n").sum()).with_columns(name=pl.lit(None, pl.String))
    is_one = laboratories["name"].n_unique() < 2
    of_all = shrunken_sources(together, nights, rule).with_columns(of=pl.lit(" of all laboratories"))
    return _findings(
        pl.concat([of_all.clear() if is_one else of_all, alone]).with_columns(
            kind=pl.lit("shrunken_extract"),
            lab="name",
            detail=pl.format("about {} specimens{} tonight; usually about {}", "n", "of", _whole("usual")),
            since=pl.lit(None, pl.Datetime("us")),
        )
    )


def _late_feed(days: pl.DataFrame, as_of: datetime, rule: SilenceRule, is_quiet: bool) -> pl.DataFrame:
    """The newest result of all, or of a laboratory with an expectation of its own, is older than expected.

    On a quiet night (nothing new is usual on this weekday) the newest result of all may be older.
    """
    newest = pl.concat(
        [
            days.select(lab=pl.lit(None, pl.String), last=pl.col("newest_at").max()).head(1),
            days.group_by("lab").agg(last=pl.col("newest_at").max()).filter(_is_named(rule.laboratory_h)),
            # A laboratory that is expected and has never sent a result.
            pl.DataFrame(
                {"lab": sorted(rule.laboratory_h.keys() - set(days["lab"].drop_nulls())), "last": None},
                schema={"lab": pl.String, "last": pl.Datetime("us")},
            ),
        ]
    )
    limits: Mapping[str, float] = rule.laboratory_h
    late = newest.with_columns(
        limit_h=pl.col("lab").replace_strict(limits, default=rule.newest_result_h, return_dtype=pl.Float64),
        age_h=(pl.lit(as_of) - pl.col("last")).dt.total_minutes() / 60,
    ).filter((pl.col("age_h") > pl.col("limit_h")) | (pl.col("last").is_null() & pl.col("lab").is_not_null()))
    return _findings(
        late.filter(pl.col("lab").is_not_null() | pl.lit(not is_quiet)).with_columns(
            kind=pl.lit("late_feed"),
            detail=pl.when(pl.col("last").is_null())
            .then(pl.lit("no result was ever received"))
            .otherwise(pl.format("newest result {} h old; expected within {} h", _tenths("age_h"), _tenths("limit_h"))),
            since="last",
        )
    )


def _silent_laboratories(days: pl.DataFrame, as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    received = days.filter(~_is_named(rule.laboratory_h)).select(name="lab", at=pl.col("newest_at"))
    late = _overdue(received, as_of, rule)
    return _findings(
        late.with_columns(
            kind=pl.lit("silent_laboratory"),
            lab="name",
            detail=pl.format("no result for {} d; usually within {} d", _tenths("age_d"), _tenths("usual_d")),
            since="last",
        )
    )


def _missing_extracts(extracts: pl.DataFrame, as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    late = _overdue(extracts.filter(pl.col("n") > 0).select(name="kind", at="at"), as_of, rule)
    detail = pl.format("no {} extract for {} d; usually within {} d", "name", _tenths("age_d"), _tenths("usual_d"))
    return _of_kinds(late.with_columns(detail=detail, since="last"))


def _of_kinds(found: pl.DataFrame) -> pl.DataFrame:
    """Findings of kinds of data (name), with the kind as ``name``."""
    shaped = found.with_columns(kind=pl.lit("missing_extract"), lab=pl.lit(None, pl.String))
    return _findings(shaped).with_columns(name=found["name"])


def _overdue(received: pl.DataFrame, as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    """Sources (name; received ``at``) that are overdue: last, age_d, usual_d.

    Usual is a high quantile of the last gaps, so that free weekends and weekly clinics are within it. A source that has
    been silent for very long has stopped for good and is no longer reported.
    """
    day = timedelta(days=1) / timedelta(seconds=1)
    gap = pl.col("at").diff().over("name", order_by="at").dt.total_seconds() / day
    return (
        received.unique()
        .sort("name", "at", nulls_last=True)
        .with_columns(gap=gap)
        .group_by("name", maintain_order=True)
        .agg(
            last=pl.col("at").max(),
            gaps=pl.col("gap").tail(rule.usual_gaps_n).count(),
            usual_d=pl.col("gap").tail(rule.usual_gaps_n).quantile(rule.usual_quantile, "higher"),
        )
        .with_columns(age_d=(pl.lit(as_of) - pl.col("last")).dt.total_seconds() / day)
        .filter(
            (pl.col("gaps") >= rule.minimum_gaps_n)
            & (pl.col("age_d") > pl.max_horizontal(pl.col("usual_d") * rule.usual_factor, rule.shortest_d))
            & (pl.col("age_d") <= rule.stopped_d)
        )
    )


def _is_named(laboratories: Mapping[str, float], column: str = "lab") -> pl.Expr:
    return pl.col(column).is_in(list(laboratories)).fill_null(False)


def _with_since(found: pl.DataFrame, nights: pl.DataFrame) -> pl.DataFrame:
    """With the time of the run (since) that last brought something, in the night ``last_night``."""
    times = nights.group_by("night").agg(since=pl.col("at").max())
    return found.join(times, left_on="last_night", right_on="night", how="left", maintain_order="left")


def _whole(name: str) -> pl.Expr:
    return pl.col(name).round(0).cast(pl.Int64)


def _tenths(name: str) -> pl.Expr:
    return pl.col(name).round(1)


def _finding(kind: str, detail: str, since: datetime | None) -> pl.DataFrame:
    return pl.DataFrame([{"kind": kind, "lab": None, "detail": detail, "since": since}], schema=_SHAPE)


def _findings(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in _SHAPE.items())


_SHAPE: Final = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}

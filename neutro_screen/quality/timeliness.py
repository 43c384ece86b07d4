"""Timeliness: what did not come in tonight, and for how long. Pure: frames in, findings out.

A laboratory, or a kind of data, is overdue when nothing has come from it for longer than its own usual interval.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas.store import LaboratoryDay, RunWarning
from neutro_screen.reference.policy import SilenceRule
from neutro_screen.validate import dtypes, in_shape

#: The most urgent first.
WARNING_KINDS: Final = ("no_data", "nothing_new", "late_feed", "silent_laboratory", "missing_extract")


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


def silence_warnings(
    *, usable_rows: int, new_rows: int, days: pl.DataFrame, extracts: pl.DataFrame, as_of: datetime, rule: SilenceRule
) -> pl.DataFrame:
    """What did not come in (``RunWarning`` without run_id), the most urgent first.

    ``usable_rows`` of tonight are results of the screen's analytes, ``new_rows`` of them were not in the store. ``days``
    (``LaboratoryDay``) are all days ever received, ``extracts`` (kind, at) the runs that brought each kind of data,
    tonight's included.
    """
    newest = days["newest_at"].max()
    parts = [
        _nothing(usable_rows, new_rows, newest if isinstance(newest, datetime) else None),
        _late_feed(days, as_of, rule),
        _silent_laboratories(days, as_of, rule),
        _missing_extracts(extracts, as_of, rule),
    ]
    order = pl.col("kind").replace_strict({kind: place for place, kind in enumerate(WARNING_KINDS)})
    return pl.concat(parts).sort(order, "lab", "detail", nulls_last=False)


def _nothing(usable_rows: int, new_rows: int, newest: datetime | None) -> pl.DataFrame:
    if usable_rows == 0:
        return _finding(
            "no_data", "no result of the screen's analytes came in: no flags does not mean no neutropenia", newest
        )
    if new_rows == 0:
        return _finding("nothing_new", "every accepted row was in the store already: is the export new?", newest)
    return _findings(pl.DataFrame(schema=_SHAPE))


def _late_feed(days: pl.DataFrame, as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    """The newest result of all, or of a laboratory with an expectation of its own, is older than expected."""
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
        late.with_columns(
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
    late = _overdue(extracts.select(name="kind", at="at"), as_of, rule)
    return _findings(
        late.with_columns(
            kind=pl.lit("missing_extract"),
            lab=pl.lit(None, pl.String),
            detail=pl.format(
                "no {} extract for {} d; usually within {} d", pl.col("name"), _tenths("age_d"), _tenths("usual_d")
            ),
            since="last",
        )
    )


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


def _is_named(laboratories: Mapping[str, float]) -> pl.Expr:
    return pl.col("lab").is_in(list(laboratories)).fill_null(False)


def _tenths(name: str) -> pl.Expr:
    return pl.col(name).round(1)


def _finding(kind: str, detail: str, since: datetime | None) -> pl.DataFrame:
    return pl.DataFrame([{"kind": kind, "lab": None, "detail": detail, "since": since}], schema=_SHAPE)


def _findings(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in _SHAPE.items())


_SHAPE: Final = {name: dtype for name, dtype in dtypes(RunWarning).items() if name != "run_id"}

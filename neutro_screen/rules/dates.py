"""Dates that cannot be: before anybody alive was born, or years after the run (policy ``[dates]``).

Such a date is an error of the source (year 0, an empty field filled with 0001-01-01, 9999-12-31); years outside 1 to 9999
are also more than Python and most databases can hold. They are found row by row, before anything is reckoned from them.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final, Literal, NamedTuple

import polars as pl

from neutro_screen.reference import Policy

#: The reason of a refusal for such a date in a laboratory row, and in any other kind of row.
IMPOSSIBLE_TIME: Final = "impossible_time"
IMPOSSIBLE_DATE: Final = "impossible_date"
#: The times of a laboratory row; where one cannot be, ``with_impossible_times`` keeps what was read under the second name.
LAB_TIMES: Final = {"collected_at": "impossible_collected_at", "resulted_at": "impossible_resulted_at"}

#: Kind of chart row -> its dates. Without a needed one the row says nothing and is refused; without an optional one the
#: row counts with the date unknown, since a patient, a drug or a diagnosis would be lost with it.
CHART_DATES: Final[Mapping[str, Mapping[str, Literal["needed", "optional"]]]] = {
    "medication": {"start_date": "needed", "end_date": "optional"},
    "patient": {"birth_date": "optional"},
    "diagnosis": {"date": "optional"},
    "event": {"occurred_at": "needed"},
}


class DateLimits(NamedTuple):
    """The first and the last day that a date may have."""

    earliest: date
    latest: date


class ChartDates(NamedTuple):
    """``rows``: those that can be used, impossible optional dates null; ``impossible``: every row with an impossible date,
    as read, with ``reason`` and ``column`` (the needed one first)."""

    rows: pl.DataFrame
    impossible: pl.DataFrame


def date_limits(policy: Policy, as_of: datetime) -> DateLimits:
    """The limits of a run."""
    rule = policy.dates
    room = (date.max - as_of.date()).days
    latest = as_of.date() + timedelta(days=min(rule.latest_after_run_d, room))
    return DateLimits(date(rule.earliest_year, 1, 1), latest)


def is_impossible(column: str, limits: DateLimits) -> pl.Expr:
    """Whether a date or time (UTC) is outside the limits; false where it is null."""
    return (~pl.col(column).cast(pl.Date).is_between(*limits)).fill_null(False)


def with_impossible_times(rows: pl.DataFrame, limits: DateLimits) -> pl.DataFrame:
    """Laboratory rows with the times that cannot be moved to the columns of ``LAB_TIMES``; the time itself is then null."""
    return rows.with_columns(
        pl.when(is_impossible(time, limits)).then(time).alias(impossible) for time, impossible in LAB_TIMES.items()
    ).with_columns(
        pl.when(pl.col(impossible).is_null()).then(time).alias(time) for time, impossible in LAB_TIMES.items()
    )


def split_chart_dates(rows: pl.DataFrame, kind: str, limits: DateLimits) -> ChartDates:
    """Part the rows of a chart kind by ``CHART_DATES``."""
    dates = CHART_DATES[kind]
    impossible = {name: is_impossible(name, limits) for name in dates}
    needed = [impossible[name] for name, use in dates.items() if use == "needed"]
    reported = rows.filter(pl.any_horizontal(impossible.values()))
    if not reported.height:
        return ChartDates(rows, _reported(reported, impossible))
    cleared = [pl.when(~impossible[name]).then(name).alias(name) for name, use in dates.items() if use == "optional"]
    return ChartDates(
        rows.filter(~pl.any_horizontal(*needed, pl.lit(False))).with_columns(cleared), _reported(reported, impossible)
    )


def _reported(rows: pl.DataFrame, impossible: Mapping[str, pl.Expr]) -> pl.DataFrame:
    column = pl.coalesce(pl.when(is_so).then(pl.lit(name)) for name, is_so in impossible.items())
    return rows.with_columns(reason=pl.lit(IMPOSSIBLE_DATE), column=column)

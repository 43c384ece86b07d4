"""The formats of the times in a sample: days and clocks as exports write them, and which of them fit a column."""

import json
import re
from collections.abc import Mapping
from typing import Final

import polars as pl

from neutro_screen.ingest.times import BUDDHIST, SPREADSHEET, parse_times

#: Day, month and year as exports write them; day and month change places where a slash or dash leaves it open.
_DAYS: Final = (
    "%d.%m.%Y",
    "%Y%m%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d-%b-%y",
    "%d%b%Y",
    "%d%b%y",
    "%d/%b/%Y",
    "%d.%m.%Y.",
    "%d. %m. %Y",
    "%Y.%m.%d.",
    "%Y. %m. %d.",
    "%d %B %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%Y\u5e74%m\u6708%d\u65e5",
    "%d-%m-%y",
)
_CLOCKS: Final = (
    " %H:%M",
    " %H:%M:%S",
    "",
    " %H.%M",
    ", %H:%M",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %H:%M:%S%.f",
    "T%H:%M:%S",
    ":%H:%M:%S",
    ":%H:%M:%S%.f",
    " %Hh%M",
    " %H.%M.%S",
    " %I.%M.%S%.f %p",
    " %I:%M%p",
    " %l:%M%p",
    " %H%M",
    " %H%M%S",
    ", %I:%M %p",
)
_WRITTEN: Final = (*(day + clock for day in _DAYS for clock in _CLOCKS), "%Y%m%d%H%M%S", "%Y%m%d%H%M")
#: Years of another calendar, and numbers that count time, are tried where no other format fits.
_COUNTED: Final = (
    SPREADSHEET,
    "%s",
    *(BUDDHIST + day + clock for day in ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y-%m-%d") for clock in _CLOCKS[:3]),
)
_DAY_FORMATS: Final = tuple(each for each in _WRITTEN if not re.search("%[HIl]", each))
#: A format of a year with four digits reads 26 as the year 26.
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
_OPEN_ORDERS: Final = frozenset({"%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y"})


def is_day(values: pl.Series) -> bool:
    """Whether one format of days, without a time of day, fits all values."""
    return bool(_fitting(values, _DAY_FORMATS, first=True))


def time_lines(columns: Mapping[str, pl.Series]) -> list[str]:
    """The lines of a profile that name the formats of times: those that fit every value of a column.

    ``columns`` are the texts of each timed column by its name; one order of day and month holds for all of them.
    """
    options: dict[str, list[str]] = {}
    notes: list[str] = []
    for name, values in columns.items():
        if not values.len() or parse_times(values, "UTC").utc.null_count() == 0:
            continue
        if reading := _fitting(values, _WRITTEN) or _fitting(values, _COUNTED, first=True):
            options[name] = reading
        else:
            notes.append(f"# No known format fits all times of the column {name!r}: add it to datetime_formats.")
    orders = {_order(reading[0]) for reading in options.values() if len({_order(each) for each in reading}) == 1}
    formats: list[str] = []
    for name, reading in options.items():
        kept = [each for each in reading if _order(each) in orders] if len(orders) == 1 else reading
        if len({_order(each) for each in kept}) > 1:
            notes.append(f"# The column {name!r} fits day/month and month/day alike: keep the right one of {reading}.")
        elif kept[0] not in formats:
            formats.append(kept[0])
    return notes + ([f"datetime_formats = {json.dumps(formats, ensure_ascii=False)}"] if formats else [])


def _fitting(values: pl.Series, formats: tuple[str, ...], *, first: bool = False) -> list[str]:
    """The formats that fit all values; few fit the first of them."""
    distinct = values.unique(maintain_order=True)
    fitting: list[str] = []
    for each in dict.fromkeys(formats):
        if _reads_first(distinct, each) and _fits(distinct, each):
            fitting.append(each)
            if first:
                break
    return fitting


def _reads_first(values: pl.Series, datetime_format: str) -> bool:
    """Whether a format as it is written reads the first value; the others need not be looked at where it does not."""
    if datetime_format == SPREADSHEET or datetime_format.startswith(BUDDHIST):
        return _fits(values.head(1), datetime_format)
    if re.search("%[HIls]", datetime_format):
        return values.head(1).str.to_datetime(datetime_format, strict=False).null_count() == 0
    return values.head(1).str.to_date(datetime_format, strict=False).null_count() == 0


def _fits(values: pl.Series, datetime_format: str) -> bool:
    utc = parse_times(values, "UTC", (datetime_format,)).utc
    return utc.null_count() == 0 and bool(utc.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR).all())


def _order(datetime_format: str) -> str:
    """Which of day and month comes first where slashes or dashes leave it open; empty elsewhere."""
    day = re.split("[ ,:T]", datetime_format)[0]
    return re.sub(r"[^dm]", "", day)[:2] if day in _OPEN_ORDERS else ""

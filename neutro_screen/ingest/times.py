"""Times and dates of a source, as text, become UTC datetimes and days."""

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

UTC_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
LOCAL_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
)
DATE_FORMATS: Final = ("%Y-%m-%d",)


def parse_times(texts: pl.Series, time_zone: str, formats: Sequence[str] = ()) -> pl.Series:
    """Parse times into UTC (``Datetime('us')`` without zone).

    A time with its own offset keeps it; the others are in ``time_zone``. In the hour that a clock shows twice the
    earlier one is meant; a time that the clock skipped counts one hour later. A date alone is its midnight.
    Null where the text is null or fits no format.
    """
    texts = texts.str.strip_chars()
    texts = texts.set(texts == "", None)
    parsed = pl.Series(texts.name, [None], dtype=pl.Datetime("us")).new_from_index(0, texts.len())
    for format_ in (*formats, *LOCAL_FORMATS, *DATE_FORMATS):
        if not _pending(parsed, texts).any():
            return parsed
        read = (
            texts.str.to_date(format_, strict=False).cast(pl.Datetime("us"))
            if not _has_clock(format_)
            else texts.str.to_datetime(format_, strict=False, time_unit="us")
        )
        if isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone is not None:
            local = read.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        else:
            local = _to_utc(read, time_zone)
        parsed = parsed.zip_with(parsed.is_not_null(), local)
    for format_ in UTC_FORMATS:
        if not _pending(parsed, texts).any():
            break
        zoned = texts.str.replace(r"[Zz]$", "+00:00").str.to_datetime(format_, strict=False, time_unit="us")
        parsed = parsed.zip_with(parsed.is_not_null(), zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
    return parsed


def parse_dates(texts: pl.Series, formats: Sequence[str] = ()) -> pl.DataFrame:
    """Parse dates into ``earliest`` and ``latest`` (Date): a partial date (2026-03, 2026) is the interval it spans.

    The time of a full timestamp is dropped. Null where the text is null or fits no format.
    """
    texts = texts.str.strip_chars()
    frame = pl.DataFrame({"text": texts.set(texts == "", None)})
    text = pl.col("text")
    exact = pl.coalesce(
        *(text.str.to_date(format_, strict=False) for format_ in formats if not _has_clock(format_)),
        *(text.str.to_datetime(format_, strict=False).dt.date() for format_ in formats if _has_clock(format_)),
        text.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ].*)?$").str.to_date("%Y-%m-%d", strict=False),
        text.str.extract(r"^(\d{8})$").str.to_date("%Y%m%d", strict=False),
    )
    month = text.str.extract(r"^(\d{4}-\d{2})$").add("-01").str.to_date("%Y-%m-%d", strict=False)
    year = text.str.extract(r"^(\d{4})$").add("-01-01").str.to_date("%Y-%m-%d", strict=False)
    return frame.select(
        earliest=pl.coalesce(exact, month, year),
        latest=pl.coalesce(exact, month.dt.month_end(), year.dt.offset_by("1y").dt.offset_by("-1d")),
    )


def _has_clock(format_: str) -> bool:
    """Whether a format has a time of day: 24 or 12 hours, or one of the abbreviations that contain them."""
    return re.search(r"%[-_0]?[HkIlTRrXcs+]", format_) is not None


def _pending(parsed: pl.Series, texts: pl.Series) -> pl.Series:
    return parsed.is_null() & texts.is_not_null()


def _to_utc(local: pl.Series, time_zone: str) -> pl.Series:
    if time_zone == "UTC":
        return local

    def in_utc(times: pl.Series) -> pl.Series:
        zoned = times.dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null")
        return zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    exact = in_utc(local)
    return exact.zip_with(exact.is_not_null() | local.is_null(), in_utc(local.dt.offset_by("1h")))

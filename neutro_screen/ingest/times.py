"""Times and dates of a source, as text, become UTC datetimes and days."""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

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
#: A year of five digits is read only with its sign: then it is a date that cannot be, and not a text that is no date.
_FIVE_DIGITS: Final = r"^(\d{5})-"
_WITH_SIGN: Final = "+${1}-"
#: Microseconds, 158,000 years: nearer to the ends of the type a change of time zone panics.
_FARTHEST: Final = 5 * 10**18


#: In place of a format: days since 1899-12-30 with the time of day as a fraction, as spreadsheets count them.
SPREADSHEET: Final = "spreadsheet"
_SPREADSHEET_DAYS: Final = r"^([2-5]\d{4})(?:\.\d+)?$"
#: In front of a format: its years are of the Buddhist era, 543 more than those of the common one.
BUDDHIST: Final = "buddhist "
_BUDDHIST_YEAR: Final = r"^(.*?)\b(2[45]\d{2})\b(.*)$"
_BUDDHIST_ERA: Final = 543


#: What was unusual about a time that was read; null for the others.
DATE_ONLY: Final = "date_only"
SKIPPED: Final = "time_skipped_by_clock"
SHOWN_TWICE: Final = "time_shown_twice_by_clock"


class ParsedTimes(NamedTuple):
    """``utc``: ``Datetime('us')`` without zone; ``oddity``: DATE_ONLY, SKIPPED, SHOWN_TWICE or null (String)."""

    utc: pl.Series
    oddity: pl.Series


def parse_times(texts: pl.Series, time_zone: str, formats: Sequence[str] = ()) -> ParsedTimes:
    """Parse times into UTC.

    A time with its own offset keeps it; the others are in ``time_zone``. In the hour that a clock shows twice the
    earlier one is meant; a time that the clock skipped counts one hour later; ``oddity`` names both. A date alone
    is its midnight in UTC: no zone is applied, so that it stays the day that was written (FORMATS.md D.29).
    Null where the text is null or fits no format.

    The rows of a specimen follow each other with the same times: of texts that repeat the one before, each run is read once.
    """
    is_new = texts.ne_missing(texts.shift(1)) | (pl.int_range(texts.len(), eager=True) == 0)
    if 2 * is_new.sum() > texts.len():
        return _parsed(texts, time_zone, formats)
    once, run = _parsed(texts.filter(is_new), time_zone, formats), is_new.cum_sum() - 1
    return ParsedTimes(once.utc.gather(run), once.oddity.gather(run))


def _parsed(texts: pl.Series, time_zone: str, formats: Sequence[str]) -> ParsedTimes:
    texts = texts.str.strip_chars()
    # What no format has fitted yet; the rest is null and costs the other formats nothing.
    left = texts.set(texts == "", None)
    parsed = pl.Series(texts.name, [None], dtype=pl.Datetime("us")).new_from_index(0, texts.len())
    oddity = pl.Series(texts.name, [None], dtype=pl.String).new_from_index(0, texts.len())
    for written, format_ in (*_formats_of(formats), *((each, each) for each in (*LOCAL_FORMATS, *DATE_FORMATS))):
        if left.null_count() == left.len():
            return ParsedTimes(parsed, oddity)
        texts_left = left if written == format_ else pl.select(_common(pl.lit(left), written)).to_series()
        if not _has_clock(format_):
            read = texts_left.str.to_date(format_, strict=False).cast(pl.Datetime("us"))
            found, odd = read, _where(read.is_not_null(), DATE_ONLY)
        else:
            read = texts_left.str.to_datetime(format_, strict=False, time_unit="us")
            if isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone is not None:
                found, odd = read.dt.convert_time_zone("UTC").dt.replace_time_zone(None), None
            else:
                found, odd = _to_utc(read, time_zone)
        if odd is not None:
            oddity = oddity.zip_with(left.is_null(), odd)
        parsed = parsed.zip_with(left.is_null(), found)
        left = left.set(parsed.is_not_null(), None)
    for format_ in UTC_FORMATS:
        zoned = left.str.replace(r"[Zz]$", "+00:00").str.to_datetime(format_, strict=False, time_unit="us")
        parsed = parsed.zip_with(left.is_null(), zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
        left = left.set(parsed.is_not_null(), None)
    if left.str.contains(_FIVE_DIGITS).any():
        signed = _parsed(left.str.replace(_FIVE_DIGITS, _WITH_SIGN), time_zone, formats)
        return ParsedTimes(parsed.zip_with(left.is_null(), signed.utc), oddity)
    return ParsedTimes(parsed, oddity)


def parse_dates(texts: pl.Series, formats: Sequence[str] = ()) -> pl.DataFrame:
    """Parse dates into ``earliest`` and ``latest`` (Date): a partial date (2026-03, 2026) is the interval it spans.

    The time of a full timestamp is dropped. Null where the text is null or fits no format.
    """
    texts = texts.str.strip_chars()
    frame = pl.DataFrame({"text": texts.set(texts == "", None)})
    text = pl.col("text")
    exact = pl.coalesce(
        *(
            _common(text, written).str.to_date(format_, strict=False)
            for written, format_ in _formats_of(formats)
            if not _has_clock(format_)
        ),
        *(
            _common(text, written).str.to_datetime(format_, strict=False).dt.date()
            for written, format_ in _formats_of(formats)
            if _has_clock(format_)
        ),
        text.str.extract(r"^([+-]?\d{4,5}-\d{2}-\d{2})(?:[T ].*)?$")
        .str.replace(_FIVE_DIGITS, _WITH_SIGN)
        .str.to_date("%Y-%m-%d", strict=False),
        text.str.extract(r"^(\d{8})$").str.to_date("%Y%m%d", strict=False),
    )
    month = text.str.extract(r"^(\d{4}-\d{2})$").add("-01").str.to_date("%Y-%m-%d", strict=False)
    year = text.str.extract(r"^(\d{4})$").add("-01-01").str.to_date("%Y-%m-%d", strict=False)
    return frame.select(
        earliest=pl.coalesce(exact, month, year),
        latest=pl.coalesce(exact, month.dt.month_end(), year.dt.offset_by("1y").dt.offset_by("-1d")),
    )


def _formats_of(formats: Sequence[str]) -> list[tuple[str, str]]:
    """Each format as a profile writes it, with the format of the text that ``_common`` makes."""
    return [
        (written, format_)
        for written in formats
        for format_ in (
            (LOCAL_FORMATS[1], DATE_FORMATS[0]) if written == SPREADSHEET else (written.removeprefix(BUDDHIST),)
        )
    ]


def _common(text: pl.Expr, written: str) -> pl.Expr:
    """The text with its years, or its count of days, in the common calendar; as it stands for any other format."""
    if written == SPREADSHEET:
        counted = pl.when(text.str.contains(_SPREADSHEET_DAYS)).then(text)
        seconds = (counted.cast(pl.Float64, strict=False) * 86_400).round().cast(pl.Int64, strict=False)
        moment = pl.lit("1899-12-30").str.to_datetime("%Y-%m-%d") + pl.duration(seconds=seconds)
        is_day = text.str.contains(".", literal=True).not_()
        return pl.when(is_day).then(moment.dt.strftime(DATE_FORMATS[0])).otherwise(moment.dt.strftime(LOCAL_FORMATS[1]))
    if not written.startswith(BUDDHIST):
        return text
    year = text.str.extract(_BUDDHIST_YEAR, 2).cast(pl.Int32, strict=False) - _BUDDHIST_ERA
    return pl.concat_str(text.str.extract(_BUDDHIST_YEAR, 1), year.cast(pl.String), text.str.extract(_BUDDHIST_YEAR, 3))


def _has_clock(format_: str) -> bool:
    """Whether a format has a time of day: 24 or 12 hours, or one of the abbreviations that contain them."""
    return re.search(r"%[-_0]?[HkIlTRrXcs+]", format_) is not None


def _where(mask: pl.Series, word: str) -> pl.Series:
    """``word`` where the mask is true, else null."""
    return pl.select(pl.when(mask).then(pl.lit(word))).to_series()


def _to_utc(local: pl.Series, time_zone: str) -> tuple[pl.Series, pl.Series | None]:
    """Local times in UTC, and which of them the clock skipped or showed twice (None = none of them)."""
    local = local.set(local.cast(pl.Int64).abs() > _FARTHEST, None)
    if time_zone == "UTC":
        return local, None

    def in_utc(times: pl.Series, ambiguous: Literal["earliest", "latest"] = "earliest") -> pl.Series:
        zoned = times.dt.replace_time_zone(time_zone, ambiguous=ambiguous, non_existent="null")
        return zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    exact = in_utc(local)
    is_skipped = exact.is_null() & local.is_not_null()
    is_twofold = (exact != in_utc(local, "latest")).fill_null(False)
    oddity = pl.select(pl.when(is_skipped).then(pl.lit(SKIPPED)).when(is_twofold).then(pl.lit(SHOWN_TWICE))).to_series()
    if is_skipped.any():
        exact = exact.zip_with(~is_skipped, in_utc(local.dt.offset_by("1h")))
    return exact, oddity

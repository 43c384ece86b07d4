"""Times as text become UTC; a day that is not whole is the interval it spans."""

from datetime import date, datetime

import polars as pl
import pytest

from neutro_screen.ingest.times import parse_dates, parse_times


def parsed(text: str | None, zone: str = "UTC", *formats: str) -> datetime | None:
    found: datetime | None = parse_times(pl.Series([text], dtype=pl.String), zone, formats).utc[0]
    return found


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-10 08:15:30", datetime(2026, 1, 10, 8, 15, 30)),
        ("2026-01-10T08:15", datetime(2026, 1, 10, 8, 15)),
        (" 2026-01-10T08:15:30.250 ", datetime(2026, 1, 10, 8, 15, 30, 250_000)),
        ("2026-01-10", datetime(2026, 1, 10)),
        ("2026-01-10T08:15:30Z", datetime(2026, 1, 10, 8, 15, 30)),
        ("2026-01-10T08:15:30+02:00", datetime(2026, 1, 10, 6, 15, 30)),
        ("2026-01-10T08:15:30.5-0500", datetime(2026, 1, 10, 13, 15, 30, 500_000)),
        ("", None),
        (" ", None),
        (None, None),
        ("soon", None),
        ("2026-02-30", None),
        ("2026-01", None),
        ("10/01/2026", None),
        ("2026-01-10 25:00", None),
        ("NaN", None),
    ],
)
def test_times_without_a_format(text: str | None, utc: datetime | None) -> None:
    assert parsed(text) == utc


@pytest.mark.parametrize(
    ("format_", "text", "utc"),
    [
        ("%d.%m.%Y %H:%M", "10.01.2026 08:15", datetime(2026, 1, 10, 7, 15)),
        ("%m/%d/%Y %I:%M:%S %p", "1/10/2026 11:15:00 PM", datetime(2026, 1, 10, 22, 15)),
        ("%d.%m.%Y", "10.01.2026", datetime(2026, 1, 10)),
        ("%Y-%m-%d %H:%M %z", "2026-01-10 08:15 +0500", datetime(2026, 1, 10, 3, 15)),
    ],
)
def test_times_with_a_format_of_the_profile(format_: str, text: str, utc: datetime) -> None:
    assert parsed(text, "Europe/Berlin", format_) == utc


def test_the_hour_that_a_clock_shows_twice_or_skips() -> None:
    assert parsed("2026-10-25 02:30:00", "Europe/Berlin") == datetime(2026, 10, 25, 0, 30)
    assert parsed("2026-03-29 02:30:00", "Europe/Berlin") == datetime(2026, 3, 29, 1, 30)
    assert parsed("2026-03-08 02:30:00", "America/New_York") == datetime(2026, 3, 8, 7, 30)


def test_what_is_odd_about_a_time_is_told() -> None:
    texts = pl.Series(["2026-03-29 02:30:00", "2026-10-25 02:30:00", "2026-10-25 03:30:00", "2026-03-29", "soon", None])
    assert parse_times(texts, "Europe/Berlin").oddity.to_list() == [
        "time_skipped_by_clock",
        "time_shown_twice_by_clock",
        None,
        "date_only",
        None,
        None,
    ]
    assert parse_times(texts, "UTC").oddity.to_list() == [None, None, None, "date_only", None, None]


def test_mixed_times_of_one_column() -> None:
    texts = pl.Series(["2026-01-10", "2026-01-10T08:00:00+01:00", "2026-01-10 08:00", "x", None])
    assert parse_times(texts, "UTC").utc.to_list() == [
        datetime(2026, 1, 10),
        datetime(2026, 1, 10, 7),
        datetime(2026, 1, 10, 8),
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "earliest", "latest"),
    [
        ("2026-03-05", date(2026, 3, 5), date(2026, 3, 5)),
        ("2026-03-05T10:00:00Z", date(2026, 3, 5), date(2026, 3, 5)),
        ("20260305", date(2026, 3, 5), date(2026, 3, 5)),
        ("2026-02", date(2026, 2, 1), date(2026, 2, 28)),
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2026-13", None, None),
        ("UNK", None, None),
        (None, None, None),
    ],
)
def test_dates(text: str | None, earliest: date | None, latest: date | None) -> None:
    assert parse_dates(pl.Series([text], dtype=pl.String)).row(0) == (earliest, latest)


def test_dates_with_a_format_that_has_a_clock() -> None:
    found = parse_dates(pl.Series(["1/10/2026 11:15 PM"]), ("%m/%d/%Y %I:%M %p",))
    assert found.row(0) == (date(2026, 1, 10), date(2026, 1, 10))


def test_times_that_repeat_from_row_to_row_are_read_as_each_by_itself() -> None:
    """Runs of one time, also of none, of a time that no clock showed and of one that cannot be read."""
    runs = [(None, 3), ("2026-01-10", 4), ("2026-03-29 02:30:00", 2), (None, 1), ("soon", 3), ("2026-01-10", 2)]
    texts = pl.Series([text for text, n in runs for _ in range(n)], dtype=pl.String)
    whole = parse_times(texts, "Europe/Berlin")
    single = [parse_times(pl.Series([text], dtype=pl.String), "Europe/Berlin") for text in texts]
    assert whole.utc.to_list() == [each.utc[0] for each in single]
    assert whole.oddity.to_list() == [each.oddity[0] for each in single]

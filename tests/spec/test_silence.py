"""Silence is not health: what did not come in is reported, what is usual is not."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from neutro_screen.quality.timeliness import ARRIVALS, EXTRACTS, Received, laboratory_days, silence_warnings
from neutro_screen.reference import load_policy
from neutro_screen.reference.policy import SilenceRule
from tests.clinic import NIGHT

RULE = load_policy().silence


def days(lab: str | None, *ages_d: float) -> pl.DataFrame:
    """Days on which a laboratory collected, so many days before the night."""
    at = [NIGHT - timedelta(days=age) for age in ages_d]
    return pl.DataFrame(
        {"lab": [lab] * len(at), "day": [moment.date() for moment in at], "newest_at": at},
        schema={"lab": pl.String, "day": pl.Date, "newest_at": pl.Datetime("us")},
    )


def extracts(kind: str, *ages_d: float) -> pl.DataFrame:
    """Runs that brought a kind of data, so many days before the night."""
    at = [NIGHT - timedelta(days=age) for age in ages_d]
    return pl.DataFrame({"at": at, "kind": [kind] * len(at), "n": [9] * len(at)}, schema=EXTRACTS)


def warned(*known: pl.DataFrame, rule: SilenceRule = RULE, **more: Any) -> list[tuple[str, str | None, float | None]]:
    """Kind, laboratory and age of the last sign in days."""
    asked = {"read_rows": 9, "usable_rows": 9, "new_rows": 9, "extracts": extracts("lab", 0)} | more
    asked = {"arrivals": pl.DataFrame(schema=ARRIVALS), "runs": pl.DataFrame({"at": [NIGHT]})} | asked
    found = silence_warnings(Received(days=pl.concat(known), **asked), NIGHT, rule)
    return [
        (kind, lab, round((NIGHT - since) / timedelta(days=1), 1) if since else None)
        for kind, lab, _, since in found.rows()
    ]


DAILY = [0.1 + number for number in range(30)]


def test_a_daily_laboratory_that_sent_last_night_is_no_warning() -> None:
    assert warned(days("A", *DAILY)) == []


def test_an_empty_extract_is_distinguished_from_one_with_nothing_new() -> None:
    assert warned(days("A", *DAILY), usable_rows=0, new_rows=0) == [("no_data", None, 0.1)]
    assert warned(days("A", *DAILY), usable_rows=5, new_rows=0) == [("nothing_new", None, 0.1)]
    assert warned(days("A"), usable_rows=0, new_rows=0) == [("no_data", None, None)]


@pytest.mark.parametrize(("age_h", "found"), [(48.0, []), (48.1, [("late_feed", None, 2.0)])])
def test_the_newest_result_of_all_is_older_than_expected(age_h: float, found: list[Any]) -> None:
    assert warned(days("A", age_h / 24, 10)) == found


@pytest.mark.parametrize(("age_d", "found"), [(2.0, []), (2.1, [("silent_laboratory", "A", 2.1)])])
def test_a_daily_laboratory_stops_while_another_goes_on(age_d: float, found: list[Any]) -> None:
    assert warned(days("A", *(age_d + number for number in range(30))), days("B", *DAILY)) == found


def test_free_weekends_and_weekly_clinics_are_usual() -> None:
    working = [age for age in range(60) if (NIGHT - timedelta(days=age)).weekday() < 5]
    last_friday = [age + 3.5 for age in range(60) if (NIGHT - timedelta(days=age + 3.5)).weekday() < 5]
    weekly = [6.5 + 7 * number for number in range(20)]
    assert warned(days("A", *working), days("B", *last_friday), days("C", *weekly), days("D", *DAILY)) == []
    assert warned(days("C", *(age + 5 for age in weekly)), days("D", *DAILY)) == [("silent_laboratory", "C", 11.5)]


def test_a_laboratory_without_a_name_is_watched_too() -> None:
    assert warned(days(None, *(age + 4 for age in DAILY)), days("B", *DAILY)) == [("silent_laboratory", None, 4.1)]


def test_too_few_gaps_are_no_interval_and_a_laboratory_that_stopped_for_good_is_no_longer_reported() -> None:
    assert warned(days("A", 20, 21, 22, 23), days("B", *DAILY)) == []
    assert warned(days("A", *(age + 91 for age in DAILY)), days("B", *DAILY)) == []


def test_an_expectation_of_its_own_goes_before_the_usual_interval() -> None:
    rule = RULE.model_copy(update={"laboratory_h": {"A": 12.0, "never": 24.0}})
    found = warned(days("A", *(age + 0.5 for age in DAILY)), days("B", *DAILY), rule=rule)
    assert found == [("late_feed", "A", 0.6), ("late_feed", "never", None)]


def test_a_medication_list_that_used_to_come_every_night_is_missed() -> None:
    lists = extracts("medication", *(age + 3 for age in range(20)))
    assert warned(days("A", *DAILY), extracts=lists) == [("missing_extract", None, 3.0)]
    assert warned(days("A", *DAILY), extracts=pl.concat([lists, extracts("medication", 0)])) == []


def test_a_result_from_the_future_does_not_hide_a_late_feed() -> None:
    results = pl.DataFrame(
        {"lab": ["A", "A"], "collected_at": [NIGHT - timedelta(days=4), NIGHT + timedelta(hours=20)]},
        schema={"lab": pl.String, "collected_at": pl.Datetime("us")},
    )
    assert warned(laboratory_days(results, days("A"), NIGHT)) == [("late_feed", None, 4.0)]


def test_the_days_are_the_same_however_the_results_come_in() -> None:
    moments = [datetime(2026, 1, day, hour) for day in (1, 2, 3) for hour in (6, 18)]
    results = pl.DataFrame({"lab": ["A", "B", None] * 2, "collected_at": moments}, schema_overrides={"lab": pl.String})
    at_once = laboratory_days(results, days("A"), NIGHT)
    by_turns = laboratory_days(results[3:], laboratory_days(results[:3], days("A"), NIGHT), NIGHT)
    assert at_once.equals(by_turns)

"""Silence is not health: what did not come in is reported, what is usual is not."""

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from benchmarks import silence
from neutro_screen.quality.calendar import next_due
from neutro_screen.quality.rhythm import numbered_nights
from neutro_screen.quality.timeliness import ARRIVALS, EXTRACTS, Received, laboratory_days, silence_warnings
from neutro_screen.reference import load_policy
from neutro_screen.reference.policy_sections import SilenceRule
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


@pytest.mark.parametrize(
    ("arrivals", "due"),
    [
        (["2026-01-01", "2026-02-01", "2026-03-01"], "2026-04-01"),
        (["2026-01-31", "2026-02-28", "2026-03-31"], "2026-04-30"),
        (["2026-01-05", "2026-02-02", "2026-03-02"], "2026-04-06"),  # the first Monday
        (["2026-01-30", "2026-02-27", "2026-03-27"], "2026-04-24"),  # the last Friday
        (["2026-01-05", "2026-01-19", "2026-02-02"], "2026-02-16"),  # every 14 days
        (["2026-01-01", "2026-02-01", "2026-03-03"], "2026-04-05"),  # the first days of a month, and a weekend
        (["2026-01-01", "2026-01-20", "2026-02-20", "2026-04-01"], "2026-06-01"),  # longest gap 40 days, shortest 19
        (["2026-01-01", "2026-02-01"], None),
        (["2026-01-01", "2026-01-08", "2026-01-15"], None),
        (["2026-01-01", "2026-01-09", "2026-01-11"], None),
    ],
)
def test_a_rare_laboratory_is_due_by_the_calendar_that_fits(arrivals: list[str], due: str | None) -> None:
    found = next_due([date.fromisoformat(day) for day in arrivals], (), RULE)
    assert found == (date.fromisoformat(due) if due else None)


def test_a_day_on_which_no_laboratory_usually_sends_is_put_off() -> None:
    arrivals = [date(2026, 5, 2), date(2026, 6, 2), date(2026, 7, 2)]
    assert next_due(arrivals, (), RULE) == date(2026, 8, 2)  # a Sunday
    assert next_due(arrivals, (6, 0), RULE) == date(2026, 8, 4)


@pytest.fixture(scope="module")
def hospital() -> pl.DataFrame:
    """What twelve laboratories sent in the nights of eight months."""
    return silence.arrivals_of(silence.LABORATORIES, silence.LEARNING_D + silence.QUARTER_D, seed=3)


QUARTER = range(silence.LEARNING_D, silence.LEARNING_D + silence.QUARTER_D)


def test_a_usual_quarter_of_twelve_laboratories_raises_no_warning(hospital: pl.DataFrame) -> None:
    assert [
        silence.warnings_of(hospital, night).rows() for night in QUARTER if silence.warnings_of(hospital, night).height
    ] == []


@pytest.mark.parametrize("loss", silence.LOSSES, ids=lambda loss: loss.name)
def test_each_kind_of_loss_is_reported_on_its_first_night(hospital: pl.DataFrame, loss: silence.Loss) -> None:
    steady = [each for each in silence.LABORATORIES if each.specimens(date(2026, 6, 1)) >= 80]
    missed = [
        (laboratory.name, night)
        for laboratory in (silence.LABORATORIES if loss.kind != "shrunken_extract" else steady)
        for night in silence.due_nights(laboratory)[-2:]
        if not silence.is_found(hospital, night, loss, laboratory.name if loss.is_of_one else None)
    ]
    assert missed == []


def test_a_night_on_which_none_is_usual_is_no_silence_and_the_next_one_is() -> None:
    weekdays = [each for each in silence.LABORATORIES if each.name.startswith("weekday")]
    arrived = silence.arrivals_of(tuple(weekdays), 60, seed=1).filter(pl.col("at") < datetime(2026, 2, 15))
    by_night = {
        (silence.FIRST_NIGHT + timedelta(days=night)).strftime("%a %d"): [
            row[:2] for row in silence.warnings_of(arrived, night).rows()
        ]
        for night in range(45, 49)
    }
    silent = [("silent_laboratory", each.name) for each in sorted(weekdays, key=lambda each: each.name)]
    assert by_night == {
        "Sun 15": [],
        "Mon 16": [],
        "Tue 17": [("no_data", None), ("late_feed", None), *silent],
        "Wed 18": [("no_data", None), ("late_feed", None), *silent],
    }


def test_a_test_of_some_weekdays_is_missed_on_these_only(hospital: pl.DataFrame) -> None:
    # Manual differentials of a daily laboratory: counted on workdays, so that they arrive from Tuesday to Saturday.
    is_workday = pl.col("at").dt.weekday().is_between(2, 6)
    daily = hospital.filter(pl.col("lab") == "daily large", is_workday | (pl.col("analyte") != "bands_pct"))
    assert [silence.warnings_of(daily, night).height for night in range(150, 164)] == [0] * 14
    for night in range(150, 157):
        at = silence.FIRST_NIGHT + timedelta(days=night)
        without = daily.filter((pl.col("at") != at) | (pl.col("analyte") != "bands_pct"))
        found = [row[:2] for row in silence.warnings_of(without, night).rows()]
        assert found == ([("missing_analyte", "daily large")] if 2 <= at.isoweekday() <= 6 else []), at


def test_an_outage_does_not_become_usual_and_the_third_one_does(hospital: pl.DataFrame) -> None:
    one = hospital.filter(pl.col("lab") == "Tuesdays")
    nights = silence.due_nights(next(each for each in silence.LABORATORIES if each.name == "Tuesdays"))[::2]
    reported = []
    for number, night in enumerate(nights[:5]):
        out = [silence.FIRST_NIGHT + timedelta(days=each) for each in nights[: number + 1]]
        reported.append(
            silence.warnings_of(one.filter(~pl.col("at").is_in(out)), night).filter(pl.col("lab") == "Tuesdays").height
        )
    assert reported == [1, 1, 1, 0, 0]


def test_nights_are_numbered_by_the_clock_time_of_tonight() -> None:
    def numbered(*hours_ago: float) -> list[int]:
        runs = pl.DataFrame({"at": [NIGHT - timedelta(hours=hours) for hours in hours_ago]})
        return numbered_nights(runs, NIGHT)["night"].to_list()

    assert numbered(72, 48.2, 23.8, 0) == [3, 2, 1, 0]
    assert numbered(72, 48, 18, 0) == [3, 2, 1, 0]  # a late run belongs to its own night
    assert numbered(24, 20, 16, 12, 8, 4, 0) == [1, 0, 0, 0, 0, 0, 0]


def test_the_warnings_are_the_same_whatever_the_order_of_rows(hospital: pl.DataFrame) -> None:
    lost = silence.with_loss(hospital, QUARTER[10], silence.LOSSES[1], "daily small")
    assert silence.warnings_of(lost, QUARTER[10]).equals(
        silence.warnings_of(lost.sample(fraction=1, shuffle=True, seed=1), QUARTER[10])
    )

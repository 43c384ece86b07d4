"""The clozapine ladder and when the next count is due (SEV-4)."""

from datetime import timedelta

import polars as pl
import pytest

from neutro_screen.reference import Policy, load_policy
from neutro_screen.rules.course.clozapine import load_clozapine_steps, with_clozapine_ladder
from tests.spec.counts import DAY_0, column, counts, exposures, people

US = load_policy()
EU = US.model_copy(update={"clozapine": US.clozapine.model_copy(update={"schedule": "eu"})})
GENERAL = people("patient | duffy_null\nA | no")
DUFFY_NULL = people("patient | duffy_null\nA | yes")


def courses(text: str, *, fell: bool = False) -> pl.LazyFrame:
    """Counts of which none, or each, is a rapid decline."""
    return counts(text).with_columns(rpd_1=pl.lit(fell), rpd_2=False, has_decline=False)


def due_in_hours(anc: str, treated_days: int, policy: Policy = US, *, duffy_null: bool = False) -> float:
    judged = courses(f"patient | day | anc\nA | -1 | 900\nA | 0 | {anc}").pipe(
        with_clozapine_ladder,
        exposures(f"patient | first | last\nA | {-treated_days} | "),
        DUFFY_NULL if duffy_null else GENERAL,
        policy,
    )
    due = column(judged, "next_anc_due")[1]
    return (due - DAY_0) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("treated_days", "hours"), [(1, 168), (181, 168), (182, 336), (364, 336), (365, 672), (2000, 672)]
)
def test_sev_4_us_weekly_then_two_weekly_then_monthly(treated_days: int, hours: int) -> None:
    assert due_in_hours("1500", treated_days) == hours


@pytest.mark.parametrize(
    ("anc", "hours"), [("1499", 56), ("1000", 56), ("999", 24), ("500", 24), ("499", 24), ("<100", 24)]
)
def test_sev_4_us_three_times_weekly_or_daily_while_low(anc: str, hours: int) -> None:
    assert due_in_hours(anc, 400) == hours


@pytest.mark.parametrize(("anc", "hours"), [("1000", 168), ("999", 56), ("500", 56), ("499", 24)])
def test_sev_4_us_duffy_null(anc: str, hours: int) -> None:
    assert due_in_hours(anc, 30, duffy_null=True) == hours


@pytest.mark.parametrize(("treated_days", "hours"), [(125, 168), (126, 672), (363, 672), (364, 2016), (729, 2016)])
def test_sev_4_eu_weekly_monthly_twelve_weekly(treated_days: int, hours: int) -> None:
    assert due_in_hours("1500", treated_days, EU) == hours


@pytest.mark.parametrize(("before", "hours"), [("1600", 8760), ("1400", 2016)])
def test_sev_4_eu_yearly_from_the_third_year_if_never_neutropenic(before: str, hours: int) -> None:
    judged = courses(f"patient | day | anc\nA | -90 | {before}\nA | 0 | 3000").pipe(
        with_clozapine_ladder, exposures("patient | first | last\nA | -800 | "), GENERAL, EU
    )
    assert (column(judged, "next_anc_due")[1] - DAY_0) / timedelta(hours=1) == hours


def test_sev_4_the_first_low_count_is_repeated_within_a_day() -> None:
    judged = courses("patient | day | anc\nA | -7 | 3000\nA | 0 | 1200\nA | 1 | 1300").pipe(
        with_clozapine_ladder, exposures("patient | first | last\nA | -60 | "), GENERAL, US
    )
    due = column(judged, "next_anc_due")
    assert due[1] - DAY_0 == timedelta(hours=24)
    assert due[2] - DAY_0 == timedelta(days=1, hours=56)
    assert column(judged, "clozapine_step") == ["normal", "mild", "mild"]


@pytest.mark.parametrize(("anc", "hours"), [("3000", 48), ("1300", 48), ("400", 24)])
def test_sev_4_after_a_rapid_decline_the_next_count_is_within_two_days(anc: str, hours: int) -> None:
    judged = courses(f"patient | day | anc\nA | -1 | 1200\nA | 0 | {anc}", fell=True).pipe(
        with_clozapine_ladder, exposures("patient | first | last\nA | -400 | "), GENERAL, US
    )
    assert (column(judged, "next_anc_due")[1] - DAY_0) / timedelta(hours=1) == hours


def test_sev_4_only_while_it_is_given() -> None:
    judged = courses(
        "patient | day | anc\nA | -31 | 3000\nA | -30 | 3000\nA | 0 | 3000\nA | 1 | 3000\nB | 0 | 3000"
    ).pipe(with_clozapine_ladder, exposures("patient | first | last\nA | -30 | 0"), GENERAL, US)
    assert column(judged, "clozapine_step") == [None, "normal", "normal", None, None]


def test_sev_4_overlapping_courses_are_one_treatment_and_one_row() -> None:
    judged = courses("patient | day | anc\nA | 0 | 3000").pipe(
        with_clozapine_ladder, exposures("patient | first | last\nA | -400 | 20\nA | -10 | "), GENERAL, US
    )
    assert [(value - DAY_0).days for value in column(judged, "next_anc_due")] == [28]


def test_every_count_on_every_day_has_exactly_one_row() -> None:
    steps = load_clozapine_steps()
    for schedule in ("us", "eu"):
        for population in ("general", "duffy_null"):
            of_one = steps.filter(schedule=schedule, population=population).to_dicts()
            for day in (0, 125, 126, 181, 182, 364, 365, 729, 730, 4000):
                for anc in (0, 499, 500, 999, 1000, 1499, 1500, 9000):
                    for history in ("never_neutropenic", "ever_neutropenic"):
                        fits = [
                            row
                            for row in of_one
                            if row["lower_cells_per_ul"] <= anc < (row["upper_cells_per_ul"] or float("inf"))
                            and row["from_day"] <= day < (row["to_day"] or float("inf"))
                            and row["history"] in ("any", history)
                        ]
                        assert len(fits) == 1

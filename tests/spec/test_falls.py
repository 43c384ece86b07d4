"""What a fall is: where drugs and other causes have something to explain (DRG-1)."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from neutro_schemas import Fall
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.rules.causes.falls import falls_per_episode
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.course.episodes import episodes_per_patient, with_episode_numbers
from tests.spec.tables import table

POLICY, RULE = load_policy(), load_cause_reference().rules.fall
DAY_0 = date(2026, 3, 1)


def falls(text):
    """The falls of counts by day: ``day | anc``, where ``<100`` is a count below."""
    rows = [
        {
            "patient_id": "P",
            "specimen_id": f"S{row['day']}",
            "collected_at": datetime.combine(DAY_0 + timedelta(days=int(row["day"])), datetime.min.time()),
            "anc_cells_per_ul": float(row["anc"].lstrip("<")),
            "anc_comparator": "<" if row["anc"].startswith("<") else None,
            "notes": None,
        }
        for row in table(text).iter_rows(named=True)
    ]
    types = {"collected_at": pl.Datetime("us"), "anc_comparator": pl.String, "notes": pl.String}
    anc = pl.DataFrame(rows, schema_overrides=types).with_columns(
        severity=severity(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"), load_reference().anc_bands)
    )
    numbered = with_episode_numbers(anc.lazy())
    episodes = episodes_per_patient(numbered, POLICY, datetime(2027, 1, 1))
    return Fall.validate(falls_per_episode(numbered, episodes, POLICY, RULE).collect())


def shown(text):
    """Kind, count before, lowest count and the day it was first seen, with a star where it leads to the nadir."""
    return [
        (
            row["kind"] + ("*" if row["leads_to_nadir"] else ""),
            row["from_cells_per_ul"],
            row["to_cells_per_ul"],
            (row["seen_at"].date() - DAY_0).days,
        )
        for row in falls(text).iter_rows(named=True)
    ]


def test_drg_1_a_stable_mild_count_and_a_later_fall_are_two_falls():
    """Graves' disease: mild for a month, then agranulocytosis on thiamazole."""
    counts = """
        day | anc
        0   | 1350
        25  | 1300
        44  | 50
    """
    assert shown(counts) == [("unseen", None, 1350.0, 0), ("deeper*", 1300.0, 50.0, 44)]


def test_drg_1_steps_down_within_weekly_counts_are_one_fall():
    counts = """
        day | anc
        0   | 4000
        7   | 1400
        14  | 900
        16  | 950
        21  | 300
        28  | 320
    """
    assert shown(counts) == [("onset*", 4000.0, 300.0, 7)]


def test_drg_1_a_step_within_the_noise_of_the_level_is_a_fall_apart_from_the_deep_one():
    """Azacitidine was begun on day 2, between the first count below 1,500 and the fall to 100."""
    counts = """
        day | anc
        0   | 1580
        1   | 1350
        2   | 1290
        10  | 970
        17  | 100
    """
    assert shown(counts) == [("onset", 1580.0, 1350.0, 1), ("deeper*", 1290.0, 100.0, 10)]


@pytest.mark.parametrize(("first", "falls"), [(1121, 2), (1120, 1)])
def test_drg_1_a_descent_is_beyond_noise_from_seventy_percent_of_its_level(first, falls):
    counts = f"""
        day | anc
        0   | 1600
        5   | {first}
        10  | 300
    """
    assert len(shown(counts)) == falls


def test_drg_1_a_second_cycle_on_an_unrecovered_count_is_a_fall_of_its_own():
    counts = """
        day | anc
        0   | 4000
        8   | 700
        20  | 1400
        29  | 300
    """
    assert shown(counts) == [("onset", 4000.0, 700.0, 8), ("deeper*", 1400.0, 300.0, 29)]


def test_drg_1_after_a_recovery_within_days_the_next_step_down_is_a_fall_of_its_own():
    counts = """
        day | anc
        0   | 4000
        7   | 300
        9   | 900
        12  | 250
    """
    assert shown(counts) == [("onset", 4000.0, 300.0, 7), ("deeper*", 900.0, 250.0, 12)]


@pytest.mark.parametrize(("anc", "kinds"), [(237, ["unseen", "halving*"]), (238, ["unseen*"])])
def test_drg_1_half_of_the_level_of_the_month_before_is_a_fall_in_the_same_band(anc, kinds):
    counts = f"""
        day | anc
        0   | 490
        15  | 470
        30  | 480
        45  | {anc}
    """
    assert [row[0] for row in shown(counts)] == kinds


def test_drg_1_a_lower_band_by_the_noise_of_one_count_is_no_fall():
    counts = """
        day | anc
        0   | 3000
        20  | 1020
        40  | 980
        60  | 1010
        80  | 970
    """
    assert shown(counts) == [("onset*", 3000.0, 1020.0, 20)]


@pytest.mark.parametrize(("anc", "kinds"), [(850, ["onset", "deeper*"]), (851, ["onset*"])])
def test_drg_1_a_lower_band_counts_from_fifteen_percent_below_the_level(anc, kinds):
    counts = f"""
        day | anc
        0   | 3000
        20  | 1000
        40  | {anc}
    """
    assert [row[0] for row in shown(counts)] == kinds


def test_drg_1_a_slow_decline_into_a_lower_band_is_held_against_the_level_of_three_months():
    counts = """
        day | anc
        0   | 1400
        30  | 1300
        60  | 1200
        90  | 1090
        120 | 990
    """
    assert shown(counts)[-1] == ("deeper*", 1090.0, 990.0, 120)


def test_drg_1_a_count_below_a_limit_is_lower_than_the_limit():
    counts = """
        day | anc
        0   | 3000
        20  | 400
        40  | <100
    """
    assert shown(counts)[-1] == ("deeper*", 400.0, 100.0, 40)
    assert falls(counts)["to_comparator"].to_list() == [None, "<"]


@pytest.mark.parametrize(
    ("after", "back_on"),
    [
        (1039, None),
        (1040, 60),  # four fifths of the level of 1,300 that it fell from
        (1500, 60),
    ],
)
def test_drg_1_a_later_fall_is_over_when_the_count_is_back_at_its_own_level(after, back_on):
    counts = f"""
        day | anc
        0   | 1350
        25  | 1300
        40  | 400
        60  | {after}
    """
    later = falls(counts).filter(kind="deeper")["back_at"][0]
    assert (None if later is None else (later.date() - DAY_0).days) == back_on


def test_drg_1_the_first_fall_is_over_when_the_count_is_normal():
    counts = """
        day | anc
        0   | 4000
        10  | 400
        20  | 1400
        30  | 1500
    """
    assert (falls(counts)["back_at"][0].date() - DAY_0).days == 30


def test_drg_1_an_episode_has_one_fall_that_leads_to_its_lowest_count():
    counts = """
        day | anc
        0   | 4000
        10  | 200
        40  | 1200
        60  | 500
    """
    assert shown(counts) == [("onset*", 4000.0, 200.0, 10), ("deeper", 1200.0, 500.0, 60)]

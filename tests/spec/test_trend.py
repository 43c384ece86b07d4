"""Personal baseline, reference change value, trend and projection (TRD-1 ... TRD-4)."""

import polars as pl
import pytest

from neutro_screen.reference import load_policy
from neutro_screen.rules.course.trend import (
    is_latest,
    reference_change,
    with_baseline,
    with_projection,
    with_significant_fall,
    with_trend,
)
from tests.spec.counts import NOBODY, column, counts, people

POLICY = load_policy()


def test_trd_1_baseline_is_the_median_of_day_minus_365_to_minus_15() -> None:
    judged = counts("""
        patient | day  | anc
        A       | -366 | 9000
        A       | -365 | 3000
        A       | -100 | 3400
        A       | -15  | 5000
        A       | -14  | 9000
        A       | 0    | 1000
    """).pipe(with_baseline, NOBODY, POLICY)
    assert column(judged, "baseline_cells_per_ul")[-1] == 3400
    assert column(judged, "baseline_n")[-1] == 3


def test_trd_1_one_result_is_no_baseline_and_a_bound_is_no_result() -> None:
    judged = counts("""
        patient | day  | anc
        A       | -60  | 3000
        A       | -50  | <100
        A       | 0    | 2500
        B       | -60  | 3000
        B       | -50  | 2000
        B       | 0    | 2500
    """).pipe(with_baseline, NOBODY, POLICY)
    assert column(judged, "baseline_cells_per_ul") == [None, None, None, None, None, 2500]


def test_trd_1_the_illness_is_not_its_own_baseline() -> None:
    table = """
        patient | day  | anc
        A       | -120 | 4000
        A       | -110 | 4200
        A       | -60  | 1200
        A       | -40  | 1100
        A       | 0    | 900
    """
    assert column(counts(table).pipe(with_baseline, NOBODY, POLICY), "baseline_cells_per_ul")[-1] == 4100
    duffy_null = people("patient | duffy_null\nA | yes")
    assert column(counts(table).pipe(with_baseline, duffy_null, POLICY), "baseline_cells_per_ul")[-1] == 2600


def test_trd_1_an_illness_without_a_count_before_has_no_baseline() -> None:
    judged = counts("""
        patient | day  | anc
        A       | -90  | 1200
        A       | -60  | 1100
        A       | 0    | 900
    """).pipe(with_baseline, NOBODY, POLICY)
    assert column(judged, "baseline_cells_per_ul") == [None, None, None]


def test_trd_2_reference_change_value_of_the_rules() -> None:
    fall, rise = reference_change(POLICY)
    assert fall == pytest.approx(-0.43, abs=0.005)
    assert rise == pytest.approx(1 / (1 + fall) - 1)


@pytest.mark.parametrize(
    ("now", "is_significant"), [("1720", True), ("1760", False), ("<1000", True), (">1000", False)]
)
def test_trd_2_a_fall_is_significant_from_the_result_before(now: str, is_significant: bool) -> None:
    judged = (
        counts(f"""
            patient | day | anc
            A       | -3  | 3050
            A       | 0   | {now}
        """)
        .pipe(with_baseline, NOBODY, POLICY)
        .pipe(with_significant_fall, POLICY)
    )
    assert column(judged, "significant_fall") == [False, is_significant]


def test_trd_2_a_slow_fall_is_significant_from_baseline_only() -> None:
    judged = (
        counts("""
            patient | day  | anc
            A       | -200 | 4000
            A       | -150 | 4000
            A       | -10  | 2900
            A       | 0    | 2200
        """)
        .pipe(with_baseline, NOBODY, POLICY)
        .pipe(with_significant_fall, POLICY)
    )
    assert column(judged, "significant_fall")[-2:] == [False, True]
    assert column(judged, "change_from_previous")[-1] == pytest.approx(2200 / 2900 - 1)


def test_trd_3_halving_every_week_is_a_slope_of_minus_one() -> None:
    judged = counts("""
        patient | day | anc
        A       | -21 | 4000
        A       | -14 | 2000
        A       | -7  | 1000
        A       | 0   | 500
    """).pipe(with_trend, POLICY)
    assert column(judged, "trend") == [None, None, None, "falling"]
    assert column(judged, "slope_log2_per_week")[-1] == pytest.approx(-1)
    assert column(judged, "slope_low")[-1] < -1 < column(judged, "slope_high")[-1] < 0


def test_trd_3_one_artefact_does_not_turn_the_trend() -> None:
    judged = counts("""
        patient | day | anc
        A       | -60 | 4000
        A       | -50 | 4100
        A       | -40 | 3900
        A       | -30 | 4000
        A       | -20 | 4050
        A       | -10 | 3950
        A       | 0   | 600
    """).pipe(with_trend, POLICY)
    assert column(judged, "trend")[-1] == "stable"


@pytest.mark.parametrize(
    "table",
    [
        "patient | day | anc\nA | -10 | 4000\nA | 0 | 1000",
        "patient | day | anc\nA | -0.2 | 4000\nA | -0.1 | 2000\nA | 0 | 1000",
        "patient | day | anc\nA | -91 | 4000\nA | -10 | 2000\nA | 0 | 1000",
    ],
    ids=["two values", "three values of one day", "one is older than 90 days"],
)
def test_trd_3_too_little_for_a_trend(table: str) -> None:
    judged = counts(table).pipe(with_trend, POLICY).filter(is_latest())
    assert judged.select("trend", "slope_log2_per_week").collect().row(0) == ("insufficient", None)


def test_trd_4_projection_to_500() -> None:
    judged = counts("""
        patient | day | anc
        A       | -6  | 8000
        A       | -4  | 4000
        A       | -2  | 2000
        A       | 0   | 1000
        B       | -21 | 8000
        B       | -14 | 4000
        B       | -7  | 2000
        B       | 0   | 1000
    """).pipe(with_projection, POLICY)
    fast, slow = judged.filter(is_latest()).sort("patient_id").collect().to_dicts()
    assert fast["days_to_severe"] == pytest.approx(2)
    assert (fast["projected_severe"], fast["expected_severe_48h"]) == (True, True)
    assert slow["days_to_severe"] == pytest.approx(7)
    assert (slow["projected_severe"], slow["expected_severe_48h"]) == (True, False)
    assert slow["days_to_severe_low"] < 7 < slow["days_to_severe_high"]


@pytest.mark.parametrize("counted", ["4000 3900 4100 4000", "4000 2000 900 480", "4000 3600 3300 3000"])
def test_trd_4_nothing_to_project(counted: str) -> None:
    """Stable; already severe; falling, but further than 30 days away or not for certain."""
    rows = "\n".join(f"A | {7 * (week - 3)} | {anc}" for week, anc in enumerate(counted.split()))
    judged = counts(f"patient | day | anc\n{rows}").pipe(with_projection, POLICY).filter(is_latest())
    assert judged.select("days_to_severe", "projected_severe").collect().row(0) == (None, False)


def test_trd_3_every_specimen_can_be_asked_for() -> None:
    judged = counts("""
        patient | day | anc
        A       | -14 | 4000
        A       | -7  | 2000
        A       | 0   | 1000
        A       | 7   | 4000
    """).pipe(with_trend, POLICY, pl.lit(True))
    assert column(judged, "trend") == ["insufficient", "insufficient", "falling", "stable"]

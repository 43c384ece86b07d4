"""A laboratory that changes overnight is caught and named; quiet nights are quiet.

Nights of the simulated hospital, with its ordinary dirt. benchmarks/drift.py measures the same over more nights.
"""

import polars as pl
import pytest

from benchmarks.drift import FAULTS, Fault, findings, measures, nights, with_fault
from neutro_schemas.store import QualityMeasure
from neutro_screen.validate import dtypes

LAST = 30
#: Nights of this size have too few specimens to compare hours, and too few of laboratories B and D.
SEEN_IN_SMALL_NIGHTS = [fault for fault in FAULTS if fault.lab in ("A", "C") and fault.caught_as != "hour_of_day"]


@pytest.fixture(scope="module")
def month() -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """31 nights: their rows and their measures."""
    rows = nights(LAST + 1, 220_000, seed=2)
    return rows, [measures(night, f"{number:02d}") for number, night in enumerate(rows)]


def test_thirty_quiet_nights_raise_no_alarm(month: tuple[list[pl.DataFrame], list[pl.DataFrame]]) -> None:
    _, measured = month
    alarms = [findings(measured[night], measured[:night], f"{night:02d}") for night in range(1, LAST + 1)]
    assert pl.concat(alarms)["words"].to_list() == []


@pytest.mark.parametrize("fault", SEEN_IN_SMALL_NIGHTS, ids=lambda fault: fault.does)
def test_on_the_thirty_first_night_the_laboratory_is_named(
    month: tuple[list[pl.DataFrame], list[pl.DataFrame]], fault: Fault
) -> None:
    rows, measured = month
    found = findings(measures(with_fault(rows[LAST], fault), "31"), measured[:LAST], "31")
    assert set(found["lab"]) == {fault.lab}
    assert fault.caught_as in found["what"].to_list()


def test_a_changed_unit_is_reported_from_what_to_what(month: tuple[list[pl.DataFrame], list[pl.DataFrame]]) -> None:
    rows, measured = month
    found = findings(measures(with_fault(rows[LAST], FAULTS[0]), "31"), measured[:LAST], "31")
    words = found.filter(pl.col("what") == "unit", pl.col("analyte") == "neut_abs")["words"].to_list()
    assert len(words) == 1
    assert words[0].startswith("Laboratory A, Neutrophils, absolute: unit changed, from 10*3/uL (")
    assert "to cells/uL (" in words[0]


def test_a_clock_that_is_five_hours_off_shows_in_the_hours_of_collection() -> None:
    def night(run_id: str, first_hour: int) -> pl.DataFrame:
        hours = [(f"{first_hour + late:02d}", n) for late, n in ((0, 10), (1, 40), (2, 30), (3, 20))]
        rows = [("rows", None, 1000)] + [("hour_of_day", hour, n) for hour, n in hours]
        return pl.DataFrame(
            [(run_id, None, "A", None, measure, detail, n, 100, n / 100) for measure, detail, n in rows],
            schema=dtypes(QualityMeasure),
            orient="row",
        )

    before = [night(f"{number:02d}", 6) for number in range(10)]
    assert findings(night("11", 6), before, "11").height == 0
    assert findings(night("11", 11), before, "11")["words"].to_list() == [
        "Laboratory A: hours of collection, from as usual to 5 h later than usual"
    ]


def test_a_change_is_reported_for_four_nights_and_is_usual_after_that(
    month: tuple[list[pl.DataFrame], list[pl.DataFrame]],
) -> None:
    rows, measured = month
    night = measures(with_fault(rows[LAST], FAULTS[0]), "tonight")
    changed = [night.with_columns(run_id=pl.lit(f"changed {number}")) for number in range(5)]
    reported = [
        "unit" in findings(night, [*measured[number:LAST], *changed[:number]], "tonight")["what"].to_list()
        for number in range(5)
    ]
    assert reported == [True, True, True, True, False]


def test_without_enough_earlier_nights_nothing_is_said(month: tuple[list[pl.DataFrame], list[pl.DataFrame]]) -> None:
    rows, measured = month
    tonight = measures(with_fault(rows[LAST], FAULTS[0]), "31")
    assert findings(tonight, measured[LAST - 3 : LAST], "31").height == 0

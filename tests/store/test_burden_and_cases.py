"""The views of alert burden and of cases, with numbers counted by hand over some nights."""

import shutil
from datetime import date, datetime
from pathlib import Path

import pytest

from neutro_screen.store.retention import remove
from neutro_screen.store.review import record_review
from tests.store.test_worklist_nights import DAY_0, Hospital


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A falls to severe in the first night, B to mild in the second, A recovers in the third; others stay normal."""
    hospital = Hospital(tmp_path_factory.mktemp("nights"))
    hospital.night(1, ("A 0 4.0 F", "A 1 0.3 F", "B 1 4.0 F", "C 1 3.0 F"))
    hospital.night(2, ("B 2 1.2 F",))
    hospital.night(3, ("A 3 2.5 F",))
    return hospital.store


@pytest.fixture
def three_nights(screened: Path, tmp_path: Path) -> Hospital:
    """A hospital of its own after the three nights."""
    hospital = Hospital(tmp_path)
    shutil.copy(screened, hospital.store)
    return hospital


def test_a_night_counts_patients_alerts_by_priority_and_what_is_new(three_nights: Hospital) -> None:
    burden = three_nights.rows(
        "SELECT CAST(as_of AS DATE), patients_screened, patients_known, alerts, critical + high, medium + low + info, "
        '"new", new_urgent FROM alert_burden ORDER BY as_of'
    )
    assert burden == [
        (date(2026, 2, 2), 4, 4, 1, 1, 0, 1, 1),
        (date(2026, 2, 3), 3, 4, 2, 1, 1, 1, 0),  # whoever is open is screened again without a result
        (date(2026, 2, 4), 3, 4, 1, 0, 1, 0, 0),
    ]
    listed = three_nights.rows("SELECT count(*) FROM worklist WHERE row_group = 'open'")
    assert listed == [(burden[-1][3],)]


def test_what_a_reviewer_had_set_aside_is_counted_apart(three_nights: Hospital) -> None:
    at = datetime(2026, 2, 4, 13)
    record_review(three_nights.store, "B", "snoozed", until=date(2026, 3, 1), note=None, by="x", at=at)
    three_nights.night(5)
    burden = three_nights.rows("SELECT alerts, set_aside FROM alert_burden ORDER BY as_of")
    assert burden == [(1, 0), (2, 0), (1, 0), (1, 1)]


def test_who_was_dismissed_while_not_listed_and_falls_later_is_an_alert_and_not_set_aside(
    three_nights: Hospital,
) -> None:
    at = datetime(2026, 2, 4, 13)
    record_review(three_nights.store, "C", "dismissed", until=None, note=None, by="x", at=at)
    three_nights.night(5, ("C 4 0.3 F",))
    assert three_nights.rows("SELECT alerts, set_aside FROM alert_burden ORDER BY as_of")[-1] == (2, 0)
    assert ("C",) in three_nights.rows("SELECT patient_id FROM worklist")


def test_a_night_whose_worklist_was_removed_is_unknown_and_not_quiet(three_nights: Hospital) -> None:
    remove(three_nights.store, before=datetime(2026, 2, 3), patient_id=None, by=None, at=datetime(2026, 2, 5))
    burden = three_nights.rows('SELECT patients_screened, alerts, critical, "new" FROM alert_burden ORDER BY as_of')
    assert burden[0] == (4, None, None, None)
    assert [row[1] for row in burden[1:]] == [2, 1]
    assert three_nights.rows("SELECT on_worklist, critical, escalated FROM run_trend ORDER BY as_of")[0] == (
        None,
        None,
        None,
    )


def test_a_case_has_its_dates_course_category_and_items(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    hospital.night(
        70,
        ("A 0 4.0 F", "A 30 3.6 F", "A 44 0.3 F", "A 58 2.4 F"),
        medications=(f"A,clozapine,{DAY_0:%Y-%m-%d},{DAY_0.replace(month=3, day=18):%Y-%m-%d}",),
    )
    (case,) = hospital.rows(
        "SELECT ingredient, category, started_on, stopped_on, fell_on, days_to_fall, from_cells_per_ul, to_cells_per_ul, "
        "lowest_on, back_on, outcome, severity_rank, naranjo_known, naranjo_open, naranjo_total FROM case_listing"
    )
    assert case[:12] == (
        "clozapine",
        "likely",
        date(2026, 2, 1),
        date(2026, 3, 18),
        date(2026, 3, 17),
        44,
        3600.0,
        300.0,
        date(2026, 3, 17),
        date(2026, 3, 31),
        "recovered_after_stop",
        3,
    )
    known, still_open = (set(str(items).split(", ")) for items in case[12:14])
    assert {"2_event_after_drug", "3_improved_after_stop"} <= known
    assert {"6_placebo", "7_toxic_level", "8_dose_relation"} <= still_open
    assert not known & still_open
    assert len(known | still_open) == 10

"""Reviewers' decisions over three nights: who leaves the worklist, who comes back, and what every later report shows."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

import neutro_screen
from neutro_screen.pipeline.options import moment
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist, record_review
from neutro_screen.store.rows import read_table
from tests.nights import count_rows

NIGHTS = tuple(moment(f"2026-11-{day}T02:00") for day in (18, 19, 20))
#: Counts of the day before each night, in 10*9/L; a dash is a night without a specimen.
COUNTS = {
    "worse": (0.9, 0.9, 0.3),
    "snoozed": (0.9, 0.9, 0.95),
    "due": (0.9, 0.9, 0.9),
    "dismissed": (0.9, 0.9, 0.9),
    "seen": (0.4, 0.4, 0.4),
    "open": (0.8, 0.8, 0.8),
}
DECISIONS = (
    ("worse", "snoozed", date(2026, 12, 1), "clinic in December"),
    ("snoozed", "snoozed", date(2026, 12, 1), "clinic in December"),
    ("due", "snoozed", date(2026, 11, 19), "look again tomorrow"),
    ("dismissed", "dismissed", None, "known since childhood"),
    ("seen", "acknowledged", None, "ward called"),
)


def screen_night(number: int, folder: Path) -> Path:
    """Screen one night and write its reports; the page."""
    night = NIGHTS[number]
    labs = count_rows(folder, number, night, COUNTS)
    reports = folder / f"night-{number}"
    neutro_screen.run(labs, folder / "s.duckdb", as_of=night, reports=reports)
    return reports / "report.html"


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[dict[str, str | None]]]:
    """Store, the page of each night, and the worklist of each night: patient -> status of its review."""
    folder = tmp_path_factory.mktemp("nights")
    store, pages, lists = folder / "s.duckdb", [], []
    for number in range(len(NIGHTS)):
        pages.append(screen_night(number, folder))
        with reading(store) as connection:
            lists.append(dict(current_worklist(connection).select("patient_id", "review_status").iter_rows()))
        if number == 0:
            for patient, status, until, note in DECISIONS:
                record_review(
                    store, patient, status, until=until, note=note, by="ward", at=NIGHTS[0] + timedelta(hours=6)
                )
    return store, pages, lists


Nights = tuple[Path, list[Path], list[dict[str, str | None]]]


def test_everybody_is_there_before_the_first_decision(nights: Nights) -> None:
    assert nights[2][0] == dict.fromkeys(COUNTS)


def test_snoozed_and_dismissed_leave_the_list_and_acknowledged_stays(nights: Nights) -> None:
    assert nights[2][1] == {"seen": "acknowledged", "open": None}


def test_who_gets_worse_or_whose_snooze_is_over_comes_back(nights: Nights) -> None:
    assert nights[2][2] == {"worse": None, "due": None, "seen": "acknowledged", "open": None}


def test_every_later_report_shows_the_decisions_that_stand(nights: Nights) -> None:
    first, *later = (page.read_text("utf-8") for page in nights[1])
    assert "ward called" not in first
    for text in later:
        for note in ("clinic in December", "known since childhood", "ward called"):
            assert note in text
    # Whoever is set aside is in the page, behind the filter, and no longer so once it got worse.
    aside = [re.findall(r"data-aside>.*?<bdi>(\w+)</bdi>", text, re.DOTALL) for text in later]
    assert [sorted(names) for names in aside] == [["dismissed", "due", "snoozed", "worse"], ["dismissed", "snoozed"]]


def test_time_to_review_counts_from_the_run_that_showed_the_patient(nights: Nights) -> None:
    with reading(nights[0]) as connection:
        decisions = read_table(
            connection, "SELECT reviewer, decisions, acknowledged, snoozed, dismissed FROM review_throughput"
        )
        stays = read_table(connection, "SELECT patient_id FROM review_time ORDER BY patient_id")
    assert decisions.rows() == [("ward", 5, 1, 3, 1)]
    assert stays["patient_id"].to_list() == sorted(COUNTS)

"""Numbers, days and sentences as every part of the page shows them."""

from datetime import date, datetime
from pathlib import Path

import pytest

from neutro_screen.errors import ConfigurationError
from neutro_screen.ingest import load_profile
from neutro_screen.report import words
from neutro_screen.report.html.page import record_address
from neutro_screen.report.html.patients import key_of


@pytest.mark.parametrize(
    ("anc", "comparator", "read"),
    [
        (1414.6, None, "1,415"),
        (499.6, None, "499"),
        (500.0, None, "500"),
        (499.4, None, "499"),
        (99.7, "<", "< 99"),
        (0.0, None, "0"),
        (None, "<", "–"),
        (1300.7, "<=", "≤ 1,301"),
    ],
)
def test_a_count_is_whole_and_never_rounded_up_to_a_limit(anc: float | None, comparator: str | None, read: str) -> None:
    assert words.count(anc, comparator) == read


@pytest.mark.parametrize(
    ("slope", "low", "high", "read"),
    [
        (-0.636, None, None, "halves in 11 days"),
        (-0.636, -0.9, -0.5, "halves in 11 days (8 to 14)"),
        (-0.636, -0.9, 0.1, "halves in 11 days (8 or more)"),
        (0.35, 0.2, 0.5, "doubles in 20 days (14 to 35)"),
        (0.001, -0.1, 0.1, "steady"),
        (0.0, None, None, "steady"),
    ],
)
def test_a_slope_is_read_as_days_to_half_or_twice(
    slope: float, low: float | None, high: float | None, read: str
) -> None:
    assert words.pace(slope, low, high) == read


def test_a_time_is_that_of_the_hospital_and_a_day_stays_a_day() -> None:
    assert words.minute(words.local(datetime(2026, 11, 21, 2, 30), "America/Chicago")) == "20 Nov 2026 20:30"
    assert words.minute(words.local(datetime(2026, 7, 1, 22, 30), "Europe/Berlin")) == "2 Jul 2026 00:30"
    assert words.local(date(2026, 11, 21), "America/Chicago") == date(2026, 11, 21)
    assert words.near(datetime(2025, 3, 1, 8), datetime(2026, 11, 22)) == "1 Mar 2025"


def test_sentences_of_the_store_are_read_like_the_rest_of_the_page() -> None:
    told = words.prose(
        "fallen from 1100.4 to 499.6 cells/uL on 2026-11-21 (due 2026-11-22 08:00), 38.9 degrees Celsius",
        "Europe/Berlin",
    )
    assert told == "fallen from 1,100 to 499 cells/µL on 21 Nov 2026 (due 22 Nov 2026 09:00), 38.9 °C"
    assert words.prose("code 2026-99-99, 2026 cells", "UTC") == "code 2026-99-99, 2026 cells"
    assert words.prose(None, "UTC") is None
    assert words.prose("from a level of 5048.2 (mean of 2) to <= 120 cells/uL", "UTC") == (
        "from a level of 5,048 (mean of 2) to ≤ 120 cells/µL"
    )
    assert words.percent(54.5) == "55 %"
    assert words.percent(None) == "–"


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("laboratory; RULES.md INF-1", "laboratory"),
        (
            "literature: Andersen 2016 J Intern Med, abstract (RULES.md LIT-1)",
            "literature: Andersen 2016 J Intern Med, abstract",
        ),
        ("RULES.md", "rules of this program"),
        ("coded diagnosis", "coded diagnosis"),
    ],
)
def test_a_source_names_where_it_was_read_and_not_the_programs_own_rules(stored: str, read: str) -> None:
    assert words.source(stored) == read


def test_a_conclusion_is_shown_to_its_end_where_the_first_thing_to_do_stands() -> None:
    long = "expected after etoposide; " * 12 + "first: assess at once: fever with neutropenia."
    assert words.shown(words.sentence(long)).endswith("fever with neutropenia.")
    assert len(words.sentence("x" * 10_000)) < 900
    assert "\u202e" not in words.sentence("a\u202eb")


def test_an_address_names_nobody_and_a_record_link_is_encoded() -> None:
    assert key_of("P-001") == key_of("P-001") != key_of("P-002")
    assert "P-001" not in key_of("P-001")
    assert (
        record_address("a/b?c&d é", "https://ehr.example/{patient_id}") == "https://ehr.example/a%2Fb%3Fc%26d%20%C3%A9"
    )


@pytest.mark.parametrize(
    "link",
    [
        "http://ehr.example/{patient_id}",
        "javascript:{patient_id}",
        "https://ehr.example/",
        "https://e/{patient_id}/{patient_id}",
    ],
)
def test_a_record_link_is_https_and_names_the_patient_once(link: str, tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text(f'record_link = "{link}"\n', "utf-8")
    with pytest.raises(ConfigurationError, match=r"record_link.*https://"):
        load_profile(profile)

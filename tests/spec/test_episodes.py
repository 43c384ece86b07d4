"""Episodes and their course (RULES.md EPI-1, EPI-2, EPI-4, EPI-5)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.clinic import screened

START = datetime(2026, 1, 1, 8)


def course(*counts: tuple[float, float | str], as_of_day: float | None = None) -> list[dict[str, Any]]:
    """Episodes of one patient whose counts (day, 10*9/L) are given."""
    lines = "\n".join(
        f"S{n} | {START + timedelta(days=day):%Y-%m-%d %H:%M} | 751-8 | {value}"
        for n, (day, value) in enumerate(counts)
    )
    last = counts[-1][0] if as_of_day is None else as_of_day
    return screened(
        f"specimen | collected | loinc | value\n{lines}", as_of=START + timedelta(days=last)
    ).episode.to_dicts()


def test_epi_1_from_the_first_low_count_to_the_first_normal_one() -> None:
    (episode,) = course((0, 3.0), (7, 1.2), (9, 0.6), (12, 0.9), (20, 1.5))
    assert episode["started_at"] == START + timedelta(days=7)
    assert episode["ended_at"] == START + timedelta(days=20)
    assert (episode["nadir_cells_per_ul"], episode["nadir_at"]) == (600, START + timedelta(days=9))
    assert (episode["n_results"], episode["duration_days"], episode["recovery_days"]) == (3, 13, 11)
    assert (episode["worst_severity"], episode["last_normal_cells_per_ul"]) == ("moderate", 3000)
    assert (episode["days_mild"], episode["days_moderate"]) == (2, 3 + 8)


def test_epi_1_a_value_stands_for_at_most_thirty_days() -> None:
    (episode,) = course((0, 1.2), (50, 1.3), (60, 2.0))
    assert episode["days_mild"] == 30 + 10


def test_epi_1_the_last_value_of_an_open_episode_is_carried_nowhere() -> None:
    (episode,) = course((0, 0.4), (1, 0.3))
    assert episode["days_severe"] == 1
    assert not episode["is_prolonged_profound"]


def test_epi_1_an_indeterminate_count_neither_starts_nor_ends_an_episode() -> None:
    (episode,) = course((0, 1.2), (3, "<2.0"), (6, 1.1))
    assert episode["n_results"] == 2


def test_epi_1_exactly_1500_ends_and_1499_does_not() -> None:
    assert len(course((0, 1.2), (3, "1.5"), (6, 1.2))) == 2
    assert len(course((0, 1.2), (3, "1.499"), (6, 1.2))) == 1


@pytest.mark.parametrize(("day", "is_persistent"), [(89, False), (90, True)])
def test_epi_2_persistent_from_ninety_days(day: float, is_persistent: bool) -> None:
    (episode,) = course((0, 1.2), (40, 1.2), (day, 1.3))
    assert episode["is_persistent"] == is_persistent
    assert episode["notes"] is None


def test_epi_2_persistent_on_two_results_is_noted_as_sparse() -> None:
    (episode,) = course((0, 1.2), (100, 1.3))
    assert (episode["is_persistent"], episode["notes"]) == (True, "persistent_sparse")


@pytest.mark.parametrize(("days", "is_chronic"), [((0, 45, 90), True), ((0, 45, 89), False), ((0, 90), False)])
def test_epi_2_severe_chronic_is_three_times_below_500_over_three_months(
    days: tuple[float, ...], is_chronic: bool
) -> None:
    (episode,) = course(*((day, 0.4) for day in days))
    assert episode["is_severe_chronic"] == is_chronic


@pytest.mark.parametrize(("last", "is_recurrent"), [(360, True), (366, False)])
def test_epi_2_recurrent_is_three_episodes_in_twelve_months(last: float, is_recurrent: bool) -> None:
    episodes = course((0, 1.0), (10, 2.0), (100, 1.0), (110, 2.0), (last, 1.0))
    assert [episode["is_recurrent"] for episode in episodes] == [False, False, is_recurrent]


@pytest.mark.parametrize(("day", "is_prolonged"), [(6.9, False), (7, True)])
def test_epi_2_prolonged_is_a_week_below_500(day: float, is_prolonged: bool) -> None:
    (episode,) = course((0, 0.3), (3, 0.05), (day, 0.8), (9, 2.0))
    assert episode["is_prolonged_profound"] == is_prolonged


@pytest.mark.parametrize(("before", "after", "is_isolated"), [(-7, 7, True), (-7.1, 7, False), (-7, 7.1, False)])
def test_epi_4_one_low_value_between_normal_ones_within_a_week(before: float, after: float, is_isolated: bool) -> None:
    (episode,) = course((before, 3.0), (0, 0.9), (after, 3.1))
    assert episode["is_isolated_low"] == is_isolated


def test_epi_4_two_low_values_are_not_isolated() -> None:
    (episode,) = course((0, 3.0), (1, 0.9), (2, 0.9), (3, 3.0))
    assert not episode["is_isolated_low"]


@pytest.mark.parametrize(
    ("counts", "as_of_day", "status"),
    [
        (((0, 3.0), (10, 0.9)), 12, "new"),
        (((0, 3.0), (10, 0.9)), 18, "ongoing"),
        (((0, 1.2), (10, 0.9)), 12, "worsening"),
        (((0, 0.4), (10, 0.9)), 12, "recovering"),
        (((0, 0.9), (10, 0.9)), 12, "ongoing"),
        (((0, 0.9), (10, 1.6)), 12, "resolved"),
        (((0, 0.9),), 60, "ongoing"),
        (((0, 0.9),), 61, "stale"),
    ],
)
def test_epi_5_status_at_the_index_time(counts: tuple[tuple[float, float], ...], as_of_day: float, status: str) -> None:
    assert course(*counts, as_of_day=as_of_day)[-1]["status"] == status


def test_epi_5_of_two_patients_each_keeps_their_own_episodes() -> None:
    result = screened("""
        patient | specimen | collected        | loinc | value
        A       | 1        | 2026-01-01 08:00 | 751-8 | 0.9
        B       | 2        | 2026-01-02 08:00 | 751-8 | 0.8
        A       | 3        | 2026-01-03 08:00 | 751-8 | 2.0
    """)
    assert result.episode.select("patient_id", "n_results").rows() == [("A", 1), ("B", 1)]
    assert result.episode["ended_at"].is_null().to_list() == [False, True]

"""Severity in the patient's context (SEV-3)."""

from datetime import date

import pytest

from neutro_screen.reference import load_policy
from neutro_screen.rules.counts.context import with_severity_in_context
from tests.clinic import screened
from tests.spec.counts import column, counts, people
from tests.worklists import person

POLICY = load_policy()


def seen(row: str, duffy_null: str = "") -> tuple[object, object]:
    judged = counts(f"patient | day | anc | age_days | reference_low | baseline_cells_per_ul\nA | 0 | {row}").pipe(
        with_severity_in_context, people(f"patient | duffy_null\nA | {duffy_null}"), POLICY
    )
    return column(judged, "severity_in_context")[0], column(judged, "context_reason")[0]


@pytest.mark.parametrize(
    ("anc", "baseline", "in_context"),
    [
        ("1330", "1350", "within_personal_range"),
        ("1000", "1350", "within_personal_range"),
        ("1000", "1429", "mild"),
        ("999", "1000", "moderate"),
        ("1330", "", "mild"),
        ("<1400", "1350", "mild"),
        ("1500", "1600", "normal"),
    ],
)
def test_sev_3_recorded_duffy_null_at_or_above_70_percent_of_baseline(anc: str, baseline: str, in_context: str) -> None:
    assert seen(f"{anc} | 15000 | | {baseline}", "yes")[0] == in_context


@pytest.mark.parametrize("recorded", ["no", ""])
def test_sev_3_never_without_a_record(recorded: str) -> None:
    assert seen("1330 | 15000 | | 1350", recorded) == ("mild", None)


@pytest.mark.parametrize(
    ("age_days", "anc", "expected"),
    [
        (14, "1000", ("normal", "infant_lower_limit")),
        (364, "1499", ("normal", "infant_lower_limit")),
        (365, "1499", ("mild", None)),
        (200, "999", ("moderate", None)),
        (200, "1500", ("normal", None)),
    ],
)
def test_sev_3_infants_have_a_lower_limit_of_1000(age_days: int, anc: str, expected: tuple[str, str | None]) -> None:
    assert seen(f"{anc} | {age_days} | | ") == expected


@pytest.mark.parametrize(
    ("anc", "limit", "expected"),
    [
        ("1200", "", ("age_limits_uncertain", "newborn")),
        ("4000", "", ("age_limits_uncertain", "newborn")),
        ("4000", "5000", ("below_laboratory_limit", "newborn")),
        ("5000", "5000", ("normal", None)),
        ("1200", "1100", ("normal", "laboratory_limit")),
        ("1200", "1750", ("mild", "newborn")),
        ("900", "", ("moderate", "newborn")),
    ],
)
def test_sev_3_under_two_weeks_only_the_laboratory_knows(
    anc: str, limit: str, expected: tuple[str, str | None]
) -> None:
    assert seen(f"{anc} | 13 | {limit} | ") == expected


def test_sev_3_unknown_age_and_unknown_severity_stay_as_they_are() -> None:
    assert seen("1200 | | | ") == ("mild", None)
    assert seen("<2000 | 15000 | | ") == (None, None)


def test_ctx_1_a_mild_count_of_an_infant_is_explained_by_the_limits_for_the_age() -> None:
    """1,200 at six months: within the limits of infants; at six years it has no explanation."""
    said = {}
    for years, born in ((0.5, date(2025, 8, 1)), (6, date(2020, 2, 1))):
        result = screened("name | value\nANC | 1.2", patients=person(birth_date=born))
        (said[years],) = result.worklist["conclusion"]
    assert "possibly a benign low count; for it: 1 of the low counts within the limits for the age" in said[0.5]
    assert "no explanation in these data" in said[6]

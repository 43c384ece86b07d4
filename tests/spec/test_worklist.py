"""The worklist from night to night (EPI-6) and its priorities (RULES.md section 7)."""

from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest

from neutro_schemas import Medication
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.rules.worklist.order import in_worklist_order
from neutro_screen.validate import dtypes
from tests.clinic import screened
from tests.spec.conftest import Case
from tests.worklists import Nights, of, person

DAY_0 = datetime(2026, 2, 1, 8)


def on(days: float) -> datetime:
    """A time counted from day 0."""
    return DAY_0 + timedelta(days=days)


def labs(*counts: tuple[float, str], status: dict[float, str] | None = None, patient: str = "1") -> str:
    """Neutrophils in 10*9/L by day; a status other than final where named."""
    lines = [
        f"{patient} | {patient}-{day} | {on(day):%Y-%m-%d %H:%M} | ANC | {value} | {(status or {}).get(day, 'F')}"
        for day, value in counts
    ]
    return "\n".join(["patient | specimen | collected | name | value | status", *lines])


def drug(name: str, start: float, end: float | None = None) -> pl.DataFrame:
    """One line of the medication list of patient 1."""
    row = {
        "patient_id": "1",
        "drug_name": name,
        "start_date": on(start).date(),
        "start_date_latest": on(start).date(),
        "end_date": None if end is None else on(end).date(),
        "source_file": "f",
        "source_row": 1,
    }
    return pl.DataFrame([row], schema=dtypes(Medication))


@cache
def without_chart(text: str, day: float) -> ScreenResult:
    """What the screen says of results alone in the night of a day; many tests begin with the same night."""
    return screened(text, as_of=on(day))


def rows(nights: Nights, text: str, day: float, **chart: Any) -> dict[str, Any] | None:
    """The row of patient 1 in the night of a day."""
    return of(nights.after(screened(text, as_of=on(day), **chart) if chart else without_chart(text, day), on(day)))


LOW = labs((0, "0.9"))


@pytest.mark.parametrize("silence", [1, 8, 30, 61, 89, 91, 400])
def test_epi_6_without_a_new_result_nothing_improves_and_no_priority_falls(silence: int) -> None:
    nights, counts = Nights(), ("0.05", "0.4", "0.9", "1.2")
    header = labs().splitlines()[0]
    text = "\n".join([header, *(labs((0, anc), patient=anc).splitlines()[1] for anc in counts)])
    first, later = (nights.after(without_chart(text, day), on(day)) for day in (0.5, silence))
    priorities = ["info", "low", "medium", "high", "critical"]
    for anc in counts:
        before, after = of(first, anc), of(later, anc)
        assert before is not None and after is not None
        assert after["change"] in ("unchanged", "escalated", "lost")
        assert priorities.index(after["priority"]) >= priorities.index(before["priority"])
        assert "held" not in after["reason_codes"]


@pytest.mark.parametrize(("day", "group", "change"), [(90, "open", "unchanged"), (90.1, "lost_to_follow_up", "lost")])
def test_epi_6_after_90_days_without_a_result_a_row_is_lost_to_follow_up(day: float, group: str, change: str) -> None:
    nights = Nights()
    rows(nights, LOW, 0.5)
    later = rows(nights, LOW, day)
    assert later is not None
    assert (later["row_group"], later["change"], later["priority"]) == (group, change, "medium")
    following = rows(nights, LOW, day + 1)
    assert following is not None
    assert following["row_group"] == "lost_to_follow_up"


def test_epi_6_a_lost_patient_who_is_counted_again_is_open_again() -> None:
    nights = Nights()
    rows(nights, LOW, 0.5)
    rows(nights, LOW, 95)
    back = rows(nights, labs((0, "0.9"), (96, "0.8")), 96.5)
    assert back is not None
    assert (back["row_group"], back["change"]) == ("open", "unchanged")


def test_epi_6_a_recovery_needs_a_new_result_and_is_at_most_low() -> None:
    nights = Nights()
    rows(nights, labs((0, "0.3")), 0.5)
    recovered = rows(nights, labs((0, "0.3"), (5, "2.5")), 5.5)
    assert recovered is not None
    assert (recovered["row_group"], recovered["change"], recovered["priority"]) == ("recovered", "resolved", "low")
    assert rows(nights, labs((0, "0.3"), (5, "2.5")), 6.5) is None


def test_epi_6_a_better_count_that_is_still_low_is_improved_only_where_the_episode_is_less_urgent() -> None:
    nights = Nights()
    worst = rows(nights, labs((0, "4.0"), (10, "0.4")), 10.2)
    better = rows(nights, labs((0, "4.0"), (10, "0.4"), (12, "0.9")), 20)
    assert worst is not None and better is not None
    assert (worst["priority"], better["priority"], better["change"]) == ("critical", "high", "improved")


def test_epi_6_a_cancelled_low_count_is_withdrawn_and_never_recovered() -> None:
    nights = Nights()
    rows(nights, labs((0, "0.9")), 0.5)
    closed = rows(nights, labs((0, "0.9"), (0, "0.9"), status=None).replace("| F", "| X"), 1.5)
    assert closed is not None
    assert (closed["row_group"], closed["change"]) == ("withdrawn", "withdrawn")
    assert "withdrawn" in closed["reasons"] and "recovered" not in closed["reasons"]
    assert closed["priority"] == "medium"


def test_epi_6_a_low_count_that_was_corrected_away_is_withdrawn_although_a_normal_one_follows() -> None:
    nights = Nights()
    rows(nights, labs((0, "4.0"), (10, "0.9")), 10.5)
    corrected = labs((0, "4.0"), (10, "3.9"), (12, "4.1"), status={10: "C"})
    closed = rows(nights, corrected, 12.5)
    assert closed is not None
    assert (closed["row_group"], closed["change"]) == ("withdrawn", "withdrawn")


def test_epi_6_of_two_low_counts_one_withdrawn_leaves_the_row_open() -> None:
    nights = Nights()
    rows(nights, labs((0, "1.2"), (5, "0.05")), 5.5)
    left = rows(nights, labs((0, "1.2"), (5, "0.05"), status={5: "X"}), 6.5)
    assert left is not None
    assert (left["row_group"], left["change"], left["priority"]) == ("open", "withdrawn", "low")


def test_epi_6_a_recorded_death_closes_the_row() -> None:
    nights = Nights()
    rows(nights, LOW, 0.5)
    died = person(death_date=on(3).date())
    assert (rows(nights, LOW, 2.5, patients=died) or {})["change"] == "unchanged"
    closed = rows(nights, LOW, 4, patients=died)
    assert closed is not None
    assert (closed["row_group"], closed["change"], closed["episode_status"]) == ("died", "died", "died")
    assert rows(nights, LOW, 5, patients=died) is None
    assert of(Nights().after(screened(LOW, as_of=on(5), patients=died), on(5))) is None


def test_epi_6_a_death_with_a_count_after_it_is_not_believed() -> None:
    alive = person(death_date=date(2026, 1, 1))
    row = rows(Nights(), LOW, 0.5, patients=alive)
    assert row is not None and row["row_group"] == "open"


def test_epi_6_silence_on_a_high_risk_drug_makes_a_row_more_urgent() -> None:
    nights, given = Nights(), drug("carbimazole", -30)
    first = rows(nights, LOW, 0.5, medications=given)
    overdue = rows(nights, LOW, 8, medications=given)
    assert first is not None and overdue is not None
    assert "moderate_overdue_high_risk_drug" in overdue["reason_codes"]
    assert overdue["priority"] == "high"


def test_epi_6_the_planned_end_of_a_drug_lowers_no_priority() -> None:
    nights, given = Nights(), drug("carbimazole", -30, 20)
    rows(nights, labs((0, "1.2")), 0.5, medications=given)
    ended = rows(nights, labs((0, "1.2")), 25, medications=given)
    assert ended is not None
    assert "mild_high_risk_drug" in ended["reason_codes"] and ended["priority"] == "medium"


def test_epi_6_a_drug_list_taken_back_holds_the_priority_until_a_new_result() -> None:
    nights = Nights()
    rows(nights, labs((0, "1.2")), 0.5, medications=drug("carbimazole", -30))
    held = rows(nights, labs((0, "1.2")), 1.5)
    assert held is not None
    assert (held["priority"], held["change"]) == ("medium", "unchanged")
    assert held["reason_codes"].endswith("held")
    freed = rows(nights, labs((0, "1.2"), (2, "1.3")), 2.5)
    assert freed is not None
    assert (freed["priority"], freed["change"]) == ("low", "improved")


@pytest.mark.parametrize(
    ("hb", "platelets", "priority", "reason"),
    [
        ("9.9", "200", "medium", "mild_cytopenia"),
        ("12", "99", "medium", "mild_cytopenia"),
        ("12", "100", "low", "mild"),
        ("10", "200", "low", "mild"),
        ("8", "200", "medium", "mild_cytopenia"),
        ("7.9", "200", "high", "severe_other_lines"),
        ("12", "50", "medium", "mild_cytopenia"),
        ("12", "49", "high", "severe_other_lines"),
    ],
)
def test_sev_5_another_low_line_is_at_least_medium_and_a_very_low_one_high(
    hb: str, platelets: str, priority: str, reason: str, case: Case
) -> None:
    text = """
        specimen | name      | value       | unit
        S1       | ANC       | 1.2         | 10*9/L
        S1       | HGB       | {hb}        | g/dL
        S1       | Platelets | {platelets} | 10*9/L
    """
    (row,) = case.of(case.screened(text, on(0.5)).worklist).to_dicts()
    assert (row["priority"], row["reason_codes"].split(",")[0]) == (priority, reason)


def test_epi_2_below_500_for_a_week_is_critical_unless_it_is_expected() -> None:
    text = labs((0, "0.4"), (4, "0.4"), (8, "0.4"), (12, "0.45"))
    row = of(screened(text, as_of=on(20)).worklist)
    assert row is not None
    assert row["priority"] == "critical" and "prolonged_profound_unexpected" in row["reason_codes"]
    expected = of(screened(text, as_of=on(20), medications=drug("docetaxel", -6, -6)).worklist)
    assert expected is not None
    if expected["is_expected"]:
        assert "prolonged_profound_unexpected" not in expected["reason_codes"]


def test_rpd_1_a_halving_on_a_high_risk_drug_is_high_although_the_count_is_mild() -> None:
    text = labs((-14, "4.2"), (-7, "4.1"), (0, "1.4"))
    row = of(screened(text, as_of=on(0.5), medications=drug("clozapine", -56)).worklist)
    assert row is not None
    assert (row["priority"], row["current_severity"]) == ("high", "mild")


def test_epi_6_open_rows_come_before_recovered_and_lost_ones_and_the_most_urgent_first() -> None:
    patients = (("1", ((0, "0.9"),)), ("2", ((99, "0.4"),)), ("3", ((0, "0.3"), (5, "3.0"))), ("4", ((99, "1.2"),)))
    text = "\n".join([labs().strip(), *(labs(*counts, patient=name).split("\n", 1)[1] for name, counts in patients)])
    listed = in_worklist_order(Nights().after(screened(text, as_of=on(100)), on(100)))
    assert listed.select("patient_id", "row_group").rows() == [
        ("2", "open"),
        ("4", "open"),
        ("3", "recovered"),
        ("1", "lost_to_follow_up"),
    ]
    assert listed["is_recent"].to_list() == [True, True, False, False]


def test_sev_4_an_overdue_clozapine_count_is_a_row_of_its_own_although_the_last_count_was_normal() -> None:
    text, given = labs((0, "4.0")), drug("clozapine", -30)
    due = screened(text, as_of=on(7), medications=given)
    assert due.clozapine_course["next_anc_due"].to_list() == [on(7)]
    assert due.patient_status.select("next_step", "next_step_due").rows() == [("repeat_cbc", on(7))]
    assert of(due.worklist) is None
    row = of(screened(text, as_of=on(7.1), medications=given).worklist)
    assert row is not None
    assert (row["reason_codes"], row["priority"], row["row_group"]) == ("clozapine_anc_overdue", "medium", "open")
    assert of(screened(text, as_of=on(40), medications=drug("clozapine", -30, 5)).worklist) is None


def test_sev_4_an_overdue_clozapine_row_ends_with_a_count_and_not_by_silence() -> None:
    nights, given = Nights(), drug("clozapine", -30)
    rows(nights, labs((0, "4.0")), 8, medications=given)
    silent = rows(nights, labs((0, "4.0")), 120, medications=given)
    assert silent is not None
    assert (silent["row_group"], silent["change"]) == ("open", "unchanged")
    counted = rows(nights, labs((0, "4.0"), (120, "4.1")), 121, medications=given)
    assert counted is not None
    assert (counted["row_group"], counted["change"]) == ("recovered", "resolved")


def test_sev_4_without_any_count_on_clozapine_the_first_is_due_within_the_first_interval() -> None:
    course = screened(labs((-60, "4.0")), as_of=on(9), medications=drug("clozapine", 0)).clozapine_course
    assert course.select("last_collected_at", "next_anc_due").rows() == [(None, datetime(2026, 2, 8))]


def test_sev_3_a_newborn_is_listed_below_the_laboratory_limit_or_without_one() -> None:
    born = person(birth_date=on(-1).date())
    for low, reason, priority in (("-", "age_limits_uncertain", "low"), ("5.0", "below_laboratory_limit", "medium")):
        text = f"name | value | low\nANC | 3.0 | {low}"
        result = screened(text, as_of=on(0.5), patients=born)
        row = of(result.worklist)
        assert row is not None
        assert (row["reason_codes"], row["priority"]) == (reason, priority)
        assert result.flag.filter(pl.col("rule_id") == "SEV-3").height == 1
    assert of(screened("name | value | low\nANC | 5.2 | 5.0", as_of=on(0.5), patients=born).worklist) is None


@pytest.mark.parametrize(
    ("anc", "low", "code"),
    [
        ("1.2", "-", "newborn_low"),
        ("1.2", "1.75", "newborn_low"),
        ("0.9", "-", "moderate"),
        ("0.9", "1.75", "moderate"),
    ],
)
def test_sev_3_a_low_count_of_a_newborn_is_medium_and_repeated_within_a_day(anc: str, low: str, code: str) -> None:
    """Whether the laboratory gives a limit or not, and no later the deeper the count is."""
    born = person(birth_date=on(-2).date())
    row = of(screened(f"name | value | low\nANC | {anc} | {low}", as_of=on(0.5), patients=born).worklist)
    assert row is not None
    assert (row["priority"], row["reason_codes"].split(",")[0]) == ("medium", code)
    assert (row["next_step"], row["next_step_due"]) == ("repeat_cbc", on(1))


def test_sev_3_a_newborns_count_within_the_laboratory_limit_is_explained() -> None:
    born = person(birth_date=on(-2).date())
    row = of(screened("name | value | low\nANC | 1.2 | 1.1", as_of=on(0.5), patients=born).worklist)
    assert row is not None
    assert (row["priority"], row["reason_codes"]) == ("info", "within_age_limits")


@pytest.mark.parametrize("phenotype", ["Fy(a-b-)", "FY(A-B-)", "Duffy-null", "FY*02N.01/FY*02N.01", "rs2814778 C/C"])
def test_sev_3_duffy_null_may_come_from_the_laboratorys_own_blood_group_results(phenotype: str, case: Case) -> None:
    text = """
        specimen | collected        | name          | loinc   | value
        S1       | 2025-06-01 08:00 | ANC           | 751-8   | 1.3
        S2       | 2025-09-01 08:00 | ANC           | 751-8   | 1.25
        S3       | 2026-02-01 08:00 | ANC           | 751-8   | 1.2
        S4       | 2025-06-01 08:00 | Duffy         | 13309-0 | {phenotype}
    """
    (row,) = case.of(case.screened(text, on(0.5)).worklist).to_dicts()
    assert (row["priority"], row["reason_codes"].split(",")[0]) == ("info", "within_personal_range")
    (other,) = case.of(case.screened(text.replace("{phenotype}", "Fy(a+b-)"), on(0.5)).worklist).to_dicts()
    assert other["priority"] != "info"


def test_wrk_4_fever_comes_before_everything_and_is_never_answered_by_a_smear() -> None:
    events = pl.DataFrame(
        [
            {
                "patient_id": "1",
                "event": "temperature",
                "occurred_at": on(0.1),
                "detail": "39.1",
                "source_file": "f",
                "source_row": 1,
            }
        ]
    ).with_columns(pl.col("occurred_at").cast(pl.Datetime("us")))
    status = screened(labs((0, "0.3")), as_of=on(30), events=events).patient_status
    assert status["next_step"].to_list() == ["fever_assessment"]


def test_wrk_4_then_a_repeat_that_is_due_then_the_high_risk_drug_then_the_rest_by_date() -> None:
    given = drug("clozapine", -20)
    steps = [
        screened(labs((0, "3.0"), (7, anc)), as_of=on(day), medications=given).patient_status["next_step"].item()
        for anc, day in (("0.3", 7.1), ("0.9", 7.1))
    ]
    assert steps[0] == "repeat_cbc"
    plain = screened(labs((0, "3.0"), (7, "1.2")), as_of=on(8)).patient_status["next_step"].item()
    assert plain != "drug_decision"


def test_anc_9b_the_list_shows_what_the_risk_depends_on_and_no_date_of_the_future() -> None:
    text = f"""
        specimen | collected               | name | value
        S1       | {on(-10):%Y-%m-%d %H:%M} | ANC  | 0.4
        S2       | {on(0):%Y-%m-%d %H:%M}   | ANC  | 17x
    """
    listed = screened(text, as_of=on(1), medications=drug("carbimazole", -30)).cannot_assess.to_dicts()
    assert [(row["last_anc_cells_per_ul"], row["last_severity"], row["high_risk_drug"]) for row in listed] == [
        (400.0, "severe", "carbimazole")
    ]
    future = screened("collected | name | value\n2099-01-01 08:00 | ANC | 0.4", as_of=on(1)).cannot_assess
    assert future["since"].to_list() == [on(1)]

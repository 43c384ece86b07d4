"""A drug list without dates, or with dates that cannot be read: since when it is taken is not known (DRG-1, DRG-2, SEV-4)."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from neutro_screen.ingest.chart import usable_rows
from neutro_screen.ingest.frames import NATIVE_COLUMNS
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.typed_rows import medication_rows
from neutro_screen.rules.protocol import ScreenResult
from tests.clinic import screened
from tests.worklists import Nights, of

DAY_0 = datetime(2026, 2, 1, 8)


def on(days: float) -> datetime:
    """A time counted from day 0."""
    return DAY_0 + timedelta(days=days)


def listed(*lines: str) -> pl.DataFrame:
    """Lines of the drug list of patient 1: a name, and in brackets first and last day, counted from day 0; other words stand
    for themselves.
    """
    texts = []
    for line in lines:
        name, _, days = line.rstrip(")").partition(" (")
        start, end = [*days.split(".."), ""][:2]
        texts.append({"patient_id": "1", "drug_name": name, "start_date": written(start), "end_date": written(end)})
    names = NATIVE_COLUMNS["medication"]
    sent = pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String)).with_columns(
        source_file=pl.lit("list"), source_row=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    return usable_rows("medication", sent, medication_rows(sent, Profile())).rows


def written(day: str) -> str | None:
    """A day as a source writes it: counted from day 0, or a text; null for none."""
    is_counted = day.lstrip("-").isdigit() and len(day.lstrip("-")) < len("2025")
    return f"{on(int(day)):%Y-%m-%d}" if is_counted else day or None


def night(counts: dict[int, str], *lines: str, day: float = 1) -> ScreenResult:
    """Patient 1 with neutrophil counts (10*9/L by day) and a drug list, screened some days after day 0."""
    labs = [f"1 | {at} | {on(at):%Y-%m-%d %H:%M} | ANC | {value}" for at, value in counts.items()]
    text = "\n".join(["patient | specimen | collected | name | value", *labs])
    return screened(text, as_of=on(day), medications=listed(*lines))


def suspects(counts: dict[int, str], *lines: str, day: float = 1) -> dict[str, dict[str, Any]]:
    return {row["ingredient"]: row for row in night(counts, *lines, day=day).drug_suspect.to_dicts()}


AGRANULOCYTOSIS = {-30: "4.2", 0: "0.2"}


@pytest.mark.parametrize(
    "drug", ["metamizole sodium", "carbimazole", "clozapine", "sulfasalazine", "rituximab", "docetaxel"]
)
def test_drg_1_a_drug_without_a_start_date_is_a_possible_suspect_and_never_more(drug: str) -> None:
    found = suspects(AGRANULOCYTOSIS, drug)[drug]
    assert (found["category"], found["first_exposure"], found["last_exposure"]) == ("possible", None, None)
    assert "taken now by the drug list, since when is not known" in found["reason"]
    assert "its window cannot be judged without a start date" in found["reason"]
    items = json.loads(found["items"])
    assert (items["points"]["onset"], items["who_umc"], items["naranjo"]["2_event_after_drug"]) == (
        0,
        "unassessable",
        None,
    )
    assert suspects({-200: "4.2", 0: "0.2"}, drug)[drug]["category"] == "possible"
    assert suspects({0: "0.2"}, drug)[drug]["category"] == "possible"


def test_drg_1_with_its_date_the_same_drug_is_likely() -> None:
    assert suspects(AGRANULOCYTOSIS, "metamizole (-20)")["metamizole sodium"]["category"] == "likely"


def test_drg_1_a_dated_line_that_is_open_tells_more_than_one_without_a_date() -> None:
    found = suspects(AGRANULOCYTOSIS, "metamizole", "metamizole (-20)")["metamizole sodium"]
    assert (found["category"], found["first_exposure"]) == ("likely", on(-20).date())
    ended = suspects(AGRANULOCYTOSIS, "metamizole", "metamizole (-400..-380)")["metamizole sodium"]
    assert (ended["category"], ended["first_exposure"]) == ("possible", None)


def test_drg_1_of_a_line_that_ended_its_end_counts() -> None:
    assert "stopped 200 days before it" not in str(suspects(AGRANULOCYTOSIS, "metamizole (..-200)"))
    stopped = suspects({**AGRANULOCYTOSIS, 12: "3.9"}, "metamizole (..1)", day=13)["metamizole sodium"]
    assert "stopped 1 day after it" in stopped["reason"]
    assert "recovered 11 days after stopping" in stopped["reason"]
    assert "since when it was given is not known" in stopped["reason"]
    assert stopped["category"] == "possible"


def test_drg_3_recovery_on_a_drug_taken_now_is_no_argument_against_it() -> None:
    found = suspects({**AGRANULOCYTOSIS, 4: "0.4", 12: "3.9"}, "metamizole", day=13)["metamizole sodium"]
    assert "recovered while it was given" not in found["reason"]


def test_drg_5_nothing_is_expected_of_a_cytotoxic_drug_whose_dose_has_no_date() -> None:
    found = suspects(AGRANULOCYTOSIS, "docetaxel", "metamizole (-20)")
    assert (found["docetaxel"]["category"], found["metamizole sodium"]["category"]) == ("possible", "likely")
    assert not night(AGRANULOCYTOSIS, "docetaxel").worklist["is_expected"].any()


def test_drg_6_the_start_of_the_partner_tells_and_one_that_is_not_known_does_not() -> None:
    found = suspects(AGRANULOCYTOSIS, "azathioprine", "allopurinol (-20)")["azathioprine"]
    assert "taken together for at most 20 days before the first low count" in found["reason"]
    assert "since when is not known" in found["reason"]
    assert found["category"] == "possible"
    reason = suspects(AGRANULOCYTOSIS, "azathioprine (-100)", "allopurinol")["azathioprine"]["reason"]
    assert "taken together" not in reason


def test_wrk_4_the_decision_on_a_high_risk_drug_without_a_date_is_the_next_step() -> None:
    row = of(night({-30: "4.2", 0: "0.8"}, "carbimazole", day=8).worklist)
    assert row is not None
    assert "carbimazole" in row["conclusion"]
    assert "not judged: its window cannot be judged without a start date" in row["conclusion"]
    assert "for it: taken now by the drug list, since when is not known;" in row["conclusion"]


def test_sev_4_clozapine_without_a_date_has_its_thresholds_and_the_schedule_of_the_first_weeks() -> None:
    result = night({0: "3.4"}, "clozapine", day=1)
    course = result.clozapine_course.to_dicts()
    assert [(row["first_exposure"], row["clozapine_step"], row["next_anc_due"]) for row in course] == [
        (None, "normal", on(7))
    ]
    assert of(result.worklist) is None
    low = night({-7: "3.4", 0: "1.2"}, "clozapine", day=0.5).anc.to_dicts()[-1]
    assert (low["clozapine_step"], low["next_anc_due"]) == ("mild", on(1))
    overdue = night({0: "3.4"}, "clozapine", day=8)
    row = of(overdue.worklist)
    assert row is not None
    assert "clozapine_anc_overdue" in row["reason_codes"]
    flag = overdue.flag.filter(pl.col("rule_id") == "SEV-4")["reason"].item()
    assert flag.startswith(
        "clozapine now, since when is not known (the schedule of the first weeks holds), and the ANC over"
    )


def test_sev_4_clozapine_without_date_and_count_is_overdue_and_stays_one_case() -> None:
    nights, states = Nights(), []
    for day in (1.0, 2.0, 3.5):
        result = screened(
            "patient | specimen | collected | name | value\n1 | s | 2026-01-31 08:00 | Haemoglobin | 140",
            as_of=on(day),
            medications=listed("clozapine"),
        )
        row = of(nights.after(result, on(day)))
        assert row is not None
        states.append((row["change"], "clozapine_anc_overdue" in row["reason_codes"]))
    assert states == [("new", True), ("unchanged", True), ("unchanged", True)]


def test_mask_1_a_steroid_without_a_date_is_told_without_one() -> None:
    lines = night(AGRANULOCYTOSIS, "prednisolone").evidence.filter(pl.col("rule_id") == "MASK-1")["finding"]
    assert lines.str.starts_with("prednisolone given from a day that is not known on").all()
    assert lines.len() == 1


def test_the_course_has_no_invented_day() -> None:
    course = night(AGRANULOCYTOSIS, "metamizole").drug_course.to_dicts()[0]
    assert (course["started_on"], course["started_on_latest"], course["ended_on"]) == (None, None, None)
    assert date.min not in night(AGRANULOCYTOSIS, "metamizole", "clozapine").drug_course["started_on"].to_list()


@pytest.mark.parametrize("text", ["31.13.2025", "unknown", "ca. 2019?"])
def test_drg_1_a_start_date_that_cannot_be_read_is_as_good_as_none_and_named(text: str) -> None:
    found = suspects(AGRANULOCYTOSIS, f"metamizole ({text})")["metamizole sodium"]
    assert (found["category"], found["first_exposure"], found["last_exposure"]) == ("possible", None, None)
    words = "taken now by the drug list, since when is not known (its start date could not be read)"
    assert words in found["reason"]
    stopped = suspects({**AGRANULOCYTOSIS, 12: "3.9"}, f"metamizole ({text}..1)", day=13)["metamizole sodium"]
    assert "since when it was given is not known (its start date could not be read)" in stopped["reason"]
    assert "recovered 11 days after stopping" in stopped["reason"]
    assert suspects(AGRANULOCYTOSIS, f"metamizole ({text}..-200)") == {}


def test_drg_1_a_drug_whose_end_cannot_be_read_stays_a_suspect_and_is_not_said_to_be_given() -> None:
    found = suspects(AGRANULOCYTOSIS, "metamizole (-20..31.13.2026)")["metamizole sodium"]
    assert (found["category"], found["is_end_unread"]) == ("likely", True)
    assert "its end date could not be read, so whether it was still given is not known" in found["reason"]
    assert "still given," not in found["reason"]
    assert "dechallenge" not in found["reason"]
    both = suspects(AGRANULOCYTOSIS, "metamizole (?..?)")["metamizole sodium"]
    assert (both["category"], both["is_end_unread"]) == ("possible", True)
    assert "its end date could not be read" in both["reason"]
    assert "taken now" not in both["reason"]
    open_beside = suspects(AGRANULOCYTOSIS, "metamizole (-20..?)", "metamizole (-18)")["metamizole sodium"]
    assert "still given" in open_beside["reason"]


def test_drg_3_recovery_says_nothing_of_a_drug_whose_end_cannot_be_read() -> None:
    counts = {**AGRANULOCYTOSIS, 4: "0.4", 12: "3.9"}
    assert "recovered while it was given" in suspects(counts, "metamizole (-20)", day=13)["metamizole sodium"]["reason"]
    found = suspects(counts, "metamizole (-20..?)", day=13)["metamizole sodium"]
    assert "recovered" not in found["reason"]


def test_pit_1_nobody_is_said_to_have_gone_on_with_a_drug_whose_end_cannot_be_read() -> None:
    def missed(line: str) -> bool:
        flags = night({**AGRANULOCYTOSIS, 5: "0.2"}, line, day=6).flag
        return "PIT-1" in flags["rule_id"].to_list()

    assert missed("metamizole (-20)")
    assert not missed("metamizole (-20..?)")


@pytest.mark.parametrize(("line", "is_found"), [("metamizole (1780-01-01)", True), ("metamizole (2999-01-01)", False)])
def test_a_day_that_cannot_be_but_can_be_read_stays_the_day_it_is(line: str, is_found: bool) -> None:
    found = suspects(AGRANULOCYTOSIS, line)
    assert ("metamizole sodium" in found) == is_found
    assert "since when is not known" not in str(found)


def test_mask_1_a_steroid_whose_end_cannot_be_read_is_told_without_one() -> None:
    lines = night(AGRANULOCYTOSIS, "prednisolone (-40..?)").evidence.filter(pl.col("rule_id") == "MASK-1")["finding"]
    assert lines.str.contains("given from 2025-12-23 to a day that could not be read: ").to_list() == [True]


def test_sev_4_clozapine_whose_end_cannot_be_read_keeps_its_schedule_and_says_so() -> None:
    flags = night({-100: "3.4", 0: "3.4"}, "clozapine (-300..?)", day=40).flag
    reason = flags.filter(pl.col("rule_id") == "SEV-4")["reason"].item()
    assert "its end date could not be read" in reason
    assert "its end date" not in str(
        night({-100: "3.4", 0: "3.4"}, "clozapine (-300)", day=40).flag["reason"].to_list()
    )


@pytest.mark.parametrize(
    ("start", "due_in"),
    # Of 2025 the last day is 32 days before day 0, of January 2025 it is 366 days before it.
    [("2025", 7), ("2025-01", 28), ("2025-01-01", 28), ("?", 7)],
)
def test_sev_4_the_schedule_counts_from_the_latest_day_on_which_clozapine_may_have_begun(
    start: str, due_in: int
) -> None:
    counts = dict.fromkeys(range(-400, 1, 20), "3.4")
    course = night(counts, f"clozapine ({start})").clozapine_course.to_dicts()
    assert [row["next_anc_due"] for row in course] == [on(due_in)]

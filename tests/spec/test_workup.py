"""The work-up of open episodes (WRK-1, WRK-2) and the pitfalls (PIT-1 ... PIT-4)."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from neutro_schemas import Diagnosis, DrugSuspect, Event, Evidence, Flag, LabResult, Medication, WorkupStep
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.course.episodes import episodes_per_patient, with_episode_numbers
from neutro_screen.rules.worklist.pitfalls import pitfalls
from neutro_screen.rules.worklist.workup import kinds_of_data, workup_steps

REFERENCE, POLICY = load_cause_reference(), load_policy()
ONSET = datetime(2025, 6, 1, 8)
ALL_KINDS = frozenset(
    {
        "travel",
        "smear_review",
        "smear",
        "bone_marrow",
        "marrow",
        "medication_review",
        "medication",
        "viral",
        "vitamin_b12",
    }
)


def at(days=0, hours=0):
    """A time counted from the first low count."""
    return ONSET + timedelta(days=days, hours=hours)


def frame(rows, model):
    types = {name: field.dtype.type for name, field in model.to_schema().columns.items()}
    return pl.DataFrame(list(rows), schema=types).lazy()


def event(kind, days=0):
    return {"patient_id": "P", "event": kind, "occurred_at": at(days), "source_file": "f", "source_row": 1}


def lab(analyte, days=0, *, text="Negative", method="any", status="final"):
    return {
        "patient_id": "P",
        "specimen_id": "S",
        "collected_at": at(days),
        "analyte": analyte,
        "method": method,
        "value_text": text,
        "status": status,
        "source_file": "f",
        "source_row": 1,
    }


def suspect(episode_id, category="likely", last_exposure=None, ingredient="clozapine"):
    return {
        "episode_id": episode_id,
        "fall_id": "P/fall/1",
        "leads_to_nadir": True,
        "patient_id": "P",
        "ingredient": ingredient,
        "category": category,
        "score": 9,
        "rank": 1,
        "first_exposure": date(2025, 4, 1),
        "last_exposure": last_exposure,
        "is_end_unread": False,
        "reason": "r",
        "items": "{}",
    }


class Case:
    """One patient: counts by day from the first low one, and what is on file."""

    def __init__(
        self,
        counts,
        *,
        events=(),
        labs=(),
        diagnoses=(),
        medications=(),
        category=None,
        last_exposure=None,
        ingredient="clozapine",
        strong=(),
        kinds=ALL_KINDS,
        declined=(),
        ladder_due=None,
        cytopenia=None,
        context=None,
        is_cyclic=False,
        as_of,
    ):
        self.as_of, self.kinds = as_of, kinds
        self.anc = (
            pl.DataFrame(
                [
                    {
                        "patient_id": "P",
                        "specimen_id": f"S{day}",
                        "collected_at": at(day),
                        "anc_cells_per_ul": float(value),
                        "rapid_decline": day in declined,
                    }
                    for day, value in counts.items()
                ],
                schema_overrides={"collected_at": pl.Datetime("us")},
            )
            .with_columns(
                anc_comparator=pl.lit(None, pl.String),
                notes=pl.lit(None, pl.String),
                next_anc_due=pl.lit(ladder_due, pl.Datetime("us")),
                cytopenia=pl.lit(cytopenia, pl.String),
                severity_in_context=pl.lit(context, pl.String),
                context_reason=pl.lit(None, pl.String),
                severity=severity(pl.col("anc_cells_per_ul"), pl.lit(None, pl.String), load_reference().anc_bands),
            )
            .lazy()
        )
        self.episodes = (
            episodes_per_patient(with_episode_numbers(self.anc), POLICY, as_of)
            .with_columns(is_cyclic=pl.lit(is_cyclic))
            .collect()
            .lazy()
        )
        episode_id = self.episodes.collect()["episode_id"][-1]
        self.events, self.labs = frame(events, Event), frame(labs, LabResult)
        self.diagnoses, self.medications = frame(diagnoses, Diagnosis), frame(medications, Medication)
        self.suspects = frame(
            [suspect(episode_id, category, last_exposure, ingredient)] if category else [], DrugSuspect
        )
        self.evidence = frame(
            [
                {
                    "episode_id": episode_id,
                    "patient_id": "P",
                    "category": "c",
                    "rule_id": rule,
                    "finding": "f",
                    "strength": "strong",
                    "source": "s",
                }
                for rule in strong
            ],
            Evidence,
        )

    def steps(self):
        found = workup_steps(
            self.episodes,
            self.anc,
            self.events,
            self.labs,
            self.diagnoses,
            self.medications,
            self.suspects,
            self.evidence,
            REFERENCE,
            POLICY,
            self.as_of,
            self.kinds,
        ).collect()
        WorkupStep.validate(found)
        return {row["step"]: row for row in found.iter_rows(named=True)}

    def pitfalls(self):
        found = pitfalls(
            self.episodes,
            self.anc,
            self.suspects,
            self.evidence,
            self._steps(),
            self.labs,
            self.events,
            self.diagnoses,
            REFERENCE,
            self.as_of,
            self.kinds,
        ).collect()
        Flag.validate(found)
        return dict(found.select("rule_id", "reason").rows())

    def _steps(self):
        return workup_steps(
            self.episodes,
            self.anc,
            self.events,
            self.labs,
            self.diagnoses,
            self.medications,
            self.suspects,
            self.evidence,
            REFERENCE,
            POLICY,
            self.as_of,
            self.kinds,
        )


SEVERE, MODERATE, MILD = {0: 400}, {0: 900}, {0: 1200}


@pytest.mark.parametrize(("counts", "hours"), [({0: 50}, 24), ({0: 400}, 24), ({0: 900}, 7 * 24), ({0: 1200}, 28 * 24)])
def test_wrk_2_the_repeat_is_due_by_severity(counts, hours):
    for later, state in ((timedelta(0), "due"), (timedelta(seconds=1), "overdue")):
        step = Case(counts, as_of=at(hours=hours) + later).steps()["repeat_cbc"]
        assert (step["due_on"], step["state"]) == (at(hours=hours), state)


def test_wrk_2_after_a_rapid_decline_the_repeat_is_due_in_48_hours_and_never_later_than_severity_says():
    assert Case(MILD, declined=[0], as_of=at(1)).steps()["repeat_cbc"]["due_on"] == at(hours=48)
    assert Case(SEVERE, declined=[0], as_of=at(1)).steps()["repeat_cbc"]["due_on"] == at(hours=24)


def test_wrk_2_a_repeat_that_is_still_low_is_noted_and_the_next_one_due():
    step = Case({0: 400, 1: 450}, as_of=at(1, 2)).steps()["repeat_cbc"]
    assert (step["state"], step["done_on"], step["due_on"]) == ("due", at(1).date(), at(2))


def test_wrk_1_an_ended_episode_has_no_steps():
    assert Case({0: 400, 5: 3000}, as_of=at(6)).steps() == {}


@pytest.mark.parametrize(("hours", "state"), [(24, "due"), (25, "overdue")])
def test_wrk_1_a_smear_not_examined_is_due_and_then_overdue(hours, state):
    assert Case(SEVERE, as_of=at(hours=hours)).steps()["smear"]["state"] == state


@pytest.mark.parametrize("step", ["smear", "travel_history", "bone_marrow", "medication_review", "viral_serology"])
def test_wrk_1_a_kind_of_data_the_extract_does_not_have_is_unknown_and_never_overdue(step):
    found = Case(SEVERE, kinds=frozenset(), as_of=at(300)).steps()[step]
    assert (found["state"], found["due_on"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("travel", "travel_history"),
        ("smear_review", "smear"),
        ("bone_marrow", "bone_marrow"),
        ("medication_review", "medication_review"),
    ],
)
def test_wrk_1_an_event_does_a_step(kind, step):
    found = Case(SEVERE, events=[event(kind, days=2)], as_of=at(10)).steps()[step]
    assert (found["state"], found["done_on"], found["due_on"]) == ("done", at(2).date(), None)


@pytest.mark.parametrize(("days", "state"), [(-7, "done"), (-8, "overdue")])
def test_wrk_1_a_smear_of_the_week_before_still_counts(days, state):
    assert Case(SEVERE, events=[event("smear_review", days)], as_of=at(10)).steps()["smear"]["state"] == state


def test_wrk_1_a_step_of_the_future_is_not_done():
    assert Case(SEVERE, events=[event("smear_review", 20)], as_of=at(10)).steps()["smear"]["state"] == "overdue"


def test_wrk_1_a_manual_differential_and_a_smear_code_are_smears_unless_retracted():
    for row in (lab("neut_pct", method="manual"), lab("smear_review")):
        assert Case(SEVERE, labs=[row], as_of=at(10)).steps()["smear"]["state"] == "done"
    retracted = lab("smear_review", status="cancelled")
    assert Case(SEVERE, labs=[retracted], as_of=at(10)).steps()["smear"]["state"] == "overdue"


def test_wrk_1_a_marrow_by_laboratory_code_and_by_procedure_code():
    procedure = {
        "patient_id": "P",
        "code": "38221",
        "system": "other",
        "date": at(3).date(),
        "source_file": "f",
        "source_row": 1,
    }
    assert Case(SEVERE, labs=[lab("bone_marrow", 3)], as_of=at(10)).steps()["bone_marrow"]["done_on"] == at(3).date()
    assert Case(SEVERE, diagnoses=[procedure], as_of=at(10)).steps()["bone_marrow"]["done_on"] == at(3).date()


LIST = {
    "patient_id": "P",
    "drug_name": "x",
    "start_date": date(2024, 1, 1),
    "start_date_latest": date(2024, 1, 1),
    "source_file": "f",
    "source_row": 1,
}


def test_wrk_1_a_medication_list_is_on_file_and_only_a_recorded_review_is_a_review():
    without_reviews = ALL_KINDS - {"medication_review"}
    listed = Case(SEVERE, medications=[LIST], kinds=without_reviews, as_of=at(10)).steps()["medication_review"]
    assert (listed["state"], listed["done_on"]) == ("list_on_file", None)
    assert Case(SEVERE, medications=[LIST], as_of=at(10)).steps()["medication_review"]["state"] == "overdue"
    reviewed = Case(SEVERE, medications=[LIST], events=[event("medication_review", 2)], as_of=at(10))
    assert reviewed.steps()["medication_review"]["state"] == "done"


def test_wrk_1_viral_serology_is_due_for_an_unexplained_episode_only():
    assert Case(MODERATE, as_of=at(1)).steps()["viral_serology"]["state"] == "due"
    assert Case(MODERATE, labs=[lab("hiv_antibody")], as_of=at(1)).steps()["viral_serology"]["state"] == "done"
    for explained in ({"category": "likely"}, {"category": "expected"}, {"strong": ["MAL-1"]}):
        assert Case(MODERATE, as_of=at(1), **explained).steps()["viral_serology"]["state"] == "not_applicable"


def test_wrk_1_a_marrow_that_is_asked_for_is_due_but_never_overdue_where_only_other_events_are_recorded():
    for days in (1, 300):
        found = Case(SEVERE, kinds=frozenset({"travel"}), as_of=at(days)).steps()["bone_marrow"]
        assert (found["state"], found["due_on"]) == ("due", at(14))


def test_wrk_1_what_the_context_explains_is_not_sent_for_a_marrow():
    steady = {0: 1200, 45: 1250, 95: 1200}
    assert Case(steady, as_of=at(200)).steps()["bone_marrow"]["state"] == "overdue"
    within = Case(steady, context="within_personal_range", as_of=at(200))
    assert {step: row["state"] for step, row in within.steps().items()} == {
        "repeat_cbc": "overdue",
        "smear": "not_applicable",
        "medication_review": "overdue",
        "travel_history": "not_applicable",
        "viral_serology": "not_applicable",
        "bone_marrow": "not_applicable",
    }
    assert set(within.pitfalls()) == set()
    assert (
        Case(steady | {96: 400}, context="within_personal_range", as_of=at(200)).steps()["smear"]["state"] == "overdue"
    )


def test_wrk_1_an_unexplained_pancytopenia_of_four_weeks_asks_for_a_marrow_though_moderate():
    lasting = Case({0: 900, 28: 900}, cytopenia="pancytopenia", as_of=at(30)).steps()["bone_marrow"]
    assert (lasting["state"], lasting["asked_since"], lasting["due_on"]) == ("due", at(28), at(56))
    assert (
        Case({0: 900, 27: 900}, cytopenia="pancytopenia", as_of=at(30)).steps()["bone_marrow"]["state"]
        == "not_applicable"
    )
    explained = Case({0: 900, 28: 900}, cytopenia="pancytopenia", strong=["BMP-1"], as_of=at(30))
    assert explained.steps()["bone_marrow"]["state"] == "not_applicable"


def test_wrk_3_the_work_up_is_due_from_the_day_the_severity_was_reached():
    steps = Case({0: 1200, 60: 1200, 100: 400}, as_of=at(100, 2)).steps()
    assert (steps["smear"]["asked_since"], steps["smear"]["due_on"], steps["smear"]["state"]) == (
        at(100),
        at(101),
        "due",
    )
    assert (steps["bone_marrow"]["asked_since"], steps["bone_marrow"]["due_on"]) == (at(90), at(114))
    assert Case({0: 1200, 50: 400}, as_of=at(50)).steps()["bone_marrow"]["due_on"] == at(64)


def test_wrk_3_no_step_is_overdue_since_before_the_severity_that_asks_for_it():
    for counts in ({0: 1400, 200: 900}, {0: 1400, 200: 50}, {0: 900, 20: 400}, {0: 1200, 40: 1250, 150: 1200}):
        for row in Case(counts, as_of=at(300)).steps().values():
            assert row["asked_since"] is None or row["due_on"] > row["asked_since"], row
            assert row["due_on"] is None or row["due_on"] > at(0) or row["state"] != "overdue"


def test_wrk_3_the_troughs_of_a_cyclic_patient_are_one_work_up():
    troughs = {0: 300, 5: 2500, 21: 300, 26: 2500, 42: 300}
    restarted = Case(troughs, events=[event("smear_review", 1)], as_of=at(43)).steps()["smear"]
    assert restarted["state"] == "due"
    cyclic = Case(troughs, events=[event("smear_review", 1)], is_cyclic=True, as_of=at(43)).steps()["smear"]
    assert (cyclic["state"], cyclic["done_on"]) == ("done", at(1).date())


def test_sev_4_on_clozapine_the_repeat_is_due_on_the_day_of_the_ladder():
    assert Case(MILD, ladder_due=at(hours=56), as_of=at(1)).steps()["repeat_cbc"]["due_on"] == at(hours=56)


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({0: 499}, "due"),
        ({0: 500}, "not_applicable"),
        ({0: 900, 89: 900}, "not_applicable"),
        ({0: 900, 90: 900}, "due"),
    ],
)
def test_wrk_1_a_marrow_is_asked_for_if_severe_or_persistent(counts, state):
    assert Case(counts, as_of=at(max(counts), 1)).steps()["bone_marrow"]["state"] == state


def test_wrk_1_no_marrow_is_asked_for_in_the_expected_nadir_of_a_cytotoxic():
    assert Case(SEVERE, category="expected", as_of=at(30)).steps()["bone_marrow"]["state"] == "not_applicable"


# ---- pitfalls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "is_raised"), [(3, False), (4, True)])
def test_pit_1_a_likely_drug_still_given_more_than_three_days_after_the_count_fell_below_1000(days, is_raised):
    assert ("PIT-1" in Case(MODERATE, category="likely", as_of=at(days)).pitfalls()) == is_raised
    stopped = at(days).date()
    assert ("PIT-1" in Case(MODERATE, category="likely", last_exposure=stopped, as_of=at(40)).pitfalls()) == is_raised


def test_pit_1_a_possible_drug_that_leads_is_one_if_it_is_of_high_risk_or_the_count_still_falls():
    assert "PIT-1" in Case(MODERATE, category="possible", as_of=at(10)).pitfalls()
    common = {"category": "possible", "ingredient": "amoxicillin"}
    assert "PIT-1" not in Case(MODERATE, as_of=at(10), **common).pitfalls()
    assert "PIT-1" in Case({0: 900, 2: 450}, as_of=at(10), **common).pitfalls()


def test_pit_1_an_unlikely_drug_or_a_count_of_1000_raises_nothing():
    assert "PIT-1" not in Case(MODERATE, category="unlikely", as_of=at(10)).pitfalls()
    assert "PIT-1" not in Case({0: 1000}, category="likely", as_of=at(10)).pitfalls()
    assert "PIT-1" in Case({0: 999}, category="likely", as_of=at(10)).pitfalls()


CHRONIC = {0: 1200, 45: 1250, 90: 1200}


@pytest.mark.parametrize(("last_day", "is_raised"), [(89, False), (90, True)])
def test_pit_2_persistent_without_any_work_up(last_day, is_raised):
    assert ("PIT-2" in Case({0: 1200, 45: 1250, last_day: 1200}, as_of=at(95)).pitfalls()) == is_raised


@pytest.mark.parametrize(
    "on_file",
    [
        {"events": [event("smear_review", 3)]},
        {"labs": [lab("vitamin_b12")]},
        {"labs": [lab("hiv_antibody")]},
        {"events": [event("bone_marrow", 3)]},
    ],
)
def test_pit_2_any_part_of_the_work_up_answers_the_pitfall(on_file):
    assert "PIT-2" not in Case(CHRONIC, as_of=at(95), **on_file).pitfalls()


def test_pit_2_an_extract_that_could_not_show_a_work_up_raises_nothing():
    assert Case(CHRONIC, kinds=frozenset({"medication"}), as_of=at(95)).pitfalls() == {}


@pytest.mark.parametrize(("hours", "is_raised"), [(24, False), (25, True)])
def test_pit_3_severe_and_the_repeat_overdue(hours, is_raised):
    assert ("PIT-3" in Case(SEVERE, as_of=at(hours=hours)).pitfalls()) == is_raised


def test_pit_3_an_overdue_repeat_of_a_moderate_count_is_no_pitfall():
    assert "PIT-3" not in Case(MODERATE, as_of=at(27)).pitfalls()


@pytest.mark.parametrize(("days", "is_raised"), [(28, False), (29, True)])
def test_pit_4_no_viral_test_is_a_pitfall_once_the_28_days_are_over(days, is_raised):
    assert ("PIT-4" in Case(MODERATE, as_of=at(days)).pitfalls()) == is_raised


@pytest.mark.parametrize(("days", "is_raised"), [(-29, True), (-28, False), (28, False), (29, True)])
def test_pit_4_a_viral_test_within_28_days_answers_it_whatever_its_result(days, is_raised):
    assert ("PIT-4" in Case(MODERATE, labs=[lab("hiv_antibody", days)], as_of=at(40)).pitfalls()) == is_raised


def test_pit_4_an_explained_episode_needs_no_viral_test():
    for explained in ({"category": "likely"}, {"category": "expected"}, {"strong": ["MAL-1"]}, {"is_cyclic": True}):
        assert "PIT-4" not in Case(MODERATE, as_of=at(40), **explained).pitfalls()
    assert "PIT-4" in Case(MODERATE, category="possible", as_of=at(40)).pitfalls()


def test_pit_4_an_extract_without_any_viral_test_raises_nothing():
    assert "PIT-4" not in Case(MODERATE, kinds=ALL_KINDS - {"viral"}, as_of=at(40)).pitfalls()


def test_the_kinds_of_data_of_an_extract():
    case = Case(SEVERE, events=[event("travel")], labs=[lab("hiv_antibody"), lab("vitamin_b12")], as_of=at(1))
    kinds = kinds_of_data(case.events, case.labs, case.diagnoses, case.medications, REFERENCE)
    assert kinds == {"travel", "viral", "nutrition", "vitamin_b12"}

"""The one sentence of an episode: what leads, what argues for and against it, what to do first (WRK-4)."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from neutro_schemas import Severity
from neutro_screen.reference import load_policy
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.rules.causes.conclusion import conclusions

POLICY, REFERENCE = load_policy(), load_cause_reference()
LOW = datetime(2026, 6, 14, 8)
WINDOW = "started 41 days before the first low count, inside its window (14-120 d), still given"


def drug(category, ingredient="thiamazole", *, rank=1, reason=None, leads=True):
    return {
        "fall_id": "later" if leads else "earlier",
        "leads_to_nadir": leads,
        "category": category,
        "ingredient": ingredient,
        "rank": rank,
        "reason": reason or f"{ingredient}: {WINDOW}; dechallenge not yet possible",
    }


def line(rule_id, category, strength, finding="f"):
    return {"rule_id": rule_id, "category": category, "strength": strength, "finding": finding}


def concluded(
    *suspects,
    evidence=(),
    nadir=300.0,
    fell_from=None,
    ended_at=None,
    due_in_h=24.0,
    done=(),
    then=None,
    severity="severe",
    is_persistent=False,
):
    """Conclusion and telling test of one episode whose patient has a repeat count to come; ``done``: tests on file."""
    episodes = pl.LazyFrame(
        {
            "episode_id": ["E"],
            "patient_id": ["P"],
            "worst_severity": pl.Series([severity], dtype=Severity),
            "is_persistent": [is_persistent],
            "nadir_cells_per_ul": [nadir],
            "nadir_comparator": pl.Series([None], dtype=pl.String),
            "nadir_at": [LOW],
            "last_low_at": [LOW],
            "ended_at": pl.Series([ended_at], dtype=pl.Datetime("us")),
        }
    )
    falls = pl.LazyFrame(
        {
            "episode_id": ["E"],
            "kind": ["onset" if fell_from is None else "deeper"],
            "from_cells_per_ul": pl.Series([fell_from], dtype=pl.Float64),
            "leads_to_nadir": [True],
        }
    )
    texts = dict.fromkeys(("fall_id", "category", "ingredient", "reason"), pl.String)
    columns = texts | {"rank": pl.Int16, "leads_to_nadir": pl.Boolean}
    of_drugs = pl.LazyFrame(list(suspects), schema=columns).with_columns(episode_id=pl.lit("E"))
    kinds = dict.fromkeys(("rule_id", "category", "strength", "finding"), pl.String)
    lines = pl.LazyFrame(list(evidence), schema=kinds).with_columns(episode_id=pl.lit("E"))
    steps = pl.LazyFrame(
        {
            "patient_id": ["P"],
            "label": ["repeat blood count"],
            "due_on": [LOW + timedelta(hours=due_in_h)],
            "then_label": pl.Series([then], dtype=pl.String),
        }
    )
    on_file = pl.LazyFrame({"done": list(done)}, schema={"done": pl.String}).with_columns(episode_id=pl.lit("E"))
    ((_, test, sentence),) = (
        conclusions(episodes, falls, of_drugs, lines, steps, on_file, POLICY, REFERENCE)
        .collect()
        .select("episode_id", "telling_test", "conclusion")
        .rows()
    )
    return sentence, test


def test_wrk_4_the_sentence_names_the_lead_the_case_for_it_and_the_first_step():
    assert concluded(drug("likely"))[0] == (
        "Severe neutropenia, lowest 300 cells/uL on 2026-06-14: most likely thiamazole; "
        f"for it: {WINDOW}; first: repeat blood count (due 2026-06-15 08:00)."
    )


def test_wrk_4_what_argues_against_the_lead_is_said():
    reason = (
        "thiamazole: started 37 days before the first low count, inside its window (14-120 d), no count before, still given; "
        "no recovery after stopping; known by its class only"
    )
    sentence, _ = concluded(drug("possible", reason=reason))
    assert (
        "possibly thiamazole; for it: started 37 days before the first low count, inside its window (14-120 d), still"
        in sentence
    )
    assert "; against it: no count before, no recovery after stopping; first:" in sentence


def test_wrk_4_where_nothing_leads_weak_findings_are_hints_the_pattern_of_the_cells_first():
    weak = [
        line("MAL-1", "haematologic malignancy", "weak", "ANC below 1000 cells/uL for 90 days"),
        line("MAL-2", "haematologic malignancy", "weak", "lymphocytes 6.0 G/L: LGL or CLL pattern"),
        line("FEV-1", "fever", "context", "fever unknown"),
    ]
    assert (
        ": no explanation in these data; hints: lymphocytes 6.0 G/L: LGL or CLL pattern and ANC below 1000 cells/uL for "
        "90 days; first:" in concluded(evidence=weak)[0]
    )
    assert "hints" not in concluded(drug("possible"), evidence=weak)[0]


def test_drg_5_a_drug_of_an_earlier_fall_is_named_where_nothing_explains_the_lowest_count():
    docetaxel = drug("beyond_expected", "docetaxel", leads=False)
    assert (
        ": no explanation in these data; an earlier fall: longer than expected of docetaxel; first:"
        in concluded(docetaxel, fell_from=1200.0)[0]
    )
    assert "an earlier fall" not in concluded(docetaxel, drug("likely"), fell_from=1200.0)[0]


def test_wrk_4_what_stopping_and_giving_it_again_showed_is_said_for_it():
    """Propylthiouracil: an agranulocytosis a year ago, and again three weeks after it was begun anew."""
    reason = f"propylthiouracil: {WINDOW}; dechallenge not yet possible; an earlier episode on the same drug"
    assert (
        f"for it: {WINDOW}, an earlier episode on the same drug; first:" in concluded(drug("likely", reason=reason))[0]
    )
    reason = f"propylthiouracil: {WINDOW}; recovered 18 days after stopping; competing: infection"
    assert f"for it: {WINDOW}, recovered 18 days after stopping; first:" in concluded(drug("likely", reason=reason))[0]


def test_wrk_4_a_window_that_was_missed_argues_against_the_drug_and_not_for_it():
    reason = (
        "azacitidine: expected effect; first low count 22 days after the last dose of 2026-05-22, lowest count on day 22 "
        "after it, outside its nadir window (10-17 d)"
    )
    sentence, _ = concluded(drug("expected", "azacitidine", reason=reason))
    assert "lowest count on day 22 after it; against it: outside its nadir window (10-17 d); first:" in sentence


def test_wrk_4_a_stable_low_count_before_the_drug_does_not_argue_against_it():
    reason = f"thiamazole: {WINDOW}; a low count before it (1350 cells/uL) was stable until this fall"
    sentence, _ = concluded(drug("likely", reason=reason), fell_from=1300.0, nadir=50.0)
    assert sentence.startswith(
        "Severe neutropenia, fallen from 1300 to 50 cells/uL on 2026-06-14: most likely thiamazole"
    )
    assert "against it" not in sentence


@pytest.mark.parametrize(
    ("suspects", "evidence", "lead"),
    [
        (["likely"], [("INF-1", "infection", "strong")], "most likely thiamazole"),
        (["possible"], [("INF-1", "infection", "strong")], "most likely an infection"),
        (["possible"], [("INF-1", "infection", "moderate")], "possibly thiamazole"),
        (["possible"], [("INF-1", "infection", "weak")], "possibly thiamazole"),
        (["unlikely"], [("BMP-1", "marrow production", "moderate")], "possibly failing marrow production"),
        (["expected"], [("MAL-1", "haematologic malignancy", "strong")], "expected after thiamazole"),
        (["beyond_expected"], [], "longer than expected of thiamazole"),
        ([], [("PER-1", "peripheral destruction", "strong")], "most likely destruction or sequestration"),
        ([], [], "no explanation in these data"),
    ],
)
def test_wrk_4_the_strongest_explanation_leads_and_of_equal_ones_the_drug(suspects, evidence, lead):
    sentence, _ = concluded(*(drug(category) for category in suspects), evidence=[line(*one) for one in evidence])
    assert f": {lead};" in sentence


@pytest.mark.parametrize(
    ("suspects", "evidence", "test"),
    [
        (["likely"], [("INF-1", "infection", "strong")], "viral serology (HIV, hepatitis, EBV, CMV)"),
        (["possible"], [("MAL-1", "haematologic malignancy", "moderate")], "blood smear"),
        (["possible"], [("BMP-1", "marrow production", "moderate")], "vitamin B12, folate and copper"),
        (["possible"], [("PER-1", "peripheral destruction", "moderate")], "neutrophil antibodies"),
        (["likely"], [("INF-1", "infection", "moderate")], None),  # the drug leads alone
        (["expected"], [("MAL-1", "haematologic malignancy", "strong")], None),
        (
            [],
            [("MAL-1", "haematologic malignancy", "moderate"), ("PER-1", "peripheral destruction", "moderate")],
            "blood smear",
        ),
        ([], [("MAL-1", "haematologic malignancy", "strong")], None),
    ],
)
def test_wrk_4_where_two_explanations_lead_the_one_test_that_tells_them_apart_is_proposed(suspects, evidence, test):
    sentence, found = concluded(*(drug(category) for category in suspects), evidence=[line(*one) for one in evidence])
    assert found == test
    assert ("to tell them apart: " in sentence) == (test is not None)


def test_wrk_4_two_drugs_that_lead_are_told_apart_by_a_level():
    sentence, test = concluded(drug("likely"), drug("likely", "clozapine", rank=2))
    assert test == "drug level where there is one"
    assert "besides: most likely clozapine; to tell them apart:" in sentence


def test_wrk_4_the_drugs_of_a_regimen_are_one_explanation():
    sentence, test = concluded(drug("expected", "cyclophosphamide"), drug("expected", "doxorubicin", rank=2))
    assert "expected after cyclophosphamide and doxorubicin;" in sentence
    assert ("besides" in sentence, test) == (False, None)


def test_wrk_4_a_pair_is_one_explanation():
    pair = "azathioprine with allopurinol: taken together for 34 days before the first low count (m), still given"
    sentence, test = concluded(drug("likely", "azathioprine", reason=pair), drug("likely", "allopurinol", rank=2))
    assert "most likely azathioprine with allopurinol; for it: taken together for 34 days" in sentence
    assert ("besides" in sentence, test) == (False, None)


def test_wrk_4_beyond_expected_says_how():
    reason = (
        "docetaxel: expected effect; first low count 9 days after the dose of 2026-05-01; "
        "beyond what is expected: still low on 2026-05-20, after recovery was due; competing: infection"
    )
    sentence, _ = concluded(drug("beyond_expected", "docetaxel", reason=reason))
    assert "longer than expected of docetaxel; for it: still low on 2026-05-20, after recovery was due;" in sentence


@pytest.mark.parametrize(("nadir", "is_explained"), [(1000.0, True), (999.0, False)])
def test_wrk_4_a_benign_context_explains_no_count_below_the_personal_range(nadir, is_explained):
    benign = line("CTX-1", "benign context", "moderate", "recorded Duffy-null: a lower count is usual")
    sentence, _ = concluded(evidence=[benign], nadir=nadir)
    assert ("possibly a benign low count" in sentence) == is_explained
    assert ("below 1000 cells/uL the benign context explains nothing" in sentence) != is_explained


def test_epi_4_a_single_low_value_that_was_normal_when_repeated_may_be_an_artefact_however_low():
    found = "one low value between normal ones within 7 days: possible artefact"
    sentence, _ = concluded(evidence=[line("CTX-1", "benign context", "moderate", found)], nadir=900.0)
    assert f"possibly a benign low count; for it: {found}" in sentence


def test_wrk_4_what_is_due_since_the_count_itself_has_no_date_and_an_episode_that_is_over_no_step():
    assert concluded(due_in_h=0.0)[0].endswith("first: repeat blood count.")
    over, _ = concluded(drug("likely"), ended_at=datetime(2026, 6, 20))
    assert over.endswith("; over since 2026-06-20.")
    assert "first:" not in over


def test_every_pair_of_explanations_has_a_test_that_tells_them_apart():
    categories = REFERENCE.explanations["category"].to_list()
    pairs = {(one, other) for one in categories for other in categories if one < other} | {("medication", "medication")}
    assert set(REFERENCE.telling_tests.select("first", "second").rows()) == pairs


INFECTION, MARROW = line("INF-1", "infection", "strong"), line("BMP-1", "marrow production", "moderate")
MALIGNANCY = line("MAL-1", "haematologic malignancy", "moderate")


@pytest.mark.parametrize(
    ("category", "evidence", "done", "test"),
    [
        ("likely", INFECTION, ["viral_serology"], None),
        ("possible", MALIGNANCY, ["smear"], "bone marrow"),
        ("possible", MALIGNANCY, ["smear", "bone_marrow"], None),
        ("possible", MARROW, ["vitamin_b12"], "folate and copper"),
        ("possible", MARROW, ["vitamin_b12", "folate_red_cell"], "copper"),
        ("possible", MARROW, ["vitamin_b12", "folate_serum", "copper"], "bone marrow"),
        ("possible", line("PER-1", "peripheral destruction", "moderate"), ["neutrophil_antibody"], None),
    ],
)
def test_wrk_4_a_telling_test_that_was_done_is_not_asked_for_again(category, evidence, done, test):
    sentence, found = concluded(drug(category), evidence=[evidence], done=done)
    assert found == test
    assert ("to tell them apart" in sentence) == (test is not None)


def test_wrk_4_of_two_drugs_that_name_each_other_the_first_ranked_pair_is_the_explanation():
    """A transplant patient: valganciclovir and mycophenolate, each the partner of the other, beside tacrolimus."""
    together = "taken together for 83 days before the first low count (two marrow-toxic drugs), still given"
    sentence, _ = concluded(
        drug("likely", "valganciclovir", reason=f"valganciclovir with mycophenolic acid: {together}"),
        drug("likely", "mycophenolic acid", rank=2, reason=f"mycophenolic acid with valganciclovir: {together}"),
        drug("possible", "tacrolimus", rank=3),
    )
    assert "most likely valganciclovir with mycophenolic acid; for it: taken together for 83 days" in sentence
    assert "besides: possibly tacrolimus" in sentence


def test_wrk_4_what_does_not_wait_for_the_next_step_stands_beside_it():
    sentence, _ = concluded(drug("likely"), then="decide on stopping the drug: a clinician's decision")
    assert sentence.endswith("(due 2026-06-15 08:00); then: decide on stopping the drug: a clinician's decision.")
    over, _ = concluded(drug("likely"), ended_at=datetime(2026, 6, 20), then="decide")
    assert "then:" not in over


def test_mal_2_a_differential_pattern_is_named_before_the_low_lines_that_it_contains():
    hairy = line(
        "MAL-2", "haematologic malignancy", "moderate", "monocytes 0.01 G/L with pancytopenia: hairy-cell pattern"
    )
    sentence, _ = concluded(evidence=[line("MAL-1", "haematologic malignancy", "moderate", "pancytopenia"), hairy])
    assert "for it: monocytes 0.01 G/L with pancytopenia: hairy-cell pattern; first:" in sentence


def test_inf_2_the_left_shift_is_said_beside_the_coded_sepsis():
    lines = [line("INF-2", "infection", "moderate", finding) for finding in ("coded sepsis", "left shift: bands 40 %")]
    assert "for it: coded sepsis and left shift: bands 40 %; first:" in concluded(evidence=lines)[0]


@pytest.mark.parametrize(
    ("severity", "is_persistent", "done", "test"),
    [
        ("mild", True, [], "Duffy phenotype"),
        ("mild", True, ["duffy_group"], None),
        ("mild", False, [], None),
        ("moderate", True, [], None),
    ],
)
def test_sev_3_an_unexplained_persistent_mild_count_asks_for_the_duffy_phenotype(severity, is_persistent, done, test):
    sentence, found = concluded(severity=severity, is_persistent=is_persistent, done=done, nadir=1200.0)
    assert found == test
    assert ("to tell a benign count: Duffy phenotype" in sentence) == (test is not None)


def test_mask_1_a_normal_count_on_a_growth_factor_is_no_sure_recovery():
    masked = "pegfilgrastim given from 2026-06-13 on: raises the count: depth and duration may be hidden"
    lines = [line("MASK-1", "masking", "context", masked)]
    over, _ = concluded(evidence=lines, ended_at=datetime(2026, 6, 20))
    assert over.endswith(
        "over since 2026-06-20; the normal count may be masked: pegfilgrastim given from 2026-06-13 on."
    )
    assert "masked" not in concluded(evidence=lines)[0]

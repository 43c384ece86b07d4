"""Which drugs are suspected, how strongly, and why (DRG-1 ... DRG-7)."""

import json
from datetime import date, datetime, timedelta
from functools import cache

import polars as pl
import pytest

from neutro_schemas import DrugSuspect, Evidence, Medication
from neutro_screen.reference import FOLDER, load_policy, load_reference
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.reference.drugs import read_drug_tables
from neutro_screen.rules.causes.drug_names import KEYS, match_medications, resolve_drug_names
from neutro_screen.rules.causes.exposures import exposures_per_patient
from neutro_screen.rules.causes.falls import falls_per_episode
from neutro_screen.rules.causes.interactions import conditions_per_patient
from neutro_screen.rules.causes.suspects import drug_suspects
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.course.episodes import episodes_per_patient, with_episode_numbers
from neutro_screen.validate import no_rows

TABLES, POLICY, REFERENCE = read_drug_tables(FOLDER), load_policy(), load_cause_reference()
RULES = REFERENCE.rules
FIRST_LOW = date(2025, 6, 1)
AS_OF = datetime(2025, 6, 3, 12)


def day(offset):
    """A day counted from the first low count."""
    return FIRST_LOW + timedelta(days=offset)


@cache
def resolved(*line):
    """One distinct line of a medication list, resolved; the same few recur in every test."""
    return resolve_drug_names(pl.DataFrame([line], schema=dict.fromkeys(KEYS, pl.String), orient="row"), TABLES)


def drug(name, start, end=None, *, latest=None, route="oral", atc_code=None):
    return {
        "patient_id": "P",
        "drug_name": name,
        "atc_code": atc_code,
        "start_date": day(start),
        "start_date_latest": day(start if latest is None else latest),
        "end_date": None if end is None else day(end),
        "route": route,
        "source_file": "list",
        "source_row": 1,
    }


def suspects(counts, *drugs, **known):
    """The suspects of the fall that leads to the lowest count of the newest episode, and what is excluded, by ingredient."""
    found = all_suspects(counts, *drugs, **known)
    newest = found.filter(pl.col("episode_id") == pl.col("episode_id").max())
    shown = newest.filter(pl.col("leads_to_nadir") | (pl.col("category") == "excluded"))
    return {row["ingredient"]: row for row in shown.iter_rows(named=True)}


def all_suspects(counts, *drugs, evidence=(), low_lines=None, as_of=AS_OF, coded=()):
    """``counts``: ANC by day from the first low count. ``low_lines``: other low lines; None = not measured. ``coded``:
    ICD-10 codes by day."""
    anc = pl.DataFrame(
        [
            {
                "patient_id": "P",
                "specimen_id": f"S{offset}",
                "anc_cells_per_ul": float(value),
                "anc_comparator": None,
                "collected_at": datetime.combine(day(offset), datetime.min.time()),
            }
            for offset, value in counts.items()
        ],
        schema_overrides={"anc_comparator": pl.String, "collected_at": pl.Datetime("us")},
    ).with_columns(
        notes=pl.lit(None, pl.String),
        severity=severity(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"), load_reference().anc_bands),
    )
    numbered = with_episode_numbers(anc.lazy())
    episodes = episodes_per_patient(numbered, POLICY, as_of).collect().lazy()
    falls = falls_per_episode(numbered, episodes, POLICY, RULES.fall)
    types = {name: field.dtype.type for name, field in Medication.to_schema().columns.items()}
    medications = pl.DataFrame(list(drugs), schema=types)
    matched = match_medications(
        medications.lazy(), pl.concat(resolved(*line) for line in medications.select(KEYS).unique().rows())
    )
    last = episodes.sort("started_at").last().select("episode_id", "patient_id")
    lines = pl.LazyFrame(
        [
            {"category": category, "rule_id": rule_id, "finding": "f", "strength": strength, "source": "s"}
            for rule_id, category, strength in evidence
        ],
        schema=dict.fromkeys(("category", "rule_id", "finding", "strength", "source"), pl.String),
    )
    evidence_lines = last.join(lines, how="cross").select(no_rows(Evidence).columns)
    patterns = episodes.select(
        "patient_id",
        "episode_id",
        n_low_lines=pl.lit(low_lines or 0, pl.Int64),
        has_other_lines=pl.lit(low_lines is not None),
    )
    exposures = exposures_per_patient(matched, TABLES, POLICY, RULES)
    diagnoses = pl.LazyFrame(
        [{"patient_id": "P", "code": code, "system": "icd10", "date": day(offset)} for code, offset in coded],
        schema={"patient_id": pl.String, "code": pl.String, "system": pl.String, "date": pl.Date},
    )
    conditions = conditions_per_patient(diagnoses, load_cause_reference())
    found = drug_suspects(
        falls,
        episodes,
        anc.lazy(),
        exposures,
        conditions,
        TABLES.interactions,
        evidence_lines,
        patterns,
        POLICY,
        RULES,
        as_of,
    ).collect()
    return DrugSuspect.validate(found)


FALL = {-91: 4000, -7: 3500, 0: 400, 1: 350}


def points(row):
    return json.loads(row["items"])["points"]


def test_drg_4_clozapine_in_its_window_is_likely_and_says_why():
    found = suspects(FALL, drug("clozapine", -84), low_lines=0)["clozapine"]
    assert (found["category"], found["rank"], found["last_exposure"]) == ("likely", 1, None)
    assert found["reason"] == (
        "clozapine: started 84 days before the first low count, inside its window (14-180 d), still given; "
        "dechallenge not yet possible"
    )


@pytest.mark.parametrize(("start", "category"), [(-1, "unlikely"), (0, "excluded"), (1, "excluded")])
def test_drg_1_a_drug_begun_on_the_day_of_the_first_low_count_or_later_is_never_a_suspect(start, category):
    found = suspects(FALL, drug("clozapine", start))["clozapine"]
    assert found["category"] == category
    assert (found["score"] is None and found["rank"] is None) == (category == "excluded")


@pytest.mark.parametrize(("stopped", "is_listed"), [(-7, True), (-8, False)])
def test_drg_1_a_drug_stopped_no_longer_ago_than_it_acts_is_listed(stopped, is_listed):
    """Ceftriaxone: 7 days."""
    assert ("ceftriaxone" in suspects(FALL, drug("ceftriaxone", -25, stopped, route="iv"))) == is_listed


@pytest.mark.parametrize(("dose", "is_listed"), [(-365, True), (-366, False)])
def test_drg_1_rituximab_counts_for_a_year_after_the_last_dose(dose, is_listed):
    assert ("rituximab" in suspects(FALL, drug("rituximab", dose, dose, route="iv"))) == is_listed


@pytest.mark.parametrize(
    ("normal_on", "start", "onset"),
    [
        (-7, -21, "onset_inside"),  # normal on day 14, low on day 21 of a window of 14 to 180 days
        (-8, -21, "onset_overlaps"),  # normal on day 13 already: the fall may have come before day 14
        (-7, -14, "onset_overlaps"),
        (-7, -13, "onset_outside"),  # low on day 13, before the window
        (-7, -180, "onset_inside"),
        (-7, -181, "onset_overlaps"),
        (-7, -187, "onset_overlaps"),  # still normal on day 180
        (-7, -188, "onset_late"),  # still normal on day 181: late, not impossible
    ],
)
def test_drg_2_the_fall_lies_between_the_last_normal_and_the_first_low_count(normal_on, start, onset):
    found = suspects({normal_on: 3500, 0: 400, 1: 350}, drug("clozapine", start))["clozapine"]
    assert points(found)["onset"] == getattr(RULES.points, onset)


def test_drg_2_without_a_normal_count_before_the_time_is_unknown_and_no_point_in_favour():
    found = suspects({0: 400, 1: 350}, drug("vancomycin", -20, route="iv"))["vancomycin"]
    assert points(found)["onset"] == 0
    assert found["category"] == "possible"


def test_drg_4_a_low_count_before_the_drug_speaks_against_it():
    counts = {-70: 1200, -60: 3000, -7: 3500, 0: 601}
    assert points(suspects(counts, drug("clozapine", -65))["clozapine"])["baseline"] == RULES.points.baseline_low
    far_deeper = suspects({**counts, 0: 600}, drug("clozapine", -65))["clozapine"]
    assert points(far_deeper)["baseline"] == RULES.points.baseline_stable
    assert points(suspects(counts, drug("clozapine", -55))["clozapine"])["baseline"] == RULES.points.baseline_normal


@pytest.mark.parametrize(
    ("end", "recovery", "state"),
    [
        (1, 31, "recovered"),  # 30 days after stopping
        (1, 32, "not_recovered"),
        (None, 20, "recovered_while_given"),
        (20, 20, "recovered_while_given"),
        (19, 20, "recovered"),
    ],
)
def test_drg_3_dechallenge_is_recovery_within_30_days_of_stopping(end, recovery, state):
    found = suspects({**FALL, recovery: 2500}, drug("clozapine", -84, end), as_of=datetime(2025, 12, 1))["clozapine"]
    assert points(found)["dechallenge"] == getattr(RULES.points, state)


def test_drg_3_recovery_with_a_growth_factor_proves_less():
    found = suspects(
        {**FALL, 8: 2500},
        drug("clozapine", -84, 1),
        evidence=[("MASK-1", "masking", "context")],
        as_of=datetime(2025, 12, 1),
    )["clozapine"]
    assert points(found)["dechallenge"] == RULES.points.recovered_confounded


@pytest.mark.parametrize(("again", "is_dechallenge"), [(7, False), (8, True)])
def test_drg_3_a_single_low_value_normal_within_a_week_is_no_dechallenge(again, is_dechallenge):
    found = suspects({-7: 3500, 0: 1200, again: 3000}, drug("clozapine", -84, 1), as_of=datetime(2025, 12, 1))
    assert points(found["clozapine"])["dechallenge"] == (RULES.points.recovered if is_dechallenge else 0)


def test_drg_3_a_second_fall_on_a_second_course_is_a_rechallenge():
    counts = {-300: 4000, -207: 3500, -200: 400, -199: 450, -190: 3000, -7: 3500, 0: 300, 1: 350}
    found = suspects(counts, drug("clozapine", -250, -199), drug("clozapine", -60))["clozapine"]
    assert points(found)["rechallenge"] == RULES.points.recurred
    once = suspects(counts, drug("clozapine", -250))["clozapine"]
    assert points(once)["rechallenge"] == 0, "one course through both episodes is no rechallenge"


def test_drg_3_a_drug_tolerated_again_for_as_long_as_it_took_is_cleared():
    counts = {-70: 4000, -7: 3500, 0: 400, 1: 350, 10: 3000, 115: 3200, 125: 3200}
    arguments = {"as_of": datetime(2025, 12, 1)}
    long = suspects(counts, drug("clozapine", -60, 1), drug("clozapine", 60), **arguments)["clozapine"]
    short = suspects(counts, drug("clozapine", -60, 1), drug("clozapine", 70), **arguments)["clozapine"]
    assert points(long)["rechallenge"] == RULES.points.tolerated_again
    assert points(short)["rechallenge"] == 0


def test_drg_4_strong_evidence_of_another_cause_lowers_a_drug_and_has_a_floor():
    one = suspects(FALL, drug("clozapine", -84), evidence=[("INF-1", "infection", "strong")])["clozapine"]
    all_of_them = suspects(
        FALL,
        drug("clozapine", -84),
        evidence=[("INF-1", "infection", "strong"), ("MAL-1", "haematologic malignancy", "strong")],
    )["clozapine"]
    weak = suspects(FALL, drug("clozapine", -84), evidence=[("INF-1", "infection", "weak")])["clozapine"]
    assert [points(row)["alternatives"] for row in (one, all_of_them, weak)] == [-2, -3, 0]
    assert "competing: infection" in one["reason"]


def test_drg_2_a_cytotoxic_is_expected_with_the_day_after_its_dose_and_a_lane_of_its_own():
    found = suspects(
        {-10: 4000, -1: 3500, 0: 900, 1: 400}, drug("docetaxel", -8, -8, route="iv"), drug("clozapine", -84)
    )
    assert found["docetaxel"]["category"] == "expected"
    assert "first low count 8 days after the dose of 2025-05-24" in found["docetaxel"]["reason"]
    assert "lowest count on day 9 after it, inside its nadir window (5-9 d)" in found["docetaxel"]["reason"]
    assert (found["docetaxel"]["rank"], found["clozapine"]["rank"]) == (1, 1)
    assert "expected effect of docetaxel" in found["clozapine"]["reason"]


@pytest.mark.parametrize(("dose", "competes"), [(-21, True), (-22, False)])
def test_drg_4_a_dose_competes_with_other_drugs_for_as_long_as_it_acts(dose, competes):
    """Docetaxel: 21 days, though its window closes on day 8."""
    found = suspects({-1: 3500, 0: 900, 1: 800}, drug("docetaxel", dose, dose, route="iv"), drug("clozapine", -84))
    assert (points(found["clozapine"])["expected_drug"] == RULES.points.expected_drug) == competes


def test_drg_1_the_latest_dose_before_the_fall_counts():
    found = suspects(
        {-30: 4000, -1: 3500, 0: 900}, drug("docetaxel", -28, -28, route="iv"), drug("docetaxel", -7, -7, route="iv")
    )
    assert found["docetaxel"]["first_exposure"] == day(-7)


def test_drg_4_a_class_never_outranks_a_named_drug():
    """J01DD99 names no listed ingredient; its class stands for it."""
    found = suspects(
        {-90: 4000, -7: 3500, 0: 900}, drug(None, -30, atc_code="J01DD99", route="iv"), drug("sertraline", -3)
    )
    by_class = [row for name, row in found.items() if name != "sertraline"]
    assert len(by_class) == 1
    assert found["sertraline"]["rank"] == 1
    assert by_class[0]["rank"] == 2
    assert by_class[0]["category"] != "likely"
    assert "known by its class only" in by_class[0]["reason"]


def test_drg_4_a_drug_that_everybody_takes_weighs_less_than_one_known_for_it():
    found = suspects(FALL, drug("ibuprofen", -40), drug("thiamazole", -40))
    assert points(found["ibuprofen"])["known_risk"] == RULES.points.ubiquitous
    assert points(found["thiamazole"])["known_risk"] == RULES.points.high_risk
    assert found["thiamazole"]["rank"] == 1


@pytest.mark.parametrize(("start", "is_protopathic"), [(-6, True), (-7, False)])
def test_drg_2_an_antibiotic_begun_for_the_first_symptoms_is_no_cause(start, is_protopathic):
    """Ceftriaxone does not lower the count before its seventh day; the last normal count was ten days ago."""
    found = suspects({-10: 3500, 0: 400}, drug("ceftriaxone", start, route="iv"))["ceftriaxone"]
    assert (points(found)["known_risk"] < 0) == is_protopathic
    assert ("first symptoms" in found["reason"]) == is_protopathic


@pytest.mark.parametrize(
    ("name", "low_lines", "fits"),
    [
        ("ceftriaxone", 0, 1),
        ("ceftriaxone", 1, 0),
        ("ceftriaxone", None, 0),
        ("ganciclovir", 1, 1),
        ("ganciclovir", 0, 0),
    ],
)
def test_drg_4_an_immune_drug_fits_an_isolated_fall_and_a_marrow_toxin_several_lines(name, low_lines, fits):
    assert points(suspects(FALL, drug(name, -20, route="iv"), low_lines=low_lines)[name])["mechanism"] == fits


def test_drg_4_an_abrupt_fall_is_below_500():
    for nadir, fits in ((499, 1), (500, 0)):
        found = suspects({-7: 3500, 0: nadir}, drug("ceftriaxone", -20, route="iv"), low_lines=0)["ceftriaxone"]
        assert points(found)["mechanism"] == fits


def test_drg_6_a_partner_re_opens_the_window_and_the_pair_is_named_first():
    """Two years of azathioprine were well tolerated; allopurinol came five weeks before the fall."""
    found = suspects(FALL, drug("azathioprine", -700), drug("allopurinol", -35), low_lines=2)
    assert (found["azathioprine"]["rank"], found["azathioprine"]["category"]) == (1, "likely")
    assert found["azathioprine"]["reason"].startswith(
        "azathioprine with allopurinol: taken together for 35 days before the first low count "
        "(xanthine oxidase inhibited: more thioguanine nucleotides), which re-opens its window"
    )
    assert points(found["azathioprine"])["interaction"] == RULES.points.interaction_definite
    alone = suspects(FALL, drug("azathioprine", -700), low_lines=2)["azathioprine"]
    assert (alone["category"], points(alone)["interaction"]) == ("possible", 0)


@pytest.mark.parametrize(
    ("start", "end", "is_named"),
    [
        (-7, None, True),  # together from day -7: the pair acts from 7 to 120 days on
        (-6, None, False),
        (-127, None, True),  # the last count before the fall was on day 120 of the pair
        (-128, None, False),
        (-60, -14, True),  # allopurinol acts for 14 days after its last dose
        (-60, -15, False),
    ],
)
def test_drg_6_the_fall_lies_in_the_time_of_the_pair(start, end, is_named):
    found = suspects(FALL, drug("azathioprine", -700), drug("allopurinol", start, end))["azathioprine"]
    assert found["reason"].startswith("azathioprine with allopurinol: ") == is_named


@pytest.mark.parametrize(
    ("partner", "category"),
    [(None, "expected"), (("brivudine", -12, -5), "likely"), (("warfarin", -12, None), "expected")],
)
def test_drg_6_a_definite_pair_makes_a_reaction_of_an_expected_effect(partner, category):
    """Brivudine blocks the breakdown of fluoropyrimidines for weeks."""
    drugs = [drug("capecitabine", -12, -1), *([drug(*partner)] if partner else [])]
    found = suspects({-30: 4000, -13: 3900, 0: 300}, *drugs, low_lines=1)["capecitabine"]
    assert found["category"] == category
    assert found["reason"].startswith("capecitabine with brivudine: ") == (category == "likely")


COMBINED = drug("co-trimoxazole", -14)


@pytest.mark.parametrize(
    ("others", "ingredients", "reason"),
    [
        ((COMBINED,), {"sulfamethoxazole"}, "one exposure with trimethoprim"),
        # Two lines of the same days, as some systems write a combination, are that combination too.
        ((drug("sulfamethoxazole", -14), drug("trimethoprim", -14)), {"sulfamethoxazole"}, "one exposure with"),
        ((drug("sulfamethoxazole", -14), drug("trimethoprim", -60)), {"sulfamethoxazole", "trimethoprim"}, None),
        ((drug("trimethoprim", -14),), {"trimethoprim"}, None),
    ],
)
def test_drg_1_a_combination_counts_as_one_exposure(others, ingredients, reason):
    found = suspects(FALL, *others)
    assert set(found) == ingredients
    told = found[min(ingredients)]["reason"]
    assert (reason in told) if reason else ("one exposure" not in told)


def test_drg_6_the_part_of_a_combination_is_a_partner_all_the_same():
    assert "trimethoprim" in suspects(FALL, drug("dapsone", -60), COMBINED)["dapsone"]["reason"]


def test_drg_6_a_common_pair_is_named_and_re_opens_nothing():
    found = suspects(FALL, drug("methotrexate", -1500), drug("ibuprofen", -20))["methotrexate"]
    assert "given together with ibuprofen" in found["reason"]
    assert found["reason"].startswith("methotrexate: ")
    assert points(found)["interaction"] == RULES.points.interaction_possible


def test_drg_4_a_start_known_only_roughly_is_never_likely():
    found = suspects(
        {**FALL, 10: 3000}, drug("clozapine", -84, 1, latest=-54), low_lines=0, as_of=datetime(2025, 12, 1)
    )
    assert found["clozapine"]["category"] == "possible"
    assert json.loads(found["clozapine"]["items"])["who_umc"] == "unassessable"


def test_drg_4_naranjo_and_who_umc_list_what_cannot_be_known_and_never_assume_it():
    found = suspects({**FALL, 10: 3000}, drug("clozapine", -84, 1), as_of=datetime(2025, 12, 1))["clozapine"]
    items = json.loads(found["items"])
    naranjo = items["naranjo"]
    assert naranjo["6_placebo"] is naranjo["7_toxic_level"] is naranjo["8_dose_relation"] is None
    assert naranjo["total"] == 1 + 2 + 1 + 1
    assert naranjo["unanswered"] == 6
    assert naranjo["category"] == "probable"
    assert items["who_umc"] == "probable"


def test_drg_4_who_umc_is_possible_without_dechallenge_or_beside_another_cause():
    still_given = suspects(FALL, drug("clozapine", -84))["clozapine"]
    beside = suspects(
        {**FALL, 10: 3000},
        drug("clozapine", -84, 1),
        evidence=[("PER-1", "peripheral destruction", "strong")],
        as_of=datetime(2025, 12, 1),
    )["clozapine"]
    assert [json.loads(row["items"])["who_umc"] for row in (still_given, beside)] == ["possible", "possible"]


def test_drg_1_an_order_that_begins_after_the_index_time_is_a_plan():
    assert suspects({-7: 3500, 0: 400}, drug("clozapine", 5)) == {}


def test_the_points_add_up_to_the_score():
    found = suspects(FALL, drug("clozapine", -84), drug("ibuprofen", -20), low_lines=0)
    assert all(sum(points(row).values()) == row["score"] for row in found.values())


# ---- falls -----------------------------------------------------------------------------------------------------------


def test_drg_1_a_drug_begun_after_a_stable_mild_count_is_a_suspect_of_the_later_fall():
    """Graves' disease: 1,350 before thiamazole, 50 on it."""
    found = all_suspects({-44: 1350, -19: 1300, 0: 50}, drug("thiamazole", -41), low_lines=0)
    (row,) = found.iter_rows(named=True)
    assert (row["category"], row["rank"], row["leads_to_nadir"]) == ("likely", 1, True)
    assert row["reason"].startswith(
        "thiamazole: started 41 days before the fall from 1300 to 50 cells/uL, inside its window (14-120 d), still given"
    )
    assert "a low count before it (1350 cells/uL) was stable until this fall" in row["reason"]
    assert points(row)["baseline"] == RULES.points.baseline_stable


@pytest.mark.parametrize(
    ("name", "start", "category"),
    [("metamizole", -9, "likely"), ("ibuprofen", -9, "possible"), ("metamizole", -200, "unlikely")],
)
def test_drg_4_a_high_risk_drug_in_its_window_is_likely_also_for_a_fall_from_a_stable_mild_count(name, start, category):
    """Counts of 1,300 to 1,400 for a year, 200 nine days after metamizole was begun."""
    found = all_suspects({-299: 1400, -199: 1300, -99: 1400, -29: 1350, 0: 200}, drug(name, start))
    assert found["category"].to_list() == [category]


def test_drg_1_a_drug_is_judged_against_each_fall_that_it_could_explain():
    """Sulfasalazine before the first fall, metamizole between the falls: both may explain the second, one the first."""
    counts = {-70: 4000, -7: 3600, 0: 900, 20: 950, 40: 200}
    found = all_suspects(counts, drug("sulfasalazine", -40), drug("metamizole", 25), as_of=datetime(2025, 7, 20))
    by_fall = {(row["ingredient"], row["leads_to_nadir"]): row["category"] for row in found.iter_rows(named=True)}
    assert set(by_fall) == {("sulfasalazine", True), ("sulfasalazine", False), ("metamizole sodium", True)}
    assert found.filter(pl.col("rank") == 1).height == 2


@pytest.mark.parametrize(("start", "category"), [(39, "unlikely"), (40, "excluded"), (41, "excluded")])
def test_drg_1_only_what_began_after_the_last_fall_is_excluded(start, category):
    counts = {-7: 3600, 0: 1300, 20: 1250, 40: 300, 45: 350}
    found = all_suspects(counts, drug("clozapine", start), as_of=datetime(2025, 7, 20))
    assert found["category"].to_list() == [category]
    assert found["leads_to_nadir"].to_list() == [True]


def test_drg_1_a_benign_context_does_not_compete_for_a_fall_below_the_personal_range():
    benign = [("CTX-1", "benign context", "moderate")]
    deep = suspects({-60: 1300, -30: 1200, 0: 350}, drug("clozapine", -50), evidence=benign, low_lines=0)["clozapine"]
    mild = suspects({-60: 3000, -30: 3200, 0: 1300}, drug("clozapine", -50), evidence=benign)["clozapine"]
    assert [points(row)["alternatives"] for row in (deep, mild)] == [0, RULES.points.moderate_alternative]
    assert deep["category"] == "likely"


def test_drg_3_recovery_from_a_later_fall_is_a_return_to_its_own_level():
    counts = {-60: 1300, -30: 1250, 0: 350, 14: 1150}
    found = suspects(counts, drug("clozapine", -50, 1), as_of=datetime(2025, 12, 1))["clozapine"]
    assert points(found)["dechallenge"] == RULES.points.recovered


# ---- open windows, no count before ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start", "onset"),
    [
        ("clozapine", -5000, "onset_late"),
        ("methotrexate", -1500, "onset_late"),
        ("azathioprine", -1500, "onset_late"),
        ("leflunomide", -1500, "onset_late"),
        ("deferiprone", -1500, "onset_late"),
        ("thiamazole", -1500, "onset_outside"),
    ],
)
def test_drg_7_where_reactions_come_at_any_time_the_window_has_no_end(name, start, onset):
    found = suspects(FALL, drug(name, start))[name]
    assert points(found)["onset"] == getattr(RULES.points, onset)
    assert ("reactions come at any time on it" in found["reason"]) == (onset == "onset_late")


@pytest.mark.parametrize(
    ("name", "start", "known", "category"),
    [
        ("thiamazole", -37, {"low_lines": 0}, "likely"),
        ("thiamazole", -121, {"low_lines": 0}, "possible"),  # after its window
        ("clozapine", -2000, {"low_lines": 0}, "possible"),  # at any time, but not the typical one
        ("ciprofloxacin", -20, {"low_lines": 0}, "possible"),  # not a high-risk drug
        ("thiamazole", -37, {"evidence": [("INF-1", "infection", "strong")]}, "possible"),
    ],
)
def test_drg_4_a_high_risk_drug_in_its_window_is_likely_without_a_count_before(name, start, known, category):
    found = suspects({0: 50}, drug(name, start), **known)[name]
    assert found["category"] == category
    assert ("no count before" in found["reason"]) == (start > -121 or name == "clozapine")


def test_drg_4_of_two_high_risk_drugs_without_a_count_before_only_the_stronger_is_likely():
    found = suspects({0: 50}, drug("thiamazole", -37), drug("sulfasalazine", -2), low_lines=0)
    assert [found[name]["category"] for name in ("thiamazole", "sulfasalazine")] == ["likely", "unlikely"]


# ---- expected and beyond --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "category"),
    [
        ({-9: 4000, 0: 400}, "expected"),
        ({-9: 4000, 0: 400, 6: 450}, "expected"),  # day 15: recovery is due on it
        ({-9: 4000, 0: 1400, 7: 1300}, "beyond_expected"),  # day 16: not recovered
        ({-9: 4000, 0: 400, 10: 450, 11: 2000}, "beyond_expected"),
        ({-9: 4000, 0: 400, 6: 1600}, "expected"),
    ],
)
def test_drg_5_what_is_expected_ends_on_the_day_on_which_recovery_is_due(counts, category):
    """Docetaxel: nadir on days 5 to 9, recovery on day 15."""
    found = suspects(counts, drug("docetaxel", -9, -9, route="iv"), as_of=datetime(2025, 7, 1))["docetaxel"]
    assert found["category"] == category
    assert ("beyond what is expected" in found["reason"]) == (category == "beyond_expected")


@pytest.mark.parametrize(("day_low", "is_beyond"), [(31, False), (32, True)])
def test_drg_5_severe_for_more_than_seven_days_after_the_window_is_beyond_expected(day_low, is_beyond):
    """Carboplatin: nadir on days 18 to 24, recovery on day 35; given on day 0, the first low count on day 10."""
    counts = {-10: 5000, 0: 900, day_low - 10: 300}
    found = suspects(counts, drug("carboplatin", -10, -10, route="iv"), as_of=datetime(2025, 9, 1))["carboplatin"]
    assert (found["category"] == "beyond_expected") == is_beyond
    assert "below 500 cells/uL for more than 7 days after its window" in found["reason"] or not is_beyond


def test_drg_5_a_new_cycle_begins_a_new_expected_time():
    """Docetaxel on an unrecovered count: the second nadir is expected of the second dose."""
    counts = {-21: 4000, -13: 700, -1: 1400, 8: 300}
    found = suspects(
        counts, drug("docetaxel", -21, -21, route="iv"), drug("docetaxel", 0, 0, route="iv"), as_of=datetime(2025, 7, 1)
    )["docetaxel"]
    assert (found["category"], found["first_exposure"]) == ("expected", FIRST_LOW + timedelta(days=0))


def test_drg_5_beyond_expected_leaves_the_expected_lane():
    counts = {-9: 4000, 0: 400, 20: 300}
    found = suspects(counts, drug("docetaxel", -9, -9, route="iv"), drug("ramipril", -300), as_of=datetime(2025, 7, 1))
    assert [found[name]["rank"] for name in ("docetaxel", "ramipril")] == [1, 2]


@pytest.mark.parametrize(
    ("name", "atc_code", "start", "category"),
    [
        ("imatinib", None, -1460, "unlikely"),  # a fall after four stable years
        ("imatinib", None, -40, "expected"),
        ("rituximab", None, -119, "likely"),
        ("Lemtrada 12 mg", "L04AG06", -145, "possible"),  # multiple sclerosis
        ("MabCampath", "L01XC04", -20, "expected"),  # leukaemia
        ("obinutuzumab", None, -20, "expected"),
        ("obinutuzumab", None, -60, "possible"),
        ("azacitidine", None, -18, "expected"),
    ],
)
def test_drg_5_late_and_immune_reactions_are_not_expected(name, atc_code, start, category):
    ends = None if name == "imatinib" else start
    counts = {-1500: 4000, -130: 3900, -8: 3500, 0: 600}
    found = suspects(counts, drug(name, start, ends, atc_code=atc_code, route="iv"))
    assert [row["category"] for row in found.values()] == [category]


def test_drg_5_a_drug_that_is_given_on_and_on_stays_expected_where_its_window_is_open():
    counts = {-300: 4000, -8: 3500, 0: 900}
    assert suspects(counts, drug("palbociclib", -200))["palbociclib"]["category"] == "expected"


@pytest.mark.parametrize(
    ("coded", "name"),
    [([("N179", 0)], "with renal failure"), ([("N179", -60)], ""), ([("N185", -400)], "with renal failure"), ([], "")],
)
def test_drg_6_methotrexate_and_renal_failure_are_named_as_a_pair(coded, name):
    """Weekly methotrexate for years; an acute failure is over after a month, a chronic one is not."""
    counts = {-120: 4200, -30: 3900, 0: 350}
    found = suspects(counts, drug("methotrexate", -900), low_lines=2, coded=coded)["methotrexate"]
    assert found["reason"].startswith(f"methotrexate {name}".strip() + ": ")
    assert (found["category"] == "likely") == bool(name)
    if name:
        assert "(renal elimination: methotrexate accumulates)" in found["reason"]
        assert "beside it for" in found["reason"]


@pytest.mark.parametrize(
    ("ingredient", "lowest", "evidence", "category"),
    [
        ("deferiprone", 300, (), "likely"),
        ("deferiprone", 500, (), "possible"),
        ("deferiprone", 300, [("INF-1", "infection", "strong")], "possible"),
        ("clozapine", 300, (), "likely"),
        ("azathioprine", 300, (), "possible"),  # by its dose: after years it needs another reason
    ],
)
def test_drg_7_a_late_agranulocytosis_on_a_high_risk_drug_without_a_better_explanation_is_likely(
    ingredient, lowest, evidence, category
):
    """Three years on the drug, a normal count a week before."""
    counts = {-400: 3500, -100: 3600, -7: 3200, 0: lowest}
    found = suspects(counts, drug(ingredient, -1100), low_lines=0, evidence=evidence)[ingredient]
    assert found["category"] == category

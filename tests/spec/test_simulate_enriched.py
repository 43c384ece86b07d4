"""The enriched hospital: its truth says which fall each drug explains, who died, stopped coming or was withdrawn."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_simulator import CAUSES, EnrichedHospital, simulate_enriched_hospital, simulate_hospital, write_native
from neutro_simulator.falls import falls_of
from neutro_simulator.hospital import group_extract, patient_ids
from neutro_simulator.parameters import all_parameters, number
from neutro_simulator.scenario import Group, grid

AS_OF = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
NOW = AS_OF.replace(tzinfo=None)
DAYS = np.arange(-100.0, 0.25, 0.25)
SECOND_FALLS = ["graves_then_antithyroid", "duffy_null_on_clozapine", "mds_on_azacitidine", "two_drug_falls"]
DRUG_CAUSES = [*SECOND_FALLS, "rival_stopped", "interaction", "late_reaction", "late_immune", "chemotherapy_beyond"]


@pytest.fixture(scope="module")
def mixed() -> EnrichedHospital:
    return simulate_enriched_hospital(900, 5, as_of=AS_OF)


def only(cause: str, patients: int = 60, dirt: float = 0.0) -> EnrichedHospital:
    return simulate_enriched_hospital(patients, 3, as_of=AS_OF, mix={cause: 1.0}, dirt=dirt)


def drug_falls(hospital: EnrichedHospital) -> pl.DataFrame:
    return hospital.fall_truth.filter(pl.col("ingredient").is_not_null())


def listed(hospital: EnrichedHospital) -> pl.DataFrame:
    """The medication list with the ingredient of each drug (all rows of the simulator's tables), first and last day."""
    ingredient = {}
    for section in all_parameters().values():
        for entry in section.values() if isinstance(section, dict) else ():
            for written in entry.get("value", ()) if isinstance(entry.get("value"), list) else [entry.get("value")]:
                parts = written.split("|") if isinstance(written, str) else []
                for first in range(0, len(parts) - 2, 3):
                    ingredient[parts[first + 1]] = parts[first]
    for regimen in all_parameters()["regimen"].values():
        name, drug, _ = regimen["drug"]["value"].split("|")
        ingredient[drug] = name
    return hospital.medications.with_columns(
        pl.col("drug_name").replace_strict(ingredient, default=None).alias("taken"),
        pl.col("start_date", "end_date").str.to_datetime(),
    ).filter(pl.col("taken").is_not_null())


# ---- what a true fall is (DRG-1) ---------------------------------------------------------------------------------


def falls(*points: tuple[float, float]) -> list[tuple[float, float]]:
    """From and to (cells/µL) of the falls of the course through these (day, ANC) points, straight on the log scale."""
    log_anc = np.interp(DAYS, [day for day, _ in points], np.log([anc for _, anc in points]))
    anc = np.exp(log_anc)[None, :]
    found = falls_of(anc, DAYS)
    return [(round(anc[0, first]), round(anc[0, last])) for first, last in zip(found.first, found.last, strict=True)]


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ([(-50, 4000), (-40, 1499)], [(4000, 1499)]),  # into neutropenia
        ([(-50, 4000), (-40, 1500)], []),  # not below 1500
        ([(-50, 1400), (-40, 1050)], []),  # stays mild, not halved
        ([(-50, 1400), (-40, 999)], [(1400, 999)]),  # into the next band
        ([(-50, 480), (-40, 239)], [(480, 239)]),  # stays severe, halved
        ([(-50, 480), (-40, 242)], []),  # stays severe, not halved
        ([(-50, 90), (-40, 40)], [(90, 40)]),  # profound and halved
        ([(-50, 1300), (-40, 1300), (-5, 4000)], []),  # a rise
        (
            [(-90, 4000), (-60, 1300), (-30, 1300), (-20, 50)],
            [(4000, 1300), (1300, 50)],
        ),  # stable in between: two falls
        ([(-90, 4000), (-60, 1300), (-59, 1300), (-50, 50)], [(4000, 50)]),  # a pause of a day: one fall
        ([(-90, 4000), (-80, 700), (-70, 3000), (-60, 200)], [(4000, 700), (3000, 200)]),  # recovered in between
    ],
)
def test_a_fall_enters_a_lower_band_or_halves_the_count(course, expected):
    assert falls(*course) == expected


def test_every_true_fall_has_a_cause_and_is_in_the_true_course(mixed):
    truth = mixed.fall_truth
    assert truth["cause"].null_count() == 0
    assert (truth["to_cells_per_ul"] < 1500).all()
    assert (truth["kind"] == "onset").equals(truth["from_cells_per_ul"] >= 1500)
    # The course is kept once a day where it is steady, every six hours where it moves.
    course = mixed.true_course.join(truth.drop_nulls("reached_at").with_row_index("fall"), on="patient_id").filter(
        pl.col("at") >= pl.col("started_at") - timedelta(hours=18), pl.col("at") <= pl.col("reached_at")
    )
    lowest = course.group_by("fall").agg(
        pl.col("anc_cells_per_ul").min(), pl.col("to_cells_per_ul").first(), pl.col("from_cells_per_ul").first()
    )
    assert len(lowest) == len(truth.drop_nulls("reached_at"))
    assert (lowest["anc_cells_per_ul"] / lowest["to_cells_per_ul"]).is_between(0.95, 1.25).all()


def test_only_falls_of_drugs_have_an_effect(mixed):
    assert mixed.fall_truth["effect"].is_null().equals(mixed.fall_truth["ingredient"].is_null())
    assert set(drug_falls(mixed)["effect"]) == {
        "reaction",
        "late_reaction",
        "interaction",
        "expected",
        "beyond_expected",
    }


@pytest.mark.parametrize("cause", DRUG_CAUSES)
def test_the_drug_of_a_fall_is_on_the_list_before_it(cause):
    hospital = only(cause)
    found = drug_falls(hospital).with_row_index("fall")
    taken = found.join(listed(hospital), on="patient_id").filter(
        pl.col("taken") == pl.col("ingredient"), pl.col("start_date") < pl.col("started_at")
    )
    assert len(found) > 20
    assert set(taken["fall"]) == set(found["fall"])


# ---- a mild count before the drug, several falls in one episode -----------------------------------------------------


@pytest.mark.parametrize("cause", SECOND_FALLS)
def test_a_drug_fall_begins_from_a_count_that_was_low_before(cause):
    deep = drug_falls(only(cause)).filter(pl.col("kind") == "deepening")
    assert deep["patient_id"].n_unique() > 40
    assert deep["from_cells_per_ul"].is_between(600, 1500).mean() > 0.95
    # A few are in mid-fall at the index time.
    assert (deep["to_cells_per_ul"] < 700).mean() > 0.9


def test_graves_disease_explains_the_mild_fall_and_the_antithyroid_drug_the_deep_one():
    truth = only("graves_then_antithyroid").fall_truth
    mild, deep = (truth.filter(pl.col("kind") == kind) for kind in ("onset", "deepening"))
    assert set(mild["cause"]) == {"graves_disease"}
    assert mild["ingredient"].null_count() == len(mild)
    assert set(deep["ingredient"]) <= {"thiamazole", "carbimazole", "propylthiouracil"}
    both = mild.join(deep, on="patient_id", suffix="_deep")
    assert len(both) > 40
    assert (both["started_at_deep"] - both["started_at"] > timedelta(days=20)).all()


def test_a_duffy_null_person_on_clozapine_has_no_fall_but_the_drugs():
    hospital = only("duffy_null_on_clozapine")
    assert set(hospital.fall_truth["ingredient"]) == {"clozapine"}
    assert (hospital.patients["duffy_null"] == "true").sum() > 35
    assert hospital.specimen_truth["true_anc"].max() < 1500


def test_azacitidine_falls_are_expected_and_come_after_a_cycle():
    hospital = only("mds_on_azacitidine")
    truth = drug_falls(hospital)
    assert set(truth["effect"]) == {"expected"}
    cycles = hospital.medications.filter(pl.col("atc_code") == "L01BC07").select(
        "patient_id", dose=pl.col("start_date").str.to_datetime()
    )
    near = (
        truth.with_row_index("fall")
        .join(cycles, on="patient_id")
        .filter((pl.col("started_at") - pl.col("dose")).is_between(timedelta(days=2), timedelta(days=8)))
    )
    assert near["fall"].n_unique() == len(truth)


def test_two_drugs_explain_two_falls_of_one_episode():
    hospital = only("two_drug_falls")
    truth = hospital.fall_truth
    first, second = (truth.filter(pl.col("kind") == kind) for kind in ("onset", "deepening"))
    both = first.join(second, on="patient_id", suffix="_second")
    assert len(both) > 40
    assert (both["ingredient"] != both["ingredient_second"]).all()
    between = hospital.true_course.join(both, on="patient_id").filter(
        pl.col("at").is_between(pl.col("reached_at"), pl.col("started_at_second"))
    )
    assert between["anc_cells_per_ul"].max() < 1500


def test_a_viral_fall_on_a_mild_count_is_not_the_long_term_drugs():
    hospital = only("viral_on_mild")
    assert drug_falls(hospital).is_empty()
    assert len(hospital.fall_truth) > 40
    assert listed(hospital)["patient_id"].n_unique() > 55


# ---- interactions, late reactions, rivals, courses beyond expectation ------------------------------------------------


def test_an_interaction_falls_after_the_partner_and_long_after_the_drug():
    hospital = only("interaction", 120)
    truth = drug_falls(hospital)
    assert set(truth["effect"]) == {"interaction"}
    assert truth["partner"].null_count() == 0
    pairs = set(truth.select("ingredient", "partner").iter_rows())
    assert {("azathioprine", "allopurinol"), ("methotrexate", "trimethoprim")} <= pairs
    taken = listed(hospital).select("patient_id", "taken", "start_date")
    both = truth.join(taken, left_on=["patient_id", "ingredient"], right_on=["patient_id", "taken"]).join(
        taken, left_on=["patient_id", "partner"], right_on=["patient_id", "taken"], suffix="_partner"
    )
    assert len(both) == len(truth)
    assert (both["start_date_partner"] < both["started_at"]).all()
    assert (both["started_at"] - both["start_date_partner"] <= timedelta(days=151)).all()
    assert (both["start_date_partner"] - both["start_date"] >= timedelta(days=14)).all()


def test_a_late_reaction_comes_after_many_months():
    hospital = only("late_reaction", 120)
    taken = drug_falls(hospital).join(
        listed(hospital), left_on=["patient_id", "ingredient"], right_on=["patient_id", "taken"]
    )
    since = (taken["started_at"] - taken["start_date"]).dt.total_days()
    assert since.min() >= 219
    clozapine = since.filter(taken["ingredient"] == "clozapine")
    assert len(clozapine) > 5
    assert clozapine.min() >= 730


def test_a_rival_stops_on_the_day_of_the_drug_and_explains_nothing():
    hospital = only("rival_stopped")
    found = drug_falls(hospital)
    stopped = listed(hospital).drop_nulls("end_date").filter(pl.col("patient_id").is_in(found["patient_id"].implode()))
    own = found.join(stopped, left_on=["patient_id", "ingredient"], right_on=["patient_id", "taken"])
    rival = own.join(stopped, on=["patient_id", "end_date"], suffix="_rival").filter(
        pl.col("taken") != pl.col("ingredient")
    )
    assert len(own) > 40
    assert rival["patient_id"].n_unique() == own["patient_id"].n_unique()
    assert (hospital.truth.drop_nulls("onset_at")["causal_ingredient"].is_not_null()).all()


def test_a_course_beyond_expectation_is_long_or_deep_or_late():
    hospital = only("chemotherapy_beyond", 150)
    truth = hospital.fall_truth
    beyond = truth.filter(pl.col("effect") == "beyond_expected", pl.col("ended_at").is_not_null())
    expected = truth.filter(pl.col("effect") == "expected", pl.col("ended_at").is_not_null())
    stay = {name: (rows["ended_at"] - rows["reached_at"]).median() for name, rows in (("b", beyond), ("e", expected))}
    assert stay["b"] > stay["e"] + timedelta(days=8)
    late = truth.filter(pl.col("cause") == "after_chemotherapy")
    assert len(late) > 5
    assert late["ingredient"].null_count() == len(late)
    last_dose = (
        hospital.medications.filter(pl.col("dose").str.starts_with("cycle"))
        .group_by("patient_id")
        .agg(dose=pl.col("start_date").str.to_datetime().max())
    )
    since = late.join(last_dose, on="patient_id").select(pl.col("started_at") - pl.col("dose")).to_series()
    assert since.min() >= timedelta(days=29)


# ---- what ends a record ------------------------------------------------------------------------------------------


def test_the_dead_have_a_death_date_and_nothing_after_it(mixed):
    died = mixed.fate_truth.filter(pl.col("fate") == "died")
    assert len(died) > 15
    dated = mixed.patients.drop_nulls("death_date")
    assert set(dated["patient_id"]) == set(died["patient_id"])
    for name, column in (("specimen_truth", "collected_at"), ("true_course", "at"), ("fall_truth", "started_at")):
        after = getattr(mixed, name).join(died, on="patient_id", suffix="_died")
        at = "at_died" if name == "true_course" else "at"
        assert after.filter(pl.col(column) > pl.col(at)).is_empty(), name
    for name, column in (("medications", "start_date"), ("diagnoses", "date"), ("events", "date")):
        after = getattr(mixed, name).join(dated.select("patient_id", "death_date"), on="patient_id")
        assert after.filter(pl.col(column).str.head(10) > pl.col("death_date")).is_empty(), name


def test_those_who_stop_coming_were_low_and_are_not_seen_again(mixed):
    lost = mixed.fate_truth.filter(pl.col("fate") == "lost_to_follow_up")
    assert len(lost) > 10
    assert (lost["at"] <= NOW - timedelta(days=number("fates", "lost_before_days") - 1)).all()
    counts = mixed.specimen_truth.join(lost, on="patient_id")
    assert counts.filter(pl.col("collected_at") > pl.col("at")).is_empty()
    low = counts.filter(pl.col("true_anc") < 1500)["patient_id"].n_unique()
    assert low >= 0.95 * len(lost)


def test_a_withdrawn_count_is_low_first_and_taken_back_later():
    hospital = only("withdrawn_count")
    withdrawn = hospital.fate_truth.filter(pl.col("fate") == "withdrawn")
    assert len(withdrawn) > 45
    assert hospital.fall_truth.is_empty()
    rows = hospital.labs.join(withdrawn.select("specimen_id", "at"), on="specimen_id").with_columns(
        pl.col("resulted_at").str.to_datetime()
    )
    per_specimen = rows.group_by("specimen_id").agg(
        first=pl.col("resulted_at").filter(pl.col("status") == "F").max(),
        back=pl.col("resulted_at").filter(pl.col("status").is_in(["X", "C"])).min(),
        at=pl.col("at").first(),
        kinds=pl.col("status").unique().sort(),
        n_first=(pl.col("status") == "F").sum(),
        n_back=(pl.col("status") != "F").sum(),
    )
    assert (per_specimen["first"] < per_specimen["back"]).all()
    assert per_specimen["back"].equals(per_specimen["at"])
    assert (per_specimen["n_back"] >= per_specimen["n_first"]).all()
    assert {tuple(kinds) for kinds in per_specimen["kinds"]} == {("F", "X"), ("C", "F")}
    anc = rows.filter(pl.col("analyte_name") == "Neutrophils Absolute").with_columns(
        pl.col("value").cast(pl.Float64, strict=False)
    )
    assert anc.filter(pl.col("status") == "F")["value"].median() < 1.5
    assert anc.filter(pl.col("status") == "C")["value"].min() > 1.2
    assert anc.filter(pl.col("status") == "X")["value"].null_count() == anc.filter(pl.col("status") == "X").height


def test_a_retraction_that_has_not_come_yet_is_not_in_the_extract():
    """Blood of the day before the index time: some results are withdrawn by then, of the others the low count stands."""
    size, night = 80, NOW.replace(hour=2)
    group = Group("withdrawn_count", size, np.random.Generator(np.random.PCG64(1)), grid())
    yesterday = np.full(size, -1.0)
    scenario = replace(CAUSES["withdrawn_count"](group), artefact_visit=yesterday, visits=yesterday[:, None])
    labs = group_extract(scenario, group, patient_ids(group.rng, size), night).labs
    assert labs["resulted_at"].max() <= night.strftime("%Y-%m-%dT%H:%M:%S")
    first = labs.filter(pl.col("specimen_id").str.ends_with("-001"))
    withdrawn = first.group_by("specimen_id").agg((pl.col("status") != "F").any())["status"]
    assert len(withdrawn) == size
    assert 10 < withdrawn.sum() < size - 5


# ---- the same for the same seed ----------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_enriched_hospital(tmp_path: Path):
    one, two = (simulate_enriched_hospital(80, 9, as_of=AS_OF) for _ in range(2))
    for part in fields(one):
        assert_frame_equal(getattr(one, part.name), getattr(two, part.name))
    write_native(one, tmp_path)
    assert {path.name for path in (tmp_path / "truth").iterdir()} >= {"fall_truth.csv", "fate_truth.csv"}


def test_dirt_never_changes_the_truth_of_falls_and_fates():
    clean, dirty = (simulate_enriched_hospital(150, 9, as_of=AS_OF, dirt=dirt) for dirt in (0.0, 0.2))
    for name in ("truth", "fall_truth", "fate_truth", "specimen_truth", "medications"):
        assert_frame_equal(getattr(clean, name), getattr(dirty, name))


def test_the_plain_hospital_has_none_of_it():
    plain = simulate_hospital(40, 9, as_of=AS_OF)
    assert "death_date" not in plain.patients.columns
    assert {part.name for part in fields(plain)} & {"fall_truth", "fate_truth"} == set()
    assert set(plain.truth["cause"]) <= set(all_parameters()["mix"])

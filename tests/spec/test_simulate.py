"""The simulated hospital: courses as in the literature, truth as RULES.md RPD-3 has it, dirt that leaves it alone."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_simulator import CAUSES, Hospital, regimen_courses, simulate_hospital, write_native
from neutro_simulator.myelosuppression import neutrophils, typical_treatment
from neutro_simulator.parameters import all_parameters
from neutro_simulator.truth import rapid_decline_day, shown_by_sampling

AS_OF = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
TIME = "%Y-%m-%dT%H:%M:%S"


@pytest.fixture(scope="module")
def clean() -> Hospital:
    return simulate_hospital(400, 7, as_of=AS_OF, dirt=0.0)


@pytest.fixture(scope="module")
def dirty() -> Hospital:
    return simulate_hospital(400, 7, as_of=AS_OF, dirt=0.2)


def only(cause: str, patients: int = 60, seed: int = 3) -> Hospital:
    return simulate_hospital(patients, seed, as_of=AS_OF, mix={cause: 1.0}, dirt=0.0)


def parts(hospital: Hospital) -> dict[str, pl.DataFrame]:
    return {part.name: getattr(hospital, part.name) for part in fields(hospital)}


# ---- the numbers -------------------------------------------------------------------------------------------------


def entries(table: dict, path: str = "") -> list[tuple[str, dict]]:
    found = []
    for name, value in table.items():
        if isinstance(value, dict) and "value" not in value:
            found += entries(value, f"{path}{name}.")
        elif isinstance(value, dict):
            found.append((path + name, value))
    return found


def test_every_number_of_the_simulator_has_a_unit_and_a_source():
    listed = entries(all_parameters())
    assert len(listed) > 150
    assert [name for name, row in listed if not row.get("unit") or not row.get("source")] == []


# ---- courses against the literature ------------------------------------------------------------------------------


def test_chemotherapy_has_the_nadir_and_recovery_of_the_literature():
    for row in regimen_courses().iter_rows(named=True):
        for name in ("nadir_day", "recovery_day"):
            assert row[f"literature_{name}_low"] <= row[name] <= row[f"literature_{name}_high"], row["regimen"]
        assert row["literature_nadir_low"] <= row["nadir_cells_per_ul"] <= row["literature_nadir_high"], row["regimen"]


def test_chemotherapy_regimens_differ_as_the_literature_says():
    day = dict(regimen_courses().select("regimen", "nadir_day").iter_rows())
    assert day["docetaxel"] < day["paclitaxel"] < day["etoposide"]


def test_the_step_of_the_model_does_not_matter():
    """Hourly steps against steps of six minutes."""
    hourly, fine = (neutrophils(typical_treatment("docetaxel"), 30, step) for step in (1.0, 0.1))
    assert np.allclose(hourly[:, ::24], fine[:, ::240], rtol=0.02)


def test_clozapine_falls_from_2_to_half_in_a_mean_of_8_4_days():
    """Taylor 2022: ANC > 2 to < 0.5 G/L in a mean of 8.4 days, range 2 to 15."""
    course = only("clozapine", 150).true_course
    last_above = pl.col("at").filter(pl.col("anc_cells_per_ul") > 2000, pl.col("at") < pl.col("first_severe")).max()
    fall = (
        course.with_columns(
            pl.col("at").filter(pl.col("anc_cells_per_ul") < 500).min().over("patient_id").alias("first_severe")
        )
        .drop_nulls("first_severe")
        .group_by("patient_id")
        .agg((pl.col("first_severe").first() - last_above).dt.total_hours().alias("hours") / 24)["hours"]
    )
    assert len(fall) > 100
    assert 7.4 < fall.mean() < 9.8
    assert fall.min() > 1.5
    assert fall.max() < 16.5


def test_cyclic_neutropenia_comes_back_every_three_weeks():
    hospital = only("cyclic", 10)
    assert hospital.truth["is_cyclic"].all()
    assert hospital.truth["cycle_days"].is_between(18, 25).all()
    # Days below 500 in each patient: three to six of every cycle of three weeks.
    low = hospital.true_course.group_by("patient_id").agg(
        (pl.col("anc_cells_per_ul").filter(pl.col("at").dt.hour() == 0) < 500).mean().alias("share")
    )
    assert (low["share"] * 21).is_between(2.5, 8).all()


def test_neutrophilia_that_returns_to_normal_is_no_rapid_decline():
    hospital = only("infection_neutrophilia")
    assert not hospital.truth["has_true_rapid_decline"].any()
    peak = hospital.true_course.group_by("patient_id").agg(pl.col("anc_cells_per_ul").max())["anc_cells_per_ul"]
    assert (peak > 9000).mean() > 0.9


def test_an_artefact_is_low_in_the_tube_and_normal_in_the_patient():
    hospital = only("artefact")
    assert hospital.truth["true_nadir_cells_per_ul"].min() >= 2000
    assert not hospital.truth["has_true_rapid_decline"].any()
    reported = hospital.labs.filter(pl.col("analyte_name") == "Neutrophils Absolute")["value"].cast(pl.Float64)
    assert reported.min() < 1.5
    assert hospital.specimen_truth["true_anc"].min() >= 2000


@pytest.mark.parametrize(
    ("cause", "haemoglobin_below", "platelets_below", "mcv_above"),
    [("leukaemia", 10, 100, 80), ("mds", 11, 130, 95), ("hypersplenism", 13, 130, 80), ("b12_deficiency", 12, 200, 98)],
)
def test_other_cell_lines_fall_with_the_disease(cause, haemoglobin_below, platelets_below, mcv_above):
    last = (
        only(cause)
        .labs.filter(pl.col("lab") == "A")
        .sort("collected_at")
        .group_by("patient_id", "analyte_name")
        .agg(pl.col("value").last().cast(pl.Float64))
        .group_by("analyte_name")
        .agg(pl.col("value").median())
    )
    median = dict(last.iter_rows())
    assert median["Hemoglobin"] < haemoglobin_below
    assert median["Platelets"] < platelets_below
    assert median["MCV"] > mcv_above


def test_leukaemia_shows_blasts_and_healthy_people_none():
    assert only("leukaemia").labs["analyte_name"].str.to_lowercase().str.contains("blast").any()
    assert not only("healthy").labs["analyte_name"].str.to_lowercase().str.contains("blast").any()


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_every_cause_leaves_counts_and_a_truth(cause):
    hospital = only(cause, 12)
    assert hospital.truth["cause"].unique().to_list() == [cause]
    assert len(hospital.truth) == len(hospital.patients) == 12
    assert hospital.labs["patient_id"].n_unique() >= 10


@pytest.mark.parametrize("cause", ["chemotherapy", "clozapine", "antithyroid", "beta_lactam", "rituximab"])
def test_the_causal_drug_is_on_the_list_before_the_fall(cause):
    hospital = only(cause)
    first_dose = (
        hospital.medications.filter(pl.col("drug_name").str.contains("(?i)" + "|".join(causal_names(cause))))
        .group_by("patient_id")
        .agg(pl.col("start_date").min().str.to_datetime())
    )
    fallen = hospital.truth.drop_nulls("onset_at").join(first_dose, on="patient_id", how="left")
    assert fallen["causal_ingredient"].null_count() == 0
    assert (fallen["start_date"] < fallen["onset_at"]).all()


def causal_names(cause: str) -> list[str]:
    if cause == "chemotherapy":
        written = [regimen["drug"]["value"] for regimen in all_parameters()["regimen"].values()]
    else:
        written = all_parameters()[cause]["drugs"]["value"]
    return [drug.split("|")[1].split()[0] for drug in written]


def test_antibiotics_and_growth_factor_come_after_the_fall():
    """The bystanders a screen must not suspect: begun for the fever that the neutropenia brought."""
    hospital = only("antithyroid", 150)
    bystander = hospital.medications.filter(pl.col("drug_name").is_in(["meropenem 1 g iv", "Neupogen 30 MU"]))
    begun = bystander.join(hospital.truth, on="patient_id")
    assert len(begun) > 20
    assert (begun["start_date"].str.to_datetime() >= begun["onset_at"].dt.truncate("1d")).all()


# ---- what a true rapid decline is (RPD-3) ------------------------------------------------------------------------

DAYS = np.arange(-40.0, 0.25, 0.25)


def declined(*points: tuple[float, float]) -> bool:
    """Whether the course through these (day, ANC) points is a true rapid decline."""
    course = np.interp(DAYS, [day for day, _ in points], [anc for _, anc in points])
    return not np.isnan(rapid_decline_day(course[None, :], DAYS)[0])


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ([(-20, 4000), (-10, 4000), (0, 1990)], True),  # halved within 14 days to below 2000
        ([(-20, 4000), (-10, 4000), (0, 2010)], False),  # halved, no: and not below 2000
        ([(-40, 4000), (0, 1900)], False),  # halved, but over forty days
        ([(-20, 2000), (-6, 2000), (0, 1390)], True),  # 30 % within 7 days to below 1500
        ([(-20, 2000), (-6, 2000), (0, 1410)], False),  # less than 30 %
        ([(-20, 2200), (-6, 2200), (0, 1530)], False),  # 30 %, but not below 1500
        ([(-20, 16000), (-6, 16000), (0, 4000)], False),  # neutrophilia going back
        ([(-20, 900), (0, 4000)], False),  # a rise
    ],
)
def test_a_true_rapid_decline(course, expected):
    assert declined(*course) is expected


def test_the_windows_of_a_decline_against_a_plain_search():
    rng = np.random.Generator(np.random.PCG64(5))
    course = np.exp(np.cumsum(rng.normal(0, 0.08, (30, len(DAYS))), axis=1)) * 2500
    found = rapid_decline_day(course, DAYS)
    for row, anc in enumerate(course):
        plain = next(
            (
                day
                for index, day in enumerate(DAYS)
                if (anc[index] <= 0.5 * anc[max(0, index - 56) : index + 1].max() and anc[index] < 2000)
                or (anc[index] <= 0.7 * anc[max(0, index - 28) : index + 1].max() and anc[index] < 1500)
            ),
            np.nan,
        )
        assert found[row] == plain or (np.isnan(found[row]) and np.isnan(plain))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(-10, 4000), (0, 1900)], True),  # RPD-1
        ([(-30, 4000), (0, 1900)], True),  # the last before the window, 16 days older: carried
        ([(-36, 4000), (0, 1900)], False),  # 22 days older than the window: not carried
        ([(-30, 4000), (-20, 2500), (0, 1900)], False),  # only the last before the window is carried
        ([(-5, 2400), (0, 1440)], True),  # RPD-2: 60 % within 7 days
        ([(-5, 2400), (0, 1450)], False),  # 60.4 %
        ([(0, 100)], False),  # one specimen shows no decline
    ],
)
def test_what_the_specimens_could_show(counts, expected):
    taken = pl.DataFrame(
        {
            "patient": [0] * len(counts),
            "day": [float(day) for day, _ in counts],
            "true_anc": [float(anc) for _, anc in counts],
        }
    )
    assert shown_by_sampling(taken)["sampling_could_show_it"].to_list() == [expected]


def test_sampling_shows_no_decline_where_there_is_none(clean):
    shown = clean.truth.filter("sampling_could_show_it")
    assert shown["has_true_rapid_decline"].all()
    assert clean.truth["rapid_decline_at"].is_not_null().equals(clean.truth["has_true_rapid_decline"])


# ---- the same for the same seed ----------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_files(tmp_path: Path):
    for run in ("first", "second"):
        write_native(simulate_hospital(60, 11, as_of=AS_OF), tmp_path / run)
    names = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.csv"))
    assert [str(name) for name in names] == [
        "diagnoses.csv",
        "events.csv",
        "labs.csv",
        "medications.csv",
        "patients.csv",
        "truth/dirt_log.csv",
        "truth/specimen_truth.csv",
        "truth/true_course.csv",
        "truth/truth.csv",
    ]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_another_seed_gives_another_hospital():
    one, other = (simulate_hospital(30, seed, as_of=AS_OF) for seed in (1, 2))
    assert not one.labs.equals(other.labs)


def test_an_index_time_with_a_zone_is_read_as_that_moment():
    berlin = timezone(timedelta(hours=2))
    here = simulate_hospital(20, 1, as_of=AS_OF.replace(tzinfo=None))
    there = simulate_hospital(20, 1, as_of=AS_OF.astimezone(berlin))
    assert_frame_equal(here.labs, there.labs)


def test_the_mix_is_kept():
    truth = simulate_hospital(100, 1, as_of=AS_OF, mix={"healthy": 3, "clozapine": 1}).truth
    assert dict(truth["cause"].value_counts().iter_rows()) == {"healthy": 75, "clozapine": 25}


@pytest.mark.parametrize("mix", [{"plague": 1.0}, {}, {"healthy": 0.0}, {"healthy": 2.0, "viral": -1.0}])
def test_a_mix_that_makes_no_sense_is_refused(mix):
    with pytest.raises(ValueError, match=r"cause|shares"):
        simulate_hospital(10, 1, as_of=AS_OF, mix=mix)


def test_a_share_of_dirt_above_one_is_refused():
    with pytest.raises(ValueError, match="dirt"):
        simulate_hospital(10, 1, as_of=AS_OF, dirt=2.0)

"""The simulated hospital: courses as in the literature, truth as RULES.md RPD-3 has it, dirt that leaves it alone."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_simulator import (
    CAUSES,
    Hospital,
    cast,
    regimen_courses,
    sample_expectations,
    sample_hospital,
    sample_readme,
    simulate_hospital,
    simulate_labs_at_scale,
    write_native,
)
from neutro_simulator.dirt import FAULTS
from neutro_simulator.laboratories import LAB_COLUMNS
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


# ---- what the laboratories print ---------------------------------------------------------------------------------


def wide(hospital: Hospital, lab: str) -> pl.DataFrame:
    return (
        hospital.labs.filter(pl.col("lab") == lab, ~pl.col("specimen_id").str.starts_with("M-"))
        .with_columns(pl.col("value").cast(pl.Float64, strict=False))
        .pivot("analyte_name", index=["patient_id", "specimen_id"], values="value")
        .join(hospital.specimen_truth, on=["patient_id", "specimen_id"])
    )


def test_each_laboratory_can_be_turned_into_the_anc_it_counted(clean):
    anc = {
        "A": pl.col("Neutrophils Absolute") * 1000,
        "B": pl.col("Leukocytes") * pl.col("Neutrophils/100 leukocytes") * 10,
        "C": pl.col("WBC") * (pl.col("Segs %") + pl.col("BAND%")) * 10,
        "D": pl.col("ANC"),
    }
    for lab, expression in anc.items():
        ratio = wide(clean, lab).filter(pl.col("true_anc") > 1000).select((expression / pl.col("true_anc")).log())
        error = ratio.to_series().drop_nulls()
        assert abs(error.median()) < 0.03, lab
        # Biological 16 % and analytic 3 %; laboratory C adds the chance of counting 100 cells.
        quartiles = error.quantile(0.75) - error.quantile(0.25)
        assert 0.13 < quartiles / 1.349 < (0.26 if lab == "C" else 0.19), lab


def test_a_differential_sums_to_about_100(clean):
    sums = {
        "B": pl.sum_horizontal(pl.col("^.*/100 leukocytes$").fill_null(0)),
        "C": pl.sum_horizontal(pl.col("Segs %", "BAND%", "LYMPH%", "MONO%", "EOS%", "BASO%", "^BLAST%$").fill_null(0)),
    }
    for lab, expression in sums.items():
        total = wide(clean, lab).select(expression).to_series()
        done = total.filter(total > 0)
        assert len(done) > 50
        assert done.is_between(97, 103).all(), lab


def test_a_differential_is_not_done_where_there_are_no_cells():
    labs = only("congenital", 5).labs
    assert labs["value"].null_count() == 0
    sample = sample_hospital(AS_OF).labs.filter(pl.col("patient_id") == "P-004")
    assert sample.filter(pl.col("value") == "Not done").height == 5


def test_low_counts_are_repeated_sooner(clean):
    gap = clean.specimen_truth.sort("patient_id", "collected_at").with_columns(
        pl.col("collected_at").diff().over("patient_id").shift(-1).over("patient_id").alias("until_next")
    )
    low, normal = gap.filter(pl.col("true_anc") < 500), gap.filter(pl.col("true_anc") > 2500)
    assert low["until_next"].median() < timedelta(days=3)
    assert normal["until_next"].median() > timedelta(days=5)


def test_nothing_is_known_after_the_index_time(clean):
    latest = clean.labs.select(pl.max_horizontal("collected_at", "resulted_at").max()).item()
    assert latest <= AS_OF.strftime(TIME)
    for name, column in (("medications", "start_date"), ("medications", "end_date"), ("diagnoses", "date")):
        assert getattr(clean, name)[column].max() <= AS_OF.strftime("%Y-%m-%d")
    assert clean.events["date"].max() <= AS_OF.strftime(TIME)
    assert clean.true_course["at"].max() <= AS_OF.replace(tzinfo=None)


def test_extracts_are_text_in_the_native_layout(clean):
    assert clean.labs.columns == list(LAB_COLUMNS)
    for name in ("labs", "medications", "patients", "diagnoses", "events"):
        assert set(getattr(clean, name).dtypes) == {pl.String()}
    assert clean.patients["patient_id"].str.contains(r"^P-\d{6}$").all()
    events = {"temperature", "smear_review", "bone_marrow", "medication_review", "travel"}
    assert set(clean.events["event"].unique()) == events


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


# ---- dirt --------------------------------------------------------------------------------------------------------


def test_dirt_never_changes_the_truth(clean, dirty):
    with_dirt = parts(dirty)
    for name, frame in parts(clean).items():
        if name not in {"labs", "dirt_log"}:
            assert_frame_equal(frame, with_dirt[name])


def test_without_dirt_there_is_none(clean):
    assert clean.dirt_log.is_empty()
    assert clean.labs["status"].unique().to_list() == ["F"]


def test_every_kind_of_dirt_occurs_and_is_written_down(dirty):
    assert set(dirty.dirt_log["kind"]) == {fault.kind for fault in FAULTS}


def test_dirt_is_on_about_its_share_of_rows(clean, dirty):
    changed = dirty.labs.join(clean.labs, on=list(LAB_COLUMNS), how="anti", nulls_equal=True)
    assert 0.1 < len(changed) / len(clean.labs) < 0.3


def test_dirt_loses_no_row(clean, dirty):
    """Every clean row is still there as it was, or its specimen is in the log."""
    gone = clean.labs.join(dirty.labs, on=list(LAB_COLUMNS), how="anti", nulls_equal=True)
    unexplained = gone.join(dirty.dirt_log, on=["patient_id", "specimen_id"], how="anti")
    assert unexplained.is_empty()
    adding = [fault.kind for fault in FAULTS if fault.adds is not None]
    added = dirty.dirt_log.filter(pl.col("kind").is_in(adding))
    assert len(dirty.labs) == len(clean.labs) + len(added)


def test_each_fault_is_on_the_specimen_the_log_names(dirty):
    rows = dirty.labs.join(dirty.dirt_log, on="specimen_id", how="inner")

    def found(kind: str, expression: pl.Expr) -> None:
        seen = rows.filter(pl.col("kind") == kind).group_by("specimen_id").agg(expression.any().alias("there"))
        assert len(seen) > 0, kind
        assert seen["there"].all(), kind

    value = pl.col("value")
    found("below_detection", value == "<0.1")
    found("clotted", value == "CLOTTED")
    found("tnp", value == "TNP")
    found("decimal_comma", value.str.contains(r"^\d+,\d{1,2}$"))
    found("corrected", pl.col("status") == "C")
    found("preliminary_then_final", pl.col("status") == "P")
    found("cancelled", pl.col("status") == "X")
    found("entered_in_error", pl.col("status") == "entered-in-error")
    found("missing_unit", pl.col("unit").is_null())
    found("unknown_unit", pl.col("unit") == "arb.U")
    found("missing_collected_time", pl.col("collected_at").is_null() & pl.col("resulted_at").is_not_null())
    found("future_time", pl.col("collected_at") > AS_OF.strftime(TIME))
    found("percent_over_100", value == "148")
    found("negative", value.str.starts_with("-"))
    found("missing_patient_id", pl.col("patient_id").is_null())
    found("csf_wbc", pl.col("loinc") == "806-0")
    found("unmapped_analyte", pl.col("analyte_name") == "HLH-INDEX")
    found("not_a_number", value == "NaN")


def test_a_mislabelled_batch_is_asked_for():
    labelled = simulate_hospital(200, 7, as_of=AS_OF, dirt=0.0, mislabelled_batches=2)
    batch = labelled.labs.filter(
        (pl.col("lab") == "D") & (pl.col("unit") == "K/uL") & (pl.col("analyte_name") == "ANC")
    )
    assert batch["collected_at"].str.head(10).n_unique() == 2
    assert batch["value"].cast(pl.Float64).max() > 500
    assert set(labelled.dirt_log["kind"]) == {"unit_mislabelled"}


# ---- at scale ----------------------------------------------------------------------------------------------------


def test_labs_at_scale_are_exactly_so_many_and_the_same_in_both_formats(tmp_path: Path):
    parquet, csv = tmp_path / "labs.parquet", tmp_path / "labs.csv"
    assert simulate_labs_at_scale(300_000, 3, parquet) == 300_000
    assert simulate_labs_at_scale(300_000, 3, csv) == 300_000
    rows = pl.read_parquet(parquet)
    assert rows.columns == list(LAB_COLUMNS)
    assert_frame_equal(rows, pl.read_csv(csv, infer_schema=False))
    assert rows.select("patient_id", "specimen_id", "loinc", "analyte_name").is_unique().all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labs.csv", "labs.parquet"]


def test_labs_at_scale_of_another_ending_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="parquet"):
        simulate_labs_at_scale(10, 1, tmp_path / "labs.xlsx")


# ---- the sample hospital -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> Hospital:
    return sample_hospital(AS_OF)


def latest(sample: Hospital, patient_id: str) -> pl.DataFrame:
    rows = sample.labs.filter(pl.col("patient_id") == patient_id, ~pl.col("specimen_id").str.starts_with("M-"))
    return rows.filter(pl.col("collected_at") == pl.col("collected_at").max())


def test_the_sample_is_forty_patients_and_says_what_to_expect(sample):
    ids = [f"P-{number:03d}" for number in range(1, 41)]
    assert sample.patients["patient_id"].to_list() == sample.truth["patient_id"].to_list() == ids
    assert sample_expectations()["patient_id"].to_list() == ids
    assert set(sample.labs["patient_id"].unique()) == set(ids)
    readme = sample_readme(AS_OF)
    assert all(f"| {patient_id} |" in readme for patient_id in ids)


def test_expected_severities_are_those_of_the_last_true_count(sample):
    """SEV-1 on the true count; the cases where the laboratory hides or bounds it are the exceptions."""
    last = sample.specimen_truth.sort("collected_at").group_by("patient_id").agg(pl.col("true_anc").last())
    anc = pl.col("true_anc")
    band = (
        pl.when(anc < 100)
        .then(pl.lit("profound"))
        .when(anc < 500)
        .then(pl.lit("severe"))
        .when(anc < 1000)
        .then(pl.lit("moderate"))
        .when(anc < 1500)
        .then(pl.lit("mild"))
        .otherwise(pl.lit("normal"))
    )
    differs = last.join(sample_expectations(), on="patient_id").filter(pl.col("severity").ne_missing(band))
    assert sorted(differs["patient_id"]) == ["P-004", "P-009", "P-016", "P-028"]


@pytest.mark.parametrize(
    ("patient_id", "analyte", "value", "unit"),
    [
        ("P-003", "Neutrophils Absolute", "<0.1", "10*3/uL"),
        ("P-004", "Leukocytes", "0.3", "10*9/L"),
        ("P-009", "Neutrophils Absolute", "0.9", "arb.U"),
        ("P-016", "Neutrophils Absolute", "CLOTTED", "10*3/uL"),
        ("P-018", "ANC", "450", "/mm3"),
        ("P-021", "Neutrophils Absolute", "0.5", "10*3/uL"),
        ("P-028", "Neutrophils/100 leukocytes", "148", "%"),
        ("P-029", "Neutrophils Absolute", "0,85", "10*3/uL"),
    ],
)
def test_the_last_result_of_a_teaching_case(sample, patient_id, analyte, value, unit):
    row = latest(sample, patient_id).filter(pl.col("analyte_name") == analyte)
    assert row.select("value", "unit").rows() == [(value, unit)]


def test_a_correction_comes_after_what_it_corrects(sample):
    rows = latest(sample, "P-017").filter(pl.col("loinc") == "751-8").sort("resulted_at")
    assert rows.select("value", "status").rows() == [("0.40", "F"), ("4.0", "C")]
    assert rows["resulted_at"].is_unique().all()


def test_a_preliminary_comes_before_its_final(sample):
    rows = latest(sample, "P-030").filter(pl.col("loinc") == "751-8").sort("resulted_at")
    assert rows.select("value", "status").rows() == [("0.90", "P"), ("3.9", "F")]


def test_the_teaching_cases_of_rapid_decline_truly_decline(sample):
    true_decline = set(sample.truth.filter("has_true_rapid_decline")["patient_id"])
    said = set(sample_expectations().filter(pl.col("reason").str.contains("(?i)rapid decline"))["patient_id"])
    assert said - {"P-010"} <= true_decline
    assert "P-010" not in true_decline


def test_nothing_in_the_sample_is_after_the_index_time(sample):
    assert sample.labs.select(pl.max_horizontal("collected_at", "resulted_at").max()).item() <= AS_OF.strftime(TIME)


def test_an_entry_of_the_cast_without_a_field_is_refused(monkeypatch):
    """A misspelt entry of cast.toml is an error, not a patient without that entry."""
    usual, cases = cast._file()
    monkeypatch.setattr(cast, "_file", lambda: (usual, {"P-001": {**cases["P-036"], "onsetday": -3.0}}))
    with pytest.raises(TypeError, match="onsetday"):
        cast.teaching_cases.__wrapped__()

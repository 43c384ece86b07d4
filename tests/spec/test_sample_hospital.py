"""The sample hospital: forty teaching patients, read from cast.toml."""

from datetime import UTC, datetime

import polars as pl
import pytest

from neutro_simulator import Hospital, cast, sample_expectations, sample_hospital, sample_readme

AS_OF = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
TIME = "%Y-%m-%dT%H:%M:%S"


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

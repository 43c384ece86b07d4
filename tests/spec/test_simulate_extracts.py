"""What the simulated hospital sends: four laboratories, dirt that leaves the truth alone, rows by the million."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_simulator import Hospital, sample_hospital, simulate_extract, simulate_hospital, simulate_labs_at_scale
from neutro_simulator.dirt import FAULTS
from neutro_simulator.extract import EXTRACT_COLUMNS
from neutro_simulator.laboratories import LAB_COLUMNS

AS_OF = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
TIME = "%Y-%m-%dT%H:%M:%S"


@pytest.fixture(scope="module")
def clean() -> Hospital:
    return simulate_hospital(400, 7, as_of=AS_OF, dirt=0.0)


@pytest.fixture(scope="module")
def dirty() -> Hospital:
    return simulate_hospital(400, 7, as_of=AS_OF, dirt=0.2)


def parts(hospital: Hospital) -> dict[str, pl.DataFrame]:
    return {part.name: getattr(hospital, part.name) for part in fields(hospital)}


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
    labs = simulate_hospital(5, 3, as_of=AS_OF, mix={"congenital": 1.0}, dirt=0.0).labs
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


# ---- as hospitals send it ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    paths = simulate_extract(120_000, 3, tmp_path_factory.mktemp("extract"))
    return {kind: pl.read_csv(path, infer_schema=False) for kind, path in paths.items()}


def test_an_extract_has_the_asked_rows_in_the_order_of_their_results_and_charts_of_the_same_patients(sent):
    labs = sent["labs"]
    assert labs.columns == list(EXTRACT_COLUMNS)
    assert labs.height == 120_000
    resulted = labs["resulted_at"].drop_nulls()
    assert resulted.is_sorted()
    assert labs["resulted_at"].tail(labs["resulted_at"].null_count()).null_count() == labs["resulted_at"].null_count()
    stretches = (labs["patient_id"] != labs["patient_id"].shift()).sum()
    assert stretches > 5 * labs["patient_id"].n_unique(), "rows of a patient lie apart"
    assert set(sent["patients"]["patient_id"]) == set(labs["patient_id"].drop_nulls())
    assert all(sent[kind].height for kind in ("medications", "diagnoses", "events"))


def test_seven_laboratories_of_an_extract_write_each_in_its_own_way(sent):
    ways = sent["labs"].filter(pl.col("specimen_id").str.starts_with("S-"), pl.col("loinc").ne_missing("806-0"))
    assert sorted(ways["lab"].unique()) == list("ABCDEFG")
    white_cells = ways.filter(
        pl.col("analyte_name").is_in(["WBC", "Leukocytes", "Leukozyten", "Leucocytes", "WHITE BLOOD CELL COUNT"])
    )
    assert white_cells.select("lab", "analyte_name", "unit", "specimen_type").drop_nulls("unit").unique().height >= 7
    comma = ways.filter(pl.col("value").str.contains(r"^\d+,\d{1,2}$")).group_by("lab").len()
    assert dict(comma.iter_rows())["E"] > 1_000
    assert ways.filter(pl.col("lab").is_in(["E", "F"]), pl.col("value").str.contains(r"\d\.\d")).is_empty()


def test_an_extract_is_the_same_again_and_has_every_kind_of_dirt(sent, tmp_path):
    again = simulate_extract(120_000, 3, tmp_path)
    assert_frame_equal(pl.read_csv(again["labs"], infer_schema=False), sent["labs"])
    assert_frame_equal(pl.read_csv(again["medications"], infer_schema=False), sent["medications"])
    value, status = sent["labs"]["value"].drop_nulls(), set(sent["labs"]["status"])
    for text in ("<0.1", "TNP", "CLOTTED", "HEMOLYZED", "SEE COMMENT", "PENDING", "NaN", "9999999", "148"):
        assert text in set(value), text
    assert {"F", "C", "P", "X", "W", "I", "entered-in-error"} <= status
    assert sent["labs"].select(pl.col("patient_id", "unit", "collected_at", "resulted_at").null_count()).row(0) > (
        0,
        0,
        0,
        0,
    )

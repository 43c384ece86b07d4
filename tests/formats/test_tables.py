"""What is particular to OMOP, MIMIC, CDISC and Excel."""

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest import Extract, ingest
from neutro_screen.ingest.formats import cdisc
from neutro_screen.ingest.profile import Profile
from tests.formats import hospital_files
from tests.formats.hospital_files import write_text_csv, write_xlsx

MEASUREMENT = (
    "person_id",
    "measurement_concept_id",
    "measurement_date",
    "operator_concept_id",
    "value_as_number",
    "unit_concept_id",
    "unit_source_value",
    "measurement_source_value",
    "value_source_value",
)


def read(path: Path, kind: str = "lab") -> Extract:
    return ingest({kind: [str(path)]})


def omop(tmp_path: Path, *measurements: tuple[str, ...], **tables: list[tuple[str, ...]]) -> Extract:
    write_text_csv(tmp_path / "measurement.csv", [MEASUREMENT, *measurements])
    write_text_csv(tmp_path / "person.csv", [("person_id", "year_of_birth", "month_of_birth"), ("1", "1970", "5")])
    for name, rows in tables.items():
        write_text_csv(tmp_path / f"{name}.csv", rows)
    return read(tmp_path)


def test_omop_values_units_and_codes(tmp_path: Path) -> None:
    labs = omop(
        tmp_path,
        ("1", "3013650", "2026-01-10", "4171756", "0.1", "8848", "ignored", "NEUT", ""),
        ("1", "3013650.0", "2026-01-10", "0", "0.4", "0", "K/uL", "NEUT", "0.4"),
        ("1", "0", "2026-01-10", "", "", "", "K/uL", "WBC", "<0.1"),
        ("1", "0", "2026-01-10", "", "4", "8554", "", "770-8", ""),
        ("1", "0", "2026-01-10", "4172703", "5", "", "K/uL", "WBC", "<5"),
    ).labs
    assert labs["value_text"].to_list() == ["<0.1", "0.4", "<0.1", "4", "<5"]
    assert labs["unit_text"].to_list() == ["10*3/uL", "K/uL", "K/uL", "%", "K/uL"]
    assert labs["local_code"].to_list() == ["3013650", "3013650", "WBC", None, "WBC"]
    assert labs["code_system"].to_list() == ["omop_concept_id", "omop_concept_id", "local_name", None, "local_name"]
    assert labs["loinc"].to_list() == [None, None, None, "770-8", None]


@pytest.mark.parametrize(
    ("death", "died"),
    [
        ([("person_id", "death_date"), ("1", "2026-02-03"), ("2", "2026-01-01")], "2026-02-03"),
        ([("PERSON_ID", "DEATH_DATE", "DEATH_DATETIME"), ("1", "2026-02-03", "2026-02-03 04:00:00")], "2026-02-03"),
        ([("person_id", "death_date")], None),
    ],
)
def test_omop_deaths_stand_in_a_table_of_their_own(
    tmp_path: Path, death: list[tuple[str, ...]], died: str | None
) -> None:
    people = omop(tmp_path, death=death).patients
    (found,) = people["death_date"].to_list()
    assert (None if found is None else str(found)) == died


def test_omop_concepts_drugs_and_conditions(tmp_path: Path) -> None:
    concept = [
        ("concept_id", "concept_name", "vocabulary_id", "concept_code"),
        ("1", "clozapine", "RxNorm", "2626"),
        ("2", "Agranulocytosis", "ICD10CM", "D70.9"),
        ("3", "Agranulocytosis", "SNOMED", "17182001"),
        ("4", "thou", "UCUM", "10*3/uL"),
        ("5", "Neutrophils", "LOINC", "751-8"),
        ("0", "No matching concept", "None", "No matching concept"),
    ]
    extract = omop(
        tmp_path,
        ("1", "5", "2026-01-10", "", "0.4", "4", "giga", "x", ""),
        concept=concept,
        drug_exposure=[
            ("person_id", "drug_concept_id", "drug_exposure_start_date", "drug_exposure_end_date", "drug_source_value"),
            ("1", "1", "2026-01-01", "2026-02-01", "CLOZ"),
            ("1", "0", "2026-01-01", "", "metamizole"),
        ],
        condition_occurrence=[
            (
                "person_id",
                "condition_concept_id",
                "condition_source_concept_id",
                "condition_source_value",
                "condition_start_date",
            ),
            ("1", "3", "2", "D70.9", "2026-01-01"),
            ("1", "0", "0", "C91.0", "2026-01-02"),
        ],
    )
    assert extract.labs.select("loinc", "analyte_name", "unit_text", "local_code").row(0) == (
        "751-8",
        "Neutrophils",
        "10*3/uL",
        None,
    )
    assert extract.medications.select("drug_name", "rxcui").rows() == [("clozapine", "2626"), ("metamizole", None)]
    assert sorted(extract.diagnoses.select("code", "system").rows()) == [
        ("17182001", "snomed"),
        ("C910", "icd10"),
        ("D709", "icd10"),
    ]
    assert str(extract.patients["birth_date"][0]) == "1970-05-01"
    assert all("no_concept_table" not in file.notes for file in extract.files)


def test_omop_without_its_columns(tmp_path: Path) -> None:
    write_text_csv(tmp_path / "measurement.csv", [("person_id", "measurement_date"), ("1", "2026-01-10")])
    write_text_csv(tmp_path / "person.csv", [("person_id", "year_of_birth"), ("1", "1970")])
    with pytest.raises(RefusedInputError, match="columns of OMOP missing: measurement_concept_id"):
        read(tmp_path)


def test_a_duckdb_file_that_is_no_cdm(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        database.execute("CREATE TABLE other AS SELECT 1 AS a")
    with pytest.raises(UnreadableInputError, match="the table measurement is missing"):
        read(tmp_path / "x.duckdb")


def test_a_view_in_a_duckdb_file_reads_no_other_file(tmp_path: Path) -> None:
    secret = write_text_csv(
        tmp_path / "secret.csv", [("person_id", "measurement_concept_id", "measurement_date"), ("1", "1", "2026-01-01")]
    )
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        database.execute(f"CREATE VIEW measurement AS SELECT * FROM read_csv('{secret}')")
    with pytest.raises(UnreadableInputError, match="is not a readable DuckDB database"):
        read(tmp_path / "x.duckdb")


def test_mimic_four(tmp_path: Path) -> None:
    header = (
        "labevent_id",
        "subject_id",
        "specimen_id",
        "itemid",
        "charttime",
        "storetime",
        "value",
        "valuenum",
        "valueuom",
        "ref_range_lower",
        "ref_range_upper",
        "flag",
        "comments",
    )
    rows = [
        (
            "1",
            "10",
            "77",
            "52075",
            "2150-01-01 08:00:00",
            "2150-01-01 09:00:00",
            "___",
            "0.4",
            "K/uL",
            "1.6",
            "6.1",
            "abnormal",
            "clumped",
        ),
        ("2", "10", "77", "51301", "2150-01-01 08:00:00", "2150-01-01 09:00:00", "", "", "K/uL", "", "", "", ""),
    ]
    write_text_csv(tmp_path / "labevents.csv", [header, *rows])
    write_text_csv(
        tmp_path / "d_labitems.csv",
        [("itemid", "label", "fluid", "category"), ("52075", "Absolute Neutrophil Count", "Blood", "Hematology")],
    )
    write_text_csv(
        tmp_path / "patients.csv",
        [("subject_id", "gender", "anchor_age", "anchor_year", "dod"), ("10", "F", "52", "2148", "")],
    )
    write_text_csv(
        tmp_path / "diagnoses_icd.csv",
        [
            ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"),
            ("10", "5", "1", "D709", "10"),
            ("10", "5", "2", "28803", "9"),
        ],
    )
    write_text_csv(
        tmp_path / "prescriptions.csv",
        [
            ("subject_id", "starttime", "stoptime", "drug", "dose_val_rx", "dose_unit_rx", "route"),
            ("10", "2150-01-01 10:00:00", "2150-01-03 10:00:00", "Cefepime", "2", "g", "IV"),
        ],
    )
    extract = read(tmp_path)
    first, second = extract.labs.iter_rows(named=True)
    assert (first["value_text"], first["specimen_id"], first["comment"], first["lab"]) == (
        "0.4",
        "77",
        "clumped",
        "MIMIC-IV",
    )
    assert (first["reference_low_text"], str(first["resulted_at"])) == ("1.6", "2150-01-01 09:00:00")
    assert (second["value_text"], second["analyte_name"]) == (None, None)
    assert str(extract.patients["birth_date"][0]) == "2096-01-01"
    assert extract.diagnoses.select("code", "system").rows() == [("D709", "icd10"), ("28803", "icd9")]
    assert extract.medications.select("drug_name", "route").rows() == [("Cefepime", "IV")]


def dataset(tmp_path: Path, name: str, columns: list[str], *rows: list[Any]) -> Path:
    document = {
        "datasetJSONVersion": "1.1.0",
        "name": name,
        "columns": [{"name": column} for column in columns],
        "rows": rows,
    }
    path = tmp_path / f"{name.lower()}.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_sdtm_laboratory(tmp_path: Path) -> None:
    columns = [
        "USUBJID",
        "LBTESTCD",
        "LBTEST",
        "LBORRES",
        "LBORRESU",
        "LBSTRESC",
        "LBSTRESN",
        "LBSTRESU",
        "LBSTAT",
        "LBREASND",
        "LBSPEC",
        "LBSPCCND",
        "LBDTC",
    ]
    labs = read(
        dataset(
            tmp_path,
            "LB",
            columns,
            [
                "01-001",
                "NEUT",
                "Neutrophils",
                "400",
                "/uL",
                "0.4",
                0.4,
                "10^9/L",
                "",
                "",
                "BLOOD",
                "",
                "2026-01-10T08:00",
            ],
            [
                "01-001",
                "NEUT",
                "Neutrophils",
                "",
                "",
                "<0.1",
                None,
                "10^9/L",
                "",
                "",
                "BLOOD",
                "HEMOLYZED",
                "2026-01-11",
            ],
            ["01-001", "NEUT", "Neutrophils", "", "", "", None, "", "NOT DONE", "clotted", "BLOOD", "", "2026-01"],
            ["too", "short"],
        )
    )
    assert labs.labs.select("value_text", "unit_text", "local_code", "code_system").rows() == [
        ("400", "/uL", "neut", "cdisc_lbtestcd"),
        ("<0.1", "10^9/L", "neut", "cdisc_lbtestcd"),
        ("NOT DONE", None, "neut", "cdisc_lbtestcd"),
    ]
    assert labs.labs["comment"].to_list() == [None, "HEMOLYZED", "clotted"]
    assert labs.labs["has_unreadable_time"].to_list() == [False, False, True]
    assert [(line.source_row, line.reason) for line in labs.refused["lab"]] == [(4, "ragged_line")]


def test_sdtm_medication(tmp_path: Path) -> None:
    columns = ["USUBJID", "CMTRT", "CMDECOD", "CMSTDTC", "CMENDTC", "CMOCCUR", "CMSTAT", "CMDOSE"]
    rows = read(
        dataset(
            tmp_path,
            "CM",
            columns,
            ["1", "Novalgin", "METAMIZOLE", "2026-03", "2026", "", "", 500.0],
            ["1", "x", "", "2026-03-01", "", "N", "", None],
            ["1", "y", "", "2026-03-01", "", "", "NOT DONE", None],
        ),
        "medication",
    ).medications
    assert rows["drug_name"].to_list() == ["METAMIZOLE", "x", "y"]
    assert [str(rows[name][0]) for name in ("start_date", "start_date_latest", "end_date")] == [
        "2026-03-01",
        "2026-03-31",
        "2026-12-31",
    ]
    assert rows["status"].to_list() == [None, "not taken", "not done"]
    assert rows["dose"].to_list() == ["500", None, None]


def test_sdtm_of_another_domain(tmp_path: Path) -> None:
    with pytest.raises(RefusedInputError, match="none of the SDTM domains"):
        read(dataset(tmp_path, "VS", ["USUBJID", "VSTESTCD"], ["1", "TEMP"]))
    with pytest.raises(UnreadableInputError, match="not readable Dataset-JSON"):
        path = tmp_path / "lb.json"
        path.write_text('{"datasetJSONVersion": "1.1.0", "columns": 3}')
        read(path)


def test_excel_merged_identifiers_and_empty_ones(tmp_path: Path) -> None:
    rows = [
        ("Ward list",),
        ("patient_id", "collected_at", "analyte_name", "value", "unit"),
        (42, "2026-01-10", "WBC", 2.5, "K/uL"),
        (None, "2026-01-10", "ANC", 0.25, "K/uL"),
        (),
        (None, "2026-01-11", "ANC", "<0.1", "K/uL"),
    ]
    path = tmp_path / "ward.xlsx"
    write_xlsx(path, rows, merges=["A3:A4"])
    labs = read(path).labs
    # Only what is merged is filled down: an empty cell may belong to another patient.
    assert labs.select("source_row", "patient_id", "value_text").rows() == [
        (3, "42", "2.5"),
        (4, "42", "0.25"),
        (6, None, "<0.1"),
    ]


def test_excel_without_a_header(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "x.xlsx", [("a", "b"), ("1", "2")])
    with pytest.raises(RefusedInputError, match="none of the expected columns is in any sheet"):
        read(tmp_path / "x.xlsx")


def test_parquet_types_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "patient_id": [7],
            "value": [0.4],
            "unit": ["K/uL"],
            "loinc": ["751-8"],
            "collected_at": ["2026-01-10T08:00:00"],
        }
    )
    frame.with_columns(pl.col("collected_at").str.to_datetime(time_zone="UTC")).write_parquet(tmp_path / "x.parquet")
    row = read(tmp_path / "x.parquet").labs.row(0, named=True)
    assert (row["patient_id"], row["value_text"], str(row["collected_at"])) == ("7", "0.4", "2026-01-10 08:00:00")


def test_a_merge_in_the_native_layout(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("patient_id,replaced_by\n0007, 0042\n0042,\n0043,0043\n")
    patients = ingest({"patient": [str(path)]}).patients
    assert patients.select("patient_id", "replaced_by").rows() == [("0007", "0042"), ("0042", None), ("0043", "0043")]


def test_datasets_in_many_batches_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = hospital_files.hospital(finals_only=True)
    for name, write in {"xpt": hospital_files.write_xpt, "json": hospital_files.write_dataset_json}.items():
        (tmp_path / name).mkdir()
        paths = write(of, tmp_path / name)["lab"]
        whole = ingest({"lab": paths})
        with monkeypatch.context() as patch:
            patch.setattr(cdisc, "ROWS_A_BATCH", 100)
            patch.setattr(cdisc, "_BLOCK_BYTES", 15_000)
            assert sum(1 for _ in cdisc.read_cdisc(Path(paths[0]), "lab", Profile())) > 8
            batches = ingest({"lab": paths})
        assert_frame_equal(batches.labs, whole.labs)
        assert [file.rows for file in batches.files] == [file.rows for file in whole.files]


def test_a_database_whose_concept_ids_are_decimals(tmp_path: Path) -> None:
    path = tmp_path / "cdm.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE person AS SELECT 1 AS person_id, 1970 AS year_of_birth")
        database.execute(
            "CREATE TABLE measurement AS SELECT 1 AS person_id, 3000905.0::DOUBLE AS measurement_concept_id, "
            "DATE '2026-01-10' AS measurement_date, 4.5 AS value_as_number"
        )
        database.execute(
            "CREATE TABLE concept AS SELECT unnest([3000905, 7]) AS concept_id, 'Leukocytes' AS concept_name, "
            "'LOINC' AS vocabulary_id, unnest(['6690-2', '0-0']) AS concept_code"
        )
    labs = read(path).labs
    assert labs.select("loinc", "analyte_name", "value_text").rows() == [("6690-2", "Leukocytes", "4.5")]

"""The hospital as tables of research data models: MIMIC-IV, OMOP and CDISC."""

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from neutro_simulator.formats.native import Paths, beside, events_beside
from neutro_simulator.hospital import Hospital


def write_mimic4(of: Hospital, folder: Path) -> Paths:
    """The module hosp of MIMIC-IV, as CSV."""
    hosp = folder / "hosp"
    hosp.mkdir()
    items = of.labs.select("loinc", "analyte_name").unique(maintain_order=True).with_row_index("itemid", 990_000)
    labs = of.labs.join(items, on=["loinc", "analyte_name"], how="left", nulls_equal=True, maintain_order="left")
    labs.select(
        pl.int_range(pl.len()).alias("labevent_id"),
        subject_id="patient_id",
        specimen_id="specimen_id",
        itemid="itemid",
        charttime=pl.col("collected_at").str.replace("T", " "),
        storetime=pl.col("resulted_at").str.replace("T", " "),
        value=pl.when(pl.int_range(pl.len()) % 7 != 0)
        .then("value")
        .otherwise(pl.when(pl.col("value").str.contains(r"^[\d.]+$")).then(pl.lit("___")).otherwise("value")),
        valuenum=pl.col("value").str.extract(r"^([\d.]+)$"),
        valueuom="unit",
        ref_range_lower="reference_low",
        ref_range_upper="reference_high",
        flag=pl.lit(None, pl.String),
        comments=pl.lit(None, pl.String),
    ).write_csv(hosp / "labevents.csv")
    items.select(
        "itemid", label="analyte_name", fluid=pl.lit("Blood"), category=pl.lit("Hematology"), loinc_code="loinc"
    ).write_csv(hosp / "d_labitems.csv")
    of.medications.select(
        subject_id="patient_id",
        drug="drug_name",
        starttime="start_date",
        stoptime="end_date",
        route="route",
        dose_val_rx="dose",
        dose_unit_rx=pl.lit(None, pl.String),
    ).write_csv(hosp / "prescriptions.csv")
    of.patients.select(
        subject_id="patient_id",
        gender="sex",
        anchor_age=pl.lit(30),
        anchor_year=pl.col("birth_date").str.slice(0, 4).cast(pl.Int32) + 30,
    ).write_csv(hosp / "patients.csv")
    of.diagnoses.select(
        subject_id="patient_id", hadm_id=pl.int_range(pl.len()), icd_code="code", icd_version=pl.lit("10")
    ).write_csv(hosp / "diagnoses_icd.csv")
    of.diagnoses.select(hadm_id=pl.int_range(pl.len()), dischtime="date").write_csv(hosp / "admissions.csv")
    return {"lab": [str(hosp)], "event": events_beside(of, folder)}


def omop_tables(of: Hospital) -> dict[str, pl.DataFrame]:
    """The tables of the CDM by name; tests without a LOINC code have concept 0 and the source's name."""
    names = of.labs.select("loinc", "analyte_name").unique(maintain_order=True).filter(pl.col("loinc").is_not_null())
    concepts = names.unique("loinc", maintain_order=True).with_row_index("concept_id", 1_000_000)
    labs = of.labs.join(concepts.select("concept_id", "loinc"), on="loinc", how="left", maintain_order="left")
    number = pl.col("value").str.extract(r"^<?([\d.]+)$")
    people = of.patients.with_columns(pl.col("birth_date").str.split("-").alias("born"))
    return {
        "measurement": labs.select(
            person_id="patient_id",
            measurement_concept_id=pl.col("concept_id").fill_null(0),
            measurement_date=pl.col("collected_at").str.slice(0, 10),
            measurement_datetime=pl.col("collected_at").str.replace("T", " "),
            operator_concept_id=pl.when(pl.col("value").str.starts_with("<")).then(4171756).otherwise(4172703),
            value_as_number=number.cast(pl.Float64),
            unit_concept_id=pl.lit(0),
            unit_source_value="unit",
            range_low=pl.col("reference_low").cast(pl.Float64),
            range_high=pl.col("reference_high").cast(pl.Float64),
            measurement_source_value="analyte_name",
            value_source_value="value",
        ),
        "drug_exposure": of.medications.select(
            person_id="patient_id",
            drug_concept_id=pl.lit(0),
            drug_exposure_start_date="start_date",
            drug_exposure_end_date="end_date",
            drug_source_value="drug_name",
            route_source_value="route",
        ),
        "person": people.select(
            person_id="patient_id",
            gender_concept_id=pl.when(pl.col("sex") == "M").then(8507).otherwise(8532),
            year_of_birth=pl.col("born").list.get(0).cast(pl.Int64),
            month_of_birth=pl.col("born").list.get(1).cast(pl.Int64),
            day_of_birth=pl.col("born").list.get(2).cast(pl.Int64),
        ),
        "condition_occurrence": of.diagnoses.select(
            person_id="patient_id",
            condition_concept_id=pl.lit(0),
            condition_start_date="date",
            condition_source_value="code",
        ),
        "concept": concepts.select(
            "concept_id", concept_name="analyte_name", vocabulary_id=pl.lit("LOINC"), concept_code="loinc"
        ),
    }


def write_omop_folder(of: Hospital, folder: Path) -> Paths:
    """A folder of CSV files with capital names and of Parquet files."""
    cdm = folder / "cdm"
    cdm.mkdir()
    for name, table in omop_tables(of).items():
        if name in ("measurement", "concept"):
            table.write_parquet(cdm / f"{name}.parquet")
        else:
            table.rename(str.upper).write_csv(cdm / f"{name.upper()}.csv")
    return {"lab": [str(cdm)], "event": events_beside(of, folder)}


def write_omop_database(of: Hospital, folder: Path) -> Paths:
    """A DuckDB file with the tables in a schema of their own."""
    path = folder / "cdm.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE SCHEMA cdm")
        for name, table in omop_tables(of).items():
            database.register("rows", table)
            database.execute(f"CREATE TABLE cdm.cdm.{name} AS SELECT * FROM rows")
    return {"lab": [str(path)], "event": events_beside(of, folder)}


def sdtm_tables(of: Hospital) -> dict[str, pl.DataFrame]:
    """The domains LB, CM and DM."""
    return {
        "LB": of.labs.select(
            DOMAIN=pl.lit("LB"),
            USUBJID="patient_id",
            LBTESTCD=pl.lit("LOCAL"),
            LBTEST="analyte_name",
            LBORRES="value",
            LBORRESU="unit",
            LBORNRLO="reference_low",
            LBORNRHI="reference_high",
            LBLOINC="loinc",
            LBREFID="specimen_id",
            LBNAM="lab",
            LBDTC="collected_at",
        ),
        "CM": of.medications.select(
            DOMAIN=pl.lit("CM"),
            USUBJID="patient_id",
            CMTRT="drug_name",
            CMCLASCD="atc_code",
            CMSTDTC="start_date",
            CMENDTC="end_date",
            CMROUTE="route",
        ),
        "DM": of.patients.select(DOMAIN=pl.lit("DM"), USUBJID="patient_id", BRTHDTC="birth_date", SEX="sex"),
    }


def write_xpt(of: Hospital, folder: Path) -> Paths:
    """SAS transport files of version 5; needs pyreadstat."""
    import pyreadstat

    sdtm = folder / "sdtm"
    sdtm.mkdir()
    for name, table in sdtm_tables(of).items():
        pyreadstat.write_xport(
            table.fill_null(""), str(sdtm / f"{name.lower()}.xpt"), table_name=name, file_format_version=5
        )
    return {"lab": [str(sdtm)], **beside(of, folder)}


def write_dataset_json(of: Hospital, folder: Path) -> Paths:
    """LB as NDJSON, the others as documents."""
    sdtm = folder / "sdtm"
    sdtm.mkdir()
    for name, table in sdtm_tables(of).items():
        head: dict[str, Any] = {
            "datasetJSONVersion": "1.1.0",
            "name": name,
            "records": table.height,
            "columns": [
                {"itemOID": f"IT.{column}", "name": column, "label": column, "dataType": "string"}
                for column in table.columns
            ],
        }
        if name == "LB":
            lines = [json.dumps(head), *(json.dumps(row) for row in table.rows())]
            (sdtm / "lb.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
        else:
            (sdtm / f"{name.lower()}.json").write_text(json.dumps(head | {"rows": table.rows()}, indent=1), "utf-8")
    return {"lab": [str(sdtm)], **beside(of, folder)}

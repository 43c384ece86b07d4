"""Writers of the tests: one small hospital, in every input format. Frames are in the native layout, all text."""

import csv
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import duckdb
import polars as pl
import pyreadstat

from neutro_simulator import Hospital, sample_hospital

AS_OF = datetime(2026, 3, 1)
LOINC_URL = "http://loinc.org"


def hospital(*, finals_only: bool = False) -> Hospital:
    """The sample hospital. The one value with a decimal comma is left out: a JSON number has none."""
    whole = sample_hospital(AS_OF)
    labs = whole.labs.filter(pl.col("value") != "0,85")
    if finals_only:
        odd = labs.filter(pl.col("status") != "F").select("patient_id", "specimen_id")
        labs = labs.join(odd, on=["patient_id", "specimen_id"], how="anti", maintain_order="left")
        labs = labs.unique(["patient_id", "collected_at", "loinc", "analyte_name"], keep="first", maintain_order=True)
    return replace(whole, labs=labs)


def write_native(of: Hospital, folder: Path) -> dict[str, list[str]]:
    paths = {}
    for kind, frame in _frames(of).items():
        frame.write_csv(folder / f"{kind}.csv")
        paths[kind] = [str(folder / f"{kind}.csv")]
    return paths


def write_parquet(of: Hospital, folder: Path) -> dict[str, list[str]]:
    paths = {}
    for kind, frame in _frames(of).items():
        frame.write_parquet(folder / f"{kind}.parquet")
        paths[kind] = [str(folder / f"{kind}.parquet")]
    return paths


def write_excel(of: Hospital, folder: Path) -> dict[str, list[str]]:
    """Two title lines, a header, and every run of a patient's rows under one merged identifier."""
    paths = {}
    for kind, frame in _frames(of).items():
        rows: list[Sequence[Any]] = [("Haematology export",), (), tuple(frame.columns)]
        merges = []
        for _, run in frame.group_by("patient_id", maintain_order=True):
            first = len(rows) + 1
            rows += [(row[0] if position == 0 else None, *row[1:]) for position, row in enumerate(run.iter_rows())]
            if run.height > 1:
                merges.append(f"A{first}:A{len(rows)}")
        write_xlsx(folder / f"{kind}.xlsx", rows, merges)
        paths[kind] = [str(folder / f"{kind}.xlsx")]
    return paths


def write_hl7(of: Hospital, folder: Path) -> dict[str, list[str]]:
    """A batch of ORU, RDE and ADT messages; the comparator of <0.1 goes into an SN value."""
    messages = []
    for (patient, specimen, lab), rows in of.labs.group_by("patient_id", "specimen_id", "lab", maintain_order=True):
        segments = [
            f"MSH|^~\\&|LIS|{lab}|||20260301||ORU^R01|{len(messages)}|P|2.5.1",
            f"PID|1||{patient}^^^H^MR",
            f"OBR|1||{specimen}|58410-2^CBC^LN",
        ]
        for position, row in enumerate(rows.iter_rows(named=True), start=1):
            is_below = row["value"].startswith("<")
            code = f"{row['loinc']}^{row['analyte_name']}^LN" if row["loinc"] else f"^{row['analyte_name']}"
            interval = (
                f"{row['reference_low']}-{row['reference_high']}"
                if row["reference_low"] and row["reference_high"]
                else (f">={row['reference_low']}" if row["reference_low"] else "")
            )
            fields = [
                "OBX",
                str(position),
                "SN" if is_below else "NM",
                code,
                "",
                f"<^{row['value'][1:]}" if is_below else row["value"],
                (row["unit"] or "").replace("^", "\\S\\"),
                interval,
                "",
                "",
                "",
                row["status"],
                "",
                "",
                _hl7_time(row["collected_at"]),
                "",
                "",
                "",
                "",
                _hl7_time(row["resulted_at"]),
            ]
            segments.append("|".join(fields))
        messages.append("\r".join(segments) + "\r")
    for row in of.medications.iter_rows(named=True):
        messages.append(
            f"MSH|^~\\&|PHARM|H|||20260301||RDE^O11|{len(messages)}|P|2.5.1\rPID|1||{row['patient_id']}^^^H^MR\rORC|NW\r"
            f"TQ1|1||||||{_hl7_time(row['start_date'])}|{_hl7_time(row['end_date'])}\r"
            f"RXE||{row['atc_code'] or ''}^{row['drug_name']}^{'ATC' if row['atc_code'] else 'L'}\r"
            f"RXR|^{row['route'] or ''}\r"
        )
    coded = {key: list(rows.iter_rows(named=True)) for (key,), rows in of.diagnoses.group_by("patient_id")}
    for row in of.patients.iter_rows(named=True):
        message = (
            f"MSH|^~\\&|ADT|H|||20260301||ADT^A08|{len(messages)}|P|2.5.1\r"
            f"PID|1||{row['patient_id']}^^^H^MR||||{_hl7_time(row['birth_date'])}|{row['sex']}\r"
        )
        for diagnosis in coded.get(row["patient_id"], ()):
            message += f"DG1|1||{diagnosis['code']}^^I10||{_hl7_time(diagnosis['date'])}\r"
        messages.append(message)
    batch = f"FHS|^~\\&\rBHS|^~\\&\r{''.join(messages)}BTS|{len(messages)}\rFTS|1\r"
    (folder / "night.hl7").write_text(batch, encoding="utf-8", newline="")
    return {"lab": [str(folder / "night.hl7")], "event": _native_events(of, folder)}


def write_fhir(of: Hospital, folder: Path) -> dict[str, list[str]]:
    """Bulk NDJSON; half of the drugs are Medication resources that the requests refer to."""
    export = folder / "export"
    export.mkdir()
    observations = []
    for row in of.labs.iter_rows(named=True):
        number = row["value"].lstrip("<")
        observation: dict[str, Any] = {
            "resourceType": "Observation",
            "status": {"F": "final", "C": "corrected", "P": "preliminary"}[row["status"]],
            "code": {
                "text": row["analyte_name"],
                "coding": [{"system": LOINC_URL, "code": row["loinc"]}] if row["loinc"] else [],
            },
            "subject": {"reference": f"Patient/{row['patient_id']}"},
            "specimen": {"reference": f"Specimen/{row['specimen_id']}"},
            "effectiveDateTime": f"{row['collected_at']}Z",
            "issued": f"{row['resulted_at']}+00:00",
            "performer": [{"display": row["lab"]}],
            "referenceRange": [
                {end: {"value": float(row[f"reference_{end}"])} for end in ("low", "high") if row[f"reference_{end}"]}
            ],
        }
        if number.replace(".", "", 1).isdigit():
            observation["valueQuantity"] = {
                "value": float(number),
                "unit": row["unit"],
                **({"comparator": "<"} if row["value"] != number else {}),
            }
        else:
            observation["valueString"] = row["value"]
        observations.append(observation)
    requests, medications = [], []
    for position, row in enumerate(of.medications.iter_rows(named=True)):
        coding = [{"system": "http://www.whocc.no/atc", "code": row["atc_code"]}] if row["atc_code"] else []
        concept = {"text": row["drug_name"], "coding": coding}
        bounds = {"start": row["start_date"], **({"end": row["end_date"]} if row["end_date"] else {})}
        drug = {"medicationCodeableConcept": concept}
        if position % 2:
            medications.append({"resourceType": "Medication", "id": f"m{position}", "code": concept})
            drug = {"medicationReference": {"reference": f"Medication/m{position}", "display": "prescribed medication"}}
        requests.append(
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                **drug,
                "subject": {"reference": f"Patient/{row['patient_id']}"},
                "dosageInstruction": [
                    {"route": {"text": row["route"]}, "timing": {"repeat": {"boundsPeriod": bounds}}}
                ],
            }
        )
    patients = [
        {
            "resourceType": "Patient",
            "id": row["patient_id"],
            "birthDate": row["birth_date"],
            "gender": {"M": "male", "F": "female"}[row["sex"]],
        }
        for row in of.patients.iter_rows(named=True)
    ]
    conditions = [
        {
            "resourceType": "Condition",
            "subject": {"reference": f"urn:uuid:{row['patient_id']}"},
            "onsetDateTime": row["date"],
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": row["code"]}]},
        }
        for row in of.diagnoses.iter_rows(named=True)
    ]
    for resources in (observations, requests, medications, patients, conditions):
        name = resources[0]["resourceType"]
        (export / f"{name}.ndjson").write_text("".join(json.dumps(resource) + "\n" for resource in resources), "utf-8")
    return {"lab": [str(export)], "event": _native_events(of, folder)}


def write_mimic4(of: Hospital, folder: Path) -> dict[str, list[str]]:
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
    return {"lab": [str(hosp)], "event": _native_events(of, folder)}


def omop_tables(of: Hospital) -> dict[str, pl.DataFrame]:
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


def write_omop_folder(of: Hospital, folder: Path) -> dict[str, list[str]]:
    cdm = folder / "cdm"
    cdm.mkdir()
    for name, table in omop_tables(of).items():
        if name in ("measurement", "concept"):
            table.write_parquet(cdm / f"{name}.parquet")
        else:
            table.rename(str.upper).write_csv(cdm / f"{name.upper()}.csv")
    return {"lab": [str(cdm)], "event": _native_events(of, folder)}


def write_omop_database(of: Hospital, folder: Path) -> dict[str, list[str]]:
    path = folder / "cdm.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE SCHEMA cdm")
        for name, table in omop_tables(of).items():
            database.register("rows", table)
            database.execute(f"CREATE TABLE cdm.cdm.{name} AS SELECT * FROM rows")
    return {"lab": [str(path)], "event": _native_events(of, folder)}


def sdtm_tables(of: Hospital) -> dict[str, pl.DataFrame]:
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


def write_xpt(of: Hospital, folder: Path) -> dict[str, list[str]]:
    sdtm = folder / "sdtm"
    sdtm.mkdir()
    for name, table in sdtm_tables(of).items():
        pyreadstat.write_xport(
            table.fill_null(""), str(sdtm / f"{name.lower()}.xpt"), table_name=name, file_format_version=5
        )
    return {"lab": [str(sdtm)], **_beside(of, folder)}


def write_dataset_json(of: Hospital, folder: Path) -> dict[str, list[str]]:
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
    return {"lab": [str(sdtm)], **_beside(of, folder)}


def write_xlsx(path: Path, rows: Iterable[Sequence[Any]], merges: Sequence[str] = (), sheet: str = "Labs") -> None:
    """A workbook of one sheet; numbers as numbers, times as ISO dates, everything else as text."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for position, value in enumerate(row):
            reference = f"{chr(ord('A') + position)}{number}"
            if isinstance(value, datetime):
                cells.append(f'<c r="{reference}" t="d"><v>{value.isoformat()}</v></c>')
            elif isinstance(value, int | float):
                cells.append(f'<c r="{reference}"><v>{value}</v></c>')
            elif value is not None:
                cells.append(f'<c r="{reference}" t="inlineStr"><is><t>{escape(value)}</t></is></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    merged = "".join(f'<mergeCell ref="{merge}"/>' for merge in merges)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            (
                f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
                f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
                f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
                f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/></Types>'
            ),
        )
        archive.writestr(
            "_rels/.rels",
            (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
                f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
            ),
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
                f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
            ),
        )
        archive.writestr(
            "xl/workbook.xml",
            (
                f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
                f'<sheet name="{sheet}" sheetId="1" r:id="rId1"/></sheets></workbook>'
            ),
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            (
                f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData>'
                + (f'<mergeCells count="{len(merges)}">{merged}</mergeCells>' if merges else "")
                + "</worksheet>"
            ),
        )


def write_text_csv(path: Path, rows: Iterable[Sequence[str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def _frames(of: Hospital) -> dict[str, pl.DataFrame]:
    return {
        "lab": of.labs,
        "medication": of.medications,
        "patient": of.patients,
        "diagnosis": of.diagnoses,
        "event": of.events,
    }


def _native_events(of: Hospital, folder: Path) -> list[str]:
    of.events.write_csv(folder / "events.csv")
    return [str(folder / "events.csv")]


def _beside(of: Hospital, folder: Path) -> dict[str, list[str]]:
    """Diagnoses and events, which a format of its own does not have."""
    of.diagnoses.write_csv(folder / "diagnoses.csv")
    return {"diagnosis": [str(folder / "diagnoses.csv")], "event": _native_events(of, folder)}


def _hl7_time(text: str | None) -> str:
    return "" if text is None else text.replace("-", "").replace(":", "").replace("T", "")

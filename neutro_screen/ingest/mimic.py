"""The MIMIC-III folder: LABEVENTS, D_LABITEMS, PRESCRIPTIONS, PATIENTS, DIAGNOSES_ICD, ADMISSIONS.

Percent items of D_LABITEMS carry the LOINC codes of absolute counts; so an item is known by its itemid, and its LOINC
is kept only as sent. There are no specimen ids and no statuses: corrections were resolved or lost upstream.
"""

from pathlib import Path

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.delimited import read_columns
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.tabular import Table

_LABS = "LABEVENTS"


def recognises(folder: Path) -> bool:
    """A folder with LABEVENTS and D_LABITEMS, as CSV or CSV.gz."""
    return folder.is_dir() and all(_find(folder, name) is not None for name in (_LABS, "D_LABITEMS"))


def read_mimic(folder: Path, kind: Kind, profile: Profile) -> dict[Kind, Table]:
    """Read the folder in the native layout; with ``lab`` it brings every kind that is there, else the one asked for.

    Raises:
        UnreadableInputError: LABEVENTS or D_LABITEMS is missing or unreadable.
        RefusedInputError: a file lacks the columns of MIMIC-III.
    """
    tables: dict[Kind, Table] = {}
    if kind == "lab":
        tables["lab"] = _labs(folder)
    if kind in ("lab", "medication") and (path := _find(folder, "PRESCRIPTIONS")):
        tables["medication"] = _prescriptions(path)
    if kind in ("lab", "patient") and (path := _find(folder, "PATIENTS")):
        tables["patient"] = _select(
            _read(path, "subject_id", "dob", "gender"),
            patient_id="subject_id",
            birth_date="dob",
            sex="gender",
        )
    if kind in ("lab", "diagnosis") and (path := _find(folder, "DIAGNOSES_ICD")):
        tables["diagnosis"] = _diagnoses(path, _find(folder, "ADMISSIONS"))
    return tables


def _labs(folder: Path) -> Table:
    events = _read(_found(folder, _LABS), "subject_id", "itemid", "charttime", "value", "valueuom")
    items = _read(_found(folder, "D_LABITEMS"), "itemid", "label", "fluid", "loinc_code").rows
    joined = events.rows.join(items.drop("source_row"), on="itemid", how="left", maintain_order="left")
    return _select(
        events._replace(rows=joined),
        patient_id="subject_id",
        collected_at="charttime",
        loinc="loinc_code",
        analyte_name="label",
        local_code="itemid",
        value="value",
        unit="valueuom",
        specimen_type="fluid",
        constants={"code_system": "mimic_itemid", "lab": "MIMIC-III"},
    )


def _prescriptions(path: Path) -> Table:
    orders = _read(
        path, "subject_id", "startdate", "enddate", "drug", "drug_name_generic", "dose_val_rx",
        "dose_unit_rx", "route",
    )  # fmt: skip
    return _select(
        orders,
        patient_id="subject_id",
        drug_name="drug",
        start_date="startdate",
        end_date="enddate",
        dose="dose_val_rx",
        dose_unit="dose_unit_rx",
        route="route",
    )


def _diagnoses(path: Path, admissions: Path | None) -> Table:
    coded = _read(path, "subject_id", "hadm_id", "icd9_code")
    rows = coded.rows.with_columns(date=pl.lit(None, pl.String))
    if admissions is not None:
        discharged = _read(admissions, "hadm_id", "dischtime").rows.select("hadm_id", date="dischtime")
        rows = coded.rows.join(discharged, on="hadm_id", how="left", maintain_order="left")
    return _select(
        coded._replace(rows=rows), patient_id="subject_id", code="icd9_code", date="date", constants={"system": "icd9"}
    )


def _read(path: Path, *columns: str) -> Table:
    table = read_columns(path, set(columns))
    if missing := [column for column in columns if column not in table.rows.columns]:
        raise RefusedInputError(f"columns of MIMIC-III missing: {', '.join(missing)}", where=path.name)
    return table


def _select(table: Table, *, constants: dict[str, str] | None = None, **columns: str) -> Table:
    rows = table.rows.select(
        *(pl.col(name).alias(column) for column, name in columns.items()),
        *(pl.lit(value).alias(column) for column, value in (constants or {}).items()),
        "source_row",
    )
    return table._replace(rows=rows)


def _found(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise UnreadableInputError(f"{name}.csv is missing", where=folder.name)
    return path


def _find(folder: Path, name: str) -> Path | None:
    return next((path for suffix in (".csv", ".csv.gz") if (path := folder / f"{name}{suffix}").is_file()), None)

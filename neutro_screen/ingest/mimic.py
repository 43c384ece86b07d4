"""The MIMIC-III folder and the hosp folder of MIMIC-IV: labevents, d_labitems, prescriptions, patients, diagnoses_icd.

Percent items of MIMIC-III's D_LABITEMS carry the LOINC codes of absolute counts; so an item is known by its itemid, and
its LOINC is kept only as sent. There are no statuses: corrections were resolved or lost upstream. MIMIC-III has no
specimen ids.
"""

from pathlib import Path

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.delimited import read_columns
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.tabular import Table

_SUFFIXES = (".csv", ".csv.gz")
#: What MIMIC-IV writes where text was removed; the number beside it may still be there.
_REMOVED = "___"


def recognises(folder: Path) -> bool:
    """A folder with labevents and d_labitems, as CSV or CSV.gz, in either spelling."""
    return folder.is_dir() and all(_find(folder, name) is not None for name in ("labevents", "d_labitems"))


def read_mimic(folder: Path, kind: Kind, profile: Profile) -> dict[Kind, Table]:
    """Read the folder in the native layout; with ``lab`` it brings every kind that is there, else the one asked for.

    Raises:
        UnreadableInputError: labevents or d_labitems is missing or unreadable.
        RefusedInputError: a file lacks the columns of MIMIC.
    """
    tables: dict[Kind, Table] = {}
    if kind == "lab":
        tables["lab"] = _labs(folder)
    if kind in ("lab", "medication") and (path := _find(folder, "prescriptions")):
        tables["medication"] = _prescriptions(path)
    if kind in ("lab", "patient") and (path := _find(folder, "patients")):
        tables["patient"] = _patients(path)
    if kind in ("lab", "diagnosis") and (path := _find(folder, "diagnoses_icd")):
        tables["diagnosis"] = _diagnoses(path, _find(folder, "admissions"))
    if not tables:
        raise UnreadableInputError(f"holds no {kind} file of MIMIC", where=folder.name)
    return tables


def _labs(folder: Path) -> Table:
    events = _read(
        _found(folder, "labevents"),
        ("subject_id", "itemid", "charttime", "value", "valueuom"),
        ("specimen_id", "storetime", "valuenum", "ref_range_lower", "ref_range_upper", "comments"),
    )
    items = _read(_found(folder, "d_labitems"), ("itemid", "label", "fluid"), ("loinc_code",)).rows
    named = items.drop("source_row").unique("itemid", keep="first", maintain_order=True)
    rows = events.rows.join(named, on="itemid", how="left", maintain_order="left")
    is_fourth = rows["specimen_id"].is_not_null().any()
    is_removed = pl.col("value").is_null() | (pl.col("value").str.strip_chars() == _REMOVED)
    rows = rows.with_columns(value=pl.when(is_removed).then(pl.coalesce("valuenum", "value")).otherwise("value"))
    return _select(
        events._replace(rows=rows),
        patient_id="subject_id",
        specimen_id="specimen_id",
        collected_at="charttime",
        resulted_at="storetime",
        loinc="loinc_code",
        analyte_name="label",
        local_code="itemid",
        value="value",
        unit="valueuom",
        reference_low="ref_range_lower",
        reference_high="ref_range_upper",
        specimen_type="fluid",
        comment="comments",
        constants={"code_system": "mimic_itemid", "lab": "MIMIC-IV" if is_fourth else "MIMIC-III"},
    )


def _prescriptions(path: Path) -> Table:
    orders = _read(
        path,
        ("subject_id", "drug", "dose_val_rx", "dose_unit_rx", "route"),
        ("startdate", "enddate", "starttime", "stoptime"),
    )
    rows = orders.rows.with_columns(start=pl.coalesce("starttime", "startdate"), end=pl.coalesce("stoptime", "enddate"))
    return _select(
        orders._replace(rows=rows),
        patient_id="subject_id",
        drug_name="drug",
        start_date="start",
        end_date="end",
        dose="dose_val_rx",
        dose_unit="dose_unit_rx",
        route="route",
    )


def _patients(path: Path) -> Table:
    """MIMIC-IV gives an age in a year instead of a date of birth: the year of birth, one year uncertain."""
    people = _read(path, ("subject_id", "gender"), ("dob", "anchor_age", "anchor_year"))
    year, age = (pl.col(name).cast(pl.Int32, strict=False) for name in ("anchor_year", "anchor_age"))
    rows = people.rows.with_columns(born=pl.coalesce("dob", (year - age).cast(pl.String).str.zfill(4)))
    return _select(people._replace(rows=rows), patient_id="subject_id", birth_date="born", sex="gender")


def _diagnoses(path: Path, admissions: Path | None) -> Table:
    coded = _read(path, ("subject_id", "hadm_id"), ("icd9_code", "icd_code", "icd_version"))
    rows = coded.rows.with_columns(
        code=pl.coalesce("icd_code", "icd9_code"),
        system=pl.when(pl.col("icd_version") == "10").then(pl.lit("icd10")).otherwise(pl.lit("icd9")),
        dischtime=pl.lit(None, pl.String),
    )
    if admissions is not None:
        discharged = _read(admissions, ("hadm_id", "dischtime")).rows.select("hadm_id", "dischtime")
        discharged = discharged.unique("hadm_id", keep="first", maintain_order=True)
        rows = rows.drop("dischtime").join(discharged, on="hadm_id", how="left", maintain_order="left")
    return _select(coded._replace(rows=rows), patient_id="subject_id", code="code", date="dischtime", system="system")


def _read(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Table:
    """Read a file with lower-case column names; optional columns that are not there are null."""
    both = {*required, *optional}
    table = read_columns(path, both | {name.upper() for name in both})
    rows = table.rows.rename({name: name.lower() for name in table.rows.columns if name.lower() in both})
    if missing := [column for column in required if column not in rows.columns]:
        raise RefusedInputError(f"columns of MIMIC missing: {', '.join(missing)}", where=path.name)
    absent = [pl.lit(None, pl.String).alias(name) for name in optional if name not in rows.columns]
    return table._replace(
        rows=rows.select(*(name for name in (*required, *optional) if name in rows.columns), *absent, "source_row")
    )


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
    spelled = (f"{each}{suffix}" for each in (name, name.upper()) for suffix in _SUFFIXES)
    return next((path for file in spelled if (path := folder / file).is_file()), None)

"""The MIMIC-III folder and the hosp folder of MIMIC-IV: labevents, d_labitems, prescriptions, patients, diagnoses_icd.

Percent items of MIMIC-III's D_LABITEMS carry the LOINC codes of absolute counts; so an item is known by its itemid, and
its LOINC is kept only as sent. There are no statuses: corrections were resolved or lost upstream. MIMIC-III has no
specimen ids.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.agreement import disagreement, numbers_differ
from neutro_screen.ingest.batches import RawBatch, RawBatches
from neutro_screen.ingest.formats.delimited import read_columns
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.profile import Profile

_SUFFIXES = (".csv", ".csv.gz")
#: What MIMIC-IV writes where text was removed; the number beside it may still be there.
_REMOVED = "___"


def recognises(folder: Path) -> bool:
    """A folder with labevents and d_labitems, as CSV or CSV.gz, in either spelling."""
    return folder.is_dir() and all(_find(folder, name) is not None for name in ("labevents", "d_labitems"))


def read_mimic(folder: Path, kind: Kind, profile: Profile) -> RawBatches:
    """Read the folder in the native layout, in batches; with ``lab`` it brings every kind that is there, else the one
    asked for.

    Raises:
        UnreadableInputError: labevents or d_labitems is missing or unreadable.
        RefusedInputError: a file lacks the columns of MIMIC.
    """
    prescriptions, patients, diagnoses = (
        _find(folder, name) for name in ("prescriptions", "patients", "diagnoses_icd")
    )
    tables: list[tuple[Kind, Iterator[RawBatch]]] = []
    if kind == "lab":
        tables.append(("lab", _labs(folder)))
    if kind in ("lab", "medication") and prescriptions:
        tables.append(("medication", _prescriptions(prescriptions)))
    if kind in ("lab", "patient") and patients:
        tables.append(("patient", _patients(patients)))
    if kind in ("lab", "diagnosis") and diagnoses:
        tables.append(("diagnosis", _diagnoses(diagnoses, _find(folder, "admissions"))))
    if not tables:
        raise UnreadableInputError(f"holds no {kind} file of MIMIC", where=folder.name)
    for found, batches in tables:
        for batch in batches:
            yield found, batch


def _labs(folder: Path) -> Iterator[RawBatch]:
    items, notes = _lookup(_found(folder, "d_labitems"), ("itemid", "label", "fluid"), ("loinc_code",))
    named = items.unique("itemid", keep="first", maintain_order=True)
    is_removed = pl.col("value").is_null() | (pl.col("value").str.strip_chars() == _REMOVED)
    edition = None
    for events in _batches(
        _found(folder, "labevents"),
        ("subject_id", "itemid", "charttime", "value", "valueuom"),
        ("specimen_id", "storetime", "valuenum", "ref_range_lower", "ref_range_upper", "comments"),
    ):
        rows = events.rows.join(named, on="itemid", how="left", maintain_order="left")
        # Only MIMIC-IV numbers its specimens.
        edition = edition or ("MIMIC-IV" if rows["specimen_id"].is_not_null().any() else "MIMIC-III")
        rows = rows.with_columns(
            disagree=disagreement(numbers_differ(pl.col("value"), pl.col("valuenum"))),
            value=pl.when(is_removed).then(pl.coalesce("valuenum", "value")).otherwise("value"),
        )
        yield _select(
            events._replace(rows=rows, notes=(*events.notes, *notes)),
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
            fields_disagree="disagree",
            constants={"code_system": "mimic_itemid", "lab": edition},
        )


def _prescriptions(path: Path) -> Iterator[RawBatch]:
    start, end = pl.coalesce("starttime", "startdate"), pl.coalesce("stoptime", "enddate")
    for orders in _batches(
        path,
        ("subject_id", "drug", "dose_val_rx", "dose_unit_rx", "route"),
        ("startdate", "enddate", "starttime", "stoptime"),
    ):
        yield _select(
            orders._replace(rows=orders.rows.with_columns(start=start, end=end)),
            patient_id="subject_id",
            drug_name="drug",
            start_date="start",
            end_date="end",
            dose="dose_val_rx",
            dose_unit="dose_unit_rx",
            route="route",
        )


def _patients(path: Path) -> Iterator[RawBatch]:
    """MIMIC-IV gives an age in a year instead of a date of birth: the year of birth, one year uncertain."""
    year, age = (pl.col(name).cast(pl.Int32, strict=False) for name in ("anchor_year", "anchor_age"))
    for people in _batches(path, ("subject_id", "gender"), ("dob", "dod", "anchor_age", "anchor_year")):
        rows = people.rows.with_columns(born=pl.coalesce("dob", (year - age).cast(pl.String).str.zfill(4)))
        yield _select(
            people._replace(rows=rows), patient_id="subject_id", birth_date="born", death_date="dod", sex="gender"
        )


def _diagnoses(path: Path, admissions: Path | None) -> Iterator[RawBatch]:
    discharged = pl.DataFrame(schema={"hadm_id": pl.String, "dischtime": pl.String})
    notes: tuple[str, ...] = ()
    if admissions is not None:
        discharged, notes = _lookup(admissions, ("hadm_id", "dischtime"))
    discharged = discharged.unique("hadm_id", keep="first", maintain_order=True)
    for coded in _batches(path, ("subject_id", "hadm_id"), ("icd9_code", "icd_code", "icd_version")):
        rows = coded.rows.with_columns(
            code=pl.coalesce("icd_code", "icd9_code"),
            system=pl.when(pl.col("icd_version") == "10").then(pl.lit("icd10")).otherwise(pl.lit("icd9")),
        ).join(discharged, on="hadm_id", how="left", maintain_order="left")
        yield _select(
            coded._replace(rows=rows, notes=(*coded.notes, *notes)),
            patient_id="subject_id",
            code="code",
            date="dischtime",
            system="system",
        )


def _lookup(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The rows of a small file that others refer to, and how many of its lines were broken, as a note."""
    batches = list(_batches(path, required, optional))
    n_broken = sum(len(batch.refused) for batch in batches)
    rows = pl.concat(batch.rows for batch in batches).drop("source_row")
    return rows, (f"broken_lookup_lines:{n_broken}",) if n_broken else ()


def _batches(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[RawBatch]:
    """Read a file with lower-case column names; optional columns that are not there are null."""
    both = {*required, *optional}
    for table in read_columns(path, both | {name.upper() for name in both}):
        rows = table.rows.rename({name: name.lower() for name in table.rows.columns if name.lower() in both})
        if missing := [column for column in required if column not in rows.columns]:
            raise RefusedInputError(f"columns of MIMIC missing: {', '.join(missing)}", where=path.name)
        absent = [pl.lit(None, pl.String).alias(name) for name in optional if name not in rows.columns]
        present = [name for name in (*required, *optional) if name in rows.columns]
        yield table._replace(
            rows=rows.select(*present, *absent, "source_row").select(*required, *optional, "source_row"),
            refused=[line.lower_case() for line in table.refused],
        )


def _select(table: RawBatch, *, constants: dict[str, str] | None = None, **columns: str) -> RawBatch:
    rows = table.rows.select(
        *(pl.col(name).alias(column) for column, name in columns.items()),
        *(pl.lit(value).alias(column) for column, value in (constants or {}).items()),
        "source_row",
    )
    refused = [line.named({native: (name,) for native, name in columns.items()}) for line in table.refused]
    return table._replace(rows=rows, refused=refused)


def _found(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise UnreadableInputError(f"{name}.csv is missing", where=folder.name)
    return path


def _find(folder: Path, name: str) -> Path | None:
    spelled = (f"{each}{suffix}" for each in (name, name.upper()) for suffix in _SUFFIXES)
    return next((path for file in spelled if (path := folder / file).is_file()), None)

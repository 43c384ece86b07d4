"""An OMOP cohort: the tables ``cohort`` and ``cohort_definition`` of the CDM 5.4, as CSV and Parquet.

A patient identifier that is a whole number is kept as ``subject_id``; any other gets a number of
``subject_crosswalk.csv``, which stays beside the exports and is only ever added to.
"""

import io
import re
import tomllib
from collections.abc import Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from neutro_screen.errors import ConfigurationError
from neutro_screen.ingest.remote import is_remote, storage_of
from neutro_screen.private import replace_together
from neutro_screen.reference import FOLDER, load_reference
from neutro_screen.store.export.place import Place
from neutro_screen.store.rows import first_row, read_table

CROSSWALK: Final = "subject_crosswalk.csv"
_CROSSWALK_COLUMNS: Final = {"subject_id": pl.Int64(), "patient_id": pl.String()}
#: Numbers of the crosswalk begin after this: patients' own numbers are seldom so large, and 32 bits have room.
_FIRST_NUMBER: Final = 1_000_000_001
#: A whole number as it is written: ``007`` is another patient than ``7``.
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LARGEST: Final = 2**63 - 1
#: Concept 0 of the vocabularies: no matching concept.
_NO_CONCEPT: Final = 0

#: Entries of a subject that touch or overlap are one: the CDM allows no overlap within a cohort.
_ENTRIES: Final = """
    WITH day AS (
        SELECT DISTINCT patient_id, CAST(first_at AS DATE) AS first, CAST(last_at AS DATE) AS last FROM ({entries})
    ), marked AS (
        SELECT *, coalesce(first > max(last) OVER (PARTITION BY patient_id ORDER BY first, last
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS begins FROM day
    ), numbered AS (
        SELECT *, count(*) FILTER (begins) OVER (PARTITION BY patient_id ORDER BY first, last) AS entry FROM marked
    )
    SELECT patient_id, min(first) AS cohort_start_date, max(last) AS cohort_end_date
    FROM numbered GROUP BY patient_id, entry
"""


def write_omop_cohort(connection: DuckDBPyConnection, place: Place) -> None:
    """``cohort`` and ``cohort_definition``, each as .csv and .parquet; and new numbers into the crosswalk.

    Raises:
        ConfigurationError: the crosswalk cannot be used.
        OSError: it cannot be written.
    """
    entries = pl.concat(
        read_table(connection, _ENTRIES.format(entries=cohort["entries"])).with_columns(
            cohort_definition_id=pl.lit(cohort["id"], pl.Int32)
        )
        for cohort in _cohorts()
    )
    numbers = _numbers(sorted(entries["patient_id"].unique()), place.beside)
    cohort = entries.select(
        "cohort_definition_id",
        pl.col("patient_id").replace_strict(numbers, return_dtype=pl.Int64).alias("subject_id"),
        "cohort_start_date",
        "cohort_end_date",
    ).sort(pl.all())
    as_of = first_row(connection, "SELECT max(CAST(as_of AS DATE)) FROM run")
    _write(place, "cohort", cohort)
    _write(place, "cohort_definition", _definitions(as_of[0] if as_of else None))


def _write(place: Place, name: str, rows: pl.DataFrame) -> None:
    with place.file(f"{name}.csv") as (file, about):
        about["rows"] = rows.height
        file.write(rows.write_csv().encode())
    with place.file(f"{name}.parquet") as (file, about):
        about["rows"] = rows.height
        pq.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()), file, compression="zstd")


@cache
def _cohorts() -> list[dict[str, Any]]:
    cohorts: list[dict[str, Any]] = tomllib.loads((FOLDER / "cohorts.toml").read_text("utf-8"))["cohort"]
    return cohorts


def _definitions(made_on: date | None) -> pl.DataFrame:
    below = load_reference().below_cells_per_ul
    return pl.DataFrame(
        [
            (
                cohort["id"],
                cohort["name"],
                cohort["description"].format(below=below),
                _NO_CONCEPT,
                cohort["entries"],
                _NO_CONCEPT,
                made_on,
            )
            for cohort in _cohorts()
        ],
        schema={
            "cohort_definition_id": pl.Int32(),
            "cohort_definition_name": pl.String(),
            "cohort_definition_description": pl.String(),
            "definition_type_concept_id": pl.Int32(),
            "cohort_definition_syntax": pl.String(),
            "subject_concept_id": pl.Int32(),
            "cohort_initiation_date": pl.Date(),
        },
        orient="row",
    )


def _numbers(patients: Iterable[str], folder: str) -> dict[str, int]:
    """The number of each patient; those that the crosswalk does not have yet are added to it."""
    own = {patient: int(patient) for patient in patients if _is_whole(patient)}
    others = [patient for patient in patients if patient not in own]
    known = _read_crosswalk(folder)
    if shared := set(own.values()) & set(known.values()):
        raise ConfigurationError(
            f"{len(shared)} numbers of the crosswalk are also a patient's own identifier",
            where=CROSSWALK,
            remedy="Export to another folder, whose crosswalk begins anew.",
        )
    taken = {*own.values(), *known.values()}
    number = max([_FIRST_NUMBER - 1, *known.values()])
    numbers = dict(known)
    for patient in others:
        if patient not in numbers:
            number = next(free for free in range(number + 1, number + len(taken) + 2) if free not in taken)
            numbers[patient] = number
    if numbers != known:
        _write_crosswalk(folder, numbers)
    return numbers | own


def _is_whole(patient: str) -> bool:
    return bool(_WHOLE.fullmatch(patient)) and abs(int(patient)) <= _LARGEST


def _read_crosswalk(folder: str) -> dict[str, int]:
    """patient_id -> subject_id as the crosswalk has it; empty where there is none.

    Raises:
        ConfigurationError: it cannot be read as one.
    """
    content = _content(folder)
    if content is None:
        return {}
    try:
        rows = pl.read_csv(content, schema_overrides=_CROSSWALK_COLUMNS).select(*_CROSSWALK_COLUMNS)
    except pl.exceptions.PolarsError:
        rows = pl.DataFrame(schema=_CROSSWALK_COLUMNS)
    named = rows.with_columns(pl.col("patient_id").str.strip_prefix("'"))
    numbers = dict(named.select("patient_id", "subject_id").drop_nulls().iter_rows())
    if not rows.height or len(numbers) < rows.height or rows["subject_id"].n_unique() < rows.height:
        raise ConfigurationError(
            f"{CROSSWALK} has not the columns subject_id and patient_id, or a number or patient twice",
            where=folder,
            remedy="Restore it from a backup: a new one would give the patients other numbers.",
        )
    return numbers


def _content(folder: str) -> bytes | None:
    if is_remote(folder):
        storage, place = storage_of(f"{folder}/{CROSSWALK}")
        found: bytes | None = storage.cat_file(place) if storage.exists(place) else None
        return found
    path = Path(folder) / CROSSWALK
    return path.read_bytes() if path.exists() else None


def _write_crosswalk(folder: str, numbers: dict[str, int]) -> None:
    """Write every number; an identifier that a spreadsheet might run as a formula has an apostrophe in front."""
    rows = (
        pl.DataFrame({"subject_id": list(numbers.values()), "patient_id": list(numbers)}, schema=_CROSSWALK_COLUMNS)
        .with_columns(pl.col("patient_id").str.replace(r"^([^A-Za-z0-9])", "'$1"))
        .sort("subject_id")
    )
    content = io.BytesIO()
    rows.write_csv(content)
    if is_remote(folder):
        storage, place = storage_of(f"{folder}/{CROSSWALK}")
        storage.pipe_file(place, content.getvalue())
    else:
        replace_together({Path(folder) / CROSSWALK: [content.getvalue()]})

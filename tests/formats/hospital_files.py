"""The small hospital of the tests, and its writers in every input format. Frames are in the native layout, all text."""

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from neutro_simulator import Hospital
from neutro_simulator.formats import hospital_of_forms
from neutro_simulator.formats.messages import LOINC_URL, write_fhir, write_hl7
from neutro_simulator.formats.native import write_native, write_parquet
from neutro_simulator.formats.tables import (
    omop_tables,
    sdtm_tables,
    write_dataset_json,
    write_mimic4,
    write_omop_database,
    write_omop_folder,
    write_xpt,
)
from neutro_simulator.formats.workbook import write_excel, write_xlsx

AS_OF = datetime(2026, 3, 1)
__all__ = [
    "AS_OF",
    "LOINC_URL",
    "hospital",
    "omop_tables",
    "sdtm_tables",
    "write_dataset_json",
    "write_excel",
    "write_fhir",
    "write_hl7",
    "write_mimic4",
    "write_native",
    "write_omop_database",
    "write_omop_folder",
    "write_parquet",
    "write_text_csv",
    "write_xlsx",
    "write_xpt",
]


def hospital(*, finals_only: bool = False) -> Hospital:
    """The sample hospital of one index time, as every format can hold it."""
    return hospital_of_forms(AS_OF, finals_only=finals_only)


def write_text_csv(path: Path, rows: Iterable[Sequence[str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path

"""The sample hospital in every input format: for the tests of the readers and the self-test of an installation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from neutro_simulator.formats.messages import write_fhir, write_hl7
from neutro_simulator.formats.native import Paths, write_native, write_parquet
from neutro_simulator.formats.tables import (
    write_dataset_json,
    write_mimic4,
    write_omop_database,
    write_omop_folder,
    write_xpt,
)
from neutro_simulator.formats.workbook import write_excel
from neutro_simulator.hospital import Hospital
from neutro_simulator.sample import sample_hospital


class Form(NamedTuple):
    """One way to write the hospital down: the writer gives the paths by kind of file."""

    name: str
    write: Callable[[Hospital, Path], Paths]
    #: module of an extra of the package without which it cannot be written or read
    needs: str | None = None


#: Every format of which no server is needed; the first is what the others are compared with.
FORMS: Final = (
    Form("delimited", write_native),
    Form("parquet", write_parquet),
    Form("excel", write_excel, "python_calamine"),
    Form("hl7v2", write_hl7),
    Form("fhir", write_fhir),
    Form("mimic", write_mimic4),
    Form("omop folder", write_omop_folder),
    Form("omop database", write_omop_database),
    Form("cdisc xpt", write_xpt, "pyreadstat"),
    Form("cdisc dataset-json", write_dataset_json),
)


def hospital_of_forms(as_of: datetime, *, finals_only: bool = False) -> Hospital:
    """The sample hospital as every format can hold it.

    The one value with a decimal comma is left out: a JSON number has none. ``finals_only``: for formats that know no
    status of a result, without the specimens that have another one than final, and one result a patient, time and test.
    """
    whole = sample_hospital(as_of)
    labs = whole.labs.filter(pl.col("value") != "0,85")
    if finals_only:
        odd = labs.filter(pl.col("status") != "F").select("patient_id", "specimen_id")
        labs = labs.join(odd, on=["patient_id", "specimen_id"], how="anti", maintain_order="left")
        labs = labs.unique(["patient_id", "collected_at", "loinc", "analyte_name"], keep="first", maintain_order=True)
    return replace(whole, labs=labs)

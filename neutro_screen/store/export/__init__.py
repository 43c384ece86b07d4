"""A store's results in the forms of other tools: Parquet, FHIR R4, an OMOP cohort (docs/exports.md, ADR 18).

The files of an export are in a folder named after the run that the store shows. The same store gives the same bytes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from duckdb import DuckDBPyConnection

from neutro_screen.errors import StoreError
from neutro_screen.store.export.fhir import write_fhir
from neutro_screen.store.export.omop import write_omop_cohort
from neutro_screen.store.export.parquet import write_parquet
from neutro_screen.store.export.place import Place, writing
from neutro_screen.store.file import reading
from neutro_screen.store.journal import note_action
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import SCHEMA_VERSION
from neutro_screen.store.views import LATEST_RUN

ExportKind = Literal["parquet", "fhir", "omop-cohort"]


class _Form(NamedTuple):
    """``write`` fills a place; the folder's name ends in ``ending``; the manifest lists the files as ``files_called``."""

    write: Callable[[DuckDBPyConnection, Place], None]
    ending: str
    files_called: str


_FORMS: Final[Mapping[ExportKind, _Form]] = {
    "parquet": _Form(write_parquet, "", "tables"),
    "fhir": _Form(write_fhir, "-fhir", "files"),
    "omop-cohort": _Form(write_omop_cohort, "-omop-cohort", "files"),
}


def export(
    store: Path, to: str, *, at: datetime, kind: ExportKind = "parquet", warn: Callable[[str], None] = lambda text: None
) -> str:
    """Write the results of a store in one form; the address of the folder.

    The export is noted for ``audit`` (``journal.py``); ``warn`` gets a line where this user may not write the journal.

    Raises:
        StoreError: the store cannot be read.
        PublishError: the place cannot be written to.
        ConfigurationError: fsspec or the storage's package is not installed, or the crosswalk of a cohort cannot be used.
    """
    form = _FORMS[kind]
    with reading(store) as connection:
        run = first_row(connection, LATEST_RUN)
        name = (run[0].replace(":", "") if run else "no-run") + form.ending
        about = {"run_id": run[0] if run else None, "schema_version": SCHEMA_VERSION, "as": kind}
        with writing(to, name, about, form.files_called) as (place, address):
            form.write(connection, place)
    try:
        note_action(store, "export", {entry: written["rows"] for entry, written in place.written.items()}, at=at)
    except StoreError as error:
        warn(f"the export is not in the audit trail: {error}")
    return address

"""The results that each count was computed from, found again in the store (ANC-2, ANC-3)."""

from collections.abc import Iterator
from functools import cache
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas.reference import AncSource
from neutro_screen.reference import Policy, policy_of_run, reference_table
from neutro_screen.rules.counts.specimens import SPECIMEN, TIME_ORDER, keep_counting_versions
from neutro_screen.store.rows import first_row, read_table, registered
from neutro_screen.store.views import LATEST_RUN

_PATIENTS_AT_ONCE: Final = 50_000
#: What is shown of a source.
_SHOWN: Final = (
    "analyte",
    "is_manual",
    "method",
    "loinc",
    "value",
    "comparator",
    "unit",
    "status",
    "result_id",
    "is_fhir",
)
_RESULTS: Final = """
    SELECT c.patient_id, l.* EXCLUDE (patient_id), f.name IS NOT NULL AS is_fhir
    FROM lab_result l LEFT JOIN patient_merge m ON m.patient_id = l.patient_id
    JOIN chosen c ON c.patient_id = coalesce(m.survivor_id, l.patient_id)
    LEFT JOIN (SELECT DISTINCT run_id, name FROM source_file WHERE format = 'fhir') f
         ON f.run_id = l.run_id AND f.name = l.source_file
    WHERE l.analyte IN (SELECT unnest($analytes))
"""
_COUNTS: Final = "SELECT a.* FROM anc a SEMI JOIN chosen USING (patient_id)"


def is_made(specimen_id: str) -> bool:
    """Whether the identifier is no source's own: made from the collection time."""
    return specimen_id.startswith("@")


def patients_at_once(connection: DuckDBPyConnection) -> Iterator[pl.DataFrame]:
    """The patients with a count (patient_id), sorted, as many at a time as fit into memory with their results."""
    patients = read_table(connection, "SELECT DISTINCT patient_id FROM anc ORDER BY patient_id")
    yield from patients.iter_slices(_PATIENTS_AT_ONCE)


def with_sources(connection: DuckDBPyConnection, patients: pl.DataFrame) -> pl.DataFrame:
    """The counts of some patients (``Anc``) in order of time, with ``sources``: a list of structs of ``_SHOWN``.

    The list is empty where the results have left the store.
    """
    with registered(connection, "chosen", patients):
        counts = read_table(connection, _COUNTS)
        results = read_table(connection, _RESULTS, {"analytes": _table()["analyte"].unique().to_list()})
    counting = keep_counting_versions(results, _policy_of_latest_run(connection))
    used = _used(counts, counting).group_by(SPECIMEN).agg(sources=pl.struct(_SHOWN))
    return (
        counts.join(used, on=SPECIMEN, how="left")
        .with_columns(pl.col("sources").fill_null([]), pl.col("severity").cast(pl.String))
        .sort(TIME_ORDER)
    )


def _used(counts: pl.DataFrame, counting: pl.DataFrame) -> pl.DataFrame:
    """The results that the method of their specimen's count uses, in one order."""
    specimens = counts.select(*SPECIMEN, "anc_method", anc_notes=pl.col("notes").fill_null(""))
    fitting = counting.join(specimens, on=SPECIMEN).join(_table(), on=["anc_method", "analyte"])
    present = counting.select(*SPECIMEN, unless_analyte="analyte").unique()
    return (
        fitting.filter(
            pl.col("is_manual").eq(pl.col("by_hand")) | pl.col("by_hand").is_null(),
            pl.col("anc_notes").str.contains(pl.col("if_note"), literal=True) | pl.col("if_note").is_null(),
        )
        .join(present, on=[*SPECIMEN, "unless_analyte"], how="anti")
        .sort(*SPECIMEN, "analyte", "is_manual")
    )


@cache
def _table() -> pl.DataFrame:
    """Which results each method uses (anc_sources.csv)."""
    rows = reference_table("anc_sources.csv", AncSource)
    return rows.select("anc_method", "analyte", "unless_analyte", "if_note", by_hand="is_manual")


def _policy_of_latest_run(connection: DuckDBPyConnection) -> Policy:
    """The policy that chose among versions of a result."""
    row = first_row(connection, f"SELECT policy_values FROM run WHERE run_id = ({LATEST_RUN})")
    return policy_of_run(row[0] if row else None)

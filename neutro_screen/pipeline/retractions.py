"""Results that a source takes back by its own id alone, on a later night than it sent them.

Such a deletion names no patient, specimen or test: it is looked up among the stored results, and what it finds becomes
retractions of those, which the rules know (RULES.md ANC-2). A deletion counts as many rows as it finds, one at least.
"""

from typing import Final, NamedTuple

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import RETRACTED_STATUSES, LabResult
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.quality.measures import COUNTS
from neutro_screen.reference import Reference
from neutro_screen.store.rows import read_table, registered
from neutro_screen.text import match_key
from neutro_screen.validate import in_shape, no_rows

_DELETION: Final = {"result_id": pl.String(), "source_file": pl.String(), "source_row": pl.Int64()}
#: The reason of a deletion that finds no stored result: it is counted as not screened.
UNKNOWN: Final = "deletion_of_unknown_result"
_STORED: Final = """
    SELECT stored.* FROM (SELECT * FROM lab_result UNION ALL BY NAME SELECT * FROM contradicted_result) stored
    SEMI JOIN deletion USING (result_id) WHERE status NOT IN (SELECT unnest($retracted))
"""


class Deletions(NamedTuple):
    """``rows``: what is no deletion, as given; ``deletions``: result_id, source_file, source_row."""

    rows: pl.DataFrame
    deletions: pl.DataFrame


def no_deletions() -> pl.DataFrame:
    """No deletion: result_id, source_file, source_row."""
    return pl.DataFrame(schema=_DELETION)


def split_deletions(rows: pl.DataFrame, reference: Reference) -> Deletions:
    """Part laboratory rows (``LabRow``) from those that only take back the result of an id: no patient, no value."""
    has_id_only = pl.col("result_id").is_not_null() & pl.col("patient_id").is_null() & pl.col("value_text").is_null()
    found = rows.filter(has_id_only)
    if not found.height:
        return Deletions(rows, no_deletions())
    words = reference.status_words.filter(pl.col("status").is_in(RETRACTED_STATUSES))["match_key"]
    takes_back = match_key(pl.col("status_text")).is_in(words.implode()).fill_null(False)
    return Deletions(
        pl.concat([rows.filter(~has_id_only), found.filter(~takes_back)]),
        found.filter(takes_back).select(_DELETION.keys()),
    )


def retractions_of(connection: DuckDBPyConnection, deletions: pl.DataFrame) -> pl.DataFrame:
    """The stored results that the deletions name, as retractions (``LabResult``) read where the deletion was."""
    once = deletions.sort("source_file", "source_row").unique("result_id", keep="first", maintain_order=True)
    with registered(connection, "deletion", deletions):
        stored = read_table(connection, _STORED, {"retracted": list(RETRACTED_STATUSES)})
    return in_shape(
        stored.drop("source_file", "source_row")
        .join(once, on="result_id")
        .with_columns(status=pl.lit("entered_in_error")),
        LabResult,
    ).sort(pl.all())


def add_retractions(
    work: Workspace, deletions: pl.DataFrame, connection: DuckDBPyConnection | None = None
) -> pl.DataFrame:
    """Add the stored results that the deletions name as retractions to the rows of the run; returns the unknown deletions.

    Without a store all are unknown.
    """
    found = no_rows(LabResult)
    if connection is not None and deletions.height:
        found = retractions_of(connection, deletions)
    work.add("retraction", found)
    return deletions.join(found, on="result_id", how="anti")


def deletion_counts(retractions: pl.DataFrame, unknown: pl.DataFrame) -> pl.DataFrame:
    """Retractions (``LabResult``) as accepted rows, unknown deletions as not screened: the shape ``quality.COUNTS``."""
    return pl.concat(
        [
            _counted(retractions, ["source_file", "lab", "analyte"], measure="accepted", detail=None),
            _counted(unknown, ["source_file"], measure="not_screened", detail=UNKNOWN),
        ]
    )


def _counted(rows: pl.DataFrame, keys: list[str], *, measure: str, detail: str | None) -> pl.DataFrame:
    counted = rows.group_by(keys).agg(n=pl.len()).with_columns(measure=pl.lit(measure), detail=pl.lit(detail))
    return counted.select(
        (pl.col(name) if name in counted.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in COUNTS.items()
    )

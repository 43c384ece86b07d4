"""Which drugs the written lines of the medication lists name: resolved once a run, read by every step and by the store."""

from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas.store import DrugMatch
from neutro_screen.rules.causes.drug_names import KEYS
from neutro_screen.rules.causes.findings import resolved_drugs
from neutro_screen.store.rows import insert, read_table
from neutro_screen.validate import in_shape

_WRITTEN: Final = "SELECT DISTINCT drug_name, atc_code, rxcui, route FROM medication"


def with_stored_lines(drugs: pl.DataFrame, connection: DuckDBPyConnection) -> pl.DataFrame:
    """Tonight's resolved lines (``resolved_drugs``) and those that only the store's medication lists have."""
    stored = read_table(connection, _WRITTEN).join(drugs, on=list(KEYS), how="anti", nulls_equal=True)
    return pl.concat([drugs, resolved_drugs(stored)]).sort(*KEYS, "ingredient", nulls_last=True)


def publish_drug_matches(connection: DuckDBPyConnection, drugs: pl.DataFrame) -> None:
    """Rewrite the table ``drug_match``: of the resolved lines those that the store's medication lists have."""
    written = read_table(connection, _WRITTEN)
    kept = drugs.join(written, on=list(KEYS), how="semi", nulls_equal=True, maintain_order="left")
    connection.execute("DELETE FROM drug_match")
    insert(connection, "drug_match", in_shape(kept, DrugMatch))

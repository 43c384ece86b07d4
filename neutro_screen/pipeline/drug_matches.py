"""Which drugs the written lines of the medication lists name: the denominators of the store's drug questions."""

from typing import Final

from duckdb import DuckDBPyConnection

from neutro_schemas.store import DrugMatch
from neutro_screen.reference import load_drug_tables
from neutro_screen.rules.causes.drug_names import resolve_drug_names
from neutro_screen.store.rows import insert, read_table
from neutro_screen.validate import in_shape

_WRITTEN: Final = "SELECT DISTINCT drug_name, atc_code, rxcui, route FROM medication"


def publish_drug_matches(connection: DuckDBPyConnection) -> None:
    """Rewrite the table ``drug_match`` from every distinct line of the medication lists and today's drug tables."""
    matched = in_shape(resolve_drug_names(read_table(connection, _WRITTEN), load_drug_tables()), DrugMatch)
    connection.execute("DELETE FROM drug_match")
    insert(connection, "drug_match", matched)

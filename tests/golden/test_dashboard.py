"""The dashboard of the documentation: each of its queries answers on the sample store, with the numbers of the worklist."""

import ast
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from docs.sample_store import sample_store

APP = Path(__file__).parents[2] / "docs" / "dashboard.py"


def queries() -> list[str]:
    """The queries of the page, in its order: the arguments of its function ``rows``."""
    return [
        call.args[0].value
        for call in ast.walk(ast.parse(APP.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "rows"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    ]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """The sample store over three nights, read-only."""
    with duckdb.connect(str(sample_store()), read_only=True) as opened:
        yield opened


def answer(connection: duckdb.DuckDBPyConnection, words: str) -> pl.DataFrame:
    """What the query that holds these words finds."""
    (query,) = [query for query in queries() if words in query]
    found: pl.DataFrame = connection.sql(query).pl()
    return found


def test_every_query_of_the_page_finds_rows(connection: duckdb.DuckDBPyConnection) -> None:
    assert len(queries()) == 6
    assert [query for query in queries() if not connection.sql(query).pl().height] == []


def test_the_numbers_on_top_are_those_of_the_worklist(connection: duckdb.DuckDBPyConnection) -> None:
    top = answer(connection, "set_aside").row(0, named=True)
    urgent = answer(connection, "is_urgent")
    assert urgent.height == top["critical"] + top["high"]
    assert urgent["ANC/µL"].head(2).to_list() == ["< 100", "120"]
    listed = connection.sql("SELECT count(*) FROM worklist WHERE row_group = 'open'").fetchall()[0][0]
    assert top["alerts"] - top["set_aside"] == listed


def test_the_nights_add_up(connection: duckdb.DuckDBPyConnection) -> None:
    nights = answer(connection, "UNPIVOT")
    assert nights["night"].n_unique() == 3
    burden = connection.sql("SELECT sum(alerts) FROM alert_burden").fetchall()[0][0]
    assert nights["alerts"].sum() == burden

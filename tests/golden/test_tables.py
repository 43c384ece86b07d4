"""The published tables of the sample hospital and of 3,000 simulated patients are the recorded ones, value for value."""

from pathlib import Path

import polars as pl
import pytest

from neutro_screen.store.file import reading
from neutro_screen.store.schema import TABLES
from neutro_screen.store.views import VIEWS
from tests.golden.tables import GOLDEN, SOURCES, differences, digest, digests, golden, published
from tests.nights import screened_sample


@pytest.mark.parametrize("source", SOURCES)
def test_every_published_table_is_the_recorded_one(source: str, tmp_path: Path) -> None:
    differing = differences(golden()[source], digests(source, tmp_path))
    assert not differing, (
        "\n".join(["", *differing]) + "\nIf the change of results is meant, name it in the changelog and record it: "
        "python -m tests.golden.tables (with --text FOLDER, here and at the earlier revision, to see the values)."
    )


def test_only_the_clock_the_user_and_the_versions_are_left_out(tmp_path: Path) -> None:
    store = screened_sample(tmp_path / "sample.duckdb")
    found = dict(published(store))
    with reading(store) as connection:
        stored = {name: connection.sql(f'SELECT * FROM "{name}"').columns for name in (*TABLES, *VIEWS)}
    left_out = {name: set(stored[name]) - set(found[name].columns) for name in stored}
    assert {name: columns for name, columns in left_out.items() if columns} == {
        "run": {"started_at", "software_version", "schema_version"},
        "audit": {"at", "by"},
        "review_time": {"first_shown_at"},
    }
    assert {row[:2] for row in pl.read_csv(GOLDEN).iter_rows()} >= {(s, name) for s in SOURCES for name in stored}


def test_a_difference_names_the_table_and_its_columns() -> None:
    before = pl.DataFrame({"patient_id": ["1", "2"], "anc": ["400.0", "\\N"]})
    other_value = digest(before.with_columns(anc=pl.Series(["400.0", "0.0"])))
    other_row = digest(before.with_columns(anc=pl.Series(["\\N", "400.0"])))
    recorded = {"anc": digest(before)}
    assert differences(recorded, recorded) == []
    assert differences(recorded, {"anc": other_value}) == ["anc: other values in anc"]
    assert differences(recorded, {"anc": other_row})[0].startswith("anc: the same values stand in other rows")
    assert differences(recorded, {"anc": digest(before.drop("anc").head(1))}) == [
        "anc: 2 rows recorded, 1 now; no column anc; other values in patient_id"
    ]
    assert differences(recorded, {}) == ["anc: is no longer published"]
    assert differences({}, recorded) == ["anc: is not recorded"]

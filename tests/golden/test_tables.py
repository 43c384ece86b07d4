"""The published tables of the sample hospital and of 3,000 simulated patients are the recorded ones, value for value."""

from pathlib import Path

import polars as pl
import pytest

from tests.golden.tables import LEFT_OUT, SOURCES, differences, digest, digests, golden, published, store_of


@pytest.mark.parametrize("source", SOURCES)
def test_every_published_table_is_the_recorded_one(source: str, tmp_path: Path) -> None:
    differing = differences(golden()[source], digests(source, tmp_path))
    assert not differing, (
        "\n".join(["", *differing]) + "\nIf the change of results is meant, name it in the changelog and record it: "
        "python -m tests.golden.tables (with --text FOLDER, here and at the earlier revision, to see the values)."
    )


def test_only_the_clock_the_user_and_the_versions_are_left_out(tmp_path: Path) -> None:
    tables = set(
        "anc drug_suspect episode evidence flag lab_result patient_status rejected_row quality_count quality_measure "
        "quality_drift workup_step worklist worklist_row".split()
    )
    found = dict(published(store_of("sample", tmp_path)))
    assert tables <= found.keys()
    assert tables.isdisjoint(LEFT_OUT)
    assert "schema_version" not in found


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

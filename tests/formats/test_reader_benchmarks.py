"""`python -m benchmarks.readers`: every reader has a figure beside a plain parse of the same bytes."""

from benchmarks.readers import FORMATS, measure, table
from neutro_screen.ingest import READERS


def test_every_reader_is_measured() -> None:
    assert {form.reader for form in FORMATS.values()} == set(READERS)


def test_a_measurement_of_one_format() -> None:
    (row,) = measure(patients=3, only=("delimited",))
    assert row["rows"] > 0 and row["seconds"] > 0 and row["plain_seconds"] > 0
    assert row["ratio"] == row["seconds"] / row["plain_seconds"]
    assert "| delimited |" in table([row])

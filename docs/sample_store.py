"""The store behind docs/queries.md and the walkthrough: the sample hospital over three nights, with reviewers' decisions."""

import sys
import tempfile
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from neutro_screen import run
from neutro_screen.store.review import record_review

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data"
NIGHTS = tuple(datetime(2026, 11, day, 2) for day in (20, 21, 22))  # noqa: DTZ001  (UTC)
#: Night after which somebody decided, hours later, patient, status, days of a snooze, note, by.
REVIEWS = (
    (0, 5.5, "P-002", "acknowledged", None, "smear requested", "ward"),
    (0, 6.0, "P-021", "snoozed", 14, "known, clinic in two weeks", "haematology"),
    (0, 6.25, "P-024", "dismissed", None, "known since years, unchanged", "haematology"),
    (1, 4.75, "P-011", "acknowledged", None, "thyroid clinic informed", "ward"),
    (1, 5.0, "P-019", "acknowledged", None, "on the ward already", "ward"),
    (1, 7.5, "P-013", "snoozed", 7, "repeat count booked", "haematology"),
)


def build(store: Path) -> Path:
    """Make the store. Its runs start at their index time, so that the same sample gives the same figures."""
    with tempfile.TemporaryDirectory() as name:
        for night, as_of in enumerate(NIGHTS):
            labs = Path(name) / f"labs-{as_of:%m%d}.csv"
            rows = pl.read_csv(SAMPLE / "labs.csv", infer_schema=False)
            rows.filter(pl.col("collected_at") < f"{as_of:%Y-%m-%dT%H:%M}").write_csv(labs)
            run(
                labs,
                store,
                as_of=as_of,
                **{kind: SAMPLE / f"{kind}.csv" for kind in ("medications", "patients", "diagnoses", "events")},
            )
            for after, hours, patient_id, status, days, note, by in REVIEWS:
                if after == night:
                    at = as_of + timedelta(hours=hours)
                    until = at.date() + timedelta(days=days) if days else None
                    record_review(store, patient_id, status, until=until, note=note, by=by, at=at)
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE run SET started_at = as_of")
    return store


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@cache
def sample_store() -> Path:
    """The store, made once in this process and removed with it."""
    return build(Path(_folder().name) / "sample.duckdb")


if __name__ == "__main__":
    build(Path(sys.argv[1]))

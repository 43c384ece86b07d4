"""What the store tests speak: a night over the sample hospital, and a table of the store, whole and in order."""

from pathlib import Path

import duckdb

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary

SAMPLE = Path(__file__).parents[1] / "sample_data"
NIGHT = "2026-11-22T02:00:00"
KINDS = ("medications", "patients", "diagnoses", "events")


def night(store: Path, labs: Path | str = SAMPLE / "labs.csv", as_of: str = NIGHT, **more: object) -> RunSummary:
    """One run over the sample hospital, or over other laboratory files of it."""
    chart = {kind: (str(SAMPLE / f"{kind}.csv"),) for kind in KINDS}
    return run(RunOptions(store=store, as_of=moment(as_of), labs=(str(labs),), **(chart | more)))  # type: ignore[arg-type]


def table(store: Path, name: str, leave_out: str = "") -> list[tuple[object, ...]]:
    """A table, whole and in order."""
    columns = f"* EXCLUDE ({leave_out})" if leave_out else "*"
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(f'SELECT {columns} FROM "{name}" ORDER BY ALL').fetchall()

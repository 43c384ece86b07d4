"""What the screen publishes for the sample hospital and for 3,000 simulated patients, as hashes: a change of the code that is
meant to change no result changes none of them.

``python -m tests.golden.tables`` writes ``tables.csv`` again; do it only for a change of results that the changelog names.
``python -m tests.golden.tables --text FOLDER`` writes the tables themselves as text, to compare those of two revisions.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from neutro_simulator import simulate_hospital, write_native

GOLDEN: Final = Path(__file__).with_name("tables.csv")
SAMPLE: Final = Path(__file__).parents[2] / "sample_data"
CHART: Final = ("medications", "patients", "diagnoses", "events")
NIGHT: Final = "2026-11-22T02:00:00"
EARLIER_NIGHT: Final = "2026-11-08T02:00:00"
SEEDS: Final = (1, 2, 3)
PATIENTS: Final = 1_000
SOURCES: Final = ("sample", *(f"seed_{seed}" for seed in SEEDS))

#: The clock and the user of the machine, and the versions, which have tests of their own (test_schema.py, the wheel's).
LEFT_OUT: Final = {
    "run": ("started_at", "software_version", "schema_version"),
    "audit": ("at", "by"),
    "review_time": ("first_shown_at",),
    "schema_version": ("version",),
}
#: A column's hash is shortened: it only tells where a table differs; whether it does is told by the table's own.
_SHORT: Final = 10


@dataclass(frozen=True)
class Digest:
    """One published table of one source: the hash of all its rows, and of the sorted values of each column."""

    rows: int
    sha256: str
    columns: dict[str, str]


def store_of(source: str, folder: Path) -> Path:
    """The store of the sample hospital after its night, or of a simulated one after two nights a fortnight apart."""
    store = folder / f"{source}.duckdb"
    if source == "sample":
        _screen(store, SAMPLE, SAMPLE / "labs.csv", NIGHT)
        return store
    seed = int(source.removeprefix("seed_"))
    place = folder / source
    hospital = simulate_hospital(PATIENTS, seed, as_of=moment(NIGHT), mislabelled_batches=1)
    write_native(hospital, place, with_course=False)
    came_early = pl.col("resulted_at").fill_null("") < EARLIER_NIGHT
    for name, rows, night in (("first", came_early, EARLIER_NIGHT), ("second", ~came_early, NIGHT)):
        labs = place / f"labs_{name}.csv"
        hospital.labs.filter(rows).write_csv(labs)
        _screen(store, place, labs, night)
    return store


def _screen(store: Path, place: Path, labs: Path, as_of: str) -> None:
    chart = {kind: (str(place / f"{kind}.csv"),) for kind in CHART}
    run(RunOptions(store=store, labs=(str(labs),), as_of=moment(as_of), **chart))


def published(store: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every table and view of a store that has columns left, by name: all values as text, the rows in order."""
    with reading(store) as connection:
        names = read_table(connection, "SELECT table_name FROM information_schema.tables ORDER BY table_name")
        for name in names["table_name"]:
            frame = read_table(connection, f'SELECT * FROM "{name}"').drop(LEFT_OUT.get(name, ()))
            if frame.width:
                text = frame.select(_text(column, dtype) for column, dtype in frame.schema.items())
                yield name, text.sort(text.columns)


def _text(column: str, dtype: pl.DataType) -> pl.Expr:
    r"""The values as text: times to the microsecond, numbers so that they read back the same, null as ``\N``."""
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        value = value.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    text = value.cast(pl.String)
    for sign, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.str.replace_all(sign, written, literal=True)
    return text.fill_null("\\N").alias(column)


def lines(table: pl.DataFrame) -> list[str]:
    """A table of ``published`` as lines, tabs between the columns, their names first."""
    return ["\t".join(table.columns), *table.select(pl.concat_str(pl.all(), separator="\t")).to_series()]


def digest(table: pl.DataFrame) -> Digest:
    """The hashes of a table of ``published``."""
    columns = {column: _sha256(table[column].sort())[:_SHORT] for column in table.columns}
    return Digest(table.height, _sha256(lines(table)), columns)


def _sha256(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def digests(source: str, folder: Path) -> dict[str, Digest]:
    """The hashes of all that is published of a source, by table."""
    return {name: digest(table) for name, table in published(store_of(source, folder))}


def golden() -> dict[str, dict[str, Digest]]:
    """The recorded hashes by source and table."""
    recorded: dict[str, dict[str, Digest]] = {source: {} for source in SOURCES}
    for source, table, rows, sha256, columns in pl.read_csv(GOLDEN).iter_rows():
        pairs = (pair.split(":") for pair in columns.split())
        recorded[source][table] = Digest(rows, sha256, dict(pairs))
    return recorded


def differences(recorded: dict[str, Digest], found: dict[str, Digest]) -> list[str]:
    """What differs between two sets of tables, one line a table."""
    return [
        f"{table}: {_difference(recorded.get(table), found.get(table))}"
        for table in sorted(recorded.keys() | found.keys())
        if recorded.get(table) != found.get(table)
    ]


def _difference(recorded: Digest | None, found: Digest | None) -> str:
    if recorded is None or found is None:
        return "is not recorded" if recorded is None else "is no longer published"
    told = [] if recorded.rows == found.rows else [f"{recorded.rows} rows recorded, {found.rows} now"]
    told += [f"no column {name}" for name in recorded.columns.keys() - found.columns.keys()]
    told += [f"new column {name}" for name in found.columns.keys() - recorded.columns.keys()]
    both = [name for name in recorded.columns if name in found.columns]
    if other := [name for name in both if recorded.columns[name] != found.columns[name]]:
        told.append("other values in " + ", ".join(other))
    return "; ".join(told) or "the same values stand in other rows, or the columns in another order"


def write_golden() -> None:
    """Record the hashes of all sources."""
    rows = []
    with TemporaryDirectory() as folder:
        for source in SOURCES:
            for table, found in digests(source, Path(folder)).items():
                columns = " ".join(f"{column}:{short}" for column, short in found.columns.items())
                rows.append((source, table, found.rows, found.sha256, columns))
    pl.DataFrame(rows, ["source", "table", "rows", "sha256", "columns"], orient="row").write_csv(GOLDEN)


def write_text(target: Path) -> None:
    """Write all tables as text, one file a source and table."""
    with TemporaryDirectory() as folder:
        for source in SOURCES:
            place = target / source
            place.mkdir(parents=True, exist_ok=True)
            for name, table in published(store_of(source, Path(folder))):
                (place / f"{name}.tsv").write_text("\n".join(lines(table)) + "\n", "utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            write_golden()
        case ["--text", folder]:
            write_text(Path(folder))
        case _:
            sys.exit(__doc__)

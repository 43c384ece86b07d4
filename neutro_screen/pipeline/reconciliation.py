"""The proof, before a run is published, that no accepted row left the store without a reason on record.

Per table and patient: rows after = rows before + rows that arrived - results newly set aside, where a result counts as set
aside only if quarantine holds its reason. It compares what is in the store with what the history step found to be new,
whatever the statements in between did.

The rows that were there before are counted per table and not per patient, which DuckDB answers without reading any: their
places come before those of the run's rows, and none of them may be missing but those of which DuckDB has said, when it
deleted them, whose they were. The run's own rows are counted per patient.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.errors import PublishError
from neutro_screen.pipeline.rows import CHART
from neutro_screen.store.rows import first_row, read_table, size_of

#: The tables of accepted rows.
ACCEPTED: Final = ("lab_result", *CHART)
#: The shape of counts: how many rows of a table are of a patient.
HELD: Final = pl.Schema({"kept_in": pl.String(), "patient_id": pl.String(), "n": pl.Int64()})


class Held(NamedTuple):
    """The accepted rows before the run: by table how many, and the place (rowid) behind the last; results set aside
    (``HELD``).
    """

    rows: dict[str, int]
    ends: dict[str, int]
    set_aside: pl.DataFrame


_LEFT: Final = 'SELECT count(*) FROM "{table}" WHERE rowid < ?'
_ADDED: Final = (
    "SELECT '{table}' AS kept_in, patient_id, count(*) AS n FROM \"{table}\" WHERE rowid >= {end} GROUP BY patient_id"
)
_SET_ASIDE: Final = (
    "SELECT 'lab_result' AS kept_in, patient_id, count(*) AS n FROM contradicted_result GROUP BY patient_id"
)
_EXPLAINED: Final = (
    "SELECT kept_in, patient_id, least(aside.n, reason.n) AS n FROM "
    f"({_SET_ASIDE}) aside JOIN (SELECT patient_id, count(*) AS n FROM rejected_row WHERE scope = 'specimen' "
    "GROUP BY patient_id) reason USING (patient_id)"
)


def arrivals(new: Iterable[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """The new rows (patient_id) of each table counted: shape ``HELD``; tables without accepted rows are left out."""
    counted = [
        rows.group_by("patient_id")
        .agg(n=pl.len().cast(pl.Int64))
        .select(pl.lit(table).alias("kept_in"), "patient_id", "n")
        for table, rows in new
        if table in ACCEPTED
    ]
    return pl.concat([pl.DataFrame(schema=HELD), *counted])


def removed_results(patients: pl.DataFrame) -> pl.DataFrame:
    """Deleted laboratory results (patient_id), counted: shape ``HELD``."""
    return arrivals([("lab_result", patients)])


def remember_held(connection: DuckDBPyConnection) -> Held:
    """Count the accepted rows of the store before anything of the run is written into it, for ``check_held``."""
    sizes = {table: size_of(connection, table) for table in ACCEPTED}
    return Held(
        rows={table: size[0] for table, size in sizes.items()},
        ends={table: size[1] for table, size in sizes.items()},
        set_aside=read_table(connection, _SET_ASIDE),
    )


def check_held(connection: DuckDBPyConnection, held: Held, arrived: pl.DataFrame, removed: pl.DataFrame) -> None:
    """Compare with what ``remember_held`` counted, what has ``arrived`` and what was ``removed`` since (shape ``HELD``).

    Raises:
        PublishError: a stored row is missing without a reason, or stored twice; nothing may be published then.
    """
    added = [read_table(connection, _ADDED.format(table=table, end=held.ends[table])) for table in ACCEPTED]
    explained = read_table(connection, _EXPLAINED)
    gone, left = [held.set_aside, arrived, removed], [*added, explained]
    difference = _balance(left, gone, ["kept_in", "patient_id"])
    missing = _balance([removed, _still_there(connection, held)], [_were_there(held)], ["kept_in"])
    found = pl.concat([difference, missing.with_columns(patient_id=pl.lit(None, pl.String))], how="diagonal")
    if found.height:
        raise PublishError(
            f"{found['n'].abs().sum()} accepted rows of {found['patient_id'].n_unique()} patients would leave the store "
            "without a reason on record, or be stored twice",
            remedy="Nothing was published: the previous results stand. This is an error of the program.",
        )


def _were_there(held: Held) -> pl.DataFrame:
    return pl.DataFrame({"kept_in": list(held.rows), "patient_id": None, "n": list(held.rows.values())}, schema=HELD)


def _still_there(connection: DuckDBPyConnection, held: Held) -> pl.DataFrame:
    """Of the rows that were there before the run how many are left, by table."""
    left = [(first_row(connection, _LEFT.format(table=table), [held.ends[table]]) or (0,))[0] for table in held.ends]
    return pl.DataFrame({"kept_in": list(held.ends), "patient_id": None, "n": left}, schema=HELD)


def _balance(left: Iterable[pl.DataFrame], right: Iterable[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """Where the counts (``HELD``) of both sides differ: the keys and ``n``, left minus right."""
    against = [counts.with_columns(-pl.col("n")) for counts in right]
    both = pl.concat([counts.select(list(HELD)) for counts in [*left, *against]])
    return both.group_by(keys).agg(pl.col("n").sum()).filter(pl.col("n") != 0)

"""The proof, before a run is published, that no accepted row left the store without a reason on record.

Per table and patient: rows after = rows before + rows that arrived - results newly set aside, where a result counts as set
aside only if quarantine holds its reason. It compares what is in the store with what the history step found to be new,
whatever the statements in between did.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.errors import PublishError
from neutro_screen.pipeline.rows import CHART
from neutro_screen.store.rows import first_row, registered

#: The tables of accepted rows.
ACCEPTED: Final = ("lab_result", *CHART)
#: The shape of counts: how many rows of a table are of a patient.
HELD: Final = {"kept_in": pl.String(), "patient_id": pl.String(), "n": pl.Int64()}

_COUNT: Final = "SELECT '{table}' AS kept_in, patient_id, count(*) AS n FROM \"{table}\" GROUP BY patient_id"
_KEPT: Final = " UNION ALL ".join(_COUNT.format(table=table) for table in ACCEPTED)
_SET_ASIDE: Final = "SELECT patient_id, count(*) AS n FROM contradicted_result GROUP BY patient_id"
_EXPLAINED: Final = (
    "SELECT patient_id, least(aside.n, reason.n) AS n FROM "
    f"({_SET_ASIDE}) aside JOIN (SELECT patient_id, count(*) AS n FROM rejected_row WHERE scope = 'specimen' "
    "GROUP BY patient_id) reason USING (patient_id)"
)
_BEFORE: Final = f"{_KEPT} UNION ALL SELECT 'lab_result', patient_id, n FROM ({_SET_ASIDE})"
_AFTER: Final = f"{_KEPT} UNION ALL SELECT 'lab_result', patient_id, n FROM ({_EXPLAINED})"
_DIFFERENCE: Final = f"""
    SELECT coalesce(sum(abs(n)), 0), count(DISTINCT patient_id) FROM (
        SELECT patient_id, sum(n) AS n FROM (
            SELECT * FROM ({_AFTER})
            UNION ALL SELECT kept_in, patient_id, -n FROM held_before
            UNION ALL SELECT kept_in, patient_id, -n FROM arrived
        ) GROUP BY kept_in, patient_id HAVING sum(n) <> 0
    )
"""


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


def remember_held(connection: DuckDBPyConnection) -> None:
    """Count the accepted rows of the store before anything of the run is written into it, for ``check_held``."""
    connection.execute(f"CREATE TEMP TABLE held_before AS {_BEFORE}")


def check_held(connection: DuckDBPyConnection, arrived: pl.DataFrame) -> None:
    """Compare with what ``remember_held`` counted and what has ``arrived`` (shape ``HELD``).

    Raises:
        PublishError: a stored row is missing without a reason, or stored twice; nothing may be published then.
    """
    with registered(connection, "arrived", arrived):
        rows, patients = first_row(connection, _DIFFERENCE) or (0, 0)
    connection.execute("DROP TABLE held_before")
    if rows:
        raise PublishError(
            f"{rows} accepted rows of {patients} patients would leave the store without a reason on record, or be stored "
            "twice",
            remedy="Nothing was published: the previous results stand. This is an error of the program.",
        )

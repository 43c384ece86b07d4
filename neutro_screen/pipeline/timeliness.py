"""What did not come in tonight: a laboratory or a whole kind of data that has fallen silent."""

from collections.abc import Iterable
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.pipeline.handover import Outcome
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.summary import Account
from neutro_screen.quality.timeliness import laboratory_days, silence_warnings
from neutro_screen.reference import load_policy
from neutro_screen.store.rows import insert, read_table


def publish_warnings(
    connection: DuckDBPyConnection, settings: RunOptions, account: Account, outcomes: Iterable[Outcome], run_id: str
) -> pl.DataFrame:
    """Store and return what did not come in tonight (``RunWarning`` without run_id).

    The days on which each laboratory collected are kept for the next night.
    """
    known = read_table(connection, "SELECT * FROM laboratory_day")
    if not known.height:  # the store is new, or was brought up from a version without the table
        known = read_table(connection, _LABORATORY_DAYS, {"as_of": settings.as_of})
    collected = pl.concat(outcome.collected_days for outcome in outcomes)
    days = laboratory_days(collected.select("lab", collected_at="newest_at"), known, settings.as_of)
    connection.execute("DELETE FROM laboratory_day")
    insert(connection, "laboratory_day", days)
    tonight = pl.lit(settings.as_of).cast(pl.Datetime("us"))
    extracts = read_table(connection, _EXTRACTS, {"as_of": settings.as_of}).with_columns(at=pl.coalesce("at", tonight))
    warnings = silence_warnings(
        usable_rows=account.accepted + account.duplicate,
        new_rows=account.accepted,
        days=days,
        extracts=extracts,
        as_of=settings.as_of,
        rule=load_policy(settings.policy).silence,
    )
    insert(connection, "run_warning", warnings.with_columns(run_id=pl.lit(run_id)))
    return warnings


_LABORATORY_DAYS: Final = (
    "SELECT lab, CAST(collected_at AS DATE) AS day, max(collected_at) AS newest_at FROM lab_result "
    "WHERE collected_at <= $as_of GROUP BY ALL"
)
#: The runs up to now that brought each kind of data; tonight's run has no row of its own yet.
_EXTRACTS: Final = (
    'SELECT DISTINCT kind, as_of AS "at" FROM source_file LEFT JOIN run USING (run_id) '
    'WHERE "rows" > 0 AND coalesce(as_of <= $as_of, true)'
)

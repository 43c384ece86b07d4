"""The warnings of a run: what did not come in, or too little, and the rules that the policy keeps from firing."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.pipeline.handover import Outcome
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.summary import Account
from neutro_screen.quality.timeliness import ARRIVALS, EXTRACTS, Received, laboratory_days, silence_warnings
from neutro_screen.reference import Policy, load_policy
from neutro_screen.reference.policy import policy_faults
from neutro_screen.store.rows import insert, read_table


def publish_warnings(
    connection: DuckDBPyConnection,
    settings: RunOptions,
    account: Account,
    files: Sequence[Mapping[str, Any]],
    outcomes: Sequence[Outcome],
    measures: pl.DataFrame,
    run_id: str,
) -> pl.DataFrame:
    """Store and return what did not come in tonight, and the rules that the policy keeps from firing (``RunWarning``
    without run_id).

    The days on which each laboratory collected are kept for the next night.
    """
    policy, skipped = load_policy(settings.policy), sum(file["known_rows"] or 0 for file in files)
    rule = policy.silence
    since = settings.as_of - timedelta(days=rule.history_d + rule.stopped_d)
    runs = read_table(connection, _RUNS, {"as_of": settings.as_of, "since": since})
    received = Received(
        read_rows=account.rows_in,
        usable_rows=account.accepted + account.duplicate + skipped,
        new_rows=account.accepted,
        days=_publish_days(connection, settings, outcomes),
        arrivals=pl.concat([_earlier_arrivals(connection, runs), _tonights_arrivals(settings, measures)]),
        extracts=_extracts(connection, settings),
        runs=pl.concat([runs.select("at"), _tonight(settings)]),
    )
    silent = silence_warnings(received, settings.as_of, rule)
    warnings = pl.concat([silent, _rules_off(policy).select(silent.columns)])
    insert(connection, "run_warning", warnings.with_columns(run_id=pl.lit(run_id)))
    return warnings


def _rules_off(policy: Policy) -> pl.DataFrame:
    """A warning of the kind ``policy`` for every rule that its numbers keep from firing."""
    faults = pl.DataFrame({"detail": policy_faults(policy)}, schema={"detail": pl.String})
    return faults.with_columns(
        kind=pl.lit("policy"), lab=pl.lit(None, pl.String), since=pl.lit(None, pl.Datetime("us"))
    )


def _publish_days(connection: DuckDBPyConnection, settings: RunOptions, outcomes: Sequence[Outcome]) -> pl.DataFrame:
    known = read_table(connection, "SELECT * FROM laboratory_day")
    if not known.height:  # the store is new, or was brought up from a version without the table
        known = read_table(connection, _LABORATORY_DAYS, {"as_of": settings.as_of})
    collected = pl.concat(outcome.collected_days for outcome in outcomes)
    days = laboratory_days(collected.select("lab", collected_at="newest_at"), known, settings.as_of)
    connection.execute("DELETE FROM laboratory_day")
    insert(connection, "laboratory_day", days)
    return days


def _tonight(settings: RunOptions) -> pl.DataFrame:
    return pl.DataFrame({"at": [settings.as_of]}, schema={"at": pl.Datetime("us")})


def _tonights_arrivals(settings: RunOptions, measures: pl.DataFrame) -> pl.DataFrame:
    new = measures.filter(pl.col("measure") == "new", pl.col("analyte").is_not_null(), pl.col("source_file").is_null())
    return _shaped(new.join(_tonight(settings), how="cross"), ARRIVALS)


def _earlier_arrivals(connection: DuckDBPyConnection, runs: pl.DataFrame) -> pl.DataFrame:
    """New results of the last runs; of runs before there was such a measure those that the store still holds."""
    measured = read_table(connection, _MEASURED, {"runs": runs["run_id"].to_list()})
    unmeasured = runs.join(measured, on="run_id", how="anti")["run_id"].to_list()
    stored = measured.clear()
    if first_rows := read_table(connection, _WITH_ROWS, {"runs": unmeasured})["run_id"].to_list():
        stored = read_table(connection, _STORED, {"runs": first_rows})
    return _shaped(pl.concat([measured, stored]).join(runs, on="run_id"), ARRIVALS)


def _extracts(connection: DuckDBPyConnection, settings: RunOptions) -> pl.DataFrame:
    found = read_table(connection, _EXTRACTS, {"as_of": settings.as_of})
    return _shaped(found.with_columns(pl.col("at").fill_null(settings.as_of)), EXTRACTS)


def _shaped(frame: pl.DataFrame, shape: dict[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in shape.items())


_LABORATORY_DAYS: Final = (
    "SELECT lab, CAST(collected_at AS DATE) AS day, max(collected_at) AS newest_at FROM lab_result "
    "WHERE collected_at <= $as_of GROUP BY ALL"
)
_RUNS: Final = 'SELECT run_id, as_of AS "at" FROM run WHERE as_of BETWEEN $since AND $as_of'
_MEASURED: Final = (
    "SELECT run_id, lab, analyte, n FROM quality_measure WHERE measure = 'new' AND source_file IS NULL "
    "AND analyte IS NOT NULL AND run_id IN (SELECT unnest($runs))"
)
_WITH_ROWS: Final = "SELECT DISTINCT run_id FROM quality_measure WHERE run_id IN (SELECT unnest($runs))"
_STORED: Final = (
    "SELECT run_id, lab, analyte, count(*) AS n FROM lab_result WHERE run_id IN (SELECT unnest($runs)) GROUP BY ALL"
)
#: Rows of each kind by the run that read them; tonight's run has no row of its own yet.
_EXTRACTS: Final = (
    'SELECT kind, as_of AS "at", sum("rows") AS n FROM source_file LEFT JOIN run USING (run_id) '
    'WHERE "rows" > 0 AND coalesce(as_of <= $as_of, true) GROUP BY ALL'
)

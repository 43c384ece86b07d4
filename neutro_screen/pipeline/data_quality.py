"""The quality of a run's data: what is counted and measured, what drifted, and when a run is refused for it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import WITHHELD
from neutro_schemas.store import QualityCount
from neutro_screen.errors import RefusedInputError
from neutro_screen.pipeline.handover import Outcome
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.summary import Account
from neutro_screen.quality.drift import quality_drift
from neutro_screen.quality.measures import merged, quality_counts, quality_measures
from neutro_screen.reference import load_policy
from neutro_screen.store.file import reading
from neutro_screen.store.rows import insert, read_table
from neutro_screen.validate import dtypes


def publish_quality(
    connection: DuckDBPyConnection,
    settings: RunOptions,
    outcomes: Sequence[Outcome],
    measures: pl.DataFrame,
    run_id: str,
) -> tuple[str, ...]:
    """Store the counts and measures of the run's data and what drifted since the last runs; returns that in words."""
    counts = merged(outcome.counts for outcome in outcomes)
    drift = _drift(connection, settings, measures, run_id)
    insert(
        connection,
        "quality_count",
        quality_rows((row for outcome in outcomes for row in outcome.unmatched_drugs), counts, run_id),
    )
    insert(connection, "quality_measure", measures)
    insert(connection, "quality_drift", drift)
    return tuple(drift["words"])


def quality_rows(unmatched_drugs: Iterable[Mapping[str, object]], counts: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Laboratory rows by what became of them, and the drug names that no table knows (``QualityCount``)."""
    drugs = pl.DataFrame(list(unmatched_drugs), schema=dtypes(QualityCount)).with_columns(run_id=pl.lit(run_id))
    keys = [name for name in drugs.columns if name != "rows"]
    return pl.concat(
        [
            quality_counts(counts, run_id),
            drugs.group_by(keys).agg(pl.col("rows").sum()).select(drugs.columns).sort(keys),
        ]
    )


def tonights_measures(outcomes: Sequence[Outcome], run_id: str) -> pl.DataFrame:
    """The measures of the run's data (``QualityMeasure``)."""
    return quality_measures(merged(outcome.counts for outcome in outcomes), run_id)


def _drift(connection: DuckDBPyConnection, settings: RunOptions, measures: pl.DataFrame, run_id: str) -> pl.DataFrame:
    policy = load_policy(settings.policy)
    before = read_table(connection, _LAST_MEASURES, {"as_of": settings.as_of, "runs": policy.drift.runs})
    known = read_table(connection, _KNOWN_LABORATORIES, {"as_of": settings.as_of})
    return quality_drift(measures, before, run_id, policy, known)


def _drift_in_words(settings: RunOptions, outcomes: Sequence[Outcome], run_id: str) -> list[str]:
    """What drifted in a run that will not be published."""
    if not settings.store.exists():
        return []
    with reading(settings.store) as connection:
        drift = _drift(connection, settings, tonights_measures(outcomes, run_id), run_id)
    return drift["words"].to_list()


#: What the laboratories sent in the last runs of earlier nights; of several runs for one night the latest.
_LAST_MEASURES: Final = (
    "SELECT * FROM quality_measure WHERE source_file IS NULL AND run_id IN (SELECT run_id FROM (SELECT run_id, as_of "
    "FROM run WHERE as_of < $as_of QUALIFY row_number() OVER "
    "(PARTITION BY as_of ORDER BY started_at DESC, run_id DESC) = 1) ORDER BY as_of DESC LIMIT $runs)"
)


#: A laboratory that comes once a month is in none of the last runs, and known.
_KNOWN_LABORATORIES: Final = (
    "SELECT DISTINCT lab FROM quality_measure JOIN run USING (run_id) WHERE measure = 'rows' AND analyte IS NULL "
    "AND source_file IS NULL AND as_of < $as_of"
)


def check_share(account: Account, settings: RunOptions, outcomes: Sequence[Outcome], run_id: str) -> None:
    """Refuse a run of which too much was refused. A single row among others stops them only where none may be refused at all.

    Rows of tests that were not understood do not count: they are reported by themselves (``recognition``), and a test that
    is new must not stop those that are known.

    Raises:
        RefusedInputError: more than ``max_rejected`` of the screened rows were; a laboratory that changed its units
            overnight can do that to a whole run, so the message names what drifted.
    """
    aside = _kept_aside(outcomes)
    screened, rejected = account.rows_in - account.not_screened - aside, account.rejected - aside
    is_over = rejected > settings.max_rejected * screened
    is_single = rejected == 1 < screened and settings.max_rejected > 0
    if is_over and not is_single:
        raise RefusedInputError(
            f"{rejected} of {screened} screened laboratory rows would be refused "
            f"({rejected / screened:.0%}; at most {settings.max_rejected:.0%} allowed)",
            remedy="".join(f"{words}. " for words in _drift_in_words(settings, outcomes, run_id)[:_MOST_NAMED])
            + "`neutro-screen check` lists the reasons. Nothing was published.",
        )


def _kept_aside(outcomes: Sequence[Outcome]) -> int:
    counts = merged(outcome.counts for outcome in outcomes)
    return int(counts.filter(pl.col("measure") == "rejected", pl.col("detail").is_in(WITHHELD))["n"].sum())


#: Findings in the message of a refused run.
_MOST_NAMED: Final = 3

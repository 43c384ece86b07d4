"""The worklist of a run: who is on it, and what changed since the night before."""

from datetime import datetime
from typing import Final, NamedTuple

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.pipeline.merges import with_survivor
from neutro_screen.pipeline.rows import patients_of
from neutro_screen.rules.worklist.order import open_cases, worklist_rows
from neutro_screen.store.rows import insert, read_table, registered


class ShownBefore(NamedTuple):
    """What earlier nights showed, as it would have been with tonight's merges.

    ``previous``: the worklist of the night before (``WorklistRow``), one row per person; ``seen``: the episodes
    (episode_id) that were shown as resolved.
    """

    previous: pl.DataFrame
    seen: pl.DataFrame


def previous_worklist(connection: DuckDBPyConnection, as_of: datetime) -> pl.DataFrame:
    """The worklist of the night before (``WorklistRow``)."""
    return read_table(connection, _PREVIOUS_WORKLIST, {"as_of": as_of})


def seen_episodes(connection: DuckDBPyConnection, as_of: datetime) -> pl.DataFrame:
    """Episodes (episode_id) of the view ``screened`` that were shown as resolved; to be read before they are replaced."""
    return read_table(connection, _SEEN_EPISODES, {"as_of": as_of})


def shown_before(previous: pl.DataFrame, seen: pl.DataFrame, survivors: pl.DataFrame) -> ShownBefore:
    """What earlier nights showed, under the patients' present ids."""
    return ShownBefore(_previous_by_survivor(previous, survivors), pl.concat([seen, _under_survivor(seen, survivors)]))


def publish_worklist(
    connection: DuckDBPyConnection, screened: pl.DataFrame, shown: ShownBefore, as_of: datetime, run_id: str
) -> pl.DataFrame:
    """Store and return the worklist of this run (``WorklistRow``).

    Only what can be on it is read, so that it costs the same after many years.
    """
    with registered(connection, "screened", screened):
        episodes = read_table(connection, _CASES, {"as_of": as_of})
    declines = read_table(connection, _STANDING_DECLINES)
    wanted = patients_of([episodes, declines, shown.previous])
    with registered(connection, "wanted", wanted):
        status = read_table(connection, "SELECT * FROM patient_summary SEMI JOIN wanted USING (patient_id)").lazy()
    cases = open_cases(episodes.lazy(), declines.lazy(), status, shown.seen.lazy())
    worklist = worklist_rows(cases, status, shown.previous.lazy(), run_id).collect()
    insert(connection, "worklist_row", worklist)
    return worklist


def _previous_by_survivor(previous: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    """The worklist of the run before as it would have been with tonight's merges: the most urgent row of each person."""
    return (
        with_survivor(previous, survivors)
        .sort(pl.col("change") == "resolved", "priority", "patient_id", descending=[False, True, False])
        .unique("patient_id", keep="first", maintain_order=True)
    )


def _under_survivor(episodes: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    """The ids that the episodes of merged-away records have now: an id is the patient's, a slash and the start."""
    away = episodes.with_columns(patient_id=pl.col("episode_id").str.replace(r"/[^/]*$", "")).join(
        survivors, on="patient_id"
    )
    start = pl.col("episode_id").str.extract(r"(/[^/]*)$")
    return away.select(episode_id=pl.concat_str("survivor_id", start))


#: The worklist of the latest run of an earlier night: a run repeated for the same night changes nothing.
_PREVIOUS_WORKLIST: Final = (
    "SELECT * FROM worklist_row WHERE run_id = "
    "(SELECT run_id FROM run WHERE as_of < $as_of ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1)"
)
#: Episodes that another run for the same night has shown.
_SHOWN_TONIGHT: Final = (
    "(SELECT episode_id FROM worklist_row JOIN run USING (run_id) WHERE as_of = $as_of AND change <> 'resolved')"
)
#: Episodes of the patients now screened that were published as resolved, save those first shown by another run for the
#: same night.
_SEEN_EPISODES: Final = (
    "SELECT episode_id FROM episode SEMI JOIN screened USING (patient_id) "
    f"WHERE ended_at IS NOT NULL AND NOT coalesce(episode_id IN {_SHOWN_TONIGHT}, false)"
)
#: All that can be on tonight's worklist. A resolved episode of a patient not screened now was shown on an earlier night.
_CASES: Final = (
    "SELECT * FROM episode WHERE priority IS NOT NULL AND (ended_at IS NULL OR patient_id IN "
    f"(SELECT patient_id FROM screened) OR coalesce(episode_id IN {_SHOWN_TONIGHT}, false))"
)
#: Falling counts outside of an episode that the last result of their patient still shows.
_STANDING_DECLINES: Final = (
    "SELECT f.* FROM flag f JOIN patient_summary s ON s.patient_id = f.patient_id AND s.last_collected_at = f.raised_at "
    "WHERE f.rule_id LIKE 'RPD-%' AND f.episode_id IS NULL"
)

"""The worklist of a run: who is on it, and what changed since the night before."""

from datetime import datetime
from typing import Final, NamedTuple

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.pipeline.merges import with_survivor
from neutro_screen.pipeline.rows import patients_of
from neutro_screen.reference import Policy, load_reference
from neutro_screen.rules.worklist.order import EPISODE_COLUMNS, STATUS_COLUMNS, open_cases, worklist_rows
from neutro_screen.rules.worklist.standing import STANDING
from neutro_screen.store.rows import first_row, insert, is_of, read_table, registered
from neutro_screen.store.views import LATEST_RUN, UNDELIVERED_RUNS


class ShownBefore(NamedTuple):
    """What earlier nights showed.

    ``last``: the run whose worklist is the one of the night before, None where there is none; ``carried``: whose row of
    it stands tonight as well (patient_id, row_group, priority, change); ``previous``: its other rows (``WorklistRow``),
    as they would have been with tonight's merges, one per person; ``seen``: the episodes (episode_id) that were shown as
    resolved.
    """

    last: str | None
    carried: pl.DataFrame
    previous: pl.DataFrame
    seen: pl.DataFrame


def last_shown(connection: DuckDBPyConnection, as_of: datetime) -> str | None:
    """The latest run of an earlier night that reached its readers, None where there is none."""
    row = first_row(connection, _LAST_SHOWN, [as_of])
    return str(row[0]) if row else None


def seen_episodes(connection: DuckDBPyConnection, last: str | None) -> pl.DataFrame:
    """Episodes (episode_id) of the view ``screened`` that were shown as resolved; to be read before they are replaced."""
    return read_table(connection, _SEEN_EPISODES, {"last": last})


def shown_before(
    connection: DuckDBPyConnection,
    last: str | None,
    screened: pl.DataFrame,
    seen: pl.DataFrame,
    survivors: pl.DataFrame,
) -> ShownBefore:
    """What earlier nights showed, under the patients' present ids; ``screened`` (patient_id) are those of tonight."""
    with registered(connection, "screened", screened):
        carried = read_table(connection, _CARRIED, {"last": last})
    with registered(connection, "carried", carried):
        previous = read_table(connection, _PREVIOUS_WORKLIST, {"last": last})
    return ShownBefore(
        last, carried, _previous_by_survivor(previous, survivors), pl.concat([seen, _under_survivor(seen, survivors)])
    )


def publish_worklist(
    connection: DuckDBPyConnection,
    screened: pl.DataFrame,
    shown: ShownBefore,
    policy: Policy,
    as_of: datetime,
    run_id: str,
) -> pl.DataFrame:
    """Store and return the worklist of this run (``WorklistRow``; of rows carried over only the columns of ``carried``).

    Only what can be on it is read, so that it costs the same after many years.
    """
    with registered(connection, "carried", shown.carried):
        with registered(connection, "screened", screened):
            episodes = read_table(connection, _CASES, {"last": shown.last})
        standing = read_table(connection, _STANDING)
        connection.execute(_CARRY_OVER, {"last": shown.last, "run_id": run_id})
    wanted = patients_of([episodes, standing, shown.previous])
    with registered(connection, "wanted", wanted):
        status = read_table(connection, _STATUS).lazy()
    with registered(connection, "before", shown.previous.select("patient_id")):
        courses = read_table(connection, _COURSES).lazy()
    reference = load_reference().worded_by(policy)
    cases = open_cases(episodes.lazy(), standing.lazy(), status, shown.seen.lazy(), reference)
    worklist = worklist_rows(cases, status, shown.previous.lazy(), courses, reference, policy, as_of, run_id).collect()
    insert(connection, "worklist_row", worklist)
    return pl.concat([worklist, shown.carried], how="diagonal")


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


#: A run repeated for the same night changes nothing, and after a run that reached nobody what was new is new still.
_LAST_SHOWN: Final = (
    f"SELECT run_id FROM run WHERE as_of < ? AND run_id NOT IN ({UNDELIVERED_RUNS}) "
    "ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1"
)
#: Patients who were lost to follow-up, and of whom nothing was screened since: neither tonight, nor by a run between, nor
#: under another policy, version or identity, after which everybody concerned is screened. Silence changes nothing of
#: their row but that it is no longer new (EPI-6).
_CARRIED: Final = (
    "SELECT patient_id, row_group, priority, 'unchanged' AS change FROM worklist_row ANTI JOIN screened USING (patient_id) "
    f"WHERE run_id = $last AND run_id = ({LATEST_RUN}) AND row_group = 'lost_to_follow_up'"
)
_CARRY_OVER: Final = (
    "INSERT INTO worklist_row BY NAME SELECT * REPLACE ($run_id AS run_id, priority AS previous_priority, "
    "'unchanged' AS change, false AS is_recent) FROM worklist_row SEMI JOIN carried USING (patient_id) WHERE run_id = $last"
)
_PREVIOUS_WORKLIST: Final = "SELECT * FROM worklist_row ANTI JOIN carried USING (patient_id) WHERE run_id = $last"
#: Episodes that runs after that one have listed: those for the same night, and those that reached nobody.
_NOT_SHOWN_BEFORE: Final = (
    "(SELECT episode_id FROM worklist_row JOIN run USING (run_id) WHERE change <> 'resolved' "
    "AND as_of > coalesce((SELECT as_of FROM run WHERE run_id = $last), TIMESTAMP '-infinity'))"
)
#: Episodes of the patients now screened that were published as resolved, save those first listed by such a run.
_SEEN_EPISODES: Final = (
    "SELECT episode_id FROM episode SEMI JOIN screened USING (patient_id) "
    f"WHERE ended_at IS NOT NULL AND NOT coalesce(episode_id IN {_NOT_SHOWN_BEFORE}, false)"
)
#: All that can be on tonight's worklist. A resolved episode of a patient not screened now was shown on an earlier night.
_CASES: Final = (
    f"SELECT {', '.join(EPISODE_COLUMNS)} FROM episode ANTI JOIN carried USING (patient_id) "
    "WHERE priority IS NOT NULL AND rowid IN (SELECT rowid FROM episode WHERE ended_at IS NULL UNION ALL "
    f"SELECT rowid FROM episode WHERE {is_of('screened', 'episode')} UNION ALL "
    f"SELECT rowid FROM episode WHERE episode_id IN {_NOT_SHOWN_BEFORE})"
)
_STATUS: Final = f"SELECT {', '.join(STATUS_COLUMNS)} FROM patient_summary SEMI JOIN wanted USING (patient_id)"
#: Findings outside of an episode: those that the last result of their patient still shows, and overdue clozapine counts.
_STANDING: Final = (
    "SELECT f.patient_id, f.rule_id, f.raised_at, f.episode_id, f.reason FROM flag f JOIN patient_summary s ON s.patient_id = f.patient_id "
    "AND (s.last_collected_at = f.raised_at OR f.rule_id = 'SEV-4') "
    f"WHERE regexp_matches(f.rule_id, '^({'|'.join(STANDING)})') AND f.episode_id IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM carried WHERE carried.patient_id = f.patient_id)"
)
#: All episodes of the patients who were on the worklist before.
_COURSES: Final = "SELECT patient_id, started_at, ended_at FROM episode SEMI JOIN before USING (patient_id)"

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
from neutro_screen.store.rows import first_row, insert, is_of, places_of, read_table, registered
from neutro_screen.store.views import LATEST_RUN, STANDING_ON, UNDELIVERED_RUNS


class ShownBefore(NamedTuple):
    """What earlier nights showed.

    ``last``: the run whose worklist is the one of the night before, None where there is none; ``carried_since``: the first
    run whose rows stand tonight as well (``RunTable.carries_since``), None where none do; ``previous``: the other rows of
    ``last`` (``WorklistRow``), as they would have been with tonight's merges, one per person; ``seen``: the episodes
    (episode_id) that were shown as resolved.
    """

    last: str | None
    carried_since: str | None
    previous: pl.DataFrame
    seen: pl.DataFrame


class Published(NamedTuple):
    """The worklist of the run: its rows counted (row_group, priority, change, n), and ``RunTable.carries_since``."""

    counts: pl.DataFrame
    carries_since: str


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
    """What earlier nights showed, under the patients' present ids; ``screened`` (patient_id) are those of tonight.

    A row of a patient who is screened is carried over no further than to ``last``.
    """
    row = first_row(connection, _CARRIES, [last])
    since = str(row[0]) if row else None
    with registered(connection, "screened", screened):
        previous = read_table(connection, _PREVIOUS_WORKLIST if since else _LAST_WORKLIST, {"last": last})
        connection.execute(_CARRIED_NO_FURTHER, {"last": last, "since": since})
    seen = pl.concat([seen, _under_survivor(seen, survivors)])
    return ShownBefore(last, since, _previous_by_survivor(previous, survivors), seen)


def publish_worklist(
    connection: DuckDBPyConnection,
    screened: pl.DataFrame,
    shown: ShownBefore,
    policy: Policy,
    as_of: datetime,
    run_id: str,
) -> Published:
    """Store the worklist of this run; rows that are carried over are neither read nor written.

    Only what else can be on it is read, so that it costs the same after many years.
    """
    carried = {"since": shown.carried_since}
    with registered(connection, "screened", screened):
        episodes = read_table(connection, _CASES, {"last": shown.last} | carried)
    with registered(connection, "seen_tonight", patients_of([screened, shown.previous])):
        standing = read_table(connection, _THEIR_STANDING if shown.carried_since else _ALL_STANDING)
    counts = read_table(connection, _CARRIED_COUNTS, carried)
    wanted = patients_of([episodes, standing, shown.previous])
    with registered(connection, "wanted", wanted):
        status = read_table(connection, _STATUS).lazy()
    with registered(connection, "before", shown.previous.select("patient_id")):
        courses = read_table(connection, _COURSES).lazy()
    reference = load_reference().worded_by(policy)
    cases = open_cases(episodes.lazy(), standing.lazy(), status, shown.seen.lazy(), reference)
    worklist = worklist_rows(cases, status, shown.previous.lazy(), courses, reference, policy, as_of, run_id).collect()
    insert(connection, "worklist_entry", worklist)
    counted = worklist.group_by("row_group", "priority", "change").agg(n=pl.len().cast(pl.Int64))
    return Published(pl.concat([counted, counts]), shown.carried_since or run_id)


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
#: Rows are carried over from the run before while nothing of their patient is screened: neither tonight, nor by a run
#: between, nor under another policy, version or identity, after which everybody concerned is screened.
_CARRIES: Final = (
    f"SELECT carries_since FROM run WHERE run_id = ? AND run_id = ({LATEST_RUN}) AND carries_since IS NOT NULL"
)
_STAND: Final = (
    f"{STANDING_ON} AND stands_until IS NULL AND run_id IN (SELECT run_id FROM run WHERE carries_since = $since)"
)
_CARRIED: Final = f"(SELECT patient_id FROM worklist_entry WHERE {_STAND})"
_CARRIED_COUNTS: Final = (
    f"SELECT row_group, priority, 'unchanged' AS change, count(*) AS n FROM worklist_entry WHERE {_STAND} GROUP BY ALL"
)
_CARRIED_NO_FURTHER: Final = (
    "UPDATE worklist_entry SET stands_until = (SELECT as_of FROM run WHERE run_id = $last) "
    f"WHERE {_STAND} AND {is_of('screened', 'worklist_entry')}"
)
_LAST_WORKLIST: Final = "SELECT * FROM worklist_row WHERE run_id = $last"
_PREVIOUS_WORKLIST: Final = (
    f"{_LAST_WORKLIST} AND (NOT coalesce({STANDING_ON}, false) OR patient_id IN (SELECT patient_id FROM screened))"
)
#: Episodes that runs after that one have listed: those for the same night, and those that reached nobody.
_NOT_SHOWN_BEFORE: Final = (
    "(SELECT episode_id FROM worklist_row JOIN run USING (run_id) WHERE change <> 'resolved' "
    "AND as_of > coalesce((SELECT as_of FROM run WHERE run_id = $last), TIMESTAMP '-infinity'))"
)
#: Episodes of the patients now screened that were published as resolved, save those first listed by such a run.
_SEEN_EPISODES: Final = (
    f"SELECT episode_id FROM episode WHERE {is_of('screened', 'episode')} "
    f"AND ended_at IS NOT NULL AND NOT coalesce(episode_id IN {_NOT_SHOWN_BEFORE}, false)"
)
#: All that can be on tonight's worklist. A resolved episode of a patient not screened now was shown on an earlier night.
_CASES: Final = (
    f"SELECT {', '.join(EPISODE_COLUMNS)} FROM episode WHERE priority IS NOT NULL AND rowid IN ("
    f"SELECT rowid FROM episode ANTI JOIN {_CARRIED} USING (patient_id) WHERE ended_at IS NULL UNION ALL "
    f"SELECT rowid FROM episode WHERE {is_of('screened', 'episode')} UNION ALL "
    f"SELECT rowid FROM episode WHERE episode_id IN {_NOT_SHOWN_BEFORE})"
)
_STATUS: Final = f"SELECT {', '.join(STATUS_COLUMNS)} FROM patient_summary WHERE {is_of('wanted', 'patient_summary')}"
#: Findings outside of an episode: those that the last result of their patient still shows, and overdue clozapine counts.
#: Materialised, because DuckDB else reads the reasons of all flags before it looks for these.
_STANDING: Final = (
    "WITH f AS MATERIALIZED (SELECT patient_id, rule_id, raised_at, episode_id, reason FROM flag WHERE episode_id IS NULL "
    f"AND regexp_matches(rule_id, '^({'|'.join(STANDING)})') AND rowid IN ({{places}})) "
    "SELECT f.* FROM f JOIN patient_summary s ON s.patient_id = f.patient_id "
    "AND (s.last_collected_at = f.raised_at OR f.rule_id = 'SEV-4')"
)
_ALL_STANDING: Final = _STANDING.format(places="SELECT rowid FROM flag WHERE episode_id IS NULL")
#: After a night that listed all of them: those of tonight's patients, and of the rows that are not carried over.
_THEIR_STANDING: Final = _STANDING.format(places=places_of("seen_tonight", "flag")) + (
    " WHERE f.patient_id IN (SELECT patient_id FROM seen_tonight)"
)
#: All episodes of the patients who were on the worklist before.
_COURSES: Final = "SELECT patient_id, started_at, ended_at FROM episode SEMI JOIN before USING (patient_id)"

"""Rows of an older store with dates that cannot be, from before such rows were refused: they go to quarantine."""

from typing import Final

from duckdb import DuckDBPyConnection

from neutro_screen.reference import load_policy
from neutro_screen.rules.dates import CHART_DATES, IMPOSSIBLE_DATE, IMPOSSIBLE_TIME, LAB_TIMES, DateLimits, date_limits
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import SCREENED, columns_of

#: Tables of which a row stays without the date: what it says else still counts, or is concluded anew by the next run.
_CLEARED: Final = ("no_result", "rejected_row", "source_file", "run", "patient_summary", "episode")
_DATES: Final = ("DATE", "TIMESTAMP")


def quarantine_impossible_dates(connection: DuckDBPyConnection) -> None:
    """Move rows with impossible dates to ``rejected_row``, and clear optional dates, as the next night would have read them.

    One such row would keep the reports of everybody from being written. Conclusions drawn from them go; after a migration
    everybody is screened again.
    """
    latest = first_row(connection, "SELECT max(as_of) FROM run")
    if latest is None or latest[0] is None:
        return
    limits = date_limits(load_policy(), latest[0])
    for table in ("lab_result", "contradicted_result"):
        _refuse(connection, table, "lab", IMPOSSIBLE_TIME, tuple(LAB_TIMES), limits)
    for kind, dates in CHART_DATES.items():
        needed = tuple(name for name, use in dates.items() if use == "needed")
        _refuse(connection, kind, kind, IMPOSSIBLE_DATE, needed, limits)
        for name in dates:
            _clear(connection, kind, name, limits)
    for table in (*SCREENED, "laboratory_day", *_CLEARED):
        for name, type_ in columns_of(table).items():
            if type_ not in _DATES or (table, name) in _OF_THE_RUN:
                continue
            if table in _CLEARED:
                _clear(connection, table, name, limits)
            else:
                connection.execute(f'DELETE FROM "{table}" WHERE {_is_impossible(name, limits)}')


#: Times of the clock, and due dates, which may lie far ahead.
_OF_THE_RUN: Final = frozenset({("run", "as_of"), ("run", "started_at"), ("workup_step", "due_on")})


def _is_impossible(name: str, limits: DateLimits) -> str:
    return f"\"{name}\" NOT BETWEEN DATE '{limits.earliest}' AND DATE '{limits.latest}' + 1"


def _clear(connection: DuckDBPyConnection, table: str, name: str, limits: DateLimits) -> None:
    connection.execute(f'UPDATE "{table}" SET "{name}" = NULL WHERE {_is_impossible(name, limits)}')


def _refuse(
    connection: DuckDBPyConnection, table: str, kind: str, reason: str, dates: tuple[str, ...], limits: DateLimits
) -> None:
    if not dates:
        return
    where = " OR ".join(_is_impossible(name, limits) for name in dates)
    which = " ".join(f"WHEN {_is_impossible(name, limits)} THEN '{name}'" for name in dates)
    known = {"patient_id", "specimen_id", "analyte", "source_file", "source_row", "run_id"} & set(columns_of(table))
    listed = ", ".join(f'"{name}"' for name in sorted(known & set(columns_of("rejected_row"))))
    connection.execute(
        f'INSERT INTO rejected_row ({listed}, reason, "column", kind, scope, "row") '
        f"SELECT {listed}, '{reason}', CASE {which} END, '{kind}', 'row', CAST(to_json(t) AS VARCHAR) "
        f'FROM "{table}" t WHERE {where}'
    )
    connection.execute(f'DELETE FROM "{table}" WHERE {where}')

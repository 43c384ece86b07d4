"""The runs of a store: what each did, and whom its results reached."""

from pathlib import Path
from typing import Any, Final

from neutro_screen.store.file import reading
from neutro_screen.store.journal import deliveries_noted, failures_noted
from neutro_screen.store.place import real_path
from neutro_screen.store.rows import read_table

_RUNS: Final = """
    SELECT r.run_id, r.as_of, r.started_at, r.status, CAST(NULL AS INTEGER) AS exit_code, r.policy_version,
           r.software_version, r.rows_in, r.rows_accepted, r.rows_rejected, r.rows_no_result, r.rows_duplicate,
           r.rows_not_screened, b.patients_screened, b.alerts, b."new", true AS published,
           d.report_asked, d.reported_at, d.notification_asked, d.notified_at
    FROM run r JOIN alert_burden b USING (run_id)
    LEFT JOIN (
        SELECT run_id, bool_or(kind = 'report') AS report_asked, bool_or(kind = 'notification') AS notification_asked,
               max(delivered_at) FILTER (kind = 'report') AS reported_at,
               max(delivered_at) FILTER (kind = 'notification') AS notified_at
        FROM run_delivery GROUP BY run_id
    ) d USING (run_id)
    UNION ALL BY NAME
    SELECT "at" AS started_at, 'failed' AS status, CAST(counts ->> '$.exit_code' AS INTEGER) AS exit_code,
           false AS published
    FROM audit WHERE action = 'failed_run'
    ORDER BY started_at, run_id
"""


def runs(store: Path) -> list[dict[str, Any]]:
    """Every run in order of its start, failed ones as well (``run_id`` null, ``exit_code``).

    ``published``: its results are in the store; ``reported`` and ``notified``: true, false where it was asked for and not done,
    null where it was not asked for; with ``reported_at`` and ``notified_at``, UTC. Times that are still in the journal count.

    Raises:
        StoreError: as ``reading``.
    """
    noted = deliveries_noted(store)
    with reading(store) as connection:
        found = read_table(connection, _RUNS).to_dicts()
    told = {(run["started_at"], run["exit_code"]) for run in found}
    failed = [dict.fromkeys(found[0] if found else ()) | run for run in failures_noted(real_path(store))]
    found += [run for run in failed if (run["started_at"], run["exit_code"]) not in told]
    for run in found:
        for done, at, kind in (("reported", "reported_at", "report"), ("notified", "notified_at", "notification")):
            run[at] = run.get(at) or noted.get((run.get("run_id"), kind))
            asked = run.pop(f"{kind}_asked", None)
            run[done] = (run[at] is not None) if asked else None
    return sorted(found, key=lambda run: (run["started_at"], run["run_id"] or ""))

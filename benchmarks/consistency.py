"""What the night benchmarks ask of a store: is it whole, and does it say the same as another one?"""

import hashlib
import json
from pathlib import Path

from duckdb import DuckDBPyConnection

from neutro_screen.store.file import reading
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import SCREENED, columns_of
from neutro_screen.store.views import LATEST_RUN

#: Tables whose rows do not depend on how often the program ran, and the columns that do.
COMPARED = (
    *SCREENED,
    "lab_result",
    "contradicted_result",
    "rejected_row",
    "no_result",
    "medication",
    "patient",
    "diagnosis",
    "event",
)
_LEFT_OUT = ("run_id", "source_file", "source_row")


def faults(connection: DuckDBPyConnection) -> list[str]:
    """What in a store does not fit its latest run: the parts of two runs would show here."""
    latest = first_row(connection, f"SELECT run_id, counts FROM run WHERE run_id = ({LATEST_RUN})")
    if latest is None:
        return ["no run"]
    run_id, counts = latest[0], json.loads(latest[1])
    told = {
        "patients": counts["patients"],
        "worklist": sum(counts["priorities"].values()),
        "cannot_assess": counts["cannot_assess"],
    }
    found = {
        "patients": "SELECT count(*) FROM patient_summary",
        "worklist": f"SELECT count(*) FROM worklist_row WHERE run_id = '{run_id}' "
        "AND row_group IN ('open', 'lost_to_follow_up')",
        "cannot_assess": "SELECT count(DISTINCT patient_id) FROM unassessable",
    }
    wrong = [name for name, query in found.items() if first_row(connection, query) != (told[name],)]
    ran = "(SELECT run_id FROM run)"
    for table in ("lab_result", "flag", "worklist_row", "source_file", "quality_count"):
        if first_row(connection, f"SELECT count(*) FROM {table} WHERE run_id NOT IN {ran}") != (0,):
            wrong.append(f"{table} of no run")
    if first_row(connection, "SELECT count(*) FROM anc ANTI JOIN patient_summary USING (patient_id)") != (0,):
        wrong.append("anc of nobody")
    return wrong


def digest(store: Path) -> dict[str, str]:
    """Table -> SHA-256 of its rows in order, without run ids and where a row was read."""
    with reading(store) as connection:
        return {table: _sha256(connection, table) for table in COMPARED}


def _sha256(connection: DuckDBPyConnection, table: str) -> str:
    columns = ", ".join(f'"{name}"' for name in columns_of(table) if name not in _LEFT_OUT)
    rows = connection.execute(f'SELECT {columns} FROM "{table}" ORDER BY ALL').fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()

"""The table ``audit``: who changed what in a store, and when."""

import getpass
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

import duckdb


def audit(
    connection: duckdb.DuckDBPyConnection,
    *,
    at: datetime,
    action: str,
    by: str | None,
    counts: Mapping[str, int | str],
    patient_id: str | None = None,
) -> None:
    """Record an action; of a patient only the hash of the identifier is kept."""
    subject = None if patient_id is None else hashlib.sha256(patient_id.encode()).hexdigest()
    connection.execute(
        'INSERT INTO audit ("at", action, "by", subject_sha256, counts) VALUES (?, ?, ?, ?, ?)',
        [at, action, by or user_name(), subject, json.dumps(dict(counts), sort_keys=True)],
    )


def user_name() -> str | None:
    """The user of the machine; None where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None

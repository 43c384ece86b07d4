"""What stands in the way of tonight's run: the installation, the reference data, the store and its permissions."""

import os
import shutil
import stat
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal, NamedTuple

import duckdb

from neutro_screen.errors import NeutroScreenError, did_you_mean, extra
from neutro_screen.orchestration.prefect_server import WORKING_VERSIONS, version_fault
from neutro_screen.pipeline.partitions import work_folder
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.report.words import warning_text
from neutro_screen.store.file import lock, log_of, next_folder, reading
from neutro_screen.store.journal import delivered
from neutro_screen.store.rows import first_row, read_table
from neutro_screen.store.schema import SCHEMA_VERSION, TABLES
from neutro_screen.store.views import LATEST_RUN

_LEAST_FREE_COPIES: Final = 3
_LATE_AFTER: Final = timedelta(hours=36)


class Finding(NamedTuple):
    """One check: ``state`` ok, warning, failed or skipped (only by the self-test); what was found; what to do."""

    check: str
    state: Literal["ok", "warning", "failed", "skipped"]
    found: str
    remedy: str = ""


def examine(store: Path | None, now: datetime) -> list[Finding]:
    """All checks in order; a check that fails never stops the next one."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", _python),
        ("packages", _packages),
        ("flows", _flows),
        ("reference data", _reference),
    ]
    if store is not None and not store.exists():
        checks.append(("store", lambda: _missing(store)))
    elif store is not None:
        checks += [
            ("store", lambda: _store(store)),
            ("store contents", lambda: _contents(store)),
            ("store permissions", lambda: _permissions(store)),
            # Before the lock is taken: whoever takes it clears what a killed run has left.
            ("left-overs", lambda: _left_overs(store)),
            ("store lock", lambda: _lock(store)),
            ("disk", lambda: _disk(store)),
            ("clock", lambda: _clock(store, now)),
            ("latest run", lambda: _latest_run(store, now)),
            ("deliveries", lambda: _deliveries(store)),
        ]
    return [_carried_out(name, check) for name, check in checks]


def _missing(store: Path) -> Finding:
    beside = [path.name for path in store.parent.glob("*.duckdb")] if store.parent.is_dir() else []
    remedy = f"{did_you_mean(store.name, beside)}`neutro-screen run --store {store.name} …` makes one."
    return Finding("store", "failed", f"{store}: no such store", remedy)


def _carried_out(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except NeutroScreenError as error:
        return Finding(name, "failed", str(error))
    except OSError as error:
        return Finding(name, "failed", error.strerror or "cannot be read")


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "failed", found, "Install Python 3.11 or newer.")


def _packages() -> Finding:
    return Finding("packages", "ok", ", ".join(f"{name} {version(name)}" for name in ("polars", "pandera", "duckdb")))


def _flows() -> Finding:
    try:
        fault = version_fault()
    except PackageNotFoundError:
        return Finding("flows", "ok", "Prefect is not installed; `run` does not need it", extra("flows"))
    if fault:
        return Finding("flows", "failed", *fault)
    found = ", ".join(f"{name} {version(name)}" for name in ("prefect", "fastapi", "sqlalchemy"))
    return Finding("flows", "ok", f"{found} (works: {WORKING_VERSIONS})")


def _reference() -> Finding:
    reference, policy = load_reference(), load_policy()
    found = f"{reference.lab_codes.height} codes, {reference.unit_factors.height} units, policy {policy.version} ({policy.sha256[:8]})"
    return Finding("reference data", "ok", found)


def _store(store: Path) -> Finding:
    with reading(store) as connection:
        runs = first_row(connection, "SELECT count(*) FROM run")
    return Finding("store", "ok", f"schema {SCHEMA_VERSION}, {runs[0] if runs else 0} runs")


def _contents(store: Path) -> Finding:
    """Read every table once: a damaged block shows only when it is read."""
    with reading(store) as connection:
        for table in TABLES:
            try:
                first_row(connection, f'SELECT count(DISTINCT hash(t)) FROM "{table}" t')
            except duckdb.Error:
                return Finding(
                    "store contents",
                    "failed",
                    f"the table {table} is damaged",
                    "Restore the last backup, then run with the extracts since.",
                )
    return Finding("store contents", "ok", f"{len(TABLES)} tables can be read")


def _permissions(store: Path) -> Finding:
    if not os.access(store.parent, os.W_OK | os.X_OK) or not os.access(store, os.R_OK):
        return Finding(
            "store permissions",
            "failed",
            "the file cannot be read, or its folder not be written",
            "Give both to the user that runs the nights (chown).",
        )
    mode, folder = stat.S_IMODE(store.stat().st_mode), stat.S_IMODE(store.parent.stat().st_mode)
    if mode & 0o007:
        return Finding("store permissions", "warning", f"others may open the file ({mode:04o})", f"chmod o= {store}")
    if folder & 0o027:
        return Finding(
            "store permissions",
            "warning",
            f"others may list its folder, or a group write into it ({folder:04o})",
            f"chmod g-w,o= {store.parent}",
        )
    group = f"; its group {store.stat().st_gid} may read it" if mode & 0o040 else ""
    return Finding("store permissions", "ok", f"{mode:04o} in {folder:04o}{group}")


def _left_overs(store: Path) -> Finding:
    log = log_of(store)
    if log.exists():
        return Finding(
            "left-overs",
            "warning",
            f"{log.name}: another program wrote into the store, or was killed while it did",
            f"Close that program; the next run replaces the file and removes the log. Until then: mv {log} {log}.old",
        )
    left = [path.name for path in (next_folder(store), work_folder(store)) if path.exists()]
    if left:
        return Finding(
            "left-overs",
            "warning",
            f"of a run at work, or of one that was killed: {', '.join(left)}",
            "Nothing: `doctor` and the next run clear them, unless a run is at work.",
        )
    return Finding("left-overs", "ok", "none")


def _clock(store: Path, now: datetime) -> Finding:
    with reading(store) as connection:
        row = first_row(connection, "SELECT max(as_of) FROM run")
    if row and row[0] is not None and row[0] > now:
        return Finding(
            "clock",
            "failed",
            f"the latest run is of {row[0]} UTC, the clock says {now} UTC: no run can be published",
            "Set the clock. If that run was wrong, rebuild the night before it (`neutro-screen rebuild`) and go on from there.",
        )
    return Finding("clock", "ok", f"{now} UTC")


def _lock(store: Path) -> Finding:
    with lock(store):
        shutil.rmtree(work_folder(store), ignore_errors=True)
        return Finding("store lock", "ok", "no run is using the store")


def _disk(store: Path) -> Finding:
    free, size = shutil.disk_usage(store.parent).free, store.stat().st_size
    enough = free > size * _LEAST_FREE_COPIES
    return Finding(
        "disk",
        "ok" if enough else "warning",
        f"{free >> 20} MB free, the store has {size >> 20} MB",
        "" if enough else "Every run writes a copy of the store: make room.",
    )


def _latest_run(store: Path, now: datetime) -> Finding:
    with reading(store) as connection:
        row = first_row(
            connection, f"SELECT as_of, newest_result_at, rows_accepted FROM run WHERE run_id = ({LATEST_RUN})"
        )
        warnings = read_table(
            connection,
            f"SELECT kind, lab, detail, CAST(since AS VARCHAR) AS since FROM run_warning WHERE run_id = ({LATEST_RUN})",
        ).to_dicts()
    if row is None:
        return Finding("latest run", "warning", "the store holds no run yet", "Is the schedule set up?")
    as_of, newest, accepted = row
    if now - as_of > _LATE_AFTER:
        return Finding("latest run", "warning", f"{as_of} UTC", "No run for more than 36 hours: look at the schedule.")
    if warnings:
        return Finding(
            "latest run",
            "warning",
            "; ".join(warning_text(row) for row in warnings),
            "Look at your policy."
            if all(row["kind"] == "policy" for row in warnings)
            else "Silence is not health: look at the laboratory's export.",
        )
    if not accepted or newest is None:
        return Finding(
            "latest run", "warning", f"{as_of} UTC brought no new result", "Look at the laboratory's export."
        )
    return Finding("latest run", "ok", f"{as_of} UTC, newest result {newest} UTC")


def _deliveries(store: Path) -> Finding:
    """Whether the latest run reached its readers: published is not yet reported, nor notified."""
    with reading(store) as connection:
        asked = read_table(
            connection,
            f"SELECT run_id, kind FROM run_delivery WHERE run_id = ({LATEST_RUN}) AND delivered_at IS NULL ORDER BY kind",
        ).rows()
    missing = [kind for run_id, kind in asked if kind not in delivered(store, run_id)]
    if not missing:
        return Finding("deliveries", "ok", "the latest run reached its readers")
    return Finding(
        "deliveries",
        "warning",
        "the latest run is published, but " + " and ".join(_NOT_DELIVERED[kind][0] for kind in missing),
        "; ".join(_NOT_DELIVERED[kind][1] for kind in missing),
    )


#: What was not delivered, and the command that makes up for it.
_NOT_DELIVERED: Final = {
    "report": ("its reports were not written", "`neutro-screen report --store STORE --reports FOLDER`"),
    "notification": ("its notification was not sent", "`neutro-screen notify FILE --store STORE`"),
}

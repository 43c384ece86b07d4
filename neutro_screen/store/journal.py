"""The journal beside a store: what happened since its last publication, without writing into the store.

A command that only reads, and a run that fails, leave the store as it is. What they have to put on record (an export, a
failed run, reports that were written, a notification that was sent) is a line of ``.NAME.journal`` (0600). The next
publication takes the lines over into the tables ``audit`` and ``run_delivery``, in its own transaction. No line holds a
patient's value. If the journal is lost, patients count as new once more: never the other way round.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from neutro_screen.errors import StoreError
from neutro_screen.private import owned_like
from neutro_screen.store.audit import user_name
from neutro_screen.store.place import real_path
from neutro_screen.store.rows import first_row

Delivery = Literal["report", "notification"]


def journal_of(store: Path) -> Path:
    """Where the journal of a store is."""
    return store.with_name(f".{store.name}.journal")


def note_action(store: Path, action: str, counts: Mapping[str, int], *, at: datetime, by: str | None = None) -> None:
    """Record what was done with a store or what failed: a row of ``audit`` after the next publication.

    Raises:
        StoreError: the journal cannot be written.
    """
    _append(store, {"at": at.isoformat(), "action": action, "by": by or user_name(), "counts": dict(counts)})


def note_delivery(store: Path, run_id: str, kind: Delivery, *, at: datetime) -> None:
    """Record that the reports of a run were written, or its notification sent: ``run_delivery`` after the next publication.

    Raises:
        StoreError: the journal cannot be written.
    """
    _append(store, {"at": at.isoformat(), "run_id": run_id, "delivered": kind})


def delivered(store: Path, run_id: str) -> set[str]:
    """What of a run was delivered according to the journal: ``report``, ``notification``."""
    return {entry["delivered"] for entry in _entries(_content(store)) if entry.get("run_id") == run_id}


def deliveries_noted(store: Path) -> dict[tuple[str | None, str], datetime]:
    """When what was delivered, by run and kind, as far as the journal has it."""
    return {
        (entry["run_id"], entry["delivered"]): datetime.fromisoformat(entry["at"])
        for entry in _entries(_content(real_path(store)))
        if "delivered" in entry
    }


def failures_noted(store: Path) -> list[dict[str, Any]]:
    """The failed runs of the journal: started_at, status, exit_code, published."""
    return [
        {
            "started_at": datetime.fromisoformat(entry["at"]),
            "status": "failed",
            "exit_code": entry["counts"].get("exit_code"),
            "published": False,
        }
        for entry in _entries(_content(store))
        if entry.get("action") == "failed_run"
    ]


def _append(store: Path, entry: Mapping[str, Any]) -> None:
    store = real_path(store)
    try:
        with _locked(store, os.O_RDWR | os.O_CREAT | os.O_APPEND) as journal:
            os.write(journal, b"\n" + json.dumps(entry, sort_keys=True).encode() + b"\n")
            os.fsync(journal)
    except OSError as error:
        raise StoreError(
            f"the journal beside the store cannot be written ({error.strerror})",
            where=journal_of(store).name,
            remedy="Make the store's folder writable for the user that runs the nights.",
        ) from None


@contextmanager
def _locked(store: Path, flags: int) -> Iterator[int]:
    """The journal, open and held against other processes; it may have been removed between opening and locking."""
    path = journal_of(store)
    while True:
        journal = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(journal, fcntl.LOCK_EX)
            if path.exists() and os.fstat(journal).st_ino == path.stat().st_ino:
                if flags & os.O_CREAT:
                    owned_like(path, store if store.exists() else store.parent)
                yield journal
                return
        finally:
            os.close(journal)


def _content(store: Path) -> bytes:
    """The journal's bytes. One that cannot be read stops no night: what it holds stays new, or waits for the next one."""
    try:
        return journal_of(store).read_bytes()
    except OSError:
        return b""


def _entries(content: bytes) -> list[dict[str, Any]]:
    """The whole lines; half a line is of a process that was killed while it wrote."""
    found = []
    for line in content.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def take_over(connection: duckdb.DuckDBPyConnection, store: Path) -> int:
    """Put the journal's lines into the tables of the store being published; how many bytes of it were taken over.

    Lines of runs that the store does not hold (a backup was restored) are dropped; lines that it holds already too.
    """
    content = _content(store)
    for entry in _entries(content):
        if "delivered" in entry:
            connection.execute(
                "UPDATE run_delivery SET delivered_at = coalesce(delivered_at, CAST(? AS TIMESTAMP)) "
                "WHERE run_id = ? AND kind = ?",
                [entry["at"], entry["run_id"], entry["delivered"]],
            )
            continue
        row = [
            datetime.fromisoformat(entry["at"]),
            entry["action"],
            entry["by"],
            json.dumps(entry["counts"], sort_keys=True),
        ]
        known = 'SELECT 1 FROM audit WHERE "at" = ? AND action = ? AND "by" IS NOT DISTINCT FROM ? AND counts = ?'
        if first_row(connection, known, row) is None:
            connection.execute('INSERT INTO audit ("at", action, "by", counts) VALUES (?, ?, ?, ?)', row)
    return len(content)


def drop_taken_over(store: Path, size: int) -> None:
    """Remove from the journal what was taken over; lines that came meanwhile stay."""
    if not size:
        return
    with _locked(store, os.O_RDWR) as journal:
        rest = os.pread(journal, os.fstat(journal).st_size, size)
        if rest:
            os.ftruncate(journal, 0)
            os.pwrite(journal, rest, 0)
        else:
            journal_of(store).unlink()

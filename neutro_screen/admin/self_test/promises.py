"""What the store promises (docs/operations.md), tried on the disk that will hold it.

A run is published whole or not at all, also when its process is killed; the same rows twice change nothing; a reader sees
the old state or the new one; files and folders are their owner's alone.
"""

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from duckdb import DuckDBPyConnection

from neutro_screen.admin.doctor import Finding
from neutro_screen.admin.self_test import killed
from neutro_screen.admin.self_test.hospital import SampleHospital, result_digests
from neutro_screen.errors import PublishError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.private import private_file
from neutro_screen.report import write_reports
from neutro_screen.store.file import log_of, next_folder, publishing, reading
from neutro_screen.store.rows import first_row

_FOLDER: Final = "store folder"
_DISK: Final = "Take a local disk for the store: network file systems often lack such a promise."


def folder_takes_files(place: Path) -> Finding:
    """Whether a folder lets this user make, write, rename and remove a private file, and its mode lets its owner."""
    remedy = f"Give the folder to the user that runs the nights, with mode 0700: {place}"
    if not place.is_dir():
        return Finding(_FOLDER, "failed", f"is no folder: {place}", "Make it, with mode 0700.")
    mode = stat.S_IMODE(place.stat().st_mode)
    if not mode & stat.S_IWUSR:
        return Finding(_FOLDER, "failed", f"is read-only ({mode:04o}): {place}", remedy)
    trial = place / f".neutro-screen-self-test-{os.getpid()}"
    renamed = trial.with_name(f"{trial.name}.renamed")
    try:
        with private_file(trial) as file:
            file.write(b"trial")
            file.flush()
            os.fsync(file.fileno())
        os.replace(trial, renamed)
    except OSError as error:
        return Finding(_FOLDER, "failed", f"cannot be written ({error.strerror}): {place}", remedy)
    finally:
        trial.unlink(missing_ok=True)
        renamed.unlink(missing_ok=True)
    return Finding(_FOLDER, "ok", f"files can be made and replaced in {place}")


def store_promises(hospital: SampleHospital, folder: Path) -> list[Finding]:
    """One finding a promise, each tried on a store of the sample hospital in a private folder."""
    paths = hospital.written(hospital.whole, folder)
    store = folder / "own" / "screen.duckdb"
    store.parent.mkdir(mode=0o700)

    def night(hours: int = 0) -> None:
        run(RunOptions(store=store, as_of=hospital.as_of + timedelta(hours=hours), **paths))

    before = os.umask(0)
    try:
        night()
        write_reports(store, folder / "reports", None)
        private = _private(store, folder / "reports")
    finally:
        os.umask(before)
    return [private, _same_again(store, night), _old_or_new(store, night), _broken_off(store), _killed(store)]


def _private(store: Path, reports: Path) -> Finding:
    check, made = "store: private files", [store, *reports.iterdir()]
    wrong = [f"{path.name} ({_mode(path):04o})" for path in made if path.is_file() and _mode(path) != 0o600]
    wrong += [f"{path.name} ({_mode(path):04o})" for path in (reports,) if _mode(path) != 0o700]
    if wrong:
        return Finding(
            check, "failed", f"others may open: {', '.join(wrong)}", "The file system keeps no rights: " + _DISK
        )
    return Finding(check, "ok", f"{len(made)} files 0600, the reports' folder 0700, whatever the umask")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _same_again(store: Path, night: Callable[[], None]) -> Finding:
    check, before = "store: the same rows again", result_digests(store)
    night()
    after = result_digests(store)
    if wrong := [name for name in before if before[name] != after[name]]:
        return Finding(check, "failed", f"a second run over the same files changed: {', '.join(wrong)}", _DISK)
    return Finding(check, "ok", "a second run over the same files changes nothing")


def _old_or_new(store: Path, night: Callable[[int], None]) -> Finding:
    check = "store: readers see the old or the new"
    with reading(store) as reader:
        old = _runs(reader)
        night(1)
        kept = _runs(reader)
    with reading(store) as reader:
        new = _runs(reader)
    if (kept, new) != (old, old + 1):
        told = f"runs seen before, during and after a run: {old}, {kept}, {new}; expected {old}, {old}, {old + 1}"
        return Finding(check, "failed", told, _DISK)
    return Finding(check, "ok", "a reader at work keeps the old state, the next one has the new")


def _runs(connection: DuckDBPyConnection) -> int:
    row = first_row(connection, "SELECT count(*) FROM run")
    return int(row[0]) if row else 0


class _BrokenOffError(Exception):
    """Raised in the middle of a trial run."""


def _broken_off(store: Path) -> Finding:
    check, before = "store: a run that fails", _bytes(store)
    try:
        with publishing(store) as connection:
            connection.execute("DELETE FROM anc")
            raise _BrokenOffError
    except (_BrokenOffError, PublishError):
        pass
    if _bytes(store) != before:
        return Finding(check, "failed", "a run that failed half way changed the store", _DISK)
    return Finding(check, "ok", "leaves the store as it was, to the byte")


def _killed(store: Path) -> Finding:
    check, before = "store: a run that is killed", _bytes(store)
    command = [sys.executable, "-I", "-m", killed.__name__, str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - this program's own module
    if done.returncode >= 0:
        return Finding(check, "failed", f"the trial run ended by itself (code {done.returncode})", _DISK)
    if _bytes(store) != before:
        return Finding(check, "failed", "a run that was killed half way changed the store", _DISK)
    with publishing(store):
        pass
    left = [path.name for path in (next_folder(store), log_of(store)) if path.exists()]
    if left:
        return Finding(check, "failed", f"the next run leaves behind: {', '.join(left)}", _DISK)
    return Finding(check, "ok", "leaves the store as it was; the next run clears what is left")


def _bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

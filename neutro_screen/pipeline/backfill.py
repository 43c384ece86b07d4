"""Years of extracts in chunks. Every chunk is a run of its own, so the store is whole after each of them; a manifest beside
the store remembers the finished ones, and a backfill that was stopped goes on after the last of them.

All chunks of one start have the same index time, and a later start never an earlier one, so that the end is what one run
over everything would have given at the last of them.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from neutro_screen.errors import ConfigurationError, PublishError
from neutro_screen.ingest import Kind
from neutro_screen.ingest.files import found_paths
from neutro_screen.ingest.remote import found_at, is_remote, state_at
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.private import private_file
from neutro_screen.store.file import lock, reading
from neutro_screen.store.rows import first_row

By = Literal["file", "month", "year"]

_MONTH: Final = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_./]?(0[1-9]|1[0-2])"  # 2024-03, 202403, 2024/03
    r"(?:[-_./]?(?:0[1-9]|[12]\d|3[01])(?:[-_T]?\d{4,6})?)?(?!\d)"  # with day, with time of day
)
_YEAR: Final = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")


@dataclass(frozen=True)
class Chunk:
    """Inputs that are screened in one run. ``name`` is a month, a year or a number, never a file's name."""

    name: str
    paths: dict[Kind, tuple[str, ...]]

    def fingerprint(self, settings: RunOptions) -> str:
        """SHA-256 over how the files are read and over their places, sizes and times: another one, other content."""
        digest = hashlib.sha256(json.dumps([settings.format, _text(settings.profile)]).encode())
        for kind, paths in self.paths.items():
            for path in paths:
                digest.update(json.dumps([kind, _state(path)]).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Progress:
    """Where a backfill is: chunk ``number`` of ``of`` begins; the ones before it are finished."""

    number: int
    of: int
    chunk: str


@dataclass(frozen=True)
class BackfillSummary:
    """What a backfill did: chunks by whether they were run now or had been finished before, and the last run."""

    chunks_run: int
    chunks_finished_before: int
    rows_in: int
    last: RunSummary | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def manifest_of(store: Path) -> Path:
    """Where the finished chunks are remembered."""
    return store.with_name(f"{store.name}.backfill.json")


def begun_as_of(store: Path) -> datetime | None:
    """The index time to go on with where a backfill has begun and not ended; None where there is none.

    It is that of the beginning, or that of the latest run, if a night came in between: time never goes back in a store.

    Raises:
        ConfigurationError: the manifest cannot be read.
        StoreError: the store cannot be read.
    """
    kept = _kept(store)
    if kept is None or kept["is_complete"] or not store.exists():
        return None
    with reading(store) as connection:
        latest: tuple[datetime | None, ...] = first_row(connection, "SELECT max(as_of) FROM run") or ()
    return max([moment(kept["as_of"]), *filter(None, latest)])


def chunks_of(settings: RunOptions, by: By) -> list[Chunk]:
    """The inputs in chunks, in order of time.

    The date of a file, or of a folder that is read as one, is the last one in its path (``labs_2024-03-05.csv``,
    ``2024/03/labs.csv``). Charts without a date (a patient list) come with the first chunk, those with one not later
    than the laboratory's chunk of that time. By ``file``, every laboratory path is a chunk and all charts come first.

    Raises:
        ConfigurationError: a laboratory file's path holds no such date.
        UnreadableInputError: a path does not exist.
    """
    labs: dict[str, list[str]] = {}
    for number, path in enumerate(_expanded(settings.labs), 1):
        name = f"{number:06}" if by == "file" else _period(path, by)
        if name is None:
            raise ConfigurationError(
                f"a laboratory file has no {by} in its path", remedy="Name the files by date, or use --by file."
            )
        labs.setdefault(name, []).append(path)
    names = sorted(labs)
    charts: dict[str, dict[Kind, list[str]]] = {name: {} for name in names}
    for kind, patterns in settings.paths.items():
        for path in _expanded(patterns) if kind != "lab" else []:
            period = None if by == "file" else _period(path, by)
            first_not_before = next((name for name in names if period is None or name >= period), names[-1])
            charts[first_not_before].setdefault(kind, []).append(path)
    return [
        Chunk(name, {"lab": tuple(labs[name]), **{kind: tuple(paths) for kind, paths in charts[name].items()}})
        for name in names
    ]


def backfill(
    settings: RunOptions,
    by: By = "month",
    progress: Callable[[Progress], None] = lambda state: None,
    run_chunk: Callable[[RunOptions], RunSummary] = run,
) -> BackfillSummary:
    """Run every chunk that is not finished yet, as of the time at which the backfill was begun; the last writes reports.

    Raises:
        ConfigurationError: another backfill has begun here, with another profile, policy or format.
        StoreError: another backfill is at work on this store.
        NeutroScreenError: a chunk cannot be run; the ones before it stand, and the next start goes on with it.
    """
    settings = replace(settings, as_of=begun_as_of(settings.store) or settings.as_of)
    chunks = chunks_of(settings, by)
    with lock(manifest_of(settings.store)):
        finished = _finished(settings)
        pending = {key: chunk for chunk in chunks if (key := chunk.fingerprint(settings)) not in finished}
        done: list[RunSummary] = []
        for number, (key, chunk) in enumerate(pending.items(), 1 + len(chunks) - len(pending)):
            progress(Progress(number, len(chunks), chunk.name))
            summary = run_chunk(_settings_of(chunk, settings, is_last=number == len(chunks)))
            done.append(summary)
            finished[key] = {"chunk": chunk.name, "run_id": summary.run_id, **asdict(summary.account)}
            _keep(settings, finished, is_complete=number == len(chunks))
        if not pending:
            _keep(settings, finished, is_complete=True)
    return BackfillSummary(
        chunks_run=len(done),
        chunks_finished_before=len(chunks) - len(done),
        rows_in=sum(summary.account.rows_in for summary in done),
        last=done[-1] if done else None,
    )


def _settings_of(chunk: Chunk, settings: RunOptions, is_last: bool) -> RunOptions:
    return replace(
        settings,
        labs=chunk.paths["lab"],
        medications=chunk.paths.get("medication", ()),
        patients=chunk.paths.get("patient", ()),
        diagnoses=chunk.paths.get("diagnosis", ()),
        events=chunk.paths.get("event", ()),
        reports=settings.reports if is_last else None,
        notify=settings.notify if is_last else None,
    )


def _expanded(patterns: Sequence[str]) -> list[str]:
    """Paths of files and folders, absolute and sorted by pattern; a folder stays one unit: some formats are folders."""
    found: list[str] = []
    for pattern in patterns:
        if is_remote(pattern):
            found += found_at(pattern)
            continue
        found += map(str, found_paths(pattern))
    return found


def _state(path: str) -> list[Any]:
    """Place, size and time of a file, or of every file of a folder."""
    if is_remote(path):
        return state_at(path)
    files = sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _period(path: str, by: By) -> str | None:
    """``2024-03`` or ``2024``: the last date in a path."""
    dates = [f"{year}-{month}" for year, month in _MONTH.findall(path)]
    if by == "month" or dates:
        return dates[-1][: 4 if by == "year" else None] if dates else None
    years = _YEAR.findall(path)
    return years[-1] if years else None


def _finished(settings: RunOptions) -> dict[str, dict[str, Any]]:
    """Fingerprint -> chunk, of the chunks whose run is in the store: a store that was lost or put back forgets them."""
    kept = _kept(settings.store)
    if kept is None or not settings.store.exists():
        return {}
    if not kept["is_complete"] and kept["settings"] != _settings_key(settings):
        raise ConfigurationError(
            f"a backfill with another profile, policy or format has begun (as of {kept['as_of']})",
            where=manifest_of(settings.store).name,
            remedy="Finish it with its own settings, or delete this file to begin again.",
        )
    with reading(settings.store) as connection:
        runs = {row[0] for row in connection.execute("SELECT run_id FROM run").fetchall()}
    return {key: chunk for key, chunk in kept["finished"].items() if chunk["run_id"] in runs}


def _settings_key(settings: RunOptions) -> str:
    read_by = [settings.format, _text(settings.profile), _text(settings.policy)]
    return hashlib.sha256(json.dumps(read_by).encode()).hexdigest()


def _text(path: Path | None) -> str | None:
    return path.read_text("utf-8", errors="replace") if path and path.is_file() else None


def _kept(store: Path) -> dict[str, Any] | None:
    manifest = manifest_of(store)
    if not manifest.exists():
        return None
    try:
        kept: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
        if kept.keys() != {"as_of", "settings", "is_complete", "finished"}:
            raise ValueError
    except (OSError, ValueError, AttributeError):
        raise ConfigurationError(
            "the manifest of the backfill cannot be read", where=manifest.name, remedy="Delete it to begin again."
        ) from None
    return kept


def _keep(settings: RunOptions, finished: dict[str, dict[str, Any]], is_complete: bool) -> None:
    manifest = manifest_of(settings.store)
    kept = {
        "as_of": settings.as_of.isoformat(),
        "settings": _settings_key(settings),
        "is_complete": is_complete,
        "finished": finished,
    }
    next_one = manifest.with_name(f".{manifest.name}.next")
    try:
        with private_file(next_one, "w") as file:
            json.dump(kept, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        next_one.replace(manifest)
    except OSError as error:
        raise PublishError(
            f"the manifest cannot be written ({error.strerror})",
            where=manifest.name,
            remedy="The chunk itself is in the store: make room and start again.",
        ) from None

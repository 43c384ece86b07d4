"""Kill nightly runs at random moments, let reports and notifications fail at random, go on, and look for what was lost.

    python -m benchmarks.kills --kills 200 --seed 1

Every night brings two files of one name from two folders, with a new patient whose count is critical, and rows that came
before. It is killed with SIGKILL at a moment drawn evenly from the length of a run, in a process of its own, and taken
again an hour later, when the report folder or the notification command may be broken. After each kill the store must open
and be whole; after each night every row that was sent must be there once, and no patient may be called unchanged before a
run that reached its readers has shown them. At the end the tables are those of one run over everything.
"""

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from benchmarks.consistency import digest, faults
from neutro_screen.admin.notify import notifying
from neutro_screen.errors import NeutroScreenError, ReportError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.journal import delivered

FIRST: Final = datetime.fromisoformat("2026-01-02T02:00:00")
HEADER: Final = "patient_id,specimen_id,collected_at,loinc,value,unit,lab"
MISHAPS: Final = ("none", "none", "reports", "notification", "reports and notification")
_BAD: Final = (
    "not opened",
    "not whole",
    "failed nights",
    "rows lost",
    "rows twice",
    "unseen and unchanged",
    "different",
)


def main() -> None:
    """Print one JSON line: how the kills ended; exit 1 if one did harm."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.kills")
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ended = campaign(Path(folder), chosen.kills, chosen.seed)
    sys.stdout.write(json.dumps(ended) + "\n")
    sys.exit(any(ended[name] for name in _BAD))


def campaign(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill that many nights; how they ended."""
    drawn, store = random.Random(seed), folder / "store" / "s.duckdb"  # noqa: S311 - reproducible, no secrets
    sent: Counter[tuple[str, str]] = Counter()
    told: Counter[str] = Counter(dict.fromkeys((*_BAD, *MISHAPS), 0))
    every: list[str] = []
    length, options = 2.0, RunOptions(store=store, labs=())
    for night in range(kills):
        paths = _written(folder / f"night{night:03d}", night, drawn, sent)
        every += paths
        options = RunOptions(
            store=store,
            as_of=FIRST + timedelta(days=night),
            labs=tuple(paths),
            reports=folder / "reports",
            notify=_notify(folder, works=True),
        )
        process = _SPAWNED.Process(target=_night, args=(options,))
        process.start()
        process.join(drawn.uniform(0, length))
        told["had ended"] += not process.is_alive()
        _kill(process)
        told.update(_looked_at(store))
        mishap = drawn.choice(MISHAPS)
        told[mishap] += 1
        began = time.monotonic()
        told["failed nights"] += not _again(folder, replace(options, as_of=options.as_of + timedelta(hours=1)), mishap)
        length = 0.9 * length + 0.1 * (time.monotonic() - began)  # the machine may become busier or quieter
        told.update(_accounted(store, sent))
        sys.stderr.write(json.dumps({"kills": night + 1} | dict(told)) + "\n")
    at_once = folder / "at_once" / "s.duckdb"
    run(RunOptions(store=at_once, as_of=options.as_of + timedelta(hours=1), labs=tuple(every)))
    one, other = digest(at_once), digest(store)
    told["different"] += sum(one[name] != other[name] for name in one)
    told["unseen and unchanged"] += _unseen_and_unchanged(store)
    return {"kills": kills} | dict(told)


def _written(folder: Path, night: int, drawn: random.Random, sent: Counter[tuple[str, str]]) -> list[str]:
    """Two files of one name: a patient who is critical at first sight, usual counts, and rows of a night before."""
    day = (FIRST + timedelta(days=night - 1)).date().isoformat()
    rows = [
        (f"C{night:03d}", f"C{night:03d}-0", "0.05"),
        (f"N{night % 7}", f"N{night:03d}", f"{drawn.uniform(2, 6):.2f}"),
    ]
    rows += [(f"F{night % 5}", f"F{night:03d}", f"{drawn.choice((0.4, 0.9, 1.6, 3.0))}")]
    paths = []
    for number, ward in enumerate(("a", "b")):
        path = folder / ward / "labs.csv"
        path.parent.mkdir(parents=True)
        mine = [row for place, row in enumerate(rows) if place % 2 == number]
        lines = [f"{patient},{specimen},{day}T08:00:00,751-8,{value},10*9/L,A" for patient, specimen, value in mine]
        sent.update((patient, specimen) for patient, specimen, _ in mine)
        before = folder.with_name(f"night{night - 1:03d}") / ward / "labs.csv"
        if before.exists():
            lines.append(before.read_text("utf-8").splitlines()[1])
        path.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
        paths.append(str(path))
    return paths


def _notify(folder: Path, *, works: bool) -> Path:
    path = folder / f"notify-{works}.toml"
    path.write_text('command = ["true"]\n' if works else f'command = ["{folder}/nowhere"]\n', "utf-8")
    return path


def _night(options: RunOptions) -> None:
    """A night as the command takes it: the run, its reports, its notification."""
    with notifying(options, lambda text: None) as night:
        night.ended(run(options, published=night.published))


def _again(folder: Path, options: RunOptions, mishap: str) -> bool:
    """The night taken again, with what is broken tonight; whether it is published."""
    if "notification" in mishap:
        options = replace(options, notify=_notify(folder, works=False))
    if "reports" in mishap:
        (folder / "no folder").touch()
        options = replace(options, reports=folder / "no folder")
    try:
        with suppress(ReportError):
            _night(options)
    except NeutroScreenError:
        return False
    return True


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _looked_at(store: Path) -> list[str]:
    if not store.exists():
        return ["no store yet"]
    try:
        with reading(store) as connection:
            return ["not whole"] if faults(connection) else []
    except NeutroScreenError:
        return ["not opened"]


def _accounted(store: Path, sent: Counter[tuple[str, str]]) -> dict[str, int]:
    """Of the rows that were sent so far: how many are missing, and how many are there more than once."""
    with reading(store) as connection:
        held = Counter[Any](connection.execute("SELECT patient_id, specimen_id FROM lab_result").fetchall())
    return {"rows lost": (sent - held).total(), "rows twice": (held - sent).total()}


def _unseen_and_unchanged(store: Path) -> int:
    """Critical patients whom a run calls otherwise than new before any run that reached its readers has listed them."""
    with reading(store) as connection:
        listed = connection.execute(
            "SELECT patient_id, run_id, change FROM worklist_row JOIN run USING (run_id) "
            "WHERE patient_id LIKE 'C%' ORDER BY patient_id, run.as_of"
        ).fetchall()
        reached = {
            row[0]
            for row in connection.execute(
                "SELECT run_id FROM run_delivery WHERE kind = 'report' AND delivered_at IS NOT NULL"
            ).fetchall()
        }
        runs = {row[1] for row in listed}
    reached |= {name for name in runs if "report" in delivered(store, name)}
    seen, wrong = set[str](), set[str]()
    for patient, run_id, change in listed:
        if change != "new" and patient not in seen:
            wrong.add(patient)
        if run_id in reached:
            seen.add(patient)
    return len(wrong)


_SPAWNED = multiprocessing.get_context("forkserver")
_SPAWNED.set_forkserver_preload(["neutro_screen.pipeline.run", "neutro_screen.admin.notify"])

if __name__ == "__main__":
    main()

"""Kill nightly runs at random moments, let reports and notifications fail at random, go on, and look for what was lost.

    python -m benchmarks.kills --kills 200 --seed 1

Every night brings two files of one name from two folders, with a new patient whose count is critical, and rows that came
before. It is killed with SIGKILL, in a process of its own, at a moment drawn evenly from the length of a run (every
second night: from the time after its publication, when the reports are not written yet), and taken again an hour later,
when the report folder or the notification command may be broken. After each kill the store must open and be whole; after
each night every row that was sent must be there once, every critical patient must be listed, as new the first time, and
stay new until a run that reached its readers has shown it. At the end the tables are those of one run over everything.
"""

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

from benchmarks.consistency import digest, faults
from benchmarks.mishaps import MISHAPS, is_published_with, take_night, with_delivery
from neutro_screen.errors import NeutroScreenError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.journal import deliveries_noted

FIRST: Final = datetime.fromisoformat("2026-01-02T02:00:00")
HEADER: Final = "patient_id,specimen_id,collected_at,loinc,value,unit,lab"
HARM: Final = (
    "not opened",
    "not whole",
    "failed nights",
    "rows lost",
    "rows twice",
    "critical in no list",
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
    sys.exit(any(ended[name] for name in HARM))


def campaign(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill that many nights; how they ended."""
    drawn, store = random.Random(seed), folder / "store" / "s.duckdb"  # noqa: S311 - reproducible, no secrets
    sent: Counter[tuple[str, str]] = Counter()
    told: Counter[str] = Counter(dict.fromkeys((*HARM, *MISHAPS), 0))
    every: list[str] = []
    length, options = 2.0, RunOptions(store=store, labs=())
    for night in range(kills):
        paths = _written(folder / f"night{night:03d}", night, drawn, sent)
        every += paths
        options = RunOptions(store=store, as_of=FIRST + timedelta(days=night), labs=tuple(paths))
        process = _started(with_delivery(folder, options))
        _wait(process, store if night % 2 else None, drawn, length)
        told["had ended"] += not process.is_alive()
        _kill(process)
        told.update(_looked_at(store, options.as_of))
        mishap = drawn.choice(MISHAPS)
        told[mishap] += 1
        began = time.monotonic()
        again = replace(options, as_of=options.as_of + timedelta(hours=1))
        told["failed nights"] += not is_published_with(folder, again, mishap)
        length = 0.9 * length + 0.1 * (time.monotonic() - began)  # the machine may become busier or quieter
        told.update(_accounted(store, sent))
        told.update(_listed(store, options.as_of, critical=night + 1))
        sys.stderr.write(json.dumps({"kills": night + 1} | dict(told)) + "\n")
    at_once = folder / "at_once" / "s.duckdb"
    run(RunOptions(store=at_once, as_of=options.as_of + timedelta(hours=1), labs=tuple(every)))
    one, other = digest(at_once), digest(store)
    told["different"] += sum(one[name] != other[name] for name in one)
    return {"kills": kills} | dict(told)


def _written(folder: Path, night: int, drawn: random.Random, sent: Counter[tuple[str, str]]) -> list[str]:
    """Two files of one name: a patient who is critical at first sight, usual counts, and rows of a night before.

    Who was critical five nights ago has recovered since, so that the lists of a long campaign stay short.
    """
    day = (FIRST + timedelta(days=night - 1)).date().isoformat()
    rows = [
        (f"C{night:03d}", f"C{night:03d}-0", "0.05"),
        (f"N{night % 7}", f"N{night:03d}", f"{drawn.uniform(2, 6):.2f}"),
    ]
    rows += [(f"F{night % 5}", f"F{night:03d}", f"{drawn.choice((0.4, 0.9, 1.6, 3.0))}")]
    rows += [(f"C{night - 5:03d}", f"C{night - 5:03d}-1", "4.2")] if night >= 5 else []
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


def _started(options: RunOptions) -> BaseProcess:
    """A process that has imported all it needs and begins the night now.

    It is spawned: a forked one may wait forever for a thread of polars that the fork left behind.
    """
    spawned = multiprocessing.get_context("spawn")
    is_ready = spawned.Event()
    process = spawned.Process(target=_night, args=(options, is_ready))
    process.start()
    is_ready.wait()
    return process


def _night(options: RunOptions, is_ready: Event) -> None:
    is_ready.set()
    take_night(options)


def _wait(process: BaseProcess, published: Path | None, drawn: random.Random, length: float) -> None:
    """Wait as long as the process may live: a part of a run's length, or of the time after this store was replaced."""
    if published is None:
        process.join(drawn.uniform(0, length))
        return
    before = _file_id(published)
    while process.is_alive() and _file_id(published) == before:
        process.join(0.002)
    process.join(drawn.uniform(0, length / 8))


def _file_id(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _looked_at(store: Path, as_of: datetime) -> list[str]:
    """How a kill left the store: whole, and with the night or without it, its reports written or not."""
    if not store.exists():
        return ["no store yet"]
    try:
        with reading(store) as connection:
            runs = connection.execute("SELECT run_id FROM run WHERE as_of = ?", [as_of]).fetchall()
            found = ["not whole"] if faults(connection) else []
    except NeutroScreenError:
        return ["not opened"]
    if not runs:
        return [*found, "killed before publication"]
    is_reported = (runs[0][0], "report") in deliveries_noted(store)
    return [*found, "killed after the reports" if is_reported else "killed between publication and reports"]


def _accounted(store: Path, sent: Counter[tuple[str, str]]) -> dict[str, int]:
    """Of the rows that were sent so far: how many are missing, and how many are there more than once."""
    with reading(store) as connection:
        held = Counter[Any](connection.execute("SELECT patient_id, specimen_id FROM lab_result").fetchall())
    return {"rows lost": (sent - held).total(), "rows twice": (held - sent).total()}


def _listed(store: Path, since: datetime, critical: int) -> dict[str, int]:
    """The critical patients whom the runs since then list although no run before reached a reader with them.

    They must be called new (``checked as unseen`` counts these looks), whether they were never listed before or only in
    runs whose reports were not written. Of those sent so far, none may be in no list at all.
    """
    with reading(store) as connection:
        listed = connection.execute(
            "SELECT patient_id, run_id, change, as_of FROM worklist_row JOIN run USING (run_id) "
            "WHERE patient_id LIKE 'C%' ORDER BY patient_id, as_of"
        ).fetchall()
        reached = set(
            connection.execute("SELECT run_id, kind FROM run_delivery WHERE delivered_at IS NOT NULL").fetchall()
        )
    reached |= deliveries_noted(store).keys()
    seen, before = set[str](), set[str]()
    told: Counter[str] = Counter({"critical in no list": critical - len({row[0] for row in listed})})
    for patient, run_id, change, as_of in listed:
        if as_of >= since and patient not in seen:
            told["checked as unseen"] += 1
            told["of these listed before"] += patient in before
            told["unseen and unchanged"] += change != "new"
        before.add(patient)
        if (run_id, "report") in reached:
            seen.add(patient)
    return told


if __name__ == "__main__":
    main()

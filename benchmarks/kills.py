"""Kill a nightly run at random moments, look at the store, run again, compare.

    python -m benchmarks.kills --kills 200 --seed 1

The run is a process of its own and is killed with SIGKILL at a moment drawn evenly from its whole length, reading to
reports (loading the program, which touches no file, is left out). After each kill the store must open, be whole and hold
the night before or the new one; running again must give the tables of an undisturbed run.
"""

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.consistency import digest, faults
from neutro_screen.errors import NeutroScreenError
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import first_row

SAMPLE = Path(__file__).parents[1] / "sample_data"
KINDS = ("medications", "patients", "diagnoses", "events")


def main() -> None:
    """Print one JSON line: how the kills ended; exit 1 if one did harm."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.kills")
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ended = campaign(Path(folder), chosen.kills, chosen.seed)
    sys.stdout.write(json.dumps(ended) + "\n")
    sys.exit(bool(ended["not opened"] + ended["not whole"] + ended["different after the next run"]))


def campaign(folder: Path, kills: int, seed: int) -> dict[str, float]:
    """Kill that many runs; how they ended."""
    drawn = random.Random(seed)  # noqa: S311
    before, undisturbed, victim = (folder / name / "s.duckdb" for name in ("before", "undisturbed", "victim"))
    halves = _halves(folder)
    _ended(_night(before, halves[0], "2026-11-21T02:00:00"))
    shutil.copytree(before.parent, undisturbed.parent)
    length = _ended(_night(undisturbed, halves[1], "2026-11-22T02:00:00"))
    old, new = digest(before), digest(undisturbed)
    ended: Counter[str] = Counter()
    for done in range(1, kills + 1):
        shutil.rmtree(victim.parent, ignore_errors=True)
        shutil.copytree(before.parent, victim.parent)
        process = _night(victim, halves[1], "2026-11-22T02:00:00")
        process.join(drawn.uniform(0, length))
        ended["had ended"] += not process.is_alive()
        process.kill()
        process.join()
        ended.update(_looked_at(victim, old, new))
        again = _night(victim, halves[1], "2026-11-22T02:00:00")
        length = _ended(again)  # the machine may have become busier or quieter
        left = {path.name for path in victim.parent.iterdir()} - {victim.name, f".{victim.name}.lock", "reports"}
        ended["different after the next run"] += bool(again.exitcode) or digest(victim) != new
        ended["left-overs after the next run"] += bool(left)
        sys.stderr.write(json.dumps({"kills": done, "seconds of a run": round(length, 2)} | _told(ended)) + "\n")
    return {"kills": kills, "seconds of a run": round(length, 2)} | _told(ended)


def _told(ended: Counter[str]) -> dict[str, float]:
    names = (
        "had ended",
        "old run",
        "new run",
        "not opened",
        "not whole",
        "different after the next run",
        "left-overs after the next run",
    )
    return {name: ended[name] for name in names}


def _looked_at(store: Path, old: dict[str, str], new: dict[str, str]) -> list[str]:
    try:
        with reading(store) as connection:
            wrong = faults(connection)
            runs = first_row(connection, "SELECT count(*) FROM run")
    except NeutroScreenError:
        return ["not opened"]
    which = "old run" if runs == (1,) else "new run"
    is_whole = not wrong and digest(store) == (old if which == "old run" else new)
    return [which] if is_whole else [which, "not whole"]


def _halves(folder: Path) -> list[Path]:
    """The sample's laboratory rows, every other one, so that the second night touches everybody."""
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    halves = [folder / f"labs{number}.csv" for number in range(2)]
    for number, path in enumerate(halves):
        path.write_text("\n".join([header, *lines[number::2]]) + "\n", "utf-8")
    return halves


def _night(store: Path, labs: Path, as_of: str) -> BaseProcess:
    """A run in a process of its own, started from a server that has the program loaded and has no threads."""
    process = _SPAWNED.Process(target=_run, args=(store, labs, as_of))
    process.start()
    return process


def _run(store: Path, labs: Path, as_of: str) -> None:
    chart: Any = {kind: (str(SAMPLE / f"{kind}.csv"),) for kind in KINDS}
    run(RunOptions(store=store, as_of=moment(as_of), labs=(str(labs),), reports=store.parent / "reports", **chart))


def _ended(process: BaseProcess) -> float:
    started = time.monotonic()
    process.join()
    return time.monotonic() - started


_SPAWNED = multiprocessing.get_context("forkserver")
_SPAWNED.set_forkserver_preload(["neutro_screen.pipeline.run"])

if __name__ == "__main__":
    main()

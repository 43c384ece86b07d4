"""Damage valid files of every reader many times: no crash, no hang, no unbounded memory.

    nice -n 19 python -m benchmarks.fuzz_readers --cases 100000 --out DIR      # all readers, one after the other
    python -m benchmarks.fuzz_readers --out DIR --summary                      # the counts as a Markdown table
    python -m benchmarks.fuzz_readers --readers fhir --out DIR --only SEED     # one case again

Every reader runs in a process of its own with limited memory. A case that uses more than ten seconds of processor time
is a defect; a process that dies, or stands still for two minutes, names its case in DIR and a new one goes on behind it.
A campaign that was interrupted goes on where it was. A case is one damaged file, for HL7 and FHIR one damaged message
or resource of a file with many; its seed makes it again.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS_A_CASE = 10
SECONDS_WITHOUT_A_WORD = 120
MEMORY_BYTES = 6 << 30
#: One polars thread and no streaming: a tenth of a millisecond of work should not wait for threads.
QUICK = {"POLARS_MAX_THREADS": "1", "POLARS_ENGINE_AFFINITY": "in-memory", "RUST_BACKTRACE": "0"}


class HangError(Exception):
    """A case used more time than it may."""


def _hang(signal_number: int, frame: object) -> None:
    raise HangError


def work(reader: str, first: int, last: int, out: Path) -> None:
    """Run the cases of one reader from file to file, writing what was reached and the outcomes now and then."""
    from tests.formats.mutations import QuickSample

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _hang)
    outcomes: Counter[str] = Counter()
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own in it
    with tempfile.TemporaryDirectory(prefix="neutro-fuzz-", dir=memory if memory.is_dir() else None) as folder:
        tempfile.tempdir = folder
        sample = QuickSample(reader, Path(folder))
        last_told = time.monotonic()
        for seed in range(first, last, sample.cases_a_file):
            (out / f"{reader}.at").write_text(str(seed))
            started = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS_A_CASE)
            try:
                outcomes[sample.outcome(seed // sample.cases_a_file)] += 1
            except BaseException as error:
                signal.setitimer(signal.ITIMER_PROF, 0)
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcomes["defect"] += 1
                with (out / f"{reader}.defects").open("a") as log:
                    log.write(f"--- seed {seed}\n{traceback.format_exc()[-3000:]}\n")
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcomes["slower_than_1_s"] += time.process_time() - started > 1
            reached = min(seed + sample.cases_a_file, last)
            if reached == last or time.monotonic() - last_told > 5:
                last_told = time.monotonic()
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                told = {"first": first, "reached": reached, "peak_mb": peak, "cpu_s": round(time.process_time())}
                (out / f"{reader}.{first}.json").write_text(json.dumps(outcomes | told))


def campaign(reader: str, cases: int, out: Path) -> None:
    """Run all cases of one reader in processes that may die."""
    first = max((told["reached"] for told in _told(reader, out)), default=0)
    while first < cases:
        command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--worker", "--readers", reader, "--out", str(out)]
        running = subprocess.Popen(
            [*command, "--first", str(first), "--cases", str(cases)],
            cwd=ROOT,
            env=os.environ | QUICK,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        why = _watched(running, out / f"{reader}.at")
        if why is None:
            break
        died_at = int((out / f"{reader}.at").read_text())
        with (out / f"{reader}.defects").open("a") as log:
            log.write(f"--- seed {died_at}: {why}\n")
        (out / f"{reader}.{died_at}.json").write_text(
            json.dumps({"first": died_at, "reached": died_at + 1, "peak_mb": 0, "cpu_s": 0, "defect": 1})
        )
        first = died_at + 1


def _watched(running: subprocess.Popen[bytes], at: Path) -> str | None:
    """Wait for the end; why it ended too early, or None."""
    seen, since = "", time.monotonic()
    while running.poll() is None:
        time.sleep(0.5)
        now = at.read_text() if at.exists() else ""
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > SECONDS_WITHOUT_A_WORD:
            running.kill()
            running.wait()
            return f"no progress for {SECONDS_WITHOUT_A_WORD} s"
    return None if running.returncode == 0 else f"the process died with {running.returncode}"


def _told(reader: str, out: Path) -> list[dict[str, int]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"{reader}.*.json"))]


def summary(out: Path) -> str:
    """The counts of a campaign as a Markdown table; files of many records count as refused if one of them was."""
    from tests.formats.mutations import WRITERS

    names = ("accepted", "refused_rows", "exit_11", "exit_12", "defect", "slower_than_1_s")
    lines = [
        f"| reader | cases | files | {' | '.join(names[:4])} | defects | slower than 1 s | peak MB | CPU s |",
        f"|{'---|' * 11}",
    ]
    for reader in WRITERS:
        if told := _told(reader, out):
            sums = {name: sum(part.get(name, 0) for part in told) for name in (*names, "cpu_s")}
            cases = sum(part["reached"] - part["first"] for part in told)
            files = sum(sums[name] for name in names[:5])
            counts = " | ".join(f"{sums[name]:,}" for name in names)
            peak = max(part["peak_mb"] for part in told)
            lines.append(f"| {reader} | {cases:,} | {files:,} | {counts} | {peak} | {sums['cpu_s']:,} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    from tests.formats.mutations import WRITERS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_readers", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--readers", nargs="+", default=list(WRITERS), choices=list(WRITERS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=int)
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--summary", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.summary:
        print(summary(asked.out))
        return
    for reader in asked.readers:
        if asked.only is not None:
            work(reader, asked.only, asked.only + 1, asked.out)
        elif asked.worker:
            work(reader, asked.first, asked.cases, asked.out)
        else:
            campaign(reader, asked.cases, asked.out)


if __name__ == "__main__":
    main()

"""Damage valid files of every reader many times: no crash, no hang, no unbounded memory.

    nice -n 19 python benchmarks/fuzz_readers.py --cases 100000 --readers hl7v2 fhir --out DIR

Every reader runs in a process of its own with limited memory and ten seconds a case; a process that dies names its case
in DIR and a new one goes on behind it. A case is its seed: ``--only SEED`` repeats it.
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

SECONDS_A_CASE = 10
MEMORY_BYTES = 6 << 30


class HangError(Exception):
    """A case took longer than it may."""


def _hang(signal_number: int, frame: object) -> None:
    raise HangError


def work(reader: str, first: int, last: int, out: Path) -> None:
    """Run the cases of one reader, writing the number reached and the outcomes after every hundred."""
    from tests.formats.mutations import Sample

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _hang)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="neutro-fuzz-") as folder:
        sample = Sample(reader, Path(folder))
        for seed in range(first, last):
            (out / f"{reader}.at").write_text(str(seed))
            signal.alarm(SECONDS_A_CASE)
            started = time.monotonic()
            try:
                outcomes[sample.outcome(seed)] += 1
            except BaseException as error:
                signal.alarm(0)
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcomes["DEFECT"] += 1
                with (out / f"{reader}.defects").open("a") as log:
                    log.write(f"--- seed {seed}\n{traceback.format_exc()[-3000:]}\n")
            signal.alarm(0)
            outcomes["slower_than_1_s"] += time.monotonic() - started > 1
            if seed % 100 == 99 or seed == last - 1:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                (out / f"{reader}.{first}.json").write_text(
                    json.dumps(outcomes | {"reached": seed + 1, "peak_mb": peak})
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--readers", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=int)
    parser.add_argument("--worker", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for reader in asked.readers:
        if asked.only is not None:
            work(reader, asked.only, asked.only + 1, asked.out)
            continue
        first, last = asked.first, asked.first + asked.cases
        if asked.worker:
            work(reader, first, last, asked.out)
            continue
        while first < last:
            command = [sys.executable, __file__, "--worker", "--readers", reader, "--out", str(asked.out)]
            ended = subprocess.run([*command, "--first", str(first), "--cases", str(last - first)], check=False)
            if ended.returncode == 0:
                break
            died_at = int((asked.out / f"{reader}.at").read_text())
            with (asked.out / f"{reader}.defects").open("a") as log:
                log.write(f"--- seed {died_at}: the process died with {ended.returncode}\n")
            first = died_at + 1
        print(reader, "done")


if __name__ == "__main__":
    main()

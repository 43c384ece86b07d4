"""`make bench` and `make bench-large`: what the product costs, as ratios measured in one run.

Every figure is the median of processes of its own. The results go into docs/performance.md, each command's between its
own marks; nothing else writes there.
"""

import argparse
import itertools
import json
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import readers
from benchmarks import report as report_page
from benchmarks.workers import ROOT

PAGE = ROOT / "docs" / "performance.md"
Told = dict[str, dict[str, Any]]


def main() -> None:
    """Measure and write the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks")
    options.add_argument("--large", action="store_true", help="10 and 100 million rows instead of one million")
    options.add_argument("--rows", type=int, nargs="+", help="other numbers of rows")
    options.add_argument("--repeat", type=int, help="processes per figure")
    options.add_argument("--parts", nargs="+", choices=list(_PARTS), help="only these")
    options.add_argument("--folder", type=Path, help="where the simulated files are kept between runs")
    chosen = options.parse_args()
    rows = chosen.rows or ([10_000_000, 100_000_000] if chosen.large else [1_000_000])
    repeat = chosen.repeat or (1 if chosen.large else 3)
    parts = chosen.parts or (
        ["scale", "rules", "night"] if chosen.large else ["scale", "recognition", "rules", "surroundings"]
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        written = [text for part in parts for text in _PARTS[part](folder, rows, repeat)]
    name = "bench-large" if chosen.large else "bench"
    heading = f"## `make {name}`: {' and '.join(f'{number:,}' for number in rows)} laboratory rows"
    update(name, "\n\n".join([heading, *written]))
    sys.stdout.write(PAGE.read_text("utf-8"))


def simulated(folder: Path, rows: int) -> dict[str, Path]:
    """The same laboratory rows as CSV and as Parquet; made once per folder."""
    from neutro_simulator import simulate_labs_at_scale

    place = folder / str(rows)
    place.mkdir(exist_ok=True)
    files = {kind: place / f"labs.{kind}" for kind in ("csv", "parquet")}
    for path in files.values():
        if not path.exists():
            simulate_labs_at_scale(rows, 1, path)
    return files


def scale(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """The whole run at every size, beside the floor where that fits into memory, and how it grows."""
    lines, steps, grown = [], [], dict[tuple[str, int], float]()
    for number in rows:
        files = simulated(folder, number)
        has_floor = number <= 10_000_000
        if has_floor:
            measure("tables", files["csv"], 1)
        for kind, path in files.items():
            run = measure("full" if has_floor else "full_in_8gb", path, repeat)
            grown[kind, number] = run["seconds"]
            cells = ["", "", ""]
            if has_floor:
                floor = measure("floor", path, repeat)["steps"]
                same = floor["scan and sort"] + floor["tables of the run"]
                raw = floor["scan and sort"] + floor["rows as read"]
                cells = [f"{same:.1f}", f"**{run['seconds'] / same:.2f}**", f"{run['seconds'] / raw:.2f}"]
            lines.append(
                f"| {number:,} {kind} | {run['seconds']:.1f} | {run['processor']:.1f} | {run['megabytes']:,} | "
                + " | ".join(cells)
                + " |"
            )
            steps.append((f"{number:,} {kind}", run["steps"]))
    growth = [
        f"{kind}: {most:,} rows take {grown[kind, most] / grown[kind, least]:.1f} times as long as {least:,}"
        for kind in ("csv", "parquet")
        for least, most in itertools.pairwise(rows)
    ]
    names = list(dict.fromkeys(name for _, taken in steps for name in taken))
    return [
        "Whole run without reports, beside its floor: polars scans and sorts the same file by patient and time, and DuckDB\n"
        "writes *the tables that the run publishes* (aim: at most 2.0; peak memory at most 6 GB at 10 million rows). The last\n"
        "column takes a lower floor, in which DuckDB writes nothing but the rows as they were read. Above 10 million rows the\n"
        "run gets `--memory 3GB`, and the floor, which holds everything in memory, is left out.",
        table(["rows", "seconds", "processor s", "peak MB", "floor s", "run / floor", "run / lower floor"], lines),
        *(["Growth (aim: at most 11 for ten times the rows): " + "; ".join(growth) + "."] if growth else []),
        "Seconds by step. A part is stored while the next is judged and screened: `publish` is what is left of it behind the\n"
        "last part, and the others are longer than they would be alone.",
        table(
            ["rows", *names],
            [
                f"| {what} | " + " | ".join(f"{taken.get(name, 0):.1f}" for name in names) + " |"
                for what, taken in steps
            ],
        ),
    ]


def recognition(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """What it costs to read every name, unit and specimen once, beside a whole run."""
    read = measure("recognition", ROOT, max(repeat, 3))
    number = min(rows)
    run = measure("full", simulated(folder, number)["csv"], repeat)
    origins, each = int(read["steps"]["origins"]), read["steps"]["reading"]
    share = each / run["seconds"]
    return [
        "Recognition is paid per distinct origin (name, unit, specimen, code), never per row, so its share falls as rows grow; a\n"
        f"hospital has some hundred origins. Here {origins:,} are read, every collected name of tests/spec/vocabulary, nothing kept from\n"
        "before (aim: under 1 % of a run of ten million rows; a run of ten million is taken as ten times one of a million):",
        table(
            ["what", "seconds", f"share of a run of {number:,} rows", "share of ten million rows"],
            [
                f"| reading {origins:,} origins | {each:.2f} | {share:.2%} | **{share * number / 10_000_000:.2%}** |",
                f"| loading and checking the tables, once a process | {read['steps']['tables']:.2f} | "
                f"{read['steps']['tables'] / run['seconds']:.2%} | "
                f"{read['steps']['tables'] / run['seconds'] * number / 10_000_000:.2%} |",
            ],
        ),
    ]


def rules(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """The ANC step beside its peer, grading beside a ladder, and each rule's share of the screen."""
    path = simulated(folder, min(rows))["parquet"]
    told = {worker: measure(worker, path, max(repeat, 3)) for worker in ("anc", "peer", "grades", "ladder", "rules")}

    def line(what: str, ours: str, theirs: str, aim: str) -> str:
        one, other = told[ours], told[theirs]
        return (
            f"| {what} | {one['seconds']:.2f} | {other['seconds']:.2f} | **{one['seconds'] / other['seconds']:.1f}** | "
            f"{one['processor'] / other['processor']:.1f} | {aim} |"
        )

    shares, whole = told["rules"]["steps"], sum(told["rules"]["steps"].values())
    return [
        f"The rules at {min(rows):,} rows:",
        table(
            ["what", "ours s", "other s", "ratio", "ratio of processor time", "aim"],
            [
                line("ANC step (ANC-1 … ANC-12) / one SQL query, from Parquet", "anc", "peer", "3"),
                line("four grading systems / one plain ladder, 10 million values", "grades", "ladder", "1.5"),
            ],
        ),
        table(["rule", "seconds", "share"], [f"| {name} | {s:.2f} | {s / whole:.0%} |" for name, s in shares.items()]),
    ]


def night(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """A night of 20,000 new results on stores of different size."""
    sizes = [1_000_000, *(number for number in rows if number > 1_000_000)]
    command = [
        sys.executable,
        "-m",
        "benchmarks.night",
        "--folder",
        str(folder / "nights"),
        "--repeat",
        str(max(repeat, 3)),
    ]
    done = subprocess.run([*command, "--rows", *map(str, sizes)], check=True, capture_output=True, text=True, cwd=ROOT)
    *nights, _ = map(json.loads, done.stdout.splitlines())
    first = nights[0]
    return [
        "A night of 20,000 new results on stores of different size (aim: 1.3 times the smallest, the copy of the file apart):",
        table(
            ["stored results", "file MB", "processor s", "wall s", "copy s", "wall without copy / smallest"],
            [
                f"| {one['rows']:,} | {one['MB']:,} | {one['cpu']:.1f} | {one['wall']:.1f} | {one['copy wall']:.2f} | "
                f"**{(one['wall'] - one['copy wall']) / (first['wall'] - first['copy wall']):.2f}** |"
                for one in nights
            ],
        ),
    ]


def surroundings(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """The command on the sample data, Prefect's own share, the report and the readers."""
    taken = measure("sample", ROOT, repeat)["steps"]
    return [
        "The command on the sample data, as a process:",
        table(
            ["what", "seconds", "aim"],
            [
                f"| `neutro-screen --help` | {taken['--help']:.2f} | 0.3 |",
                f"| `neutro-screen run` with its report | {taken['run']:.1f} | 3 |",
                f"| the same night as a Prefect flow, server included | {taken['flow']:.1f} | |",
                f"| … of which Prefect's own | {taken['flow'] - taken['run']:.1f} | told apart |",
            ],
        ),
        "The report:",
        report_page.markdown(report_page.measure()).strip(),
        "Readers beside the plain parse of the same bytes:",
        readers.table(readers.measure()),
    ]


_PARTS = {"scale": scale, "recognition": recognition, "rules": rules, "night": night, "surroundings": surroundings}


def measure(worker: str, path: Path, times: int) -> dict[str, Any]:
    """The median run of a worker, with the largest memory of all."""
    command = [sys.executable, "-m", "benchmarks.workers", worker, str(path)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
        for _ in range(times)
    ]
    middle = sorted(runs, key=lambda run: float(run["seconds"]))[len(runs) // 2]
    sys.stderr.write(f"{worker} {path.name}: {median(run['seconds'] for run in runs):.2f} s\n")
    return middle | {"megabytes": max(run["megabytes"] for run in runs)}


def table(columns: list[str], lines: list[str]) -> str:
    """A table in Markdown."""
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *lines])


def update(name: str, text: str) -> None:
    """Put a command's results between its marks; the rest of the page stays."""
    packages = ", ".join(f"{package} {version(package)}" for package in ("polars", "duckdb", "pandera"))
    machine = f"{platform.machine()}, two cores, Python {platform.python_version()}, {packages}"
    marked = f"<!-- {name} -->\n{text}\n\nMeasured on: {machine}.\n<!-- end of {name} -->"
    page = PAGE.read_text("utf-8")
    found = re.compile(rf"<!-- {name} -->.*?<!-- end of {name} -->", re.DOTALL)
    PAGE.write_text(
        found.sub(lambda _: marked, page) if found.search(page) else f"{page.rstrip()}\n\n{marked}\n", "utf-8"
    )


if __name__ == "__main__":
    main()

"""`make bench` (to a million rows) and `make bench-large` (to a hundred million): what the product costs, as ratios measured in one run.

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

from benchmarks import growth as growth_plot
from benchmarks import readers
from benchmarks import report as report_page
from benchmarks.workers import ROOT

PAGE = ROOT / "docs" / "performance.md"
Told = dict[str, dict[str, Any]]


def main() -> None:
    """Measure and write the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks")
    options.add_argument("--large", action="store_true", help="10 and 100 million rows as well")
    options.add_argument("--rows", type=int, nargs="+", help="other numbers of rows")
    options.add_argument("--repeat", type=int, help="processes per figure")
    options.add_argument("--parts", nargs="+", choices=list(_PARTS), help="only these")
    options.add_argument("--folder", type=Path, help="where the simulated files are kept between runs")
    chosen = options.parse_args()
    rows = sorted(chosen.rows or [*_SMALL, *([10_000_000, 100_000_000] if chosen.large else [])])
    repeat = chosen.repeat or 3
    parts = chosen.parts or (
        ["scale", "rules", "night"] if chosen.large else ["scale", "recognition", "rules", "surroundings"]
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        written = [text for part in parts for text in _PARTS[part](folder, rows, repeat)]
    name = "bench-large" if chosen.large else "bench"
    heading = f"## `make {name}`: {rows[0]:,} to {rows[-1]:,} laboratory rows"
    update(name, "\n\n".join([heading, *written]))
    sys.stdout.write(PAGE.read_text("utf-8"))


def sent(folder: Path, rows: int) -> Path:
    """Laboratory rows as hospitals send them, the charts beside them; made once per folder."""
    from neutro_simulator import simulate_extract

    place = folder / str(rows) / "sent"
    if not (place / "labs.csv").exists():
        simulate_extract(rows, 1, place)
    return place / "labs.csv"


def simulated(folder: Path, rows: int) -> dict[str, Path]:
    """The same clean laboratory rows as CSV and as Parquet; made once per folder."""
    from neutro_simulator import simulate_labs_at_scale

    place = folder / str(rows)
    place.mkdir(exist_ok=True)
    files = {kind: place / f"labs.{kind}" for kind in ("csv", "parquet")}
    for path in files.values():
        if not path.exists():
            simulate_labs_at_scale(rows, 1, path)
    return files


def scale(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """The whole run at every size, on both kinds of input, beside its floors where they fit into memory; how it grows."""
    taken = list[dict[str, Any]]()
    for number in rows:
        inputs = {"as sent": sent(folder, number)}
        if number >= _CLEAN_FROM:
            inputs |= {f"clean {kind}": path for kind, path in simulated(folder, number).items()}
        taken += [
            {"what": what, "rows": number} | _beside_floors(path, number, repeat) for what, path in inputs.items()
        ]
    growth_plot.draw(taken, ROOT / "docs" / "images" / f"growth-to-{rows[-1]}.svg")
    names = list(dict.fromkeys(name for one in taken for name in one["steps"]))
    return [
        _SCALE,
        table(
            [
                "rows",
                "input",
                "cold s",
                "seconds",
                "processor s",
                "peak MB",
                "floor s",
                "run / floor",
                "lower floor s",
                "run / lower floor",
            ],
            [
                f"| {one['rows']:,} | {one['what']} | {one['cold']} | {one['seconds']:.1f} | {one['processor']:.1f} | "
                f"{one['megabytes']:,} | {_ratio(one, 'floor')} | {_ratio(one, 'lower')} |"
                for one in taken
            ],
        ),
        *_growth(taken, rows),
        "Seconds by step. Three parts are at work at the same time: one is judged (`validate`, `history`), the one before it\n"
        "screened, and the one before that stored. `publish` is what is left behind the last part; the sum is more than the run.",
        table(
            ["rows", "input", *names],
            [
                f"| {one['rows']:,} | {one['what']} | "
                + " | ".join(f"{one['steps'].get(name, 0):.1f}" for name in names)
                + " |"
                for one in taken
            ],
        ),
    ]


def _beside_floors(path: Path, number: int, repeat: int) -> dict[str, Any]:
    """A run's figures, cold and warm, and the seconds of both floors."""
    times = repeat if number <= _REPEATED else 1
    if number > _IN_MEMORY:
        return measure("full_in_8gb", path, 1) | {"cold": "", "floor": None, "lower": None}
    cold = measure("full_cold", path, 1)["seconds"]
    run = measure("full", path, times)
    measure("tables", path, 1)
    steps = measure("floor", path, times)["steps"]
    return run | {
        "cold": f"{cold:.1f}",
        "floor": steps["scan and sort"] + steps["tables of the run"],
        "lower": steps["scan and sort"] + steps["rows as read"],
    }


def _ratio(one: dict[str, Any], floor: str) -> str:
    return f"{one[floor]:.2f} | **{one['seconds'] / one[floor]:.2f}**" if one[floor] else " | "


def _growth(taken: list[dict[str, Any]], rows: list[int]) -> list[str]:
    seconds = {(one["what"], one["rows"]): one["seconds"] for one in taken}
    grown = [
        f"{what}: {most:,} rows take {seconds[what, most] / seconds[what, least]:.1f} times as long as {least:,}"
        for what in dict.fromkeys(one["what"] for one in taken)
        for least, most in itertools.pairwise(rows)
        if (what, least) in seconds and least >= _CLEAN_FROM
    ]
    picture = f"![Seconds of a run by its rows](images/growth-to-{rows[-1]}.svg)"
    return [
        picture,
        *(["Growth (aim: at most 10.5 for ten times the rows): " + "; ".join(grown) + "."] if grown else []),
    ]


#: Sizes that both commands measure.
_SMALL = (1_000, 10_000, 100_000, 1_000_000)
#: From this size on the clean rows are measured as well: below it a run is its start.
_CLEAN_FROM = 1_000_000
#: The largest size of which a figure is the median of several processes.
_REPEATED = 1_000_000
#: The largest size whose floors, which hold everything in memory, are taken.
_IN_MEMORY = 10_000_000
_SCALE = """\
Two inputs. *As sent* is an extract as hospitals send it (`neutro_simulator.simulate_extract`): in the order of the results, so that the
rows of a patient lie apart, seven laboratories with seven ways to write a count, decimal commas, fields in quotes, 3 % dirt
of every kind; medications, patients, diagnoses and events come with it, and the report is written. *Clean* is the easiest
input there is: four laboratories, sorted by patient, no dirt, no quotes, no charts, no report.

*Cold*: the system holds nothing of the files in memory; the other figures are medians of runs after it (one run above a
million rows). Two floors: polars scans the same files and sorts the laboratory rows by patient and time, and DuckDB writes
*the tables that the run publishes*; the lower one writes nothing but the rows as they were read. Aims: at most 2.5 times the lower floor
at ten million rows, 4 times at one million, peak memory at most 4 GB at 10 million rows. Above 10 million rows the run gets `--memory 3GB`, and the
floors, which hold everything in memory, are left out."""


def recognition(folder: Path, rows: list[int], repeat: int) -> list[str]:
    """What it costs to read every name, unit and specimen once, beside a whole run."""
    read = measure("recognition", ROOT, max(repeat, 3))
    number = _CLEAN_FROM
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
    number = max(size for size in rows if size <= _IN_MEMORY)
    path = simulated(folder, number)["parquet"]
    told = {worker: measure(worker, path, max(repeat, 3)) for worker in ("anc", "peer", "grades", "ladder", "rules")}

    def line(what: str, ours: str, theirs: str, aim: str) -> str:
        one, other = told[ours], told[theirs]
        return (
            f"| {what} | {one['seconds']:.2f} | {other['seconds']:.2f} | **{one['seconds'] / other['seconds']:.1f}** | "
            f"{one['processor'] / other['processor']:.1f} | {aim} |"
        )

    shares, whole = told["rules"]["steps"], sum(told["rules"]["steps"].values())
    return [
        f"The rules at {number:,} rows:",
        table(
            ["what", "ours s", "other s", "ratio", "ratio of processor time", "aim"],
            [
                line("ANC step (ANC-1 … ANC-12) / one SQL query, from Parquet", "anc", "peer", "3"),
                line("four grading systems / one plain ladder, 25 times 10 million values", "grades", "ladder", "1.5"),
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
        "A night of 20,000 new results on stores of different size (aim: 1.5 times the smallest, the copy of the file apart, in which its blocks are checked):",
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
            ["what", "seconds", "processor", "aim"],
            [
                f"| {what} | {taken[name]:.2f} | {taken[f'{name} processor']:.2f} | {aim} |"
                for name, what, aim in (
                    ("--help", "`neutro-screen --help`", "0.3"),
                    ("run", "`neutro-screen run` with its report", "1.5 of processor"),
                    ("night", "a night of 20 new rows with its report", "1.5 of processor"),
                    ("flow", "the run as a Prefect flow, server included", ""),
                )
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

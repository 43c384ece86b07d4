"""How much of what laboratories call things is recognised: ``python -m benchmarks.recognition [--lists FOLDER]``.

The folder holds names_positive.csv, names_negative.csv, units.csv and specimens.csv (RECOGNITION.md, "How it is
measured"). Each name is weighed with the unit it was collected with; a name is *wrong* where another analyte is
certain, a test is *taken* where anything that feeds the ANC is certain.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.readings import Reading, weigh
from neutro_screen.recognition.specimens import read_specimen
from neutro_screen.recognition.units import read_unit
from neutro_screen.reference import load_reference

SHARED: Final = Path(__file__).parents[2] / "shared" / "vocabulary"
#: Powers of ten of 10*9/L that the list's words for units mean.
MEANINGS: Final = {"10*9/L (thousands per uL)": 0, "cells per uL": -3, "hundreds per uL": -1}
#: Units under which a test of another kind could be taken for a count.
UNITS_OF_NEGATIVES: Final = (None, "10*9/L", "%", "/uL")


def read_list(path: Path) -> Iterator[Mapping[str, str]]:
    """The rows of one list, texts as they stand; none where the folder has no such list."""
    if path.exists():
        yield from pl.read_csv(path, infer_schema=False).fill_null("").iter_rows(named=True)


def judged_names(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, str, Reading]]:
    """Verdict (recognised, wrong, not recognised), name and reading of rows (name, expected_analyte, unit_given)."""
    tables, judged = Tables(load_reference()), []
    for row in rows:
        reading = weigh(Origin(analyte_name=row["name"], unit_text=row["unit_given"] or None), tables)
        is_certain = reading.certainty == "certain" and reading.analyte is not None
        right = "recognised" if reading.analyte == row["expected_analyte"] else "wrong"
        judged.append((right if is_certain else "not recognised", row["name"], reading))
    return judged


def judged_negatives(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, str, Reading]]:
    """Verdict (taken, left, unrecognised), name and reading of tests that are no count in blood, under any unit.

    ``unrecognised``: its patients would be on cannot-assess without need.
    """
    tables, judged = Tables(load_reference()), []
    for row in rows:
        for unit in UNITS_OF_NEGATIVES:
            reading = weigh(Origin(analyte_name=row["name"], unit_text=unit), tables)
            is_taken = reading.certainty == "certain" and reading.may_feed_anc
            verdict = "taken" if is_taken else "unrecognised" if reading.may_feed_anc else "left"
            judged.append((verdict, row["name"], reading))
    return judged


def judged_units(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Verdict (read, misread, refused) and text of rows (unit_text, meaning)."""
    judged = []
    for row in rows:
        unit = read_unit(row["unit_text"])
        option = unit.of("count")
        is_read = option is not None and option.decision != "refuse" and not unit.is_ambiguous
        right = "read" if option and option.exponent == MEANINGS.get(row["meaning"]) else "misread"
        judged.append((right if is_read else "refused", row["unit_text"]))
    return judged


def judged_specimens(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Verdict (right, wrong, unknown) and text of rows (specimen_text, specimen)."""
    judged = []
    for row in rows:
        found = read_specimen(row["specimen_text"]).specimen
        right = "right" if found == row["specimen"] else "wrong"
        judged.append(("unknown" if found in (None, "unknown") else right, row["specimen_text"]))
    return judged


def main() -> None:
    """Print the figures, and every text that was not read as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=Path, default=SHARED)
    folder = parser.parse_args().lists
    names = judged_names(read_list(folder / "names_positive.csv"))
    negatives = judged_negatives(read_list(folder / "names_negative.csv"))
    for title, verdicts, good in (
        ("names", [(verdict, text) for verdict, text, _ in names], "recognised"),
        ("other tests, each under four units", [(verdict, text) for verdict, text, _ in negatives], "left"),
        ("units", judged_units(read_list(folder / "units.csv")), "read"),
        ("specimens", judged_specimens(read_list(folder / "specimens.csv")), "right"),
    ):
        print(f"{title}: {dict(Counter(verdict for verdict, _ in verdicts))}")
        for verdict, text in sorted({pair for pair in verdicts if pair[0] != good}):
            print(f"  {verdict}: {text!r}")


if __name__ == "__main__":
    main()

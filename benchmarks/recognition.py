"""How much of what laboratories call things is recognised: ``python -m benchmarks.recognition [--lists FOLDER]``.

The folder holds names_positive.csv, names_negative.csv, units.csv and specimens.csv (RECOGNITION.md, "How it is
measured"). Each name is weighed with the unit it was collected with; a name is *wrong* where another analyte is
certain, a test is *taken* where anything that feeds the ANC is certain.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import polars as pl

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.readings import Reading, weigh
from neutro_screen.recognition.specimens import read_specimen
from neutro_screen.recognition.units import read_unit
from neutro_screen.reference import load_reference
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table

SHARED: Final = Path(__file__).parents[2] / "shared" / "vocabulary"
#: Powers of ten of 10*9/L that the list's words for units mean.
MEANINGS: Final = {"10*9/L (thousands per uL)": 0, "cells per uL": -3, "hundreds per uL": -1, "ten thousands per uL": 1}
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


#: Pieces of names, units, specimens and codes, with and without meaning.
_NAME_PIECES: Final = (
    "WBC",
    "Neutrophils",
    "NEUT#",
    "Leukozyten",
    "ANC",
    "Segs",
    "Bands",
    "Granulocytes",
    "PMN",
    "Lymph",
    "Platelets",
    "Sodium",
    "abs",
    "%",
    "count",
    "ratio",
    "Qzx",
    "Vbn",
    "antibody",
    "manual",
    "urine",
    "blood",
    "Neutrofilos",
    "liczba",
)
_UNITS: Final = (
    "10*9/L",
    "/uL",
    "%",
    "K/uL",
    "10^3/mm3",
    "qux",
    "mmol/L",
    "g/dL",
    None,
    "/hpf",
    "10*12/L",
    "x10(3)/mcL",
)
_SPECIMENS: Final = (None, None, None, "Blood", "EDTA", "Urine", "Zork tube", "Serum", "CSF")
_CODES: Final = (None, None, None, "751-8", "6690-2", "770-8", "731-0", "98765-4", "718-7", "5821-4")


def random_rows(patients: int, seed: int) -> pl.DataFrame:
    """Laboratory rows (native layout) of random names, units, specimens and codes: one to three a patient."""
    random, rows = np.random.default_rng(seed), []

    def one_of(options: tuple[str | None, ...]) -> str | None:
        return options[random.integers(len(options))]

    for patient in range(patients):
        for _ in range(random.integers(1, 4)):
            words = random.choice(_NAME_PIECES, random.integers(1, 4), replace=False)
            rows.append(
                {
                    "patient_id": f"P{patient}",
                    "specimen_id": f"S{patient}",
                    "collected_at": "2026-11-20 08:00",
                    "loinc": one_of(_CODES),
                    "analyte_name": " ".join(words),
                    "value": f"{random.uniform(0.1, 12):.2f}",
                    "unit": one_of(_UNITS),
                    "specimen_type": one_of(_SPECIMENS),
                }
            )
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))


def in_no_list(patients: int, seed: int) -> tuple[int, int]:
    """Of random patients, how many are in no list though a row of theirs may feed the ANC; and how many are in none."""
    rows = random_rows(patients, seed)
    with TemporaryDirectory() as folder:
        labs, store = Path(folder) / "labs.csv", Path(folder) / "s.duckdb"
        rows.write_csv(labs)
        run(RunOptions(labs=(str(labs),), store=store, as_of=moment("2026-11-21"), max_rejected=1.0))
        with reading(store) as connection:
            told = read_table(
                connection, "SELECT patient_id FROM patient_status UNION SELECT patient_id FROM cannot_assess"
            )
    unlisted = rows.filter(~pl.col("patient_id").is_in(told["patient_id"].implode()))
    tables, lost = Tables(load_reference()), set[str]()
    for row in unlisted.iter_rows(named=True):
        reading_of = weigh(
            Origin(
                loinc=row["loinc"],
                analyte_name=row["analyte_name"],
                unit_text=row["unit"],
                specimen_type=row["specimen_type"],
            ),
            tables,
        )
        if reading_of.may_feed_anc:
            lost.add(row["patient_id"])
    return len(lost), unlisted["patient_id"].n_unique()


def main() -> None:
    """Print the figures, and every text that was not read as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=Path, default=SHARED)
    parser.add_argument("--patients", type=int, default=10_000, help="random patients, 0 = none")
    arguments = parser.parse_args()
    folder = arguments.lists
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
    if arguments.patients:
        lost, unlisted = in_no_list(arguments.patients, seed=1)
        print(
            f"random patients: {arguments.patients}; in no list though a row may feed the ANC: {lost}; without any: {unlisted}"
        )


if __name__ == "__main__":
    main()

"""Every patient of a laboratory file is in patient_status or cannot_assess, or no row of his was of a blood count."""

from itertools import product
from pathlib import Path

import polars as pl
import pytest

from benchmarks.recognition import random_rows
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.recognition.words import load_cells
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from tests.spec.test_readings import LOINC, NAMES

AS_OF = moment("2026-11-21")


def screened(rows: pl.DataFrame, folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of a run over laboratory rows."""
    rows.write_csv(folder / "labs.csv")
    summary = run(
        RunOptions(labs=(str(folder / "labs.csv"),), store=folder / "s.duckdb", as_of=AS_OF, max_rejected=1.0)
    )
    account = summary.account
    assert account.rows_in == rows.height
    with reading(folder / "s.duckdb") as connection:
        names = ("patient_status", "cannot_assess", "recognition", "anc", "lab_result", "rejected_row", "no_result")
        return {name: read_table(connection, f"SELECT * FROM {name}") for name in names}


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_in_no_list(seed: int, tmp_path: Path) -> None:
    rows = random_rows(200, seed)
    tables = screened(rows, tmp_path)
    listed = set(tables["patient_status"]["patient_id"]) | set(tables["cannot_assess"]["patient_id"])
    # The rows of the others are, each, in the table as a test that is no business of the screen.
    others = rows.filter(~pl.col("patient_id").is_in(listed))
    read = tables["recognition"].select("name", "unit", "reason", "analyte", "specimen", code="code")
    judged = others.join(
        read,
        left_on=["analyte_name", "unit", "specimen_type", "loinc"],
        right_on=["name", "unit", "specimen", "code"],
        how="left",
        nulls_equal=True,
    )
    assert judged["reason"].null_count() == 0
    assert set(judged["reason"]) <= {"unmapped", "other_specimen", "not_blood: Urine"}
    assert tables["recognition"]["rows"].sum() == rows.height
    # Whoever has no usable count and a row that may feed one is on cannot-assess.
    kept_aside = tables["rejected_row"].filter(pl.col("reason").is_in(["unrecognised_test", "code_name_conflict"]))
    counted = set(tables["anc"].filter(pl.col("severity").is_not_null())["patient_id"])
    assert set(kept_aside["patient_id"]) - counted <= set(tables["cannot_assess"]["patient_id"])


def test_a_code_of_one_cell_under_the_name_of_another_is_in_no_count(tmp_path: Path) -> None:
    pairs = [
        (code, name)
        for (coded, codes), (named, names) in product(LOINC.items(), NAMES.items())
        if not load_cells().agree(coded, named)
        for code, name in product(codes, names)
    ]
    rows = pl.DataFrame(
        [
            {
                "patient_id": f"P{number}",
                "specimen_id": f"S{number}",
                "collected_at": "2026-11-20 08:00",
                "loinc": code,
                "analyte_name": name,
                "value": "4.0",
                "unit": "10*9/L",
            }
            for number, (code, name) in enumerate(pairs)
        ]
    )
    tables = screened(rows, tmp_path)
    bounds = tables["anc"].filter(pl.col("anc_method") == "granulocyte_upper_bound")["patient_id"]
    assert tables["anc"].height == bounds.len()  # granulocytes bound a count from above, and clear nobody
    assert tables["anc"]["severity"].drop_nulls().is_empty()
    told = tables["cannot_assess"]
    assert set(told["patient_id"]) == set(rows["patient_id"])
    assert set(told.filter(~pl.col("patient_id").is_in(bounds.implode()))["reason"]) == {"code_name_conflict"}

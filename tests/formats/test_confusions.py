"""A code of one cell under the name of another is in no count, whatever the format that brings it (REC-2)."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.recognition.words import load_cells
from neutro_screen.reference import load_reference
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from tests.spec.test_readings import LOINC, NAMES


def pairs(codes_of: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Every code of one cell with every name of another that contradicts it."""
    return [
        (code, name)
        for (coded, codes), (named, names) in product(codes_of.items(), NAMES.items())
        if not load_cells().agree(coded, named)
        for code, name in product(codes, names)
    ]


def messages(rows: list[tuple[str, str]]) -> str:
    return "\r".join(
        f"MSH|^~\\&|A|L|||20261120080000||ORU^R01|{number}|P|2.5\rPID|1||P{number}\r"
        f"OBR|1||S{number}|58410-2^CBC^LN|||20261120080000\r"
        f"OBX|1|NM|{code}^{name}^LN||4.0|10*9/L|||||F"
        for number, (code, name) in enumerate(rows)
    )


def observations(rows: list[tuple[str, str]], text_in: str) -> str:
    def code(loinc: str, name: str) -> dict[str, object]:
        coding = {"system": "http://loinc.org", "code": loinc}
        return {"coding": [coding], "text": name} if text_in == "text" else {"coding": [coding | {"display": name}]}

    def lines() -> Iterator[str]:
        for number, (loinc, name) in enumerate(rows):
            yield json.dumps(
                {
                    "resourceType": "Observation",
                    "id": f"o{number}",
                    "status": "final",
                    "subject": {"reference": f"Patient/P{number}"},
                    "effectiveDateTime": "2026-11-20T08:00:00Z",
                    "code": code(loinc, name),
                    "valueQuantity": {"value": 4.0, "unit": "10*9/L"},
                }
            )

    return "\n".join(lines())


def measurements(rows: list[tuple[str, str]]) -> str:
    header = (
        "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,operator_concept_id,"
        "value_as_number,value_as_concept_id,unit_concept_id,range_low,range_high,measurement_source_value,"
        "unit_source_value,value_source_value"
    )
    lines = (
        f'{number},{number},{code},2026-11-20,2026-11-20 08:00:00,,4.0,,8848,,,"{name}",10*3/uL,'
        for number, (code, name) in enumerate(rows)
    )
    return "\n".join((header, *lines))


def omop_concepts() -> dict[str, tuple[str, ...]]:
    codes = load_reference().lab_codes.filter(system="omop_concept_id", dimension="count").sort("code")
    return {cell: tuple(codes.filter(cell=cell)["code"].head(3)) for cell in LOINC if codes.filter(cell=cell).height}


SHAPES = {
    "messages.hl7": (LOINC, messages),
    "text.ndjson": (LOINC, lambda rows: observations(rows, "text")),
    "display.ndjson": (LOINC, lambda rows: observations(rows, "display")),
    "omop/measurement.csv": (omop_concepts(), measurements),
}


@pytest.mark.parametrize("file", list(SHAPES))
def test_a_code_of_one_cell_under_the_name_of_another(file: str, tmp_path: Path) -> None:
    codes_of, written = SHAPES[file]
    rows = pairs(codes_of)
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(written(rows), "utf-8")
    labs = path
    if file.startswith("omop"):
        labs = path.parent
        persons = "".join(f"{number},8507,1970\n" for number in range(len(rows)))
        (labs / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n" + persons, "utf-8")
    run(RunOptions(labs=(str(labs),), store=tmp_path / "s.duckdb", as_of=moment("2026-11-21"), max_rejected=1.0))
    with reading(tmp_path / "s.duckdb") as connection:
        counts = read_table(connection, "SELECT patient_id, severity, anc_method FROM anc")
        told = read_table(connection, "SELECT patient_id, reason FROM cannot_assess")
    assert len(rows) >= 400
    assert told["patient_id"].n_unique() == len(rows)
    # Granulocytes bound a count from above; they clear nobody.
    assert set(counts["anc_method"]) <= {"granulocyte_upper_bound"}
    assert counts["severity"].null_count() == counts.height
    bounded = pl.Series(counts["patient_id"]).implode()
    assert set(told.filter(~pl.col("patient_id").is_in(bounded))["reason"]) == {"code_name_conflict"}

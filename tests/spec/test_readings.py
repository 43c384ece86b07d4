"""All evidence of an origin together (REC-1 to REC-3): what decides, what contradicts, what is kept aside."""

from itertools import product

import polars as pl
import pytest

from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.readings import READING_COLUMNS, read_origins, weigh
from neutro_screen.recognition.words import load_cells
from neutro_screen.reference import load_reference

REFERENCE = load_reference()
TABLES = Tables(REFERENCE)

#: A count of each cell under its LOINC, and what laboratories call it.
NAMES = {
    "wbc": ("WBC", "Leukozyten", "Globules blancs"),
    "neut": ("Absolute neutrophil count", "NEUT#", "Neutrophile abs."),
    "band": ("Bands Abs", "Stabkernige", "Bastonetes"),
    "gran": ("GRAN#", "Granulocytes Absolute", "Granulozyten"),
    "lymph": ("LYM#", "Lymphocytes Absolute", "Linfocitos"),
    "mono": ("MONO#", "Monozyten", "単球"),
    "eos": ("EO#", "Eosinophils", "Эозинофилы"),
    "baso": ("BASO#", "Basophils Abs", "嗜碱性粒细胞"),
    "blast": ("Blasts", "Blasten"),
    "meta": ("Metamyelocytes", "Jugendliche"),
    "myelo": ("Myelocytes", "Myelozyten"),
    "ig": ("IG#", "Immature Granulocytes"),
    "hgb": ("Hemoglobin", "Hb"),
    "plt": ("Platelets", "Thrombozyten"),
}
LOINC = {
    "wbc": ("6690-2", "26464-8", "804-5"),
    "neut": ("751-8", "26499-4", "753-4", "770-8"),
    "band": ("763-3", "26507-4"),
    "gran": ("30394-1", "20482-6"),
    "lymph": ("731-0", "26474-7"),
    "mono": ("742-7", "26484-6"),
    "eos": ("711-2",),
    "baso": ("704-7",),
    "blast": ("30376-8",),
    "meta": ("30433-7",),
    "myelo": ("30446-9",),
    "hgb": ("718-7",),
    "plt": ("777-3", "26515-7"),
}
PAIRS = [
    (code, name)
    for (coded, codes), (named, names) in product(LOINC.items(), NAMES.items())
    if not load_cells().agree(coded, named)
    for code, name in product(codes, names)
]


def test_a_code_of_one_cell_under_the_name_of_another_is_a_contradiction() -> None:
    assert len(PAIRS) >= 500
    units = ("10*9/L", "%", "/uL", None)
    read = {
        (code, name): weigh(Origin(loinc=code, analyte_name=name, unit_text=unit), TABLES)
        for (code, name), unit in zip(PAIRS, units * len(PAIRS), strict=False)
    }
    assert {(reading.certainty, reading.reason, reading.analyte) for reading in read.values()} == {
        ("conflict", "code_name_conflict", None)
    }


def test_code_and_name_of_one_cell_agree() -> None:
    for cell, codes in LOINC.items():
        for code, name in product(codes, NAMES[cell]):
            assert weigh(Origin(loinc=code, analyte_name=name), TABLES).certainty == "certain", (code, name)


CASES = """
loinc   | name                        | unit   | specimen | certainty  | analyte  | reason                    | unit status
751-8   | Neutrophils                 | 10*9/L |          | certain    | neut_abs |                           | accepted
751-8   | Neutrophils                 | %      |          | certain    | neut_pct | code_contradicts_unit     | accepted
751-8   | NEUT#                       | %      |          | certain    | neut_abs |                           | other_property
751-8   |                             | %      |          | certain    | neut_pct | code_contradicts_unit     | accepted
751-8   | Zxqwv                       | 10*9/L |          | certain    | neut_abs |                           | accepted
751-8   | Segs                        | 10*9/L |          | certain    | neut_abs |                           | accepted
35332-6 | Bands                       | %      |          | certain    | band_pct |                           | accepted
751-8   | Neutrophils                 | 10*9/L | Urine    | other_test | neut_abs | other_specimen            | accepted
751-8   | Neutrophils in blood        | 10*9/L | Urine    | conflict   | neut_abs | specimen_conflict         | accepted
6690-2  | WBC (urine)                 | /uL    |          | conflict   |          | code_name_conflict        |
751-8   | Neutrophil/Lymphocyte ratio | 1      |          | conflict   |          | code_name_conflict        |
        | Neutrophils                 |        |          | probable   |          | no_property               |
        | ANC                         |        |          | certain    | neut_abs |                           | missing
        | NEUT%                       |        |          | certain    | neut_pct |                           | missing
        | NEUT%                       | K/uL   |          | certain    | neut_pct |                           | other_property
        | WBC                         | 10^^3  |          | certain    | wbc      |                           | unread
        | WBC                         | T/L    |          | certain    | wbc      |                           | refused
        | WBC                         | /HPF   |          | other_test |          | unit_of_a_slide           |
98765-4 | WBC                         | /uL    |          | probable   | wbc      | unknown_code              | accepted
98765-4 | WBC                         | /uL    | Blood    | certain    | wbc      |                           | accepted
        | Erythroblasten              | 10*9/L |          | other_test |          | other_property            |
"""
ROWS = [tuple(cell.strip() or None for cell in line.split("|")) for line in CASES.strip().splitlines()[1:]]


@pytest.mark.parametrize(("loinc", "name", "unit", "specimen", "certainty", "analyte", "reason", "status"), ROWS)
def test_evidence_is_weighed_together(
    loinc: str, name: str, unit: str, specimen: str, certainty: str, analyte: str, reason: str, status: str
) -> None:
    reading = weigh(Origin(loinc=loinc, analyte_name=name, unit_text=unit, specimen_type=specimen), TABLES)
    assert (reading.certainty, reading.analyte, reading.reason, reading.unit_status) == (
        certainty,
        analyte,
        reason,
        status,
    )


def test_a_specimen_that_is_not_understood_is_kept_for_the_order_to_settle() -> None:
    reading = weigh(Origin(loinc="751-8", unit_text="10*9/L", specimen_type="Serum"), TABLES)
    assert (reading.certainty, reading.specimen) == ("certain", "unknown")


def test_granulocytes_under_the_code_of_monocytes_bound_the_count_from_above() -> None:
    reading = weigh(Origin(loinc="742-7", analyte_name="GRA#", unit_text="10*9/L"), TABLES)
    assert (reading.certainty, reading.bound_analyte, reading.factor) == ("conflict", "gran_abs", 1.0)


def test_the_users_profile_goes_before_everything() -> None:
    tables = Tables(REFERENCE.extended_by({"LYM#": "neut_abs"}, {}))
    reading = weigh(Origin(loinc="731-0", analyte_name="lym#", unit_text="10*9/L"), tables)
    assert (reading.certainty, reading.analyte, reading.decided_by) == ("certain", "neut_abs", "profile")


VALUES = """
high | median | highest | analyte
75   | 58     | 92      | neut_pct
7.5  | 3.9    | 21      | neut_abs
7500 | 3900   | 21000   | neut_abs
75   | 58     | 140     |
     | 3.9    | 21      |
"""


@pytest.mark.parametrize("row", [line.split("|") for line in VALUES.strip().splitlines()[1:]])
def test_without_name_or_unit_range_and_values_together_settle_the_property(row: list[str]) -> None:
    high, median, highest = (float(cell) if cell.strip() else None for cell in row[:3])
    seen = Origin(analyte_name="Neutrophils", reference_high=high, n_values=20, value_median=median, value_high=highest)
    once = Origin(analyte_name="Neutrophils", reference_high=high, n_values=1, value_median=median, value_high=highest)
    reading = weigh(seen, TABLES)
    assert reading.analyte == (row[3].strip() or None)
    assert reading.factor is None
    assert weigh(once, TABLES).analyte is None


@pytest.mark.parametrize(("median", "status"), [(6200.0, "accepted"), (6.2, "ambiguous"), (None, "ambiguous")])
def test_a_bare_microlitre_means_cells_only_where_the_values_agree(median: float | None, status: str) -> None:
    origin = Origin(analyte_name="WBC", unit_text="UL", n_values=50, value_median=median)
    assert weigh(origin, TABLES).unit_status == status


def test_a_table_of_origins_gets_a_reading_each() -> None:
    origins = pl.DataFrame(
        {"analyte_name": ["WBC", "WBC", None], "unit_text": ["K/uL", "UR", None], "lab": ["A", "B", "C"]}
    )
    read = read_origins(origins, REFERENCE)
    assert read.columns == [*origins.columns, *READING_COLUMNS]
    assert read["analyte"].to_list() == ["wbc", "wbc", None]
    assert read["unit_status"].to_list() == ["accepted", "unread", None]

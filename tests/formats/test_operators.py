"""The operator of a result, whatever a source calls its column: a bound is never read as a number (ANC-6)."""

import json
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.admin.propose import propose_profile
from neutro_screen.ingest import ingest
from neutro_screen.ingest.layout import native
from neutro_screen.ingest.profile import Profile
from tests.clinic import judged

I2B2 = Profile.model_validate(
    {
        "lab": {
            "columns": {
                "patient_id": "PATIENT_NUM",
                "collected_at": "START_DATE",
                "loinc": "CONCEPT_CD",
                "value": "NVAL_NUM",
                "unit": "UNITS_CD",
            }
        }
    }
)


def read(rows: pl.DataFrame, profile: Profile | None = None) -> list[str]:
    """What each row of a source's table is read as: "<0.1", or why it is refused or no result."""
    profile = profile or Profile()
    numbered = rows.with_columns(source_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    frame, _ = native(numbered, "lab", profile, "labs.csv")
    found, split = judged(frame, profile=profile)
    read = split.accepted.select(
        "source_row", text=pl.concat_str(pl.col("comparator").fill_null(""), pl.col("value").cast(pl.String))
    )
    others = [
        split.rejected.select("source_row", text="reason"),
        found.no_results.select("source_row", text=pl.lit("no result")),
    ]
    return pl.concat([read, *others]).sort("source_row")["text"].to_list()


def counts(column: str, operators: list[str], **columns: list[str]) -> pl.DataFrame:
    """A neutrophil count of 0.4 of each of several patients, with an operator in a column of this name."""
    n = len(operators)
    usual = {
        "patient_id": [f"P{number}" for number in range(n)],
        "collected_at": ["2026-02-01 08:00"] * n,
        "loinc": ["751-8"] * n,
        "value": ["0.4"] * n,
        "unit": ["10*9/L"] * n,
    }
    return pl.DataFrame(usual | {column: operators} | columns)


def test_i2b2_letters_are_operators() -> None:
    facts = pl.DataFrame(
        {
            "PATIENT_NUM": list("1234567"),
            "START_DATE": ["2026-02-01 08:00:00"] * 7,
            "CONCEPT_CD": ["751-8"] * 7,
            "TVAL_CHAR": ["E", "L", "LE", "G", "GE", "NE", "CLOTTED"],
            "NVAL_NUM": ["4.2", "0.1", "0.2", "1.8", "1.9", "0.4", None],
            "VALUEFLAG_CD": ["N", "L", "L", "@", "@", "L", "@"],
            "UNITS_CD": ["10*9/L"] * 7,
        }
    )
    expected = ["4.2", "<0.1", "<=0.2", ">1.8", ">=1.9", "unparseable_value", "no result"]
    assert read(facts, I2B2) == expected
    columns = I2B2.lab.columns
    for value, fallback in ((("TVAL_CHAR", "NVAL_NUM"), None), ("TVAL_CHAR", "NVAL_NUM"), ("NVAL_NUM", "TVAL_CHAR")):
        lab = I2B2.lab.model_copy(
            update={"columns": columns | {"value": value}, "fallbacks": {"value": fallback} if fallback else {}}
        )
        assert read(facts, I2B2.model_copy(update={"lab": lab})) == expected


@pytest.mark.parametrize(
    "column",
    [
        *(
            "comparator",
            "Comparator",
            "TVAL_CHAR",
            "RESULT_MODIFIER",
            "valueQuantity.comparator",
            "operator_concept_id",
        ),
        *("operator", "sign", "result_prefix", "Value Qualifier", "modifier", "signo", "Opérateur"),
    ],
)
def test_a_column_of_operators_is_understood_whatever_it_is_called(column: str) -> None:
    texts = ["<", "LE", "L", "", ">=", "less than"]
    assert read(counts(column, texts)) == ["<0.4", "<=0.4", "<0.4", "0.4", ">=0.4", "<0.4"]


@pytest.mark.parametrize(
    ("column", "operators", "expected"),
    [
        ("comparator", ["L", ""], ["<0.4", "0.4"]),
        ("comparator", ["H", "<"], ["unparseable_value", "<0.4"]),
        ("comparator", ["?", "~"], ["unparseable_value"] * 2),
        ("qualifier", ["L", ""], ["unparseable_value", "0.4"]),
        ("qualifier", ["L", "H"], ["0.4", "0.4"]),
        ("qualifier", ["L", "N", "<"], ["0.4", "0.4", "<0.4"]),
        ("operator", ["JS", "LE", "MK"], ["0.4"] * 3),
        ("modifier", ["25", "59"], ["0.4", "0.4"]),
        ("flag", ["L", "<", "LL"], ["0.4", "<0.4", "0.4"]),
        ("abnormal_flag", ["L", ""], ["0.4", "0.4"]),
    ],
)
def test_l_is_less_than_or_low_as_the_column_tells_and_refused_where_it_does_not(
    column: str, operators: list[str], expected: list[str]
) -> None:
    assert read(counts(column, operators)) == expected


def test_of_two_columns_the_one_that_bounds_counts_and_one_not_understood_refuses() -> None:
    rows = counts("comparator", ["", "=", "<", "="], flag=["<", "<", "L", "L"])
    assert read(rows) == ["<0.4", "<0.4", "<0.4", "0.4"]
    assert read(counts("comparator", ["="], result_modifier=["UN"])) == ["unparseable_value"]


def test_a_profile_settles_a_column_that_does_not_tell() -> None:
    lab = {"columns": {"comparator": "qualifier"}}
    rows = counts("qualifier", ["L", "H"])
    assert read(rows, Profile.model_validate({"lab": lab})) == ["<0.4", "unparseable_value"]
    flags = lab | {"values": {"comparator": {"L": "=", "H": "="}}}
    assert read(rows, Profile.model_validate({"lab": flags})) == ["0.4", "0.4"]


@pytest.mark.parametrize(
    ("value", "operator", "expected"),
    [
        ("<0.1", "<", "<0.1"),
        ("<0.1", "E", "<0.1"),
        ("LT 0.1", "LT", "<0.1"),
        ("<0.1", ">", "fields_disagree"),
        ("0,1", "<", "<0.1"),
        ("0.1 (L)", "<", "<0.1"),
        ("L 0.1", "<", "unparseable_value"),
        ("CLOTTED", "<", "no result"),
        ("", "<", "no result"),
        ("", "<0.1", "<0.1"),
    ],
)
def test_an_operator_and_what_the_value_says_itself(value: str, operator: str, expected: str) -> None:
    assert read(counts("comparator", [operator], value=[value])) == [expected]


@pytest.mark.parametrize(
    ("column", "operators", "line"),
    [
        ("TVAL_CHAR", ["E", "L"], 'comparator = "TVAL_CHAR"'),
        ("sign", ["<", ""], 'comparator = "sign"'),
        ("qualifier", ["L", "H"], None),
        ("flag", ["<", "L"], None),
    ],
)
def test_init_proposes_the_column_of_operators(
    column: str, operators: list[str], line: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "labs.csv"
    counts(column, operators).write_csv(path)
    proposed = [line for line in propose_profile(path).splitlines() if line.startswith("comparator")]
    assert proposed == ([line] if line else [])


def test_an_operator_beside_a_measured_column_of_a_wide_file() -> None:
    wide = [{"column": "ANC", "analyte": "neut_abs", "unit": "10*9/L"}]
    lab = {"columns": {"collected_at": "drawn"}, "wide": [*wide, {"column": "WBC", "analyte": "wbc", "unit": "10*9/L"}]}
    rows = pl.DataFrame(
        {"patient_id": ["1"], "drawn": ["2026-02-01 08:00"], "ANC": ["0.1"], "ANC_SIGN": ["<"], "WBC": ["0.9"]}
    )
    assert read(rows, Profile.model_validate({"lab": lab})) == ["<0.1", "0.9"]


@pytest.mark.parametrize(
    ("value", "comment", "expected"),
    [
        ("0.1", "LESS THAN 0.1", "<0.1"),
        ("0.1", "___ LESS THAN 0.1.", "<0.1"),
        ("___", "___ LESS THAN 0.1", "<0.1"),
        ("", "<0.1.", "<0.1"),
        ("0.5", "CRITICAL VALUE: <0.5", "0.5"),
        ("0.4", "less than 1.5", "0.4"),
        ("CLOTTED", "LESS THAN 0.1", "no result"),
    ],
)
def test_a_bound_that_is_a_line_of_the_comment(value: str, comment: str, expected: str) -> None:
    assert read(counts("comment", [comment], value=[value])) == [expected]


def test_an_operator_of_omop_that_is_not_known_leaves_the_number_open(tmp_path: Path) -> None:
    (tmp_path / "person.csv").write_text("person_id,year_of_birth\n1,1970\n", "utf-8")
    rows = [("4171756", ""), ("4172703", ""), ("0", ""), ("99", ""), ("", "LESS THAN 0.1"), ("", "0.1")]
    (tmp_path / "measurement.csv").write_text(
        "person_id,measurement_concept_id,measurement_date,operator_concept_id,value_as_number,unit_concept_id,value_source_value\n"
        + "".join(f"1,3013650,2026-01-10,{operator},0.1,8848,{source}\n" for operator, source in rows),
        "utf-8",
    )
    texts = ingest({"lab": [str(tmp_path)]}).labs["value_text"].to_list()
    assert texts == ["<0.1", "0.1", "0.1", "operator 99 0.1", "<0.1", "0.1"]


def test_a_standardised_result_of_cdisc_keeps_the_sign_that_the_original_lost(tmp_path: Path) -> None:
    names = ("USUBJID", "LBTESTCD", "LBDTC", "LBORRES", "LBORRESU", "LBSTRESC", "LBSTRESU")
    head = json.dumps({"datasetJSONVersion": "1.1.0", "columns": [{"name": name} for name in names]})
    rows = [("<0.1", "<0.1"), ("0.1", "<0.1"), ("<0.1", "0.1"), ("0.1", "0.1")]
    path = tmp_path / "lb.ndjson"
    path.write_text(
        "\n".join([head, *(json.dumps(["1", "NEUT", "2026-01-10", one, "G/L", two, "G/L"]) for one, two in rows)]),
        "utf-8",
    )
    assert ingest({"lab": [str(path)]}).labs["value_text"].to_list() == ["<0.1", "<0.1", "<0.1", "0.1"]


def test_a_comparator_of_fhir_that_is_not_known_leaves_the_number_open(tmp_path: Path) -> None:
    path = tmp_path / "labs.ndjson"
    path.write_text(
        "\n".join(
            json.dumps(
                {
                    "resourceType": "Observation",
                    "subject": {"reference": "Patient/1"},
                    "effectiveDateTime": "2026-01-10",
                    "code": {"coding": [{"system": "http://loinc.org", "code": "751-8"}]},
                    "valueQuantity": {"value": 0.1, "comparator": comparator, "unit": "10*9/L"},
                }
            )
            for comparator in ("<", "ad")
        ),
        "utf-8",
    )
    assert ingest({"lab": [str(path)]}).labs["value_text"].to_list() == ["<0.1", "ad0.1"]

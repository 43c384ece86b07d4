"""Severity and grades (RULES.md SEV-1, SEV-2), with the published grading vectors."""

from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference import check_ladder, load_reference, loinc_check_digit
from neutro_screen.rules.counts.severity import severity, with_every_grade
from neutro_screen.text import match_key
from tests.clinic import screened
from tests.spec.conftest import Case

VECTORS = Path(__file__).parents[3] / "shared" / "clinical"


@pytest.mark.parametrize(
    ("cells_per_ul", "name"),
    [
        (0, "profound"),
        (99.999, "profound"),
        (100, "severe"),
        (499.999, "severe"),
        (500, "moderate"),
        (999.999, "moderate"),
        (1000, "mild"),
        (1499.999, "mild"),
        (1500, "normal"),
        (None, None),
    ],
)
def test_sev_1_both_sides_of_every_limit(cells_per_ul: float | None, name: str | None) -> None:
    frame = pl.DataFrame(
        {"anc": [cells_per_ul], "comparator": [None]}, schema={"anc": pl.Float64, "comparator": pl.String}
    )
    told = frame.select(severity(pl.col("anc"), pl.col("comparator"), load_reference().anc_bands))
    assert told.item() == name


def test_sev_1_severities_sort_from_normal_to_profound() -> None:
    frame = pl.DataFrame(
        {"anc": [50.0, 2000.0, 700.0], "comparator": [None] * 3}, schema_overrides={"comparator": pl.String}
    )
    told = frame.select(s=severity(pl.col("anc"), pl.col("comparator"), load_reference().anc_bands)).sort("s")
    assert told["s"].to_list() == ["normal", "moderate", "profound"]


def grades_of(anc: float, comparator: str | None = None, age_days: float | None = None) -> pl.DataFrame:
    """The grades of one count without a lower limit of normal."""
    frame = pl.LazyFrame({"anc": [anc], "age": [age_days]}, schema={"anc": pl.Float64, "age": pl.Float64})
    comparison, no_limit = pl.lit(comparator, pl.String), pl.lit(None, pl.Float64)
    bands = load_reference().grade_bands
    return with_every_grade(frame, pl.col("anc"), comparison, no_limit, pl.col("age"), bands).collect()


def graded(vectors: pl.DataFrame) -> pl.DataFrame:
    """Published vectors with the grades of every system, their units brought to cells per uL by the product's table."""
    units = load_reference().unit_factors.filter((pl.col("dimension") == "count") & (pl.col("decision") == "accept"))
    in_cells = vectors.with_columns(key=match_key(pl.col("unit"))).join(
        units.select("factor", key="match_key"), on="key", how="left", maintain_order="left"
    )
    scaled = ((pl.col(name) * pl.col("factor") * 1000).round_sig_figs(15).alias(name) for name in ("value", "lln"))
    bands = load_reference().grade_bands
    count, exact = pl.col("value"), pl.lit(None, pl.String)
    return with_every_grade(
        in_cells.with_columns(*scaled).lazy(), count, exact, pl.col("lln"), pl.col("age_days"), bands
    ).collect()


@pytest.mark.parametrize(
    ("name", "columns"), [("ctcae5", ("ctcae_v5_grade", "ctcae_v4_grade")), ("daids", ("daids_grade",))]
)
def test_sev_2_published_grading_vectors(name: str, columns: tuple[str, ...]) -> None:
    path = VECTORS / f"grade_vectors_{name}.csv"
    if not path.exists():
        pytest.skip(f"the published vectors are not here: shared/clinical/{path.name}")
    vectors = pl.read_csv(path, schema_overrides={"value": pl.Float64, "lln": pl.Float64, "age_days": pl.Float64})
    told = graded(vectors)
    for column in columns:
        wrong = told.filter(pl.col(column).cast(pl.Int64).ne_missing(pl.col("expected_grade").cast(pl.Int64)))
        assert wrong.select("value", "unit", "age_days", "expected_grade", column).rows() == []
    assert told.height > 50


@pytest.mark.parametrize(
    ("cells_per_ul", "grade"),
    [(0, 4), (99.9, 4), (100, 3), (499.9, 3), (500, 2), (999.9, 2), (1000, 1), (1499.9, 1), (1500, 0)],
)
def test_sev_2_ctcae_v6_needs_no_limit_of_normal(cells_per_ul: float, grade: int) -> None:
    told = grades_of(float(cells_per_ul))
    assert told["ctcae_v6_grade"].item() == grade


@pytest.mark.parametrize(
    ("age_days", "cells_per_ul", "grade"),
    [
        (8, 1000, 1),
        (8, 1001, 0),
        (8, 399, 4),
        (7, 1500, 1),
        (7, 749, 4),
        (2, 1501, 0),
        (1, 5000, 1),
        (1, 1499, 4),
        (0, 5001, 0),
        (None, 300, None),
    ],
)
def test_sev_2_daids_by_age(age_days: float | None, cells_per_ul: float, grade: int | None) -> None:
    told = grades_of(float(cells_per_ul), age_days=age_days)
    assert told["daids_grade"].item() == grade


@pytest.mark.parametrize(
    ("bound", "v5", "v6"), [(100.0, 4, 4), (500.0, 4, 3), (1000.0, 3, 2), (1500.0, 2, 1), (2000.0, None, None)]
)
def test_sev_2_a_value_below_a_bound_grades_at_least_as_the_bound_proves(
    bound: float, v5: int | None, v6: int | None
) -> None:
    told = grades_of(bound, "<")
    assert (told["ctcae_v5_grade"].item(), told["ctcae_v6_grade"].item()) == (v5, v6)


@pytest.mark.parametrize("upper", [90.0, 110.0])
def test_bands_with_a_gap_or_an_overlap_are_refused_at_load(upper: float) -> None:
    bands = load_reference().anc_bands.rename({"severity": "step"})
    broken = bands.with_columns(upper=pl.when(pl.col("upper") == 100).then(upper).otherwise("upper"))
    with pytest.raises(ReferenceDataError, match="gap or overlap between profound and severe"):
        check_ladder(broken, "anc_bands.csv")


@pytest.mark.parametrize(("number", "digit"), [("751", 8), ("26499", 4), ("6690", 2), ("718", 7)])
def test_loinc_check_digits(number: str, digit: int) -> None:
    assert loinc_check_digit(number) == digit


@pytest.mark.parametrize("limit", ["2.0001", "1.8001", "4.001", "1.9999", "2.05", "3.3333", "1.5001", "7.7001"])
def test_sev_2_a_value_equal_to_its_lower_limit_of_normal_is_grade_0(limit: str) -> None:
    values = (limit, f"{float(limit) - 0.0001:.4f}", f"{float(limit) + 0.0001:.4f}")
    rows = "\n".join(f"{place} | ANC | {value} | {limit}" for place, value in enumerate(values))
    anc = screened(f"patient | name | value | low\n{rows}").anc.sort("patient_id")
    grades = anc.select("ctcae_v5_grade", "ctcae_v4_grade", "ctcae_v6_grade").rows()
    assert grades == [(0, 0, 0), (1, 1, 0), (0, 0, 0)]


def test_sev_2_every_value_of_four_decimals_that_equals_its_limit_is_grade_0() -> None:
    values = [f"{number / 10_000:.4f}" for number in range(15_000, 80_000, 37)]
    rows = "\n".join(f"P{place} | ANC | {value} | {value}" for place, value in enumerate(values))
    anc = screened(f"patient | name | value | low\n{rows}").anc
    assert anc.height == len(values)
    assert anc["ctcae_v5_grade"].unique().to_list() == [0]


@pytest.mark.parametrize(
    ("value", "severity", "v5", "v6"),
    [
        ("<0.1", "profound", 4, 4),
        ("<=0.1", "severe", 4, 3),
        ("<0.5", "severe", 4, 3),
        ("<=0.5", "moderate", 3, 2),
        ("<1.0", "moderate", 3, 2),
        ("<1.5", "mild", 2, 1),
        ("<2.0", None, None, None),
        (">0.4", "severe", 4, 3),
        (">1.8", "normal", 0, 0),
        ("0.0999", "profound", 4, 4),
        ("0.4999", "severe", 4, 3),
        ("0.9999", "moderate", 3, 2),
        ("1.4999", "mild", 2, 1),
    ],
)
def test_sev_2_comparators_and_both_sides_of_every_limit(
    value: str, severity: str | None, v5: int | None, v6: int | None, case: Case
) -> None:
    row = case.anc("name | value | low\nANC | {value} | 1.8")
    assert (row["severity"], row["ctcae_v5_grade"], row["ctcae_v6_grade"]) == (severity, v5, v6)

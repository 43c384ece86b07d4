"""Every ladder on both sides of every limit, exact in doubles (SEV-1, SEV-2); the limits once more, from RULES.md."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neutro_screen.reference import load_reference
from neutro_screen.rules.counts.severity import severity, with_every_grade

#: Limit by grade, the worst first; a count below the limit has the grade.
CTCAE_V6 = ((100, 4), (500, 3), (1000, 2), (1500, 1))
CTCAE_V5 = ((500, 4), (1000, 3), (1500, 2))
#: By the last day of age; the limit of grade 1 belongs to it.
DAIDS = {
    0: ((1500, 4), (3000, 3), (4000, 2), (5000, 1)),
    1: ((1500, 4), (3000, 3), (4000, 2), (5000, 1)),
    2: ((750, 4), (1000, 3), (1250, 2), (1500, 1)),
    7: ((750, 4), (1000, 3), (1250, 2), (1500, 1)),
    8: ((400, 4), (600, 3), (800, 2), (1000, 1)),
    20_000: ((400, 4), (600, 3), (800, 2), (1000, 1)),
}
SEVERITIES = ((100, "profound"), (500, "severe"), (1000, "moderate"), (1500, "mild"))
LIMITS = sorted({limit for ladder in (CTCAE_V6, *DAIDS.values()) for limit, _ in ladder})
EDGES = [edge for limit in LIMITS for edge in (math.nextafter(limit, 0), float(limit), math.nextafter(limit, 1e9))]


def graded(anc: float, *, lln: float | None = None, age_days: float | None = None) -> dict[str, object]:
    """Severity and every grade of one exact count."""
    types = {"anc": pl.Float64, "lln": pl.Float64, "age": pl.Float64, "comparator": pl.String}
    counts = pl.LazyFrame({"anc": [anc], "lln": [lln], "age": [age_days], "comparator": [None]}, schema=types)
    count, comparator = pl.col("anc"), pl.col("comparator")
    reference = load_reference()
    graded_ones = with_every_grade(
        counts, count, comparator, pl.col("lln"), pl.col("age"), reference.grade_bands
    ).with_columns(severity=severity(count, comparator, reference.anc_bands).cast(pl.String))
    return graded_ones.collect().row(0, named=True)


def below(ladder: tuple[tuple[int, object], ...], anc: float, otherwise: object) -> object:
    return next((grade for limit, grade in ladder if anc < limit), otherwise)


@pytest.mark.parametrize("anc", EDGES)
def test_sev_2_every_ladder_on_both_sides_of_every_limit(anc: float) -> None:
    found = graded(anc)
    assert found["severity"] == below(SEVERITIES, anc, "normal")
    assert found["ctcae_v6_grade"] == below(CTCAE_V6, anc, 0)
    assert found["ctcae_v5_grade"] == found["ctcae_v4_grade"] == below(CTCAE_V5, anc, None)
    for age, ladder in DAIDS.items():
        first = 1 if anc == ladder[-1][0] else below(ladder, anc, 0)
        assert graded(anc, age_days=float(age))["daids_grade"] == first, age


@given(st.floats(min_value=1500, max_value=20_000), st.sampled_from([-1, 0, 1]))
def test_sev_2_a_count_below_its_own_limit_of_normal_is_grade_1_and_at_it_grade_0(limit: float, side: int) -> None:
    """A thousandth of a cell is less than any laboratory reports and more than the rounding of a double."""
    anc = limit + side * 1e-3
    expected = 2 if anc < 1500 else 1 if anc < limit else 0
    assert graded(anc, lln=limit)["ctcae_v5_grade"] == expected

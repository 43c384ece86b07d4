"""Counts of data quality: taken of parts, added up, and what they say."""

from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neutro_schemas import LabResult
from neutro_screen.ingest.profile import Profile
from neutro_screen.quality import measures as quality
from neutro_screen.validate import in_shape
from tests.clinic import judged, screened


@cache
def counted(text: str, time_zone: str) -> pl.DataFrame:
    """The counts of a laboratory's rows, by the clock of a time zone."""
    rows, split = judged(text, profile=Profile(time_zone=time_zone))
    results = in_shape(split.accepted, LabResult)
    none = split.accepted.clear().with_columns(reason=pl.lit(None, pl.String))
    return quality.merged(
        [
            quality.row_counts(split.accepted, split.rejected, rows.no_results, rows.not_screened, time_zone),
            quality.specimen_counts(results, screened(text).anc, none),
        ]
    )


def measured(text: str, measure: str, time_zone: str = "UTC", detail: str | None = None) -> list[tuple[object, ...]]:
    """lab, analyte, n, of, value of one measure over all files."""
    rows = quality.quality_measures(counted(text, time_zone), "run")
    is_wanted = pl.col("detail").is_null() if detail is None else pl.col("detail") == detail
    return (
        rows.filter(pl.col("source_file").is_null(), pl.col("measure") == measure, is_wanted)
        .select("lab", "analyte", "n", "of", "value")
        .rows()
    )


NIGHT = """
    patient | specimen | lab | name        | loinc  | value   | unit
    1       | S1       | A   | WBC         | 6690-2 | 4.0     | 10*9/L
    2       | S2       | A   | WBC         | 6690-2 | 6.0     | K/uL
    3       | S3       | A   | WBC         | 6690-2 | CLOTTED | K/uL
    4       | S4       | A   | WBC         | 6690-2 | 5.0     | -
    1       | S1       | A   | Neutrophils | 751-8  | 50      | %
    1       | S1       | A   | HLH index   | -      | 3       | U
"""


def test_rows_are_accepted_refused_and_without_result_and_add_up() -> None:
    assert measured(NIGHT, "rows") == [("A", None, 6, 6, 1.0), ("A", "neut_pct", 1, 1, 1.0), ("A", "wbc", 4, 4, 1.0)]
    assert measured(NIGHT, "accepted")[-1] == ("A", "wbc", 2, 4, 0.5)
    assert measured(NIGHT, "rejected", detail="unit_missing") == [("A", "wbc", 1, 4, 0.25)]
    assert measured(NIGHT, "no_result", detail="clotted") == [("A", "wbc", 1, 4, 0.25)]
    assert measured(NIGHT, "unmapped") == [("A", None, 1, 6, pytest.approx(1 / 6))]


def test_units_are_counted_as_they_were_sent() -> None:
    assert measured(NIGHT, "unit", detail="K/uL") == [("A", "wbc", 2, 4, 0.5)]


def test_a_wrong_code_with_a_right_unit_is_resolved_and_counted() -> None:
    # 751-8 is the absolute count; the unit and the name say per cent, as in MIMIC-III
    assert measured(NIGHT, "code_contradicts_unit", detail="751-8") == [("A", "neut_pct", 1, 1, 1.0)]
    assert screened(NIGHT).anc["anc_cells_per_ul"].to_list() == [2000]


def test_white_cells_without_a_differential_and_discordant_counts_have_their_share() -> None:
    assert measured(NIGHT, "wbc_without_differential") == [("A", None, 1, 2, 0.5)]
    discordant = """
        specimen | lab | loinc  | value | unit
        S1       | A   | 751-8  | 3.0   | 10*9/L
        S1       | A   | 6690-2 | 4.0   | 10*9/L
        S1       | A   | 770-8  | 50    | %
    """
    assert measured(discordant, "anc_discordant") == [("A", None, 1, 1, 1.0)]


def test_odd_times_are_counted_by_the_clock_of_the_source() -> None:
    table = """
        specimen | lab | collected        | resulted         | loinc | value
        S1       | A   | 2025-03-09 02:30 | 2025-03-09 09:00 | 751-8 | 2.0
        S2       | A   | 2025-11-02 01:30 | 2025-11-02 09:00 | 751-8 | 2.0
        S3       | A   | 2025-11-05       | -                | 751-8 | 2.0
        S4       | A   | 2025-11-06 00:00 | 2025-11-05 20:00 | 751-8 | 2.0
        S5       | A   | -                | 2025-11-07 09:00 | 751-8 | 2.0
    """
    for measure in (
        "time_skipped_by_clock",
        "time_shown_twice_by_clock",
        "date_only",
        "midnight",
        "collected_after_resulted",
        "collected_from_result_time",
    ):
        assert [row[2:4] for row in measured(table, measure, "America/New_York")] == [(1, 5)], measure


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 9)), min_size=1, max_size=30, unique_by=lambda pair: pair[0])
)
@settings(max_examples=100, deadline=None)
def test_the_median_of_a_histogram_is_that_of_the_values(pairs: list[tuple[float, int]]) -> None:
    histogram = pl.DataFrame(pairs, schema={"value": pl.Float64, "n": pl.Int64}, orient="row")
    values = pl.Series([value for value, n in pairs for _ in range(n)])
    assert histogram.select(quality.weighted_median("value", "n")).item() == pytest.approx(values.median())


def test_parts_of_the_rows_add_up_to_the_whole() -> None:
    rows, split = judged(NIGHT)
    frames = (split.accepted, split.rejected, rows.no_results, rows.not_screened)
    parts = [
        quality.row_counts(*(frame.filter((pl.col("source_row") % 2 == 0) == even) for frame in frames))
        for even in (True, False)
    ]
    assert quality.merged(parts).equals(quality.merged([quality.row_counts(*frames)]))


def test_a_result_that_its_specimen_refutes_is_moved_to_the_refused_ones() -> None:
    rows, split = judged("lab | loinc | value\nA | 751-8 | 3.0")
    refuted = split.accepted.with_columns(reason=pl.lit("anc_exceeds_wbc"))
    results = in_shape(split.accepted, LabResult)
    anc = screened("lab | loinc | value\nA | 751-8 | 3.0").anc
    whole = quality.merged(
        [
            quality.row_counts(split.accepted, split.rejected, rows.no_results, rows.not_screened),
            quality.specimen_counts(results, anc, refuted),
        ]
    )
    found = quality.quality_counts(whole, "run").select("disposition", "reason", "rows").rows()
    assert found == [("rejected", "anc_exceeds_wbc", 1)]


def test_no_count_names_a_patient() -> None:
    assert not any("patient" in name or "specimen" in name for name in quality.COUNTS)

"""Other low cell lines, and signs of another person's blood (SEV-5, ANC-12)."""

import polars as pl
import pytest

from neutro_schemas import LabResult
from neutro_screen.reference import load_policy
from neutro_screen.rules.counts.cytopenia import with_other_lines
from neutro_screen.rules.counts.specimen_notes import with_mix_up_note
from neutro_screen.rules.course.trend import with_baseline, with_significant_fall
from neutro_screen.validate import dtypes
from tests.spec.counts import NOBODY, at, column, counts
from tests.spec.tables import table

POLICY = load_policy()


def results(text: str) -> pl.DataFrame:
    """A table with specimen, day, analyte and value (haemoglobin g/dL, platelets 10*9/L, MCV fL) of patient A."""
    given = table(f"specimen_id | day | analyte | value\n{text}").with_columns(
        patient_id=pl.lit("A"),
        collected_at=at(pl.col("day")),
        resulted_at=at(pl.col("day")),
        value=pl.col("value").cast(pl.Float64),
        method=pl.lit("auto"),
        status=pl.lit("final"),
        source_file=pl.lit("a.csv"),
        source_row=pl.int_range(pl.len()),
    )
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in dtypes(LabResult).items()
    )


def cytopenia(anc: str, others: str) -> object:
    judged = counts(f"patient | day | anc\nA | 0 | {anc}").pipe(with_other_lines, results(others), POLICY)
    return column(judged, "cytopenia")[0]


@pytest.mark.parametrize(
    ("anc", "haemoglobin", "platelets", "expected"),
    [
        ("1499", 9.9, 99, "pancytopenia"),
        ("1499", 9.9, 100, "bicytopenia"),
        ("1499", 10.0, 99, "bicytopenia"),
        ("1499", 10.0, 100, "isolated"),
        ("1500", 7.0, 20, None),
        (">1400", 7.0, 20, None),
        ("<100", 7.0, 20, "pancytopenia"),
    ],
)
def test_sev_5_limits_of_the_other_lines(anc: str, haemoglobin: float, platelets: float, expected: str | None) -> None:
    assert cytopenia(anc, f"S1 | 0 | hgb | {haemoglobin}\nS1 | 0 | plt | {platelets}") == expected


def test_sev_5_a_line_that_is_not_on_file_is_never_normal() -> None:
    assert cytopenia("900", "S1 | 0 | hgb | 8") == "bicytopenia"
    assert cytopenia("900", "S1 | 0 | hgb | 12") == "unknown"
    assert cytopenia("900", "S1 | 0 | mcv | 90") == "unknown"


@pytest.mark.parametrize(
    ("day", "expected"), [("-1", "pancytopenia"), ("1", "pancytopenia"), ("1.01", "unknown"), ("-2", "unknown")]
)
def test_sev_5_another_specimen_counts_within_a_day(day: str, expected: str) -> None:
    assert cytopenia("900", f"X | {day} | hgb | 8\nX | {day} | plt | 50") == expected


def test_sev_5_the_same_specimen_goes_before_a_nearer_or_lower_one() -> None:
    assert (
        cytopenia("900", "S1 | 0.5 | hgb | 12\nS1 | 0.5 | plt | 300\nX | 0 | hgb | 8\nX | 0 | plt | 50") == "isolated"
    )


def test_sev_5_the_nearest_goes_before_the_lower() -> None:
    assert (
        cytopenia("900", "X | -0.2 | hgb | 12\nX | -0.2 | plt | 300\nY | 0.5 | hgb | 8\nY | 0.5 | plt | 50")
        == "isolated"
    )


def mix_up(now: str, others: str) -> object:
    judged = (
        counts(f"patient | day | anc\nA | 0 | 4000\nA | 5 | {now}")
        .pipe(with_baseline, NOBODY, POLICY)
        .pipe(with_significant_fall, POLICY)
        .pipe(with_mix_up_note, results(others), POLICY)
    )
    return column(judged, "notes")[1]


def test_anc_12_mcv_or_haemoglobin_that_jumps_with_the_count_may_be_another_persons_blood() -> None:
    note = "possible_wrong_blood_in_tube"
    assert mix_up("900", "S1 | 0 | mcv | 88\nS2 | 5 | mcv | 94.1") == note
    assert mix_up("900", "S1 | 0 | mcv | 88\nS2 | 5 | mcv | 94") is None
    assert mix_up("900", "S1 | 0 | hgb | 9\nS2 | 5 | hgb | 13.1") == note
    assert mix_up("9000", "S1 | 0 | hgb | 9\nS2 | 5 | hgb | 13.1") == note
    assert mix_up("3800", "S1 | 0 | hgb | 9\nS2 | 5 | hgb | 13.1") is None
    assert mix_up("900", "S1 | 0 | hgb | 9") is None

"""The interval of a manual differential, and the noise of a count (ANC-8, TRD-2)."""

import math

import polars as pl
import pytest

from neutro_screen.reference import load_policy, load_reference
from neutro_screen.reference.binomial import clopper_pearson
from neutro_screen.rules.counts.intervals import log_variance, with_interval
from tests.spec.counts import column, counts

POLICY, REFERENCE = load_policy(), load_reference()


def interval(anc: str, method: str, wbc: str = "2000", more: str = "", values: str = "") -> pl.LazyFrame:
    return counts(f"patient | day | anc | anc_method | wbc{more}\nA | 0 | {anc} | {method} | {wbc}{values}").pipe(
        with_interval, POLICY, REFERENCE
    )


@pytest.mark.parametrize(
    ("found", "low", "high"),
    [(0, 0.0, 0.0362), (1, 0.0003, 0.0545), (10, 0.0490, 0.1762), (50, 0.3983, 0.6017), (100, 0.9638, 1.0)],
)
def test_anc_8_published_limits_for_100_cells(found: int, low: float, high: float) -> None:
    """Rümke's table of the 95 % limits of a differential of 100 cells."""
    row = clopper_pearson(100, 0.95).row(found)
    assert row[1:] == pytest.approx((low, high), abs=0.0001)


def test_anc_8_interval_in_cells_and_the_limit_it_crosses() -> None:
    judged = interval("200", "wbc_percent_manual")
    assert column(judged, "anc_low") == [pytest.approx(98.0, abs=0.1)]
    assert column(judged, "anc_high") == [pytest.approx(352.4, abs=0.1)]
    assert column(judged, "notes") == ["near_limit"]


def test_anc_8_far_from_every_limit_there_is_no_note() -> None:
    assert column(interval("8000", "wbc_percent_manual", "10000"), "notes") == [None]


@pytest.mark.parametrize(
    ("method", "column_named", "is_manual"),
    [
        ("reported", " | seg_pct", False),
        ("wbc_percent", " | neut_pct", False),
        ("wbc_percent", " | seg_pct", True),
        ("segs_and_bands", " | seg_abs", True),
        ("reported_manual", " | neut_pct", True),
    ],
)
def test_anc_8_segmented_cells_of_their_own_are_counted_by_hand(
    method: str, column_named: str, is_manual: bool
) -> None:
    judged = interval("200", method, more=column_named, values=" | 10")
    assert (column(judged, "anc_low")[0] is not None) is is_manual


@pytest.mark.parametrize(("anc", "wbc"), [("<100", "2000"), ("200", ""), ("0", "0")])
def test_anc_8_no_interval_without_an_exact_count_and_a_white_cell_count(anc: str, wbc: str) -> None:
    judged = interval(anc, "wbc_percent_manual", wbc)
    assert (column(judged, "anc_low"), column(judged, "notes")) == ([None], [None])


def test_trd_2_few_neutrophils_among_100_cells_are_noisier_than_many() -> None:
    rows = "\n".join(
        f"A | {day} | {anc} | {method} | 10000"
        for day, (anc, method) in enumerate(
            [
                ("300", "reported"),
                ("300", "wbc_percent_manual"),
                ("6000", "wbc_percent_manual"),
                ("0", "wbc_percent_manual"),
            ]
        )
    )
    noise = column(
        counts(f"patient | day | anc | anc_method | wbc\n{rows}").with_columns(noise=log_variance(POLICY).sqrt()),
        "noise",
    )
    assert noise[0] == pytest.approx(math.sqrt(math.log(1 + 0.17**2) + math.log(1 + 0.03**2)))
    assert noise[0] < noise[2] < noise[1] < noise[3] < math.inf

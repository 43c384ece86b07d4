"""The measure of falls, on falls whose answer is plain."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from benchmarks.falls import fall_figures, matched_falls
from neutro_simulator import EnrichedHospital, simulate_enriched_hospital

AS_OF = datetime(2026, 6, 15, 9, 30)
DAY = timedelta(days=1)
START = datetime(2026, 1, 1)
FALL = {"fall_id": pl.String, "patient_id": pl.String, "to_cells_per_ul": pl.Float64}
TIMES = {"started_at": pl.Datetime("us"), "reached_at": pl.Datetime("us")}
SUSPECT = {"fall_id": pl.String, "ingredient": pl.String, "rank": pl.Int64, "category": pl.String}


@pytest.fixture(scope="module")
def hospital() -> EnrichedHospital:
    """Four patients whose truth is replaced by the one below."""
    made = simulate_enriched_hospital(4, 1, as_of=AS_OF.replace(tzinfo=UTC), mix={"healthy": 1.0}, dirt=0.0)
    rows = [
        # patient, from, to, day started, day reached, day ended, kind, cause, effect, ingredient, partner
        ("P1", 4000.0, 1300.0, 0, 30, None, "onset", "graves_disease", None, None, None),
        ("P1", 1300.0, 50.0, 60, 66, 80, "deepening", "graves_then_antithyroid", "reaction", "thiamazole", None),
        ("P2", 4000.0, 100.0, 0, 6, 20, "onset", "interaction", "interaction", "azathioprine", "allopurinol"),
        ("P3", 4000.0, 200.0, 0, 6, 20, "onset", "rival_stopped", "reaction", "dapsone", None),
        ("P4", 4000.0, 400.0, 0, 8, 15, "onset", "chemotherapy", "expected", "docetaxel", None),
        ("P4", 4000.0, 60.0, 21, 26, 60, "onset", "chemotherapy_beyond", "beyond_expected", "docetaxel", None),
    ]
    truth = pl.DataFrame(
        [(*row[:3], *(None if day is None else START + day * DAY for day in row[3:6]), *row[6:]) for row in rows],
        schema={name: made.fall_truth.schema[name] for name in made.fall_truth.columns},
        orient="row",
    )
    causes = pl.DataFrame({"patient_id": ["P1", "P2", "P3", "P4"], "cause": ["graves", "i", "rival_stopped", "c"]})
    return replace(made, fall_truth=truth, truth=causes)


def found(*rows: tuple[str, str, float, int, int]) -> pl.DataFrame:
    """Found falls: id, patient, lowest, day started, day reached."""
    timed = [(*row[:3], START + row[3] * DAY, START + row[4] * DAY) for row in rows]
    return pl.DataFrame(timed, schema=FALL | TIMES, orient="row")


def suspects(*rows: tuple[str, str, int | None, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SUSPECT, orient="row")


ALL = (
    ("a", "P1", 1250.0, -5, 31),
    ("b", "P1", 40.0, 31, 67),
    ("c", "P2", 90.0, -9, 7),
    ("d", "P3", 180.0, -9, 7),
    ("e", "P4", 380.0, -1, 8),
    ("f", "P4", 55.0, 20, 27),
)


def test_a_found_fall_belongs_to_the_latest_true_fall_that_acts(hospital):
    matched = matched_falls(found(*ALL), hospital.fall_truth)
    assert dict(matched.select("fall_id", "ingredient").iter_rows()) == {
        "a": None,
        "b": "thiamazole",
        "c": "azathioprine",
        "d": "dapsone",
        "e": "docetaxel",
        "f": "docetaxel",
    }


def test_a_fall_between_true_falls_is_noise(hospital):
    between = matched_falls(found(("x", "P2", 1400.0, 30, 40)), hospital.fall_truth)
    assert between["true_started_at"].to_list() == [None]


def test_the_right_drug_first_everywhere(hospital):
    named = suspects(
        ("b", "thiamazole", 1, "likely"),
        ("c", "allopurinol", 1, "possible"),
        ("d", "dapsone", 1, "likely"),
        ("e", "docetaxel", 1, "expected"),
        ("f", "docetaxel", 1, "likely"),
    )
    figures = fall_figures(hospital, found(*ALL), named, AS_OF)
    assert (figures.true_drug_first, figures.n_drug_falls) == (1.0, 5)
    assert (figures.true_drug_first_on_mild, figures.n_drug_falls_on_mild) == (1.0, 1)
    assert (figures.true_drug_first_with_rival, figures.n_drug_falls_with_rival) == (1.0, 1)
    assert (figures.likely_without_drug, figures.n_falls_without_drug) == (0.0, 1)
    assert (figures.expected_as_expected, figures.beyond_as_expected) == (1.0, 0.0)
    assert figures.unseen_drug_falls == 0


def test_each_fault_lowers_its_figure(hospital):
    named = suspects(
        ("a", "thiamazole", 1, "likely"),
        ("b", "thiamazole", 2, "possible"),
        ("b", "propranolol", 1, "possible"),
        ("c", "azathioprine", 1, "likely"),
        ("d", "carbamazepine", 1, "likely"),
        ("f", "docetaxel", 1, "expected"),
    )
    figures = fall_figures(hospital, found(*ALL), named, AS_OF)
    assert figures.true_drug_first == 0.4
    assert figures.true_drug_first_on_mild == 0.0
    assert figures.true_drug_first_with_rival == 0.0
    assert figures.likely_without_drug == 1.0
    assert (figures.expected_as_expected, figures.beyond_as_expected) == (0.0, 1.0)


def test_a_drug_fall_that_no_count_showed_is_not_held_against_the_ranking(hospital):
    figures = fall_figures(hospital, found(ALL[1]), suspects(("b", "thiamazole", 1, "likely")), AS_OF)
    assert (figures.true_drug_first, figures.n_drug_falls, figures.unseen_drug_falls) == (1.0, 1, 4)


def test_of_several_found_falls_of_one_true_fall_the_deepest_counts(hospital):
    twice = found(("b1", "P1", 700.0, 31, 62), ("b2", "P1", 40.0, 62, 67))
    named = suspects(("b1", "propranolol", 1, "possible"), ("b2", "thiamazole", 1, "likely"))
    figures = fall_figures(hospital, twice, named, AS_OF)
    assert (figures.true_drug_first, figures.n_drug_falls) == (1.0, 1)

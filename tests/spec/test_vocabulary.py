"""The aims of recognition over what laboratories call things: names, other tests, units, specimens."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.recognition import SHARED, judged_names, judged_negatives, judged_specimens, judged_units, read_list

COLLECTED = Path(__file__).parent / "vocabulary"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/vocabulary is not here")
LISTS = [pytest.param(SHARED, marks=shared, id="shared"), pytest.param(COLLECTED, id="collected")]


@pytest.mark.parametrize("folder", LISTS)
def test_names_are_recognised_and_none_wrongly(folder: Path) -> None:
    verdicts = Counter(verdict for verdict, _, _ in judged_names(read_list(folder / "names_positive.csv")))
    assert verdicts["wrong"] == 0
    assert verdicts["recognised"] >= 0.95 * verdicts.total()
    assert verdicts.total() >= 140


@pytest.mark.parametrize("folder", LISTS)
def test_no_other_test_is_taken_for_a_count(folder: Path) -> None:
    judged = judged_negatives(read_list(folder / "names_negative.csv"))
    assert [(name, reading) for verdict, name, reading in judged if verdict == "taken"] == []
    assert len(judged) >= 100


@shared
def test_units_are_read_and_none_misread() -> None:
    verdicts = Counter(verdict for verdict, _ in judged_units(read_list(SHARED / "units.csv")))
    assert verdicts["misread"] == 0
    assert verdicts["read"] >= 0.97 * verdicts.total()


@shared
def test_no_specimen_is_taken_for_another() -> None:
    verdicts = Counter(verdict for verdict, _ in judged_specimens(read_list(SHARED / "specimens.csv")))
    assert verdicts["wrong"] == 0
    assert verdicts["right"] >= 0.95 * verdicts.total()

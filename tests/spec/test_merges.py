"""Merged patient records: one person, whatever the order and the number of the merges."""

import polars as pl
import pytest

import neutro_screen
from neutro_screen.pipeline.merges import (
    NO_STATEMENTS,
    changed_records,
    crosswalk,
    new_statements,
    standing_statements,
    with_members,
    with_own_records,
    with_survivor,
)


def said(*merges: str) -> pl.DataFrame:
    """``A>B``: A was merged into B; in the order of their rows."""
    pairs = [merge.split(">") for merge in merges]
    return pl.DataFrame(
        [
            {"patient_id": old, "replaced_by": new, "source_file": "f", "source_row": number, "run_id": "r"}
            for number, (old, new) in enumerate(pairs)
        ],
        schema=NO_STATEMENTS.schema,
    )


def survivors(*merges: str) -> dict[str, str]:
    """Who stands for whom."""
    return dict(crosswalk(said(*merges)).survivors.iter_rows())


@pytest.mark.parametrize(
    ("merges", "told"),
    [
        (["A>B"], {"A": "B"}),
        (["B>C", "A>B"], {"A": "C", "B": "C"}),
        ([f"{n}>{n + 1}" for n in range(9)], {str(n): "9" for n in range(9)}),
        (["A>C", "B>C"], {"A": "C", "B": "C"}),
        (["A>A"], {}),
        (["A>B", "B>B"], {"A": "B"}),
    ],
)
def test_a_record_stands_for_all_that_were_merged_into_it_over_any_number_of_steps(
    merges: list[str], told: dict[str, str]
) -> None:
    assert survivors(*merges) == survivors(*merges[::-1]) == told


def test_merges_in_a_circle_count_for_nothing_and_what_hangs_on_them_still_counts() -> None:
    found = crosswalk(said("A>B", "B>C", "C>A", "D>A", "E>D", "X>Y"))
    assert found.cyclic["patient_id"].to_list() == ["A", "B", "C"]
    assert dict(found.survivors.iter_rows()) == {"D": "A", "E": "A", "X": "Y"}


def test_two_circles_and_the_way_between_them() -> None:
    found = crosswalk(said("A>B", "B>A", "M>A", "C>D", "D>C"))
    assert found.cyclic["patient_id"].to_list() == ["A", "B", "C", "D"]
    assert dict(found.survivors.iter_rows()) == {"M": "A"}


def test_the_last_word_of_a_record_counts_and_its_own_id_undoes_a_merge() -> None:
    before = said("A>B", "C>D")
    new = new_statements(said("A>B", "A>A", "C>D"), before)
    standing = standing_statements(before, new)
    assert new.select("patient_id", "replaced_by").rows() == [("A", "A")]
    assert dict(crosswalk(standing).survivors.iter_rows()) == {"C": "D"}
    again = new_statements(said("A>B"), standing)
    assert dict(crosswalk(standing_statements(standing, again)).survivors.iter_rows()) == {"A": "B", "C": "D"}


def test_everybody_who_is_or_was_one_person_is_touched_together() -> None:
    before, after = crosswalk(said("A>B")).survivors, crosswalk(said("A>B", "B>C", "D>C")).survivors
    assert changed_records(before, after)["patient_id"].sort().to_list() == ["A", "B", "D"]
    for record in "ABCD":
        members = with_members(pl.DataFrame({"patient_id": [record]}), before, after)
        assert members["patient_id"].to_list() == ["A", "B", "C", "D"]


def test_the_library_s_own_screen_makes_one_patient_of_merged_records() -> None:
    labs = pl.DataFrame(
        {
            "patient_id": ["A", "B"],
            "specimen_id": ["S1", "S2"],
            "loinc": "751-8",
            "value": "0.4",
            "unit": "10*9/L",
            "collected_at": ["2026-02-01 08:00", "2026-02-02 08:00"],
        }
    )
    patients = pl.DataFrame({"patient_id": ["A"], "replaced_by": ["B"]})
    found = neutro_screen.screen(labs, patients=patients, as_of="2026-03-01")
    assert found.anc["patient_id"].to_list() == ["B", "B"]
    assert found.patient_status["patient_id"].to_list() == ["B"]


def test_rows_go_to_the_survivor_and_back_to_every_record() -> None:
    found = crosswalk(said("A>B")).survivors
    rows = pl.DataFrame({"patient_id": ["A", "B", "Z"], "n": [1, 2, 3]})
    assert with_survivor(rows, found)["patient_id"].to_list() == ["B", "B", "Z"]
    back = with_own_records(pl.DataFrame({"patient_id": ["B", "Z"], "n": [1, 2]}), found)
    assert back.sort("patient_id").rows() == [("A", 1), ("B", 1), ("Z", 2)]

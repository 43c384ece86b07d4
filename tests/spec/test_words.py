"""Explanations take their numbers from the policy: a changed policy changes the words."""

import dataclasses
import re
from datetime import datetime

import polars as pl
import pytest

from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.flags import episode_flags
from neutro_screen.rules.words import number

POLICY, REFERENCE = load_policy(), load_reference()


def changed(**entries):
    return POLICY.model_copy(update={"episode": POLICY.episode.model_copy(update=entries)})


def test_the_table_of_reasons_holds_no_number_of_its_own():
    for code, words in REFERENCE.reasons.select("code", "words").iter_rows():
        assert not re.search(r"\d", re.sub(r"\{[^}]*\}", "", words)), code


def test_reasons_say_the_numbers_of_the_policy():
    before, after = (
        dict(REFERENCE.worded_by(policy).reasons.select("code", "words").iter_rows())
        for policy in (POLICY, changed(persistent_d=60, recurrent_n=4))
    )
    assert before["persistent"] == "persistent (90 days or more)"
    assert after["persistent"] == "persistent (60 days or more)"
    assert after["recurrent"] == "4 or more episodes in 365 days"
    assert before["projected_severe"] == "projected below 500 within 7 days"


def test_words_that_name_an_unknown_number_are_refused():
    strange = REFERENCE.reasons.with_columns(words=pl.lit("for {episode.nothing} days"))
    with pytest.raises(ReferenceDataError, match="unknown number"):
        dataclasses.replace(REFERENCE, reasons=strange).worded_by(POLICY)


def test_epi_2_flags_say_the_numbers_of_the_policy():
    moment = datetime(2026, 1, 1)
    patterns = ("is_persistent", "is_recurrent", "is_prolonged_profound", "is_cyclic", "is_isolated_low")
    episodes = pl.LazyFrame(
        {"patient_id": ["P"], "episode_id": ["E"], "started_at": [moment], "last_low_at": [moment]}
        | {"duration_days": [1.0], "days_severe": [0.0], "days_profound": [0.0], "cycle_days": [None]}
        | {"nadir_cells_per_ul": [400.0], "n_results": [4], "is_severe_chronic": [True]}
        | {name: [False] for name in patterns},
        schema_overrides={"cycle_days": pl.Float64},
    )
    for policy, occasions in ((POLICY, "3 or more"), (changed(severe_chronic_n=5), "5 or more")):
        (reason,) = episode_flags(episodes, policy, REFERENCE).collect()["reason"]
        assert reason == f"severe chronic: below 500 cells/uL on {occasions} occasions over 90 days"


def test_numbers_have_no_needless_decimals():
    assert [number(value) for value in (500.0, 38.3, 0.5, 1_000_000.0)] == ["500", "38.3", "0.5", "1000000"]

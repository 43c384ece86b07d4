"""The test that would best tell two explanations apart, as far as it was not done yet (WRK-4)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.duffy import DUFFY_GROUP, DUFFY_MARKERS
from neutro_screen.rules.causes.lines import SPAN, is_within_window
from neutro_screen.rules.causes.markers import marker_results

#: What a series that was long and dense enough for EPI-3 stands for in ``telling_tests.csv``.
_SERIES: Final = "cyclic_series"


def tests_done(
    episodes: pl.LazyFrame, labs: pl.LazyFrame, patients: pl.LazyFrame, steps: pl.LazyFrame, reference: CauseReference
) -> pl.LazyFrame:
    """``episode_id, done``: markers with a result in their window, whatever it says, and steps of the work-up done.

    ``labs`` is ``LabResult``, ``patients`` ``Patient`` (a recorded Duffy phenotype is one), ``steps`` ``WorkupStep``.
    """
    measured = (
        marker_results(labs, reference)
        .select("patient_id", "days_before", "days_after", "until", done=_test_of(), at="collected_at")
        .join(episodes.select(SPAN), on="patient_id")
        .filter(is_within_window())
        .select("episode_id", "done")
    )
    typed = patients.filter(pl.col("duffy_null").is_not_null()).select("patient_id").unique()
    return pl.concat(
        [
            measured,
            steps.filter(pl.col("state") == "done").select("episode_id", done="step"),
            episodes.join(typed, on="patient_id", how="semi").select("episode_id", done=pl.lit(DUFFY_GROUP)),
            episodes.filter("is_cyclic").select("episode_id", done=pl.lit(_SERIES)),
        ]
    ).unique()


def _test_of() -> pl.Expr:
    """The marker; an antigen of the Duffy group stands for the group."""
    is_duffy = pl.col("analyte").is_in(DUFFY_MARKERS)
    return pl.when(is_duffy).then(pl.lit(DUFFY_GROUP)).otherwise("analyte")


def telling_tests(pairs: pl.LazyFrame, done: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """``episode_id, telling_test``: what to ask for next, in plain words; no row where all that would tell was done.

    ``pairs`` (episode_id, first, second): the two categories, in the order of the alphabet; ``done`` comes from
    ``tests_done``. Tests of the first place of which any is not done are proposed together.
    """
    shown_by = reference.telling_tests.lazy().with_columns(done=pl.col("done_by").str.split(";"))
    was_done = (
        shown_by.explode("done")
        .join(done, on="done")
        .select("episode_id", "first", "second", "test", was_done=pl.lit(True))
        .unique()
    )
    names, count = pl.col("test"), pl.len()
    several = pl.format("{} and {}", names.head(count - 1).str.join(", "), names.last())
    return (
        pairs.join(shown_by.select("first", "second", "place", "test"), on=["first", "second"])
        .join(was_done, on=["episode_id", "first", "second", "test"], how="left", validate="1:1")
        .filter(pl.col("was_done").is_null())
        .filter(pl.col("place") == pl.col("place").min().over("episode_id"))
        .join(_order(reference), on=["first", "second", "test"], validate="m:1")
        .sort("episode_id", "order")
        .group_by("episode_id", maintain_order=True)
        .agg(telling_test=pl.when(count > 1).then(several).otherwise(names.first()))
    )


def _order(reference: CauseReference) -> pl.LazyFrame:
    return reference.telling_tests.lazy().select("first", "second", "test", order=pl.int_range(pl.len()))

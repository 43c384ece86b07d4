"""What the modules of evidence share: the span of an episode and the shape of a line."""

from typing import Final

import polars as pl

#: What is needed of an episode to tell whether a finding belongs to it.
SPAN: Final = ("patient_id", "episode_id", "started_at", "last_low_at", "ended_at")
#: How a day is written in a finding.
DAY: Final = "%Y-%m-%d"


def evidence_lines(
    cases: pl.LazyFrame, rule_id: str, category: str, strength: str, finding: pl.Expr, source: str
) -> pl.LazyFrame:
    """One line of evidence for every row of ``cases`` (episode_id, patient_id, and what ``finding`` reads).

    The columns are those of ``Evidence``; ``source`` is followed by the rule's id.
    """
    return cases.select(
        "episode_id",
        "patient_id",
        category=pl.lit(category),
        rule_id=pl.lit(rule_id),
        finding=finding,
        strength=pl.lit(strength),
        source=pl.lit(f"{source} {rule_id}"),
    )


def is_within_window() -> pl.Expr:
    """``at`` lies within the row's window of the episode: null ``days_before`` reach back without end."""
    start = pl.col("started_at").dt.date()
    last = pl.when(pl.col("until") == "start").then(start).otherwise(pl.col("last_low_at").dt.date())
    day = pl.col("at").cast(pl.Date)
    earliest = start.dt.offset_by(pl.concat_str(pl.lit("-"), pl.col("days_before").cast(pl.String), pl.lit("d")))
    latest = last.dt.offset_by(pl.concat_str(pl.col("days_after").cast(pl.String), pl.lit("d")))
    return (earliest.is_null() | (day >= earliest)) & (day <= latest)

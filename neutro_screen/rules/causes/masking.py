"""Drugs that raise the count and so hide a fall (MASK-1)."""

from typing import Final

import polars as pl

from neutro_screen.rules.causes.lines import DAY, SPAN, evidence_lines
from neutro_screen.rules.course.given import UNDATED

#: What a line of such a drug says of it; the conclusion of an episode that is over repeats who was given it.
RAISES: Final = "raises the count"
_EFFECTS: Final = {
    "raises_anc": f"{RAISES}: depth and duration may be hidden, a normal count may be masked",
    "may_raise_anc": "may raise the count",
    "protects": "protects the marrow: recovery may be its effect",
}


def masking_findings(episodes: pl.LazyFrame, events: pl.LazyFrame, exposures: pl.LazyFrame) -> pl.LazyFrame:
    """MASK-1: drugs that raise the count, acting between the last normal count before the episode and its end."""
    spans = episodes.select(
        *SPAN,
        opens=pl.coalesce("last_normal_at", "started_at").dt.date(),
        closes=pl.coalesce("ended_at", "last_low_at").dt.date(),
    )
    on = pl.when("is_end_unread").then(pl.lit("to a day that could not be read")).otherwise(pl.lit("on"))
    until = pl.coalesce(pl.format("to {}", pl.col("last").dt.strftime(DAY)), on)
    effect = pl.col("effect").replace_strict(_EFFECTS, default=None)
    not_known = pl.when(pl.col("first") == UNDATED).then(pl.lit("a day that is not known"))
    since = not_known.otherwise(pl.col("first").dt.strftime(DAY))
    drug = pl.format("{} given from {} {}: {}", "ingredient", since, until, effect)
    growth_factor = pl.format(f"growth factor given on {{}}: {RAISES}", pl.col("first").dt.strftime(DAY))
    return pl.concat(
        [
            evidence_lines(_given(exposures, spans), "MASK-1", "masking", "context", drug, "medication list; RULES.md"),
            evidence_lines(_recorded(events, spans), "MASK-1", "masking", "context", growth_factor, "event; RULES.md"),
        ]
    )


def _given(exposures: pl.LazyFrame, spans: pl.LazyFrame) -> pl.LazyFrame:
    """Courses of confounders that act within an episode: first and last day (null = still given)."""
    acts_to = pl.col("last_exposure").dt.offset_by(pl.concat_str(pl.col("mask_d").cast(pl.String), pl.lit("d")))
    is_open = pl.col("last_exposure").is_null().any()
    return (
        exposures.filter("is_confounder")
        .join(spans, on="patient_id")
        .filter(pl.col("first_exposure") <= pl.col("closes"))
        .filter(acts_to.is_null() | (acts_to >= pl.col("opens")))
        .group_by("episode_id", "patient_id", "ingredient", "effect")
        .agg(
            first=pl.col("first_exposure").min(),
            last=pl.when(is_open).then(None).otherwise(pl.col("last_exposure").max()),
            is_end_unread=(pl.col("is_end_unread") | pl.col("last_exposure").is_not_null()).all() & is_open,
        )
    )


def _recorded(events: pl.LazyFrame, spans: pl.LazyFrame) -> pl.LazyFrame:
    """The first recorded growth factor of each episode."""
    return (
        events.filter(pl.col("event") == "growth_factor")
        .select("patient_id", day=pl.col("occurred_at").dt.date())
        .join(spans, on="patient_id")
        .filter(pl.col("day").is_between("opens", "closes"))
        .group_by("episode_id", "patient_id")
        .agg(first=pl.col("day").min())
    )

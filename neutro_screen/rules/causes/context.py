"""What a chart says beside results and drugs: Duffy phenotype, personal range, travel (CTX-1, INF-1)."""

from datetime import timedelta

import polars as pl

from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.lines import DAY, SPAN, evidence_lines


def context_findings(episodes: pl.LazyFrame, anc: pl.LazyFrame, patients: pl.LazyFrame) -> pl.LazyFrame:
    """CTX-1: recorded Duffy-null, and counts within the personal range."""
    recorded = patients.filter(pl.col("duffy_null").fill_null(False)).select("patient_id").unique()
    within = (
        anc.filter(pl.col("severity_in_context") == "within_personal_range")
        .select("patient_id", "collected_at")
        .join(episodes.select(SPAN), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .group_by("episode_id", "patient_id")
        .agg(n=pl.len())
    )
    is_null = episodes.join(recorded, on="patient_id", how="semi")
    usual = pl.lit("recorded Duffy-null: a lower count is usual")
    personal = pl.format("{} of the low counts within the personal range", pl.col("n"))
    return pl.concat(
        [
            evidence_lines(is_null, "CTX-1", "benign context", "moderate", usual, "patient record; RULES.md"),
            evidence_lines(within, "CTX-1", "benign context", "moderate", personal, "blood count; RULES.md"),
        ]
    )


def travel_findings(episodes: pl.LazyFrame, events: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """INF-1: travel in the year before, as context for malaria, dengue and typhoid."""
    window = timedelta(days=rules.pattern.travel_window_d)
    latest = (
        events.filter(pl.col("event") == "travel")
        .select("patient_id", "occurred_at", "detail")
        .join(episodes.select(SPAN), on="patient_id")
        .filter(pl.col("occurred_at").is_between(pl.col("started_at") - window, pl.col("last_low_at")))
        .sort("occurred_at", "detail", descending=True, nulls_last=True)
        .unique("episode_id", keep="first", maintain_order=True)
    )
    region = pl.col("detail").fill_null("region not recorded")
    finding = pl.format("travel ({}) recorded on {}", region, pl.col("occurred_at").dt.strftime(DAY))
    return evidence_lines(latest, "INF-1", "infection", "context", finding, "event; RULES.md")

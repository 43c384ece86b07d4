"""What a chart says beside results and drugs: Duffy phenotype, personal range, limits for age, travel (CTX-1, INF-1)."""

from datetime import timedelta

import polars as pl

from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.lines import DAY, SPAN, evidence_lines


def context_findings(episodes: pl.LazyFrame, anc: pl.LazyFrame, patients: pl.LazyFrame) -> pl.LazyFrame:
    """CTX-1: recorded Duffy-null, and low counts that the context explains: the personal range, the limits for the age."""
    recorded = patients.filter(pl.col("duffy_null").fill_null(False)).select("patient_id").unique()
    is_null = episodes.join(recorded, on="patient_id", how="semi")
    usual = pl.lit("recorded Duffy-null: a lower count is usual")
    seen_as = {"within_personal_range": "within the personal range", "normal": "within the limits for the age"}
    explained = (
        anc.filter((pl.col("severity") > pl.lit("normal")) & pl.col("severity_in_context").is_in(list(seen_as)))
        .select("patient_id", "collected_at", range=pl.col("severity_in_context").replace_strict(seen_as))
        .join(episodes.select(SPAN), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .group_by("episode_id", "patient_id", "range")
        .agg(n=pl.len())
    )
    found = pl.format("{} of the low counts {}", "n", "range")
    return pl.concat(
        [
            evidence_lines(is_null, "CTX-1", "benign context", "moderate", usual, "patient record; RULES.md"),
            evidence_lines(explained, "CTX-1", "benign context", "moderate", found, "blood count; RULES.md"),
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

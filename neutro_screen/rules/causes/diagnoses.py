"""Coded diagnoses as evidence, and the codes that record a step of the work-up."""

from typing import Final

import polars as pl

from neutro_schemas.cause_reference import STRENGTHS
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.lines import DAY, SPAN, is_within_window

_SYSTEMS: Final = {"icd10": "ICD-10", "icd9": "ICD-9", "snomed": "SNOMED", "other": "code"}


def diagnosis_findings(episodes: pl.LazyFrame, diagnoses: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Coded diagnoses within their window; of several prefixes that fit a code the longest counts.

    A diagnosis without a date is shown as such and weighs weak: it may be later than the episode.
    """
    codes = reference.diagnosis_codes.lazy().filter(pl.col("rule_id") != "WRK-1")
    coded = coded_diagnoses(diagnoses, codes).with_columns(at=pl.col("date").cast(pl.Datetime("us")))
    is_undated = pl.col("date").is_null()
    weakest_last = pl.col("strength").replace_strict({name: place for place, name in enumerate(STRENGTHS)})
    finding = pl.format(
        "coded {} ({} {}), {}",
        "finding",
        pl.col("system").replace(_SYSTEMS),
        "code",
        pl.coalesce(pl.col("date").dt.strftime(DAY), pl.lit("date unknown")),
    )
    return (
        coded.join(episodes.select(SPAN), on="patient_id")
        .filter(is_undated | is_within_window())
        .sort(weakest_last, (pl.col("at") - pl.col("started_at")).abs(), "at", "code", nulls_last=True)
        .unique(["episode_id", "rule_id", "finding"], keep="first", maintain_order=True)
        .select(
            "episode_id",
            "patient_id",
            category="category",
            rule_id="rule_id",
            finding=finding,
            strength=pl.when(is_undated).then(pl.lit("weak")).otherwise("strength"),
            source=pl.format("diagnosis code; {}", "source_of_row"),
        )
    )


def coded_diagnoses(diagnoses: pl.LazyFrame, codes: pl.LazyFrame) -> pl.LazyFrame:
    """Join each diagnosis to the longest prefix of ``codes`` that its code begins with; others are left out."""
    distinct = diagnoses.select("system", "code").unique()
    longest = (
        distinct.join(codes, on="system")
        .filter(pl.col("code").str.starts_with(pl.col("prefix")))
        .sort("system", "code", pl.col("prefix").str.len_chars(), descending=[False, False, True])
        .unique(["system", "code"], keep="first", maintain_order=True)
        .rename({"source": "source_of_row"})
    )
    named = diagnoses.select("patient_id", "system", "code", "date").unique()
    return named.join(longest, on=["system", "code"], validate="m:1")

"""Every rule that fired becomes a flag with the results it was raised from."""

from typing import Final

import polars as pl

from neutro_schemas import Flag
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.words import count_text, days_text, number
from neutro_screen.validate import dtypes

COLUMNS: Final = tuple(dtypes(Flag))


def evidence_json(*results: pl.Expr) -> pl.Expr:
    """The results (structs) that a flag was raised from, as a JSON list in order of time."""
    # Joined as text: a list of structs, encoded element by element, takes ten times as long.
    listed = pl.concat_str(*(result.struct.json_encode() for result in results), separator=", ")
    return pl.concat_str(pl.lit("["), listed, pl.lit("]"))


def result_struct(specimen_id: str, collected_at: str, anc: str, comparator: str) -> pl.Expr:
    """One result as evidence: specimen, time, count and comparator."""
    return pl.struct(
        specimen_id=pl.col(specimen_id),
        collected_at=pl.col(collected_at).dt.strftime("%Y-%m-%dT%H:%M:%S"),
        anc_cells_per_ul=pl.col(anc),
        comparator=pl.col(comparator),
    )


def severity_flags(numbered: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """SEV-1 for every low result; ANC-10 where only an upper bound is known.

    ``numbered`` comes from ``episodes.with_episode_numbers``.
    """
    low = numbered.filter("is_low").join(
        episodes.select("patient_id", "episode_id", "started_at", "last_low_at"), on="patient_id", how="left"
    )
    low = low.filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
    this = evidence_json(result_struct("specimen_id", "collected_at", "anc_cells_per_ul", "anc_comparator"))
    count = count_text(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"))
    graded = low.select(
        "patient_id",
        "specimen_id",
        "episode_id",
        rule_id=pl.lit("SEV-1"),
        raised_at="collected_at",
        reason=pl.format("ANC {} cells/uL: {}", count, pl.col("severity").cast(pl.String)),
        evidence=this,
    )
    bounded = low.filter(pl.col("anc_method").str.ends_with("upper_bound")).select(
        "patient_id",
        "specimen_id",
        "episode_id",
        rule_id=pl.lit("ANC-10"),
        raised_at="collected_at",
        reason=pl.format(
            "no neutrophil count; the {} bounds the ANC at {} cells/uL",
            pl.when(pl.col("anc_method") == "wbc_upper_bound")
            .then(pl.lit("white cell count"))
            .when(pl.col("anc_method") == "differential_upper_bound")
            .then(pl.lit("rest of the differential"))
            .otherwise(pl.lit("granulocyte count")),
            count,
        ),
        evidence=this,
    )
    return pl.concat([graded, bounded])


def rapid_decline_flags(anc: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """RPD-1 and RPD-2 with the height that was fallen from; ``anc`` comes from ``with_rapid_decline``."""
    heights = anc.select(
        "patient_id",
        from_id="specimen_id",
        from_at="collected_at",
        from_anc="anc_cells_per_ul",
        from_comparator="anc_comparator",
    )
    fired = []
    for name, rule_id, rule in (("rpd_1", "RPD-1", policy.rpd_1), ("rpd_2", "RPD-2", policy.rpd_2)):
        fell = anc.filter(name).join(heights, on="patient_id")
        age = pl.col("collected_at") - pl.col("from_at")
        fell = (
            fell.filter(
                (pl.col("from_anc") == pl.col(f"{name}_highest"))
                & (pl.col("from_anc") > pl.col("anc_cells_per_ul"))
                & (age > pl.duration())
                & (age <= pl.duration(days=rule.window_d + rule.carry_d))
            )
            .sort("patient_id", "collected_at", "specimen_id", "from_at", "from_id")
            .unique(["patient_id", "specimen_id"], keep="last", maintain_order=True)
        )
        fall = (1 - pl.col("anc_cells_per_ul") / pl.col("from_anc")) * 100
        fired.append(
            fell.select(
                "patient_id",
                "specimen_id",
                episode_id=pl.lit(None, pl.String),
                rule_id=pl.lit(rule_id),
                raised_at="collected_at",
                reason=pl.format(
                    "ANC fell by {} % in {}, from {} to {} cells/uL",
                    fall.round(0).cast(pl.Int64),
                    days_text(age.dt.total_hours() / 24),
                    count_text(pl.col("from_anc"), pl.col("from_comparator")),
                    count_text(pl.col("anc_cells_per_ul"), pl.col("anc_comparator")),
                ),
                evidence=evidence_json(
                    result_struct("from_id", "from_at", "from_anc", "from_comparator"),
                    result_struct("specimen_id", "collected_at", "anc_cells_per_ul", "anc_comparator"),
                ),
                fall_pct=fall,
            )
        )
    return pl.concat(fired)


def episode_flags(episodes: pl.LazyFrame, policy: Policy, reference: Reference) -> pl.LazyFrame:
    """EPI-2, EPI-3 and EPI-4, one flag per episode and pattern."""
    rule, severe = policy.episode, number(reference.below_cells_per_ul["severe"])
    occasions = f"{rule.severe_chronic_n} or more occasions over {rule.severe_chronic_d} days"
    days_severe = (pl.col("days_severe") + pl.col("days_profound")).round(1)
    patterns = (
        (
            "is_persistent",
            "EPI-2",
            pl.format("persistent: low for {} days", pl.col("duration_days").round(0).cast(pl.Int64)),
        ),
        ("is_severe_chronic", "EPI-2", pl.lit(f"severe chronic: below {severe} cells/uL on {occasions}")),
        ("is_recurrent", "EPI-2", pl.lit(f"recurrent: {rule.recurrent_n} or more episodes in {rule.recurrent_d} days")),
        (
            "is_prolonged_profound",
            "EPI-2",
            pl.format("prolonged: below {} cells/uL for {} days", pl.lit(severe), days_severe),
        ),
        ("is_cyclic", "EPI-3", pl.format("cyclic: period of {} days", pl.col("cycle_days").round(1))),
        (
            "is_isolated_low",
            "EPI-4",
            pl.lit(f"one low value between normal ones within {rule.isolated_low_d} days: possible artefact"),
        ),
    )
    return pl.concat(
        episodes.filter(pattern).select(
            "patient_id",
            specimen_id=pl.lit(None, pl.String),
            episode_id="episode_id",
            rule_id=pl.lit(rule_id),
            raised_at="last_low_at",
            reason=reason,
            evidence=pl.struct(
                started_at=pl.col("started_at").dt.strftime("%Y-%m-%dT%H:%M:%S"),
                last_low_at=pl.col("last_low_at").dt.strftime("%Y-%m-%dT%H:%M:%S"),
                nadir_cells_per_ul=pl.col("nadir_cells_per_ul"),
                n_results=pl.col("n_results"),
            ).struct.json_encode(),
        )
        for pattern, rule_id, reason in patterns
    )


def with_episode(flags: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Name the episode of every flag that has none: the one whose fall or course includes the flag's time."""
    spans = episodes.select("patient_id", "started_at", "last_low_at", found="episode_id")
    without = flags.filter(pl.col("episode_id").is_null())
    found = (
        without.join(spans, on="patient_id")
        .filter(pl.col("raised_at").is_between("started_at", "last_low_at"))
        .select("patient_id", "specimen_id", "rule_id", "raised_at", "found")
        .unique(["patient_id", "specimen_id", "rule_id", "raised_at"], keep="first", maintain_order=True)
    )
    return (
        flags.join(found, on=["patient_id", "specimen_id", "rule_id", "raised_at"], how="left", nulls_equal=True)
        .with_columns(episode_id=pl.coalesce("episode_id", "found"))
        .drop("found")
    )

"""How urgent an episode is, with its reasons in plain words (RULES.md section 7)."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from neutro_schemas import Priority
from neutro_screen.reference import Reference
from neutro_screen.rules.causes.findings import Causes, of_causes
from neutro_screen.rules.worklist.status import outlook_per_episode


def episode_reasons(episodes: pl.LazyFrame, conditions: Mapping[str, pl.Expr], reference: Reference) -> pl.LazyFrame:
    """Add ``priority``, ``reasons`` and ``reason_codes`` to cases.

    ``conditions`` maps a code of ``reasons.csv`` to a Boolean expression over the columns of ``episodes``; null counts
    as not fired. The most urgent reason that fired decides; reasons that carry no priority of their own follow. A case
    with no reason of a priority has a null priority.
    """
    rows = {row["code"]: row for row in reference.reasons.iter_rows(named=True)}
    order = sorted(
        conditions, key=lambda code: (-_rank(rows[code]["priority"]), list(rows).index(code))
    )  # most urgent first, then as in the table

    def fired(code: str) -> pl.Expr:
        return conditions[code].fill_null(False)

    ranks = [pl.when(fired(code)).then(_rank(rows[code]["priority"])) for code in order if rows[code]["priority"]]
    return episodes.with_columns(
        priority=pl.max_horizontal(*ranks).cast(pl.UInt8).cat.to(Priority),
        reasons=_joined([pl.when(fired(code)).then(pl.lit(rows[code]["words"])) for code in order], "; "),
        reason_codes=_joined([pl.when(fired(code)).then(pl.lit(code)) for code in order], ","),
    )


def with_priority(
    episodes: pl.DataFrame,
    declines: pl.DataFrame,
    flags: pl.DataFrame,
    specimens: pl.DataFrame,
    causes: Causes,
    reference: Reference,
    as_of: datetime,
) -> pl.DataFrame:
    """Join to each episode what its priority depends on, and decide it. ``declines`` comes from ``status.verdicts``."""
    declined = declines.select("episode_id").drop_nulls().unique().with_columns(has_rapid_decline=pl.lit(True))
    bounded = (
        flags.filter(pl.col("rule_id").is_in(["SEV-1", "ANC-10"]))
        .group_by("episode_id")
        .agg(is_upper_bound_only=(pl.col("rule_id") == "ANC-10").sum() == (pl.col("rule_id") == "SEV-1").sum())
    )
    return (
        episodes.lazy()
        .join(declined.lazy(), on="episode_id", how="left")
        .join(bounded.lazy(), on="episode_id", how="left")
        .join(outlook_per_episode(specimens.lazy(), episodes.lazy()), on="episode_id", how="left")
        .join(of_causes(causes, flags.lazy(), as_of), on="episode_id", how="left")
        .with_columns(pl.col(pl.Boolean).fill_null(False))  # nothing of the kind is known of the episode
        .pipe(episode_reasons, episode_conditions(), reference)
        .collect(engine="in-memory")
    )


def _rank(priority: str | None) -> int:
    return -1 if priority is None else list(Priority.categories).index(priority)


def _joined(parts: list[pl.Expr], separator: str) -> pl.Expr:
    return pl.concat_str(*parts, separator=separator, ignore_nulls=True).replace("", None)


def episode_conditions() -> dict[str, pl.Expr]:
    """The conditions of RULES.md section 7 over an episode with the columns that ``screen`` has joined to it.

    Needs those of ``Episode`` and the Booleans has_rapid_decline, has_likely_drug_now, has_high_risk_drug_now,
    has_cytopenia, has_blasts, is_febrile, is_expected, has_pitfall, is_projected_severe, is_expected_severe_48h,
    has_significant_fall, is_within_personal_range, is_upper_bound_only.
    """
    worst = pl.col("worst_severity")
    profound, severe, moderate, mild = (worst == pl.lit(name) for name in ("profound", "severe", "moderate", "mild"))
    status = pl.col("status")
    is_stale = status == "stale"
    is_isolated = pl.col("is_isolated_low") & ~pl.col("has_likely_drug_now") & ~pl.col("is_expected")
    moderate_now = moderate & ~is_stale & ~is_isolated
    mild_now = mild & ~is_stale & ~is_isolated & ~pl.col("is_within_personal_range")
    return {
        "febrile_neutropenia": pl.col("is_febrile"),
        "profound": profound,
        "severe_new": severe & (status == "new"),
        "severe_worsening": severe & (status == "worsening"),
        "expected_severe_48h": pl.col("is_expected_severe_48h"),
        "blasts": pl.col("has_blasts"),
        "severe": severe & ~status.is_in(["new", "worsening"]),
        "moderate_rapid_decline": moderate_now & pl.col("has_rapid_decline"),
        "moderate_likely_drug": moderate_now & pl.col("has_likely_drug_now"),
        "moderate_cytopenia": moderate_now & pl.col("has_cytopenia"),
        "projected_severe": pl.col("is_projected_severe"),
        "moderate": moderate_now,
        "mild_rapid_decline": mild_now & pl.col("has_rapid_decline"),
        "mild_high_risk_drug": mild_now & pl.col("has_high_risk_drug_now"),
        "mild_pitfall": mild_now & pl.col("has_pitfall"),
        "mild_persistent": mild_now & pl.col("is_persistent"),
        "significant_fall_high_risk_drug": pl.col("has_significant_fall") & pl.col("has_high_risk_drug_now"),
        "mild": mild_now,
        "stale": is_stale,
        "within_personal_range": pl.col("is_within_personal_range"),
        "isolated_low": is_isolated & (moderate | mild),
        "persistent": pl.col("is_persistent"),
        "severe_chronic": pl.col("is_severe_chronic"),
        "recurrent": pl.col("is_recurrent"),
        "prolonged_profound": pl.col("is_prolonged_profound"),
        "cyclic": pl.col("is_cyclic"),
        "expected": pl.col("is_expected"),
        "resolved": status == "resolved",
        "upper_bound_only": pl.col("is_upper_bound_only"),
    }

"""How urgent an episode is, with its reasons in plain words (RULES.md section 7)."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from neutro_schemas import Priority
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.causes.findings import Causes, of_causes
from neutro_screen.rules.worklist.status import context_per_episode, lines_per_episode, outlook_per_episode

#: An episode that is over is at most so urgent (section 7).
RECOVERED_AT_MOST: Final = "low"


def episode_reasons(episodes: pl.LazyFrame, conditions: Mapping[str, pl.Expr], reference: Reference) -> pl.LazyFrame:
    """Add ``priority``, ``reasons`` and ``reason_codes`` to cases.

    ``conditions`` maps a code of ``reasons.csv`` to a Boolean expression over the columns of ``episodes``; null counts
    as not fired. The most urgent reason that fired decides; reasons that carry no priority of their own follow. A case
    with no reason of a priority has a null priority; one that has ended is at most ``RECOVERED_AT_MOST``.
    """
    rows = {row["code"]: row for row in reference.reasons.iter_rows(named=True)}
    order = sorted(
        conditions, key=lambda code: (-_rank(rows[code]["priority"]), list(rows).index(code))
    )  # most urgent first, then as in the table

    def fired(code: str) -> pl.Expr:
        return conditions[code].fill_null(False)

    ranks = [pl.when(fired(code)).then(_rank(rows[code]["priority"])) for code in order if rows[code]["priority"]]

    def is_implied(code: str) -> pl.Expr:
        wider = [fired(other) for other in order if code in (rows[other]["implies"] or "").split()]
        return pl.any_horizontal(wider) if wider else pl.lit(False)

    rank = pl.max_horizontal(*ranks)
    at_most = pl.when(pl.col("ended_at").is_not_null()).then(_rank(RECOVERED_AT_MOST)).otherwise(_rank("critical"))
    return episodes.with_columns(
        priority=pl.when(rank > at_most).then(at_most).otherwise(rank).cast(pl.UInt8).cat.to(Priority),
        reasons=_joined(
            [pl.when(fired(code) & ~is_implied(code)).then(pl.lit(rows[code]["words"])) for code in order], "; "
        ),
        reason_codes=_joined([pl.when(fired(code)).then(pl.lit(code)) for code in order], ","),
    )


def with_priority(
    episodes: pl.DataFrame,
    declines: pl.DataFrame,
    flags: pl.DataFrame,
    specimens: pl.DataFrame,
    causes: Causes,
    reference: Reference,
    policy: Policy,
) -> pl.DataFrame:
    """Join to each episode what its priority depends on, and decide it. ``declines`` comes from ``status.verdicts``."""
    declined = declines.select("episode_id").drop_nulls().unique().with_columns(has_rapid_decline=pl.lit(True))
    bounded = (
        flags.filter(pl.col("rule_id").is_in(["SEV-1", "ANC-10"]))
        .group_by("episode_id")
        .agg(is_upper_bound_only=(pl.col("rule_id") == "ANC-10").sum() == (pl.col("rule_id") == "SEV-1").sum())
    )
    overdue = causes.steps.filter((pl.col("step") == "repeat_cbc") & (pl.col("state") == "overdue")).select(
        "episode_id", is_repeat_overdue=pl.lit(True)
    )
    clozapine = flags.filter(pl.col("rule_id") == "SEV-4").select("patient_id").unique()
    explained = causes.evidence.filter(
        (pl.col("strength") == "strong") & pl.col("rule_id").is_in(policy.worklist.chronic_rules)
    ).select("episode_id", has_chronic_cause=pl.lit(True))
    counts = specimens.lazy()
    per_episode = (
        declined.lazy(),
        bounded.lazy(),
        overdue.lazy(),
        explained.lazy().unique(),
        outlook_per_episode(counts, episodes.lazy()),
        lines_per_episode(counts, episodes.lazy(), policy),
        context_per_episode(counts, episodes.lazy()),
        of_causes(causes, flags.lazy(), episodes.lazy()).drop("has_cytopenia"),
    )
    joined = episodes.lazy().join(
        clozapine.lazy().with_columns(is_clozapine_overdue=pl.lit(True)), on="patient_id", how="left"
    )
    for part in per_episode:
        joined = joined.join(part, on="episode_id", how="left")
    return (
        joined.with_columns(pl.col(pl.Boolean).fill_null(False))  # nothing of the kind is known of the episode
        .pipe(episode_reasons, episode_conditions(), reference)
        .collect(engine="in-memory")
    )


def sentence(words: pl.Expr) -> pl.Expr:
    """Words as one sentence: a capital in front and a full stop; null stays null."""
    return pl.concat_str(words.str.slice(0, 1).str.to_uppercase(), words.str.slice(1), pl.lit("."))


def _rank(priority: str | None) -> int:
    return -1 if priority is None else list(Priority.categories).index(priority)


def _joined(parts: list[pl.Expr], separator: str) -> pl.Expr:
    return pl.concat_str(*parts, separator=separator, ignore_nulls=True).replace("", None)


def episode_conditions() -> dict[str, pl.Expr]:
    """The conditions of RULES.md section 7 over an episode with the columns that ``with_priority`` has joined to it.

    They depend on the results and, beside them, only on what can rise with time (a repeat count that becomes overdue,
    pitfalls): no condition of a higher priority ends by the passing of time alone (EPI-6). So ``course``, the state of
    the episode at its last result, counts instead of ``status``.
    """
    worst, course = pl.col("worst_severity"), pl.col("course")
    profound, severe, moderate, mild = (worst == pl.lit(name) for name in ("profound", "severe", "moderate", "mild"))
    is_open = pl.col("ended_at").is_null()
    is_isolated = pl.col("is_isolated_low") & ~pl.col("has_likely_drug_now") & ~pl.col("is_expected")
    is_explained = pl.col("is_within_personal_range") | pl.col("is_within_age_limits")
    moderate_now = moderate & ~is_isolated
    mild_now = mild & ~is_isolated & ~is_explained
    # A count that has risen since its lowest is not on its way down, whatever the slope of the month says.
    still_falls = course != "recovering"
    overdue_drug = is_open & pl.col("is_repeat_overdue") & pl.col("has_high_risk_drug_now")
    return {
        "febrile_neutropenia": pl.col("is_febrile"),
        "profound": profound,
        "severe_new": severe & is_open & (course == "new"),
        "severe_worsening": severe & is_open & (course == "worsening"),
        "expected_severe_48h": pl.col("is_expected_severe_48h") & still_falls,
        "blasts": pl.col("has_blasts"),
        "prolonged_profound_unexpected": pl.col("is_prolonged_profound")
        & is_open
        & ~pl.col("is_expected")
        & ~pl.col("has_chronic_cause"),
        "severe_overdue_high_risk_drug": severe & overdue_drug,
        "severe": severe & ~(is_open & course.is_in(["new", "worsening"])),
        "moderate_rapid_decline": moderate_now & pl.col("has_rapid_decline"),
        "moderate_likely_drug": moderate_now & pl.col("has_likely_drug_now"),
        "moderate_cytopenia": moderate_now & pl.col("has_cytopenia"),
        "severe_other_lines": pl.col("has_severe_other_line"),
        "mild_decline_high_risk_drug": mild_now & pl.col("has_rapid_decline") & pl.col("has_high_risk_drug_now"),
        "moderate_overdue_high_risk_drug": moderate_now & overdue_drug,
        "projected_severe": pl.col("is_projected_severe") & still_falls,
        "moderate": moderate_now,
        "mild_rapid_decline": mild_now & pl.col("has_rapid_decline"),
        "mild_high_risk_drug": mild_now & pl.col("has_high_risk_drug_now"),
        "mild_cytopenia": mild_now & pl.col("has_cytopenia"),
        "mild_pitfall": mild_now & pl.col("has_pitfall"),
        "newborn_low": mild_now & pl.col("is_newborn"),
        "mild_persistent": mild_now & pl.col("is_persistent"),
        "significant_fall_high_risk_drug": pl.col("has_significant_fall") & pl.col("has_high_risk_drug_now"),
        "clozapine_anc_overdue": is_open & pl.col("is_clozapine_overdue"),
        "mild": mild_now,
        "within_personal_range": pl.col("is_within_personal_range"),
        "within_age_limits": pl.col("is_within_age_limits"),
        "isolated_low": is_isolated & (moderate | mild),
        "stale": pl.col("status") == "stale",
        "persistent": pl.col("is_persistent"),
        "severe_chronic": pl.col("is_severe_chronic"),
        "recurrent": pl.col("is_recurrent"),
        "prolonged_profound": pl.col("is_prolonged_profound"),
        "cyclic": pl.col("is_cyclic"),
        "expected": pl.col("is_expected"),
        "resolved": pl.col("status") == "resolved",
        "upper_bound_only": pl.col("is_upper_bound_only"),
    }

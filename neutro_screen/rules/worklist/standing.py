"""Findings that put a patient on the worklist outside of an episode: what they are, when to count again, what they say.

A fall that is not yet low (RPD-1 ... RPD-4; TRD-2 on a drug of high risk) and a newborn's count (SEV-3) stand while no
later count has followed, an overdue clozapine count (SEV-4) while it is overdue.
"""

from typing import Final

import polars as pl

from neutro_schemas import Priority, Severity
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.worklist.next_step import load_next_steps
from neutro_screen.rules.worklist.priority import sentence

#: Rules whose flags are such findings, and the code of ``reasons.csv`` they stand for; null = the context of the latest
#: count (SEV-3).
STANDING: Final = {
    "RPD-": "rapid_decline",
    "TRD-2": "significant_fall_high_risk_drug",
    "SEV-4": "clozapine_anc_overdue",
    "SEV-3": None,
}
#: The code of a row that ends because a newer count does not show its finding.
SETTLED: Final = "settled"


def standing_findings(flags: pl.LazyFrame, latest: pl.LazyFrame) -> pl.LazyFrame:
    """``patient_id, rule_id, code, raised_at, said``: the findings that still stand, ``said`` with their numbers.

    ``flags`` is ``Flag``; ``latest`` has patient_id, last_collected_at and current_severity_in_context.
    """
    rule = pl.col("rule_id")
    code = pl.coalesce(
        *(pl.when(rule.str.starts_with(name)).then(pl.lit(code)) for name, code in STANDING.items() if code),
        pl.col("current_severity_in_context").cast(pl.String),
    )
    is_standing = pl.any_horizontal(rule.str.starts_with(name) for name in STANDING)
    is_of_latest = (pl.col("raised_at") == pl.col("last_collected_at")) | (rule == "SEV-4")
    return (
        flags.filter(is_standing & pl.col("episode_id").is_null())
        .select("patient_id", "rule_id", "raised_at", said="reason")
        .join(
            latest.select("patient_id", "last_collected_at", "current_severity_in_context"),
            on="patient_id",
            validate="m:1",
        )
        .filter(is_of_latest.fill_null(False))
        .select("patient_id", "rule_id", "raised_at", "said", code=code)
    )


def counts_to_repeat(flags: pl.LazyFrame, latest: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """``patient_id, code, due_on``: when to count again after a finding outside of an episode (WRK-2), by ``repeat_*_h``.

    Arguments as for ``standing_findings``. A clozapine count has the date of its ladder, which is not repeated here.
    """
    rule = policy.worklist
    hours = {
        "rapid_decline": rule.repeat_rapid_decline_h,
        "significant_fall_high_risk_drug": rule.repeat_significant_fall_h,
        "below_laboratory_limit": rule.repeat_newborn_h,
    }
    due = pl.col("raised_at") + pl.duration(hours=pl.col("code").replace_strict(hours, return_dtype=pl.Int64))
    return (
        standing_findings(flags, latest)
        .filter(pl.col("code").is_in(list(hours)))
        .select("patient_id", code=pl.lit("repeat_cbc"), due_on=due)
    )


def standing_cases(flags: pl.LazyFrame, status: pl.LazyFrame, reference: Reference) -> pl.LazyFrame:
    """The most urgent standing finding of each patient as a case of ``order.open_cases``; ``status`` is ``PatientStatus``.

    Its conclusion names the finding with its numbers, and what to do first.
    """
    reasons = reference.reasons.lazy().select("code", "words", priority=pl.col("priority").cast(Priority))
    steps = load_next_steps().lazy().select(next_step="code", label="label")
    first = pl.format("; first: {}{}", "label", pl.format(" (due {})", _to_the_minute("next_step_due")).fill_null(""))
    return (
        standing_findings(flags, status)
        .join(reasons, on="code", validate="m:1")
        # Of the rules for one finding the verdict on the true course says most: RPD-4, RPD-3.
        .sort("patient_id", "priority", "code", "rule_id", "said", descending=[False, True, False, True, False])
        .unique("patient_id", keep="first", maintain_order=True)
        .join(
            status.select("patient_id", "current_severity", "last_anc_cells_per_ul", "next_step", "next_step_due"),
            on="patient_id",
            validate="1:1",
        )
        .join(steps, on="next_step", how="left", validate="m:1")
        .select(
            "patient_id",
            episode_id=pl.lit(None, pl.String),
            priority="priority",
            reasons="words",
            reason_codes="code",
            conclusion=sentence(pl.format("{}: {}{}", "words", "said", first.fill_null(""))),
            is_expected=pl.lit(False),
            worst_severity=pl.col("current_severity").cast(Severity),
            nadir_cells_per_ul="last_anc_cells_per_ul",
            started_at="raised_at",
            episode_status=pl.lit("new"),
            is_open=pl.lit(True),
        )
    )


def _to_the_minute(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%d %H:%M")

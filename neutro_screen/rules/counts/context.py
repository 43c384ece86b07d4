"""Severity seen with the patient's own context: Duffy-null, infants, newborns (SEV-3)."""

from functools import cache

import pandera.polars as pa
import polars as pl

from neutro_schemas import Flag
from neutro_screen.reference import Policy, reference_table
from neutro_screen.rules.flags import evidence_json, result_struct
from neutro_screen.rules.words import count_text
from neutro_screen.validate import dtypes

#: What a newborn's count is seen as where it is listed although not below 1500.
LISTED_IN_CONTEXT = ("below_laboratory_limit", "age_limits_uncertain")

#: ``context_reason`` of a newborn's count that the laboratory's limit does not explain.
NEWBORN = "newborn"


class NewbornLimit(pa.DataFrameModel):
    """One lower limit of the ANC by hours of life: shown beside a newborn's count, never judged by."""

    population: str = pa.Field(description="term or very low birth weight.")
    from_h: int = pa.Field(ge=0, description="First hour of life it is given for.")
    to_h: int = pa.Field(description="Last hour of life.")
    lower_cells_per_ul: float = pa.Field(gt=0, description="Lower limit, cells/uL.")
    unit: str = pa.Field(eq="cells/uL", description="Unit of the limit.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


@cache
def load_newborn_limits() -> pl.DataFrame:
    """Read and check ``newborn_limits.csv``.

    Raises:
        ReferenceDataError: the table does not fit its contract.
    """
    return reference_table("newborn_limits.csv", NewbornLimit)


def newborn_flags(specimens: pl.LazyFrame) -> pl.LazyFrame:
    """SEV-3: a newborn's count that is not below 1500 and is listed all the same, with the columns of ``Flag``.

    Below the laboratory's own limit, or without a limit. The limits by hours of life are named beside it: without an
    hour of birth no count is judged by them. ``specimens`` has ``severity_in_context`` and ``age_days``.
    """
    limits = "; ".join(
        f"{row['population']} {row['lower_cells_per_ul']:,.0f} at {row['from_h']} to {row['to_h']} h of life"
        for row in load_newborn_limits().iter_rows(named=True)
    )
    listed = specimens.filter(
        (pl.col("severity") == pl.lit("normal")) & pl.col("severity_in_context").is_in(LISTED_IN_CONTEXT)
    )
    count = count_text(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"))
    return listed.select(
        "patient_id",
        "specimen_id",
        episode_id=pl.lit(None, pl.String),
        rule_id=pl.lit("SEV-3"),
        raised_at="collected_at",
        reason=pl.when(pl.col("severity_in_context") == "below_laboratory_limit")
        .then(
            pl.format(
                "newborn of {} days: ANC {} cells/uL, below the laboratory's limit of {}",
                pl.col("age_days"),
                count,
                count_text(pl.col("reference_low"), pl.lit(None, pl.String)),
            )
        )
        .otherwise(
            pl.format(
                "newborn of {} days: ANC {} cells/uL and no limit of the laboratory; lower limits: {}",
                pl.col("age_days"),
                count,
                pl.lit(limits),
            )
        ),
        evidence=evidence_json(result_struct("specimen_id", "collected_at", "anc_cells_per_ul", "anc_comparator")),
    ).select(list(dtypes(Flag)))


def with_severity_in_context(anc: pl.LazyFrame, patients: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``severity_in_context`` and ``context_reason`` (text, null where no context applies).

    ``severity_in_context`` is the context-free severity unless a context says otherwise:

    within_personal_range: recorded Duffy-null, 1000-1499 and at least 70 % of the personal baseline.
    normal, ``infant_lower_limit``: 2 weeks to 1 year, where the lower limit is 1000.
    normal, ``laboratory_limit``: under 2 weeks and at or above the laboratory's own lower limit;
    below_laboratory_limit: under 2 weeks, 1500 or more and below that limit;
    age_limits_uncertain: under 2 weeks, 1000 or more and no limit on the result.

    A value below 1000, or known only as an upper bound, keeps its severity; so does a newborn's below the laboratory's limit,
    whose reason is ``newborn`` like that of every low count under 2 weeks that no limit explains. Needs severity, ``age_days``,
    ``baseline_cells_per_ul`` (null = fewer results than TRD-1 asks for) and ``reference_low``; ``patients`` has
    patient_id and ``duffy_null``: recorded phenotype or genotype, never inferred.
    """
    rule = policy.context
    recorded = patients.group_by("patient_id").agg(is_duffy_null=pl.col("duffy_null").any())
    count, limit = pl.col("anc_cells_per_ul"), pl.col("reference_low")
    is_exact = pl.col("anc_comparator").is_null()
    may_be_excused = is_exact & (count >= rule.personal_from_cells_per_ul)
    is_low = pl.col("severity") > pl.lit("normal")
    is_newborn = pl.col("age_days") < rule.newborn_below_d
    is_infant = pl.col("age_days").is_between(rule.newborn_below_d, rule.infant_below_d, closed="left")
    personal = (
        pl.col("is_duffy_null").fill_null(False)
        & (count >= pl.col("baseline_cells_per_ul") * rule.personal_fraction).fill_null(False)
        & is_low
    )
    severity = pl.col("severity").cast(pl.String)
    cases = (
        (may_be_excused & is_newborn & limit.is_null(), pl.lit("age_limits_uncertain"), NEWBORN),
        (may_be_excused & is_newborn & is_low & (count >= limit), pl.lit("normal"), "laboratory_limit"),
        (may_be_excused & is_newborn & ~is_low & (count < limit), pl.lit("below_laboratory_limit"), NEWBORN),
        (
            may_be_excused & is_infant & is_low & (count >= rule.infant_lower_limit_cells_per_ul),
            pl.lit("normal"),
            "infant_lower_limit",
        ),
        (may_be_excused & ~is_newborn.fill_null(False) & personal, pl.lit("within_personal_range"), "duffy_null"),
        (is_newborn & is_low, severity, NEWBORN),
    )
    in_context, reason = severity, pl.lit(None, pl.String)
    for condition, seen_as, why in reversed(cases):
        applies = condition.fill_null(False)
        in_context = pl.when(applies).then(seen_as).otherwise(in_context)
        reason = pl.when(applies).then(pl.lit(why)).otherwise(reason)
    return (
        anc.join(recorded, on="patient_id", how="left", maintain_order="left")
        .with_columns(severity_in_context=in_context, context_reason=reason)
        .drop("is_duffy_null")
    )

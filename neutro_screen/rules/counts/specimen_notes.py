"""What makes a specimen doubtful: signs of another person's blood in the tube (ANC-12).

Aged specimens and clumping comments are noted where the count is made (``anc``) and where the rows are judged.
"""

from datetime import timedelta

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.rules.counts.specimens import SPECIMEN, TIME_ORDER, counting_results_of


def noted(**fired: pl.Expr) -> pl.Expr:
    """``notes`` with the name of every condition that fired appended; null counts as not fired."""
    return pl.concat_str(
        "notes",
        *(pl.when(condition.fill_null(False)).then(pl.lit(note)) for note, condition in fired.items()),
        separator=", ",
        ignore_nulls=True,
    ).replace("", None)


def with_mix_up_note(anc: pl.LazyFrame, results: pl.DataFrame, policy: Policy) -> pl.LazyFrame:
    """Add the notes on doubtful tubes.

    ``possible_wrong_blood_in_tube`` is noted where the ANC changed significantly from the specimen before (``significant_change``, from
    ``trend.with_significant_fall``) and MCV or haemoglobin jumped with it by more than the policy allows, the specimen
    before being no older than the policy says; ``possible_pseudoneutropenia`` where a low count is not borne out by the
    next one within hours (FORMATS.md D.21). ``results`` are the accepted results (``LabResult``). Nothing is
    removed: it lowers confidence.
    """
    rule = policy.mix_up
    measured = (
        counting_results_of(results, ["mcv", "hgb"], policy)
        .lazy()
        .group_by(SPECIMEN)
        .agg(
            mcv=pl.when(pl.col("analyte") == "mcv").then("value").min(),
            hgb=pl.when(pl.col("analyte") == "hgb").then("value").min(),
        )
        .collect()
        .lazy()
    )
    same_patient = pl.col("patient_id") == pl.col("patient_id").shift(1)

    def change(column: str) -> pl.Expr:
        return pl.when(same_patient).then(pl.col(column).diff())

    recent = change("collected_at") <= timedelta(days=rule.within_d)
    jumped = (change("mcv").abs() > rule.mcv_jump_fl).fill_null(False) | (
        change("hgb").abs() > rule.haemoglobin_jump_g_per_dl
    ).fill_null(False)
    after, same = pl.col("collected_at").shift(-1), pl.col("patient_id") == pl.col("patient_id").shift(-1)
    not_borne_out = (
        same
        & (after - pl.col("collected_at") <= timedelta(hours=rule.repeat_within_h))
        & (pl.col("severity") > pl.lit("normal"))
        & (pl.col("anc_cells_per_ul").shift(-1) > pl.col("anc_cells_per_ul") * rule.repeat_ratio)
        & pl.col("anc_comparator").shift(-1).is_null()
    )
    return (
        anc.sort(TIME_ORDER)
        .join(measured, on=SPECIMEN, how="left", maintain_order="left")
        .with_columns(
            notes=noted(
                possible_wrong_blood_in_tube=recent & jumped & pl.col("significant_change"),
                possible_pseudoneutropenia=not_borne_out
                & ~pl.col("notes").str.contains("possible_pseudoneutropenia", literal=True).fill_null(False),
            )
        )
        .drop("mcv", "hgb")
    )

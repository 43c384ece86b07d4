"""Which version of a result counts: corrections, cancellations, repeats, re-used numbers (ANC-1, ANC-2)."""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_schemas import RETRACTED_STATUSES, STATUSES
from neutro_screen.reference import Policy
from neutro_screen.rules.counts.comparators import is_upper_bound

SPECIMEN: Final = ("patient_id", "specimen_id")
#: The order of a patient's specimens in time.
TIME_ORDER: Final = ("patient_id", "collected_at", "specimen_id")
_RESULT: Final = (*SPECIMEN, "analyte", "is_manual")


def keep_counting_versions(results: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Keep one value per specimen, analyte and kind of differential.

    Needs the columns of ``LabResult``; adds ``is_manual`` and ``conflict`` (two different values with equal claim).
    A cancelled, deleted or wrong result takes back what was resulted before it, and an equal value of the same time; one
    entered in error without a value takes back whatever has the same time, or any where no time is given.
    Of the rest a correction goes before what it corrects, a final before a preliminary, then the latest resulted counts;
    of two with the same claim the lower. A final resulted after the last correction is not what that corrected: both
    have the same claim. So have results that
    only their day identifies: they may be of two draws. A specimen number on draws further apart than the policy allows
    is re-used: each collection time is then a specimen of its own.

    Specimens without a repeat, a retraction or a re-used number take a shorter path.
    """
    results = results.with_columns(is_manual=is_manual(), specimen=pl.struct(SPECIMEN).hash())
    irregular = _irregular(results, policy)
    is_irregular = pl.col("specimen").is_in(irregular.implode())
    regular = (results.filter(~is_irregular) if irregular.len() else results).drop("specimen")
    regular = regular.with_columns(conflict=pl.lit(False))
    if not irregular.len():
        return regular
    settled = counting_versions(results.filter(is_irregular).drop("specimen"), policy)
    return pl.concat([regular, settled.select(regular.columns)])


def counting_versions(results: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """``keep_counting_versions`` of specimens any of which may be irregular."""
    return (
        results.with_columns(is_manual=is_manual(), is_reused=is_reused(spread().over(SPECIMEN), policy))
        .pipe(_with_own_specimen_when_reused)
        .pipe(_drop_retracted)
        .pipe(_keep_strongest)
    )


def is_manual() -> pl.Expr:
    """The result is of a differential that was counted by hand."""
    return pl.col("method") == "manual"


def is_retracted() -> pl.Expr:
    """The row is cancelled or entered in error: it takes an earlier result back."""
    return pl.col("status").is_in(RETRACTED_STATUSES)


def _irregular(results: pl.DataFrame, policy: Policy) -> pl.Series:
    """Hashes of the irregular specimens; a regular one that shares a hash takes the longer path to the same result."""
    found = results.lazy().select("specimen", "collected_at", result=pl.struct(_RESULT).hash(), is_back=is_retracted())
    repeated = found.filter(pl.col("result").is_duplicated() | pl.col("is_back")).select("specimen")
    reused = (
        found.group_by("specimen").agg(spread=spread()).filter(is_reused(pl.col("spread"), policy)).select("specimen")
    )
    return pl.concat([repeated, reused]).unique().collect()["specimen"]


def spread() -> pl.Expr:
    """The time between the first and the last collection."""
    return pl.col("collected_at").max() - pl.col("collected_at").min()


def is_reused(between: pl.Expr, policy: Policy) -> pl.Expr:
    """The draws of one specimen number are so far apart that the number was used again."""
    return between > timedelta(hours=policy.specimen.reused_id_h)


def _with_own_specimen_when_reused(results: pl.DataFrame) -> pl.DataFrame:
    reused = pl.col("is_reused")
    return results.with_columns(
        specimen_id=pl.when(reused)
        .then(pl.concat_str("specimen_id", pl.col("collected_at").dt.strftime("@%Y-%m-%dT%H:%M:%S")))
        .otherwise("specimen_id"),
        notes=pl.when(reused)
        .then(pl.concat_str("notes", pl.lit("specimen_id_reused"), separator=", ", ignore_nulls=True))
        .otherwise("notes"),
    ).drop("is_reused")


def _drop_retracted(results: pl.DataFrame) -> pl.DataFrame:
    takes_back = is_retracted()
    reported = results.filter(~takes_back).with_row_index("version")
    retractions = results.filter(takes_back).select(
        *_RESULT, back_at="resulted_at", back_value="value", is_error=pl.col("status") == "entered_in_error"
    )
    same_time = pl.col("back_at").eq_missing(pl.col("resulted_at")) | pl.col("back_at").is_null()
    taken_back = reported.join(retractions, on=_RESULT).filter(
        (pl.col("back_at") > pl.col("resulted_at"))
        | (pl.col("back_at").is_not_null() & pl.col("resulted_at").is_null())
        | (same_time & (pl.col("back_value") == pl.col("value")))
        | (same_time & pl.col("back_value").is_null() & pl.col("is_error"))
    )
    return reported.join(taken_back, on="version", how="anti").drop("version")


def _keep_strongest(results: pl.DataFrame) -> pl.DataFrame:
    strength = pl.col("status").replace_strict({status: rank for rank, status in enumerate(STATUSES)})
    claim = ("strength", "claimed_at")
    is_final, is_corrected = pl.col("status") == "final", pl.col("status") == "corrected"
    corrected_at = pl.col("resulted_at").filter(is_corrected).max().over(_RESULT)
    is_later = (is_final & (pl.col("resulted_at") > corrected_at)).fill_null(False)
    # Only the day is given and no specimen number: the later result may be of another draw.
    is_of_the_day = (
        is_final & pl.col("specimen_id").str.starts_with("@") & pl.col("notes").str.contains("date_only", literal=True)
    ).fill_null(False)
    ranked = results.with_columns(
        strength=pl.when(is_later).then(STATUSES.index("corrected")).otherwise(strength),
        claimed_at=pl.when(is_later).then(corrected_at).when(~is_of_the_day).then("resulted_at"),
        below=~is_upper_bound("comparator"),
    ).sort(
        *_RESULT,
        *claim,
        "value",
        "below",
        "source_file",
        "source_row",
        descending=[False] * len(_RESULT) + [True, True] + [False] * 4,
        nulls_last=True,
    )
    strongest = ranked.unique(_RESULT, keep="first", maintain_order=True)
    rivals = ranked.join(strongest.select(*_RESULT, *claim), on=[*_RESULT, *claim], how="semi", nulls_equal=True)
    conflicts = rivals.group_by(_RESULT).agg(conflict=pl.struct("value", "comparator").n_unique() > 1).sort(_RESULT)
    return strongest.join(conflicts, on=_RESULT, how="left", maintain_order="left").drop(
        "strength", "claimed_at", "below"
    )

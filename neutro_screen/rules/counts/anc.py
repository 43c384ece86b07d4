"""One absolute neutrophil count per specimen, with the route it was obtained by (RULES.md section 1)."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.counts.comparators import is_lower_bound, is_upper_bound
from neutro_screen.rules.counts.routes import with_bounds, with_choice, with_notes, with_routes, without_contradicted
from neutro_screen.rules.counts.specimen_columns import (
    CLASS_COUNTS,
    analytes_of_the_count,
    specimens_side_by_side,
    with_cells,
)
from neutro_screen.rules.counts.specimens import SPECIMEN, TIME_ORDER, is_retracted, keep_counting_versions

#: The columns of ``LabResult`` that the count is made from.
READ: Final = (
    *SPECIMEN,
    "collected_at",
    "resulted_at",
    "analyte",
    "method",
    "value",
    "comparator",
    "unit",
    "status",
    "reference_low",
    "lab",
    "notes",
    "source_file",
    "source_row",
)
#: Columns of each count that later rules use; the others are working columns.
_RESULT: Final = (
    *SPECIMEN,
    "collected_at",
    "resulted_at",
    "lab",
    "reference_low",
    "anc_cells_per_ul",
    "anc_comparator",
    "anc_method",
    "notes",
    "wbc",
    "wbc_comparator",
    "neut_pct",
    "seg_pct",
    "seg_abs",
    "neut_abs",
    "neut_abs_manual",
    "segs_and_bands",
    "segs_and_bands_manual",
    "from_percent",
    "from_percent_manual",
    "chosen_manual",
)


@dataclass(frozen=True)
class Counted:
    """``anc``: one row per specimen with a count, in no order; ``not_counted``: the other specimens with any
    result that feeds the ANC, and why they have no count; ``contradicted``: results that the rest of their specimen refutes
    (patient_id, specimen_id, analyte, is_manual, reason), which were left out of the count; ``taken_back``: specimens
    with a cancelled or withdrawn result (and collected_at, reason)."""

    anc: pl.DataFrame
    not_counted: pl.DataFrame
    contradicted: pl.DataFrame
    taken_back: pl.DataFrame

    def missing(self) -> pl.DataFrame:
        """What leaves a count unknown unless a usable one follows: patient_id, specimen_id, reason, since (ANC-9b)."""
        specimens = pl.concat(frame.select(*SPECIMEN, "collected_at") for frame in (self.anc, self.not_counted))
        refuted = self.contradicted.join(specimens, on=SPECIMEN, how="inner")
        return pl.concat(
            frame.select(*SPECIMEN, "reason", since="collected_at")
            for frame in (self.not_counted, refuted, self.taken_back)
        )


def count_neutrophils(results: pl.LazyFrame, reference: Reference, policy: Policy) -> Counted:
    """Compute the ANC in cells/uL of every specimen of the accepted results (``READ`` of ``LabResult``), ANC-1 ... ANC-11."""
    feeding = results.select(READ).filter(pl.col("analyte").is_in(analytes_of_the_count(reference).implode()))
    # Where a row stands decides between repeats only: few rows, fetched when they are found.
    cells = with_cells(feeding.drop("source_file", "source_row"), reference).collect()
    wide = (
        specimens_side_by_side(cells, feeding, reference, policy)
        .pipe(with_routes, policy)
        .pipe(_with_history_check, policy)
    )
    contradicted = _contradicted(wide)
    chosen = (
        wide.pipe(without_contradicted)
        .pipe(with_choice, reference)
        .pipe(_with_class_counts, results, policy)
        .pipe(with_bounds, policy)
        .pipe(with_notes, policy)
        .pipe(_without_blank_records, results, policy)
    )
    has_count = pl.col("anc_cells_per_ul").is_not_null()
    return Counted(
        anc=chosen.select(_RESULT).filter(has_count),
        not_counted=chosen.filter(~has_count & pl.col("has_feeding"))
        .select(
            *SPECIMEN,
            "collected_at",
            reason=pl.when(pl.col("is_blank_record"))
            .then(pl.lit("specimen_all_zero"))
            .when(pl.col("is_all_zero"))
            .then(pl.lit("differential_all_zero"))
            .when(pl.col("wbc") < policy.anc.wbc_low_below_cells_per_ul)
            .then(pl.lit("wbc_low_no_differential"))
            .when(pl.col("wbc").is_not_null())
            .then(pl.lit("no_differential"))
            .otherwise(pl.lit("no_white_cell_count")),
        )
        .sort(SPECIMEN),
        contradicted=contradicted.sort(*SPECIMEN, "analyte", "is_manual"),
        taken_back=_taken_back(cells),
    )


def _with_class_counts(chosen: pl.DataFrame, results: pl.LazyFrame, policy: Policy) -> pl.DataFrame:
    """Add ``class_cells``: of specimens with white cells and no neutrophils the cells/uL that their other classes count.

    Only these few specimens are read for it. A class that is "less than" counts nothing; of a differential by the analyser
    and one by hand the larger sum.
    """
    open_ones = chosen.filter(pl.col("anc_cells_per_ul").is_null() & pl.col("wbc").is_not_null()).select(SPECIMEN)
    if not open_ones.height:
        return chosen.with_columns(class_cells=pl.lit(None, pl.Float64))
    read = results.select(READ).filter(pl.col("analyte").is_in(CLASS_COUNTS))
    counting = keep_counting_versions(read.join(open_ones.lazy(), on=SPECIMEN, how="semi").collect(), policy)
    sums = (
        counting.filter(~is_upper_bound("comparator"))
        .group_by(*SPECIMEN, "is_manual")
        .agg(cells=(pl.col("value") * 1000).sum().round_sig_figs(policy.anc.significant_digits))
        .group_by(SPECIMEN)
        .agg(class_cells=pl.col("cells").max())
    )
    return chosen.join(sums, on=SPECIMEN, how="left", maintain_order="left")


def _without_blank_records(chosen: pl.DataFrame, results: pl.LazyFrame, policy: Policy) -> pl.DataFrame:
    """Take the count from specimens whose every value is zero, one of them a line that is zero in nobody alive (ANC-9).

    Such a record is missing, not critical. Adds ``is_blank_record``. A lone zero, or zeros beside a haemoglobin, are real.
    """
    numbers = results.filter(~is_retracted())
    zero = (
        numbers.filter((pl.col("value") == 0) & pl.col("analyte").is_in(policy.anc.never_zero))
        .select(SPECIMEN)
        .unique()
        .collect()
    )
    if not zero.height:
        return chosen.with_columns(is_blank_record=pl.lit(False))
    beside = numbers.filter(pl.col("patient_id").is_in(zero["patient_id"].implode()) & (pl.col("value") != 0))
    blank = zero.join(beside.select(SPECIMEN).collect(), on=SPECIMEN, how="anti").with_columns(
        is_blank_record=pl.lit(True)
    )
    return (
        chosen.join(blank, on=SPECIMEN, how="left", maintain_order="left")
        .with_columns(pl.col("is_blank_record").fill_null(False))
        .with_columns(anc_cells_per_ul=pl.when(~pl.col("is_blank_record")).then("anc_cells_per_ul"))
    )


def _taken_back(cells: pl.DataFrame) -> pl.DataFrame:
    """Specimens with a cancelled or withdrawn result that feeds the ANC; the reason says which."""
    return (
        cells.filter(is_retracted() & pl.col("is_feeding"))
        .group_by(SPECIMEN)
        .agg(
            pl.col("collected_at").min(),
            reason=pl.when((pl.col("status") == "cancelled").any())
            .then(pl.lit("cancelled"))
            .otherwise(pl.lit("result_withdrawn")),
        )
        .sort(SPECIMEN)
    )


def _with_history_check(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Contradict a reported count that is so many times the lowest of the days before that the unit must have changed
    (ANC-9: the patient's history). Only the few patients with such a range are looked at.

    A low count is never refused for what was before it: a fall from 5,000 to 50 cells/uL is an agranulocytosis. What its
    own specimen refutes and what is known as "more than" says nothing of how low the patient was.
    """
    rule = policy.unit_check
    floor = pl.lit(rule.history_floor_cells_per_ul)
    counts = (
        wide.lazy()
        .filter(pl.col("neut_abs").is_not_null() & pl.col("contradiction").is_null())
        .select(*TIME_ORDER, "neut_abs", "neut_abs_comparator")
    )
    high = counts.filter(pl.col("neut_abs") >= floor * rule.history_ratio).select("patient_id").unique()
    low = pl.when(~is_lower_bound("neut_abs_comparator")).then("neut_abs")
    lowest = pl.max_horizontal(low.min(), floor)
    wide_ranging = (
        counts.join(high, on="patient_id", how="semi")
        .group_by("patient_id")
        .agg(is_wide=pl.col("neut_abs").max() >= lowest * rule.history_ratio)
        .filter("is_wide")
        .collect()
    )
    if not wide_ranging.height:
        return wide
    before = pl.col("low").rolling_min_by("collected_at", f"{rule.history_within_d}d", closed="left")
    beyond = (
        counts.collect()
        .join(wide_ranging.select("patient_id"), on="patient_id", how="semi")
        .sort(TIME_ORDER)
        .with_columns(low=low)
        .with_columns(before=before.over("patient_id"))
        .filter(
            pl.col("neut_abs_comparator").is_null(),
            pl.col("neut_abs") >= pl.max_horizontal("before", floor) * rule.history_ratio,
            pl.col("before").is_not_null(),
        )
        .select(*SPECIMEN, is_beyond_history=pl.lit(True))
    )
    return (
        wide.join(beyond, on=SPECIMEN, how="left", maintain_order="left")
        .with_columns(
            contradiction=pl.when("is_beyond_history").then(pl.lit("unit_suspect")).otherwise("contradiction")
        )
        .drop("is_beyond_history")
    )


def _contradicted(wide: pl.DataFrame) -> pl.DataFrame:
    analytes = {
        "contradiction": pl.lit("neut_abs"),
        "contradiction_percent": pl.when(pl.col("neut_pct").is_not_null())
        .then(pl.lit("neut_pct"))
        .when(pl.col("seg_pct").is_not_null() | pl.col("seg_pct_manual").is_not_null())
        .then(pl.lit("seg_pct"))
        .otherwise(pl.lit("gran_pct")),
    }
    return pl.concat(
        wide.filter(pl.col(f"{verdict}{end}").is_not_null()).select(
            *SPECIMEN, analyte=analyte, is_manual=pl.lit(end == "_manual"), reason=pl.col(f"{verdict}{end}")
        )
        for verdict, analyte in analytes.items()
        for end in ("", "_manual")
    )

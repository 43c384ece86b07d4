"""How exact one count is: the interval of a manual differential, and the noise of any result (ANC-8, TRD-2)."""

import numpy as np
import polars as pl

from neutro_screen.reference import Policy, Reference
from neutro_screen.reference.binomial import clopper_pearson
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.counts.specimen_notes import noted


def is_manual_count() -> pl.Expr:
    """The ANC rests on a differential that was counted by hand.

    Either the laboratory says so, or segmented cells are reported as a class of their own and no total neutrophils
    are: an analyser does not tell segmented cells from bands.
    """
    by_class = pl.col("anc_method").is_in(["wbc_percent", "segs_and_bands"]) & pl.col("neut_pct").is_null()
    has_segs = pl.col("seg_pct").is_not_null() | pl.col("seg_abs").is_not_null()
    return pl.col("anc_method").str.ends_with("manual") | (by_class & has_segs)


def with_interval(anc: pl.LazyFrame, policy: Policy, reference: Reference) -> pl.LazyFrame:
    """Add ``anc_low`` and ``anc_high`` in cells/uL, and the note ``near_limit`` where they lie in different bands.

    The exact binomial (Clopper-Pearson) interval of the neutrophils among the policy's number of cells, times the WBC.
    Null where the count was not made by hand, is censored, or no WBC goes with it. Needs the columns of
    ``count_neutrophils``.
    """
    limits = clopper_pearson(policy.anc.manual_cells_counted, policy.anc.confidence)
    cells = (_share() * policy.anc.manual_cells_counted).round(0).cast(pl.Int64)
    bounded = (
        anc.with_columns(cells_found=cells)
        .join(limits.lazy(), on="cells_found", how="left", maintain_order="left")
        .with_columns(
            anc_low=(pl.col("share_low") * pl.col("wbc")).round_sig_figs(policy.anc.significant_digits),
            anc_high=(pl.col("share_high") * pl.col("wbc")).round_sig_figs(policy.anc.significant_digits),
        )
        .drop("cells_found", "share_low", "share_high")
    )
    exact = pl.lit(None, pl.String)
    lowest, highest = (severity(pl.col(end), exact, reference.anc_bands) for end in ("anc_low", "anc_high"))
    return bounded.with_columns(notes=noted(near_limit=lowest != highest))


def log_variance(policy: Policy) -> pl.Expr:
    """Variance of the natural logarithm of one ANC around the patient's true level.

    Biological and analytical variation (TRD-2), and for a manual differential the chance of the cells that were met:
    (1 - p) / (n p), p smoothed by half a cell so that none found is not infinitely uncertain.
    """
    noise, cells = policy.noise, policy.anc.manual_cells_counted
    ordinary = float(np.log1p(noise.cv_within**2) + np.log1p(noise.cv_analytic**2))
    share = (_share() * cells + 0.5) / (cells + 1)
    return ordinary + ((1 - share) / (cells * share)).fill_null(0.0)


def _share() -> pl.Expr:
    """Neutrophils as a fraction of the white cells of a manual count."""
    is_exact = pl.col("anc_comparator").is_null() & pl.col("wbc_comparator").is_null() & (pl.col("wbc") > 0)
    return pl.when(is_manual_count() & is_exact).then((pl.col("anc_cells_per_ul") / pl.col("wbc")).clip(0, 1))

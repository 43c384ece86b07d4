"""What the blood count shows beside the neutrophils during an episode, one row per episode (SEV-5, MAL-1)."""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.lines import SPAN
from neutro_screen.rules.counts.specimens import is_retracted

_BLASTS: Final = ("blast_pct", "blast_abs", "myeloblast_pct", "myeloblast_abs")
_IMMATURE: Final = ("promyelo_pct", "myelo_pct", "meta_pct")
#: Cells of a differential whose counts make a pattern (MAL-2, INF-2).
_DIFFERENTIAL: Final = ("lymph_abs", "mono_abs", "eos_abs", "band_abs", "seg_abs", "band_pct", "seg_pct")
_EPISODE: Final = ("patient_id", "episode_id")


def count_patterns(
    episodes: pl.LazyFrame, specimens: pl.LazyFrame, labs: pl.LazyFrame, policy: Policy, rules: CauseRules
) -> pl.LazyFrame:
    """What the other lines of the blood count did during each episode; one row per episode, sorted.

    ``specimens`` has collected_at, severity and the columns of ``cytopenia.with_other_lines``; ``labs`` is ``LabResult``.

    Columns: patient_id, episode_id, has_blasts, blast_at, blast_analyte, blast_value, n_low_lines (of haemoglobin and
    platelets below the policy's limits beside a low ANC: 1 = bicytopenia, 2 = pancytopenia; 0 also where not measured),
    has_other_lines (haemoglobin and platelets were measured), lowest_hgb (g/dL), lowest_plt, highest_wbc (10*9/L),
    highest_mcv (fL), immature_pct, highest_lymphocytes, highest_monocytes, highest_eosinophils (10*9/L, each on a specimen
    near a low count), bands_pct (of the white cells, the most on one specimen),
    has_more_bands (than segmented cells on one specimen). Values are null where nothing was measured.
    """
    # Found once among all results: each of the parts below would look for them anew.
    counts = _counts_of_episodes(episodes, labs, policy, rules).collect().lazy()
    joined = episodes.select(_EPISODE)
    for part in (
        _other_lines(episodes, specimens),
        _blasts(counts, rules),
        _extremes(counts),
        _immature(counts),
        _left_shift(counts),
    ):
        joined = joined.join(part, on=_EPISODE, how="left", validate="1:1")
    limit = policy.cytopenia
    return joined.with_columns(
        pl.col("has_blasts").fill_null(False),
        n_low_lines=(pl.col("lowest_hgb") < limit.haemoglobin_below_g_per_dl).fill_null(False).cast(pl.Int64)
        + (pl.col("lowest_plt") < limit.platelets_below_1e9_per_l).fill_null(False).cast(pl.Int64),
        has_other_lines=pl.col("lowest_hgb").is_not_null() & pl.col("lowest_plt").is_not_null(),
    ).sort("episode_id")


def _other_lines(episodes: pl.LazyFrame, specimens: pl.LazyFrame) -> pl.LazyFrame:
    """The lowest haemoglobin and platelets beside the low counts of each episode (SEV-5)."""
    return (
        specimens.filter(pl.col("severity") > pl.lit("normal"))
        .join(episodes.select(SPAN), on="patient_id")
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .group_by(_EPISODE)
        .agg(lowest_hgb=pl.col("haemoglobin_g_per_dl").min(), lowest_plt=pl.col("platelets_1e9_per_l").min())
    )


def _counts_of_episodes(episodes: pl.LazyFrame, labs: pl.LazyFrame, policy: Policy, rules: CauseRules) -> pl.LazyFrame:
    """Results that a pattern reads, beside each episode they may belong to: ``at``, ``is_near`` and the episode's span."""
    near, wide = timedelta(days=policy.cytopenia.within_d), timedelta(days=rules.pattern.blast_window_d)
    is_read = (
        pl.col("analyte").is_in(("mcv", "wbc", *_BLASTS, *_IMMATURE, *_DIFFERENTIAL)) & pl.col("value").is_not_null()
    )
    counts = labs.filter(is_read & ~is_retracted()).select("patient_id", "analyte", "value", at="collected_at")
    first, last = pl.col("started_at"), pl.col("last_low_at")
    return (
        counts.join(episodes.select(SPAN), on="patient_id")
        .filter(pl.col("at").is_between(first - max(near, wide), last + max(near, wide)))
        .with_columns(
            is_near=pl.col("at").is_between(first - near, last + near),
            is_wide=pl.col("at").is_between(first - wide, last + wide),
        )
    )


def _blasts(counts: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """The first blasts of each episode; episodes without any have no row."""
    return (
        counts.filter(
            pl.col("analyte").is_in(_BLASTS) & pl.col("is_wide") & (pl.col("value") > rules.pattern.blasts_above)
        )
        .sort("at", "analyte", "value")
        .unique("episode_id", keep="first", maintain_order=True)
        .select(*_EPISODE, has_blasts=pl.lit(True), blast_at="at", blast_analyte="analyte", blast_value="value")
    )


def _extremes(counts: pl.LazyFrame) -> pl.LazyFrame:
    def of(name: str) -> pl.Expr:
        return pl.col("value").filter(pl.col("analyte") == name)

    return (
        counts.filter("is_near")
        .group_by(_EPISODE)
        .agg(
            highest_wbc=of("wbc").max(),
            highest_mcv=of("mcv").max(),
            highest_lymphocytes=of("lymph_abs").max(),
            highest_monocytes=of("mono_abs").max(),
            highest_eosinophils=of("eos_abs").max(),
        )
    )


def _immature(counts: pl.LazyFrame) -> pl.LazyFrame:
    """The highest share of promyelocytes, myelocytes and metamyelocytes together on one specimen."""
    return (
        counts.filter(pl.col("analyte").is_in(_IMMATURE) & pl.col("is_near"))
        .group_by(*_EPISODE, "at")
        .agg(immature_pct=pl.col("value").sum())
        .group_by(_EPISODE)
        .agg(pl.col("immature_pct").max())
    )


def _left_shift(counts: pl.LazyFrame) -> pl.LazyFrame:
    """The most bands on one specimen: of the white cells in percent, and as a multiple of the segmented ones."""

    def of(name: str) -> pl.Expr:
        return pl.col("value").filter(pl.col("analyte") == name).max()

    return (
        counts.filter("is_near")
        .group_by(*_EPISODE, "at")
        .agg(
            bands_pct=pl.coalesce(of("band_pct"), of("band_abs") / of("wbc") * 100),
            bands=pl.coalesce(of("band_abs"), of("band_pct")),
            segments=pl.coalesce(of("seg_abs"), of("seg_pct")),
        )
        .group_by(_EPISODE)
        .agg(
            pl.col("bands_pct").max(),
            has_more_bands=((pl.col("bands") >= pl.col("segments")) & (pl.col("bands") > 0)).any(),
        )
    )

"""Population figures beside an episode: literature, never this patient's risk."""

import polars as pl

from neutro_screen.reference.causality import CauseReference


def literature_lines(episodes: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Population figures for a nadir of this depth: literature, never this patient's risk."""
    nadir = pl.col("nadir_cells_per_ul")
    return (
        episodes.select("episode_id", "patient_id", "nadir_cells_per_ul")
        .join(reference.literature.lazy(), how="cross")
        .filter((nadir >= pl.col("from_cells_per_ul")) & (nadir < pl.col("below_cells_per_ul")))
        .select(
            "episode_id",
            "patient_id",
            "category",
            "rule_id",
            finding=pl.format("literature, not this patient's risk: {}", "statement"),
            strength=pl.lit("context"),
            source=pl.format("literature: {}", "source"),
        )
    )

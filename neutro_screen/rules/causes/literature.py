"""Population figures beside an episode: literature, never this patient's risk (LIT-1)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.leading import expected_episodes, leading_suspects

#: Classes whose effect on the count is that of chemotherapy.
_CHEMOTHERAPY: Final = ("antineoplastic_cytotoxic", "antineoplastic_targeted")


def literature_lines(episodes: pl.LazyFrame, suspects: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """The figures whose population fits an episode, by its nadir with its comparator; columns of ``Evidence``.

    unexpected: not for the expected effect of a cytotoxic drug; drug: only where a drug leads that is no chemotherapy;
    figures for the methods page alone (methods) fit no patient. A nadir of ``<100`` lies below 100.
    """
    is_drug = pl.col("category").is_in(["likely", "possible"]) & ~pl.col("drug_class").is_in(_CHEMOTHERAPY)
    drugs = leading_suspects(suspects).filter(is_drug.fill_null(False)).select("episode_id", is_drug=pl.lit(True))
    expected = expected_episodes(suspects).with_columns(is_expected=pl.lit(True))
    cases = (
        episodes.select("episode_id", "patient_id", "nadir_cells_per_ul", "nadir_comparator")
        .join(expected, on="episode_id", how="left", validate="m:1")
        .join(drugs, on="episode_id", how="left", validate="m:1")
        .with_columns(pl.col("is_expected", "is_drug").fill_null(False))
    )
    fits = ((pl.col("population") == "unexpected") & ~pl.col("is_expected")) | (
        (pl.col("population") == "drug") & pl.col("is_drug")
    )
    in_band = ~_lies_below("from_cells_per_ul") & _lies_below("below_cells_per_ul")
    return (
        cases.join(reference.literature.lazy(), how="cross")
        .filter(fits & in_band)
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


def _lies_below(limit: str) -> pl.Expr:
    nadir, is_less = pl.col("nadir_cells_per_ul"), (pl.col("nadir_comparator") == "<").fill_null(False)
    return (nadir < pl.col(limit)) | ((nadir == pl.col(limit)) & is_less)

"""The results of a specimen side by side: one row a specimen, one column an ingredient of the ANC (ANC-3)."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from neutro_screen.reference import Reference
from neutro_screen.rules.counts.specimens import SPECIMEN

#: Analytes that the count is computed from; every other class of the differential only enters its sum.
_INGREDIENTS: Final = (
    "wbc",
    "wbc_nrbc_corrected",
    "neut_abs",
    "seg_abs",
    "band_abs",
    "gran_abs",
    "gran_pct",
    "neut_pct",
    "seg_pct",
    "band_pct",
)
#: Polymorphonuclear cells that no name calls neutrophils are no more than granulocytes: they bound the count as those do.
_ALSO: Final = {"gran_abs": "pmn_abs", "gran_pct": "pmn_pct"}
#: Nucleated red cells per 100 white cells: an analyser that counts them as white cells reports too many of those.
NRBC: Final = "nrbc_per100wbc"
_NEUTROPHILS: Final = ("neut_abs", "seg_abs", "band_abs", "neut_pct", "seg_pct", "band_pct")


def with_specimen_columns(counting: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """One row per specimen: each ingredient in cells/uL or percent, manual ones as ``<analyte>_manual``.

    ``others`` and ``others_manual`` are the sums of the remaining classes of the differential in percent, with
    ``n_others``; ``<analyte>_comparator`` is there for every ingredient.
    """
    others = reference.analytes.filter(pl.col("in_differential") & ~pl.col("analyte").is_in(_NEUTROPHILS))["analyte"]
    feeding = reference.analytes.filter("feeds_anc")["analyte"]
    scale = pl.when(pl.col("unit") == "10*9/L").then(1000.0).otherwise(1.0)
    cells = counting.lazy().with_columns(
        value=(pl.col("value") * scale).round_sig_figs(15), is_other=pl.col("analyte").is_in(others.implode())
    )
    wide = (
        cells.group_by(SPECIMEN)
        .agg(
            *_values(_INGREDIENTS, manual=False),
            nrbc=pl.when(pl.col("analyte") == NRBC).then("value").max(),
            collected_at=pl.col("collected_at").min(),
            resulted_at=pl.col("resulted_at").max(),
            lab=pl.col("lab").min(),
            reference_low=(pl.when(pl.col("analyte") == "neut_abs").then("reference_low") * 1000.0)
            .max()
            .round_sig_figs(15),
            has_feeding=pl.col("analyte").is_in(feeding.implode()).any(),
            has_conflict=pl.col("conflict").any(),
            is_preliminary=(pl.col("status") == "preliminary").any(),
        )
        .collect()
        .sort(SPECIMEN)
    )
    # What few specimens have is looked for in their rows only, and joined to the others by the eager join, which
    # leaves the many columns where they are.
    by_hand = cells.filter("is_manual").group_by(SPECIMEN).agg(_values(_NEUTROPHILS, manual=True))
    censored = (
        cells.filter(pl.col("comparator").is_not_null())
        .group_by(SPECIMEN)
        .agg(
            _only(analyte, manual, "comparator").max().alias(f"{_column(analyte, manual)}_comparator")
            for analyte, manual in _pairs()
        )
    )
    notes = (
        cells.filter(pl.col("notes").is_not_null())
        .group_by(SPECIMEN)
        .agg(row_notes=pl.col("notes").str.split(", ").explode().unique().sort().str.join(", "))
    )
    for part in (by_hand, censored, notes):
        wide = wide.join(part.collect(), on=SPECIMEN, how="left", maintain_order="left")
    return wide.with_columns(pl.col("others_manual", "n_others_manual").fill_null(0))


def _pairs() -> Iterable[tuple[str, bool]]:
    return [(analyte, False) for analyte in _INGREDIENTS] + [(analyte, True) for analyte in _NEUTROPHILS]


def _values(analytes: Iterable[str], *, manual: bool) -> Iterable[pl.Expr]:
    """The value of each analyte, and sum and number of the other classes of the same differential."""
    is_other = pl.col("is_other") & (pl.col("is_manual") == manual)
    return [
        *(_only(analyte, manual, "value").max().alias(_column(analyte, manual)) for analyte in analytes),
        # Rounded: a sum of floats differs in its last digit with the order of the rows.
        pl.when(is_other).then("value").sum().round_sig_figs(15).alias(f"others{suffix(manual)}"),
        is_other.sum().alias(f"n_others{suffix(manual)}"),
    ]


def suffix(manual: bool) -> str:
    """What the columns of the manual differential end with."""
    return "_manual" if manual else ""


def _column(analyte: str, manual: bool) -> str:
    return f"{analyte}{suffix(manual)}"


def _only(analyte: str, manual: bool, column: str) -> pl.Expr:
    is_wanted = pl.col("analyte") == analyte
    if analyte in _ALSO:
        is_wanted |= pl.col("analyte") == _ALSO[analyte]
    if analyte in _NEUTROPHILS:
        is_wanted &= pl.col("is_manual") == manual
    return pl.when(is_wanted).then(column)

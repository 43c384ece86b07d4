"""The results of a specimen side by side: one row a specimen, one column an ingredient of the ANC (ANC-3)."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from neutro_schemas import RETRACTED_STATUSES, STATUSES
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.counts.comparators import is_upper_bound
from neutro_screen.rules.counts.specimens import SPECIMEN, counting_versions, is_manual, is_retracted, is_reused

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
#: Classes that share no cell with another: what they leave of the white cells bounds the neutrophils (ANC-10).
CLASSES: Final = ("lymph_pct", "mono_pct", "eos_pct", "baso_pct", "blast_pct")
CLASS_COUNTS: Final = tuple(name.replace("_pct", "_abs") for name in CLASSES)
#: Nucleated red cells per 100 white cells: an analyser that counts them as white cells reports too many of those.
NRBC: Final = "nrbc_per100wbc"
#: A difference of percents has no more.
PERCENT_DIGITS: Final = 12
_NEUTROPHILS: Final = ("neut_abs", "seg_abs", "band_abs", "neut_pct", "seg_pct", "band_pct")


def analytes_of_the_count(reference: Reference) -> pl.Series:
    """The analytes that the count is made from or checked against, in the order of their table."""
    feeds = pl.col("feeds_anc") | pl.col("in_differential") | (pl.col("analyte") == NRBC)
    return reference.analytes.filter(feeds)["analyte"]


def with_cells(results: pl.LazyFrame, reference: Reference) -> pl.LazyFrame:
    """``value`` in cells/uL or percent instead of the results' own units; adds ``is_manual``, ``is_other`` (another class of
    the differential), ``is_feeding`` and ``kind``. What is compared again and again is a number, not a text: analyte, status.
    """
    others = reference.analytes.filter(pl.col("in_differential") & ~pl.col("analyte").is_in(_NEUTROPHILS))["analyte"]
    feeding = reference.analytes.filter("feeds_anc")["analyte"]
    scale = pl.when(pl.col("unit") == "10*9/L").then(1000.0).otherwise(1.0)
    return (
        results.with_columns(
            pl.col("analyte").cast(pl.Enum(analytes_of_the_count(reference))),
            pl.col("status").cast(pl.Enum([*STATUSES, *RETRACTED_STATUSES])),
            value=(pl.col("value") * scale).round_sig_figs(15),
            is_manual=is_manual(),
        )
        .with_columns(
            is_other=pl.col("analyte").is_in(others.implode()),
            is_feeding=pl.col("analyte").is_in(feeding.implode()),
            kind=_kind(),
        )
        .drop("unit", "method")
    )


def specimens_side_by_side(
    cells: pl.DataFrame, placed: pl.LazyFrame, reference: Reference, policy: Policy
) -> pl.DataFrame:
    """One row per specimen, in no order: each ingredient in cells/uL or percent, manual ones as ``<analyte>_manual``.

    ``cells`` are the accepted results that feed the ANC (``with_cells``), ``placed`` the same as they came (``anc.READ``). ``others``
    and ``others_manual`` are the sums of the remaining classes of the differential in percent, with ``n_others``, ``classes``
    and ``classes_manual`` of those of ``CLASSES`` that are not "less than"; ``<analyte>_comparator`` is there for every
    ingredient. Where results are repeated, taken back or of a re-used number, the counting version of each stands
    there (ANC-1, ANC-2): only the results of these specimens are put side by side a second time.
    """
    first = _side_by_side(cells, has_conflict=pl.lit(False))
    is_regular = ~pl.col("is_repeated") & ~is_reused(pl.col("spread"), policy).fill_null(False)
    taken_back = cells.lazy().filter(is_retracted()).select(SPECIMEN).unique().collect()
    irregular = pl.concat([first.filter(~is_regular).select(SPECIMEN), taken_back]).unique()
    if not irregular.height:
        return first
    counting = counting_versions(placed.join(irregular.lazy(), on=SPECIMEN, how="semi").collect(), policy)
    settled = with_cells(counting.lazy(), reference).collect()
    return pl.concat([first.join(irregular, on=SPECIMEN, how="anti"), _side_by_side(settled, pl.col("conflict").any())])


def _side_by_side(cells: pl.DataFrame, has_conflict: pl.Expr) -> pl.DataFrame:
    """The columns of ``specimens_side_by_side``; ``is_repeated`` and ``spread`` (of the times) tell of the rows."""
    labs = pl.Enum(cells["lab"].drop_nulls().unique().sort())
    wide = (
        cells.lazy()
        .with_columns(pl.col("lab").cast(labs))
        .group_by(SPECIMEN)
        .agg(
            *_values(_INGREDIENTS, manual=False),
            nrbc=pl.when(pl.col("analyte") == NRBC).then("value").max(),
            collected_at=pl.col("collected_at").min(),
            resulted_at=pl.col("resulted_at").max(),
            lab=pl.col("lab").min(),
            reference_low=pl.when(pl.col("analyte") == "neut_abs").then("reference_low").max(),
            has_feeding=pl.col("is_feeding").any(),
            has_conflict=has_conflict,
            is_preliminary=(pl.col("status") == "preliminary").any(),
            kinds=pl.col("kind").bitwise_or(),
            n=pl.len(),
            last_collected_at=pl.col("collected_at").max(),
        )
        .with_columns(
            pl.col("lab").cast(pl.String),
            reference_low=(pl.col("reference_low") * 1000.0).round_sig_figs(15),
            is_repeated=pl.col("kinds").bitwise_count_ones() < pl.col("n"),
            spread=pl.col("last_collected_at") - pl.col("collected_at"),
        )
        .drop("kinds", "n", "last_collected_at")
        .collect()
    )
    # What few specimens have is looked for in their rows only, and joined to the others once, by the eager join, which
    # leaves the many columns where they are.
    is_unusual = pl.col("is_other") & ~pl.col("analyte").is_in(CLASSES)
    is_apart = is_unusual | (pl.col("is_other") & is_upper_bound("comparator"))
    few = cells.filter(
        pl.col("is_manual") | pl.col("comparator").is_not_null() | pl.col("notes").is_not_null() | is_unusual
    )
    noted = (
        few.filter(pl.col("notes").is_not_null())
        .group_by(SPECIMEN)
        .agg(row_notes=pl.col("notes").str.split(", ").explode().unique().sort().str.join(", "))
    )
    rare = (
        few.lazy()
        .group_by(SPECIMEN)
        .agg(
            *_values(_NEUTROPHILS, manual=True),
            *(
                pl.when(is_apart & (pl.col("is_manual") == manual)).then("value").sum().alias(f"apart{suffix(manual)}")
                for manual in (False, True)
            ),
            *(
                _only(analyte, manual, "comparator").max().alias(f"{_column(analyte, manual)}_comparator")
                for analyte, manual in _pairs()
            ),
        )
        .collect()
        .join(noted, on=SPECIMEN, how="left")
    )
    return (
        wide.join(rare, on=SPECIMEN, how="left")
        .with_columns(pl.col("others_manual", "n_others_manual").fill_null(0))
        .with_columns(
            (pl.col(f"others{end}") - pl.col(f"apart{end}").fill_null(0))
            .round_sig_figs(PERCENT_DIGITS)
            .alias(f"classes{end}")
            for end in (suffix(manual=False), suffix(manual=True))
        )
        .drop("apart", "apart_manual")
    )


def _kind() -> pl.Expr:
    """A bit for each analyte and kind of differential: a specimen with fewer bits than results has one twice.

    Of more than 32 analytes the last would have no bit, and their specimens be looked at like those with a repeat.
    """
    return pl.lit(2, pl.UInt64).pow(
        2 * pl.col("analyte").to_physical().cast(pl.UInt64) + pl.col("is_manual").fill_null(False)
    )


def _pairs() -> Iterable[tuple[str, bool]]:
    return [(analyte, False) for analyte in _INGREDIENTS] + [(analyte, True) for analyte in _NEUTROPHILS]


def _values(analytes: Iterable[str], *, manual: bool) -> Iterable[pl.Expr]:
    """The value of each analyte, and sum and number of the other classes of the same differential."""
    is_own = pl.col("is_manual") == manual
    is_other = pl.col("is_other") & is_own
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

"""Neutropenia with other low cell lines (SEV-5)."""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.rules.counts.comparators import is_lower_bound
from neutro_screen.rules.counts.specimens import SPECIMEN, counting_results_of

#: Analyte, its column and its direction of safety: of two equally near results the lower counts.
_LINES: Final = {"hgb": "haemoglobin_g_per_dl", "plt": "platelets_1e9_per_l"}


def with_other_lines(anc: pl.LazyFrame, results: pl.DataFrame, policy: Policy) -> pl.LazyFrame:
    """Add ``haemoglobin_g_per_dl``, ``platelets_1e9_per_l`` and ``cytopenia``.

    The value of the same specimen counts, else the nearest of the patient within a day. ``cytopenia``: null where the
    ANC is not low; ``pancytopenia``: both others are low; ``bicytopenia``: one is low and the other is not or unknown;
    ``isolated``: neither is; ``unknown``: none is low and one or both are not on file. ``results`` are the accepted
    results (``LabResult``; haemoglobin in g/dL, platelets in 10*9/L).
    """
    rule = policy.cytopenia
    counting = counting_results_of(results, _LINES, policy).lazy()
    values = counting.filter(pl.col("value").is_not_null())
    joined = anc
    for analyte, column in _LINES.items():
        of_line = values.filter(pl.col("analyte") == analyte)
        own = of_line.group_by(SPECIMEN).agg(pl.col("value").min().alias(column)).collect().lazy()
        lacking = anc.select(*SPECIMEN, "collected_at").join(own, on=SPECIMEN, how="anti")
        near = _nearest(lacking, of_line, timedelta(days=rule.within_d)).rename({"near": column})
        joined = joined.join(pl.concat([own, near]), on=SPECIMEN, how="left", maintain_order="left")
    is_low = [
        pl.col("haemoglobin_g_per_dl") < rule.haemoglobin_below_g_per_dl,
        pl.col("platelets_1e9_per_l") < rule.platelets_below_1e9_per_l,
    ]
    lines_low = pl.sum_horizontal(low.fill_null(False).cast(pl.Int8) for low in is_low)
    is_unknown = pl.any_horizontal(low.is_null() for low in is_low)
    is_neutropenic = (pl.col("anc_cells_per_ul") < rule.anc_below_cells_per_ul) & ~is_lower_bound()
    return joined.with_columns(
        cytopenia=pl.when(is_neutropenic).then(
            pl.when(lines_low == len(is_low))
            .then(pl.lit("pancytopenia"))
            .when(lines_low == 1)
            .then(pl.lit("bicytopenia"))
            .when(is_unknown)
            .then(pl.lit("unknown"))
            .otherwise(pl.lit("isolated"))
        )
    )


def _nearest(lacking: pl.LazyFrame, values: pl.LazyFrame, within: timedelta) -> pl.LazyFrame:
    """For specimens without the value: ``near``, that of the nearest time within reach; of equally near the lower."""
    timed = (
        values.join(lacking, on="patient_id", how="semi")
        .group_by("patient_id", "collected_at")
        .agg(pl.col("value").min())
        .sort("patient_id", "collected_at")
    )
    near = (
        lacking.sort("patient_id", "collected_at", "specimen_id")
        .join_asof(
            timed,
            on="collected_at",
            by="patient_id",
            strategy="backward",
            tolerance=within,
            check_sortedness=False,
            coalesce=False,
            suffix="_before",
        )
        .join_asof(
            timed.rename({"value": "value_after", "collected_at": "after_at"}),
            left_on="collected_at",
            right_on="after_at",
            by="patient_id",
            strategy="forward",
            tolerance=within,
            check_sortedness=False,
        )
    )
    to_before = pl.col("collected_at") - pl.col("collected_at_before")
    to_after = pl.col("after_at") - pl.col("collected_at")
    nearest = (
        pl.when(to_before.is_null() | (to_after < to_before))
        .then("value_after")
        .when(to_before == to_after)
        .then(pl.min_horizontal("value", "value_after"))
        .otherwise("value")
    )
    return near.select(*SPECIMEN, near=nearest)

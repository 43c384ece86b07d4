"""The routes to an ANC: what can be computed of a specimen, which value is chosen, and what is noted (ANC-3 ... ANC-10)."""

from datetime import timedelta

import polars as pl

from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.counts.comparators import is_lower_bound, is_upper_bound
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.counts.specimen_columns import PERCENT_DIGITS, suffix


def with_routes(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add every route of ANC-3 that can be computed, for the automated and the manual differential."""
    is_uncorrected = pl.col("wbc_nrbc_corrected").is_null() & (pl.col("nrbc") > policy.anc.nrbc_above_per_100_wbc)
    wide = wide.with_columns(
        wbc=pl.when(is_uncorrected)
        .then((pl.col("wbc") * 100 / (100 + pl.col("nrbc"))).round_sig_figs(policy.anc.significant_digits))
        .otherwise(pl.coalesce("wbc_nrbc_corrected", "wbc")),
        wbc_as_reported=pl.coalesce("wbc_nrbc_corrected", "wbc"),
        is_wbc_corrected=(is_uncorrected & pl.col("wbc").is_not_null()).fill_null(False),
        wbc_comparator=pl.when(pl.col("wbc_nrbc_corrected").is_not_null())
        .then("wbc_nrbc_corrected_comparator")
        .otherwise("wbc_comparator"),
        # Bands are often counted by hand beside an automated differential.
        band_pct=pl.coalesce("band_pct", "band_pct_manual"),
        band_pct_comparator=pl.coalesce("band_pct_comparator", "band_pct_manual_comparator"),
        others=pl.when(pl.col("n_others") > 0).then("others").otherwise("others_manual"),
        n_others=pl.when(pl.col("n_others") > 0).then("n_others").otherwise("n_others_manual"),
    )
    for manual in (False, True):
        end = suffix(manual)
        percent, incomplete = _neutrophil_percent(end, policy)
        wide = wide.with_columns(
            pl.when(_is_in_fractions(end, policy)).then(pl.lit("unit_suspect")).alias(f"contradiction_percent{end}"),
            percent.alias(f"percent{end}"),
            incomplete.alias(f"is_incomplete{end}"),
            (pl.col(f"seg_abs{end}") + pl.col(f"band_abs{end}").fill_null(0))
            .round_sig_figs(policy.anc.significant_digits)
            .alias(f"segs_and_bands{end}"),
            _sum_comparator(f"seg_abs{end}", f"band_abs{end}").alias(f"segs_and_bands{end}_comparator"),
        )
        wide = wide.with_columns(
            (pl.col("wbc") * pl.col(f"percent{end}") / 100)
            .round_sig_figs(policy.anc.significant_digits)
            .alias(f"from_percent{end}"),
            _product_comparator(end).alias(f"from_percent{end}_comparator"),
        ).with_columns(
            pl.when(pl.col(f"from_percent{end}_comparator").ne_missing("?")).then(f"from_percent{end}").name.keep()
        )
    computed = pl.coalesce("from_percent", "segs_and_bands", "from_percent_manual")
    ratio = pl.col("neut_abs") / computed
    exact = pl.col("neut_abs_comparator").is_null() & pl.col("wbc_comparator").is_null()
    return wide.with_columns(
        is_all_zero=_is_all_zero(),
        contradiction=pl.when(
            exact
            & (computed > 0)
            & ((ratio >= policy.unit_check.product_ratio) | (ratio <= 1 / policy.unit_check.product_ratio))
            & (pl.col("neut_abs") > 0)
        )
        .then(pl.lit("unit_suspect"))
        .when(pl.col("wbc").is_null() & (pl.col("neut_abs") >= policy.unit_check.alone_below_g_per_l * 1000))
        .then(pl.lit("unit_suspect"))
        .when(exact & (pl.col("neut_abs") > pl.col("wbc_as_reported") * policy.anc.highest_fraction_of_wbc))
        .then(pl.lit("anc_exceeds_wbc")),
        contradiction_manual=pl.when(
            pl.col("neut_abs_manual_comparator").is_null()
            & pl.col("wbc_comparator").is_null()
            & (pl.col("neut_abs_manual") > pl.col("wbc_as_reported") * policy.anc.highest_fraction_of_wbc)
        ).then(pl.lit("anc_exceeds_wbc")),
    )


def _neutrophil_percent(end: str, policy: Policy) -> tuple[pl.Expr, pl.Expr]:
    """Percent of neutrophils with the bands where they belong (ANC-4); and whether that stays undecided."""
    neut, seg, band, others = (pl.col(f"{name}{end}") for name in ("neut_pct", "seg_pct", "band_pct", "others"))
    low, high = policy.anc.differential_sum_low_pct, policy.anc.differential_sum_high_pct
    without, with_bands = neut + others, neut + band + others
    sums_without, sums_with = without.is_between(low, high), with_bands.is_between(low, high)
    closer_with = (with_bands - 100).abs() < (without - 100).abs()
    add_bands = sums_with & (~sums_without | closer_with)
    percent = (
        pl.when(add_bands.fill_null(False))
        .then(neut + band)
        .when(neut.is_not_null())
        .then(neut)
        .otherwise(seg + band.fill_null(0))
    )
    undecided = neut.is_not_null() & (band > 0) & ~sums_with & ~sums_without
    is_usable = ~_is_all_zero(end) & ~_is_in_fractions(end, policy)
    return pl.when(is_usable).then(percent), undecided.fill_null(False)


def _is_in_fractions(end: str, policy: Policy) -> pl.Expr:
    """The classes of the differential sum to 1, not to 100: fractions labelled per cent."""
    low, high = policy.anc.differential_sum_low_pct / 100, policy.anc.differential_sum_high_pct / 100
    neut, seg, band, others = (pl.col(f"{name}{end}") for name in ("neut_pct", "seg_pct", "band_pct", "others"))
    segmented = pl.coalesce(neut, seg) if end else pl.coalesce(neut, seg, "gran_pct")
    sums = (segmented + others, segmented + band + others)
    is_one = pl.any_horizontal(total.is_between(low, high).fill_null(False) for total in sums)
    return is_one & (pl.col(f"n_others{end}") > 0)


def _is_all_zero(end: str = "") -> pl.Expr:
    """Zero neutrophils beside a differential of nothing but zeros are a missing count, not an agranulocytosis."""
    own = [pl.col(f"{name}{end}") for name in ("neut_pct", "seg_pct", "band_pct")]
    own += [] if end else [pl.col("gran_pct")]
    nothing_counted = pl.sum_horizontal(*own, pl.col(f"others{end}")) == 0
    return nothing_counted & (pl.col(f"n_others{end}") > 0)


def _sum_comparator(first: str, second: str) -> pl.Expr:
    """Comparator of a sum: that of its censored part; where the parts contradict, the upper bound is what is known."""
    return pl.coalesce(f"{first}_comparator", f"{second}_comparator")


def _product_comparator(end: str) -> pl.Expr:
    """Comparator of WBC x percent; "?" where an upper bound meets a lower bound, which bounds nothing."""
    return _comparator_of_product("wbc", f"neut_pct{end}", f"seg_pct{end}", f"band_pct{end}")


def _comparator_of_product(*factors: str) -> pl.Expr:
    parts = [f"{factor}_comparator" for factor in factors]
    is_upper = pl.any_horizontal(is_upper_bound(part) for part in parts)
    is_lower = pl.any_horizontal(is_lower_bound(part) for part in parts)
    return (
        pl.when(is_upper & is_lower).then(pl.lit("?")).when(is_upper).then(pl.lit("<")).when(is_lower).then(pl.lit(">"))
    )


def without_contradicted(wide: pl.DataFrame) -> pl.DataFrame:
    return wide.with_columns(
        pl.when(pl.col(f"contradiction{end}").is_null() & ~(pl.col("is_all_zero") & (pl.col(f"neut_abs{end}") == 0)))
        .then(f"neut_abs{end}")
        .alias(f"neut_abs{end}")
        for end in ("", "_manual")
    )


def with_choice(wide: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Choose by ANC-3: reported, then segmented + bands, then WBC x percent; manual before automated."""
    routes = (("neut_abs", "reported"), ("segs_and_bands", "segs_and_bands"), ("from_percent", "wbc_percent"))
    for end in ("", "_manual"):
        value, comparator, method = (pl.lit(None, dtype) for dtype in (pl.Float64, pl.String, pl.String))
        for column, route in reversed(routes):
            has = pl.col(f"{column}{end}").is_not_null()
            value = pl.when(has).then(f"{column}{end}").otherwise(value)
            comparator = pl.when(has).then(f"{column}{end}_comparator").otherwise(comparator)
            method = pl.when(has).then(pl.lit(f"{route}{end}")).otherwise(method)
        wide = wide.with_columns(
            value.alias(f"chosen{end}"),
            comparator.alias(f"chosen{end}_comparator"),
            method.alias(f"chosen{end}_method"),
        )
    by_machine, by_hand = (
        severity(pl.col(f"chosen{end}"), pl.col(f"chosen{end}_comparator"), reference.anc_bands)
        for end in ("", "_manual")
    )
    discordant = pl.col("chosen").is_not_null() & pl.col("chosen_manual").is_not_null() & by_machine.ne_missing(by_hand)
    take_manual = pl.col("chosen_manual").is_not_null() & (
        ~discordant | (pl.col("chosen_manual") <= pl.col("chosen")).fill_null(True)
    )
    return wide.with_columns(is_discordant=discordant, take_manual=take_manual).with_columns(
        anc_cells_per_ul=pl.when("take_manual").then("chosen_manual").otherwise("chosen"),
        anc_comparator=pl.when("take_manual").then("chosen_manual_comparator").otherwise("chosen_comparator"),
        anc_method=pl.when("take_manual").then("chosen_manual_method").otherwise("chosen_method"),
    )


def with_bounds(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Where no neutrophils were reported, granulocytes or white cells bound them from above (ANC-10).

    Granulocytes as counted, or in per cent of the white cells; the white cells, or what the other classes of the
    differential, as counted or in per cent, leave of them, where that is low. What is known as "more than" bounds nothing from above.
    """
    has_count = pl.col("anc_cells_per_ul").is_not_null()
    return pl.concat([wide.filter(has_count), wide.filter(~has_count).pipe(_bounded, policy)])


def _bounded(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    rule = policy.anc
    is_share = ~pl.col("is_all_zero").fill_null(False) & ~_is_in_fractions("", policy).fill_null(False)
    share = (pl.col("wbc") * pl.col("gran_pct") / 100).round_sig_figs(rule.significant_digits)
    share_comparator = _comparator_of_product("wbc", "gran_pct")
    bounds_above = ~share_comparator.is_in(["?", ">"]).fill_null(False)
    left = pl.min_horizontal(
        (pl.col("wbc") * _percent_left(policy) / 100).round_sig_figs(rule.significant_digits), _cells_left(policy)
    )
    left_bounds = (left < rule.wbc_bound_below_cells_per_ul).fill_null(False) & ~is_lower_bound("wbc_comparator")
    gran_bounds = (
        pl.col("gran_abs").is_not_null()
        & ~is_lower_bound("gran_abs_comparator")
        & ~(left_bounds & (left < pl.col("gran_abs")))
    )
    method = (
        pl.when(gran_bounds)
        .then(pl.lit("granulocyte_upper_bound"))
        .when(share.is_not_null() & is_share & bounds_above)
        .then(pl.lit("granulocyte_percent_upper_bound"))
        .when(left_bounds & (left < pl.col("wbc")))
        .then(pl.lit("differential_upper_bound"))
        .when(left_bounds)
        .then(pl.lit("wbc_upper_bound"))
    )
    of_method = {
        "granulocyte_upper_bound": (pl.col("gran_abs"), pl.col("gran_abs_comparator")),
        "granulocyte_percent_upper_bound": (share, share_comparator),
        "differential_upper_bound": (left, pl.col("wbc_comparator")),
        "wbc_upper_bound": (left, pl.col("wbc_comparator")),
    }
    bound, source = (
        pl.coalesce(pl.when(pl.col("anc_method") == name).then(parts[place]) for name, parts in of_method.items())
        for place in (0, 1)
    )
    upper = pl.when(source == "<").then(pl.lit("<")).otherwise(pl.lit("<="))
    return wide.with_columns(anc_method=method).with_columns(
        anc_comparator=pl.when(bound.is_not_null()).then(upper), anc_cells_per_ul=bound
    )


def _percent_left(policy: Policy) -> pl.Expr:
    """The percent of the white cells that the other classes leave; all of it where those add up to more than there is.

    A differential that lists only the classes that were seen has no line of neutrophils where there were none.
    """
    counted = pl.max_horizontal("classes", "classes_manual")
    is_possible = counted <= policy.anc.differential_sum_high_pct
    taken = pl.when(is_possible).then(counted.clip(upper_bound=100)).otherwise(0)
    return (100 - taken).round_sig_figs(PERCENT_DIGITS)


def _cells_left(policy: Policy) -> pl.Expr:
    """The white cells (cells/uL) that the other classes leave as they were counted; null where none was, or those add up to
    more than there is."""
    taken, most = pl.col("class_cells"), policy.anc.differential_sum_high_pct / 100
    left = (pl.col("wbc") - taken).clip(lower_bound=0).round_sig_figs(PERCENT_DIGITS)
    return pl.when(taken <= most * pl.col("wbc")).then(left)


def with_notes(wide: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add ``notes``: what was unusual on the way to this count, counts that disagree among it (ANC-5)."""
    rule = policy.anc
    computed = pl.coalesce("segs_and_bands", "from_percent")
    by_hand = pl.coalesce("segs_and_bands_manual", "from_percent_manual")

    def differs(reported: pl.Expr, other: pl.Expr) -> pl.Expr:
        allowed = pl.max_horizontal(pl.lit(rule.discordant_cells_per_ul), reported * rule.discordant_fraction)
        return ((reported - other).abs() > allowed).fill_null(False)

    uses_percent = pl.col("anc_method").str.starts_with("wbc_percent")
    is_bound = pl.col("anc_method").str.ends_with("_upper_bound")
    uses_wbc = uses_percent | (is_bound & (pl.col("anc_method") != "granulocyte_upper_bound"))
    noted = {
        "conflicting_results": pl.col("has_conflict"),
        "wbc_corrected_for_nrbc": pl.col("is_wbc_corrected") & uses_wbc,
        "preliminary": pl.col("is_preliminary"),
        "differential_discordant": pl.col("is_discordant"),
        "anc_discordant": differs(pl.col("neut_abs"), computed) | differs(pl.col("neut_abs_manual"), by_hand),
        "differential_incomplete": uses_percent
        & pl.when(pl.col("take_manual")).then("is_incomplete_manual").otherwise("is_incomplete"),
        "wbc_low_no_differential": (pl.col("anc_method") == "wbc_upper_bound")
        | (is_bound & (pl.col("wbc") < rule.wbc_low_below_cells_per_ul)),
        "censored_above_limit": is_upper_bound() & (pl.col("anc_cells_per_ul") > rule.wbc_bound_below_cells_per_ul),
        "aged_specimen": pl.col("resulted_at") - pl.col("collected_at")
        > timedelta(hours=policy.specimen.aged_specimen_h),
    }
    return wide.with_columns(
        notes=pl.concat_str(
            *(pl.when(fired.fill_null(False)).then(pl.lit(note)) for note, fired in noted.items()),
            "row_notes",
            separator=", ",
            ignore_nulls=True,
        ).replace("", None)
    )

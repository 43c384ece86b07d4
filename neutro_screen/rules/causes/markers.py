"""Laboratory markers: which results are findings, and which belong to an episode (INF-1, BMP-1, PER-1, CTX-1)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseReference, MarkerWords
from neutro_screen.rules.causes.lines import DAY, SPAN, is_within_window
from neutro_screen.rules.counts.specimens import is_retracted
from neutro_screen.text import match_key

#: Analytes that are no markers and that evidence or work-up asks for.
_READ_BESIDE_MARKERS: Final = ("temp_c", "vitamin_b12")


def is_read(reference: CauseReference) -> pl.Expr:
    """The laboratory results that anything but the patterns reads: markers, temperatures, manual differentials."""
    read = [*reference.markers["marker"], *_READ_BESIDE_MARKERS]
    return pl.col("analyte").is_in(read) | (pl.col("method") == "manual")


def marker_results(labs: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """Every result of a marker and whether it is a finding: the columns of ``labs`` and of the marker, and ``is_found``.

    ``is_found`` is null where the text or the unit does not say. A retracted result is left out.
    """
    results = labs.filter(~is_retracted()).join(
        reference.markers.lazy().drop("source"), left_on="analyte", right_on="marker", how="inner", validate="m:1"
    )
    return (
        results.pipe(_with_limit, _limits(reference.markers))
        .with_columns(is_found=_is_found(reference.rules.marker_word))
        .drop("unit_key", "any_limit")
    )


def _with_limit(results: pl.LazyFrame, limits: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``limit``: the marker's limit in the unit of the result, else its limit in any unit (``*``)."""
    any_unit = limits.filter(pl.col("limit_unit") == "*").select("marker", any_limit="limit")
    return (
        results.with_columns(unit_key=match_key(pl.coalesce("unit_text", "unit")).fill_null(""))
        .join(limits, left_on=["analyte", "unit_key"], right_on=["marker", "limit_unit"], how="left", validate="m:1")
        .join(any_unit, left_on="analyte", right_on="marker", how="left", validate="m:1")
        .with_columns(limit=pl.coalesce("limit", "any_limit"))
    )


def _is_found(words: MarkerWords) -> pl.Expr:
    """A finding by the test of the marker's row; words are read before numbers.

    "Not detected" is negative whatever else stands there.
    """
    text = match_key(pl.col("value_text"))
    is_negative = text.str.contains(rf"(?:^|[^a-z])(?:{words.negative})(?:[^a-z]|$)")
    is_positive = text.str.contains(rf"(?:^|[^a-z0-9])(?:{words.positive})(?:[^a-z]|$)")
    named = pl.when(is_negative).then(False).otherwise(text.str.contains(pl.col("words_found")))
    by_words = pl.when(is_negative).then(False).when(is_positive | named.fill_null(False)).then(True)
    titre = text.str.extract(r"1 ?[:/] ?([0-9]+)").cast(pl.Float64)
    value, test = pl.coalesce(titre, pl.col("value")), pl.col("test")
    return (
        pl.when(test == "done")
        .then(True)
        .when(test == "text")
        .then(named)
        .when(test == "below")
        .then(_is_below(value))
        .when(test == "at_least")
        .then(pl.coalesce(_reaches(value, pl.col("limit")), by_words))
        .otherwise(pl.coalesce(by_words, _reaches(value, pl.coalesce("limit", "reference_high"))))
    )


def _reaches(value: pl.Expr, limit: pl.Expr) -> pl.Expr:
    """The value reaches the limit; null for a limit of detection: "<20 copies/mL" may be nothing at all."""
    at_most = pl.col("comparator").is_in(["<", "<="]).fill_null(False)
    return pl.when(~at_most).then(value >= limit)


def _is_below(value: pl.Expr) -> pl.Expr:
    """The value lies below the row's own lower limit, else the marker's; ``<150`` only where all of it does."""
    limit = pl.coalesce("reference_low", "limit")
    proven = pl.when(value <= limit).then(True)
    return pl.when(pl.col("comparator") == "<").then(proven).otherwise(value < limit)


def marker_findings(episodes: pl.LazyFrame, labs: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """INF-1, BMP-1, PER-1, CTX-1: found markers within their window, the one nearest the first low count for each."""
    sources = reference.markers.lazy().select("marker", source_of_row="source")
    shown = pl.concat_str(
        pl.coalesce("value_text", pl.col("value").cast(pl.String)),
        pl.coalesce("unit_text", "unit"),
        separator=" ",
        ignore_nulls=True,
    )
    return (
        marker_results(labs, reference)
        .filter(pl.col("is_found").fill_null(False) & pl.col("category").is_not_null())
        .with_columns(shown=shown, at="collected_at")
        .join(sources, left_on="analyte", right_on="marker", how="left", validate="m:1")
        .join(episodes.select(SPAN), on="patient_id")
        .filter(is_within_window())
        .sort((pl.col("at") - pl.col("started_at")).abs(), "at", "shown")
        .unique(["episode_id", "analyte"], keep="first", maintain_order=True)
        .select(
            "episode_id",
            "patient_id",
            category="category",
            rule_id="rule_id",
            finding=pl.format("{} {} on {}", "label", "shown", pl.col("at").dt.strftime(DAY)),
            strength="strength",
            source=pl.format("laboratory; {}", "source_of_row"),
        )
    )


def _limits(markers: pl.DataFrame) -> pl.LazyFrame:
    """``marker, limit_unit, limit``: one row per unit that a marker has a limit in."""
    pairs = (
        markers.lazy()
        .filter(pl.col("limits").is_not_null())
        .select("marker", pair=pl.col("limits").str.split(";"))
        .explode("pair")
        .with_columns(parts=pl.col("pair").str.split(":"))
    )
    return pairs.select(
        "marker", limit_unit=pl.col("parts").list.first(), limit=pl.col("parts").list.last().cast(pl.Float64)
    )

"""The data-quality page: what laboratories sent, worst first, and what drifted."""

from collections.abc import Callable
from typing import Any, Final

import polars as pl

from neutro_schemas import NOT_UNDERSTOOD
from neutro_screen.reference import load_reference
from neutro_screen.report import words
from neutro_screen.report.contents import RunContents

#: Lines of a table of the page; the store has the rest.
MOST_LINES: Final = 40
#: Lines of the table of what was recognised as what; those that are open come first.
MOST_TESTS: Final = 200
#: Sentences of the banner; the page has them all.
MOST_SENTENCES: Final = 3
_BY_LABORATORY: Final = ("unmapped", "wbc_without_differential", "anc_discordant", *words.TIME_ODDITIES)


def quality_tables(contents: RunContents) -> dict[str, Any]:
    """Tables of the page by name, as rows; see the template for their columns."""
    measures = contents.quality_measure.filter(pl.col("source_file").is_null())
    analytes = _by_analyte(measures)
    unmapped = contents.data_quality.filter(pl.col("reason") == "unmapped").sort(
        "rows", "analyte", "lab", "source_file", descending=[True, False, False, False], nulls_last=True
    )
    recognised, n_unrecognised = _recognised(contents.recognition)
    return {
        "recognition": recognised.head(MOST_TESTS).to_dicts(),
        "recognition_more": max(0, recognised.height - MOST_TESTS),
        "unrecognised": n_unrecognised,
        "chart_account": contents.chart_account.to_dicts(),
        "drift": _with_titles(contents.quality_drift).to_dicts(),
        "banner": _banner(contents),
        "laboratories": _by_laboratory(measures).to_dicts(),
        "analytes": analytes.head(MOST_LINES).to_dicts(),
        "analytes_more": max(0, analytes.height - MOST_LINES),
        "unmapped": unmapped.head(MOST_LINES).to_dicts(),
        "unmapped_more": max(0, unmapped.height - MOST_LINES),
    }


def _recognised(table: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The tests of the run, those first that were not understood and may feed the ANC, and how many these are."""
    is_open = pl.col("reason").is_in([*NOT_UNDERSTOOD, "unknown_specimen", "unit_unknown"]).fill_null(False)
    labels = load_reference().analytes.select("analyte", "label")
    listed = table.join(labels, on="analyte", how="left", maintain_order="left").with_columns(is_open=is_open)
    return listed.sort("is_open", descending=True, maintain_order=True), listed.filter("is_open").height


def _banner(contents: RunContents) -> dict[str, Any]:
    """The findings for the top of the page, without the laboratories whose silence or volume a warning names."""
    named = contents.warnings["lab"].drop_nulls().implode()
    is_named = pl.col("what").is_in(["silent", "volume"]) & pl.col("lab").is_in(named)
    findings = contents.quality_drift.filter(~is_named.fill_null(False))["words"].to_list()
    return {"words": findings[:MOST_SENTENCES], "more": max(0, len(findings) - MOST_SENTENCES), "n": len(findings)}


def _with_titles(drift: pl.DataFrame) -> pl.DataFrame:
    titles = load_reference().drift_rules.select("what", "title").unique("what", keep="first", maintain_order=True)
    labels = load_reference().analytes.select("analyte", "label")
    return drift.join(titles, on="what", how="left", maintain_order="left").join(
        labels, on="analyte", how="left", maintain_order="left"
    )


def _by_laboratory(measures: pl.DataFrame) -> pl.DataFrame:
    """One row per laboratory: rows, and n and of of every measure that is of the laboratory as a whole."""
    whole = measures.filter(pl.col("detail").is_null())
    of_analytes = whole.filter(pl.col("analyte").is_not_null()).group_by("lab")
    refused = of_analytes.agg(
        *(pl.col("n").filter(pl.col("measure") == name).sum().alias(name) for name in ("rejected", "no_result")),
        screened=pl.col("of").filter(pl.col("measure") == "rows").sum(),
    )
    of_lab = whole.filter(pl.col("analyte").is_null()).group_by("lab")

    def column(name: str, part: str) -> pl.Expr:
        return pl.col(part).filter(pl.col("measure") == name).sum().alias(name if part == "n" else f"{name}_of")

    counted = of_lab.agg(column("rows", "n"), *(column(name, part) for name in _BY_LABORATORY for part in ("n", "of")))
    share = (pl.col("rejected") + pl.col("no_result") + pl.col("unmapped")) / pl.col("rows")
    return (
        counted.join(refused, on="lab", how="left", nulls_equal=True)
        .with_columns(pl.col("rejected", "no_result", "screened").fill_null(0))
        .sort(share, "lab", descending=[True, False], nulls_last=True)
    )


def _by_analyte(measures: pl.DataFrame) -> pl.DataFrame:
    """One row per laboratory and analyte that feeds the count, and of the others where something was not used."""
    source = ["lab", "analyte"]
    reference = load_reference().analytes.select("analyte", "label", "canonical_unit", "feeds_anc")
    whole = measures.filter(pl.col("detail").is_null() & pl.col("analyte").is_not_null())

    def of(name: str, pick: Callable[[pl.Expr], pl.Expr] = lambda n: n.sum()) -> pl.Expr:
        return pick(pl.col("n").filter(pl.col("measure") == name)).alias(name)

    counted = whole.group_by(source).agg(
        of("rows"),
        of("accepted"),
        of("rejected"),
        of("no_result"),
        median=pl.col("value").filter(pl.col("measure") == "median").first(),
    )
    listed = pl.format("{} {}", pl.col("detail").fill_null("no unit"), pl.col("n"))
    units = (
        measures.filter(pl.col("measure") == "unit")
        .sort("n", "detail", descending=[True, False])
        .group_by(source, maintain_order=True)
        .agg(units=listed.str.join(" · "), n_units=pl.len())
    )
    contradictions = (
        measures.filter(pl.col("measure") == "code_contradicts_unit").group_by(source).agg(wrong_code=pl.col("n").sum())
    )
    not_used = (pl.col("rejected") + pl.col("no_result")) / pl.col("rows")
    return (
        counted.join(units, on=source, how="left", nulls_equal=True)
        .join(contradictions, on=source, how="left", nulls_equal=True)
        .join(reference, on="analyte", how="left")
        .filter(pl.col("feeds_anc").fill_null(False) | (not_used > 0) | pl.col("wrong_code").is_not_null())
        .sort(not_used, "lab", "analyte", descending=[True, False, False], nulls_last=True)
    )

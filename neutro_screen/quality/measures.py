"""Data quality of one run: counts that can be taken of parts of the rows and added up, and what they say together.

``row_counts`` and ``specimen_counts`` are taken of each part (a partition of the patients), ``merged`` adds them up,
``quality_measures`` and ``quality_counts`` are what the store keeps. Nothing here holds a patient's identifier.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from neutro_schemas.store import QualityCount, QualityMeasure
from neutro_screen.reference import load_reference
from neutro_screen.validate import in_shape

#: The shape of counts: additive, so that parts can be counted apart. ``value`` is a measured value, else null.
COUNTS: Final[dict[str, pl.DataType]] = {
    "source_file": pl.String(),
    "lab": pl.String(),
    "analyte": pl.String(),
    "measure": pl.String(),
    "detail": pl.String(),
    "value": pl.Float64(),
    "n": pl.Int64(),
}
_KEYS: Final = [name for name in COUNTS if name != "n"]
#: What can be odd about a collection time; names of counts and of measures.
TIME_ODDITIES: Final = (
    "date_only",
    "midnight",
    "collected_after_resulted",
    "collected_from_result_time",
    "time_skipped_by_clock",
    "time_shown_twice_by_clock",
)
#: A refused value that is still worth a median: its size shows which unit it is in.
_SIZED: Final = ("unit_suspect", "implausible_value")
_SOURCE: Final = ("source_file", "lab", "analyte")


def row_counts(
    accepted: pl.DataFrame,
    rejected: pl.DataFrame,
    no_results: pl.DataFrame,
    not_screened: pl.DataFrame,
    time_zone: str = "UTC",
) -> pl.DataFrame:
    """Count judged rows: shape ``COUNTS``, unsorted.

    ``accepted`` and ``rejected`` (with ``reason``) are the judged results split by their contract, ``no_results`` (with
    ``kind``) and ``not_screened`` (with ``not_screened``) the other frames of ``JudgedRows``. ``time_zone`` is the
    source's: midnight is that of its clock.
    """
    value = pl.when(pl.col("value").is_finite()).then("value")
    # By the number of the origin first: one number for four texts.
    of_origins = accepted.group_by("origin_no", value).agg(pl.first(*_SOURCE, "unit_text"), n=pl.len())
    values = of_origins.group_by(*_SOURCE, "unit_text", "value").agg(pl.col("n").sum())
    sized = rejected.filter(pl.col("reason").is_in(_SIZED))
    screened = [accepted, rejected, no_results]
    return pl.concat(
        [
            _counted(values.group_by(_SOURCE).agg(n=pl.col("n").sum()), "accepted"),
            _counted(values.filter(pl.col("value").is_not_null()), "value", value="value"),
            _counted(sized.group_by(*_SOURCE, value).agg(n=pl.len()), "value", value="value"),
            _counted(rejected.group_by(*_SOURCE, "reason").agg(n=pl.len()), "rejected", detail="reason"),
            _counted(no_results.group_by(*_SOURCE, "kind").agg(n=pl.len()), "no_result", detail="kind"),
            _counted(_not_screened(not_screened), "not_screened", detail="not_screened"),
            _counted(values.rename({"unit_text": "unit"}), "unit", detail="unit"),
            *(
                _counted(part.group_by(*_SOURCE, unit="unit_text").agg(n=pl.len()), "unit", detail="unit")
                for part in screened[1:]
            ),
            *(_code_contradictions(part) for part in screened),
            *(_time_oddities(part, time_zone) for part in screened),
        ]
    )


def specimen_counts(
    results: pl.DataFrame, anc: pl.DataFrame, refuted: pl.DataFrame, time_zone: str = "UTC"
) -> pl.DataFrame:
    """Count the specimens of new results (``LabResult``): shape ``COUNTS``, by laboratory only, unsorted.

    ``refuted`` are those of the results that the rest of their specimen refutes (with ``reason``): counted as accepted
    when they were judged one by one, they are moved to the refused ones.

    New results by analyte; white cell counts with and without a differential; reported counts that could be compared with the computed one and
    how many are discordant (ANC-5; ``anc`` is of all specimens of these patients); hours of collection by the clock of
    ``time_zone``.
    """
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"]
    is_white = pl.col("analyte").is_in(["wbc", "wbc_nrbc_corrected"])
    specimen = ["patient_id", "specimen_id"]
    specimens = (
        results.lazy()
        .filter(pl.col("analyte").is_in(feeding.implode()))
        .group_by(specimen)
        .agg(
            pl.col("lab").min(),
            hour=_local(pl.col("collected_at").min(), time_zone).dt.strftime("%H"),
            has_white=is_white.any(),
            has_other=(~is_white).any(),
        )
        .collect()
    )
    compared = anc.filter(
        pl.col("anc_reported").is_not_null()
        & pl.any_horizontal(pl.col("anc_from_percent", "anc_segs_and_bands").is_not_null())
    ).select(*specimen, is_discordant=pl.col("notes").str.contains("anc_discordant", literal=True).fill_null(False))
    specimens = specimens.join(compared, on=specimen, how="left")
    by_lab = specimens.group_by("lab")
    counted = by_lab.agg(
        wbc_specimen=pl.col("has_white").sum(),
        wbc_without_differential=(pl.col("has_white") & ~pl.col("has_other")).sum(),
        anc_compared=pl.col("is_discordant").count(),
        anc_discordant=pl.col("is_discordant").sum(),
    )
    moved = refuted.group_by(*_SOURCE, "reason").agg(n=pl.len())
    return pl.concat(
        [
            _counted(results.group_by("lab", "analyte").agg(n=pl.len()), "new"),
            _counted(moved.with_columns(n=-pl.col("n").cast(pl.Int64)), "accepted"),
            _counted(moved, "rejected", detail="reason"),
            _counted(specimens.group_by("lab", "hour").agg(n=pl.len()), "hour_of_day", detail="hour"),
            _counted(
                counted.unpivot(index="lab", variable_name="of", value_name="n").select("lab", "of", "n"), pl.col("of")
            ),
        ]
    )


def merged(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The counts of several parts added up, in order."""
    together = pl.concat([pl.DataFrame(schema=COUNTS), *parts])
    return together.group_by(_KEYS).agg(n=pl.col("n").sum()).filter(pl.col("n") > 0).sort(_KEYS)


def quality_counts(counts: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Rows by file, laboratory, analyte, disposition and reason (``QualityCount``)."""
    dispositions = ["accepted", "rejected", "no_result", "not_screened"]
    rows = counts.filter(pl.col("measure").is_in(dispositions)).with_columns(
        run_id=pl.lit(run_id), disposition="measure", reason="detail", rows="n"
    )
    return in_shape(rows, QualityCount).sort("source_file", "lab", "analyte", "disposition", "reason")


def quality_measures(counts: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """What the counts say, per file and laboratory, and per laboratory over all files (source_file null).

    Returns ``QualityMeasure``: ``n`` of ``of``, and ``value``: the median of measure ``median``, else the share n / of.
    """
    by_file = counts.filter(pl.col("source_file").is_not_null())
    by_lab = counts.with_columns(source_file=pl.lit(None, pl.String)).pipe(lambda all_files: merged([all_files]))
    measures = pl.concat([_measures(by_file), _measures(by_lab)])
    # Rows of tests that are not known have no analyte, as the whole laboratory has none: their numbers tell them apart.
    return in_shape(measures.with_columns(run_id=pl.lit(run_id)), QualityMeasure).sort(
        "source_file", "lab", "analyte", "measure", "detail", "n", "of", "value"
    )


def weighted_median(value: str, n: str) -> pl.Expr:
    """The median of values given with how often they occur; an aggregation, exact (mean of the middle two)."""
    ordered, upto = pl.col(value).sort_by(value), pl.col(n).sort_by(value).cum_sum()
    total = pl.col(n).sum()
    lower = ordered.filter(upto >= (total + 1) // 2).first()
    upper = ordered.filter(upto >= total // 2 + 1).first()
    return (lower + upper) / 2


def _measures(counts: pl.DataFrame) -> pl.DataFrame:
    source, with_analyte = ["source_file", "lab"], list(_SOURCE)
    is_row = pl.col("measure").is_in(["accepted", "rejected", "no_result"])
    rows = counts.filter(is_row).group_by(with_analyte).agg(of=pl.col("n").sum())
    lab_rows = counts.filter(is_row | (pl.col("measure") == "not_screened")).group_by(source).agg(of=pl.col("n").sum())
    screened = rows.group_by(source).agg(pl.col("of").sum())
    is_unmapped = (pl.col("measure") == "not_screened") & (pl.col("detail") == "unmapped")

    def total(measure: str, of: pl.DataFrame, on: list[str], counted: pl.Expr | None = None) -> pl.DataFrame:
        """One row for every source of ``of``, none included: a share of zero is a finding too."""
        found = counts.filter(pl.col("measure") == measure if counted is None else counted)
        n = found.group_by(on).agg(n=pl.col("n").sum())
        joined = of.join(n, on=on, how="left", nulls_equal=True).with_columns(pl.col("n").fill_null(0))
        return _measured(joined, measure)

    def detailed(measure: str, of: pl.DataFrame, on: list[str]) -> pl.DataFrame:
        found = counts.filter(pl.col("measure") == measure).group_by(*on, "detail").agg(n=pl.col("n").sum())
        return _measured(found.join(of, on=on, nulls_equal=True), measure)

    parts = [
        _measured(lab_rows.with_columns(n="of"), "rows"),
        _measured(rows.with_columns(n="of"), "rows"),
        *(total(name, rows, with_analyte) for name in ("accepted", "rejected", "no_result")),
        *(detailed(name, rows, with_analyte) for name in ("rejected", "no_result", "unit", "code_contradicts_unit")),
        total("unmapped", lab_rows, source, is_unmapped),
        _medians(counts),
        *(total(name, screened, source) for name in TIME_ODDITIES),
    ]
    by_specimen = counts.filter(pl.col("source_file").is_null())
    for name, base in (("wbc_without_differential", "wbc_specimen"), ("anc_discordant", "anc_compared")):
        of = by_specimen.filter(pl.col("measure") == base).group_by(source).agg(of=pl.col("n").sum())
        parts.append(total(name, of, source))
    whole, whole_screened = (frame.filter(pl.col("source_file").is_null()) for frame in (rows, screened))
    # Rows of a test that is not known have no analyte; only the laboratory as a whole has none in the measures.
    named = whole.filter(pl.col("analyte").is_not_null())
    parts += [total("new", named, with_analyte), total("new", whole_screened, source)]
    hours = by_specimen.filter(pl.col("measure") == "hour_of_day")
    parts.append(detailed("hour_of_day", hours.group_by(source).agg(of=pl.col("n").sum()), source))
    return pl.concat(parts)


def _medians(counts: pl.DataFrame) -> pl.DataFrame:
    histogram = counts.filter(pl.col("measure") == "value").group_by(*_SOURCE, "value").agg(pl.col("n").sum())
    medians = histogram.group_by(_SOURCE).agg(
        value=weighted_median("value", "n").round_sig_figs(9), n=pl.col("n").sum()
    )
    return _measured(medians.with_columns(of="n"), "median")


def _measured(rows: pl.DataFrame, measure: str) -> pl.DataFrame:
    absent = [name for name in ("analyte", "detail") if name not in rows.columns]
    share = (pl.col("n") / pl.col("of")).round_sig_figs(9) if "value" not in rows.columns else pl.col("value")
    return rows.with_columns(*(pl.lit(None, pl.String).alias(name) for name in absent), value=share).select(
        *_SOURCE, pl.lit(measure).alias("measure"), "detail", pl.col("n", "of").cast(pl.Int64), "value"
    )


def _counted(
    rows: pl.DataFrame, measure: str | pl.Expr, detail: str | None = None, value: str | None = None
) -> pl.DataFrame:
    """Grouped rows in the shape ``COUNTS``."""
    named = pl.lit(measure) if isinstance(measure, str) else measure
    return rows.select(
        *(pl.col(name) if name in rows.columns else pl.lit(None, pl.String).alias(name) for name in _SOURCE),
        named.cast(pl.String).alias("measure"),
        (pl.col(detail).cast(pl.String) if detail else pl.lit(None, pl.String)).alias("detail"),
        (pl.col(value) if value else pl.lit(None, pl.Float64)).alias("value"),
        pl.col("n").cast(pl.Int64),
    )


def _not_screened(rows: pl.DataFrame) -> pl.DataFrame:
    """By the source's own code and name, in place of the analyte that they do not name."""
    own = pl.concat_str(pl.coalesce("local_code", "loinc"), "analyte_name", separator=" ", ignore_nulls=True)
    keys = ["source_file", "lab", "local_code", "loinc", "analyte_name", "not_screened"]
    few = rows.group_by(keys).agg(n=pl.len())
    return few.with_columns(analyte=own.str.strip_chars()).select(*_SOURCE, "not_screened", "n")


def _code_contradictions(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose code says count and whose unit and name say per cent, or the other way round, by the code."""
    found = rows.filter(pl.col("code_note").is_not_null())
    grouped = found.group_by(*_SOURCE, code=pl.coalesce("loinc", "local_code")).agg(n=pl.len())
    return _counted(grouped, "code_contradicts_unit", detail="code")


def _time_oddities(rows: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    source = ["source_file", "lab"]
    odd = pl.col("time_oddity")
    # Only the few rows on the full hour are asked for the local clock.
    local = _local(pl.col("collected_at").filter(_on_the_hour()), time_zone)
    of_origins = rows.group_by("origin_no").agg(
        pl.first(*source),
        midnight=(local.dt.hour() == 0).sum(),
        collected_after_resulted=pl.col("order_note").count(),
        collected_from_result_time=pl.col("time_note").count(),
        date_only=(odd == "date_only").sum(),
        time_skipped_by_clock=(odd == "time_skipped_by_clock").sum(),
        time_shown_twice_by_clock=(odd == "time_shown_twice_by_clock").sum(),
    )
    counted = of_origins.group_by(source).agg(pl.exclude("origin_no").sum())
    oddities = counted.unpivot(index=source, variable_name="of", value_name="n")
    return _counted(oddities.select(*source, "of", "n"), pl.col("of"))


def _on_the_hour() -> pl.Expr:
    on_the_hour = (pl.col("collected_at").dt.minute() == 0) & (pl.col("collected_at").dt.second() == 0)
    return on_the_hour & pl.col("time_oddity").is_null()


def _local(utc: pl.Expr, time_zone: str) -> pl.Expr:
    return utc.dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone)

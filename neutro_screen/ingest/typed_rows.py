"""From native text columns to typed rows of each kind: times, identifiers, units in the cell, reference limits."""

from collections.abc import Callable
from functools import cache
from typing import Final

import polars as pl

from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.operators import with_bounds
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.times import parse_dates, parse_times
from neutro_screen.recognition.controls import with_control_specimens
from neutro_screen.recognition.flags import ARROWS, flags, flags_before
from neutro_screen.text import filled

_RANGE: Final = r"^\s*(\d[\d.,]*)\s*(?:-|\x{2013}|to|bis|a|\x{E0})\s*(\d[\d.,]*)"
_LOWER_LIMIT: Final = r"^\s*(?:>=?|\x{2265})\s*(\d[\d.,]*)"
_UPPER_LIMIT: Final = r"^\s*(?:<=?|\x{2264})\s*(\d[\d.,]*)"


@cache
def with_unit() -> str:
    """A number with its unit in one cell, flags before or behind them: 0.4 K/uL, 45 %, L 0.2 x10^9/L, 0.3 K/uL (L)."""
    return (
        rf"(?i)^(\s*{flags_before()}*[<>=\x{{2264}}\x{{2265}}]{{0,2}}\s*\d[\d.,]*[*!]*)"
        r"\s*((?:[x\x{D7}*]?\s*10\s*[\^*]\s*\d+\s*|[^\d\s/<>=*!]+\s*)/\s*\S.*?|%)"
        rf"\s*(?:[(\[](?:{flags()})[)\]]|[*!{ARROWS}]+)?\s*$"
    )


def lab_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native laboratory text rows as ``LabRow``: times parsed, stated units and sentinels filled in."""
    collected = parse_times(frame["collected_at"], profile.time_zone, profile.datetime_formats)
    resulted = parse_times(frame["resulted_at"], profile.time_zone, profile.datetime_formats)
    unreadable = (frame["collected_at"].is_not_null() & collected.utc.is_null()) | (
        frame["resulted_at"].is_not_null() & resulted.utc.is_null()
    )
    stated = pl.coalesce(
        *(
            pl.col(column).replace_strict(profile.units, default=None, return_dtype=pl.String)
            for column in ("local_code", "loinc", "analyte_name")
        ),
        *(pl.lit(None, pl.String),),
    )
    if profile.sentinels:
        frame = frame.with_columns(pl.when(~pl.col("value").is_in(profile.sentinels)).then("value").alias("value"))
    frame, value = with_bounds(frame), pl.col("value")
    # Few rows need each of these; a regular expression passes over nulls at once.
    has_unit = pl.col("unit").is_not_null() & (pl.col("unit") != "")
    without_unit = pl.when(~has_unit).then(value)
    read = frame.with_columns(
        collected_at=collected.utc,
        resulted_at=resulted.utc,
        time_oddity=collected.oddity,
        has_unreadable_time=unreadable,
        value_text=pl.coalesce(without_unit.str.extract(with_unit(), 1), value),
        unit=pl.coalesce(pl.when(has_unit).then("unit"), without_unit.str.extract(with_unit(), 2)),
        **_limits(),
    )
    typed = _with_points(read, profile.decimal_mark, "reference_low_text", "reference_high_text").select(
        _identifier("patient_id"),
        _identifier("specimen_id"),
        "collected_at",
        "resulted_at",
        "has_unreadable_time",
        "time_oddity",
        pl.when(pl.col("local_code").is_not_null())
        .then(pl.coalesce("code_system", pl.lit("local_name")))
        .alias("code_system"),
        "local_code",
        pl.col("loinc").str.strip_chars().str.strip_prefix("LOINC:"),
        "analyte_name",
        "specimen_type",
        "value_text",
        pl.coalesce("unit", stated).alias("unit_text") if profile.units else pl.col("unit").alias("unit_text"),
        (pl.col("unit").is_null() & stated.is_not_null() if profile.units else pl.lit(False)).alias("is_unit_stated"),
        "reference_low_text",
        "reference_high_text",
        pl.col("status").alias("status_text"),
        "comment",
        pl.col("result_id").str.strip_chars(),
        pl.col("fields_disagree").is_not_null(),
        pl.coalesce("lab", pl.lit(None if profile.name == "native" else profile.name, pl.String)).alias("lab"),
        filled(pl.col("ward", "requester")),
        "source_file",
        "source_row",
    )
    return with_control_specimens(typed)


def _identifier(column: str) -> pl.Expr:
    """An identifier as text, blank as null; 12345.0 is 12345 that went through a column of floating-point numbers."""
    text = filled(pl.col(column))
    is_float = text.str.ends_with(".0")
    return pl.coalesce(pl.when(is_float).then(text).str.extract(r"^(\d+)\.0$"), text)


def _limits() -> dict[str, pl.Expr]:
    """Lower and upper reference limit, from columns of their own or from a range in one text."""
    in_range = pl.col("reference_range")
    low = pl.coalesce("reference_low", in_range.str.extract(_RANGE, 1), in_range.str.extract(_LOWER_LIMIT))
    high = pl.coalesce("reference_high", in_range.str.extract(_RANGE, 2), in_range.str.extract(_UPPER_LIMIT))
    return {"reference_low_text": low, "reference_high_text": high}


def _with_points(rows: pl.DataFrame, decimal_mark: str | None, *limits: str) -> pl.DataFrame:
    """The rows with their reference limits ``_with_point``; an extract repeats a few limits, so each is read once."""
    texts = pl.concat([rows[name].alias("text") for name in limits]).unique().drop_nulls().to_frame()
    read = texts.select("text", read=_with_point(pl.col("text"), decimal_mark)).filter(pl.col("text") != pl.col("read"))
    return rows.with_columns(pl.col(limits).replace(read["text"], read["read"]))


def _with_point(limit: pl.Expr, decimal_mark: str | None) -> pl.Expr:
    """A reference limit with a decimal point and no thousands marks; 4.000 is four thousand where the comma is the mark."""
    with_comma = pl.when(limit.str.contains(",", literal=True)).then(limit.str.strip_chars())
    plain = (
        pl.when(with_comma.str.contains(r"^\d+,\d{1,2}$"))
        .then(with_comma.str.replace(",", ".", literal=True))
        .when(with_comma.str.contains(r"^\d{1,3}(?:,\d{3})+$"))
        .then(with_comma.str.replace_all(",", "", literal=True))
    )
    if decimal_mark == ",":
        is_grouped = limit.str.contains(r"^\s*[1-9]\d{0,2}(?:\.\d{3})+\s*$")
        grouped = pl.when(is_grouped).then(limit.str.replace_all(".", "", literal=True))
        return pl.coalesce(grouped, plain, limit)
    return pl.coalesce(plain, limit)


def medication_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native medication text rows with dates parsed; a partial date is the interval it spans."""
    start = parse_dates(frame["start_date"], profile.datetime_formats)
    end = parse_dates(frame["end_date"], profile.datetime_formats)
    return frame.with_columns(
        _identifier("patient_id"),
        pl.col("atc_code").str.strip_chars().str.to_uppercase(),
        start_date=start["earliest"],
        start_date_latest=start["latest"],
        end_date=end["latest"],
        start_as_sent=_unread("start_date", start["earliest"]),
        end_as_sent=_unread("end_date", end["latest"]),
    ).select(
        "patient_id",
        "drug_name",
        "atc_code",
        "rxcui",
        "start_date",
        "start_date_latest",
        "end_date",
        "start_as_sent",
        "end_as_sent",
        "route",
        "dose",
        "dose_unit",
        "status",
        "source_file",
        "source_row",
    )


def _unread(column: str, read: pl.Series) -> pl.Expr:
    """What was sent as a date and could not be read as one; null where it was, or where nothing was sent."""
    return pl.when(read.is_null()).then(filled(pl.col(column)))


def patient_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native patient text rows, typed."""
    words = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}
    return frame.select(
        _identifier("patient_id"),
        parse_dates(frame["birth_date"], profile.datetime_formats)["earliest"].alias("birth_date"),
        "sex",
        pl.col("duffy_null")
        .str.strip_chars()
        .str.to_lowercase()
        .replace_strict(words, default=None, return_dtype=pl.Boolean),
        "ethnicity",
        _identifier("replaced_by"),
        parse_dates(frame["death_date"], profile.datetime_formats)["earliest"].alias("death_date"),
        "source_file",
        "source_row",
    )


def diagnosis_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native diagnosis text rows, typed; codes without dots, systems by their usual names."""
    system = pl.col("system").str.to_lowercase().str.replace_all(r"[^a-z0-9]", "")
    return frame.select(
        _identifier("patient_id"),
        pl.col("code").str.strip_chars().str.replace_all(r"[.\s]", "").str.to_uppercase(),
        pl.when(system.str.contains("icd10"))
        .then(pl.lit("icd10"))
        .when(system.str.contains("icd9"))
        .then(pl.lit("icd9"))
        .when(system.str.contains("snomed"))
        .then(pl.lit("snomed"))
        .when(system.is_null() & pl.col("code").str.contains(r"^[A-Za-z]\d"))
        .then(pl.lit("icd10"))
        .otherwise(pl.lit("other"))
        .alias("system"),
        parse_dates(frame["date"], profile.datetime_formats)["earliest"].alias("date"),
        "source_file",
        "source_row",
    )


def event_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native event text rows, typed."""
    return frame.select(
        _identifier("patient_id"),
        pl.col("event").str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_"),
        parse_times(frame["date"], profile.time_zone, profile.datetime_formats).utc.alias("occurred_at"),
        "detail",
        "source_file",
        "source_row",
    )


TYPED: dict[Kind, Callable[[pl.DataFrame, Profile], pl.DataFrame]] = {
    "lab": lab_rows,
    "medication": medication_rows,
    "patient": patient_rows,
    "diagnosis": diagnosis_rows,
    "event": event_rows,
}

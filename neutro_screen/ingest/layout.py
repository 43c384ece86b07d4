"""From a source's own table to the canonical frames: names, constants, wide columns, times."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest.frames import NATIVE_COLUMNS, REQUIRED_COLUMNS, Kind
from neutro_screen.ingest.header import columns_told
from neutro_screen.ingest.profile import KindProfile, Profile
from neutro_screen.ingest.times import parse_dates, parse_times

#: What a LOINC code looks like; for codes that come without the name of their system.
LOINC_NUMBER: Final = r"^\d{1,5}-\d$"


def columns_by_table(format_name: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tables of a format (formats/source_tables.toml): required and optional columns."""
    tables = tomllib.loads((Path(__file__).parent / "formats" / "source_tables.toml").read_text("utf-8"))[format_name]
    return {name: (tuple(columns["required"]), tuple(columns["optional"])) for name, columns in tables.items()}


def kept_local_code(local: pl.Expr, profile: Profile) -> pl.Expr:
    """A source's own code beside a LOINC code (column ``loinc``): kept only if the profile maps it.

    A source's own code is preferred to LOINC; one that is not mapped carries less information than LOINC.
    """
    return pl.when(pl.col("loinc").is_null() | local.is_in(list(profile.analytes))).then(local)


def with_off_scale(value: pl.Expr, flag: pl.Expr) -> pl.Expr:
    """A bare number flagged ``<`` or ``>`` (off the instrument's scale) with the sign in front."""
    is_bare = value.str.contains(r"^\s*[\d.,]+\s*$")
    return pl.when(is_bare & flag.is_in(["<", ">"])).then(pl.concat_str(flag, value)).otherwise(value)


def named_columns(kind: Kind, profile: Profile) -> set[str]:
    """The column names that a file of this kind is expected to have some of."""
    layout: KindProfile = getattr(profile, kind)
    renamed = {layout.columns.get(column, column) for column in NATIVE_COLUMNS[kind]}
    return renamed | {wide.column for wide in layout.wide}


def own_layout(profile: Profile, kind: Kind) -> Profile:
    """The profile for a format that names its own columns: constants and times hold, column names do not."""
    return profile.model_copy(update={kind: KindProfile(constants=getattr(profile, kind).constants)})


def native(rows: pl.DataFrame, kind: Kind, profile: Profile, source_file: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Bring a source's table into the native layout: text columns, blank = null, all native columns present.

    Returns the frame and notes (``ignored_columns:3``).

    Raises:
        RefusedInputError: a required column is missing.
    """
    layout: KindProfile = getattr(profile, kind)
    own = {column: layout.columns.get(column, column) for column in NATIVE_COLUMNS[kind]}
    present = {column: name for column, name in own.items() if name in rows.columns}
    wide = [column for column in layout.wide if column.column in rows.columns]
    available = present.keys() | layout.constants.keys()
    if wide:
        available |= {"value", "unit", "analyte_name"}
    for group in REQUIRED_COLUMNS[kind]:
        if not available & set(group):
            expected = " or ".join(own[column] for column in group)
            own_names = [name for name in rows.columns if name != "source_row"]
            raise RefusedInputError(
                f"required {kind} column missing: {expected}",
                where=source_file,
                remedy=f"{columns_told(own_names, set(own.values()))} Map names with --profile.",
            )
    used = set(present.values()) | {column.column for column in wide} | {"source_row"}
    ignored = len(set(rows.columns) - used)
    texts = [pl.col(name).cast(pl.String).alias(column) for column, name in present.items()]
    constants = [pl.lit(value).alias(column) for column, value in layout.constants.items() if column not in present]
    if wide:
        rows = rows.unpivot(
            on=[column.column for column in wide],
            index=[*present.values(), "source_row"],
            variable_name="analyte_name",
            value_name="value",
        ).with_columns(unit=pl.col("analyte_name").replace_strict({column.column: column.unit for column in wide}))
        texts += [pl.col(column).cast(pl.String) for column in ("analyte_name", "value", "unit")]
    frame = rows.select(*texts, *constants, "source_row")
    frame = frame.with_columns(
        *(pl.lit(None, pl.String).alias(column) for column in NATIVE_COLUMNS[kind] if column not in frame.columns)
    )
    blanks = pl.col(NATIVE_COLUMNS[kind])
    frame = frame.with_columns(blanks.replace("", None)).with_columns(
        pl.col(column).str.strip_chars().replace(words) for column, words in layout.values.items() if column in frame
    )
    return (
        frame.select(*NATIVE_COLUMNS[kind], source_file=pl.lit(source_file), source_row="source_row"),
        (f"ignored_columns:{ignored}",) if ignored else (),
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
    value = pl.when(~pl.col("value").is_in(profile.sentinels)).then("value") if profile.sentinels else pl.col("value")
    return frame.with_columns(
        collected_at=collected.utc,
        resulted_at=resulted.utc,
        time_oddity=collected.oddity,
        has_unreadable_time=unreadable,
        value_text=value,
    ).select(
        pl.col("patient_id").str.strip_chars().replace("", None),
        pl.col("specimen_id").str.strip_chars().replace("", None),
        "collected_at",
        "resulted_at",
        "has_unreadable_time",
        "time_oddity",
        pl.when(pl.col("local_code").is_not_null())
        .then(pl.coalesce("code_system", pl.lit("local_name")))
        .alias("code_system"),
        "local_code",
        pl.col("loinc").str.strip_chars(),
        "analyte_name",
        "specimen_type",
        "value_text",
        pl.coalesce("unit", stated).alias("unit_text") if profile.units else pl.col("unit").alias("unit_text"),
        (pl.col("unit").is_null() & stated.is_not_null() if profile.units else pl.lit(False)).alias("is_unit_stated"),
        pl.col("reference_low").alias("reference_low_text"),
        pl.col("reference_high").alias("reference_high_text"),
        pl.col("status").alias("status_text"),
        "comment",
        pl.col("result_id").str.strip_chars(),
        pl.coalesce("lab", pl.lit(None if profile.name == "native" else profile.name, pl.String)).alias("lab"),
        "source_file",
        "source_row",
    )


def medication_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native medication text rows with dates parsed; a partial date is the interval it spans."""
    start = parse_dates(frame["start_date"], profile.datetime_formats)
    end = parse_dates(frame["end_date"], profile.datetime_formats)
    return frame.with_columns(
        pl.col("patient_id").str.strip_chars(),
        pl.col("atc_code").str.strip_chars().str.to_uppercase(),
        start_date=start["earliest"],
        start_date_latest=start["latest"],
        end_date=end["latest"],
    ).select(
        "patient_id",
        "drug_name",
        "atc_code",
        "rxcui",
        "start_date",
        "start_date_latest",
        "end_date",
        "route",
        "dose",
        "dose_unit",
        "status",
        "source_file",
        "source_row",
    )


def patient_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native patient text rows, typed."""
    words = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}
    return frame.select(
        pl.col("patient_id").str.strip_chars(),
        parse_dates(frame["birth_date"], profile.datetime_formats)["earliest"].alias("birth_date"),
        "sex",
        pl.col("duffy_null")
        .str.strip_chars()
        .str.to_lowercase()
        .replace_strict(words, default=None, return_dtype=pl.Boolean),
        "ethnicity",
        pl.col("replaced_by").str.strip_chars().replace("", None),
        "source_file",
        "source_row",
    )


def diagnosis_rows(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Native diagnosis text rows, typed; codes without dots, systems by their usual names."""
    system = pl.col("system").str.to_lowercase().str.replace_all(r"[^a-z0-9]", "")
    return frame.select(
        pl.col("patient_id").str.strip_chars(),
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
        pl.col("patient_id").str.strip_chars(),
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

"""What a laboratory row measures: from code, name, specimen and unit to an analyte (FORMATS.md B)."""

from typing import Final

import polars as pl

from neutro_screen.reference import Reference
from neutro_screen.text import match_key

#: What decides the analyte, its unit's factor and whether the row is screened at all. Few combinations, many rows.
KEYS: Final = ("code_system", "local_code", "loinc", "analyte_name", "specimen_type", "unit_text")


def resolve_analytes(combinations: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Resolve distinct combinations of ``KEYS``.

    Adds analyte, dimension, method, canonical unit, factor, offset, unit_decision and smallest_raw_value of the unit,
    ``code_note`` (a code that the unit contradicts) and ``not_screened`` (why a row is no business of the screen;
    null = screened). The source's own code goes before LOINC, LOINC before the name; where a code leaves open whether
    a count or a percentage is meant, the unit decides; where it contradicts the unit, the unit decides only if the
    name does not side with the code. The unit is looked up per dimension: g/L is grams for haemoglobin only.
    """
    other = "|".join(reference.other_specimens["word"])
    codes = reference.lab_codes.select("system", "code", "cell", "dimension", "method", "excluded")
    names = match_key(pl.col("analyte_name"))
    by_code = _look_up(combinations, codes, pl.col("code_system").str.to_lowercase(), match_key(pl.col("local_code")))
    by_loinc = _look_up(combinations, codes, pl.lit("loinc"), pl.col("loinc"))
    by_name = _look_up(combinations, codes, pl.lit("local_name"), names)
    found = [
        looked_up.select(pl.all().name.prefix(f"{way}_"))
        for way, looked_up in (("code", by_code), ("loinc", by_loinc), ("name", by_name))
    ]
    first = pl.concat([combinations, *found], how="horizontal")
    # A LOINC code that is not ours says "something else", a urine count under the name WBC for example; only a specimen
    # that is told to be blood lets the name stand against it.
    names_something_else = pl.col("loinc").str.contains(r"^\d{1,7}-\d$").fill_null(False) & (
        pl.col("specimen_type").is_null() | match_key(pl.col("specimen_type")).str.contains(other).fill_null(False)
    )
    resolved = first.with_columns(
        unit_key=match_key(pl.col("unit_text")),
        way=pl.when("code_found")
        .then(pl.lit("code"))
        .when("loinc_found")
        .then(pl.lit("loinc"))
        .when(pl.col("name_found") & ~names_something_else)
        .then(pl.lit("name")),
    ).with_columns(
        *(
            pl.when(pl.col("way") == "code")
            .then(f"code_{column}")
            .when(pl.col("way") == "loinc")
            .then(f"loinc_{column}")
            .otherwise(f"name_{column}")
            .alias(column)
            for column in ("cell", "dimension", "method", "excluded")
        )
    )
    resolved = _with_dimension(resolved, reference).join(
        reference.analytes.select(
            "cell",
            "dimension",
            "analyte",
            "canonical_unit",
            "highest_plausible",
            "usual_high",
            "typical_reference_high",
            "feeds_anc",
        ),
        on=["cell", "dimension"],
        how="left",
        maintain_order="left",
    )
    units = reference.unit_factors.select(
        "dimension", "factor", "offset", "smallest_raw_value", unit_key="match_key", unit_decision="decision"
    )
    return resolved.join(units, on=["dimension", "unit_key"], how="left", maintain_order="left").select(
        *KEYS,
        "analyte",
        "dimension",
        "method",
        "canonical_unit",
        "highest_plausible",
        "usual_high",
        "typical_reference_high",
        "feeds_anc",
        "factor",
        "offset",
        "unit_decision",
        "smallest_raw_value",
        "unit_key",
        "code_note",
        not_screened=pl.when(pl.col("way").is_null())
        .then(pl.lit("unmapped"))
        .when(pl.col("excluded").is_not_null())
        .then("excluded")
        .when(match_key(pl.col("specimen_type")).str.contains(other))
        .then(pl.lit("other_specimen")),
    )


def _look_up(rows: pl.DataFrame, codes: pl.DataFrame, system: pl.Expr, code: pl.Expr) -> pl.DataFrame:
    return (
        rows.select(system=system, code=code)
        .join(codes.with_columns(found=True), on=["system", "code"], how="left", maintain_order="left")
        .select("cell", "dimension", "method", "excluded", found=pl.col("found").fill_null(False))
    )


def _with_dimension(resolved: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Settle count or percentage by the unit where the code leaves it open or contradicts it."""
    accepted = reference.unit_factors.filter(pl.col("decision") != "refuse")
    is_count = pl.col("unit_key").is_in(accepted.filter(pl.col("dimension") == "count")["match_key"].implode())
    is_percent = pl.col("unit_key").is_in(accepted.filter(pl.col("dimension") == "percent")["match_key"].implode())
    by_unit = pl.when(is_percent).then(pl.lit("percent")).when(is_count).then(pl.lit("count"))
    has_both = pl.col("cell").is_in(
        reference.analytes.group_by("cell").len().filter(pl.col("len") > 1)["cell"].implode()
    )
    contradicted = (
        has_both
        & by_unit.is_not_null()
        & (pl.col("dimension") != by_unit)
        & ~(pl.col("name_found") & (pl.col("name_dimension") == pl.col("dimension")).fill_null(False))
        & pl.col("name_found")
    )
    dimension = pl.when(contradicted).then(by_unit).otherwise(pl.coalesce("dimension", by_unit, pl.lit("count")))
    # MIMIC-III's items of percentages carry LOINC codes of counts: the item is right, the code is told to be wrong.
    loinc_is_wrong = has_both & (pl.col("loinc_cell") == pl.col("cell")) & (pl.col("loinc_dimension") != dimension)
    return resolved.with_columns(
        dimension=dimension,
        code_note=pl.when(contradicted | (loinc_is_wrong & (by_unit == dimension))).then(
            pl.lit("code_contradicts_unit")
        ),
    )

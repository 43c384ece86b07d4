"""Laboratory rows from Observation resources: one per value, an Observation's own and each component's."""

from collections.abc import Iterator
from typing import Final

import polars as pl
from polars.expr.struct import ExprStructNameSpace

from neutro_screen.ingest.agreement import comparators_differ, disagreement, unit_facts, units_differ
from neutro_screen.ingest.formats.fhir.elements import (
    code,
    code_of_other_system,
    code_without_system,
    effective_time,
    first,
    id_of,
    patient_id,
    system,
    words,
)
from neutro_screen.ingest.formats.fhir.parsing import elements
from neutro_screen.ingest.formats.fhir.structures import COMPONENT_ELEMENTS
from neutro_screen.ingest.layout import LOINC_NUMBER, kept_local_code, with_off_scale
from neutro_screen.ingest.profile import Profile

#: What an Observation and all its components have in common.
_SHARED: Final = (
    "row",
    "position",
    "source_row",
    "id",
    "status",
    "issued",
    "patient_id",
    "specimen_id",
    "specimen_type",
    "collected_at",
    "lab",
    "notes",
    "n_parts",
)


def lab_rows(observations: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Rows in the native layout; a panel that only lists members or components is none."""
    own = _shared(observations)
    values = pl.concat([own.drop("component"), _components(own)])
    quantity, reference = pl.col("valueQuantity").struct, first(pl.col("referenceRange")).struct
    reason = pl.col("dataAbsentReason").struct
    absent = pl.coalesce(reason.field("text"), first(reason.field("coding")).struct.field("code"))
    off_scale = first(first(pl.col("interpretation")).struct.field("coding")).struct.field("code")
    rows = elements(
        values,
        _SHARED,
        {
            "loinc": pl.coalesce(
                code(pl.col("code"), "loinc"), code_without_system(pl.col("code")).str.extract(f"({LOINC_NUMBER})")
            ),
            "analyte_name": words(pl.col("code")),
            "other_code": code_of_other_system(pl.col("code"), "loinc"),
            "has_value": _value().is_not_null(),
            "value": with_off_scale(_value(), off_scale),
            "comparators_differ": comparators_differ(_value(), off_scale),
            "unit": pl.when(system(quantity.field("system")) == "ucum")
            .then(pl.coalesce(quantity.field("code"), quantity.field("unit")))
            .otherwise(
                pl.coalesce(
                    quantity.field("unit"),
                    quantity.field("code"),
                    *(bound.field(name) for bound in _bounds() for name in ("unit", "code")),
                )
            ),
            "unit_code": quantity.field("code"),
            "unit_name": quantity.field("unit"),
            "reference_low": reference.field("low").struct.field("value"),
            "reference_high": reference.field("high").struct.field("value"),
            "absent": absent,
        },
    ).filter((pl.col("position") > 0) | (pl.col("n_parts") == 0) | pl.col("has_value"))
    code_facts, name_facts = unit_facts(rows["unit_code"]), unit_facts(rows["unit_name"])
    return (
        rows.with_columns(code_facts=code_facts, name_facts=name_facts)
        .sort("row", "position")
        .select(
            "specimen_id",
            "specimen_type",
            "loinc",
            "status",
            "source_row",
            "patient_id",
            "collected_at",
            "unit",
            "lab",
            "analyte_name",
            "reference_low",
            "reference_high",
            resulted_at="issued",
            result_id="id",
            local_code=kept_local_code(pl.col("other_code"), profile),
            value=pl.coalesce("value", pl.when(pl.col("absent") == "not-performed").then(pl.lit("not performed"))),
            fields_disagree=disagreement(
                pl.col("comparators_differ"), units_differ(pl.col("code_facts"), pl.col("name_facts"))
            ),
            comment=pl.concat_str("notes", "absent", separator="\n", ignore_nulls=True).replace("", None),
        )
    )


def _shared(observations: pl.DataFrame) -> pl.DataFrame:
    """Observations with what holds for all their values (_SHARED), their components, and the elements of one value."""
    specimen = pl.col("specimen").struct
    contained_type = pl.when(pl.element().struct.field("resourceType") == "Specimen").then(
        words(pl.element().struct.field("type"))
    )
    return elements(
        observations.with_row_index("row").with_columns(position=pl.lit(0, pl.Int64)),
        ("row", "position", "source_row", "id", "status", "issued", *COMPONENT_ELEMENTS),
        {
            "patient_id": patient_id(),
            "specimen_id": pl.coalesce(
                id_of(specimen.field("reference")), specimen.field("identifier").struct.field("value")
            ),
            "specimen_type": first(pl.col("contained").list.eval(contained_type).list.drop_nulls()),
            "collected_at": pl.coalesce(effective_time(), _timed()),
            "lab": first(pl.col("performer")).struct.field("display"),
            "notes": pl.col("note").list.eval(pl.element().struct.field("text")).list.join("\n"),
            "n_parts": pl.col("component").list.len().fill_null(0) + pl.col("hasMember").list.len().fill_null(0),
            "component": pl.col("component"),
        },
    )


def _timed() -> pl.Expr:
    """The moment of a timing: its first event, else the start of the time that it lies in."""
    timing = pl.col("effectiveTiming").struct
    bounds = timing.field("repeat").struct.field("boundsPeriod").struct
    return pl.coalesce(first(timing.field("event")), bounds.field("start"), bounds.field("end"))


def _components(own: pl.DataFrame) -> pl.DataFrame:
    """One row per component, with the elements of its value in place of those of the Observation."""
    return (
        own.filter(pl.col("component").list.len() > 0)
        .drop(COMPONENT_ELEMENTS)
        .with_columns(position=pl.int_ranges(1, pl.col("component").list.len() + 1))
        .explode("component", "position", empty_as_null=True)
        .with_columns(pl.col("component").struct.unnest())
        .select(name for name in own.columns if name != "component")
    )


def _value() -> pl.Expr:
    quantity = pl.col("valueQuantity").struct
    number = quantity.field("value")
    comparator = quantity.field("comparator").fill_null("")
    return pl.coalesce(
        pl.when(number.is_not_null()).then(pl.concat_str(comparator, number)),
        "valueString",
        "valueInteger",
        words(pl.col("valueCodeableConcept")),
        *_values_that_are_no_count(),
    )


def _bounds() -> tuple[ExprStructNameSpace, ExprStructNameSpace]:
    bounds = pl.col("valueRange").struct
    return bounds.field("low").struct, bounds.field("high").struct


def _values_that_are_no_count() -> Iterator[pl.Expr]:
    """Values of other types as text: a range open on one side is a bound, all else is refused with its row, and never a gap."""
    low, high = (bound.field("value") for bound in _bounds())
    yield pl.concat_str(low, pl.lit("-"), high)
    yield pl.coalesce(pl.concat_str(pl.lit(">="), low), pl.concat_str(pl.lit("<="), high))
    ratio, period = pl.col("valueRatio").struct, pl.col("valuePeriod").struct
    yield pl.concat_str(
        *(ratio.field(name).struct.field("value") for name in ("numerator", "denominator")), separator=":"
    )
    yield pl.col("valueSampledData").struct.field("data")
    yield from map(pl.col, ("valueBoolean", "valueTime", "valueDateTime"))
    yield pl.coalesce(period.field("start"), period.field("end"))

"""Laboratory rows from Observation resources: one per value, an Observation's own and each component's."""

import polars as pl

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
from neutro_screen.ingest.formats.fhir.parsing import COMPONENT_ELEMENTS
from neutro_screen.ingest.layout import LOINC_NUMBER, kept_local_code, with_off_scale
from neutro_screen.ingest.profile import Profile


def lab_rows(observations: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Rows in the native layout; a panel that only lists members or components is none."""
    rows = _with_components(observations).with_columns(
        loinc=pl.coalesce(
            code(pl.col("code"), "loinc"), code_without_system(pl.col("code")).str.extract(f"({LOINC_NUMBER})")
        )
    )
    units = rows.select(pl.col("valueQuantity").struct.field("code", "unit"))
    rows = rows.with_columns(code_facts=unit_facts(units["code"]), unit_facts=unit_facts(units["unit"]))
    quantity, reference = pl.col("valueQuantity").struct, first(pl.col("referenceRange")).struct
    reason = pl.col("dataAbsentReason").struct
    absent = pl.coalesce(reason.field("text"), first(reason.field("coding")).struct.field("code"))
    notes = pl.col("note").list.eval(pl.element().struct.field("text")).list.join("\n")
    off_scale = first(first(pl.col("interpretation")).struct.field("coding")).struct.field("code")
    return rows.select(
        "specimen_id",
        "specimen_type",
        "loinc",
        "status",
        "source_row",
        patient_id=patient_id(),
        collected_at=effective_time(),
        resulted_at="issued",
        result_id="id",
        lab=first(pl.col("performer")).struct.field("display"),
        analyte_name=words(pl.col("code")),
        local_code=kept_local_code(code_of_other_system(pl.col("code"), "loinc"), profile),
        value=pl.coalesce(
            with_off_scale(_value(), off_scale), pl.when(absent == "not-performed").then(pl.lit("not performed"))
        ),
        unit=pl.when(system(quantity.field("system")) == "ucum")
        .then(pl.coalesce(quantity.field("code"), quantity.field("unit")))
        .otherwise(pl.coalesce(quantity.field("unit"), quantity.field("code"))),
        reference_low=reference.field("low").struct.field("value"),
        reference_high=reference.field("high").struct.field("value"),
        fields_disagree=disagreement(
            comparators_differ(_value(), off_scale), units_differ(pl.col("code_facts"), pl.col("unit_facts"))
        ),
        comment=pl.concat_str(notes, absent, separator="\n", ignore_nulls=True).replace("", None),
    )


def _with_components(observations: pl.DataFrame) -> pl.DataFrame:
    """One row per value: an Observation's own (unless it is only a panel), then those of its components."""
    specimen = pl.col("specimen").struct
    contained_type = pl.when(pl.element().struct.field("resourceType") == "Specimen").then(
        words(pl.element().struct.field("type"))
    )
    own = observations.with_row_index("row").with_columns(
        position=pl.lit(0, pl.Int64),
        specimen_id=pl.coalesce(id_of(specimen.field("reference")), specimen.field("identifier").struct.field("value")),
        specimen_type=first(pl.col("contained").list.eval(contained_type).list.drop_nulls()),
    )
    components = (
        own.filter(pl.col("component").list.len() > 0)
        .drop(COMPONENT_ELEMENTS)
        .with_columns(position=pl.int_ranges(1, pl.col("component").list.len() + 1))
        .explode("component", "position", empty_as_null=True)
        .unnest("component")
    )
    n_parts = pl.col("component").list.len().fill_null(0) + pl.col("hasMember").list.len().fill_null(0)
    own = own.filter((n_parts == 0) | _value().is_not_null()).drop("component")
    return pl.concat([own, components.select(own.columns)]).sort("row", "position")


def _value() -> pl.Expr:
    quantity = pl.col("valueQuantity").struct
    number = quantity.field("value")
    comparator = quantity.field("comparator").replace("ad", None).fill_null("")
    return pl.coalesce(
        pl.when(number.is_not_null()).then(pl.concat_str(comparator, number)),
        "valueString",
        "valueInteger",
        words(pl.col("valueCodeableConcept")),
    )

"""Medication rows from orders, administrations, statements and dispenses."""

from collections.abc import Callable
from typing import Final

import polars as pl

from neutro_screen.ingest.formats.fhir.elements import code, effective_time, first, id_of, patient_id, words
from neutro_screen.ingest.formats.fhir.references import medication_names


def medication_rows(resource_type: str, resources: pl.DataFrame) -> pl.DataFrame:
    """Rows in the native layout and ``key``, the id of the Medication that is referred to."""
    reference = pl.col("medicationReference").struct
    concept = pl.col("medicationCodeableConcept")
    dose = pl.col("dose_quantity").struct
    return (
        _with_contained_medication(resources)
        .with_columns(**_DATES_AND_DOSE[resource_type]())
        .select(
            "source_row",
            "start_date",
            "end_date",
            "status",
            patient_id=patient_id(),
            drug_name=pl.coalesce(words(concept), "name", reference.field("display")),
            atc_code=pl.coalesce(code(concept, "atc"), "atc"),
            rxcui=pl.coalesce(code(concept, "rxnorm"), "rxnorm"),
            route=words(pl.col("route")),
            dose=dose.field("value"),
            dose_unit=pl.coalesce(dose.field("unit"), dose.field("code")),
            key=id_of(reference.field("reference")),
        )
    )


def _with_contained_medication(resources: pl.DataFrame) -> pl.DataFrame:
    """With name, atc and rxnorm of a Medication inside the resource itself (reference ``#id``)."""
    inside = pl.col("medicationReference").struct.field("reference").str.strip_prefix("#")
    numbered = resources.with_row_index("row").with_columns(contained_key=pl.concat_str("row", inside, separator="#"))
    contained = (
        numbered.filter(pl.col("contained").list.len() > 0)
        .select("row", "contained")
        .explode("contained", empty_as_null=True)
        .unnest("contained")
        .filter(pl.col("resourceType") == "Medication")
        .with_columns(pl.concat_str("row", "id", separator="#").alias("id"))
    )
    own = medication_names(contained).drop_nulls("key").unique("key", keep="first", maintain_order=True)
    return numbered.join(own, left_on="contained_key", right_on="key", how="left", maintain_order="left")


def _dosage(column: str) -> dict[str, pl.Expr]:
    dosage = first(pl.col(column)).struct
    return {
        "route": dosage.field("route"),
        "dose_quantity": first(dosage.field("doseAndRate")).struct.field("doseQuantity"),
    }


def _bounds(column: str) -> tuple[pl.Expr, pl.Expr]:
    timing = first(pl.col(column)).struct.field("timing")
    period = timing.struct.field("repeat").struct.field("boundsPeriod").struct
    return period.field("start"), period.field("end")


def _ordered() -> dict[str, pl.Expr]:
    start, end = _bounds("dosageInstruction")
    status = (
        pl.when(pl.col("doNotPerform") == "true")
        .then(pl.lit("not-done"))
        .when(pl.col("intent").is_in(["proposal", "plan"]))
        .then(pl.lit("planned"))
        .otherwise("status")
    )
    return {"start_date": pl.coalesce(start, "authoredOn"), "end_date": end, "status": status} | _dosage(
        "dosageInstruction"
    )


def _administered() -> dict[str, pl.Expr]:
    dosage = pl.col("dosage").struct
    return {
        "start_date": effective_time(),
        "end_date": pl.coalesce(pl.col("effectivePeriod").struct.field("end"), "effectiveDateTime"),
        "route": dosage.field("route"),
        "dose_quantity": dosage.field("dose"),
    }


def _stated() -> dict[str, pl.Expr]:
    return {
        "start_date": pl.coalesce(effective_time(), "dateAsserted"),
        "end_date": pl.col("effectivePeriod").struct.field("end"),
    } | _dosage("dosage")


def _dispensed() -> dict[str, pl.Expr]:
    start, end = _bounds("dosageInstruction")
    return {"start_date": pl.coalesce(start, "whenHandedOver", "whenPrepared"), "end_date": end} | _dosage(
        "dosageInstruction"
    )


_DATES_AND_DOSE: Final[dict[str, Callable[[], dict[str, pl.Expr]]]] = {
    "MedicationRequest": _ordered,
    "MedicationAdministration": _administered,
    "MedicationStatement": _stated,
    "MedicationDispense": _dispensed,
}
MEDICATION_TYPES: Final = tuple(_DATES_AND_DOSE)

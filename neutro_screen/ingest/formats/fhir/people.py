"""Patients, merges of their records, and diagnoses."""

from typing import Final

import polars as pl

from neutro_screen.ingest.formats.fhir.elements import first, id_of, patient_id, system

_NOT_MEANT: Final = ("refuted", "entered-in-error")


def patient_rows(patients: pl.DataFrame) -> pl.DataFrame:
    """One row per Patient; ethnicity is the text of the extension of that name."""
    inner = pl.element().struct
    text = first(
        inner.field("extension")
        .list.eval(pl.when(inner.field("url") == "text").then(inner.field("valueString")))
        .list.drop_nulls()
    )
    is_ethnicity = inner.field("url").str.contains("ethnicity", literal=True)
    return patients.select(
        "source_row",
        patient_id="id",
        birth_date="birthDate",
        death_date="deceasedDateTime",
        sex="gender",
        ethnicity=first(pl.col("extension").list.eval(pl.when(is_ethnicity).then(text)).list.drop_nulls()),
    )


def merge_rows(patients: pl.DataFrame) -> pl.DataFrame:
    """Patient.link: the record that is replaced and the one that took its place, whichever of the two holds the link."""
    links = (
        patients.select("source_row", "id", "link")
        .explode("link", empty_as_null=True)
        .unnest("link")
        .drop_nulls("type")
    )
    other = id_of(pl.col("other").struct.field("reference"))
    is_old, is_new = pl.col("type") == "replaced-by", pl.col("type") == "replaces"
    rows = links.select(
        "source_row",
        patient_id=pl.when(is_old).then("id").when(is_new).then(other),
        replaced_by=pl.when(is_old).then(other).when(is_new).then("id"),
    )
    # A record that replaces itself carries no information; in the canonical layout it would undo a merge.
    return rows.drop_nulls().filter(pl.col("patient_id") != pl.col("replaced_by"))


def diagnosis_rows(conditions: pl.DataFrame) -> pl.DataFrame:
    """One row per coding of a Condition; refuted and erroneous ones are left out."""
    verified = first(pl.col("verificationStatus").struct.field("coding")).struct.field("code")
    coding = pl.col("coding").struct
    return (
        conditions.filter(~verified.is_in(_NOT_MEANT).fill_null(False))
        .select(
            "source_row",
            patient_id=patient_id(),
            date=pl.coalesce("onsetDateTime", pl.col("onsetPeriod").struct.field("start"), "recordedDate"),
            coding=pl.col("code").struct.field("coding"),
        )
        .explode("coding", empty_as_null=True)
        .with_columns(code=coding.field("code"), system=system(coding.field("system")))
        .drop("coding")
        .drop_nulls("code")
    )

"""Expressions for FHIR's own data types: codings, references, periods."""

from pathlib import Path
from typing import Final

import polars as pl

_CODING_SYSTEMS: Final = pl.read_csv(Path(__file__).parent / "coding_systems.csv", infer_schema=False)
#: Address and short name, as expressions: made once, not for every coding that is read.
_SYSTEMS: Final = pl.lit(_CODING_SYSTEMS["uri"]), pl.lit(_CODING_SYSTEMS["system"])


def first(listed: pl.Expr) -> pl.Expr:
    """The first element of a list; null where there is none."""
    return listed.list.get(0, null_on_oob=True)


def system(uri: pl.Expr) -> pl.Expr:
    """The short name of a code system (coding_systems.csv), else its address in lower case."""
    return uri.str.strip_chars().str.to_lowercase().replace(*_SYSTEMS)


def code(concept: pl.Expr, of_system: str) -> pl.Expr:
    """The first code of a CodeableConcept in this system."""
    return _first_coded(concept, system(pl.element().struct.field("system")) == of_system)


def code_of_other_system(concept: pl.Expr, than: str) -> pl.Expr:
    """The first code of a CodeableConcept in any other system, or in none."""
    return _first_coded(concept, (system(pl.element().struct.field("system")) != than).fill_null(True))


def code_without_system(concept: pl.Expr) -> pl.Expr:
    """The first code of a CodeableConcept whose system is not given."""
    return _first_coded(concept, pl.element().struct.field("system").is_null())


def _first_coded(concept: pl.Expr, is_meant: pl.Expr) -> pl.Expr:
    picked = pl.when(is_meant).then(pl.element().struct.field("code"))
    return first(concept.struct.field("coding").list.eval(picked).list.drop_nulls())


def words(concept: pl.Expr) -> pl.Expr:
    """The words of a CodeableConcept: its text, else the first display, else the first code."""
    codings = concept.struct.field("coding")
    named = (
        first(codings.list.eval(pl.element().struct.field(name)).list.drop_nulls()) for name in ("display", "code")
    )
    return pl.coalesce(concept.struct.field("text"), *named)


def id_of(reference: pl.Expr) -> pl.Expr:
    """The id that a reference ends in: Specimen/1, urn:uuid:1, https://host/fhir/Specimen/1/_history/2 -> 1.

    Null for a reference into the resource itself (#1), which is no id of another resource.
    """
    plain = reference.str.replace(r"/_history/.*$", "").str.replace(r"^urn:(?:uuid|oid):", "")
    return pl.when(~reference.str.starts_with("#")).then(plain.str.extract(r"([^/#]+)$"))


def patient_id() -> pl.Expr:
    """The patient that the subject is; null where the subject is something else."""
    subject = pl.col("subject").struct
    reference = subject.field("reference")
    is_other = reference.str.contains(r"(?:^|/)(?:Group|Device|Location|Specimen|Medication|Substance)/[^/]+")
    return pl.coalesce(pl.when(~is_other).then(id_of(reference)), subject.field("identifier").struct.field("value"))


def effective_time() -> pl.Expr:
    """The moment of an observation or administration; of a period its start, else its end."""
    period = pl.col("effectivePeriod").struct
    return pl.coalesce("effectiveDateTime", "effectiveInstant", period.field("start"), period.field("end"))

"""The Duffy phenotype as the laboratory itself found it, when it typed the patient's blood (SEV-3)."""

from typing import Final

import polars as pl

from neutro_schemas import Patient
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.markers import marker_results
from neutro_screen.validate import dtypes

#: The markers (markers.csv) of a phenotype or genotype, and of its two antigens where they are typed one by one.
DUFFY_GROUP: Final = "duffy_group"
_ANTIGENS: Final = ("duffy_a_antigen", "duffy_b_antigen")
DUFFY_MARKERS: Final = (DUFFY_GROUP, *_ANTIGENS)


def with_laboratory_duffy(patients: pl.DataFrame, labs: pl.DataFrame, reference: CauseReference) -> pl.DataFrame:
    """The people (``Patient``) with ``duffy_null`` also from the laboratory's own blood-group results (SEV-3).

    A phenotype Fy(a-b-), its genotype, or both antigens absent are a record of Duffy-null; where any result says
    otherwise none is taken. A patient that no patient file names gets a row.
    """
    found = (
        marker_results(labs.lazy().filter(pl.col("analyte").is_in(DUFFY_MARKERS)), reference)
        .group_by("patient_id")
        .agg(is_null=_is_null())
        .filter("is_null")
        .select("patient_id", by_laboratory=pl.lit(True))
        .collect()
    )
    if not found.height:
        return patients
    known = patients.join(found, on="patient_id", how="left", maintain_order="left").with_columns(
        duffy_null=pl.coalesce("by_laboratory", "duffy_null")
    )
    others = found.join(patients, on="patient_id", how="anti").select(
        "patient_id", duffy_null=pl.lit(True), source_file=pl.lit("laboratory"), source_row=pl.lit(0, pl.Int64)
    )
    return pl.concat([known.drop("by_laboratory"), others.sort("patient_id")], how="diagonal").select(
        list(dtypes(Patient))
    )


def _is_null() -> pl.Expr:
    """Whether the results of a patient say Duffy-null, all of them; ``is_found`` of an antigen is its presence."""
    is_group = pl.col("analyte") == DUFFY_GROUP
    says_null = pl.col("is_found").eq_missing(is_group)
    antigens_typed = pl.col("analyte").filter(~is_group).n_unique() == len(_ANTIGENS)
    return says_null.all() & (is_group.any() | antigens_typed)

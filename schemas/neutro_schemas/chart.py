"""What is known of the patient beside the counts: medication, person, diagnoses, events."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from neutro_schemas.vocabulary import EVENTS

Microseconds = Annotated[pl.Datetime, "us", None]


class Medication(pa.DataFrameModel):
    """One line of a medication list: ordered, dispensed, taken or administered."""

    patient_id: str = pa.Field(nullable=False, description="Patient identifier, text.")
    drug_name: str = pa.Field(nullable=True, description="The drug as written by the source.")
    atc_code: str = pa.Field(nullable=True, description="ATC code as sent, upper case.")
    rxcui: str = pa.Field(nullable=True, description="RxNorm concept as sent.")
    start_date: pl.Date = pa.Field(
        nullable=True,
        description="First day; the earliest a partial date allows; null = taken, since when is not known.",
    )
    start_date_latest: pl.Date = pa.Field(nullable=True, description="Latest day a partial start date allows.")
    end_date: pl.Date = pa.Field(nullable=True, description="Last day; the latest a partial date allows; null = open.")
    start_as_sent: str = pa.Field(nullable=True, description="The start as sent, where it is no date that can be read.")
    end_as_sent: str = pa.Field(nullable=True, description="The end as sent, where it is no date that can be read.")
    route: str = pa.Field(nullable=True, description="Route as sent.")
    dose: str = pa.Field(nullable=True, description="Dose as sent.")
    dose_unit: str = pa.Field(nullable=True, description="Unit of the dose as sent.")
    status: str = pa.Field(nullable=True, description="Status as sent.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True


class Patient(pa.DataFrameModel):
    """One person."""

    patient_id: str = pa.Field(nullable=False, description="Patient identifier, text.")
    birth_date: pl.Date = pa.Field(nullable=True, description="Date of birth; the earliest a partial date allows.")
    sex: str = pa.Field(nullable=True, description="Sex as sent.")
    duffy_null: bool = pa.Field(nullable=True, description="Recorded Duffy-null phenotype or genotype; never inferred.")
    ethnicity: str = pa.Field(nullable=True, description="As sent; never moves a threshold.")
    replaced_by: str = pa.Field(
        nullable=True,
        description="Merged: the record that took this one's place; its own id = it stands by itself, an earlier merge "
        "is undone; null = nothing is said.",
    )
    death_date: pl.Date = pa.Field(nullable=True, description="Date of death; the earliest a partial date allows.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True


class Diagnosis(pa.DataFrameModel):
    """One coded diagnosis."""

    patient_id: str = pa.Field(nullable=False, description="Patient identifier, text.")
    code: str = pa.Field(nullable=False, description="Code without dots, upper case.")
    system: str = pa.Field(nullable=False, isin=("icd10", "icd9", "snomed", "other"), description="Coding system.")
    date: pl.Date = pa.Field(nullable=True, description="Date of the diagnosis, null where not known.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True


class Event(pa.DataFrameModel):
    """One event of the chart that the rules can use."""

    patient_id: str = pa.Field(nullable=False, description="Patient identifier, text.")
    event: str = pa.Field(nullable=False, isin=EVENTS, description="Kind of event.")
    occurred_at: Microseconds = pa.Field(nullable=False, description="When, UTC; midnight where only a date is known.")
    detail: str = pa.Field(nullable=True, description="Region, result, degrees Celsius, as the kind of event asks.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True

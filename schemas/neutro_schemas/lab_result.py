"""Laboratory results: as read, as judged, as stored."""

from typing import Annotated, Final

import pandera.polars as pa
import polars as pl
from pandera.polars import PolarsData

from neutro_schemas.vocabulary import COMPARATORS, RETRACTED_STATUSES, STATUSES

Microseconds = Annotated[pl.Datetime, "us", None]
#: A number as a spreadsheet shortens it, 2.02E+11: what it was is lost (FORMATS.md D.5).
DAMAGED_NUMBER: Final = r"^\d(?:[.,]\d+)?[eE]\+\d{2,3}$"


class LabRow(pa.DataFrameModel):
    """One laboratory row as a reader yields it: identifiers and times typed, everything measured still text."""

    patient_id: str = pa.Field(nullable=True, description="The source's patient identifier, always text.")
    specimen_id: str = pa.Field(nullable=True, description="The source's specimen, accession or order number.")
    collected_at: Microseconds = pa.Field(nullable=True, description="Collection time, UTC.")
    resulted_at: Microseconds = pa.Field(nullable=True, description="Time of the result, UTC.")
    has_unreadable_time: bool = pa.Field(description="A time was given that could not be read.")
    time_oddity: str = pa.Field(
        nullable=True,
        isin=("date_only", "time_skipped_by_clock", "time_shown_twice_by_clock"),
        description="What was unusual about the collection time as sent; null for most.",
    )
    code_system: str = pa.Field(nullable=True, description="System of local_code, for example mimic_itemid.")
    local_code: str = pa.Field(nullable=True, description="The source's own test code.")
    loinc: str = pa.Field(nullable=True, description="LOINC code as sent.")
    analyte_name: str = pa.Field(nullable=True, description="The source's test name.")
    specimen_type: str = pa.Field(nullable=True, description="Fluid or specimen as sent; null where not sent.")
    value_text: str = pa.Field(nullable=True, description="The value as sent, comparator included.")
    unit_text: str = pa.Field(nullable=True, description="The unit as sent, or as the profile states it.")
    is_unit_stated: bool = pa.Field(description="The unit is not in the row; the source profile states it.")
    reference_low_text: str = pa.Field(nullable=True, description="Lower reference limit as sent.")
    reference_high_text: str = pa.Field(nullable=True, description="Upper reference limit as sent.")
    status_text: str = pa.Field(nullable=True, description="Result status as sent; blank counts as final.")
    comment: str = pa.Field(nullable=True, description="Comment of the laboratory as sent.")
    result_id: str = pa.Field(
        nullable=True, description="The source's own id of the result, by which it may delete it."
    )
    fields_disagree: bool = pa.Field(description="Two fields that hold the same fact contradict each other (REC-7).")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported.")
    ward: str = pa.Field(nullable=True, description="Where the patient was, as sent; for the reader's eyes only.")
    requester: str = pa.Field(nullable=True, description="Who asked for the test, as sent; for the reader's eyes only.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(ge=1, description="Line, message segment or resource number in source_file.")

    class Config:
        strict = True


class ScreenedResult(pa.DataFrameModel):
    """A row of a screened analyte with its verdicts. The name of a failed check is the reason of the refusal (ANC-9).

    Verdicts that need other rows or the clock are worked out by the rules and arrive here as columns.
    """

    patient_id: str = pa.Field(nullable=False)
    fields_disagree: bool = pa.Field()
    recognition_status: str = pa.Field(nullable=False)
    time_status: str = pa.Field(nullable=False)
    value_status: str = pa.Field(nullable=False)
    unit_status: str = pa.Field(nullable=False)
    value: float = pa.Field(nullable=True)
    unit: str = pa.Field(nullable=True)
    highest_plausible: float = pa.Field(nullable=True)

    @pa.check("patient_id", name="damaged_patient_id")
    def _is_no_shortened_number(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(~pl.col(column.key).str.contains(DAMAGED_NUMBER))

    @pa.check("fields_disagree", name="fields_disagree")
    def _fields_agree(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(~pl.col(column.key))

    @pa.check("recognition_status", name="unrecognised_test")
    def _test_is_recognised(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "unrecognised_test")

    @pa.check("recognition_status", name="code_name_conflict")
    def _code_and_name_agree(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "code_name_conflict")

    @pa.check("recognition_status", name="specimen_conflict")
    def _name_and_specimen_agree(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "specimen_conflict")

    @pa.check("recognition_status", name="unknown_specimen")
    def _specimen_is_known(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "unknown_specimen")

    @pa.check("time_status", name="missing_time")
    def _has_a_time(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "missing")

    @pa.check("time_status", name="unreadable_time")
    def _time_was_read(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "unreadable")

    @pa.check("time_status", name="impossible_time")
    def _is_a_time_that_can_be(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "impossible")

    @pa.check("time_status", name="future_time")
    def _is_not_in_the_future(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "future")

    @pa.check("time_status", name="before_birth")
    def _is_after_birth(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "before_birth")

    @pa.check("unit_status", name="unit_missing")
    def _has_a_unit(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "missing")

    @pa.check("unit_status", name="unit_unknown")
    def _unit_is_known(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "unknown")

    @pa.check("value_status", name="unparseable_value")
    def _value_was_read(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "unparseable")

    @pa.check("value_status", name="ambiguous_decimal")
    def _decimal_mark_is_clear(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "ambiguous_decimal")

    @pa.check("value", name="negative_value")
    def _is_not_negative(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) >= 0)

    @pa.check("value", name="percent_out_of_range")
    def _percent_is_a_percent(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select((pl.col(column.key) <= 100) | (pl.col("unit") != "%"))

    @pa.check("unit_status", name="unit_suspect")
    def _unit_fits_the_values(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) != "suspect")

    @pa.check("value", name="implausible_value")
    def _is_plausible(cls, column: PolarsData) -> pl.LazyFrame:
        return column.lazyframe.select(pl.col(column.key) <= pl.col("highest_plausible"))


class LabResult(pa.DataFrameModel):
    """One accepted result, as stored. Versions of one result are all kept; which one counts is the ANC step's choice."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    specimen_id: str = pa.Field(description="The source's specimen id; '@' and the collection time where it has none.")
    collected_at: Microseconds = pa.Field(description="Collection time, UTC.")
    resulted_at: Microseconds = pa.Field(nullable=True, description="Time of the result, UTC.")
    analyte: str = pa.Field(description="Analyte, for example neut_abs (see reference/analytes.csv).")
    method: str = pa.Field(isin=("auto", "manual", "any"), description="How the cells were counted.")
    loinc: str = pa.Field(nullable=True, description="LOINC code as sent.")
    value: float = pa.Field(
        nullable=True,
        ge=0,
        description="Value in unit; null for a retraction without value and for a marker reported in words.",
    )
    comparator: str = pa.Field(nullable=True, isin=COMPARATORS, description="Comparator of a censored value.")
    unit: str = pa.Field(
        nullable=True, description="Canonical unit of value (counts 10*9/L, fractions %); as sent for a marker."
    )
    value_text: str = pa.Field(nullable=True, description="The value as sent.")
    unit_text: str = pa.Field(nullable=True, description="The unit as sent.")
    status: str = pa.Field(isin=(*STATUSES, *RETRACTED_STATUSES), description="Status of this version of the result.")
    reference_low: float = pa.Field(nullable=True, description="Lower reference limit in unit.")
    reference_high: float = pa.Field(nullable=True, description="Upper reference limit in unit.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported.")
    notes: str = pa.Field(nullable=True, description="What was unusual about this row, comma-separated words.")
    result_id: str = pa.Field(
        nullable=True, description="The source's own id of the result (FHIR: Observation.id, its components share it)."
    )
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True


class Request(pa.DataFrameModel):
    """One specimen with the ward that sent it and who asked for it; no row where the source names neither."""

    patient_id: str = pa.Field(description="Patient identifier, text.")
    specimen_id: str = pa.Field(description="Specimen identifier as in lab_result.")
    collected_at: Microseconds = pa.Field(description="Collection time, UTC.")
    ward: str = pa.Field(nullable=True, description="Where the patient was, as sent; null = not named.")
    requester: str = pa.Field(nullable=True, description="Who asked for the test, as sent; null = not named.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True


class RejectedRow(pa.DataFrameModel):
    """One refused row: kept with its reason, never dropped (ANC-9)."""

    patient_id: str = pa.Field(nullable=True, description="Patient identifier where the row has one.")
    specimen_id: str = pa.Field(nullable=True, description="Specimen identifier as stored elsewhere.")
    collected_at: Microseconds = pa.Field(nullable=True, description="Collection time where readable, UTC.")
    analyte: str = pa.Field(nullable=True, description="Analyte, where it is known.")
    reason: str = pa.Field(description="Why it was refused: the name of the failed check.")
    column: str = pa.Field(nullable=True, description="The column to look at.")
    kind: str = pa.Field(isin=("lab", "medication", "patient", "diagnosis", "event"), description="Kind of row.")
    scope: str = pa.Field(
        isin=("row", "specimen", "merge"),
        description="Refused by itself, contradicted by its specimen, or a merge that leads around a circle.",
    )
    row: str = pa.Field(description="The row as read, JSON.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True


class NoResult(pa.DataFrameModel):
    """One row of a screened analyte whose text says that there is no result (ANC-11)."""

    patient_id: str = pa.Field(nullable=True, description="Patient identifier.")
    specimen_id: str = pa.Field(nullable=True, description="Specimen identifier as stored elsewhere.")
    collected_at: Microseconds = pa.Field(nullable=True, description="Collection time, UTC.")
    analyte: str = pa.Field(description="Analyte that was asked for.")
    kind: str = pa.Field(description="Kind of non-result, for example clotted.")
    lab: str = pa.Field(nullable=True, description="The laboratory that reported.")
    source_file: str = pa.Field(description="Name of the input file.")
    source_row: int = pa.Field(description="Line, segment or resource number in source_file.")

    class Config:
        strict = True

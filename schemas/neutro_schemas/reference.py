"""The contracts of the reference tables under ``neutro_screen/reference``: every row has its unit and its source."""

from typing import ClassVar

import pandera.polars as pa
import polars as pl

from neutro_schemas.vocabulary import COMPARATORS, PRIORITIES, RETRACTED_STATUSES, SEVERITIES, STATUSES

#: A marker is any other test that the rules recognise by its text or its own units: no canonical unit, no limits.
DIMENSIONS = ("count", "percent", "mass", "volume", "temperature", "per100wbc", "marker")


class Analyte(pa.DataFrameModel):
    """One analyte that the screen reads."""

    analyte: str = pa.Field(unique=True, description="Name used in every table.")
    cell: str = pa.Field(description="What is counted or measured.")
    dimension: str = pa.Field(isin=DIMENSIONS, description="Kind of quantity; decides which unit table applies.")
    canonical_unit: str = pa.Field(description="Unit of lab_result.value.")
    feeds_anc: bool = pa.Field(description="Used to compute the ANC; its refusal makes a patient unassessable.")
    in_differential: bool = pa.Field(description="A class of the differential that sums to 100 %.")
    highest_plausible: float = pa.Field(gt=0, description="Above this, in canonical_unit, a value is refused (ANC-9).")
    usual_high: float = pa.Field(nullable=True, description="Ten times above this the unit is the likely culprit.")
    typical_reference_high: float = pa.Field(nullable=True, description="Usual upper reference limit, to check units.")
    label: str = pa.Field(description="Name in plain words.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["cell", "dimension"]


class LabCode(pa.DataFrameModel):
    """One code or name and the analyte it stands for."""

    system: str = pa.Field(description="loinc, mimic_itemid, ...; local_name only from a profile.")
    code: str = pa.Field(description="Code; names are match keys (NFKC, lower case, single spaces).")
    cell: str = pa.Field(nullable=True, description="What is counted; null where excluded.")
    dimension: str = pa.Field(nullable=True, isin=DIMENSIONS, description="Null = the unit decides.")
    method: str = pa.Field(isin=("auto", "manual", "any"), description="How the cells are counted.")
    excluded: str = pa.Field(nullable=True, description="Why this code must never feed the screen.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["system", "code"]


class UnitFactor(pa.DataFrameModel):
    """One spelling of a unit within one dimension: canonical = (raw - offset) x factor."""

    dimension: str = pa.Field(isin=DIMENSIONS, description="Kind of quantity.")
    match_key: str = pa.Field(description="Spelling: NFKC, micro signs as u, lower case, single spaces.")
    factor: float = pa.Field(nullable=True, gt=0, description="Factor to the canonical unit.")
    offset: float = pa.Field(description="Subtracted first (Fahrenheit).")
    decision: str = pa.Field(isin=("accept", "accept_fraction", "refuse"), description="accept_fraction: 0-1 only.")
    smallest_raw_value: float = pa.Field(nullable=True, description="Accepted only from this raw value on.")
    evidence: str = pa.Field(description="seen in a source, or a generated variant.")
    note: str = pa.Field(nullable=True, description="What to know.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["dimension", "match_key"]


class NoResultWord(pa.DataFrameModel):
    """One text that stands where a value should be (ANC-11)."""

    match_key: str = pa.Field(unique=True, nullable=True, description="Text, lower case; null = blank.")
    match: str = pa.Field(isin=("whole", "phrase"), description="The whole text, or a phrase somewhere in it.")
    kind: str = pa.Field(description="Kind of non-result.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class ComparatorWord(pa.DataFrameModel):
    """One sign or word in front of a number that bounds it (ANC-6)."""

    word: str = pa.Field(unique=True, description="Sign or word, lower case.")
    comparator: str = pa.Field(nullable=True, isin=COMPARATORS, description="What it means; null = nothing.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class FlagWord(pa.DataFrameModel):
    """One abnormal flag that stands before or behind a number in the same text (ANC-9)."""

    word: str = pa.Field(unique=True, description="Flag, lower case.")
    place: str = pa.Field(
        isin=("anywhere", "behind"), description="Also in front of a number, or only behind it or in brackets."
    )
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class ControlWord(pa.DataFrameModel):
    """One word of the number of a control specimen (REC-4)."""

    word: str = pa.Field(unique=True, description="Word, lower case.")
    role: str = pa.Field(
        isin=("sure", "with_level", "level", "beside"),
        description="Says control; says so beside a level; a level or lot; may stand beside them.",
    )
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class OperatorWord(pa.DataFrameModel):
    """One word of a column that holds the operators of results, beside those of ``ComparatorWord`` (ANC-6)."""

    word: str = pa.Field(unique=True, description="Sign, letter, word or code, lower case.")
    comparator: str = pa.Field(nullable=True, isin=COMPARATORS, description="What it means; null = no bound.")
    reading: str = pa.Field(
        isin=("bound", "bound_or_flag", "exact", "open", "nothing"),
        description="A bound; a bound or, elsewhere, the flag low; the number itself; the number is left open; says nothing.",
    )
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class OperatorColumn(pa.DataFrameModel):
    """One header, or word of a header, of a column that may hold the operators of results (ANC-6)."""

    header: str = pa.Field(unique=True, description="Words of the header, lower case.")
    reading: str = pa.Field(
        isin=("operator", "maybe", "flag"),
        description="Holds operators; may hold them, as its values tell; holds flags, of which < and > are operators.",
    )
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class RemarkWord(pa.DataFrameModel):
    """One remark behind a number that only says that it was looked at again (ANC-9)."""

    word: str = pa.Field(unique=True, description="Remark, lower case.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class RowCountWord(pa.DataFrameModel):
    """What stands behind the number of rows under a printed table: a total of its sender."""

    word: str = pa.Field(unique=True, description="Words, any case.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class StatusWord(pa.DataFrameModel):
    """One status word of a source."""

    match_key: str = pa.Field(unique=True, nullable=True, description="Word, lower case; null = blank.")
    system: str = pa.Field(description="hl7, fhir or word.")
    status: str = pa.Field(isin=(*STATUSES, *RETRACTED_STATUSES, "pending"), description="What it means here.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class Reason(pa.DataFrameModel):
    """One reason of the worklist in plain words, most urgent first."""

    code: str = pa.Field(unique=True, description="Reason code.")
    priority: str = pa.Field(nullable=True, isin=PRIORITIES, description="Priority that it gives; null = none.")
    words: str = pa.Field(
        description="The reason in plain words; {section.entry} is a number of the policy, {below[severity]} a limit."
    )
    implies: str = pa.Field(nullable=True, description="Codes whose words need not stand beside it, parted by blanks.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class DriftRule(pa.DataFrameModel):
    """When a laboratory's measure counts as drifted from its last runs; an analyte's own row goes before ``*``."""

    what: str = pa.Field(description="Measure of quality_measure, volume or new_laboratory.")
    analyte: str = pa.Field(description="Analyte; * = any.")
    kind: str = pa.Field(isin=("unit", "share", "fold", "volume", "new", "hour"), description="How it is compared.")
    change: float = pa.Field(ge=0, description="Least change: of a share, or as a factor (fold, volume, hour).")
    z: float = pa.Field(ge=0, description="Least change in multiples of the scatter of the runs before.")
    minimum_n: pl.Int64 = pa.Field(ge=1, description="Rows or specimens that must say so.")
    minimum_runs: pl.Int64 = pa.Field(ge=1, description="Earlier runs that it must be compared with.")
    rank: pl.Int64 = pa.Field(ge=0, description="Order of the findings, the most serious first.")
    title: str = pa.Field(description="What drifted, in words.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["what", "analyte"]


class AncBand(pa.DataFrameModel):
    """One severity band (SEV-1): lower <= ANC < upper."""

    severity: str = pa.Field(isin=SEVERITIES, unique=True, description="Severity.")
    lower: float = pa.Field(ge=0, description="Lower limit, inclusive, cells/uL.")
    upper: float = pa.Field(nullable=True, description="Upper limit, exclusive, cells/uL; null = none.")
    unit: str = pa.Field(eq="cells/uL", description="Unit of the limits.")
    version: str = pa.Field(description="Version of the bands.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class GradeBand(pa.DataFrameModel):
    """One grade of one grading system, for one range of age (SEV-2)."""

    system: str = pa.Field(description="ctcae_v4, ctcae_v5, ctcae_v6 or daids.")
    version: str = pa.Field(description="Version of the grading table.")
    age_from_days: float = pa.Field(nullable=True, description="First whole day of age; null = any age.")
    age_to_days: float = pa.Field(nullable=True, description="Last whole day of age; null = no end.")
    grade: pl.Int64 = pa.Field(isin=(0, 1, 2, 3, 4), description="Grade.")
    lower: float = pa.Field(nullable=True, description="Lower limit; null where the row's own LLN is the limit.")
    lower_inclusive: bool = pa.Field(description="The lower limit belongs to the grade.")
    upper: float = pa.Field(nullable=True, description="Upper limit; null = none, or the row's own LLN.")
    upper_inclusive: bool = pa.Field(description="The upper limit belongs to the grade.")
    uses_lln: str = pa.Field(nullable=True, isin=("lower", "upper"), description="The limit that is the row's own LLN.")
    unit: str = pa.Field(eq="cells/uL", description="Unit of the limits.")
    source: str = pa.Field(description="Source of the row.")

    class Config:
        strict = True


class RecognitionWord(pa.DataFrameModel):
    """One word or phrase of test names and what it means (REC-1)."""

    word: str = pa.Field(str_length={"min_value": 1}, description="As a laboratory writes it; case never matters.")
    language: str = pa.Field(str_length={"min_value": 1}, description="Language or origin of the word.")
    concept: str = pa.Field(str_length={"min_value": 1}, description="What it means: a cell, a property, a reason.")
    property: str = pa.Field(nullable=True, description="Property that a word of a cell states: count or percent.")
    kind: str = pa.Field(
        isin=("cell", "property", "method", "specimen", "panel", "exclusion", "filler", "ending"),
        description="What sort of word it is.",
    )
    use: str = pa.Field(
        isin=("any", "word", "first", "edge", "end"),
        description="Anywhere, on its own, first, first or last, or ending a compound.",
    )
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class RecognitionCell(pa.DataFrameModel):
    """How two concepts of cells relate."""

    relation: str = pa.Field(isin=("within", "combined", "agrees"), description="within: concept is a part of other.")
    concept: str = pa.Field(description="Concept of a cell.")
    other: str = pa.Field(description="The other concept.")
    gives: str = pa.Field(nullable=True, description="Of combined: what both together are.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class RecognitionUnit(pa.DataFrameModel):
    """One word of the grammar of units, or a spelling that is looked up whole (REC-5)."""

    kind: str = pa.Field(
        isin=("limit", "whole", "field", "ambiguous", "scale", "entity", "volume", "per"),
        description="Which part of a unit it is.",
    )
    text: str = pa.Field(str_length={"min_value": 1}, description="Spelling; of a limit the power of ten.")
    property: str = pa.Field(nullable=True, description="Of whole and ambiguous: count, percent, mass, ...")
    value: str = pa.Field(nullable=True, description="Power of ten, factor, or smallest raw value; by kind.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["kind", "text", "property"]


class RecognitionSpecimen(pa.DataFrameModel):
    """One word or code of a specimen (REC-4)."""

    text: str = pa.Field(str_length={"min_value": 1}, description="Word or code as sent.")
    language: str = pa.Field(str_length={"min_value": 1}, description="Language, or system of codes.")
    specimen: str = pa.Field(
        isin=("blood", "other", "unknown", "neutral", "site", "origin", "control", "unstated"),
        description="What it says of the specimen; unstated = nothing, also where it stands alone.",
    )
    use: str = pa.Field(isin=("code", "word"), description="Looked up whole, or a word of a text.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class RecognitionLimit(pa.DataFrameModel):
    """One number that values, reference ranges, identifiers and files are compared with."""

    limit: str = pa.Field(unique=True, description="Name of the number.")
    value: float = pa.Field(ge=0, description="The number.")
    unit: str = pa.Field(str_length={"min_value": 1}, description="Its unit.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class RefusalWord(pa.DataFrameModel):
    """A reason why a row is not used, in plain words."""

    reason: str = pa.Field(unique=True, description="The reason as tables have it.")
    words: str = pa.Field(str_length={"min_value": 1}, description="In plain words.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Rule of the reason.")

    class Config:
        strict = True


class ReviewReason(pa.DataFrameModel):
    """One reason for a decision that the page offers."""

    status: str = pa.Field(isin=("acknowledged", "snoozed", "dismissed"), description="The decision it is for.")
    key: int = pa.Field(ge=1, le=9, description="Key of the keyboard, one a status.")
    reason: str = pa.Field(str_length={"min_value": 1}, description="The reason in plain words.")
    days: int = pa.Field(nullable=True, gt=0, description="Days of a snooze; null = none.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["status", "key"]


class FhirCode(pa.DataFrameModel):
    """One code of a public system in the FHIR export; words alone where there is no public code."""

    element: str = pa.Field(str_length={"min_value": 1}, description="Which element of the resource.")
    key: str = pa.Field(str_length={"min_value": 1}, description="What it stands for in the store.")
    system: str = pa.Field(nullable=True, description="URI of the code system; null = words alone.")
    code: str = pa.Field(nullable=True, description="The code; null = words alone.")
    words: str = pa.Field(str_length={"min_value": 1}, description="In plain words.")
    version: str = pa.Field(str_length={"min_value": 1}, description="Version of the row.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["element", "key"]


class AncSource(pa.DataFrameModel):
    """One result that a method of counting uses (ANC-3)."""

    anc_method: str = pa.Field(str_length={"min_value": 1}, description="Method of the count.")
    analyte: str = pa.Field(str_length={"min_value": 1}, description="Result that it uses.")
    is_manual: bool = pa.Field(nullable=True, description="Only one counted by hand, or by analyser; null = either.")
    unless_analyte: str = pa.Field(nullable=True, description="Not where the specimen has this one; null = always.")
    if_note: str = pa.Field(nullable=True, description="Only where the count has this note; null = always.")
    version: str = pa.Field(str_length={"min_value": 1}, description="Version of the row.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True

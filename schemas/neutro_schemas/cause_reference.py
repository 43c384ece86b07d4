"""The contracts of the tables of causes and work-up under ``neutro_screen/reference``."""

from typing import ClassVar

import pandera.polars as pa
import polars as pl

STRENGTHS = ("strong", "moderate", "weak", "context")
CATEGORIES = (
    "medication",
    "haematologic malignancy",
    "infection",
    "marrow production",
    "peripheral destruction",
    "cyclic",
    "benign context",
    "fever",
    "masking",
)
MARKER_KINDS = ("viral", "parasitic", "bacterial", "nutrition", "autoimmune", "constitutional", "smear", "marrow")
MARKER_TESTS = ("qualitative", "at_least", "below", "text", "done")
CODE_SYSTEMS = ("icd10", "icd9", "snomed", "other")
UNTIL = ("start", "last_low")
_LIMITS = r"^[^:;]+:[0-9.]+(;[^:;]+:[0-9.]+)*$"


class Marker(pa.DataFrameModel):
    """One laboratory test beside the blood count, and what of it counts as a finding."""

    marker: str = pa.Field(unique=True, str_length={"min_value": 1}, description="Name; lab_result.analyte.")
    label: str = pa.Field(str_length={"min_value": 1}, description="Name in plain words.")
    kind: str = pa.Field(isin=MARKER_KINDS, description="Kind of test.")
    test: str = pa.Field(
        isin=MARKER_TESTS,
        description="qualitative: positive words, or a value at or above a limit or the row's own upper reference "
        "limit; at_least: a value or titre from the limit on; below: under the row's own lower reference limit, "
        "without one under the limit; text: words_found in the text; done: having been done at all.",
    )
    limits: str = pa.Field(
        nullable=True, str_matches=_LIMITS, description="unit:number pairs, ';' between; * = whatever the unit."
    )
    words_found: str = pa.Field(nullable=True, description="Regular expression of the texts that count.")
    rule_id: str = pa.Field(description="Rule of RULES.md.")
    category: str = pa.Field(nullable=True, isin=CATEGORIES, description="Category of evidence; null = none.")
    days_before: pl.Int64 = pa.Field(nullable=True, ge=0, description="Days before the first low count; null = ever.")
    days_after: pl.Int64 = pa.Field(ge=0, description="Days after the day named by until.")
    until: str = pa.Field(isin=UNTIL, description="days_after counts from the first (start) or the last low count.")
    strength: str = pa.Field(isin=STRENGTHS, description="How much a finding weighs.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class MarkerCode(pa.DataFrameModel):
    """One code and the marker it stands for; names stand in marker_names.csv."""

    system: str = pa.Field(description="loinc, mimic_itemid, ...")
    code: str = pa.Field(description="Code, as a match key (NFKC, lower case, single spaces).")
    marker: str = pa.Field(description="Marker.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["system", "code"]


class MarkerWord(pa.DataFrameModel):
    """One word that names of markers say, and how laboratories write it."""

    word: str = pa.Field(
        unique=True, str_matches=r"^[a-z0-9_]+$", description="The word's own name in marker_names.csv."
    )
    pattern: str = pa.Field(
        str_length={"min_value": 1},
        description="Regular expression of its spellings, searched in the name: folded, without accents, _ as a space.",
    )
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class MarkerName(pa.DataFrameModel):
    """One way in which a marker is named: the words said, and the words that make it another test."""

    marker: str = pa.Field(description="Marker.")
    all_of: str = pa.Field(str_length={"min_value": 1}, description="Words that the name says, with spaces between.")
    none_of: str = pa.Field(nullable=True, description="Words that it must not say.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class DiagnosisCode(pa.DataFrameModel):
    """One diagnosis (or procedure) code prefix; of several that fit a code the longest counts."""

    system: str = pa.Field(isin=CODE_SYSTEMS, description="Coding system.")
    prefix: str = pa.Field(str_matches=r"^[A-Z0-9-]+$", description="Leading part of the code, without dots.")
    finding: str = pa.Field(str_length={"min_value": 1}, description="In plain words.")
    rule_id: str = pa.Field(description="Rule of RULES.md; WRK-1 marks a procedure of the work-up.")
    category: str = pa.Field(isin=(*CATEGORIES, "bone_marrow"), description="Category of evidence, or work-up step.")
    strength: str = pa.Field(isin=STRENGTHS, description="How much it weighs.")
    days_before: pl.Int64 = pa.Field(nullable=True, ge=0, description="Days before the first low count; null = ever.")
    days_after: pl.Int64 = pa.Field(ge=0, description="Days after the day named by until.")
    until: str = pa.Field(isin=UNTIL, description="days_after counts from the first (start) or the last low count.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["system", "prefix"]


class Literature(pa.DataFrameModel):
    """One population figure, shown as literature and never as this patient's risk (LIT-1)."""

    rule_id: str = pa.Field(description="Rule of RULES.md it stands beside.")
    category: str = pa.Field(isin=CATEGORIES, description="Category of evidence.")
    population: str = pa.Field(
        isin=("unexpected", "drug", "methods"),
        description="Patients that it fits: unexpected = not the expected effect of a cytotoxic drug; drug = a drug that is "
        "no chemotherapy leads; methods = none, it is shown under methods only.",
    )
    from_cells_per_ul: float = pa.Field(ge=0, description="Shown for a nadir from here on, cells/uL.")
    below_cells_per_ul: float = pa.Field(gt=0, description="Shown for a nadir below this, cells/uL.")
    statement: str = pa.Field(str_length={"min_value": 1}, description="The figure, with what it was measured in.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the figure.")

    class Config:
        strict = True


class Explanation(pa.DataFrameModel):
    """One category of evidence as an explanation in words."""

    category: str = pa.Field(unique=True, isin=CATEGORIES, description="Category of evidence.")
    words: str = pa.Field(str_length={"min_value": 1}, description="What it is called in a sentence.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class TellingTest(pa.DataFrameModel):
    """A test that would best tell two explanations apart (WRK-4); those of the next place once all of one are done."""

    first: str = pa.Field(isin=CATEGORIES, description="One category, the first of the two in the alphabet.")
    second: str = pa.Field(isin=CATEGORIES, description="The other category.")
    place: int = pa.Field(ge=1, description="Order of the pair's tests; tests of one place are proposed together.")
    test: str = pa.Field(str_length={"min_value": 1}, description="The test in plain words.")
    done_by: str = pa.Field(
        nullable=True,
        description="Markers or steps that show that it was done, separated by semicolons; null: nothing.",
    )
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["first", "second", "test"]

    @pa.dataframe_check(name="in_the_order_of_the_alphabet")
    def _in_the_order_of_the_alphabet(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(pl.col("first") <= pl.col("second"))


class WorkupRule(pa.DataFrameModel):
    """One step of the work-up (WRK-1)."""

    step: str = pa.Field(unique=True, description="Code of the step, as in WorkupStep.")
    label: str = pa.Field(description="In plain words.")
    event: str = pa.Field(nullable=True, description="Kind of event that records it.")
    marker_kind: str = pa.Field(nullable=True, isin=MARKER_KINDS, description="Kind of marker that records it.")
    asked_if: str = pa.Field(
        isin=("always", "not_in_context", "unexplained", "severe_or_persistent"), description="Else not applicable."
    )
    counts_from_days_before: pl.Int64 = pa.Field(
        nullable=True, ge=0, description="Done so many days before the first low count still counts; null = ever."
    )
    due_severe_h: float = pa.Field(
        nullable=True, gt=0, description="Hours from the day the severity was reached (WRK-3); null = policy."
    )
    due_moderate_h: float = pa.Field(nullable=True, gt=0, description="As due_severe_h, for moderate.")
    due_mild_h: float = pa.Field(nullable=True, gt=0, description="As due_severe_h, for mild.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True

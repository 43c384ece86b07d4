"""The contracts of the drug tables under ``neutro_screen/reference``: causes, names, classes, masks, routes, words.

List columns hold their items separated by ``;``. Every row names its source; ``drug_sources.csv`` says what was read.
"""

from typing import ClassVar

import pandera.polars as pa
import polars as pl

DRUG_CLASSES = (
    "acid_suppressant",
    "antiarrhythmic",
    "antibiotic_beta_lactam",
    "antibiotic_other",
    "anticonvulsant",
    "antidepressant",
    "antifungal",
    "antihypertensive",
    "antimalarial_antiparasitic",
    "antineoplastic_cytotoxic",
    "antineoplastic_targeted",
    "antiplatelet",
    "antipsychotic",
    "antirheumatic",
    "antithyroid",
    "antiviral",
    "biologic",
    "cardiovascular",
    "diuretic",
    "immunosuppressant",
    "iron_chelator",
    "nsaid_analgesic",
    "other",
)
NOT_A_CAUSE_CLASSES = ("none_protective", "not_systemic")
MECHANISMS = ("direct_toxicity", "dose_dependent_marrow_suppression", "immune_mediated", "mixed", "unknown")
EVIDENCE_LEVELS = ("definite", "probable", "possible")
EVIDENCE_CHECKS = ("source_read", "class_source_read", "label_term_checked", "label_term_weak", "not_checked")
WINDOW_CHECKS = ("source_read", "class_source_read", "general_knowledge", "class_default")
WINDOW_ANCHORS = ("first_exposure", "each_dose", "last_dose")
CHECKS = ("source_read", "class_source_read", "general_knowledge")
INTERACTION_EFFECTS = (
    "raises_level",
    "adds_marrow_toxicity",
    "adds_antifolate_effect",
    "adds_agranulocytosis_risk",
    "condition_raises_level",
)
EFFECTS = ("raises_anc", "may_raise_anc", "protects")
SYNONYM_KINDS = ("brand", "spelling", "abbreviation", "combination", "salt", "regimen", "other_drug")
ROUTES = (
    "buccal",
    "dialysis",
    "epidural",
    "implant",
    "inhaled",
    "injection",
    "intraarticular",
    "intradermal",
    "intralesional",
    "intramuscular",
    "intraperitoneal",
    "intrathecal",
    "intravenous",
    "intravesical",
    "irrigation",
    "lock",
    "nasal",
    "ophthalmic",
    "oral",
    "oromucosal",
    "otic",
    "rectal",
    "subcutaneous",
    "sublingual",
    "topical",
    "transdermal",
    "vaginal",
)
TEXT_RULES = (
    "not_an_exposure",
    "unknown_exposure",
    "ended",
    "risky_needs",
    "not_a_name",
    "fuzzy_limit",
    "fuzzy_margin",
)

_ATC_CODES = r"^[A-Z]\d{2}[A-Z]{2}\d{2}(;[A-Z]\d{2}[A-Z]{2}\d{2})*$"
_NAMES = r"^[^;]+(;[^;]+)*$"
_NUMBERS = r"^\d+(;\d+)*$"
_ROUTE_LIST = rf"^({'|'.join(ROUTES)})(;({'|'.join(ROUTES)}))*$"
_ROUTES_ALSO = "Routes that count for this drug though they do not as a rule."
_ROUTES_NOT = "Routes that do not count for this drug though they do as a rule (oral vancomycin)."


class DrugCause(pa.DataFrameModel):
    """One ingredient that can cause neutropenia."""

    ingredient: str = pa.Field(unique=True, str_length={"min_value": 1}, description="INN, lower case.")
    atc_codes: str = pa.Field(nullable=True, str_matches=_ATC_CODES, description="ATC codes of systemic products.")
    atc_codes_combination: str = pa.Field(
        nullable=True, str_matches=_ATC_CODES, description="ATC codes of combinations that hold the ingredient."
    )
    atc_codes_nonsystemic: str = pa.Field(
        nullable=True,
        str_matches=_ATC_CODES,
        description="ATC codes of eye, ear, skin, nose, vaginal and gut products.",
    )
    atc_codes_former: str = pa.Field(
        nullable=True, str_matches=_ATC_CODES, description="ATC codes the WHO has since replaced; still sent by feeds."
    )
    rxcui_ingredient: str = pa.Field(nullable=True, str_matches=_NUMBERS, description="RxNorm ingredient numbers.")
    drug_class: str = pa.Field(isin=DRUG_CLASSES, description="Class.")
    mechanism: str = pa.Field(isin=MECHANISMS, description="How it lowers the ANC.")
    evidence: str = pa.Field(isin=EVIDENCE_LEVELS, description="Level of evidence (DRUGS.md section 2).")
    evidence_basis: str = pa.Field(description="Why that level; tags ending in _recalled are memory, not a reading.")
    evidence_check: str = pa.Field(isin=EVIDENCE_CHECKS, description="What was really read for it.")
    typical_onset_days_min: pl.Int64 = pa.Field(ge=0, description="First day of typical onset from window_anchor.")
    typical_onset_days_max: pl.Int64 = pa.Field(ge=0, description="Last day of typical onset, inclusive.")
    window_open: bool = pa.Field(
        description="A fall may come at any time while the drug is taken (DRG-7): the window has no last day, and "
        "typical_onset_days_max is only the last day of the typical time."
    )
    window_check: str = pa.Field(isin=WINDOW_CHECKS, description="What was really read for the windows.")
    nadir_days_min: pl.Int64 = pa.Field(
        nullable=True,
        ge=0,
        description="First day of the nadir from window_anchor; of an expected drug, of the time it is expected in.",
    )
    nadir_days_max: pl.Int64 = pa.Field(nullable=True, ge=0, description="Last day of the nadir, inclusive.")
    recovery_days_typical: pl.Int64 = pa.Field(ge=0, description="Days to recovery after stopping (or after a dose).")
    max_lag_after_last_dose_days: pl.Int64 = pa.Field(ge=0, description="Days after the last dose a new fall may come.")
    window_anchor: str = pa.Field(isin=WINDOW_ANCHORS, description="What the onset days count from.")
    dose_days: pl.Int64 = pa.Field(
        nullable=True, ge=1, description="Usual days from the first to the last dose of a cycle, both counted."
    )
    cycle_days: pl.Int64 = pa.Field(nullable=True, ge=1, description="Usual days from one cycle to the next.")
    incidence_note: str = pa.Field(nullable=True, description="How often.")
    expected_effect: bool = pa.Field(description="Neutropenia is an expected effect of normal use.")
    monitoring_note: str = pa.Field(nullable=True, description="What the label asks for.")
    routes_that_also_count: str = pa.Field(nullable=True, str_matches=_ROUTE_LIST, description=_ROUTES_ALSO)
    routes_that_do_not_count: str = pa.Field(nullable=True, str_matches=_ROUTE_LIST, description=_ROUTES_NOT)
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")
    rxcui_source: str = pa.Field(nullable=True, description="Source of rxcui_ingredient.")
    notes: str = pa.Field(nullable=True, description="What to know.")

    class Config:
        strict = True

    @pa.dataframe_check(name="typical_onset_ordered")
    def _onset_ordered(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(pl.col("typical_onset_days_min") <= pl.col("typical_onset_days_max"))

    @pa.dataframe_check(name="nadir_ordered")
    def _nadir_ordered(cls, table: pa.PolarsData) -> pl.LazyFrame:
        first, last = pl.col("nadir_days_min"), pl.col("nadir_days_max")
        both_or_none = first.is_null() == last.is_null()
        return table.lazyframe.select(both_or_none & (first <= last).fill_null(value=True))

    @pa.dataframe_check(name="expected_has_a_nadir")
    def _expected_has_a_nadir(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(~pl.col("expected_effect") | pl.col("nadir_days_min").is_not_null())

    @pa.dataframe_check(name="doses_within_the_cycle")
    def _doses_within_the_cycle(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select((pl.col("dose_days") <= pl.col("cycle_days")).fill_null(value=True))

    @pa.dataframe_check(name="rxcui_has_a_source")
    def _rxcui_has_a_source(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(pl.col("rxcui_ingredient").is_null() | pl.col("rxcui_source").is_not_null())


class DrugUse(pa.DataFrameModel):
    """One use of an ingredient whose windows differ from its row in drug_causes (alemtuzumab in multiple sclerosis).

    A line belongs to the use by its ATC code, else by its name; all other lines take the row of drug_causes.
    """

    ingredient: str = pa.Field(str_length={"min_value": 1}, description="ingredient of drug_causes.")
    use: str = pa.Field(str_matches=r"^[a-z]+(_[a-z]+)*$", description="What it is given for.")
    atc_codes: str = pa.Field(str_matches=_ATC_CODES, description="ATC codes of this use, former ones too.")
    names: str = pa.Field(nullable=True, str_matches=_NAMES, description="Names of drug_synonyms for this use only.")
    expected_effect: bool = pa.Field(description="Neutropenia is an expected effect of this use.")
    window_anchor: str = pa.Field(isin=WINDOW_ANCHORS, description="What the days count from.")
    typical_onset_days_min: pl.Int64 = pa.Field(ge=0, description="First day of typical onset from window_anchor.")
    typical_onset_days_max: pl.Int64 = pa.Field(ge=0, description="Last day of typical onset, inclusive.")
    window_open: bool = pa.Field(description="A fall may come at any time while the drug is taken.")
    nadir_days_min: pl.Int64 = pa.Field(nullable=True, ge=0, description="First day of the nadir from window_anchor.")
    nadir_days_max: pl.Int64 = pa.Field(nullable=True, ge=0, description="Last day of the nadir, inclusive.")
    recovery_days_typical: pl.Int64 = pa.Field(ge=0, description="Days to recovery after stopping (or after a dose).")
    max_lag_after_last_dose_days: pl.Int64 = pa.Field(ge=0, description="Days after the last dose a new fall may come.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")
    checked: str = pa.Field(isin=CHECKS, description="What was really read; general_knowledge is memory, not checked.")

    class Config:
        strict = True
        unique: ClassVar = ["ingredient", "use"]

    @pa.dataframe_check(name="windows_ordered")
    def _windows_ordered(cls, table: pa.PolarsData) -> pl.LazyFrame:
        onset = pl.col("typical_onset_days_min") <= pl.col("typical_onset_days_max")
        first, last = pl.col("nadir_days_min"), pl.col("nadir_days_max")
        nadir = (first.is_null() == last.is_null()) & (first <= last).fill_null(value=True)
        return table.lazyframe.select(onset & nadir)

    @pa.dataframe_check(name="expected_has_a_nadir")
    def _expected_has_a_nadir(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(~pl.col("expected_effect") | pl.col("nadir_days_min").is_not_null())


class DrugInteraction(pa.DataFrameModel):
    """One partner that makes an ingredient lower the ANC more (DRG-6): its start re-opens the ingredient's window."""

    ingredient: str = pa.Field(str_length={"min_value": 1}, description="ingredient of drug_causes whose effect grows.")
    partner: str = pa.Field(
        str_length={"min_value": 1},
        description="ingredient of drug_causes given with it, or a condition of the patient (effect condition_raises_level).",
    )
    effect: str = pa.Field(isin=INTERACTION_EFFECTS, description="What the partner does.")
    mechanism: str = pa.Field(str_length={"min_value": 1}, description="How, in words for the report.")
    evidence: str = pa.Field(isin=EVIDENCE_LEVELS, description="Level of evidence; possible ones are common pairs.")
    from_days: pl.Int64 = pa.Field(
        ge=0, description="First day of the fall, from the first day on which both are taken."
    )
    to_days: pl.Int64 = pa.Field(
        ge=0, description="Last day of the fall, inclusive, from the first day on which both are taken."
    )
    partner_lag_days: pl.Int64 = pa.Field(
        ge=0, description="Days after the partner's last dose in which it still counts as taken (brivudine 28)."
    )
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")
    checked: str = pa.Field(isin=CHECKS, description="What was really read; general_knowledge is memory, not checked.")

    class Config:
        strict = True
        unique: ClassVar = ["ingredient", "partner"]

    @pa.dataframe_check(name="days_ordered")
    def _days_ordered(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(pl.col("from_days") <= pl.col("to_days"))

    @pa.dataframe_check(name="two_drugs")
    def _two_drugs(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(pl.col("ingredient") != pl.col("partner"))


class DrugCombination(pa.DataFrameModel):
    """Two drugs of one product that count as one exposure (DRG-1): the part is told with the main one."""

    part: str = pa.Field(
        str_length={"min_value": 1}, description="ingredient of drug_causes that is told with the main one."
    )
    main: str = pa.Field(str_length={"min_value": 1}, description="ingredient of drug_causes that is judged.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["part", "main"]

    @pa.dataframe_check(name="two_drugs")
    def _two_drugs(cls, table: pa.PolarsData) -> pl.LazyFrame:
        return table.lazyframe.select(pl.col("part") != pl.col("main"))


class DrugConfounder(pa.DataFrameModel):
    """One drug that raises the ANC, hides its fall or protects from it (MASK-1)."""

    ingredient: str = pa.Field(unique=True, str_length={"min_value": 1}, description="INN, lower case.")
    atc_codes: str = pa.Field(nullable=True, str_matches=_ATC_CODES, description="ATC codes of systemic products.")
    atc_codes_nonsystemic: str = pa.Field(nullable=True, str_matches=_ATC_CODES, description="ATC codes of local ones.")
    rxcui_ingredient: str = pa.Field(nullable=True, str_matches=_NUMBERS, description="RxNorm ingredient numbers.")
    effect: str = pa.Field(isin=EFFECTS, description="What it does to the ANC.")
    mechanism: str = pa.Field(description="How.")
    onset: str = pa.Field(description="When the effect begins.")
    duration_after_last_dose: str = pa.Field(nullable=True, description="How long it lasts.")
    confounding_window_days: pl.Int64 = pa.Field(gt=0, description="Days after the last dose in which it still counts.")
    interpretation_note: str = pa.Field(nullable=True, description="What to know.")
    routes_that_also_count: str = pa.Field(nullable=True, str_matches=_ROUTE_LIST, description=_ROUTES_ALSO)
    routes_that_do_not_count: str = pa.Field(nullable=True, str_matches=_ROUTE_LIST, description=_ROUTES_NOT)
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


class DrugSynonym(pa.DataFrameModel):
    """One name of one ingredient; a combination or a regimen has a row for each of its ingredients."""

    alias: str = pa.Field(str_length={"min_value": 1}, description="Name, lower case, as written.")
    ingredient: str = pa.Field(description="ingredient of drug_causes or drug_confounders, or none: known, no cause.")
    kind: str = pa.Field(isin=SYNONYM_KINDS, description="Kind of name; other_drug is a drug the tables do not list.")
    risky: bool = pa.Field(description="Means other things too: does not count alone, is left for review.")
    implied_route: str = pa.Field(nullable=True, isin=ROUTES, description="The brand exists for this route only.")
    region: str = pa.Field(nullable=True, description="Where the brand is sold.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")
    note: str = pa.Field(nullable=True, description="What to know.")

    class Config:
        strict = True
        unique: ClassVar = ["alias", "ingredient"]


class AtcPrefixCause(pa.DataFrameModel):
    """One ATC class as a fall-back for codes without a row of their own; never above a named ingredient."""

    atc_prefix: str = pa.Field(
        unique=True, str_matches=r"^[A-Z]\d{2}([A-Z]([A-Z](\d{2})?)?)?$", description="ATC code of the class."
    )
    drug_class_name: str = pa.Field(description="The class in our own words.")
    default_class: str = pa.Field(
        isin=(*DRUG_CLASSES, *NOT_A_CAUSE_CLASSES), description="Class; none_protective and not_systemic are no causes."
    )
    mechanism: str = pa.Field(nullable=True, isin=MECHANISMS, description="How the class lowers the ANC.")
    evidence: str = pa.Field(nullable=True, isin=EVIDENCE_LEVELS, description="Level of evidence of the class.")
    expected_effect: bool = pa.Field(description="Neutropenia is an expected effect of normal use.")
    window_anchor: str = pa.Field(nullable=True, isin=WINDOW_ANCHORS, description="What the nadir days count from.")
    nadir_days_min: pl.Int64 = pa.Field(nullable=True, ge=0, description="First day of the expected nadir.")
    nadir_days_max: pl.Int64 = pa.Field(nullable=True, ge=0, description="Last day of the expected nadir, inclusive.")
    recovery_days: pl.Int64 = pa.Field(nullable=True, ge=0, description="Days to recovery after stopping.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True

    @pa.dataframe_check(name="only_causes_have_evidence")
    def _only_causes_have_evidence(cls, table: pa.PolarsData) -> pl.LazyFrame:
        is_cause = ~pl.col("default_class").is_in(NOT_A_CAUSE_CLASSES)
        return table.lazyframe.select(
            pl.all_horizontal(pl.col("mechanism", "evidence", "recovery_days").is_not_null() == is_cause)
        )

    @pa.dataframe_check(name="only_expected_have_a_nadir")
    def _only_expected_have_a_nadir(cls, table: pa.PolarsData) -> pl.LazyFrame:
        nadir = pl.col("window_anchor", "nadir_days_min", "nadir_days_max").is_not_null()
        return table.lazyframe.select(pl.all_horizontal(nadir == pl.col("expected_effect")))


class DrugRoute(pa.DataFrameModel):
    """One spelling of a route: a code of the route field, or words in the drug's name."""

    kind: str = pa.Field(
        isin=("route_code", "words"), description="route_code: the whole route field; words: anywhere."
    )
    text: str = pa.Field(str_length={"min_value": 1}, description="Spelling, lower case.")
    route: str = pa.Field(isin=ROUTES, description="Route.")
    is_systemic: bool = pa.Field(description="Acts on the body as a whole, unless the drug's own row says otherwise.")
    priority: pl.Int64 = pa.Field(ge=1, description="Where words name several routes the lowest number wins.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["kind", "text"]


class DrugTextRule(pa.DataFrameModel):
    """One phrase in a drug's name that changes what the line means, or one limit of the fuzzy match."""

    rule: str = pa.Field(isin=TEXT_RULES, description="What the phrase does.")
    phrase: str = pa.Field(description="Words, lower case; for limits a name.")
    scope: str = pa.Field(
        nullable=True,
        isin=("clause", "text"),
        description="clause: its clause only; text: the whole text where its clause names no drug.",
    )
    unless: str = pa.Field(nullable=True, description="Phrases that lift the rule in the same text.")
    min_letters: pl.Int64 = pa.Field(nullable=True, ge=8, description="Letters from which a fuzzy limit holds.")
    max_distance: pl.Int64 = pa.Field(nullable=True, ge=1, le=2, description="Edits allowed.")
    note: str = pa.Field(nullable=True, description="What to know.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True
        unique: ClassVar = ["rule", "phrase"]

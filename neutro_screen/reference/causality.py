"""The numbers and tables of causes, evidence and work-up: ``causality.toml`` and the marker, code and step tables."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from neutro_schemas import cause_reference as contract
from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference.tables import FOLDER, reference_table


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExposureRule(_Rule):
    """From medication lines to courses (DRG-1)."""

    each_dose_gap_d: PositiveInt
    shortest_gap_d: PositiveInt
    class_lag_d: PositiveInt
    class_onset_days: tuple[PositiveInt, PositiveInt]
    class_mask_d: PositiveInt
    coded_after_d: PositiveInt
    not_given_words: tuple[str, ...]
    ended_words: tuple[str, ...]


class FallRule(_Rule):
    """What a fall is, and when it is over (DRG-1)."""

    level_d: PositiveInt
    level_fraction: PositiveFloat
    band_level_d: PositiveInt
    band_fraction: PositiveFloat
    down_fraction: PositiveFloat
    minor_fraction: PositiveFloat
    joined_d: PositiveInt
    recovered_factor: PositiveFloat
    back_fraction: PositiveFloat


class ExpectedRule(_Rule):
    """When the course after a cytotoxic drug is no longer the expected one (DRG-5)."""

    severe_below_cells_per_ul: PositiveFloat
    severe_d: PositiveInt


class Points(_Rule):
    """Points of the causality score (DRG-4)."""

    definite: int
    probable: int
    possible: int
    onset_inside: int
    onset_overlaps: int
    onset_late: int
    onset_outside: int
    onset_unknown: int
    exposed: int
    baseline_normal: int
    baseline_stable: int
    baseline_low: int
    recovered: int
    recovered_confounded: int
    recovered_while_given: int
    not_recovered: int
    recurred: int
    tolerated_again: int
    interaction_definite: int
    interaction_probable: int
    interaction_possible: int
    mechanism_fits: int
    strong_alternative: int
    moderate_alternative: int
    alternatives_floor: int
    expected_drug: int
    stronger_drug: int
    high_risk: int
    ubiquitous: int
    protopathic: int


class CategoryRule(_Rule):
    """From points to words (DRG-4)."""

    likely_from: int
    likely_untested_from: int
    possible_from: int
    weak_from: int
    baseline_within_d: PositiveInt
    naranjo_definite_from: int
    naranjo_probable_from: int
    naranjo_possible_from: int
    competing_rules: tuple[str, ...]
    recovery_confounding_rules: tuple[str, ...]
    abrupt_below_cells_per_ul: PositiveFloat


class DrugGroups(_Rule):
    """Drugs that weigh more or less than their evidence level says."""

    high_risk: tuple[str, ...]
    ubiquitous: tuple[str, ...]
    protopathic_classes: tuple[str, ...]


class PatternRule(_Rule):
    """Patterns of the blood count (MAL-1, MAL-2, INF-2, BMP-1, PER-1)."""

    blasts_above: NonNegativeFloat
    blast_window_d: PositiveInt
    mcv_above_fl: PositiveFloat
    slow_decline_d: PositiveInt
    white_cells_above_giga_per_l: PositiveFloat
    immature_above_pct: PositiveFloat
    persistent_below_cells_per_ul: PositiveFloat
    persistent_below_d: PositiveInt
    aplastic_platelets_below_giga_per_l: PositiveFloat
    aplastic_below_cells_per_ul: PositiveFloat
    congenital_age_d: PositiveInt
    stable_from_cells_per_ul: PositiveFloat
    stable_platelets_below_giga_per_l: PositiveFloat
    stable_d: PositiveInt
    monocytes_at_most_giga_per_l: NonNegativeFloat
    lymphocytes_above_giga_per_l: PositiveFloat
    eosinophils_above_giga_per_l: PositiveFloat
    adult_from_d: PositiveInt
    bands_at_least_pct: PositiveFloat
    travel_window_d: PositiveInt


class ConclusionRule(_Rule):
    """How much an explanation weighs against the others of its episode (conclusion, WRK-4)."""

    expected: PositiveInt
    likely: PositiveInt
    beyond_expected: PositiveInt
    possible: PositiveInt
    strong: PositiveInt
    moderate: PositiveInt


class FeverRule(_Rule):
    """Fever with severe neutropenia (FEV-1)."""

    once_c: PositiveFloat
    sustained_c: PositiveFloat
    sustained_h: PositiveFloat
    window_h: PositiveFloat
    below_cells_per_ul: PositiveFloat
    lowest_plausible_c: PositiveFloat
    highest_plausible_c: PositiveFloat
    highest_plausible_f: PositiveFloat


class PitfallRule(_Rule):
    """Pitfalls (PIT-1, PIT-4)."""

    still_given_d: PositiveInt
    still_given_below_cells_per_ul: PositiveFloat
    viral_window_d: PositiveInt


class MarkerWords(_Rule):
    """How laboratories write positive and negative (regular expressions on match keys)."""

    positive: str
    negative: str


class CauseRules(_Rule):
    """All numbers of ``causality.toml``."""

    version: str
    exposure: ExposureRule
    fall: FallRule
    expected: ExpectedRule
    points: Points
    category: CategoryRule
    drug_group: DrugGroups
    pattern: PatternRule
    conclusion: ConclusionRule
    fever: FeverRule
    pitfall: PitfallRule
    marker_word: MarkerWords


@dataclass(frozen=True)
class CauseReference:
    """Rules and tables of causes; the tables as described by their models in ``neutro_schemas.cause_reference``."""

    rules: CauseRules
    markers: pl.DataFrame
    marker_codes: pl.DataFrame
    diagnosis_codes: pl.DataFrame
    literature: pl.DataFrame
    explanations: pl.DataFrame
    telling_tests: pl.DataFrame
    workup: pl.DataFrame


@cache
def load_cause_reference() -> CauseReference:
    """Read and check the numbers and tables of causes, evidence and work-up.

    Raises:
        ReferenceDataError: an entry has no value, unit or source; a table does not fit its model; a code stands for a
            marker that the marker table does not have.
    """
    reference = CauseReference(
        rules=_rules(),
        markers=reference_table("markers.csv", contract.Marker),
        marker_codes=reference_table("marker_codes.csv", contract.MarkerCode),
        diagnosis_codes=reference_table("diagnosis_codes.csv", contract.DiagnosisCode),
        literature=reference_table("literature.csv", contract.Literature),
        explanations=reference_table("explanations.csv", contract.Explanation),
        telling_tests=reference_table("telling_tests.csv", contract.TellingTest),
        workup=reference_table("workup.csv", contract.WorkupRule),
    )
    unknown = reference.marker_codes.join(reference.markers, on="marker", how="anti")["marker"].unique().sort()
    if unknown.len():
        raise ReferenceDataError(f"codes of unknown markers: {unknown.to_list()}", where="marker_codes.csv")
    return reference


def _rules() -> CauseRules:
    sections = _sections()
    values: dict[str, Any] = {name: entries for name, entries in sections.items() if not isinstance(entries, dict)}
    for section, name, entry in _entries(sections):
        if not (isinstance(entry, dict) and entry.keys() == {"value", "unit", "source"}):
            raise ReferenceDataError("entry without value, unit and source", where=f"causality.toml [{section}] {name}")
        values.setdefault(section, {})[name] = entry["value"]
    try:
        return CauseRules.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise ReferenceDataError(f"entry {entry}: {first['msg']}", where="causality.toml") from None


def cause_entries() -> list[tuple[str, str, Any, str, str]]:
    """Every number of ``causality.toml``: section, name, value, unit, source."""
    return [
        (section, name, entry["value"], entry["unit"], entry["source"])
        for section, name, entry in _entries(_sections())
    ]


def _sections() -> Mapping[str, Any]:
    return tomllib.loads((FOLDER / "causality.toml").read_text("utf-8"))


def _entries(sections: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (section, name, entry)
        for section, entries in sections.items()
        if isinstance(entries, dict)
        for name, entry in entries.items()
    ]

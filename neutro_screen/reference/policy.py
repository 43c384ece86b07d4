"""The numbers of the clinical rules, typed: ``policy.toml``, single values of which a user's file may override."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from neutro_screen.errors import ConfigurationError, ReferenceDataError, neighbour
from neutro_screen.private import is_stream
from neutro_screen.reference.policy_checks import (
    ENTRY_KEYS,
    Entry,
    PolicyEntryError,
    check_values,
    kept_from_firing,
    own_value,
)

#: A chance: more than none, less than certain.
Share = Annotated[float, Field(gt=0, lt=1)]


class _Rule(BaseModel):
    # Strict: "20" is no number and true is none either.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DateRule(_Rule):
    """Which dates there can be (ANC-9, ``rules.dates``)."""

    earliest_year: int = Field(ge=1, le=9999)
    latest_after_run_d: PositiveInt


class SpecimenRule(_Rule):
    """Times and identity of a specimen (ANC-1, ANC-9, ANC-12)."""

    future_tolerance_h: PositiveFloat
    reused_id_h: PositiveFloat
    aged_specimen_h: PositiveFloat


class AncRule(_Rule):
    """From results to one ANC (ANC-4 ... ANC-10)."""

    differential_sum_low_pct: PositiveFloat
    differential_sum_high_pct: PositiveFloat
    discordant_cells_per_ul: PositiveFloat
    discordant_fraction: PositiveFloat
    highest_fraction_of_wbc: PositiveFloat
    wbc_bound_below_cells_per_ul: PositiveFloat
    wbc_low_below_cells_per_ul: PositiveFloat
    manual_cells_counted: PositiveInt
    nrbc_above_per_100_wbc: PositiveFloat
    confidence: PositiveFloat
    never_zero: Annotated[tuple[str, ...], Field(strict=False)]
    significant_digits: PositiveInt


class UnitCheckRule(_Rule):
    """Does the unit fit the values (ANC-9, FORMATS.md C.2)."""

    batch_median_low: PositiveFloat
    batch_median_high: PositiveFloat
    batch_minimum_n: PositiveInt
    range_ratio: PositiveFloat
    alone_below_g_per_l: PositiveFloat
    product_ratio: PositiveFloat
    cells_fraction_below: PositiveFloat
    # A list of the file is no tuple to pydantic's strict mode.
    fraction_analytes: Annotated[tuple[str, ...], Field(strict=False)]
    fraction_minimum_n: PositiveInt
    history_ratio: PositiveFloat
    history_within_d: PositiveInt
    history_floor_cells_per_ul: PositiveFloat


class DecimalMarkRule(_Rule):
    """When a laboratory's other values decide how 1,234 is read (FORMATS.md D.3)."""

    minimum_n: PositiveInt
    minority_fraction: PositiveFloat


class DriftRule(_Rule):
    """The earlier runs that an extract is compared with (drift_rules.csv)."""

    runs: PositiveInt
    told_n: PositiveInt
    least_n: PositiveInt
    least_scatter: PositiveFloat
    hour_fit: PositiveFloat


class RapidDeclineRule(_Rule):
    """One threshold rule of rapid decline (RPD-1, RPD-2)."""

    window_d: PositiveInt
    highest_fraction: PositiveFloat
    below_cells_per_ul: PositiveFloat
    carry_d: PositiveInt


class TrueDeclineRule(_Rule):
    """The noise-aware verdict on the true course (RPD-3)."""

    level_n: PositiveInt
    level_d: PositiveInt
    same_level_ratio: PositiveFloat
    around_n: PositiveInt
    around_h: PositiveInt
    noise_ratio: PositiveFloat
    unconfirmed_noise_ratio: PositiveFloat
    suspected_noise_ratio: PositiveFloat
    suspected_fraction: PositiveFloat
    suspected_below_cells_per_ul: PositiveFloat
    suspected_halving_d: PositiveFloat
    suspected_window_d: PositiveInt
    fall_fraction: PositiveFloat
    agrees_fraction: PositiveFloat
    rebound_d: PositiveInt
    suspected_rebound_d: PositiveInt


class NeutrophiliaRule(_Rule):
    """A fall from neutrophilia back to normal is no rapid decline; high-risk drugs are judged earlier (RPD-4)."""

    high_risk_below_cells_per_ul: PositiveFloat
    high_risk_window_d: PositiveInt
    high_risk_fraction: PositiveFloat
    neutrophilia_recent_d: PositiveInt
    neutrophilia_above_cells_per_ul: PositiveFloat
    normal_from_cells_per_ul: PositiveFloat


class EpisodeRule(_Rule):
    """Episodes and their course (EPI-1 ... EPI-5)."""

    carry_d: PositiveInt
    persistent_d: PositiveInt
    persistent_minimum_n: PositiveInt
    severe_chronic_n: PositiveInt
    severe_chronic_d: PositiveInt
    recurrent_n: PositiveInt
    recurrent_d: PositiveInt
    prolonged_profound_d: PositiveInt
    isolated_low_d: PositiveInt
    stale_d: PositiveInt


class NoiseRule(_Rule):
    """Analytic and within-person variation, from which the reference change value follows (TRD-2)."""

    cv_within: PositiveFloat
    cv_analytic: PositiveFloat
    rcv_z: PositiveFloat
    lowest_cells_per_ul: PositiveFloat


class TrendRule(_Rule):
    """Personal baseline, trend and projection (TRD-1, TRD-3, TRD-4)."""

    baseline_from_d: PositiveInt
    baseline_to_d: PositiveInt
    baseline_minimum_n: PositiveInt
    window_d: PositiveInt
    minimum_n: PositiveInt
    minimum_days: PositiveInt
    interval_z: PositiveFloat
    efficiency: PositiveFloat
    projection_window_d: PositiveInt
    projection_to_cells_per_ul: PositiveFloat
    horizon_d: PositiveFloat
    projected_severe_d: PositiveFloat
    expected_severe_d: PositiveFloat


class CyclicRule(_Rule):
    """The cyclic pattern (EPI-3)."""

    period_from_d: PositiveFloat
    period_to_d: PositiveFloat
    minimum_n: PositiveInt
    median_spacing_d: PositiveFloat
    largest_gap_d: PositiveFloat
    minimum_cycles: PositiveFloat
    false_alarm_probability: PositiveFloat
    trough_below_cells_per_ul: PositiveFloat
    low_below_cells_per_ul: PositiveFloat
    trough_fraction_of_median: PositiveFloat
    minimum_troughs: PositiveInt
    cytotoxic_before_d: PositiveInt


class ContextRule(_Rule):
    """Severity in the patient's context (SEV-3)."""

    personal_fraction: PositiveFloat
    personal_from_cells_per_ul: PositiveFloat
    newborn_below_d: PositiveInt
    infant_below_d: PositiveInt
    infant_lower_limit_cells_per_ul: PositiveFloat


class ClozapineRule(_Rule):
    """Which schedule of clozapine monitoring applies (SEV-4); the schedules are rows of ``clozapine.csv``."""

    schedule: Literal["us", "eu"]
    first_low_repeat_h: PositiveInt


class CytopeniaRule(_Rule):
    """Low haemoglobin and platelets beside the neutropenia (SEV-5)."""

    haemoglobin_below_g_per_dl: PositiveFloat
    platelets_below_1e9_per_l: PositiveFloat
    anc_below_cells_per_ul: PositiveFloat
    within_d: PositiveInt
    severe_haemoglobin_below_g_per_dl: PositiveFloat
    severe_platelets_below_1e9_per_l: PositiveFloat


class MixUpRule(_Rule):
    """Signs of a mix-up of specimens (ANC-12)."""

    within_d: PositiveInt
    mcv_jump_fl: PositiveFloat
    repeat_within_h: PositiveInt
    repeat_ratio: PositiveFloat
    haemoglobin_jump_g_per_dl: PositiveFloat


class WorklistRule(_Rule):
    """Priority, groups and due dates (RULES.md section 7, EPI-6, WRK-2 ... WRK-4)."""

    new_d: PositiveInt
    settled_d: PositiveInt
    repeat_severe_h: PositiveInt
    repeat_moderate_h: PositiveInt
    repeat_mild_h: PositiveInt
    repeat_newborn_h: PositiveInt
    repeat_rapid_decline_h: PositiveInt
    lost_d: PositiveInt
    # A list of the file is no tuple to pydantic's strict mode.
    chronic_rules: Annotated[tuple[str, ...], Field(strict=False)]
    next_step_soon_h: PositiveInt
    pancytopenia_marrow_d: PositiveInt


class SilenceRule(_Rule):
    """When a feed, a laboratory, an analyte or a kind of data counts as silent or shrunken (quality/timeliness.py)."""

    newest_result_h: PositiveFloat
    laboratory_h: dict[str, PositiveFloat]
    usual_quantile: PositiveFloat
    usual_factor: PositiveFloat
    usual_gaps_n: PositiveInt
    minimum_gaps_n: PositiveInt
    shortest_d: PositiveFloat
    stopped_d: PositiveFloat
    history_d: PositiveInt
    minimum_nights_n: PositiveInt
    outages_n: PositiveInt
    laboratory_chance: Share
    analyte_chance: Share
    share_z: PositiveFloat
    calendar_arrivals_n: PositiveInt
    calendar_slack_d: PositiveInt
    shrunken_factor: PositiveFloat
    shrunken_z: PositiveFloat
    usual_scatter: PositiveFloat
    usual_scatter_n: PositiveInt


class DrugRule(_Rule):
    """Exposure and its relation to an episode (DRG-1, DRG-3)."""

    lag_d: PositiveInt
    recovery_d: PositiveInt


class BacktestRule(_Rule):
    """Which rows of the worklist a replay of past nights counts as alerts (pipeline/backtest)."""

    alert_priorities: Annotated[tuple[Literal["critical", "high", "medium", "low", "info"], ...], Field(strict=False)]


class Policy(_Rule):
    """All numbers of one policy. ``sha256`` names the values, wherever they came from."""

    version: str
    dates: DateRule
    specimen: SpecimenRule
    anc: AncRule
    unit_check: UnitCheckRule
    decimal_mark: DecimalMarkRule
    drift: DriftRule
    rpd_1: RapidDeclineRule
    rpd_2: RapidDeclineRule
    rpd_3: TrueDeclineRule
    rpd_4: NeutrophiliaRule
    episode: EpisodeRule
    noise: NoiseRule
    trend: TrendRule
    cyclic: CyclicRule
    context: ContextRule
    clozapine: ClozapineRule
    cytopenia: CytopeniaRule
    mix_up: MixUpRule
    worklist: WorklistRule
    drug: DrugRule
    silence: SilenceRule
    backtest: BacktestRule

    @property
    def sha256(self) -> str:
        """SHA-256 of the values in canonical JSON."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def load_policy(overrides: Path | None = None) -> Policy:
    """Read the built-in policy and a user's overrides on top of it.

    The file is TOML, or JSON as ``run.policy_values`` has it. An override is a value, or a table with ``value`` as in the
    built-in file, under the same section and name. A unit that it gives is converted into the built-in one.

    Raises:
        ReferenceDataError: a built-in entry has no value, unit or source.
        ConfigurationError: the user's file cannot be read, names an unknown entry or unit, or gives an impossible value
            or an impossible order of values.
    """
    return _loaded(overrides, _state_of(overrides))


def _state_of(path: Path | None) -> tuple[int, ...]:
    """What changes when a file is written again: a long-lived program must not go on with yesterday's numbers."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return ()
    return () if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _loaded(overrides: Path | None, state: tuple[int, ...]) -> Policy:
    return _overridden({} if overrides is None else _read(overrides), overrides.name if overrides else "policy.toml")


def policy_of_run(values: str | None) -> Policy:
    """The policy of a past run from ``run.policy_values``; the built-in one where a first version did not keep them.

    A number that this version has and that one had not is the built-in one; one that no rule reads any more is left out.

    Raises:
        ConfigurationError: the values are none of a policy.
    """
    if values is None:
        return load_policy()
    kept, builtin = json.loads(values), load_policy().model_dump()
    known = {
        section: {name: value for name, value in entries.items() if name in builtin[section]}
        if isinstance(entries, dict)
        else entries
        for section, entries in kept.items()
        if section in builtin
    }
    return _overridden(known, "run.policy_values")


def _overridden(own: Mapping[str, Any], where: str) -> Policy:
    """The built-in policy with a user's own entries on top."""
    builtin = _builtin()
    for section, name, entry in _entries(builtin):
        if not (isinstance(entry, dict) and entry.keys() >= ENTRY_KEYS):
            raise ReferenceDataError("entry without value, unit and source", where=f"policy.toml [{section}] {name}")
    known = _known_entries()
    chosen: dict[str, Any] = {"version": builtin["version"]}
    for section, name, entry in _entries(builtin):
        chosen.setdefault(section, {})[name] = entry["value"]
    try:
        chosen |= {name: value for name, value in own.items() if not isinstance(value, dict)}
        for section, name, given in _entries(own):
            chosen[section][name] = own_value(f"{section}.{name}", given, known)
        policy = Policy.model_validate(chosen)
        check_values(_numbers(policy), known)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise _refusal(f"policy entry {entry}: {first['msg']}", where) from None
    except PolicyEntryError as fault:
        raise _refusal(f"policy entry {fault}", where) from None
    return policy


def policy_faults(policy: Policy) -> list[str]:
    """Rules that the numbers of a policy keep from firing, in words; none under the built-in policy."""
    return kept_from_firing(_numbers(policy), _known_entries())


def policy_entries() -> list[tuple[str, str, Any, str, str]]:
    """Every number of the built-in policy: section, name, value, unit, source."""
    return [
        (section, name, entry["value"], entry["unit"], entry["source"]) for section, name, entry in _entries(_builtin())
    ]


def _refusal(what: str, where: str) -> ConfigurationError:
    return ConfigurationError(what, where=where, remedy="Compare with the built-in policy.toml. Nothing was screened.")


def _read(path: Path) -> dict[str, Any]:
    if is_stream(path):
        raise ConfigurationError("policy is a named pipe or device, no file", where=path.name)
    try:
        text = path.read_text("utf-8")
        read = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"policy cannot be read ({error.strerror})", where=path.name, remedy=neighbour(path, "policy.toml")
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"policy cannot be read: {error}", where=path.name) from None
    if not isinstance(read, dict):
        raise ConfigurationError("policy holds no entries by name", where=path.name)
    return read


@cache
def _builtin() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("policy.toml").read_text("utf-8"))


def _known_entries() -> dict[str, Entry]:
    return {f"{section}.{name}": Entry(value, unit) for section, name, value, unit, _ in policy_entries()}


def _numbers(policy: Policy) -> dict[str, Any]:
    """Every value of a policy by ``section.name``."""
    return {f"{section}.{name}": value for section, name, value in _entries(policy.model_dump())}


def _entries(policy: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (section, name, entry)
        for section, entries in policy.items()
        if isinstance(entries, dict)
        for name, entry in entries.items()
    ]

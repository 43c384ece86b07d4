"""The sections of ``policy.toml``, typed: which numbers each group of rules has."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

#: A chance: more than none, less than certain.
Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A group of numbers that cannot be changed, and has no others."""

    # Strict: "20" is no number and true is none either.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DateRule(Section):
    """Which dates there can be (ANC-9, ``rules.dates``)."""

    earliest_year: int = Field(ge=1, le=9999)
    latest_after_run_d: PositiveInt


class SpecimenRule(Section):
    """Times and identity of a specimen (ANC-1, ANC-9, ANC-12)."""

    future_tolerance_h: PositiveFloat
    reused_id_h: PositiveFloat
    aged_specimen_h: PositiveFloat


class AncRule(Section):
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


class UnitCheckRule(Section):
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


class DecimalMarkRule(Section):
    """When a laboratory's other values decide how 1,234 is read (FORMATS.md D.3)."""

    minimum_n: PositiveInt
    minority_fraction: PositiveFloat


class DriftRule(Section):
    """The earlier runs that an extract is compared with (drift_rules.csv)."""

    runs: PositiveInt
    told_n: PositiveInt
    least_n: PositiveInt
    least_scatter: PositiveFloat
    hour_fit: PositiveFloat


class RapidDeclineRule(Section):
    """One threshold rule of rapid decline (RPD-1, RPD-2)."""

    window_d: PositiveInt
    highest_fraction: PositiveFloat
    below_cells_per_ul: PositiveFloat
    carry_d: PositiveInt


class TrueDeclineRule(Section):
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


class NeutrophiliaRule(Section):
    """A fall from neutrophilia back to normal is no rapid decline; high-risk drugs are judged earlier (RPD-4)."""

    high_risk_below_cells_per_ul: PositiveFloat
    high_risk_window_d: PositiveInt
    high_risk_fraction: PositiveFloat
    neutrophilia_recent_d: PositiveInt
    neutrophilia_above_cells_per_ul: PositiveFloat
    normal_from_cells_per_ul: PositiveFloat


class EpisodeRule(Section):
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


class NoiseRule(Section):
    """Analytic and within-person variation, from which the reference change value follows (TRD-2)."""

    cv_within: PositiveFloat
    cv_analytic: PositiveFloat
    rcv_z: PositiveFloat
    lowest_cells_per_ul: PositiveFloat


class TrendRule(Section):
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


class CyclicRule(Section):
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


class ContextRule(Section):
    """Severity in the patient's context (SEV-3)."""

    personal_fraction: PositiveFloat
    personal_from_cells_per_ul: PositiveFloat
    newborn_below_d: PositiveInt
    infant_below_d: PositiveInt
    infant_lower_limit_cells_per_ul: PositiveFloat


class ClozapineRule(Section):
    """Which schedule of clozapine monitoring applies (SEV-4); the schedules are rows of ``clozapine.csv``."""

    schedule: Literal["us", "eu"]
    first_low_repeat_h: PositiveInt


class CytopeniaRule(Section):
    """Low haemoglobin and platelets beside the neutropenia (SEV-5)."""

    haemoglobin_below_g_per_dl: PositiveFloat
    platelets_below_1e9_per_l: PositiveFloat
    anc_below_cells_per_ul: PositiveFloat
    within_d: PositiveInt
    severe_haemoglobin_below_g_per_dl: PositiveFloat
    severe_platelets_below_1e9_per_l: PositiveFloat


class MixUpRule(Section):
    """Signs of a mix-up of specimens (ANC-12)."""

    within_d: PositiveInt
    mcv_jump_fl: PositiveFloat
    repeat_within_h: PositiveInt
    repeat_ratio: PositiveFloat
    haemoglobin_jump_g_per_dl: PositiveFloat


class WorklistRule(Section):
    """Priority, groups and due dates (RULES.md section 7, EPI-6, WRK-2 ... WRK-4)."""

    new_d: PositiveInt
    settled_d: PositiveInt
    repeat_severe_h: PositiveInt
    repeat_moderate_h: PositiveInt
    repeat_mild_h: PositiveInt
    repeat_newborn_h: PositiveInt
    repeat_rapid_decline_h: PositiveInt
    repeat_significant_fall_h: PositiveInt
    lost_d: PositiveInt
    # A list of the file is no tuple to pydantic's strict mode.
    chronic_rules: Annotated[tuple[str, ...], Field(strict=False)]
    next_step_soon_h: PositiveInt
    pancytopenia_marrow_d: PositiveInt


class SilenceRule(Section):
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


class DrugRule(Section):
    """Exposure and its relation to an episode (DRG-1, DRG-3)."""

    lag_d: PositiveInt
    recovery_d: PositiveInt


class BacktestRule(Section):
    """Which rows of the worklist a replay of past nights counts as alerts (pipeline/backtest)."""

    alert_priorities: Annotated[tuple[Literal["critical", "high", "medium", "low", "info"], ...], Field(strict=False)]

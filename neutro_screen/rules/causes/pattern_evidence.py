"""Evidence from the patterns of the blood count and from the episode's own course (MAL, INF-2, BMP, PER, CYC, CTX)."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.lines import DAY, evidence_lines
from neutro_screen.rules.words import number

_MALIGNANCY: Final = "haematologic malignancy"
_MARROW: Final = "marrow production"
#: How the congenital pattern begins (BMP-1).
CONGENITAL: Final = "severe from infancy"
#: How a single low value begins that may be an artefact (EPI-4).
ISOLATED: Final = "one low value between normal ones"


@dataclass(frozen=True)
class Pattern:
    """One line of evidence where ``condition`` holds (null = it does not); ``finding`` says it with its numbers."""

    rule_id: str
    category: str
    strength: str
    condition: pl.Expr
    finding: pl.Expr


def pattern_findings(
    episodes: pl.LazyFrame, patterns: pl.LazyFrame, patients: pl.LazyFrame, policy: Policy, rules: CauseRules
) -> pl.LazyFrame:
    """One line for each pattern of each episode; ``patterns`` comes from ``patterns.count_patterns``."""
    births = patients.select("patient_id", "birth_date").unique("patient_id", keep="first", maintain_order=True)
    cases = episodes.join(patterns, on=["patient_id", "episode_id"], how="left", validate="1:1").join(
        births, on="patient_id", how="left", validate="m:1"
    )
    return pl.concat(
        evidence_lines(
            cases.filter(one.condition.fill_null(False)),
            one.rule_id,
            one.category,
            one.strength,
            one.finding,
            "blood count; RULES.md",
        )
        for one in (
            _blasts(),
            *_other_lines(policy),
            _macrocytosis(rules),
            _many_white_cells(rules),
            _immature_cells(rules),
            _persistently_low(rules),
            _monocytopenia(policy, rules),
            _many_lymphocytes(rules),
            _many_eosinophils(rules),
            _left_shift(rules),
            _congenital(rules),
            _aplastic(policy, rules),
            _stable_mild(rules),
            _cyclic(),
            _isolated_low(policy),
        )
    )


def _nadir() -> pl.Expr:
    return pl.col("nadir_cells_per_ul")


def _platelets() -> pl.Expr:
    return pl.col("lowest_plt")


def _age_d() -> pl.Expr:
    return (pl.col("started_at").dt.date() - pl.col("birth_date")).dt.total_days()


def _days_low() -> pl.Expr:
    return (pl.col("last_low_at") - pl.col("started_at")).dt.total_days()


def _is_macrocytic(rules: CauseRules) -> pl.Expr:
    return pl.col("highest_mcv") > rules.pattern.mcv_above_fl


def _low_lines(policy: Policy) -> pl.Expr:
    """The low lines with their lowest values, in words."""
    limit = policy.cytopenia
    return pl.concat_str(
        pl.when(pl.col("lowest_hgb") < limit.haemoglobin_below_g_per_dl).then(
            pl.format("haemoglobin {} g/dL", pl.col("lowest_hgb").round(1))
        ),
        pl.when(_platelets() < limit.platelets_below_1e9_per_l).then(
            pl.format("platelets {} G/L", _platelets().round(0).cast(pl.Int64))
        ),
        separator=", ",
        ignore_nulls=True,
    )


def _blasts() -> Pattern:
    unit = pl.when(pl.col("blast_analyte").str.ends_with("_pct")).then(pl.lit("%")).otherwise(pl.lit("G/L"))
    finding = pl.format("blasts {} {} on {}", pl.col("blast_value"), unit, pl.col("blast_at").dt.strftime(DAY))
    return Pattern("MAL-1", _MALIGNANCY, "strong", pl.col("has_blasts"), finding)


def _other_lines(policy: Policy) -> tuple[Pattern, Pattern]:
    lines = _low_lines(policy)
    return (
        Pattern("MAL-1", _MALIGNANCY, "moderate", pl.col("n_low_lines") > 1, pl.format("pancytopenia: {}", lines)),
        Pattern("MAL-1", _MALIGNANCY, "weak", pl.col("n_low_lines") == 1, pl.format("bicytopenia: {}", lines)),
    )


def _macrocytosis(rules: CauseRules) -> Pattern:
    declined_d = (pl.col("nadir_at") - pl.col("last_normal_at")).dt.total_days()
    limit_d = rules.pattern.slow_decline_d
    is_slow = ((declined_d >= limit_d) | (_days_low() >= limit_d)).fill_null(False)
    finding = pl.format("macrocytosis (MCV {} fL) with slow decline", pl.col("highest_mcv").round(0).cast(pl.Int64))
    return Pattern("MAL-1", _MALIGNANCY, "moderate", _is_macrocytic(rules) & is_slow, finding)


def _many_white_cells(rules: CauseRules) -> Pattern:
    found = pl.col("highest_wbc") > rules.pattern.white_cells_above_giga_per_l
    finding = pl.format("white cells {} G/L with a low neutrophil count", pl.col("highest_wbc").round(1))
    return Pattern("MAL-1", _MALIGNANCY, "moderate", found, finding)


def _immature_cells(rules: CauseRules) -> Pattern:
    found = pl.col("immature_pct") > rules.pattern.immature_above_pct
    finding = pl.format("circulating immature cells {} %", pl.col("immature_pct").round(1))
    return Pattern("MAL-1", _MALIGNANCY, "weak", found, finding)


def _persistently_low(rules: CauseRules) -> Pattern:
    rule = rules.pattern
    days_below = pl.col("days_moderate") + pl.col("days_severe") + pl.col("days_profound")
    found = (days_below >= rule.persistent_below_d) & (_nadir() < rule.persistent_below_cells_per_ul)
    finding = pl.format(
        "ANC below {} cells/uL for {} days",
        pl.lit(number(rule.persistent_below_cells_per_ul)),
        days_below.round(0).cast(pl.Int64),
    )
    return Pattern("MAL-1", _MALIGNANCY, "weak", found, finding)


def _is_adult(rules: CauseRules) -> pl.Expr:
    """Old enough for the limits of adults at the first low count; also where the birth date is not on file."""
    return (_age_d() >= rules.pattern.adult_from_d).fill_null(True)


def _monocytopenia(policy: Policy, rules: CauseRules) -> Pattern:
    """Hardly a monocyte with pancytopenia: the pattern of hairy cell leukaemia."""
    found = (pl.col("n_low_lines") > 1) & (pl.col("highest_monocytes") <= rules.pattern.monocytes_at_most_giga_per_l)
    finding = pl.format(
        "monocytes {} G/L with pancytopenia ({}): hairy-cell pattern",
        pl.col("highest_monocytes").round(2),
        _low_lines(policy),
    )
    return Pattern("MAL-2", _MALIGNANCY, "moderate", found, finding)


def _many_lymphocytes(rules: CauseRules) -> Pattern:
    """Many lymphocytes with few neutrophils: large granular or chronic lymphocytic leukaemia."""
    found = (pl.col("highest_lymphocytes") > rules.pattern.lymphocytes_above_giga_per_l) & _is_adult(rules)
    finding = pl.format(
        "lymphocytes {} G/L with a low neutrophil count: LGL or CLL pattern", pl.col("highest_lymphocytes").round(1)
    )
    return Pattern("MAL-2", _MALIGNANCY, "weak", found, finding)


def _many_eosinophils(rules: CauseRules) -> Pattern:
    found = pl.col("highest_eosinophils") > rules.pattern.eosinophils_above_giga_per_l
    finding = pl.format(
        "eosinophils {} G/L with a low neutrophil count: a drug reaction, parasites or a clonal disease",
        pl.col("highest_eosinophils").round(1),
    )
    return Pattern("MAL-2", _MALIGNANCY, "weak", found, finding)


def _left_shift(rules: CauseRules) -> Pattern:
    """INF-2: neutrophils are consumed faster than they ripen."""
    is_shifted = pl.col("has_more_bands") | (pl.col("bands_pct") >= rules.pattern.bands_at_least_pct)
    more = pl.when("has_more_bands").then(pl.lit("as many bands as segmented cells or more, "))
    finding = pl.concat_str(
        pl.lit("left shift: "),
        more.fill_null(""),
        pl.format(
            "bands {} % of the white cells at a low count: consumption", pl.col("bands_pct").round(0).cast(pl.Int64)
        ),
    )
    return Pattern("INF-2", "infection", "moderate", is_shifted, finding)


def _congenital(rules: CauseRules) -> Pattern:
    age_d = _age_d()
    is_severe = pl.col("worst_severity") >= pl.lit("severe")
    found = is_severe & (age_d <= rules.pattern.congenital_age_d) & pl.col("last_normal_at").is_null()
    finding = pl.format(f"{CONGENITAL}: first low count at {{}} days of age, none normal before", age_d)
    return Pattern("BMP-1", _MARROW, "moderate", found, finding)


def _aplastic(policy: Policy, rules: CauseRules) -> Pattern:
    rule = rules.pattern
    found = (
        (_nadir() < rule.aplastic_below_cells_per_ul)
        & (_platelets() < rule.aplastic_platelets_below_giga_per_l)
        & (pl.col("n_low_lines") > 1)
        & ~pl.col("has_blasts")
    )
    finding = pl.format(
        "aplastic pattern: {}, lowest ANC {} cells/uL, no blasts", _low_lines(policy), _nadir().round(0).cast(pl.Int64)
    )
    return Pattern("BMP-1", _MARROW, "moderate", found, finding)


def _stable_mild(rules: CauseRules) -> Pattern:
    """The pattern of a large spleen: mild, stable, platelets low too."""
    rule = rules.pattern
    found = (
        (_days_low() >= rule.stable_d)
        & (_nadir() >= rule.stable_from_cells_per_ul)
        & (_platelets() < rule.stable_platelets_below_giga_per_l)
        & ~pl.col("has_blasts")
        & ~_is_macrocytic(rules).fill_null(False)
    )
    finding = pl.format(
        "mild stable pattern: ANC not below {} cells/uL in {} days, platelets {} G/L",
        _nadir().round(0).cast(pl.Int64),
        _days_low(),
        _platelets().round(0).cast(pl.Int64),
    )
    return Pattern("PER-1", "peripheral destruction", "weak", found, finding)


def _cyclic() -> Pattern:
    finding = pl.format("cyclic pattern with a period of {} days", pl.col("cycle_days").round(1))
    return Pattern("CYC-1", "cyclic", "strong", pl.col("is_cyclic"), finding)


def _isolated_low(policy: Policy) -> Pattern:
    finding = pl.lit(f"{ISOLATED} within {number(policy.episode.isolated_low_d)} days: possible artefact")
    return Pattern("CTX-1", "benign context", "moderate", pl.col("is_isolated_low"), finding)

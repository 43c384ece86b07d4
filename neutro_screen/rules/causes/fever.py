"""Body temperatures and febrile neutropenia (FEV-1)."""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_schemas import Flag
from neutro_screen.reference.causality import CauseRules, FeverRule
from neutro_screen.rules.causes.lines import DAY, SPAN, evidence_lines
from neutro_screen.rules.counts.specimens import SPECIMEN, is_retracted
from neutro_screen.rules.words import number
from neutro_screen.validate import dtypes

_NUMBER: Final = r"([0-9]+(?:[.,][0-9]+)?)"
_TIME: Final = "%Y-%m-%dT%H:%M:%S"
_SOURCE: Final = "temperature; RULES.md"


def temperatures(labs: pl.LazyFrame, events: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """All readable body temperatures: patient_id, at, celsius, sorted.

    A number above the highest plausible temperature is taken as Fahrenheit; one that is no body temperature in either
    scale is left out.
    """
    rule = rules.fever
    written = pl.col("detail").str.extract(_NUMBER).str.replace(",", ".").cast(pl.Float64)
    recorded = events.filter(pl.col("event") == "temperature").select("patient_id", at="occurred_at", read=written)
    measured = labs.filter((pl.col("analyte") == "temp_c") & ~is_retracted()).select(
        "patient_id", at="collected_at", read="value"
    )
    is_fahrenheit = (pl.col("read") > rule.highest_plausible_c) & (pl.col("read") <= rule.highest_plausible_f)
    return (
        pl.concat([recorded, measured])
        .with_columns(celsius=pl.when(is_fahrenheit).then((pl.col("read") - 32) * 5 / 9).otherwise("read").round(2))
        .filter(pl.col("celsius").is_between(rule.lowest_plausible_c, rule.highest_plausible_c))
        .select("patient_id", "at", "celsius")
        .sort("patient_id", "at", "celsius")
    )


def febrile_neutropenia(
    anc: pl.LazyFrame,
    labs: pl.LazyFrame,
    events: pl.LazyFrame,
    rules: CauseRules,
    expected_severe: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """FEV-1 per specimen, with the columns of ``Flag`` (episode_id null): one flag for each count that it holds for.

    Fever is one reading high enough, or readings at the lower limit that reach over the time of ``causality.toml``
    [fever] without a lower one between, near an ANC below its limit. ``expected_severe`` (patient_id, specimen_id) adds
    counts that are expected to fall below it.
    """
    at_risk = anc.filter(_is_at_risk(rules.fever))
    if expected_severe is not None:
        expected = anc.join(expected_severe, on=SPECIMEN, how="semi")
        at_risk = pl.concat([at_risk, expected]).unique(SPECIMEN, keep="first")
    window = timedelta(hours=rules.fever.window_h)
    return (
        at_risk.select(*SPECIMEN, "collected_at", "anc_cells_per_ul", "anc_comparator")
        .join(_fevers(temperatures(labs, events, rules), rules.fever), on="patient_id")
        .filter(pl.col("at").is_between(pl.col("collected_at") - window, pl.col("collected_at") + window))
        .sort(
            "patient_id", "collected_at", "specimen_id", "celsius", "at", descending=[False, False, False, True, False]
        )
        .unique(SPECIMEN, keep="first", maintain_order=True)
        .select(
            *SPECIMEN,
            episode_id=pl.lit(None, pl.String),
            rule_id=pl.lit("FEV-1"),
            raised_at="collected_at",
            reason=_reason(rules.fever),
            evidence=_flag_evidence(),
        )
        .select(list(dtypes(Flag)))
    )


def _is_at_risk(rule: FeverRule) -> pl.Expr:
    """The ANC lies below the limit of risk; a lower bound proves nothing."""
    count, comparator = pl.col("anc_cells_per_ul"), pl.col("anc_comparator")
    is_below = (count < rule.below_cells_per_ul) | (
        (count == rule.below_cells_per_ul) & (comparator == "<").fill_null(False)
    )
    return is_below & ~comparator.is_in([">", ">="]).fill_null(False)


def _reason(rule: FeverRule) -> pl.Expr:
    count = pl.concat_str(pl.col("anc_comparator").fill_null(""), pl.col("anc_cells_per_ul").round(0).cast(pl.Int64))
    return pl.format(
        "fever of {} degrees Celsius within {} h of an ANC of {} cells/uL",
        pl.col("celsius").round(1),
        pl.lit(number(rule.window_h)),
        count,
    )


def _flag_evidence() -> pl.Expr:
    return pl.struct(
        specimen_id="specimen_id",
        collected_at=pl.col("collected_at").dt.strftime(_TIME),
        anc_cells_per_ul="anc_cells_per_ul",
        temperature_at=pl.col("at").dt.strftime(_TIME),
        celsius="celsius",
    ).struct.json_encode()


def _fevers(readings: pl.LazyFrame, rule: FeverRule) -> pl.LazyFrame:
    """Readings that are fever: high enough once, or the later one of a run at the lower limit that lasted long enough."""
    warm = pl.col("celsius") >= rule.sustained_c
    return (
        readings.sort("patient_id", "at", "celsius")
        .with_columns(
            run=(warm != warm.shift(1)).fill_null(True).cum_sum().over("patient_id", order_by=["at", "celsius"])
        )
        .with_columns(lasted=pl.col("at") - pl.col("at").min().over("patient_id", "run"))
        .filter((pl.col("celsius") >= rule.once_c) | (warm & (pl.col("lasted") >= timedelta(hours=rule.sustained_h))))
        .select("patient_id", "at", "celsius")
    )


def fever_findings(
    episodes: pl.LazyFrame, anc: pl.LazyFrame, labs: pl.LazyFrame, events: pl.LazyFrame, rules: CauseRules
) -> pl.LazyFrame:
    """One line for every severe episode: febrile neutropenia, the highest temperature near it, or fever unknown."""
    severe = episodes.filter(pl.col("worst_severity") >= pl.lit("severe"))
    febrile = (
        febrile_neutropenia(anc, labs, events, rules)
        .select("patient_id", "raised_at", "reason")
        .join(severe.select(SPAN), on="patient_id")
        .filter(pl.col("raised_at").is_between("started_at", "last_low_at"))
        .sort("episode_id", "raised_at", "reason")
        .unique("episode_id", keep="first", maintain_order=True)
    )
    readings = temperatures(labs, events, rules)
    highest = _highest_near_severe_counts(severe, anc, readings, rules.fever).join(febrile, on="episode_id", how="anti")
    measured = pl.concat([highest.select("episode_id"), febrile.select("episode_id")])
    without = severe.join(measured, on="episode_id", how="anti")
    fever = pl.format("febrile neutropenia: {} ({})", "reason", pl.col("raised_at").dt.strftime(DAY))
    near = pl.format("highest temperature near a severe count {} degrees Celsius", pl.col("celsius").round(1))
    unknown = pl.lit("fever unknown: no temperature near the severe counts in this extract")
    return pl.concat(
        [
            evidence_lines(febrile, "FEV-1", "fever", "strong", fever, _SOURCE),
            evidence_lines(highest, "FEV-1", "fever", "context", near, _SOURCE),
            evidence_lines(without, "FEV-1", "fever", "context", unknown, "RULES.md"),
        ]
    )


def _highest_near_severe_counts(
    severe: pl.LazyFrame, anc: pl.LazyFrame, readings: pl.LazyFrame, rule: FeverRule
) -> pl.LazyFrame:
    """``episode_id, patient_id, celsius``: the highest temperature in the window around any severe count."""
    window = timedelta(hours=rule.window_h)
    low = (
        anc.filter(pl.col("severity") >= pl.lit("severe"))
        .select("patient_id", low_at="collected_at")
        .join(severe.select(SPAN), on="patient_id")
        .filter(pl.col("low_at").is_between("started_at", "last_low_at"))
    )
    return (
        low.join(readings, on="patient_id")
        .filter(pl.col("at").is_between(pl.col("low_at") - window, pl.col("low_at") + window))
        .group_by("episode_id", "patient_id")
        .agg(celsius=pl.col("celsius").max())
    )

"""The protocol of the screen, read from top to bottom: from accepted results to a worklist.

Pure: frames in, frames out; the index time is an argument; no files, no clock, no logging.
"""

from dataclasses import dataclass
from datetime import datetime

import pandera.polars as pa
import polars as pl

from neutro_schemas import (
    Anc,
    DrugSuspect,
    Episode,
    Evidence,
    Flag,
    Patient,
    PatientStatus,
    WorkupStep,
)
from neutro_screen.reference import Policy, Reference, load_policy, load_reference
from neutro_screen.rules import flags as raised
from neutro_screen.rules.anc import count_neutrophils
from neutro_screen.rules.episodes import episodes_per_patient, with_episode_numbers
from neutro_screen.rules.priority import episode_conditions, episode_reasons
from neutro_screen.rules.rapid_decline import with_rapid_decline
from neutro_screen.rules.severity import grades, severity
from neutro_screen.rules.status import cannot_assess, patient_status
from neutro_screen.validate import in_shape, no_rows


@dataclass(frozen=True)
class ScreenResult:
    """The tables of one screening, each as described by its model in ``neutro_schemas``, sorted.

    ``contradicted`` (patient_id, specimen_id, analyte, is_manual, reason) names results that the rest of their
    specimen refutes (ANC-9): they were not used and belong into quarantine.
    """

    anc: pl.DataFrame
    episode: pl.DataFrame
    flag: pl.DataFrame
    drug_suspect: pl.DataFrame
    evidence: pl.DataFrame
    workup_step: pl.DataFrame
    patient_status: pl.DataFrame
    cannot_assess: pl.DataFrame
    contradicted: pl.DataFrame


def screen(
    labs: pl.DataFrame,
    medications: pl.DataFrame | None = None,
    patients: pl.DataFrame | None = None,
    diagnoses: pl.DataFrame | None = None,
    events: pl.DataFrame | None = None,
    *,
    as_of: datetime,
    policy: Policy | None = None,
    unusable: pl.DataFrame | None = None,
) -> ScreenResult:
    """Screen the full history of some patients.

    ``labs`` has the columns of ``LabResult``; the others those of their models in ``neutro_schemas.chart``.
    ``unusable`` (patient_id, specimen_id, reason, since) are refused and missing results of these patients. ``as_of``
    is UTC; results after it are not looked at twice, they belong to the future.
    """
    reference, policy = load_reference(), policy or load_policy()
    patients = patients if patients is not None else no_rows(Patient)
    counted = count_neutrophils(labs, reference, policy)
    anc = counted.anc.lazy().pipe(with_grades, patients, reference).pipe(with_rapid_decline, policy).collect().lazy()
    numbered = with_episode_numbers(anc)
    episodes = episodes_per_patient(numbered, policy, as_of).collect().lazy()
    suspects, evidence, steps = no_rows(DrugSuspect).lazy(), no_rows(Evidence).lazy(), no_rows(WorkupStep).lazy()
    flags = (
        pl.concat(
            [
                raised.severity_flags(numbered, episodes),
                raised.rapid_decline_flags(anc, policy),
                raised.episode_flags(episodes),
            ],
            how="diagonal",
        )
        .pipe(raised.with_episode, episodes)
        .collect()
        .lazy()
    )
    episodes = with_priority(episodes, flags, numbered, reference).collect().lazy()
    missing = pl.concat(
        [
            counted.not_counted.select("patient_id", "specimen_id", "reason", since="collected_at"),
            anc.filter(pl.col("severity").is_null())
            .select("patient_id", "specimen_id", reason=pl.lit("indeterminate"), since="collected_at")
            .collect(),
            *([unusable] if unusable is not None else []),
        ]
    )
    unassessable = cannot_assess(missing.lazy(), anc).collect()
    status = patient_status(anc, episodes, flags, suspects, steps, known_patients(labs, missing), unassessable.lazy())
    return ScreenResult(
        anc=_anc_table(anc),
        episode=_table(episodes, Episode, "patient_id", "started_at"),
        flag=_table(flags, Flag, "patient_id", "raised_at", "rule_id", "specimen_id", "episode_id"),
        drug_suspect=_table(suspects, DrugSuspect, "episode_id", "rank", "ingredient"),
        evidence=_table(evidence, Evidence, "episode_id", "category", "rule_id", "finding"),
        workup_step=_table(steps, WorkupStep, "episode_id", "step"),
        patient_status=_table(status, PatientStatus, "patient_id"),
        cannot_assess=unassessable,
        contradicted=counted.contradicted,
    )


def known_patients(labs: pl.DataFrame, missing: pl.DataFrame) -> pl.LazyFrame:
    """Everybody with a result, used or not."""
    return pl.concat([labs.select("patient_id"), missing.select("patient_id")]).lazy().drop_nulls().unique()


def with_grades(anc: pl.LazyFrame, patients: pl.DataFrame, reference: Reference) -> pl.LazyFrame:
    """Add severity and the grades of every system, by the age at collection (SEV-1, SEV-2)."""
    count, comparator = pl.col("anc_cells_per_ul"), pl.col("anc_comparator")
    born = patients.lazy().group_by("patient_id").agg(pl.col("birth_date").min())
    age_days = (pl.col("collected_at").dt.date() - pl.col("birth_date")).dt.total_days()
    return (
        anc.join(born, on="patient_id", how="left")
        .with_columns(age_days=age_days, severity=severity(count, comparator, reference.anc_bands))
        .with_columns(**grades(count, comparator, pl.col("reference_low"), pl.col("age_days"), reference.grade_bands))
    )


def with_priority(
    episodes: pl.LazyFrame, flags: pl.LazyFrame, numbered: pl.LazyFrame, reference: Reference
) -> pl.LazyFrame:
    """Join to each episode what its priority depends on, and decide it (RULES.md section 7)."""
    declined = (
        flags.filter(pl.col("rule_id").str.starts_with("RPD-"))
        .select("episode_id").drop_nulls().unique().with_columns(has_rapid_decline=pl.lit(True))
    )  # fmt: skip
    bounded = (
        flags.filter(pl.col("rule_id").is_in(["SEV-1", "ANC-10"]))
        .group_by("episode_id")
        .agg(is_upper_bound_only=(pl.col("rule_id") == "ANC-10").sum() == (pl.col("rule_id") == "SEV-1").sum())
    )
    later = {
        name: pl.lit(False)
        for name in (
            "has_likely_drug_now", "has_high_risk_drug_now", "has_cytopenia", "has_blasts", "is_febrile",
            "is_expected", "has_pitfall", "is_projected_severe", "is_expected_severe_48h", "has_significant_fall",
            "is_within_personal_range",
        )
    }  # fmt: skip
    return (
        episodes.join(declined, on="episode_id", how="left")
        .join(bounded, on="episode_id", how="left")
        .with_columns(**later)
        .pipe(episode_reasons, episode_conditions(), reference)
    )


def _anc_table(anc: pl.LazyFrame) -> pl.DataFrame:
    routes = anc.with_columns(
        anc_low=pl.lit(None, pl.Float64),
        anc_high=pl.lit(None, pl.Float64),
        severity_in_context=pl.col("severity").cast(pl.String),
        baseline_cells_per_ul=pl.lit(None, pl.Float64),
        trend=pl.lit(None, pl.String),
        slope_log2_per_week=pl.lit(None, pl.Float64),
        rapid_decline=pl.col("rpd_1") | pl.col("rpd_2"),
        anc_reported=pl.coalesce("neut_abs", "neut_abs_manual"),
        anc_segs_and_bands=pl.coalesce("segs_and_bands", "segs_and_bands_manual"),
        anc_from_percent=pl.coalesce("from_percent", "from_percent_manual"),
        anc_manual="chosen_manual",
        wbc_cells_per_ul="wbc",
    )
    return _table(routes, Anc, "patient_id", "collected_at", "specimen_id")


def _table(frame: pl.LazyFrame, model: type[pa.DataFrameModel], *order: str) -> pl.DataFrame:
    return in_shape(frame.collect(), model).sort(order, nulls_last=True)

"""How well the screen sees the true course: measured on the project's simulator, noise-free truth known (RPD-3).

    python -m benchmarks.accuracy --seeds 201 202 203 --patients 3000
    python -m benchmarks.accuracy --enriched --seeds 401 402 403 --patients 3000

Seeds 901 to 903 of the enriched hospital (and once 1 to 3 and 101 to 103) were used while the numbers of policy.toml [rpd_3]
were chosen; report others.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from neutro_schemas import LabResult, ScreenedResult
from neutro_screen.ingest import ingest
from neutro_screen.reference import FOLDER, load_policy, load_reference
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.reference.drugs import read_drug_tables
from neutro_screen.rules.causes.drug_names import KEYS, match_medications, resolve_drug_names
from neutro_screen.rules.causes.exposures import exposures_per_patient
from neutro_screen.rules.counts.anc import count_neutrophils
from neutro_screen.rules.counts.results import judge_rows
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.course.cyclic import cyclic_series
from neutro_screen.rules.course.episodes import episodes_per_patient, with_episode_numbers
from neutro_screen.rules.course.rapid_decline import with_decline_verdict, with_rapid_decline
from neutro_screen.validate import split_valid
from neutro_simulator import Hospital, simulate_enriched_hospital, simulate_hospital, write_native

AS_OF = datetime.fromisoformat("2026-06-15T09:30:00")
#: A first alert longer before the first severe count belongs to another fall.
LEAD_LIMIT = timedelta(days=28)
#: A count was taken during the fall: its true value lay a fifth below the highest of the 60 days before.
FALL_FRACTION, FALL_DAYS = 0.8, 60


@dataclass(frozen=True)
class Decline:
    """One way of raising rapid declines. Lead times in days, over patients with a true decline and a count < 500;
    no alert before that count is a lead of 0. ``seen``: only those who were counted during the fall before it."""

    rule: str
    sensitivity: float
    n_could_show: int
    predictive_value: float
    specificity: float
    lead_median: float
    lead_mean: float
    n_lead: int
    lead_median_seen: float
    lead_mean_seen: float
    lead_share_seen: float
    n_seen: int


def main(arguments: Iterable[str]) -> None:
    """Measure each seed and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[201, 202, 203])
    parser.add_argument("--patients", type=int, default=3000)
    parser.add_argument("--enriched", action="store_true", help="the enriched hospital")
    asked = parser.parse_args(list(arguments))
    simulate = simulate_enriched_hospital if asked.enriched else simulate_hospital
    measured = [measure(simulate(asked.patients, seed, as_of=AS_OF), seed) for seed in asked.seeds]
    sys.stdout.write(json.dumps(measured, indent=2) + "\n")


def measure(hospital: Hospital, seed: int) -> dict[str, object]:
    """All figures of one simulated hospital."""
    policy = load_policy()
    anc, cytotoxic, high_risk = counted(hospital)
    judged = anc.lazy().pipe(with_rapid_decline, policy).pipe(with_decline_verdict, policy, high_risk.lazy()).collect()
    alerts = {
        "RPD-1 or RPD-2 alone": judged.filter(pl.col("rpd_1") | pl.col("rpd_2")),
        "verdict at the end": judged.filter("has_decline"),
        "verdict on the day of each result": judged.filter(pl.col("decline").is_not_null()),
    }
    seen_falls = counted_during_fall(hospital, anc)
    cyclic = cyclic_series(anc, policy, cytotoxic)
    truth = hospital.truth.with_columns(found=pl.col("patient_id").is_in(cyclic["patient_id"].implode()))
    return {
        "seed": seed,
        "patients": hospital.truth.height,
        "specimens": anc.height,
        "rapid_decline": [
            asdict(decline(rule, fired, hospital.truth, anc, seen_falls)) for rule, fired in alerts.items()
        ],
        "cyclic_sensitivity": share(truth.filter("is_cyclic")["found"]),
        "cyclic_specificity": 1 - share(truth.filter(~pl.col("is_cyclic"))["found"]),
        **course_agreement(anc),
    }


def counted(hospital: Hospital) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """ANC with severity, and the exposures to drugs of expected effect and of high risk, read from the extracts."""
    reference, policy = load_reference(), load_policy()
    tables, causes = read_drug_tables(FOLDER), load_cause_reference()
    with tempfile.TemporaryDirectory() as folder:
        write_native(hospital, Path(folder))
        extract = ingest(
            {
                "lab": [f"{folder}/labs.csv"],
                "patient": [f"{folder}/patients.csv"],
                "medication": [f"{folder}/medications.csv"],
            }
        )
    judged = judge_rows(extract.labs, reference, policy, as_of=AS_OF, patients=extract.patients)
    accepted = split_valid(judged.results, ScreenedResult).accepted.select(list(LabResult.to_schema().columns))
    anc = count_neutrophils(accepted.lazy(), reference, policy).anc.with_columns(
        severity=severity(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"), reference.anc_bands)
    )
    lines = extract.medications.select(KEYS).unique()
    exposures = exposures_per_patient(
        match_medications(extract.medications.lazy(), resolve_drug_names(lines, tables)), tables, policy, causes.rules
    ).collect()
    return (
        anc,
        exposures.filter("is_expected"),
        exposures.filter(pl.col("ingredient").is_in(causes.rules.drug_group.high_risk)),
    )


def counted_during_fall(hospital: Hospital, anc: pl.DataFrame) -> pl.Series:
    """Patients with a true decline of whom a count was taken in its course, before the first count < 500."""
    highest = pl.col("true_anc").rolling_max_by("collected_at", window_size=f"{FALL_DAYS}d").over("patient_id")
    before = pl.col("first_severe_at") - pl.col("collected_at")
    return (
        hospital.specimen_truth.sort("patient_id", "collected_at")
        .with_columns(fallen=pl.col("true_anc") <= FALL_FRACTION * highest)
        .join(first_severe(anc), on="patient_id")
        .filter(pl.col("fallen") & (before > timedelta()) & (before <= LEAD_LIMIT))["patient_id"]
        .unique()
    )


def first_severe(anc: pl.DataFrame) -> pl.DataFrame:
    """patient_id, first_severe_at: the first measured count below 500."""
    severe = anc.filter(pl.col("severity") >= pl.lit("severe"))
    return severe.group_by("patient_id").agg(first_severe_at=pl.col("collected_at").min())


def decline(rule: str, fired: pl.DataFrame, truth: pl.DataFrame, anc: pl.DataFrame, seen_falls: pl.Series) -> Decline:
    """Figures of one way of raising declines, per patient."""
    judged = truth.with_columns(flagged=pl.col("patient_id").is_in(fired["patient_id"].unique().implode()))
    severe = first_severe(anc)
    before = pl.col("first_severe_at") - pl.col("collected_at")
    alerts = (
        fired.join(severe, on="patient_id")
        .filter((before >= timedelta()) & (before <= LEAD_LIMIT))
        .group_by("patient_id")
        .agg(lead=before.max().dt.total_seconds() / timedelta(days=1).total_seconds())
    )
    leads = (
        truth.filter("has_true_rapid_decline")
        .join(severe, on="patient_id")
        .join(alerts, on="patient_id", how="left")
        .select("patient_id", pl.col("lead").fill_null(0.0))
    )
    seen = leads.filter(pl.col("patient_id").is_in(seen_falls.implode()))["lead"]
    return Decline(
        rule=rule,
        sensitivity=share(judged.filter("sampling_could_show_it")["flagged"]),
        n_could_show=judged.filter("sampling_could_show_it").height,
        predictive_value=share(judged.filter("flagged")["has_true_rapid_decline"]),
        specificity=1 - share(judged.filter(~pl.col("has_true_rapid_decline"))["flagged"]),
        lead_median=middle(leads["lead"]),
        lead_mean=average(leads["lead"]),
        n_lead=leads.height,
        lead_median_seen=middle(seen),
        lead_mean_seen=average(seen),
        lead_share_seen=share(seen > 0),
        n_seen=seen.len(),
    )


def course_agreement(anc: pl.DataFrame) -> dict[str, object]:
    """Worst severity and episodes of the rules against a plain walk through the measured values."""
    policy = load_policy()
    numbered = with_episode_numbers(anc.lazy())
    episodes = episodes_per_patient(numbered, policy, AS_OF).collect()
    found = {
        (row["patient_id"], row["started_at"], row["ended_at"], row["nadir_cells_per_ul"], str(row["worst_severity"]))
        for row in episodes.iter_rows(named=True)
    }
    walked = set(walk(anc))
    worst = anc.group_by("patient_id").agg(
        ruled=pl.col("severity").max().cast(pl.String), lowest=pl.col("anc_cells_per_ul").min()
    )
    agree = [row["ruled"] == band(row["lowest"]) for row in worst.iter_rows(named=True)]
    return {
        "episodes": len(walked),
        "episodes_exact": len(found & walked),
        "episodes_wrong": len(found - walked),
        "patients_counted": len(agree),
        "worst_severity_exact": sum(agree),
    }


def walk(anc: pl.DataFrame) -> Iterator[tuple[object, ...]]:
    """Episodes (patient, start, end, nadir, worst severity) by hand, from uncensored values."""
    for (patient,), values in anc.sort("collected_at", "specimen_id").group_by("patient_id", maintain_order=True):
        low: list[tuple[datetime, float]] = []
        for at, count in values.select("collected_at", "anc_cells_per_ul").iter_rows():
            if count < LIMITS[0][0]:
                low.append((at, count))
            elif low:
                yield _episode(patient, low, at)
                low = []
        if low:
            yield _episode(patient, low, None)


def _episode(patient: object, low: list[tuple[datetime, float]], ended: datetime | None) -> tuple[object, ...]:
    nadir = min(count for _, count in low)
    return patient, low[0][0], ended, nadir, band(nadir)


#: RULES.md SEV-1 once more, so that the measure does not rest on what it measures.
LIMITS = ((1500, "mild"), (1000, "moderate"), (500, "severe"), (100, "profound"))


def band(count: float) -> str:
    """Severity of a count by SEV-1."""
    return next((name for limit, name in reversed(LIMITS) if count < limit), "normal")


def share(flags: pl.Series) -> float:
    """Fraction of true values; not a number where there are none."""
    return float(flags.cast(pl.Float64).sum()) / flags.len() if flags.len() else float("nan")


def middle(values: pl.Series) -> float:
    """Median, to 2 decimals."""
    return round(float(values.sort()[values.len() // 2]), 2) if values.len() else float("nan")


def average(values: pl.Series) -> float:
    """Mean, to 2 decimals."""
    return round(float(values.sum()) / values.len(), 2) if values.len() else float("nan")


if __name__ == "__main__":
    main(sys.argv[1:])

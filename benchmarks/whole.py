"""The whole screen, tables as published, against the simulator's noise-free truth.

    python -m benchmarks.whole --seeds 301 302 303 --patients 3000
    python -m benchmarks.whole --enriched --seeds 401 402 403 --patients 3000

With --enriched the hospital is the enriched one and the figures of benchmarks.falls are added.

Seeds 1 to 3, 101 to 103, 201 to 203, 7717 to 7719 and 9001 to 9003 were used while numbers were chosen.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.falls import fall_figures, share
from neutro_screen.pipeline.handover import Screened
from neutro_screen.pipeline.ingest import ingest_step
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.plan import survey_step
from neutro_screen.pipeline.run import PART_STEPS
from neutro_simulator import EnrichedHospital, Hospital, simulate_enriched_hospital, simulate_hospital, write_native

AS_OF = datetime.fromisoformat("2026-06-15T09:30:00")


def main() -> None:
    """Print one JSON line per seed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.whole")
    options.add_argument("--seeds", type=int, nargs="+", default=[301, 302, 303])
    options.add_argument("--patients", type=int, default=3000)
    options.add_argument("--enriched", action="store_true")
    chosen = options.parse_args()
    for seed in chosen.seeds:
        if chosen.enriched:
            hospital = simulate_enriched_hospital(chosen.patients, seed, as_of=AS_OF)
            figures = measure_enriched(hospital, screened(hospital))
        else:
            plain = simulate_hospital(chosen.patients, seed, as_of=AS_OF)
            figures = measure(plain, screened(plain))
        sys.stdout.write(json.dumps({"seed": seed} | figures) + "\n")
        sys.stdout.flush()


def measure_enriched(hospital: EnrichedHospital, work: Workspace) -> dict[str, Any]:
    """The figures of `measure` and those of each fall; needs the tables `fall` and `drug_suspect` with fall_id."""
    falls = fall_figures(
        hospital, work.kept(Screened).tables["fall"], work.kept(Screened).tables["drug_suspect"], AS_OF
    )
    return measure(hospital, work) | asdict(falls)


def screened(hospital: Hospital) -> Workspace:
    """The hospital through the steps of a run, as far as the screen's tables."""
    work = Workspace()
    with tempfile.TemporaryDirectory() as folder:
        write_native(hospital, Path(folder), with_course=False)
        kinds = ("labs", "medications", "patients", "diagnoses", "events")
        paths: dict[str, Any] = {kind: (f"{folder}/{kind}.csv",) for kind in kinds}
        settings = RunOptions(store=Path(folder) / "store" / "s.duckdb", as_of=AS_OF, **paths)
        for step in (ingest_step, survey_step, *PART_STEPS):
            step(settings, work)
    return work


def measure(hospital: Hospital, work: Workspace) -> dict[str, Any]:
    """Rapid decline and cyclic per patient; the true drug's rank per first drug-caused episode; false suspects."""
    status, episodes, suspects = (
        work.kept(Screened).tables[table] for table in ("patient_summary", "episode", "drug_suspect")
    )
    found = status.select("patient_id", "has_rapid_decline", found_cyclic="is_cyclic")
    patients = hospital.truth.join(found, on="patient_id", how="left").with_columns(
        pl.col("has_rapid_decline", "found_cyclic").fill_null(False)
    )
    visible = patients.filter(pl.col("has_true_rapid_decline") & pl.col("sampling_could_show_it"))
    without = patients.filter(~pl.col("has_true_rapid_decline"))
    drug_caused = patients.filter(pl.col("causal_ingredient").is_not_null())
    first = (
        episodes.join(drug_caused.select("patient_id", "causal_ingredient", "onset_at"), on="patient_id")
        .filter(pl.col("started_at") >= pl.col("onset_at") - pl.duration(days=1))
        .sort("patient_id", "started_at")
        .unique("patient_id", keep="first", maintain_order=True)
        .join(
            suspects.filter((pl.col("rank") == 1) & pl.col("leads_to_nadir")).select("episode_id", "ingredient"),
            on="episode_id",
            how="left",
        )
        .group_by("episode_id")
        .agg(is_first=(pl.col("ingredient") == pl.col("causal_ingredient")).any().fill_null(False))
    )
    no_drug = patients.filter(pl.col("causal_ingredient").is_null()).select("patient_id")
    accused = suspects.filter(pl.col("category") == "likely").join(no_drug, on="patient_id")
    seen = work.kept(Screened).tables["fall"].select("fall_id", "seen_at")
    ranked = suspects.filter(pl.col("rank").is_not_null()).join(seen, on="fall_id")
    return {
        "rapid_decline_sensitivity": share(visible["has_rapid_decline"]),
        "rapid_decline_ppv": share(patients.filter("has_rapid_decline")["has_true_rapid_decline"]),
        "rapid_decline_specificity": 1 - share(without["has_rapid_decline"]),
        "cyclic_sensitivity": share(patients.filter("is_cyclic")["found_cyclic"]),
        "cyclic_specificity": 1 - share(patients.filter(~pl.col("is_cyclic"))["found_cyclic"]),
        "true_drug_first": share(first["is_first"]),
        "drug_episodes": first.height,
        "likely_episodes_without_drug_cause": accused["episode_id"].n_unique(),
        "episodes_without_drug_cause": episodes.join(no_drug, on="patient_id").height,
        "likely_patients_without_drug_cause": accused["patient_id"].n_unique(),
        "patients_without_drug_cause": no_drug.height,
        "ranked_suspects_begun_after_the_fall": ranked.filter(
            pl.col("first_exposure") >= pl.col("seen_at").dt.date()
        ).height,
    }


if __name__ == "__main__":
    main()

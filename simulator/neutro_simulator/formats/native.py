"""The hospital in the native layout, as CSV and as Parquet; and what the other formats put beside their own files."""

from pathlib import Path

import polars as pl

from neutro_simulator.hospital import Hospital

#: Paths by kind of file (lab, medication, patient, diagnosis, event).
Paths = dict[str, list[str]]


def write_native(of: Hospital, folder: Path) -> Paths:
    """One CSV file a kind."""
    paths = {}
    for kind, frame in frames_by_kind(of).items():
        frame.write_csv(folder / f"{kind}.csv")
        paths[kind] = [str(folder / f"{kind}.csv")]
    return paths


def write_parquet(of: Hospital, folder: Path) -> Paths:
    """One Parquet file a kind."""
    paths = {}
    for kind, frame in frames_by_kind(of).items():
        frame.write_parquet(folder / f"{kind}.parquet")
        paths[kind] = [str(folder / f"{kind}.parquet")]
    return paths


def frames_by_kind(of: Hospital) -> dict[str, pl.DataFrame]:
    """The extracts by kind of file."""
    return {
        "lab": of.labs,
        "medication": of.medications,
        "patient": of.patients,
        "diagnosis": of.diagnoses,
        "event": of.events,
    }


def events_beside(of: Hospital, folder: Path) -> list[str]:
    """Events, which no other format has, as CSV of the native layout."""
    of.events.write_csv(folder / "events.csv")
    return [str(folder / "events.csv")]


def beside(of: Hospital, folder: Path) -> Paths:
    """Diagnoses and events, which a format of its own does not have."""
    of.diagnoses.write_csv(folder / "diagnoses.csv")
    return {"diagnosis": [str(folder / "diagnoses.csv")], "event": events_beside(of, folder)}

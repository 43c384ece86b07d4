"""The enriched hospital: what the plain one leaves out, with a truth of every fall and of every record's end."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import numpy as np
import polars as pl

from neutro_simulator.causes import CAUSES
from neutro_simulator.falls import fall_truth
from neutro_simulator.fates import Fates, drawn_fates, with_record_end
from neutro_simulator.hospital import (
    DATE_FORMAT,
    TIME_FORMAT,
    GroupExtract,
    Hospital,
    assembled,
    group_extract,
    group_sizes,
    index_day,
    patient_ids,
)
from neutro_simulator.scenario import Group, grid
from neutro_simulator.truth import moment

RETRACTED = ("X", "C")


@dataclass(frozen=True)
class EnrichedHospital(Hospital):
    """As Hospital; patients have a death_date, and there are two truth tables more.

    The truth ends with the record of a patient: no course, no fall and no decline after a death or the last visit.
    fall_truth: one row a true fall (columns: `falls.fall_truth`).
    fate_truth: patient_id, fate (`died`, `lost_to_follow_up`, `withdrawn`), at, specimen_id. `lost_to_follow_up`: the
        last day on which the patient would have come. `withdrawn`: when a falsely low count was cancelled or corrected;
        only here is there a specimen_id.
    """

    fall_truth: pl.DataFrame
    fate_truth: pl.DataFrame


def simulate_enriched_hospital(
    patients: int, seed: int, *, as_of: datetime, mix: Mapping[str, float] | None = None, dirt: float = 0.02
) -> EnrichedHospital:
    """A hospital with drug falls on mild counts, several falls in an episode, interactions, late reactions, rivals
    stopped on the same day, courses beyond expectation, withdrawn counts, deaths and patients who stop coming.

    Arguments and errors as for `simulate_hospital`; default mix: [mix_enriched] of enriched.toml.
    """
    if not 0.0 <= dirt <= 1.0:
        raise ValueError("dirt is a share from 0 to 1")
    now = as_of.astimezone(UTC).replace(tzinfo=None) if as_of.tzinfo else as_of
    midnight, until_day = index_day(now)
    rng = np.random.Generator(np.random.PCG64(seed))
    ids, days = patient_ids(rng, patients), grid()
    extracts: list[GroupExtract] = []
    falls: list[pl.DataFrame] = []
    ends: list[pl.DataFrame] = []
    first = 0
    for cause, size in group_sizes(patients, mix, "mix_enriched").items():
        if not size:
            continue
        group, own = Group(cause, size, rng, days), ids[first : first + size]
        scenario = CAUSES[cause](group)
        fates = drawn_fates(group, scenario, until_day)
        scenario = with_record_end(scenario, group, fates.record_end)
        ends.append(_ends(fates, own, midnight))
        falls.append(fall_truth(cause, scenario, days, own, midnight, until_day))
        extracts.append(_until_record_end(group_extract(scenario, group, own, now), ends[-1]))
        first += size
    withdrawn = pl.concat([_withdrawn(extract.labs) for extract in extracts])
    hospital = assembled(extracts, rng, now, dirt, 0)
    parts = {part.name: getattr(hospital, part.name) for part in fields(hospital)}
    return EnrichedHospital(
        **parts,
        fall_truth=pl.concat(falls).sort("patient_id", "started_at"),
        fate_truth=pl.concat([*ends, withdrawn]).sort("patient_id", "fate"),
    )


def _ends(fates: Fates, ids: pl.Series, midnight: datetime) -> pl.DataFrame:
    """patient_id, fate, at, specimen_id (null) of those whose record ends."""
    days = {"died": fates.death_day, "lost_to_follow_up": fates.lost_day}
    return pl.concat(
        pl.DataFrame({"patient_id": ids, "day": day})
        .filter(pl.col("day").is_not_nan())
        .select(
            "patient_id",
            fate=pl.lit(fate),
            at=moment(pl.col("day"), midnight),
            specimen_id=pl.lit(None, dtype=pl.String),
        )
        for fate, day in days.items()
    )


def _until_record_end(extract: GroupExtract, ends: pl.DataFrame) -> GroupExtract:
    """The extract with a death_date, and no true course after the end of a record."""
    died = ends.filter(pl.col("fate") == "died").select("patient_id", death_date=pl.col("at").dt.to_string(DATE_FORMAT))
    ended = ends.group_by("patient_id").agg(end=pl.col("at").min())
    parts = {part.name: getattr(extract, part.name) for part in fields(extract)}
    parts["patients"] = extract.patients.join(died, on="patient_id", how="left", maintain_order="left")
    course = extract.true_course.join(ended, on="patient_id", how="left", maintain_order="left")
    parts["true_course"] = course.filter((pl.col("at") <= pl.col("end")).fill_null(value=True)).drop("end")
    return GroupExtract(**parts)


def _withdrawn(labs: pl.DataFrame) -> pl.DataFrame:
    """The specimens of clean lab rows that were taken back."""
    return (
        labs.filter(pl.col("status").is_in(RETRACTED))
        .group_by("patient_id", "specimen_id")
        .agg(at=pl.col("resulted_at").str.to_datetime(TIME_FORMAT).max())
        .select("patient_id", fate=pl.lit("withdrawn"), at="at", specimen_id="specimen_id")
    )

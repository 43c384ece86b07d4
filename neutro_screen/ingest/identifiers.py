"""Whether the patient's place holds another number (ANC-1): an accession number makes every specimen a patient of its own."""

from datetime import timedelta
from typing import Final

import polars as pl

from neutro_screen.recognition.words import limits

SUSPECT: Final = "patient_identifier_suspect"


def identifier_notes(labs: pl.DataFrame) -> tuple[str, ...]:
    """The note of a file, from its first batch (``LabRow``), where the patient identifier looks like a specimen's.

    Nearly every patient has one specimen, and either the identifier is that of the specimen, or the rows span weeks.
    """
    bounds = limits()
    nearly_every = bounds["identifier_nearly_every"]
    drawn = (
        labs.head(int(bounds["identifier_rows"]))
        .filter(pl.col("patient_id").is_not_null())
        .select(
            "patient_id",
            "specimen_id",
            "collected_at",
            specimen=pl.coalesce("specimen_id", pl.col("collected_at").cast(pl.String)),
        )
        .unique()
    )
    n_specimens = drawn.group_by("patient_id").agg(pl.col("specimen").n_unique())["specimen"]
    few = n_specimens.len() < bounds["identifier_fewest_patients"]
    if few or (n_specimens == 1).sum() < nearly_every * n_specimens.len():
        return ()
    numbered = drawn.drop_nulls("specimen_id")
    is_the_same = (numbered["patient_id"] == numbered["specimen_id"]).sum() >= nearly_every * numbered.height > 0
    long_time = timedelta(days=bounds["identifier_long_time"])
    is_long = n_specimens.len() >= bounds["identifier_many_patients"] and bool(
        drawn.select(pl.col("collected_at").max() - pl.col("collected_at").min() >= long_time).item()
    )
    return (f"{SUSPECT}:one_specimen_each",) if is_the_same or is_long else ()

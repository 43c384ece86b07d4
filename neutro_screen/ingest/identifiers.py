"""Whether the patient's place holds another number (ANC-1): an accession number makes every specimen a patient of its own."""

from datetime import timedelta
from typing import Final

import polars as pl

#: Engineering judgement: fewer patients prove nothing.
_LEAST_PATIENTS: Final = 3
#: Share of the patients who have one specimen only.
_NEARLY_EVERY: Final = 0.95
#: Without other evidence: so many patients, over so long a time, of whom nobody was drawn twice.
_MANY_PATIENTS: Final = 20
_LONG_TIME: Final = timedelta(days=28)
_ROWS_LOOKED_AT: Final = 50_000
SUSPECT: Final = "patient_identifier_suspect"


def identifier_notes(labs: pl.DataFrame) -> tuple[str, ...]:
    """The note of a file, from its first batch (``LabRow``), where the patient identifier looks like a specimen's.

    Nearly every patient has one specimen, and either the identifier is that of the specimen, or the rows span weeks.
    """
    drawn = (
        labs.head(_ROWS_LOOKED_AT)
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
    if n_specimens.len() < _LEAST_PATIENTS or (n_specimens == 1).sum() < _NEARLY_EVERY * n_specimens.len():
        return ()
    numbered = drawn.drop_nulls("specimen_id")
    is_the_same = (numbered["patient_id"] == numbered["specimen_id"]).sum() >= _NEARLY_EVERY * numbered.height > 0
    is_long = n_specimens.len() >= _MANY_PATIENTS and bool(
        drawn.select(pl.col("collected_at").max() - pl.col("collected_at").min() >= _LONG_TIME).item()
    )
    return (f"{SUSPECT}:one_specimen_each",) if is_the_same or is_long else ()

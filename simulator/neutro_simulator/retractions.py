"""Results that the laboratory takes back: a falsely low specimen, cancelled or corrected some hours later."""

from datetime import datetime

import numpy as np
import polars as pl

from neutro_simulator.laboratories import reported
from neutro_simulator.parameters import draw
from neutro_simulator.scenario import Group, Scenario

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
MINUTES_PER_HOUR = 60.0


def retracted_rows(
    clean: pl.DataFrame, specimens: pl.DataFrame, scenario: Scenario, group: Group, now: datetime
) -> pl.DataFrame:
    """The rows that take back the artefact specimen of each patient, as far as they were sent by the index time.

    Takes the group's reported rows and the specimens behind them. A cancelled specimen is sent again with status X and
    no value; a corrected one with status C and what the patient's blood would have shown.
    """
    kind = pl.Series("kind", scenario.retraction, dtype=pl.String)
    after = draw(group.rng, "withdrawn_count", "after_hours", group.size) * MINUTES_PER_HOUR
    person = specimens["patient"].to_numpy()
    is_artefact = np.floor(scenario.artefact_visit)[person] == np.floor(specimens["day"].to_numpy())
    false = specimens.with_columns(
        kind.gather(specimens["patient"]).alias("kind"), after=pl.Series(after[person]).round(0).cast(pl.Int64)
    ).filter(pl.Series(is_artefact))
    true_cells = false.with_columns(pl.col("anc", "bands") * pl.col("true_anc") / pl.col("anc"))
    sent = pl.col("resulted_at").str.to_datetime(TIME_FORMAT) + pl.duration(minutes="after")
    of_specimen = false.select("specimen_id", "kind", "after")
    cancelled = clean.join(of_specimen.filter(pl.col("kind") == "cancelled"), on="specimen_id").with_columns(
        value=pl.lit(None, dtype=pl.String), status=pl.lit("X")
    )
    corrected = (
        reported(true_cells, group.rng)
        .join(of_specimen.filter(pl.col("kind") == "corrected"), on="specimen_id")
        .with_columns(status=pl.lit("C"))
    )
    return (
        pl.concat([cancelled, corrected])
        .filter(sent <= now)
        .with_columns(resulted_at=sent.dt.to_string(TIME_FORMAT))
        .select(clean.columns)
    )

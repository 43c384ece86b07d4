"""What the readers found in one or more files, all kinds together."""

from dataclasses import dataclass, field

import polars as pl

from neutro_screen.ingest.frames import Kind, Refused, SourceFile
from neutro_screen.ingest.profile import Profile


@dataclass(frozen=True)
class Extract:
    """The canonical frames of one or more sources.

    ``labs`` has the columns of ``LabRow``; the others those of their models in ``neutro_schemas.chart``, not yet
    validated. ``refused`` are the rows that no column could be read from.
    """

    labs: pl.DataFrame
    medications: pl.DataFrame
    patients: pl.DataFrame
    diagnoses: pl.DataFrame
    events: pl.DataFrame
    #: how the source writes; ``neutro_screen.screen`` goes by it
    profile: Profile = field(default_factory=Profile)
    files: tuple[SourceFile, ...] = ()
    refused: dict[Kind, list[Refused]] = field(default_factory=dict)

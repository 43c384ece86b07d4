"""One table of this folder, read and checked: every table of data goes through here."""

from pathlib import Path
from typing import Final

import pandera.polars as pa
import polars as pl

from neutro_screen.errors import ReferenceDataError
from neutro_screen.validate import conform, dtypes

FOLDER: Final = Path(__file__).parent


def reference_table(name: str, model: type[pa.DataFrameModel], folder: Path = FOLDER) -> pl.DataFrame:
    """A table of the folder, checked against its contract.

    Raises:
        ReferenceDataError: it does not fit; the message names column, check and number of rows.
    """
    table = pl.read_csv(folder / name, schema_overrides=dtypes(model))
    return conform(table, model, ReferenceDataError, where=name)

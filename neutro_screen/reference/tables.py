"""One table of this folder, read and checked: every table of data goes through here."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import pandera.polars as pa
import polars as pl

from neutro_screen.errors import ReferenceDataError
from neutro_screen.validate import conform, dtypes

FOLDER: Final = Path(__file__).parent


def reference_table(name: str, model: type[pa.DataFrameModel], folder: Path = FOLDER) -> pl.DataFrame:
    """A table of the folder, checked against its contract.

    A table that is byte by byte the one that was checked when the package was made (checked.csv) is not checked again:
    forty of them would cost each start half a second.

    Raises:
        ReferenceDataError: it does not fit; the message names column, check and number of rows.
    """
    content = (folder / name).read_bytes()
    try:
        table = pl.read_csv(content, schema_overrides=dtypes(model))
    except pl.exceptions.PolarsError as error:
        raise ReferenceDataError(
            f"is no table of {len(dtypes(model))} columns: {str(error).splitlines()[0]}",
            where=name,
            remedy="A text with a comma stands in quotes.",
        ) from None
    if checked_tables().get(f"{name} {model.__name__}") == hashlib.sha256(content).hexdigest():
        return table
    return conform(table, model, ReferenceDataError, where=name)


@cache
def checked_tables() -> dict[str, str]:
    """Table and contract -> SHA-256 of the content that fits it; the record that ``python -m tests.spec.checked`` makes."""
    return dict(pl.read_csv(FOLDER / "checked.csv", infer_schema=False).iter_rows())

"""The only caller of pandera: frames are checked here, eagerly, and split into accepted and rejected rows.

pandera skips value checks on a LazyFrame without a word, and the text of its errors quotes cell values; so only
DataFrames are validated, and only column, check and count leave this module.
"""

from functools import cache
from inspect import get_annotations
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from neutro_screen.errors import NeutroScreenError, RefusedInputError


class Split(NamedTuple):
    """``accepted`` has the frame's columns; ``rejected`` has them and ``reason`` and ``column`` (String) besides."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame


def split_valid(frame: pl.DataFrame, model: type[pa.DataFrameModel]) -> Split:
    """Split the rows of a frame by a pandera model; a row is rejected for the first check of the model that it fails.

    The reason is the name of the failed check, ``missing_<column>`` for a null that may not be.

    Raises:
        RefusedInputError: a column is missing or has the wrong type, so that no row can be judged.
    """
    failures = _failures(frame, model)
    if failures is None:
        return Split(frame, frame.clear().with_columns(reason=pl.lit(None, pl.String), column=pl.lit(None, pl.String)))
    unjudged = failures.filter(pl.col("index").is_null())
    if unjudged.height:
        named = ", ".join(sorted(set(unjudged["column"].drop_nulls().to_list())))
        raise RefusedInputError(f"columns missing or of the wrong type: {named}", where=model.__name__)
    order = {name: position for position, name in enumerate(_checks_in_order(model))}
    first = (
        failures.select(
            row=pl.col("index").cast(pl.UInt32),
            column="column",
            reason=pl.when(pl.col("check") == "not_nullable")
            .then(pl.concat_str(pl.lit("missing_"), "column"))
            .otherwise("check"),
        )
        .sort("row", pl.col("reason").replace_strict(order, default=-1), "reason")
        .unique("row", keep="first", maintain_order=True)
    )
    is_rejected = pl.int_range(frame.height, dtype=pl.UInt32, eager=True).is_in(first["row"].implode())
    return Split(
        frame.filter(~is_rejected), frame[first["row"]].with_columns(first.select("reason", "column").get_columns())
    )


def conform(
    frame: pl.DataFrame, model: type[pa.DataFrameModel], error: type[NeutroScreenError], where: str
) -> pl.DataFrame:
    """Return the frame unchanged if it fits the model.

    Raises:
        error: it does not; the message names column, check and number of rows, never a value.
    """
    failures = _failures(frame, model)
    if failures is None:
        return frame
    counted = failures.group_by("column", "check").len().sort("column", "check").head(5).iter_rows()
    raise error("; ".join(f"{column}: {check} ({rows} rows)" for column, check, rows in counted), where=where)


def no_rows(model: type[pa.DataFrameModel]) -> pl.DataFrame:
    """An empty frame with the columns and types of a model."""
    return pl.DataFrame(schema=dtypes(model))


def in_shape(frame: pl.DataFrame, model: type[pa.DataFrameModel]) -> pl.DataFrame:
    """The frame with exactly the columns and types of a model, in its order."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in dtypes(model).items())


@cache
def dtypes(model: type[pa.DataFrameModel]) -> dict[str, pl.DataType]:
    """Column -> polars type of a model, in order.

    By its annotations: pandera needs some milliseconds for the schema of a model, and most are asked for no more than this.
    """
    own = [
        base
        for base in reversed(model.__mro__)
        if issubclass(base, pa.DataFrameModel) and base is not pa.DataFrameModel
    ]
    return {name: _dtype(annotation) for base in own for name, annotation in get_annotations(base).items()}


def _dtype(annotation: Any) -> pl.DataType:
    kind, *arguments = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    dtype: pl.DataType = _OF_PYTHON.get(kind, kind)(*arguments)
    return dtype


_OF_PYTHON: Final = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}


def _failures(frame: pl.DataFrame, model: type[pa.DataFrameModel]) -> pl.DataFrame | None:
    # Where there is no row, no check of a value can fail: most kinds of a night have none, and pandera takes its time for each.
    if not frame.height and all(frame.schema.get(name) == dtype for name, dtype in dtypes(model).items()):
        return None
    try:
        model.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if not isinstance(cases, pl.DataFrame):  # pandera's type says so too; the backend is polars
            raise TypeError("pandera did not report failure cases as a polars frame") from None
        return cases
    return None


def _checks_in_order(model: type[pa.DataFrameModel]) -> list[str]:
    return [
        name
        for column, contract in model.to_schema().columns.items()
        for name in (f"missing_{column}", *(str(check.name) for check in contract.checks))
    ]

"""The columns of a contract as they are read from its annotations are those that pandera checks."""

import pandera.polars as pa
import polars as pl
import pytest

from neutro_schemas import cause_reference, chart, drug_reference, lab_result, reference, result, store
from neutro_screen.errors import RefusedInputError, StoreError
from neutro_screen.validate import conform, dtypes, no_rows, split_valid

_MODULES = (cause_reference, chart, drug_reference, lab_result, reference, result, store)
_MODELS = {
    model.__name__: model
    for module in _MODULES
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, pa.DataFrameModel) and model is not pa.DataFrameModel
}


@pytest.mark.parametrize("name", _MODELS)
def test_names_order_and_types_are_those_of_the_schema(name: str) -> None:
    """A column that were read as another type would be stored, or a table published, in another shape than is checked."""
    of_pandera = {column: contract.dtype.type for column, contract in _MODELS[name].to_schema().columns.items()}
    read = dtypes(_MODELS[name])
    assert list(read.items()) == list(of_pandera.items())


@pytest.mark.parametrize("name", ["LabRow", "Medication", "Patient", "RejectedRow"])
def test_a_frame_without_rows_is_checked_for_its_columns_all_the_same(name: str) -> None:
    """A night without medications must not pass a list whose columns are not what the rules read."""
    model, empty = _MODELS[name], no_rows(_MODELS[name])
    first = empty.columns[0]
    assert conform(empty, model, StoreError, where="a table").equals(empty)
    for wrong in (empty.drop(first), empty.with_columns(pl.col(first).cast(pl.Binary))):
        with pytest.raises(StoreError, match=f"{name}|{first}"):
            conform(wrong, model, StoreError, where="a table")
        with pytest.raises(RefusedInputError, match=f"{name}|{first}"):
            split_valid(wrong, model)

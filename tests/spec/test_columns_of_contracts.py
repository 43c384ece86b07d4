"""The columns of a contract as they are read from its annotations are those that pandera checks."""

import pandera.polars as pa
import pytest

from neutro_schemas import cause_reference, chart, drug_reference, lab_result, reference, result, store
from neutro_screen.validate import dtypes

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

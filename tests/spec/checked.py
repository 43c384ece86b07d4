"""The record of reference tables that fit their contracts, by which a start need not check them again.

python -m tests.spec.checked        # checks every table and writes neutro_screen/reference/checked.csv
"""

import hashlib
import importlib
import pkgutil
import re
from pathlib import Path

import pandera.polars as pa
import polars as pl

import neutro_schemas
import neutro_screen
from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference.tables import FOLDER
from neutro_screen.validate import conform, dtypes

_NAMED_WITH_CONTRACT = re.compile(r'\("([a-z_]+\.csv)", (?:contract\.)?([A-Z]\w+)\)')


def contracts() -> list[tuple[str, type[pa.DataFrameModel]]]:
    """Every table that the package names beside a contract."""
    models: dict[str, type[pa.DataFrameModel]] = {}
    for module in pkgutil.iter_modules(neutro_schemas.__path__):
        inside = vars(importlib.import_module(f"neutro_schemas.{module.name}"))
        models |= {
            name: each
            for name, each in inside.items()
            if isinstance(each, type) and issubclass(each, pa.DataFrameModel)
        }
    sources = sorted(Path(str(neutro_screen.__file__)).parent.rglob("*.py"))
    named = {pair for file in sources for pair in _NAMED_WITH_CONTRACT.findall(file.read_text("utf-8"))}
    return [(table, models[contract]) for table, contract in sorted(named) if contract in models]


def checked() -> str:
    """The record, each table checked anew.

    Raises:
        ReferenceDataError: a table does not fit its contract.
    """
    lines = ["table,sha256"]
    for name, model in contracts():
        content = (FOLDER / name).read_bytes()
        conform(pl.read_csv(content, schema_overrides=dtypes(model)), model, ReferenceDataError, where=name)
        lines.append(f"{name} {model.__name__},{hashlib.sha256(content).hexdigest()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (FOLDER / "checked.csv").write_text(checked(), "utf-8")

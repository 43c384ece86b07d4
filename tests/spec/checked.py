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
    """Every table that the package names beside a contract, of neutro_schemas or of the module itself."""
    models: dict[str, type[pa.DataFrameModel]] = {}
    package = Path(str(neutro_screen.__file__)).parent
    sources = {file: _NAMED_WITH_CONTRACT.findall(file.read_text("utf-8")) for file in sorted(package.rglob("*.py"))}
    modules = [f"neutro_schemas.{module.name}" for module in pkgutil.iter_modules(neutro_schemas.__path__)]
    modules += [_module_name(file.relative_to(package.parent)) for file, named in sources.items() if named]
    for module in modules:
        models |= {
            name: each
            for name, each in vars(importlib.import_module(module)).items()
            if isinstance(each, type) and issubclass(each, pa.DataFrameModel)
        }
    return [
        (table, models[contract]) for table, contract in sorted({pair for named in sources.values() for pair in named})
    ]


def _module_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


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

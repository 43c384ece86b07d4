"""What is read of each resource type: structures.toml, in the form of DuckDB's json_transform."""

import tomllib
from pathlib import Path
from typing import Final

Structure = str | list["Structure"] | dict[str, "Structure"]

_LISTED: Final = tomllib.loads((Path(__file__).parent / "structures.toml").read_text("utf-8"))
COMPONENT_ELEMENTS: Final = tuple(_LISTED["types"]["Component"])


def _structures() -> dict[str, dict[str, Structure]]:
    """Elements by resource type, in the form of DuckDB's json_transform."""

    def expanded(name: str) -> Structure:
        if name == "text":
            return "VARCHAR"
        if name.startswith("["):
            return [expanded(name[1:-1])]
        return {element: expanded(of_element) for element, of_element in _LISTED["types"][name].items()}

    return {
        resource: {element: expanded(name) for element, name in elements.items()}
        for resource, elements in _LISTED["resources"].items()
    }


STRUCTURES: Final = _structures()
#: Elements that stay JSON until ``elements`` reads them.
UNREAD: Final[dict[str, Structure]] = {
    name: "VARCHAR" if structure == "VARCHAR" else "JSON" for name, structure in STRUCTURES["Observation"].items()
}
#: What tells a version of a resource.
IDENTITY: Final = {name: STRUCTURES["Observation"][name] for name in ("id", "meta", "subject")}
UNREAD_COMPONENT: Final[Structure] = [{name: UNREAD[name] for name in COMPONENT_ELEMENTS}]

"""What an origin brings along and what the code tables say of it: the evidence that ``readings`` weighs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from neutro_screen.recognition.words import folded
from neutro_screen.reference import Reference

_LOINC: Final = re.compile(r"\d{1,7}-\d")


@dataclass(frozen=True, slots=True)
class Origin:
    """What laboratory rows have in common, and a summary of their values (in the unit as sent).

    All texts as sent, null where the source has none; reference limits and values null where they are no numbers.
    """

    code_system: str | None = None
    local_code: str | None = None
    loinc: str | None = None
    analyte_name: str | None = None
    specimen_type: str | None = None
    unit_text: str | None = None
    reference_low: float | None = None
    reference_high: float | None = None
    n_values: int = 0
    value_low: float | None = None
    value_median: float | None = None
    value_high: float | None = None


ORIGIN_COLUMNS: Final = tuple(field.name for field in fields(Origin))


@dataclass(frozen=True, slots=True)
class Coded:
    """What a code stands for: cell, property (null: the unit decides), method; or why it must never be used."""

    cell: str | None
    property: str | None
    method: str
    excluded: str | None = None
    is_profile: bool = False


class Tables:
    """Analytes and codes of a reference, ready for look-ups; codes and names are compared without regard to case."""

    def __init__(self, reference: Reference) -> None:
        self.analytes: Mapping[tuple[str, str], Mapping[str, Any]] = {
            (row["cell"], row["dimension"]): row for row in reference.analytes.iter_rows(named=True)
        }
        self.properties: dict[str, frozenset[str]] = {}
        for cell, prop in self.analytes:
            self.properties[cell] = self.properties.get(cell, frozenset()) | {prop}
        self.feeding: Final = frozenset(cell for (cell, _), row in self.analytes.items() if row["feeds_anc"])
        self._codes: Final = {
            (row["system"], _key(row["code"])): Coded(
                row["cell"], row["dimension"], row["method"], row["excluded"], row["source"] == "profile"
            )
            for row in reference.lab_codes.iter_rows(named=True)
        }

    def profile(self, origin: Origin) -> Coded | None:
        """What the user's profile says of the origin's own code or name."""
        for text in (origin.local_code, origin.analyte_name, origin.loinc):
            found = self._codes.get(("local_name", _key(text))) if text else None
            if found and found.is_profile:
                return found
        return None

    def code(self, origin: Origin) -> Coded | None:
        """What the source's own code stands for, else its LOINC; a name that stands in a code's place is no code."""
        if origin.code_system and origin.local_code and origin.code_system != "local_name":
            found = self._codes.get((origin.code_system.lower(), _key(origin.local_code)))
            if found:
                return found
        return self._codes.get(("loinc", _key(origin.loinc))) if origin.loinc else None


def is_foreign_loinc(origin: Origin, tables: Tables) -> bool:
    """Whether the origin has a well-formed LOINC that no table here knows."""
    return bool(origin.loinc and _LOINC.fullmatch(origin.loinc.strip())) and tables.code(origin) is None


def name_of(origin: Origin) -> str:
    """The text to read as a name: the name, else a local code that is one."""
    if origin.analyte_name and origin.analyte_name.strip():
        return origin.analyte_name
    return origin.local_code or "" if origin.code_system in (None, "local_name") else ""


def _key(text: str | None) -> str:
    return re.sub(r"\s+", " ", folded(text or "")).strip()

"""What the columns of a wide file measure, by the words of their headers and the units beside or below them."""

import re
from collections.abc import Mapping
from typing import Final

import polars as pl

from neutro_screen.ingest.unread_columns import RESULT
from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.readings import weigh
from neutro_screen.recognition.units import read_unit
from neutro_screen.reference import load_reference


def wide_columns(names: list[str], below: Mapping[str, str] = {}) -> dict[str, tuple[str, str]]:
    """Measured columns by the words of their headers: name -> analyte and the unit that the header, or a row ``below`` it, states."""
    tables = Tables(load_reference())
    wide = {}
    for name in names:
        reading = weigh(Origin(analyte_name=name, unit_text=below.get(name)), tables)
        if reading.certainty == "certain" and reading.analyte and reading.property != "marker":
            unit = read_name(name).unit or below.get(name) or _STATED_BY_NAME.get(reading.property or "", "")
            wide[name] = (reading.analyte, unit)
    return wide


def marker_columns(names: list[str]) -> dict[str, tuple[str, str]]:
    """Columns of tests that explain a low count, by their headers: name -> marker and the unit that the header states."""
    tables = Tables(load_reference())
    readings = {name: weigh(Origin(analyte_name=name), tables) for name in names}
    return {
        name: (reading.analyte, found[1] if (found := _BRACKETED_UNIT.search(name)) else "")
        for name, reading in readings.items()
        if reading.analyte and reading.property == "marker"
    }


#: The unit at the end of a header: Vitamin B12 (pg/mL). A marker has no unit of a blood count, so its words are not read.
_BRACKETED_UNIT: Final = re.compile(r"[(\[]([^()\[\]]+/[^()\[\]]+)[)\]]\s*$")


def are_wide(counted: dict[str, tuple[str, str]]) -> bool:
    """Whether headers name what a wide file measures: several tests, or one and the unit it is counted in."""
    return len(counted) > 1 or any(unit for _, unit in counted.values())


def measured_columns(sample: pl.DataFrame, below: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Those of the columns named so that hold numbers, with the one unit that a column of units beside them holds."""
    named = wide_columns(sample.columns, below)
    texts = {name: sample[name].str.strip_chars().replace("", None).drop_nulls().unique() for name in named}
    units = {
        analyte: values[0]
        for name, (analyte, _) in named.items()
        if (values := texts[name]).len() == 1 and _is_unit(values[0])
    }
    return {
        name: (analyte, unit or units.get(analyte, ""))
        for name, (analyte, unit) in named.items()
        if not texts[name].len() or texts[name].str.contains(RESULT).any()
    }


def _is_unit(text: str) -> bool:
    return not text.replace(".", "").isdigit() and bool(read_unit(text).options)


#: What a header says without a unit: Neut %.
_STATED_BY_NAME: Final = {"percent": "%"}

"""Columns of a wide file that no profile maps and whose header names a cell that may feed the ANC (REC-3).

Their cells become rows like those of mapped columns, under the header as the test's name: what the name says decides
whether they are used or kept aside, so that nobody whose only count stands there is in no list.
"""

from collections.abc import Collection, Iterable
from functools import cache

import polars as pl

from neutro_screen.ingest.profile import WideColumn
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.units import read_unit
from neutro_screen.reference import load_reference

#: A cell of such a column is a result where it holds nothing but a number, with a comparator or a flag.
RESULT = r"^\s*[<>=\x{2264}\x{2265}]*\s*\d[\d.,]*\s*[A-Za-z*]{0,2}\s*$"
#: A date, a time, a range or a unit: no result, whatever else is missing.
NO_RESULT = r"^\s*\d+\s*[-/:\x{2013}]\s*\d|^\s*\d{1,2}\.\d{1,2}\.|[/^\x{00b3}%]|^\s*1?0[*^eE]\d"


def is_result(text: pl.Expr, is_told: pl.Expr, *, is_named: bool) -> pl.Expr:
    """Whether a cell of an unread column is a row of its own; a boolean.

    A number is, under a header that names a cell. Any other text, and a number under a header of which only the unit was
    understood, only where nothing else of the row feeds the ANC (``is_told``): else nobody is lost.
    """
    is_number = text.str.contains(RESULT) if is_named else pl.lit(False)
    return is_number | (~is_told & ~text.str.contains(NO_RESULT))


def unread_columns(headers: Iterable[str], mapped: Collection[WideColumn]) -> list[WideColumn]:
    """Those of the headers that may feed the ANC; one that surely repeats a mapped analyte is left out."""
    known = {_analytes()[each.analyte] for each in mapped if each.analyte in _analytes()}
    found = []
    for header in headers:
        name = read_name(header)
        is_repeated = name.certainty == "certain" and any(
            (name.cell, prop) in known for prop in ("count", "percent") if name.property in (None, "quantity", prop)
        )
        if name.certainty in ("certain", "probable") and name.cells & _feeding() and not is_repeated:
            unit = name.unit or ("%" if name.property == "percent" else "")
            found.append(WideColumn(column=header, analyte=name.cell or "?", unit=unit))
    return found


def doubtful_columns(headers: Iterable[str]) -> list[WideColumn]:
    """Those of the headers of which no word was understood and the unit is that of a cell count."""
    names = {header: read_name(header) for header in headers}
    return [
        WideColumn(column=header, analyte="?", unit=str(name.unit))
        for header, name in names.items()
        if name.certainty == "unknown" and name.unit and read_unit(name.unit).accepted == {"count"}
    ]


def feeds(column: WideColumn) -> bool:
    """Whether a mapped column holds what the ANC is made of."""
    return _analytes().get(column.analyte, ("",))[0] in _feeding()


@cache
def _analytes() -> dict[str, tuple[str, str]]:
    """Analyte -> cell and property."""
    rows = load_reference().analytes.select("analyte", "cell", "dimension").rows()
    return {analyte: (cell, prop) for analyte, cell, prop in rows}


@cache
def _feeding() -> frozenset[str]:
    return frozenset(load_reference().analytes.filter("feeds_anc")["cell"])

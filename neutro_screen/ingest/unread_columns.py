"""Columns of a wide file that no profile maps and whose header names a cell that may feed the ANC (REC-3).

Their cells become rows like those of mapped columns, under the header as the test's name: what the name says decides
whether they are used or kept aside, so that nobody whose only count stands there is in no list.
"""

from collections.abc import Collection, Iterable
from functools import cache

from neutro_screen.ingest.profile import WideColumn
from neutro_screen.recognition.names import read_name
from neutro_screen.reference import load_reference

#: A cell of such a column is a result where it holds nothing but a number, with a comparator or a flag.
RESULT = r"^\s*[<>=\x{2264}\x{2265}]*\s*\d[\d.,]*\s*[A-Za-z*]{0,2}\s*$"


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


@cache
def _analytes() -> dict[str, tuple[str, str]]:
    """Analyte -> cell and property."""
    rows = load_reference().analytes.select("analyte", "cell", "dimension").rows()
    return {analyte: (cell, prop) for analyte, cell, prop in rows}


@cache
def _feeding() -> frozenset[str]:
    return frozenset(load_reference().analytes.filter("feeds_anc")["cell"])

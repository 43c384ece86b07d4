"""What a message says of a file's own column names: only those that are known names, never another text.

The first line of a file without a header is a patient's row, and one of its values may be equal to a column's name. So a
message names expected columns, the program's or the profile's own words, and the places and number of all others.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

import polars as pl


def columns_told(names: Sequence[str], expected: Collection[str]) -> str:
    """How many columns a file has, which of the expected ones are there, and where a name is nearly one of them."""
    there = sorted(set(names) & set(expected))
    near = [
        f"column {place} is nearly {match[0]!r}"
        for place, name in enumerate(names, start=1)
        if name not in expected
        and (match := get_close_matches(name, sorted(set(expected) - set(there)), n=1, cutoff=0.8))
    ]
    told = f"The file has {len(names)} columns; of the expected ones {', '.join(there) or 'none'}"
    return ". ".join([told, *near]) + "."


def repeated_columns(names: Sequence[str], expected: Collection[str]) -> str | None:
    """Which columns of a header have the same name, by their places; None where none have."""
    places: dict[str, list[str]] = {}
    for place, name in enumerate(names, start=1):
        places.setdefault(name, []).append(str(place))
    told = [
        f"columns {' and '.join(at)}" + (f" ({name})" if name in expected else "")
        for name, at in places.items()
        if len(at) > 1
    ]
    return f"column names stand twice in the header: {', '.join(told)}" if told else None


def without_headers(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without those that repeat the header, as files do that were put together from several."""
    names = [name for name in rows.columns if name != "source_row"]
    if not (rows[names[0]] == names[0]).any():
        return rows
    return rows.filter(~pl.all_horizontal(pl.col(name).eq_missing(pl.lit(name)) for name in names))

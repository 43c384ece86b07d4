"""Tables that are laid out for the eye, brought to one row a result before anything of them is read.

Identifiers that stand on the first row of a group only, dates as names of columns, units in a row of their own below the
header. The first two are read so only where the profile says it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest.profile import Profile, WideColumn
from neutro_screen.ingest.times import parse_times
from neutro_screen.ingest.unread_columns import RESULT
from neutro_screen.recognition.units import read_unit
from neutro_screen.text import filled

_HAS_DIGIT: Final = r"\d"


def filled_down(
    rows: pl.DataFrame, levels: Sequence[Sequence[str]], results: Sequence[str], broken: Sequence[int]
) -> pl.DataFrame:
    """Columns that are printed on the first row of a group only, filled down to the rows of results below it.

    ``levels`` are columns from the outermost (the patient) inwards: a value holds until one of an outer level is printed
    again. Nothing is filled across a refused line (numbers ``broken``), which may have named the next patient, nor
    across two batches.
    """
    names = [name for level in levels for name in level]
    numbers = pl.Series("source_row", sorted(broken), dtype=pl.Int64)
    section = numbers.search_sorted(rows["source_row"]) if broken else pl.Series([0] * rows.height)
    filled = rows.with_columns(_cell(name) for name in names).with_columns(section=section)
    starts = pl.col("section") != pl.col("section").shift(1)
    has_result = pl.any_horizontal(_cell(name).is_not_null() for name in results)
    for level in levels:
        starts = starts.fill_null(value=True) | pl.any_horizontal(pl.col(name).is_not_null() for name in level)
        filled = filled.with_columns(group=starts.cum_sum(), starts=starts)
        held = [pl.col(name).forward_fill().over("group") for name in level]
        filled = filled.with_columns(
            pl.when(has_result).then(each).otherwise(name) for each, name in zip(held, level, strict=True)
        )
        starts = pl.col("starts")
    return filled.drop("section", "group", "starts")


def _cell(name: str) -> pl.Expr:
    return filled(pl.col(name).cast(pl.String))


def dates_down(rows: pl.DataFrame, known: set[str], profile: Profile, source_file: str) -> tuple[pl.DataFrame, int]:
    """One row a cell of the columns whose names are dates, under ``collected_at`` and ``value``; and the rows without any.

    A blank cell is a test that was not asked for on that day.

    Raises:
        RefusedInputError: no column is named by a date, or one may be and cannot be read.
    """
    dated = pl.Series(
        [name for name in rows.columns if name not in known and name != "source_row" and any(map(str.isdigit, name))],
        dtype=pl.String,
    )
    times = parse_times(dated, profile.time_zone, profile.datetime_formats).utc
    unread = [str(rows.columns.index(name) + 1) for name in dated.filter(times.is_null())]
    if unread or dated.is_empty():
        said = (
            f"columns {', '.join(unread)} have no date that can be read" if unread else "no column is named by a date"
        )
        raise RefusedInputError(
            said,
            where=source_file,
            remedy="Write dates with their year, add datetime_formats, or take dates_across out of the profile.",
        )
    names = dated.to_list()
    cells = rows.drop("collected_at", "value", strict=False).with_columns(_cell(name) for name in names)
    n_untested = cells.filter(pl.all_horizontal(pl.col(names).is_null())).height
    index = [name for name in cells.columns if name not in names]
    long = cells.unpivot(names, index=index, variable_name="collected_at", value_name="value")
    return long.drop_nulls("value").sort("source_row", maintain_order=True), n_untested


def units_below(cells: Mapping[str, str | None], measured: Sequence[str] = ()) -> dict[str, str]:
    """The unit of each column that the first row below the header states; none where that row is a result.

    Such a row has no number but those of units, and no digit elsewhere.
    """
    texts = {name: text.strip() for name, text in cells.items() if text and text.strip()}
    units = {name: text for name, text in texts.items() if name in measured or read_unit(text).options}
    others = pl.Series([text for name, text in texts.items() if name not in units], dtype=pl.String)
    is_result = pl.Series(list(units.values()), dtype=pl.String).str.contains(RESULT).any()
    if (
        is_result
        or others.str.contains(_HAS_DIGIT).any()
        or not any(read_unit(text).options for text in units.values())
    ):
        return {}
    return {name: text.strip("()[] ") for name, text in units.items()}


def with_units_below(
    rows: pl.DataFrame, wide: list[WideColumn], source_file: str
) -> tuple[pl.DataFrame, list[WideColumn]]:
    """The rows without one of units, and the measured columns with the units it states where the profile states none.

    Raises:
        RefusedInputError: the profile states another unit than the file.
    """
    own = [name for name in rows.columns if name != "source_row"]
    first = rows.select(pl.col(own).cast(pl.String)).head(1).rows(named=True)
    told = units_below(first[0], [each.column for each in wide]) if first else {}
    if not told:
        return rows, wide
    for each in wide:
        stated = told.get(each.column)
        if stated and each.unit and read_unit(stated) != read_unit(each.unit):
            raise RefusedInputError(
                f"states another unit below column {each.column!r} than the profile",
                where=source_file,
                remedy="Correct the unit of this column in the profile.",
            )
    units = {each.column: each.unit or told.get(each.column, "") for each in wide}
    return rows.slice(1), [each.model_copy(update={"unit": units[each.column]}) for each in wide]

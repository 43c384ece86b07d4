"""How a sample is laid out for the eye.

Dates as names of columns, identifiers on the first row of a group only, counts without a unit.

What is found is written into the profile, where the reader needs it; nothing of it is assumed in silence.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from neutro_screen.admin.columns import roles_of
from neutro_screen.admin.moments import is_day
from neutro_screen.ingest.profile import WideColumn
from neutro_screen.ingest.unread_columns import RESULT, feeds
from neutro_screen.reference import load_reference

#: A day, with or without a time behind it.
_DAY: Final = re.compile(
    r"(\d{1,4}[-./]\d{1,2}[-./]\d{2,4}|\d{1,2}[- .][^\W\d_]{3,9}[- .]\d{2,4})\.?([ T]\d{1,2}[:.h]\d\d.*)?"
)
_DAYS: Final = 2
_MOSTLY: Final = 0.8
#: Identifiers are printed once a group where at least so many rows have none; where the day is missing with them, fewer do.
_MANY: Final = 0.5
_SOME: Final = 0.15
#: In the order in which a printed list is grouped.
_GROUPED_BY: Final = ("patient_id", "collected_at", "specimen_id", "resulted_at")


def with_days_down(sample: pl.DataFrame) -> pl.DataFrame | None:
    """One row a cell of the columns that are named by days, under ``collected_at`` and ``value``; None where there are none.

    Results stand below them, and no other column is named by a number: else the first line is a row.
    """
    days = [name for name in sample.columns if _DAY.fullmatch(name.strip())]
    others = [name for name in sample.columns if name not in days]
    if len(days) < _DAYS or len(others) < _DAYS or not all(re.search(r"[^\W\d_]", name) for name in others):
        return None
    cells = sample.unpivot(days, index=others, variable_name="collected_at", value_name="value").drop_nulls("value")
    values = cells["value"]
    is_result = values.str.contains(RESULT).sum() >= _MOSTLY * values.len()
    return cells if values.len() and is_result and not is_day(values) else None


def _printed_once(sample: pl.DataFrame, columns: Mapping[str, Sequence[str]], results: Sequence[str]) -> list[str]:
    """Native columns that stand on the first row of a group only, outermost first; none unless the patient does.

    Of a list that is missing some identifiers nothing is filled: there the same patient stands in rows that follow each
    other, few rows have none, and a row without a patient has another's name or birth beside it.
    """
    if "patient_id" not in columns or not results:
        return []
    tested = sample.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in results))
    patient = tested[columns["patient_id"][0]]
    printed, is_blank = patient.drop_nulls(), patient.is_null()
    is_repeated = bool((printed == printed.shift(1)).any())
    if not tested.height or patient[0] is None or not is_blank.any() or is_repeated:
        return []
    below, above = tested.filter(is_blank), tested.filter(~is_blank)
    persons = [name for name in sample.columns if roles_of(name) & {"person", "birth", "age"}]
    once = [
        column
        for column in _GROUPED_BY
        if column in columns and below[columns[column][0]].null_count() and not above[columns[column][0]].null_count()
    ]
    share = below.height / tested.height
    is_grouped = share >= (_SOME if "collected_at" in once else _MANY)
    is_of_others = any(below[name].null_count() < below.height for name in persons if name not in columns["patient_id"])
    return once if is_grouped and not is_of_others else []


def _likely_count_unit(values: pl.Series, analyte: str) -> str | None:
    """The unit of a cell count that the size of the values fits, by what is usual of it (``usual_high`` of analytes.csv, 10*9/L);
    a proposal to a reader, never a decision."""
    known = load_reference().analytes.select("analyte", "usual_high")
    usual_high: float | None = dict(known.iter_rows()).get(analyte)
    numbers = values.str.replace(",", ".", literal=True).str.extract(r"^[<>]?\s*(\d+(?:\.\d+)?)").cast(pl.Float64)
    middle, highest = numbers.quantile(0.5), numbers.quantile(0.95)
    if usual_high is None or middle is None or highest is None:
        return None
    if highest < usual_high:
        return "10*9/L"
    return "/uL" if middle >= usual_high else None


def fill_down_lines(sample: pl.DataFrame, columns: Mapping[str, Sequence[str]], results: Sequence[str]) -> list[str]:
    """What is said of identifiers that stand on the first row of a group only, or may do so."""
    if once := _printed_once(sample, columns, results):
        return [
            f"# LOOK: {', '.join(once)} stand on the first row of a group only, and are taken for the rows below it. Is it so?",
            f"fill_down = {json.dumps(once)}",
        ]
    tested = sample.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in results)) if results else sample
    if "patient_id" in columns and tested[columns["patient_id"][0]].null_count():
        return [
            "# LOOK: some rows have no patient and will be refused. Where the patient stands on the first row of a group only:",
            '#fill_down = ["patient_id"]',
        ]
    return []


def missing_unit(samples: Sequence[pl.DataFrame], column: WideColumn) -> list[str]:
    """What is said of a measured column without a unit, where a count needs one."""
    if not feeds(column):
        return []
    values = [sample[column.column].drop_nulls() for sample in samples if column.column in sample.columns]
    likely = _likely_count_unit(pl.concat(values), column.analyte) if values else None
    proposed = f' Its values would fit unit = "{likely}".' if likely else ""
    return [
        f"# MISSING: the unit of {json.dumps(column.column, ensure_ascii=False)} is in no header; without it nothing of this column is used.{proposed}"
        " Ask the laboratory and state it."
    ]

"""New results come into the store in one order, whatever the order in which they were read."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from neutro_schemas import LabResult
from neutro_screen.pipeline.rows import IDENTITY, PLACE
from neutro_screen.pipeline.screen import _in_order
from neutro_screen.validate import dtypes

_TYPES = {**dtypes(LabResult), "run_id": pl.String()}
_KEYS = (*IDENTITY[:5], *PLACE)
_VALUES = {
    pl.String(): st.sampled_from(["P-10", "P-9", "p", "Ä", ""]),
    pl.Datetime("us"): st.sampled_from([0, 1, 86_400_000_000]),
    pl.Int64(): st.integers(2, 6),
}


def _value(name: str) -> st.SearchStrategy[object]:
    known = _VALUES[_TYPES[name]]
    return st.none() | known if name == "resulted_at" else known


@settings(max_examples=50, deadline=None)
@given(st.lists(st.fixed_dictionaries({name: _value(name) for name in _KEYS}), max_size=30), st.randoms())
def test_results_are_sorted_by_what_they_are_and_where_they_were_read(rows, random):
    shuffled, left_out = random.sample(rows, len(rows)), random.sample(range(len(rows)), len(rows) // 3)
    in_order = [_in_order(pl.DataFrame(some, schema=_TYPES), _places([])).select(_KEYS) for some in (rows, shuffled)]

    assert in_order[0].equals(in_order[1])
    assert in_order[0].equals(pl.DataFrame(rows, schema=_TYPES).select(_KEYS).sort(_KEYS))

    without = _in_order(pl.DataFrame(rows, schema=_TYPES), _places(left_out)).select(_KEYS)
    rest = [row for place, row in enumerate(rows) if place not in left_out]
    assert without.equals(pl.DataFrame(rest, schema=_TYPES).select(_KEYS).sort(_KEYS))


def _places(numbers: list[int]) -> pl.Series:
    return pl.Series(numbers, dtype=pl.UInt32)

"""Abnormal flags around a number (flag_words.csv): "L 0.2", "0.2 (LL)", "0.2 critical", arrows, stars."""

from functools import cache
from typing import Final

import polars as pl

from neutro_schemas.reference import FlagWord
from neutro_screen.reference import reference_table
from neutro_screen.text import alternatives

#: Arrows and triangles, inside the brackets of a character class.
ARROWS: Final = r"\x{2190}-\x{21FF}\x{25B2}\x{25BC}"


@cache
def flags() -> str:
    """Every flag in lower case, as the alternatives of a pattern."""
    return alternatives(_table()["word"])


@cache
def flags_before() -> str:
    """A pattern of the flags and signs in front of a number; a word stands apart from it or in brackets."""
    words = alternatives(_table().filter(place="anywhere")["word"])
    return rf"(?:[\s*!{ARROWS}]|(?:\((?:{flags()})\)|(?:{words})[\s*!:]))"


@cache
def _table() -> pl.DataFrame:
    return reference_table("flag_words.csv", FlagWord)

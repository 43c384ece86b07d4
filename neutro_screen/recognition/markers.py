"""Names of the tests beside the blood count that explain a low one: which marker of ``markers.csv`` a name stands for.

The tables are data: ``reference/marker_words.csv`` (a word and how laboratories write it) and ``reference/marker_names.csv``
(the words that a name of the marker says, and those that make it another test). A name of two markers is of none.
"""

import re
from collections.abc import Mapping
from functools import cache

from neutro_schemas.cause_reference import MarkerName, MarkerWord
from neutro_screen.errors import ReferenceDataError
from neutro_screen.recognition.words import folded, unaccented
from neutro_screen.reference import reference_table


def marker_of(name: str) -> str | None:
    """The marker that a test's name stands for; null where no name fits, or those of several markers."""
    said = _words_of(unaccented(folded(name)).replace("_", " "))
    fitting = {marker for marker, all_of, none_of in _names() if all_of <= said and not none_of & said}
    return fitting.pop() if len(fitting) == 1 else None


def _words_of(text: str) -> frozenset[str]:
    return frozenset(word for word, pattern in _patterns().items() if pattern.search(text))


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    table = reference_table("marker_words.csv", MarkerWord)
    return {word: re.compile(pattern) for word, pattern in table.select("word", "pattern").iter_rows()}


@cache
def _names() -> tuple[tuple[str, frozenset[str], frozenset[str]], ...]:
    """Marker, words that its name says, words that it must not say.

    Raises:
        ReferenceDataError: a name says a word that the table of words does not have.
    """
    table = reference_table("marker_names.csv", MarkerName).select("marker", "all_of", "none_of")
    names = tuple((marker, frozenset(said.split()), frozenset((no or "").split())) for marker, said, no in table.rows())
    if unknown := sorted(frozenset().union(*(said | no for _, said, no in names)) - _patterns().keys()):
        raise ReferenceDataError(f"names of unknown words: {unknown}", where="marker_names.csv")
    return names

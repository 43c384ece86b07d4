"""Match keys: how texts of different sources are made comparable; and lists of words as patterns."""

import re
from collections.abc import Iterable

import polars as pl


def match_key(text: pl.Expr) -> pl.Expr:
    """NFKC, micro signs as u, multiplication signs as x, lower case, single spaces; blank and null = null.

    Never for identifiers: two different ids may share a key.
    """
    return (
        text.str.normalize("NFKC")
        .str.replace_all("[\u03bc\u00b5]", "u")
        .str.replace_all("\u00d7", "x")
        .str.to_lowercase()
        .str.replace_all(r"\s+", " ")
        .pipe(filled)
    )


def alternatives(words: Iterable[str]) -> str:
    """Words as the alternatives of a regular expression, the longest first, so that none hides one that begins with it."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def filled(text: pl.Expr) -> pl.Expr:
    """A text without the blanks around it; null where nothing stands."""
    return text.str.strip_chars().replace("", None)

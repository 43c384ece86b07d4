"""Match keys: how texts of different sources are made comparable."""

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
        .str.strip_chars()
        .replace("", None)
    )

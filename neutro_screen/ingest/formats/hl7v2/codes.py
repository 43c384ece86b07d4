"""HL7 codes in the words of the canonical tables (codes.csv)."""

from pathlib import Path
from typing import Final

import polars as pl

#: Field -> code -> word.
WORDS: Final[dict[str, dict[str, str]]] = {}
for _field, _code, _word in pl.read_csv(Path(__file__).parent / "codes.csv", infer_schema=False).iter_rows():
    WORDS.setdefault(_field, {})[_code] = _word
#: MSH-18 (table 0211) -> Python's name of the encoding.
CHARACTER_SETS: Final = WORDS["MSH-18"]


def word(code: pl.Expr, field: str) -> pl.Expr:
    """The word of a code, whatever its case; null where it has none."""
    return code.str.to_uppercase().replace_strict(WORDS[field], default=None, return_dtype=pl.String)

"""Control material by its number: "QC-L1", "XN CHECK L2", "EQA 2026/3", "CTRL NORMAL" (control_words.csv; REC-4).

Every word of the number must be known. A word that may as well name a patient of a trial's control group counts only
beside a level or lot: "CTRL-001" stays a patient. Digits that are joined to a word are few: QC123456 is a patient's number.
"""

from functools import cache
from typing import Final

import polars as pl

from neutro_schemas.reference import ControlWord
from neutro_screen.reference import reference_table
from neutro_screen.text import alternatives

#: What such a row has for its specimen; a profile may say that it is blood.
CONTROL_SPECIMEN: Final = "control material"
_SEPARATOR: Final = r"[\s\-_./:#()]"


def with_control_specimens(rows: pl.DataFrame) -> pl.DataFrame:
    """Laboratory rows (patient_id, specimen_id, specimen_type) with the specimen of those that are of control material."""
    known = pl.any_horizontal(pl.col("patient_id", "specimen_id").str.contains(_of_known_words()).fill_null(False))
    may_be = rows.select(known.alias("known"))["known"]
    if not may_be.any():  # as nearly always: the other patterns need not be looked for
        return rows
    is_one = may_be & rows.select(pl.any_horizontal(map(_is_control, ("patient_id", "specimen_id")))).to_series()
    specimen = pl.when(is_one).then(pl.lit(CONTROL_SPECIMEN)).otherwise("specimen_type")
    return rows.with_columns(specimen_type=specimen)


def _is_control(column: str) -> pl.Expr:
    number = pl.col(column)
    of_level = number.str.contains(_standing("with_level")) & number.str.contains(_standing("level"))
    is_one = number.str.contains(_of_known_words()) & (number.str.contains(_standing("sure")) | of_level)
    return is_one.fill_null(False)


def _standing(role: str) -> str:
    """A pattern of the words of a role, each as a word of its own, digits behind it allowed."""
    return rf"(?i)(?:^|{_SEPARATOR})(?:{_words(role)})\d{{0,3}}(?:{_SEPARATOR}|$)"


@cache
def _of_known_words() -> str:
    word = rf"(?:{_words('sure', 'with_level', 'level', 'beside')})\d{{0,3}}"
    return rf"(?i)^\s*{word}(?:{_SEPARATOR}+(?:{word}|\d+))*{_SEPARATOR}*$"


@cache
def _words(*roles: str) -> str:
    table = reference_table("control_words.csv", ControlWord)
    return alternatives(table.filter(pl.col("role").is_in(roles))["word"])

"""What a specimen's text or code says: blood, something else, or nothing that can be relied on (REC-4).

A whole text is looked up among the codes (HL7 tables 0070 and 0487, SNOMED CT, LOINC system axis) first; then it is
read word by word, never by substring: "infection screen" is no faeces. Capillary, venous, arterial and central-line
blood is the patient's blood; cord, fetal, donor and autopsy blood, blood bags and stem-cell products are not. Serum
and plasma hold no cells, so a count "in serum" is a default of the form and says nothing: unknown.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal

import polars as pl

from neutro_schemas.reference import RecognitionSpecimen, RecognitionWord
from neutro_screen.recognition.words import Word, Words, folded, is_too_long
from neutro_screen.reference import reference_table

Specimen = Literal["blood", "other", "control", "unknown"]

_SEGMENTS: Final = re.compile(r"[,;/|()\[\]:–—+]|\s-\s")
_VOLUMES: Final = re.compile(r"(?<![a-z\d])\d+(?:[.,]\d+)?\s*(?:ml|mls|h|hr|hrs)?(?![a-z\d])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SpecimenReading:
    """``specimen``: blood, other, control (material, of nobody) or unknown; null where nothing is stated. ``decided_by``: code, words or null."""

    specimen: Specimen | None = None
    decided_by: str | None = None
    unread: tuple[str, ...] = ()


@lru_cache(maxsize=1 << 16)
def read_specimen(text: str | None) -> SpecimenReading:
    """Read the text or code of a specimen; blank says nothing."""
    if text is None or not text.strip():
        return SpecimenReading()
    if is_too_long(text):
        return SpecimenReading("unknown", "words", (text,))
    code = _codes().get(_code_key(text))
    if code:
        return SpecimenReading(code, "code")
    return _by_words(text)


def _by_words(text: str) -> SpecimenReading:
    """Read word by word: whose blood it is comes first, then a specimen that is no blood, then blood.

    Blood that stands alone between separators is contradicted, not replaced, by another specimen beside it
    ("blood/urine"); a part of the body beside blood ("blood, liver clinic") leaves it open.
    """
    parts = [_words().read(segment) for segment in _SEGMENTS.split(_VOLUMES.sub(" ", text))]
    meanings = [{word.concept for word in words} for words, _ in parts]
    unread = tuple(token for _, left in parts for token in left)
    named = set[str]().union(*meanings)
    if named == {"unstated"} and not unread:  # "Patient", "Routine": nothing is said of the material
        return SpecimenReading()
    stands_alone = any(
        "blood" in meaning and not left and not meaning & {"other", "site", "unknown"}
        for meaning, (_, left) in zip(meanings, parts, strict=True)
    )
    return SpecimenReading(_weighed(named, stands_alone, bool(unread)), "words", unread)


def _weighed(named: set[str], blood_stands_alone: bool, has_unread: bool) -> Specimen:
    if "control" in named:
        return "control"
    if "origin" in named:
        return "other"
    if "blood" not in named:
        return "other" if named & {"other", "site"} else "unknown"
    if "other" in named:
        return "unknown" if blood_stands_alone else "other"
    if named & {"site", "unknown"}:
        return "unknown"
    return "blood" if blood_stands_alone or not has_unread else "unknown"


def _code_key(text: str) -> str:
    return re.sub(r"\s+", " ", folded(text)).strip(" .;:")


@cache
def _table() -> pl.DataFrame:
    return reference_table("recognition_specimens.csv", RecognitionSpecimen)


@cache
def _codes() -> dict[str, Specimen]:
    codes = _table().filter(use="code").select("text", "specimen").rows()
    return {_code_key(text): specimen for text, specimen in codes}


@cache
def _words() -> Words:
    """The words of this table, then the specimen words of test names."""
    own = _table().filter(use="word").select("text", "specimen").rows()
    names = reference_table("recognition_words.csv", RecognitionWord).filter(kind="specimen", use="any")
    rows = [*own, *names.select("word", "concept").rows()]
    # An abbreviation that is taken for another specimen would lose its patient in silence: it stays unread.
    words = [Word(text, specimen, None, "specimen", "any") for text, specimen in rows]
    return Words(words, name="words-of-specimens", reads_beginnings=False)

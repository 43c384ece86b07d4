"""Text of laboratories as tokens, and the word table that gives each token its meaning (RECOGNITION.md, REC-1).

The tables are data: ``reference/recognition_words.csv`` (a word or phrase, its language and its concept) and
``reference/recognition_cells.csv`` (how the concepts of cells relate). A token is a run of letters, a run of digits,
or one of the signs that mean something in a test name. Case, spacing and separators never change the tokens.
"""

import json
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import Final

from neutro_schemas.reference import RecognitionCell, RecognitionLimit, RecognitionWord
from neutro_screen.errors import ReferenceDataError
from neutro_screen.made_once import keep, kept
from neutro_screen.reference import reference_table

#: Kinds whose phrases count as well where a word is abbreviated: what decides against a count must not be missed.
_DECIDING_AGAINST: Final = ("exclusion", "specimen", "panel")
#: Words that mean different things in different languages: morfologia is a blood count in Polish, a shape in Italian.
_UNCLEAR: Final = "unclear"
#: Signs that are words of a test name; every other sign separates.
SIGNS: Final = "#%+/?&"

_SAME_LETTER: Final = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "µ": "u", "μ": "u", "＃": "#", "٪": "%"}
)
_APOSTROPHES: Final = re.compile(r"(?<=\w)['’`´ʼ](?=\w)")
#: A letter that a change of character set lost: a question mark, or the sign for it, inside a word.
_LOST: Final = "\ufffd"
_LOST_LETTERS: Final = re.compile(r"(?<=[^\W\d_])(?:\?{1,2}|\ufffd{1,3})(?=[^\W\d_])")
#: UTF-8 that was read as Windows-1252 or Latin-1: no text of any language looks like it (Ã³ for ó).
_MISREAD: Final = re.compile(r"[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u2122]")


@dataclass(frozen=True, slots=True)
class Word:
    """One row of the word table."""

    text: str
    concept: str
    property: str | None
    kind: str
    use: str


def folded(text: str) -> str:
    """NFKC, case folded, apostrophes inside words taken out, Greek micro as u; accents are kept."""
    text = _LOST_LETTERS.sub(_LOST, decoded(text)) if not text.isascii() or "?" in text else text
    text = unicodedata.normalize("NFKC", text).casefold().replace("i\u0307", "i").replace("\u200c", " ")
    return unicodedata.normalize("NFKC", _APOSTROPHES.sub("", text))


def decoded(text: str) -> str:
    """UTF-8 that was read as Windows-1252 or Latin-1 as it was meant; any other text as it stands."""
    if _MISREAD.search(text) is None:
        return text
    try:
        return b"".join(map(_byte, text)).decode("utf-8")
    except UnicodeError:
        return text


def _byte(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")


def unaccented(text: str) -> str:
    """Folded text without the accents of Latin, Greek and Cyrillic letters; other scripts keep their marks."""
    plain = "".join(_without_accent(letter) for letter in unicodedata.normalize("NFC", text.translate(_SAME_LETTER)))
    return plain.replace("ς", "σ")


@cache
def _without_accent(letter: str) -> str:
    parts = unicodedata.normalize("NFD", letter)
    base, has_marks = parts[0], len(parts) > 1
    return base if has_marks and _script(base) in {"LATIN", "GREEK", "CYRILLIC"} else letter


@lru_cache(maxsize=1 << 16)
def tokens(text: str) -> tuple[str, ...]:
    """The tokens of a text: runs of letters of one script, numbers, and the signs of ``SIGNS``."""
    found: list[str] = []
    for kind, run in groupby(folded(text), key=_sort):
        part = "".join(run)
        if kind == "sign":
            found += list(part)
        elif kind:
            found.append(part)
    return tuple(found)


@cache
def _sort(letter: str) -> str:
    """What a character belongs to: a script of letters (with their marks), digits, a sign, or "" for a separator."""
    category = unicodedata.category(letter)
    if category[0] == "L" or category in ("Mn", "Mc") or letter == _LOST:
        return "asian" if _script(letter) in _ASIAN else "letters"
    if category == "Nd":
        return "digit"
    return "sign" if letter in SIGNS else ""


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").partition(" ")[0]


_ASIAN: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "THAI"})


@cache
def limits() -> Mapping[str, float]:
    """The numbers that values and reference ranges are compared with (recognition_limits.csv)."""
    table = reference_table("recognition_limits.csv", RecognitionLimit)
    return dict(table.select("limit", "value").rows())


def is_too_long(text: str) -> bool:
    """Whether a text is longer than any name, unit or specimen: it is not read, so that one cell cannot hold up a night."""
    return len(text) > limits()["longest_text"]


class Words:
    """The word table, ready to read token after token."""

    def __init__(self, rows: Sequence[Word], *, name: str, reads_beginnings: bool = True) -> None:
        self._reads_beginnings = reads_beginnings
        self._by_key: dict[tuple[str, ...], Word] = {}
        self._parts: dict[str, Word] = {}
        written, plain = _keys([row.text for row in rows], name)
        # A word as it is written comes before one that looks like it without its accents: morfologia, morfología.
        for keys in (written, plain):
            for key, row in zip(keys, rows, strict=True):
                if not key:
                    raise ReferenceDataError(f"{row.text!r} holds no word", where="recognition_words.csv")
                self._enter(tuple(key), row)
        self._longest = max(map(len, self._by_key))
        self._beginnings = sorted(
            ((key[0], word) for key, word in self._by_key.items() if len(key) == 1 or word.kind in _DECIDING_AGAINST),
            key=itemgetter(0),
        )
        self._tokens = sorted({token for key in self._by_key for token in key if not token.isascii()})
        self._longest_part = max(map(len, self._parts), default=0)
        self.read = lru_cache(maxsize=1 << 16)(self._read)

    def _enter(self, key: tuple[str, ...], row: Word) -> None:
        self._by_key.setdefault(key, row)
        if len(key) == 1 and row.use in ("any", "end") and _may_join(key[0], row):
            self._parts.setdefault(key[0], row)

    def _read(self, text: str) -> tuple[tuple[Word, ...], tuple[str, ...]]:
        """The words of a text, longest phrase first, and the tokens that no row and no compound of rows reads."""
        if is_too_long(text):
            return (), (text,)
        words: list[Word] = []
        unread: list[str] = []
        rest = tuple(map(self._restored, tokens(text)))
        is_first = True
        while rest:
            length, found = self._longest_phrase(rest, is_first)
            is_unclear = any(word.concept == _UNCLEAR for word in found)
            if not found or is_unclear:
                unread += rest[:length]
            words += () if is_unclear else found
            rest, is_first = rest[length:], False
        return tuple(words), tuple(unread)

    def _longest_phrase(self, rest: tuple[str, ...], is_first: bool) -> tuple[int, tuple[Word, ...]]:
        for length in range(min(self._longest, len(rest)), 0, -1):
            for key in (rest[:length], tuple(map(unaccented, rest[:length]))):
                word = self._by_key.get(key)
                if word and _may_stand(word.use, is_first, is_last=length == len(rest)):
                    return length, (word,)
        found = self.compound(rest[0]) or self.compound(unaccented(rest[0]))
        return 1, found or self._begun(unaccented(rest[0]), is_last=len(rest) == 1)

    def _restored(self, token: str) -> str:
        """A token with its lost letters, where the words of the table leave one way to fill them in."""
        if _LOST not in token:
            return token
        pattern = re.compile(r"[^\x00-\x7f]".join(map(re.escape, token.split(_LOST))))
        whole = {unaccented(known) for known in self._tokens if pattern.fullmatch(known)}
        return whole.pop() if len(whole) == 1 else token

    def _begun(self, token: str, is_last: bool) -> tuple[Word, ...]:
        """The word that a token abbreviates: all words that begin so mean the same. None for short tokens.

        A field that is too short cuts off the last word of a name.
        """
        shortest = limits()["shortest_cut_off" if is_last else "shortest_abbreviation"]
        if not self._reads_beginnings or len(token) < shortest or _sort(token[0]) != "letters":
            return ()
        start = bisect_left(self._beginnings, token, key=itemgetter(0))
        meant = list(takewhile(lambda known: known[0].startswith(token), self._beginnings[start:]))
        if len({(word.concept, word.property, word.kind) for _, word in meant}) != 1:
            return ()
        whole = meant[0][1]
        # What makes it another test has to be written out: read wrongly, it would lose its patients in silence.
        is_against = whole.kind in _DECIDING_AGAINST and whole.concept != "blood"
        return () if is_against else (replace(whole, use="begun"),)

    def compound(self, token: str) -> tuple[Word, ...]:
        """A joined word as its parts, the fewest that use it up completely; none where no such parts exist."""
        best: list[tuple[Word, ...] | None] = [(), *[None] * len(token)]
        for end in range(1, len(token) + 1):
            for start in range(max(0, end - self._longest_part), end):
                before, part = best[start], self._parts.get(token[start:end])
                if before is None or part is None or not _fits(before, part, is_last=end == len(token)):
                    continue
                shortest = best[end]
                if shortest is None or len(before) + 1 < len(shortest):
                    best[end] = (*before, part)
        found = best[len(token)] or ()
        return found if len(found) > 1 else ()

    def cell_within(self, token: str) -> Word | None:
        """The longest word for a cell that stands inside a longer word; short ones only in scripts without spaces."""
        for length in range(min(len(token) - 1, self._longest_part), 1, -1):
            for start in range(len(token) - length + 1):
                word = self._parts.get(token[start : start + length])
                shortest = limits()["shortest_within_asian" if _sort(token[0]) == "asian" else "shortest_within"]
                if word is not None and word.kind == "cell" and length >= shortest:
                    return word
        return None

    def texts(self, kind: str) -> Iterator[tuple[str, Word]]:
        """Single words of a kind without accents, to compare a mistyped word with."""
        for key, word in self._by_key.items():
            if len(key) == 1 and word.kind == kind:
                yield key[0], word


def _keys(texts: list[str], name: str) -> list[list[list[str]]]:
    """The tokens of each text of a table, as written and without accents: taken apart once an installation."""
    origin = json.dumps([unicodedata.unidata_version, texts]).encode() + Path(__file__).read_bytes()
    found = kept(name, origin)
    if found is None:
        written = [tokens(text) for text in texts]
        found = json.dumps([written, [tuple(map(unaccented, key)) for key in written]]).encode()
        keep(name, origin, found)
    keys: list[list[list[str]]] = json.loads(found)
    return keys


def _may_stand(use: str, is_first: bool, is_last: bool) -> bool:
    return use in ("any", "word") or (is_first and use in ("first", "edge")) or (is_last and use == "edge")


def _fits(before: tuple[Word, ...], part: Word, is_last: bool) -> bool:
    if part.use != "end":
        return True
    return is_last and bool(before) and before[-1].kind in ("cell", "property", "method")


def _may_join(token: str, row: Word) -> bool:
    """Short words join only in scripts that write without spaces; neutrofilerna, the neutrophils, holds no RNA."""
    if row.use == "end" or _sort(token[0]) == "asian":
        return True
    shortest = "shortest_part_against" if row.kind in ("exclusion", "panel") else "shortest_part"
    return len(token) >= limits()[shortest] and row.kind != "filler"


@dataclass(frozen=True)
class Cells:
    """How the concepts of cells relate (``recognition_cells.csv``); ``modifiers`` narrow a cell and name none alone."""

    within: Mapping[str, str]
    combined: Mapping[frozenset[str], str]
    agreeing: frozenset[frozenset[str]]
    modifiers: frozenset[str]

    def includes(self, wide: str, narrow: str) -> bool:
        """Whether the narrow concept is a part of the wide one (a segmented cell is a neutrophil, a leukocyte)."""
        parent: str | None = narrow
        while parent is not None and parent != wide:
            parent = self.within.get(parent)
        return parent == wide

    def most_specific(self, found: frozenset[str]) -> str | None:
        """The one cell that a set of concepts names; null where they name none or several."""
        while len(found) > 1:
            narrowed = self._narrowed(found)
            if narrowed == found:
                return None
            found = narrowed
        return next(iter(found), None)

    def _narrowed(self, found: frozenset[str]) -> frozenset[str]:
        for parts, whole in self.combined.items():
            if parts <= found:
                return found - parts | {whole}
        wide = {one for one in found for other in found if one != other and self.includes(one, other)}
        return found - wide

    def agree(self, one: str, other: str) -> bool:
        """Whether a code of one cell under a name of the other is no contradiction."""
        return one == other or frozenset({one, other}) in self.agreeing


@cache
def load_words() -> Words:
    """Read and check the word table.

    Raises:
        ReferenceDataError: it does not fit its contract.
    """
    table = reference_table("recognition_words.csv", RecognitionWord)
    rows = table.select("word", "concept", "property", "kind", "use").iter_rows()
    return Words([Word(*row) for row in rows], name="words-of-tests")


@cache
def load_cells() -> Cells:
    """Read the relations of the cell concepts."""
    table = reference_table("recognition_cells.csv", RecognitionCell)
    rows = {
        relation: list(table.filter(relation=relation).iter_rows(named=True)) for relation in set(table["relation"])
    }
    return Cells(
        within={row["concept"]: row["other"] for row in rows["within"]},
        combined={frozenset({row["concept"], row["other"]}): row["gives"] for row in rows["combined"]},
        agreeing=frozenset(frozenset({row["concept"], row["other"]}) for row in rows["agrees"]),
        modifiers=frozenset(row["concept"] for row in rows["combined"]) - {row["concept"] for row in rows["within"]},
    )

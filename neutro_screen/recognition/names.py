"""What a test's name says, word by word: cell, property, method, specimen (REC-1).

A name is never looked up whole. It is read certainly where it names one cell, at most one property, nothing that
excludes it, and no word is left over. A left-over word makes it probable; so does a typing error, which is proposed
from the nearest word of the table and never decides.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from rapidfuzz.distance import OSA
from rapidfuzz.process import extractOne

from neutro_screen.recognition.units import read_unit
from neutro_screen.recognition.words import Word, is_too_long, limits, load_cells, load_words, unaccented

Certainty = Literal["certain", "probable", "unknown", "other_test"]


@dataclass(frozen=True, slots=True)
class NameReading:
    """What a name says.

    ``cell``: concept of recognition_cells.csv, null where none or several are named; ``cells`` holds them all. ``property``: count, percent,
    ratio (of one class), quantity (a number of something, percentage not ruled out), fraction, or null. ``specimen``: blood, other or null.
    ``excluded``: the concept that makes it another test. ``unit``: a unit written into the name. ``unread``: words
    that the table does not know. ``guess``: nearest known word of a mistyped one.
    """

    certainty: Certainty
    cell: str | None = None
    cells: frozenset[str] = frozenset()
    property: str | None = None
    method: str = "any"
    specimen: str | None = None
    excluded: str | None = None
    unit: str | None = None
    unread: tuple[str, ...] = ()
    guess: str | None = None


_NO_NAME: Final = NameReading("unknown")
_BRACKETED: Final = re.compile(r"[(\[{（［【]([^()\[\]{}（）［］【】]*)[)\]}）］】]")
_TRAILING: Final = re.compile(r"[\s_:,;]+(?=(?:[xX×*]\s+)?\S*[/^*_])")
_RANGE: Final = re.compile(r"(?<![\w/^*])\d+(?:[.,]\d+)*\s*[-–]\s*\d+(?:[.,]\d+)*(?![\w/^*])")
#: The number or LOINC of an item of a catalogue before its name, and the name of a code system behind it.
_ITEM_NUMBER: Final = re.compile(
    r"^\s*(?:\d{1,2}(?=[.)])\)?|[\[(](?:[A-Z]{0,3}\d{1,6}|\d{1,7}-\d)[\])]|(?:LAB|HEM|TEST)[-_ ]?\d{2,}|(?!10+\b)(?:0\d{2,}|\d{4,})|\d{1,7}(?:-\d{1,3})+)[\s:^_.-]+(?=[^\W\d_]{2})"
    r"|\^(?:LN?|99\w*)\s*$"
)
#: When a test was stopped or changed, and which day, visit or version of a test it is: never a part of what is measured.
_DATE: Final = re.compile(
    r"(?<![\w/^*])<?\d{1,4}([/.-])\d{1,2}\1\d{2,4}(?![\w/])|(?<![\w/^*.,])(?!10+\b)(?:\d{5,}|0\d{3}|(?:19|20)\d\d)(?![\w/^*.,])"
    r"|(?<![\w/^*])(?:0?[1-9]|1[0-2])/\d\d(?![\w/])"
)
_OCCASION: Final = re.compile(
    r"(?<![^\W_])(?:day|d|week|wk|w|month|mo|visit|v|cycle|tp|timepoint|jour|jr|dia|día|dag|tag|giorno|semana|semaine|woche"
    r"|visite|visita|mes|mois|monat|t(?=[0-2](?!\d)))[\s_.-]?\d{1,3}(?![\w^*/])|第?\d{1,3}(?:天|日目)"
    r"|(?<![^\W_])\d{1,2} ?(?:h|hrs?|hours?)(?![^\W_])",
    re.IGNORECASE,
)
#: WBC2, NE#3, NEUT ABS 2: the second and third item of one name in a catalogue.
_REPEATED_ITEM: Final = re.compile(r"([^\W\d_]{2,}[#%]?)(?:[2-9]|(\s)#?[1-9])(?=\W*$)")
#: WBC (for ANC calculation): what a count is for is not what is counted.
_PURPOSE: Final = re.compile(
    r"[(\[{（]\s*(?:for|für|pour|para|per il|voor|для)\s([^()\[\]{}（）]*)[)\]}）]", re.IGNORECASE
)
#: LeucocitosTotales: words that are set apart by a capital letter alone.
_CAPITAL: Final = re.compile(r"(?<=[a-zß-ÿ]{3})(?=[A-ZÀ-Þ][a-zß-ÿ]{2})")
#: T.L.C., W.B.C.: three initials or more are one word.
_INITIALS: Final = re.compile(r"(?<!\w)(?:[^\W\d_]\.){2,}[^\W\d_]\.?(?!\w)")
#: The system of NPU names: Leukocytter;B, aB-Leukocytter (arterial blood; "ab" alone is an antibody).
_SYSTEM_BLOOD: Final = re.compile(r";\s*B\b|(?<![^\W_])[avck]B(?=\s?[-–—])|,\s*[avck]?B-?\s*$")
#: The system in brackets: Leukocyty (B), NEUT(B), Neutrofily (B; num. konc.); the lymphocytes (B) are B cells.
_SYSTEM_IN_BRACKETS: Final = re.compile(r"^(.*?)\(\s*[avck]?B\s*(?=[;)])")
#: Where the whole NPU term has the value: antalk. = ? × 10^9/L.
_PLACE_OF_VALUE: Final = re.compile(r"=\s*\?")
#: Neutrophils and their bands are the neutrophils, as segmented and bands are.
_ADDED_UP: Final = frozenset({"neut", "seg", "band"})
#: Classes that Chinese and Korean laboratories call a ratio in English.
_CLASSES_OF_RATIOS: Final = frozenset({"neut", "lymph", "mono", "eos", "baso"})


@lru_cache(maxsize=1 << 16)
def read_name(name: str) -> NameReading:
    """Read one test name; blank is unknown, and so is what is too long for a name."""
    if is_too_long(name):
        return NameReading("unknown", unread=(name,))
    text, unit = _without_unit(_RANGE.sub(" ", _CAPITAL.sub(" ", _ITEM_NUMBER.sub("", _without_remarks(name)))))
    words, unread = load_words().read(_INITIALS.sub(_joined, _with_system(text)))
    words = _without_denominator(words)
    by_kind = {kind: [word for word in words if word.kind == kind] for kind in ("cell", "property", "method")}
    cells = frozenset(word.concept for word in by_kind["cell"])
    guess = None if cells else _nearest(unread)
    if not cells and guess is None:
        return _nothing_named(words, unread, unit)
    concepts = cells or frozenset({str(guess)})
    cell = _cell(concepts, words)
    excluded = _excluded(words, cell)
    prop, is_contradictory = _property(words)
    is_differential = cell == "wbc" and any(word.concept == "diff" for word in words)
    is_abbreviated = all(word.use == "begun" for word in by_kind["cell"])
    is_certain = not (unread or is_abbreviated or is_contradictory or is_differential) and cell is not None
    return NameReading(
        certainty="other_test" if excluded else "certain" if is_certain else "probable",
        cell=cell,
        cells=concepts if cell is None else frozenset({cell}),
        property=prop,
        method=_method(by_kind["method"]),
        specimen=_specimen(words),
        excluded=excluded,
        unit=unit,
        unread=unread,
        guess=guess,
    )


def _without_remarks(name: str) -> str:
    """The name without dates, occasions, purposes and the number of a repeated item."""
    text = _OCCASION.sub(" ", _DATE.sub(" ", _PURPOSE.sub(_kept_of_purpose, _PLACE_OF_VALUE.sub(" ", name))))
    return _REPEATED_ITEM.sub(_kept_of_item, text)


def _kept_of_purpose(purpose: re.Match[str]) -> str:
    """A purpose that names another specimen or test stays: it decides against."""
    words, unread = load_words().read(purpose[1])
    is_against = any(word.kind in ("exclusion", "panel") or word.concept == "other" for word in words)
    return purpose[0] if is_against or unread else " "


def _kept_of_item(item: re.Match[str]) -> str:
    """The number after a cell goes, and one set apart after its property; Band 3 is a protein of red cells, SO2 a gas."""
    words, unread = load_words().read(item[1])
    kinds, is_band = {word.kind for word in words}, any(word.concept == "band" for word in words)
    is_item = "cell" in kinds or bool(item[2] and kinds and kinds <= {"property", "method"})
    return item[1] if is_item and not unread and not is_band else item[0]


def _with_system(text: str) -> str:
    """The text with the NPU system B, blood, written out."""
    return _SYSTEM_BLOOD.sub(" blood ", _SYSTEM_IN_BRACKETS.sub(_kept_of_system, text))


def _kept_of_system(system: re.Match[str]) -> str:
    cells = {word.concept for word in load_words().read(system[1])[0] if word.kind == "cell"}
    return f"{system[1]} blood (" if cells and "lymph" not in cells else system[0]


def _joined(initials: re.Match[str]) -> str:
    return initials[0].replace(".", "") + " "


def _cell(concepts: frozenset[str], words: tuple[Word, ...]) -> str | None:
    """The one cell that is named: the most specific, or of cells added up what they are together."""
    if len(concepts) > 1 and any(word.concept == "joiner" for word in words):
        return "neut" if "band" in concepts and concepts <= _ADDED_UP else None
    cell = load_cells().most_specific(concepts)
    is_above_another = cell not in concepts and any(word.text == "/" for word in words)
    return None if is_above_another else cell


def _nothing_named(words: tuple[Word, ...], unread: tuple[str, ...], unit: str | None) -> NameReading:
    excluded = _excluded(words, None)
    if excluded is None:
        return NameReading("unknown", unit=unit, unread=unread, specimen=_specimen(words))
    return NameReading("other_test", unit=unit, unread=unread, specimen=_specimen(words), excluded=excluded)


def _without_unit(name: str) -> tuple[str, str | None]:
    """The name without a unit that is written into it, in brackets or at its end, and that unit."""
    for match in _BRACKETED.finditer(name):
        if _is_unit(match[1]):
            return name[: match.start()] + " " + name[match.end() :], match[1]
    for match in _TRAILING.finditer(name):
        for spelled in _spellings(name[match.end() :]):
            if match.start() > 0 and "/" in spelled and _is_unit(spelled):
                return name[: match.start()], spelled
    return name, None


def _spellings(text: str) -> tuple[str, ...]:
    """A unit as it stands, and as a column name writes it: G_L, 10_9_l, 1000cells.ul."""
    return (
        text,
        text.replace("_", "/", 1),
        text.replace("_", "^", 1).replace("_", "/", 1),
        text.replace(".", "/", 1),
        text.replace("_per_", "/"),
    )


def _is_unit(text: str) -> bool:
    """A unit of counts or of mass with a volume; a bare word or number in brackets is a word of the name."""
    options = read_unit(text).options
    return bool(options) and ("/" in text or "³" in text or "3" in text) and not text.strip().isdigit()


def _without_denominator(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Leukocytes after a stroke are what a class is a share of: "Neutrophils/Leukocytes" is a percentage."""
    kept: list[Word] = []
    for word in words:
        is_share = kept and kept[-1].text in _STROKES and word.concept == "wbc" and _names_a_class(kept)
        if is_share:
            kept[-1] = _SHARE
        else:
            kept.append(word)
    return tuple(kept)


_STROKES: Final = ("/", "/ 100")
_SHARE: Final = Word("/ leukocytes", "percent", None, "property", "any")


def _names_a_class(words: list[Word]) -> bool:
    return any(word.kind == "cell" and word.concept != "wbc" for word in words)


def _property(words: tuple[Word, ...]) -> tuple[str | None, bool]:
    """The property that the words state, and whether they state two. A word such as "count" yields to any other."""
    stated = {word.concept for word in words if word.kind == "property"}
    stated |= {word.property for word in words if word.property}
    stated |= {"ratio" for word in words if word.concept == "ratio" and not stated & {"percent", "count"}}
    strong = stated - {"quantity", "scale"}
    if len(strong) > 1:
        return None, True
    if strong:
        return next(iter(strong)), False
    return ("quantity" if stated else None), False


def _method(methods: list[Word]) -> str:
    named = {word.concept for word in methods} & {"manual", "auto"}
    return next(iter(named)) if len(named) == 1 else "any"


def _specimen(words: tuple[Word, ...]) -> str | None:
    named = {word.concept for word in words if word.kind == "specimen"}
    return "other" if "other" in named else next(iter(named), None)


def _excluded(words: tuple[Word, ...], cell: str | None) -> str | None:
    """Why the words name another test than a count in blood: null = they do not."""
    is_share = any(word.concept == "percent" for word in words if word.kind == "property")
    for word in words:
        is_share_of_one = word.concept == "ratio" and cell is not None and (is_share or _is_ratio_of_one(words))
        if word.kind == "exclusion" and not is_share_of_one:
            return word.concept
    if _specimen(words) == "other":
        return "specimen"
    if cell == "hyperseg":
        return "morphology"
    if _is_quotient(words):
        return "ratio"
    return "panel" if any(word.kind == "panel" for word in words) else None


def _is_ratio_of_one(words: tuple[Word, ...]) -> bool:
    """ "Neutrophil ratio" of one class: a share of the white cells if its unit is a percentage, else another test."""
    return {word.concept for word in words if word.kind == "cell"} <= _CLASSES_OF_RATIOS


def _is_quotient(words: tuple[Word, ...]) -> bool:
    """One cell over another that neither holds nor is held by it."""
    for above, stroke, below in zip(words, words[1:], words[2:], strict=False):
        if stroke.text == "/" and above.kind == below.kind == "cell":
            pair = frozenset({above.concept, below.concept})
            if len(pair) == 2 and not pair <= _ADDED_UP and load_cells().most_specific(pair) not in pair:
                return True
    return False


def _nearest(unread: tuple[str, ...]) -> str | None:
    """The cell whose word is nearest to a word that was not read, or stands inside it; null where none is."""
    for token in unread:
        within = load_words().cell_within(unaccented(token))
        if within:
            return within.concept
        if len(token) < limits()["shortest_guessed"]:
            continue
        found = extractOne(
            unaccented(token),
            _cell_words(),
            scorer=OSA.normalized_similarity,
            score_cutoff=limits()["similarity_of_a_guess"],
        )
        if found:
            return _concept_of(found[0])
    return None


@lru_cache(maxsize=1)
def _cell_words() -> tuple[str, ...]:
    return tuple(sorted({text for text, _ in load_words().texts("cell") if len(text) >= limits()["shortest_guessed"]}))


@lru_cache(maxsize=1 << 12)
def _concept_of(text: str) -> str:
    return next(word.concept for key, word in load_words().texts("cell") if key == text)

"""What the text of a unit means: an exact table first, then a grammar; in doubt no reading (REC-5, FORMATS.md C).

The grammar reads ``[times] [power of ten | number | word] [entity] per volume``. A count is a whole power of ten of
10*9/L, so nothing is rounded. ``g/L`` has two readings, giga per litre of a count and grams per litre of haemoglobin;
which one holds follows from the analyte, never from the case of a letter.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from neutro_schemas.reference import RecognitionUnit
from neutro_screen.recognition.words import decoded, folded, unaccented
from neutro_screen.reference import load_reference, reference_table


@dataclass(frozen=True, slots=True)
class UnitOption:
    """One property that a unit can belong to: canonical = (raw - offset) x factor.

    ``exponent``: the power of ten of the factor where it is one. ``decision``: accept, accept_fraction (values 0 to 1
    only) or refuse (read, and never meant of a leukocyte count). ``smallest_raw_value``: accepted from there on.
    """

    property: str
    factor: float | None
    offset: float = 0.0
    exponent: int | None = None
    decision: str = "accept"
    smallest_raw_value: float | None = None


@dataclass(frozen=True, slots=True)
class UnitReading:
    """What a unit's text can mean: one option a property, none where it was not read.

    ``is_ambiguous``: the options are guesses (``UL`` as a whole unit) that name and values have to confirm.
    ``is_field``: per field of a microscope, so no count per volume.
    """

    options: tuple[UnitOption, ...] = ()
    decided_by: str | None = None
    is_ambiguous: bool = False
    is_field: bool = False

    def of(self, prop: str) -> UnitOption | None:
        """The option of a property, if the unit can belong to it."""
        return next((option for option in self.options if option.property == prop), None)

    @property
    def accepted(self) -> frozenset[str]:
        """The properties that the unit can belong to."""
        return frozenset(option.property for option in self.options if option.decision != "refuse")


_UNREAD: Final = UnitReading()
#: An exponent of the litre is added to the scale's; 10*9/L is the canonical count.
_CANONICAL_EXPONENT: Final = 9
#: A power without a volume is understood as thousands per microlitre, or 10*9 per litre.
_UNDERSTOOD_ALONE: Final = (3, 9)


@lru_cache(maxsize=1 << 16)
def read_unit(text: str | None) -> UnitReading:
    """Read the text of a unit; blank and what cannot be read give no option."""
    key = unit_key(text or "")
    if not key:
        return _UNREAD
    for spelled in (key, _within_brackets(key), key.removeprefix("x ")):
        if spelled in _whole_spellings():
            return _whole_spellings()[spelled]
    found = _by_grammar(_within_brackets(key))
    return found if found.options else _without_annotation(key)


def _without_annotation(key: str) -> UnitReading:
    """A unit with what it counts, or with the same unit once more, in brackets behind it."""
    annotation = _ANNOTATION.search(key)
    if annotation is None or annotation.start() == 0:
        return _UNREAD
    read = read_unit(key[: annotation.start()])
    is_entity = annotation[1].strip() in _entities() or read_unit(annotation[1]) == read
    return read if is_entity and not read.is_ambiguous else _UNREAD


def _within_brackets(key: str) -> str:
    """A unit that stands in brackets as a whole, without them."""
    inner = re.fullmatch(r"\(([^()]*(?:\([^()]*\))?[^()]*)\)|\[([^\[\]]*)\]", key)
    return (inner[1] or inner[2] or "").strip() if inner else key


_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT_RUN: Final = re.compile(r"(?<=[\w)\]])([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
#: A raised number as a web page or a Chinese sentence writes it: 10<sup>9</sup>, 10的9次方.
_SUPERSCRIPT_TAG: Final = re.compile(r"<sup>\s*(\d+)\s*</sup>|的(\d+)次方", re.IGNORECASE)
#: What a unit counts, in braces or brackets behind it: 10*9/L{cells}, 10^9/L (WBC).
_ANNOTATION: Final = re.compile(r"\s*[{(\[]([^{}()\[\]]+)[})\]]$")
#: The micro sign is the one letter before a litre that a change of character set loses.
_LOST_MICRO: Final = re.compile(r"(?<=/)\s*(?:\?{1,2}|\ufffd{1,2})(?=[lL]\b)")
_SIGNS: Final = str.maketrans({"×": "x", "✕": "x", "∗": "*", "·": "*", "•": "*", "ˆ": "^", "∕": "/", "⁄": "/"})


def unit_key(text: str) -> str:
    """A unit's text without what never matters: superscripts as ^n, micro as u, times as x, case, accents, spaces."""
    text = _SUPERSCRIPT_TAG.sub(lambda raised: "^" + (raised[1] or raised[2]), _LOST_MICRO.sub("u", decoded(text)))
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^" + run[1].translate(_SUPERSCRIPTS), text.replace("\\S\\", "^"))
    text = unaccented(folded(text.translate(_SIGNS))).translate(_SIGNS)
    text = re.sub(r"^\s*х(?=\s*1)", "x", text)  # the Cyrillic letter before a number
    text = re.sub(r"\s+", " ", text).strip(" .,;:")
    return re.sub(r"\s*([/^*])\s*", r"\1", text)


@cache
def _rows(kind: str) -> list[tuple[str, str, str]]:
    """Text, property and value of the rows of one kind of recognition_units.csv."""
    table = reference_table("recognition_units.csv", RecognitionUnit).fill_null("")
    return table.filter(kind=kind).select("text", "property", "value").rows()


@cache
def _smallest_raw_values() -> dict[int, float | None]:
    """The powers of ten that a count is written in, with the smallest raw value that makes sense in each."""
    return {int(exponent): float(value) if value else None for exponent, _, value in _rows("limit")}


def _count(exponent: int) -> UnitOption:
    """A count whose unit is 10 to the exponent of 10*9/L; a power that no leukocyte count is written in is refused."""
    limits = _smallest_raw_values()
    return UnitOption(
        "count",
        float(f"1e{exponent}"),
        exponent=exponent,
        decision="accept" if exponent in limits else "refuse",
        smallest_raw_value=limits.get(exponent),
    )


@cache
def _whole_spellings() -> dict[str, UnitReading]:
    """Spellings that are looked up whole: the unit table, and those that the grammar does not or must not read."""
    found: dict[str, dict[str, UnitOption]] = {}
    for unit in load_reference().unit_factors.iter_rows(named=True):
        option = UnitOption(
            unit["dimension"],
            unit["factor"],
            unit["offset"],
            _exponent(unit["factor"]) if unit["dimension"] == "count" else None,
            unit["decision"],
            unit["smallest_raw_value"],
        )
        found.setdefault(unit_key(unit["match_key"]), {})[option.property] = option
    for text, properties, values in _rows("whole"):
        options = found.setdefault(unit_key(text), {})
        for prop, value in zip(properties.split("|"), values.split("|"), strict=True):
            options.setdefault(prop, _option(prop, value))
    spellings = {key: UnitReading(tuple(options.values()), "table") for key, options in found.items()}
    fields = {unit_key(text): UnitReading(decided_by="table", is_field=True) for text, _, _ in _rows("field")}
    guessed = {unit_key(text): _count(int(value)) for text, _, value in _rows("ambiguous")}
    ambiguous = {key: UnitReading((option,), "table", is_ambiguous=True) for key, option in guessed.items()}
    return spellings | fields | ambiguous


def _option(prop: str, value: str) -> UnitOption:
    if value == "refuse":
        return UnitOption(prop, None, decision="refuse")
    return _count(int(value)) if prop == "count" else UnitOption(prop, float(value))


def _exponent(factor: float | None) -> int | None:
    if factor is None:
        return None
    exponent = int(f"{factor:e}".partition("e")[2])
    return exponent if float(f"1e{exponent}") == factor else None


def _by_grammar(key: str) -> UnitReading:
    """Read ``[times] [entity] [scale] [entity] per volume``; no match, no reading."""
    match = _grammar().fullmatch(key)
    if match is None:
        return _UNREAD
    scale = _scale(match)
    if match["joined"] and not match["power"]:
        return _UNREAD
    volume = match["volume"] or match["inverse"] or match["joined"]
    if volume is None:
        is_understood = match["power"] is not None and scale in _UNDERSTOOD_ALONE
        return UnitReading((_count(0),), "grammar") if is_understood else _UNREAD
    exponent = scale - _meanings("volume")[volume] - _CANONICAL_EXPONENT
    return UnitReading((_count(exponent),), "grammar")


def _scale(match: re.Match[str]) -> int:
    if match["power"]:
        return int(match["power"])
    if match["number"]:
        return len(re.sub(r"\D", "", match["number"])) - 1
    return _meanings("scale")[match["word"]] if match["word"] else 0


@cache
def _meanings(kind: str) -> dict[str, int]:
    return {unit_key(text): int(value) for text, _, value in _rows(kind)}


@cache
def _entities() -> frozenset[str]:
    return frozenset(unit_key(text) for text, _, _ in _rows("entity"))


def _one_of(kind: str) -> str:
    """A pattern of all texts of a kind, longest first."""
    texts = {unit_key(text) for text, _, _ in _rows(kind)}
    return "|".join(re.escape(text) for text in sorted(texts, key=lambda text: (-len(text), text)))


@cache
def _grammar() -> re.Pattern[str]:
    """The grammar of counts over the words of recognition_units.csv, for texts in the form of ``unit_key``.

    A power is written 10^3, 10*3, 10**3, 10e3, 10.e3, 10x3, 10exp3, 10(3), 10[3], 10 3, 1e3, e3, or 103 where a raised digit
    was lost; a negative power is never read.
    """
    power = r"(?:(?:(?:\(10\)|10)(?:\.(?=[e^*]))? ?(?:\^|\*\*?|e|exp?|s|x|~|\'|`| ?to the(?: power(?: of)?)?)? ?|1? ?e) ?[(\[{]{0,2} ?\+? ?0?(?P<power>[2-69]|12)(?:th(?: power)?)? ?[)\]}]{0,2})"
    number = r"(?P<number>1(?:0{2,6}|(?:[., \']000){1,2}|0{1,2}[., \']000)?)"
    word = rf"(?P<word>{_one_of('scale')})\.?"
    entity = rf"[({{\[]?(?:{_one_of('entity')})\.?[)}}\]]?"
    litre = _one_of("volume")
    before = rf"(?:[x*] ?)?(?:{entity}(?: ?[x*] ?| ))?"
    scaled = rf"(?:{power} ?(?:{entity})?|(?:{number}|{word})(?: {entity})?|{entity})?"
    per = rf"(?: ?/ ?|(?:^| )(?:{_one_of('per')}) )(?:1 )?"
    volume = rf"(?:{per}(?P<volume>{litre})\.?|[. *]?(?P<inverse>{litre}) ?\^?\(?-1\)?|(?P<joined>(?<=[\d)\]]){litre}))"
    of_what = rf"(?: (?:of )?(?:blood|blut|sang|sangre|sangue|{entity}))?"
    return re.compile(rf"{before}{scaled}(?:{volume}{of_what})?")

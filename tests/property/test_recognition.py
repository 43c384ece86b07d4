"""Recognition under any spelling: case, spaces, accents and separators never change a reading; no unit is misread."""

import unicodedata
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.readings import weigh
from neutro_screen.recognition.specimens import read_specimen
from neutro_screen.recognition.units import read_unit
from neutro_screen.recognition.words import load_words
from neutro_screen.reference import load_reference

TABLES = Tables(load_reference())
NAMES = [
    "Neutrophils Absolute",
    "Segmented neutrophils",
    "NEUT# (AUTO)",
    "Polynucléaires neutrophiles",
    "Nötrofil yüzdesi",
    "Neutrófilos segmentados",
    "Лейкоциты",
    "Granulocyty obojętnochłonne",
    "Leuco's (bloed)",
    "WBC, urine",
    "Anti-neutrophil antibody",
    "Immature Granulocytes (Abs)",
    "B-Leukocyter",
    "Stabkernige Granulozyten",
    "Band 3",
    "Neutrophils Zwickau",
]


def read_as(name: str) -> tuple[object, ...]:
    reading = read_name(name)
    return reading.certainty, reading.cell, reading.property, reading.method, reading.specimen, reading.excluded


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    name = draw(st.sampled_from(NAMES))
    spelled = draw(st.sampled_from([str.upper, str.lower, str.title, str.swapcase, str]))(name)
    spelled = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])), spelled)
    space = draw(st.sampled_from([" ", "  ", "_", " . ", "\u00a0", " - "]))
    return name, draw(st.sampled_from(["", " ", "* "])) + spelled.replace(" ", space) + draw(
        st.sampled_from(["", " ", "."])
    )


@given(spellings())
def test_case_spaces_accents_and_separators_never_change_a_name(pair: tuple[str, str]) -> None:
    name, spelled = pair
    assert read_as(spelled) == read_as(name)


@given(st.sampled_from(NAMES))
def test_a_name_typed_without_its_accents_is_the_same(name: str) -> None:
    plain = "".join(letter for letter in unicodedata.normalize("NFD", name) if not unicodedata.combining(letter))
    assume(not any("CYRILLIC" in unicodedata.name(letter, "") for letter in name))
    assert read_as(plain.replace("ł", "l")) == read_as(name)


@given(st.text(max_size=40), st.text(max_size=15), st.text(max_size=15))
def test_no_text_breaks_a_reading_and_none_is_read_twice_differently(name: str, unit: str, specimen: str) -> None:
    origin = Origin(analyte_name=name, unit_text=unit, specimen_type=specimen)
    assert weigh(origin, TABLES) == weigh(origin, TABLES)
    assert read_specimen(specimen).specimen in ("blood", "other", "unknown", None)


@given(
    st.sampled_from(["Neutrophils", "WBC", "Granulocytes", "Bands"]),
    st.text(alphabet="qwxzjkv", min_size=4, max_size=9),
)
def test_a_word_that_is_not_known_is_never_certain(name: str, word: str) -> None:
    assume(load_words().read(word)[1])
    assert read_name(f"{name} {word}").certainty != "certain"


#: An independent formulation: what is counted, in what volume, both in exact numbers (cells, litres).
SCALES = {
    "": 1,
    "10^3 ": 10**3,
    "x10^3 ": 10**3,
    "10*3": 10**3,
    "10E3": 10**3,
    "1e3": 10**3,
    "10 9": 10**9,
    "x10(9)": 10**9,
    "10³": 10**3,
    "×10⁹ ": 10**9,
    "10**6": 10**6,
    "10^2": 10**2,
    "10e12": 10**12,
    "K": 10**3,
    "thousand": 10**3,
    "Tsd.": 10**3,
    "тыс": 10**3,
    "млрд": 10**9,
    "billion": 10**9,
    "million": 10**6,
    "lakh": 10**5,
    "千": 10**3,
    "万": 10**4,
    "1000": 10**3,
    "1,000": 10**3,
    "10000": 10**4,
    "hundred": 10**2,
    "Mio": 10**6,
    "Mrd": 10**9,
}
ENTITIES = ["", "cells", "WBC", "Zellen", "{cells}", "células"]
VOLUMES = {
    "L": 1,
    "litre": 1,
    "л": 1,
    "mL": Fraction(1, 10**3),
    "uL": Fraction(1, 10**6),
    "µl": Fraction(1, 10**6),
    "mcL": Fraction(1, 10**6),
    "mm3": Fraction(1, 10**6),
    "mm³": Fraction(1, 10**6),
    "cumm": Fraction(1, 10**6),
    "cu mm": Fraction(1, 10**6),
    "мкл": Fraction(1, 10**6),
    "㎕": Fraction(1, 10**6),
    "nL": Fraction(1, 10**9),
    "cubic millimeter": Fraction(1, 10**6),
}


@given(
    st.sampled_from(list(SCALES)),
    st.sampled_from(ENTITIES),
    st.sampled_from(["/", " / ", " per "]),
    st.sampled_from(list(VOLUMES)),
)
def test_a_unit_put_together_is_read_as_its_exact_factor_or_refused(
    scale: str, entity: str, per: str, volume: str
) -> None:
    text = f"{scale.strip()} {entity}{per}{volume}".strip()
    option = read_unit(text).of("count")
    factor = Fraction(SCALES[scale]) / VOLUMES[volume] / 10**9
    assert option is not None, text
    assert option.exponent is not None
    assert Fraction(10) ** option.exponent == factor, text


@given(st.text(alphabet="0123456789^*xeE()[]{}/.,- kKuUlLmMgGdtTcChowspr%µ³⁹", max_size=14))
def test_no_text_is_misread_as_a_count(text: str) -> None:
    """Whatever is accepted as a count from loose signs names a volume or a power, and its factor is a power of ten."""
    unit = read_unit(text)
    option = unit.of("count")
    if option is None or option.decision == "refuse":
        return
    assert option.exponent is not None
    assert option.factor == float(f"1e{option.exponent}")
    assert "-" not in text.replace("-1", "")


@given(
    st.sampled_from(["K/uL", "G/L", "10*9/L", "/mm3", "g/dL", "%", "x10^3/µL"]),
    st.sampled_from(["upper", "lower", "title"]),
)
def test_case_never_changes_a_unit(unit: str, case: str) -> None:
    assert read_unit(getattr(unit, case)()) == read_unit(unit)

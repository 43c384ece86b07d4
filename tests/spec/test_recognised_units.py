"""What the text of a unit means (REC-5): read exactly or refused, never misread."""

import pytest

from neutro_screen.recognition.units import read_unit

THOUSANDS = [
    "K/uL",
    "k/µL",
    "THOU/CUMM",
    "10^3/µL",
    "x10³/㎕",
    "X10(3)/mcL",
    "10\\S\\3/uL",
    "(10^3/uL)",
    "10*9/L",
    "×10⁹/L",
    "10 9/L",
    "10E09/L",
    "1e9/L",
    "10^9L",
    "10 to the 9/L",
    "10 to the power of 9 / L",
    "10 to the 9th/L",
    "10*9.L-1",
    "10^9 L^-1",
    "Tsd./µl",
    "Mrd/l",
    "mia./l",
    "Gpt/l",
    "/nL",
    "Giga/L",
    "10.9/L",
    "migliaia/mmc",
    "miles/mm3",
    "tys./µl",
    "tis/µL",
    "10³/ÂµL",
    "10^3/?L",
    "GI/L",
    "x10.e3/uL",
    "K/micl",
    "тыс/мкл",
    "тыс. в 1 мкл",
    "10⁹/л",
    "х10^9/л",
    "bin/mm3",
    "千/μL",
    "천/μL",
    "ribu/uL",
    "1,000/uL",
    "1000 cells/uL",
    "cells x10^9/L",
    "10*9/l WBC",
    "billion cells per liter",
    "thousand per cubic millimeter",
    "X 10 3",
    "10<sup>9</sup>/L",
    "×10的9次方/L",
    "10*9/L{cells}",
    "10^9/L (WBC)",
    "10^3/uL (K/uL)",
    "K/CUM",
    "X(10)3/UL",
]
SINGLE = [
    "/uL",
    "cells/cumm",
    "/cu mm",
    "{cells}/uL",
    "个/μL",
    "個/μL",
    "개/㎕",
    "клеток/мкл",
    "células/mm³",
    "mm3",
    "10^6/L",
    "Zellen/µl",
    "خلية/ميكرولتر",
    "éléments/mm3",
]


@pytest.mark.parametrize(
    ("texts", "exponent"), [(THOUSANDS, 0), (SINGLE, -3), (["10^2/uL", "×百/μL"], -1), (["lakh/cumm"], 2)]
)
def test_a_count_is_a_power_of_ten_of_the_canonical_unit(texts: list[str], exponent: int) -> None:
    read = {text: read_unit(text).of("count") for text in texts}
    assert {
        text: option and (option.exponent, option.factor, option.decision) for text, option in read.items()
    } == dict.fromkeys(texts, (exponent, float(f"1e{exponent}"), "accept"))


@pytest.mark.parametrize(
    "text",
    [
        "10-3/uL",
        "10^-3/uL",
        "10^-9/L",
        "ng/mL",
        "ng/L",
        "K/L",
        "T/L",
        "M/uL",
        "10^12/L",
        "10^6/uL",
        "/pL",
        "/mL",
        "10^9/dL",
        "bill/l",
        "mmol/L",
        "U/L",
        "K/u/",
        "K/uI",
        "10^3/uLL",
        "copies/mL",
        "10^5 CFU/mL",
        "130-400",
        "pH",
        "",
        "see comment",
        "/HPF",
        "10^8/L",
        "mg/dL",
        "kU/L",
        "x10e*3",
        "10^3/uL (/uL)",
        "10^9/L (corrected)",
        "T/CMM",
        "X10-3/UL",
    ],
)
def test_what_no_leukocyte_count_is_written_in_is_not_accepted_as_one(text: str) -> None:
    assert "count" not in read_unit(text).accepted


@pytest.mark.parametrize("text", ["UL", "CMM", "mil/mm3", "mil/uL", "xmm3"])
def test_a_unit_with_two_meanings_waits_for_name_and_values(text: str) -> None:
    assert read_unit(text).is_ambiguous


def test_giga_and_gram_per_litre_are_told_apart_by_the_analyte_alone() -> None:
    for text in ("G/L", "g/L", "г/л", "g.L-1"):
        factors = {option.property: option.factor for option in read_unit(text).options}
        assert (factors["count"], factors["mass"]) == (1.0, 0.1)


@pytest.mark.parametrize(
    ("text", "prop", "factor"),
    [
        ("%", "percent", 1),
        ("％", "percent", 1),
        ("% of WBC", "percent", 1),
        ("Prozent", "percent", 1),
        ("ratio", "percent", 100),
        ("gm/dl", "mass", 1),
        ("г/дл", "mass", 1),
        ("g%", "mass", 1),
        ("mmol/L", "mass", 1.6114),
        ("fl", "volume", 1),
        ("µm³", "volume", 1),
        ("/100 WBC", "per100wbc", 1),
    ],
)
def test_other_properties_have_their_own_spellings(text: str, prop: str, factor: float) -> None:
    option = read_unit(text).of(prop)
    assert option is not None
    assert option.factor == factor


@pytest.mark.parametrize("text", ["podíl", "podiel", "andel", "fração", "доля"])
def test_a_share_of_one_is_a_fraction_in_other_languages(text: str) -> None:
    option = read_unit(text).of("percent")
    assert option is not None
    assert (option.factor, option.decision) == (100, "accept_fraction")


@pytest.mark.parametrize(
    "text", ["/LPB", "w p.w.", "κ.ο.π.", "p/campo", "/gezichtsveld", "зр.поле", "в полі зору", "/synfält"]
)
def test_a_field_of_the_microscope_is_no_volume_in_any_language(text: str) -> None:
    assert read_unit(text).is_field

"""What a specimen's words and codes say (REC-4): blood, another specimen, or nothing that can be relied on."""

import pytest

from neutro_screen.recognition.specimens import read_specimen

BLOOD = [
    "Blood",
    "EDTA-Blut",
    "Venous blood",
    "Capillary blood",
    "Arterial blood, line",
    "Mixed venous blood",
    "sang veineux",
    "sangre",
    "кровь",
    "全血",
    "혈액",
    "kan",
    "darah",
    "Blood - infection screen",
    "Blood (mobile phlebotomy)",
    "Whole blood recorded",
    "Blood, tissue typing",
    "EDTA blood, cord clamp",
    "Blood via drain line",
    "Blood infected risk",
    "BLD",
    "BldV",
    "119297000",
    "Blood 4 mL",
]
OTHER = [
    "Urine",
    "UR",
    "U",
    "URN",
    "Mittelstrahlurin",
    "CSF",
    "Liquor",
    "PLR",
    "Ascites fluid",
    "Synovial fluid, left knee",
    "BAL",
    "MAR",
    "Knochenmark",
    "Knochenmarkblut",
    "Cord blood",
    "Umbilical cord blood, venous",
    "Fetal blood",
    "Donor blood",
    "Blood bag",
    "Stem cell product",
    "Blood from central line swab port",
    "Blood stained pleural fluid",
    "122575003",
    "Bone mar",
    "尿液",
    "İdrar",
]
UNKNOWN = [
    "Serum",
    "Plasma",
    "XXX",
    "Blood/Urine",
    "Zxqwv",
    "Blood, liver clinic",
    "Blood from xyz",
    "Blood culture",
    "静脉血浆",
    "n/a",
]


@pytest.mark.parametrize(
    ("text", "specimen"),
    [
        *((text, "blood") for text in BLOOD),
        *((text, "other") for text in OTHER),
        *((text, "unknown") for text in UNKNOWN),
    ],
)
def test_a_specimen_is_read_by_code_and_by_words_never_by_parts_of_words(text: str, specimen: str) -> None:
    assert read_specimen(text).specimen == specimen


@pytest.mark.parametrize("text", [None, "", "  "])
def test_blank_says_nothing(text: str | None) -> None:
    assert read_specimen(text).specimen is None


@pytest.mark.parametrize("text", ["LAV", "Biop", "Amnio", "Synov"])
def test_rec_4_an_abbreviation_is_never_taken_for_another_specimen(text: str) -> None:
    """REC-4: it would lose the patient in silence; unknown, the order or the list of those who cannot be assessed tells."""
    assert read_specimen(text).specimen == "unknown"

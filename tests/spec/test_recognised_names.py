"""What a test's name means, word by word (REC-1): the cell, whether a count or a percentage, and what it is not."""

from pathlib import Path

import polars as pl
import pytest

from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.readings import weigh
from neutro_screen.reference import load_reference
from neutro_screen.reference.tables import FOLDER

TABLES = Tables(load_reference())
V1_NAMES = Path(__file__).parent / "vocabulary" / "names_of_version_1.csv"


def analyte(name: str, unit: str | None) -> str | None:
    reading = weigh(Origin(analyte_name=name, unit_text=unit), TABLES)
    return reading.analyte if reading.certainty == "certain" else reading.certainty


READ = """
name                                      | unit         | analyte
NEUTROPHILS                               | %            | neut_pct
NEUTROPHILS                               | K/uL         | neut_abs
Segmented neutrophils                     | %            | seg_pct
Neutrophils, Segmented, Absolute          | 10*9/L       | seg_abs
Band neutrophils                          | %            | band_pct
Stabkernige Granulozyten                  | %            | band_pct
Segs + Bands absolute                     | K/uL         | neut_abs
Neutrophils + Bands                       | %            | neut_pct
Stab- und Segmentkernige                  | %            | neut_pct
Immature granulocytes                     | %            | ig_pct
Immature neutrophils                      | %            | neut_imm_pct
Mature neutrophils                        | %            | seg_pct
Granulocytes                              | 10*9/L       | gran_abs
Neutrophile Granulozyten                  | G/l          | neut_abs
PMN                                       | %            | neut_pct
ABSOLUTE POLYS                            | K/uL         | neut_abs
Polynucléaires éosinophiles               | %            | eos_pct
Neutrophils/Leukocytes                    | %            | neut_pct
Neutrophils/100 leukocytes in Blood       | %            | neut_pct
Atypical lymphocytes                      | %            | varlymph_pct
Hgb                                       | g/dL         | hgb
nRBC                                      | /100 WBC     | nrbc_per100wbc
WBC corrected for NRBC                    | K/uL         | wbc_nrbc_corrected
T.L.C.                                    | /cumm        | wbc
WBC (4-11,000)                            | /cumm        | wbc
WBC_G_L                                   | G/L          | wbc
NEUT ABS (QUEST)                          | K/uL         | neut_abs
B-Neutrofila granulocyter                 | 10*9/L       | neut_abs
Neutrofilocytter;B                        | 10*9/L       | neut_abs
B—Neutrophilocytter; antalk. = ? × 10^9/L |              | neut_abs
aB-Leukocyter                             | 10*9/L       | wbc
Neutrofila granulocyter, B-               | 10*9/L       | neut_abs
Neutrofily (B; num. konc.)                | 10^9/l       | neut_abs
Neutrophilic myelocytes                   | %            | myelo_pct
5. Band neutrophils %                     | %            | band_pct
NEUT ABS 2                                | K/uL         | neut_abs
Gesamtleukozyten                          | /nl          | wbc
Neutrophilenzahl                          | G/l          | neut_abs
中性粒细胞绝对值                          | 10^9/L       | neut_abs
好中球数                                  | /μL          | neut_abs
호중구(%)                                 | %            | neut_pct
Нейтрофилы, абс.                          | тыс/мкл      | neut_abs
Neutrophil ratio                          | %            | neut_pct
LBDNENO                                   | 1000 cells/uL| neut_abs
LeucÃ³citos totales                       | /mm3         | wbc
Leuc?citos                                | /mm3         | wbc
Neutr�filos segmentados                   | %            | seg_pct
White Blood Cell Cou                      | K/uL         | wbc
Segmented Neutrophi                       | %            | seg_pct
нейтрофилы палочк абс                     | 10^9/л       | band_abs
LeucocitosTotales                         | 10^3/uL      | wbc
LAB0123 NEUTROPHILS ABSOLUTE              | K/uL         | neut_abs
(751-8) Neutrophils                       | 10*3/uL      | neut_abs
WBC x 10*9/L                              |              | wbc
neutrophils_10_9_l                        |              | neut_abs
Lymphocytes (mm3)                         |              | lymph_abs
Neutrophile/100 Leukozyten in Blut        | %            | neut_pct
Polynucléaires neutrophiles/100 leucocytes| %            | neut_pct
中性粒细胞/100 白细胞                     | %            | neut_pct
NEUTROPHIL, ABSOLUTE (thru 5/2/2019)      | K/uL         | neut_abs
WBC (BEFORE 5/9/06)                       | K/uL         | wbc
SEGS ABS (DCED 072313)                    | K/uL         | seg_abs
anc_day1                                  | K/uL         | neut_abs
WBC Day 14                                | K/uL         | wbc
neutrophils_visit2                        | 10*9/L       | neut_abs
WBC (V2)                                  | K/uL         | wbc
WBC2                                      | K/uL         | wbc
WBC (for ANC calculation)                 | K/uL         | wbc
Leukozyten präoperativ                    | G/l          | wbc
术前白细胞计数                            | 10^9/L       | wbc
Hemograma completo, Neutrófilos           | %            | neut_pct
Esame emocromocitometrico - Leucociti     | 10^9/L       | wbc
KKS: Neutrofilni granulociti #            | 10^9/L       | neut_abs
ПКК - Левкоцити                           | 10^9/л       | wbc
Vérkép: Neutrofil                         | %            | neut_pct
末梢血液一般 白血球数                     | 10^3/uL      | wbc
Leukozyten korrigiert für kernhaltige Erythrozyten | G/l | wbc_nrbc_corrected
"""


def table(text: str) -> list[tuple[str, ...]]:
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in text.strip().splitlines()]
    return rows[1:]


@pytest.mark.parametrize(("name", "unit", "meant"), table(READ))
def test_a_name_is_read_word_by_word(name: str, unit: str, meant: str) -> None:
    assert analyte(name, unit) == meant


OTHER = """
name                                  | why
Neutrophil/Lymphocyte Ratio           | ratio
NLR                                   | index
Neutrophil NLR                        | index
Antineutrophil antibodies             | antibody
ANCA                                  | antibody
Leukocyte esterase                    | enzyme
Neutrophil oxidative burst            | function
Hypersegmented neutrophils            | morphology
NEUT-X                                | morphology
IT ratio neutrophils                  | function
PolyA                                 | function
GPI deficient granulocytes            | antigen
WBC Left Shift?                       | morphology
Blast crisis                          | morphology
WBC casts                             | morphology
Neutrophils, CSF                      | specimen
Leukozyten i.U.                       | specimen
Leuko U                               | specimen
Leuco's ascites                       | specimen
Segmenten (beenmerg)                  | specimen
Oligoclonal bands                     | function
M-Band                                | function
CD64 neutrophils                      | antigen
Hemoglobin A1c                        | hbfraction
Neutropenia grade                     | morphology
Li-Leuk                               | specimen
As-Leuk                               | specimen
Leukozyten in Zerebrospinalflüssigkeit| specimen
Neutrophils (for body fluid)          | specimen
"""


@pytest.mark.parametrize(("name", "why"), table(OTHER))
@pytest.mark.parametrize("unit", [None, "10*9/L", "%", "/uL"])
def test_an_exclusion_makes_it_another_test_whatever_its_unit(name: str, why: str, unit: str | None) -> None:
    reading = weigh(Origin(analyte_name=name, unit_text=unit), TABLES)
    assert not reading.may_feed_anc
    if unit is None and why == "antibody":  # evidence of its own (PER-1), and no count
        assert reading.property == "marker"
    else:
        assert (reading.certainty, reading.reason) == ("other_test", f"excluded: {why}")


@pytest.mark.parametrize("name", ["AB-LEUKOCYTER", "AB NEUT", "Ab-Neutrofile granulocytter"])
def test_rec_3_an_antibody_is_not_counted_in_cells_so_its_abbreviation_loses_nobody(name: str) -> None:
    counted = weigh(Origin(analyte_name=name, unit_text="10*9/L"), TABLES)
    assert (counted.certainty, counted.may_feed_anc) == ("probable", True)
    for unit in (None, "%", "U/mL"):
        assert weigh(Origin(analyte_name=name, unit_text=unit), TABLES).analyte in (None, "neutrophil_antibody")


def test_every_word_that_excludes_does_so_before_and_behind_a_cell() -> None:
    """A share is a word of ratios in general: "Neutrophil ratio" in per cent is the percentage."""
    table = pl.read_csv(FOLDER / "recognition_words.csv", infer_schema=False)
    is_exclusion = (pl.col("kind") == "exclusion") & (pl.col("concept") != "ratio")
    is_other = (pl.col("kind") == "specimen") & (pl.col("concept") == "other") & (pl.col("use") == "any")
    words = table.filter(is_exclusion | is_other)["word"]
    assert words.len() > 1800
    names = [name for word in words for name in (f"Neutrophils {word}", f"{word} leukocytes")]
    readings = {name: weigh(Origin(analyte_name=name, unit_text="%"), TABLES) for name in names}
    assert [name for name, read in readings.items() if read.certainty == "certain" and read.may_feed_anc] == []


PROBABLE = """
name                        | reason
Neutrophils Zwickau         | unread_word
Neutrophiils                | mistyped
Segs/Bands                  | several_cells
Neutrophils % absolute      | several_properties
WBC with diff               | several_properties
Absolute Neutrophil Co      | unread_word
Neutrophils 100             | unread_word
WBC SYN                     | unread_word
Neutrophil elas             | unread_word
Morfologia: WBC             | unread_word
WBC (for Zwickau)           | unread_word
"""


@pytest.mark.parametrize(("name", "reason"), table(PROBABLE))
def test_a_word_left_over_or_mistyped_is_proposed_and_never_used(name: str, reason: str) -> None:
    reading = weigh(Origin(analyte_name=name, unit_text="10*9/L"), TABLES)
    assert (reading.certainty, reading.reason, reading.may_feed_anc) == ("probable", reason, True)


@pytest.mark.parametrize("name", ["Polymorphonuc", "WBC?RBC", "Neutr�Zwickau", "100 Neutrophils"])
def test_a_cell_that_is_only_abbreviated_or_not_to_be_restored_is_never_used(name: str) -> None:
    assert weigh(Origin(analyte_name=name, unit_text="10*9/L"), TABLES).certainty in ("probable", "unknown")


@pytest.mark.parametrize("name", ["Neutrofilerna", "Leukocyterna", "Neutrofilerna abs"])
def test_rec_3_the_end_of_a_word_that_looks_like_another_test_loses_nobody(name: str) -> None:
    assert weigh(Origin(analyte_name=name, unit_text="10*9/L"), TABLES).may_feed_anc


def test_a_unit_in_the_name_that_is_another_than_the_columns_refuses_the_rows() -> None:
    agreed = weigh(Origin(analyte_name="WBC (10*3/uL)", unit_text="G/L"), TABLES)
    differing = weigh(Origin(analyte_name="WBC (10*3/uL)", unit_text="/uL"), TABLES)
    assert (agreed.unit_status, agreed.factor) == ("accepted", 1)
    assert (differing.unit_status, differing.factor) == ("ambiguous", None)


def test_no_known_word_with_the_unit_of_a_cell_count_may_be_a_count_of_ours() -> None:
    counted = weigh(Origin(analyte_name="Zxqwv", unit_text="10*9/L"), TABLES)
    massed = weigh(Origin(analyte_name="Zxqwv", unit_text="g/L"), TABLES)
    urine = weigh(Origin(analyte_name="Zxqwv", unit_text="10*9/L", specimen_type="Urine"), TABLES)
    assert [reading.may_feed_anc for reading in (counted, massed, urine)] == [True, False, False]
    assert {reading.certainty for reading in (counted, massed, urine)} == {"unknown"}


@pytest.mark.parametrize(("name", "cell"), pl.read_csv(V1_NAMES).select("name", "cell").rows())
def test_every_name_that_version_1_knew_is_read_as_its_cell(name: str, cell: str) -> None:
    reading = read_name(name)
    assert (reading.certainty, reading.cell) == ("certain", cell)


@pytest.mark.parametrize(
    ("text", "cell"), [("SEGK", "seg"), ("कुल श्वेत रक्त कोशिका", "wbc"), ("Неутрофили апсолутно", "neut")]
)
def test_short_names_and_totals_of_other_languages(text: str, cell: str) -> None:
    reading = read_name(text)
    assert (reading.certainty, reading.cell) == ("certain", cell)


@pytest.mark.parametrize("text", ["Fehérvérsejt (üledék)", "Bạch cầu niệu"])
def test_white_cells_of_urine_are_another_test(text: str) -> None:
    assert read_name(text).certainty == "other_test"

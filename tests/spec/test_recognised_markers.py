"""The tests beside the blood count that explain a low count are known by their names too (INF-1, BMP-1, PER-1, SEV-3, WRK-1)."""

from datetime import datetime

import polars as pl
import pytest

from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.readings import weigh
from neutro_screen.reference import load_reference
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.reference.tables import FOLDER
from neutro_screen.rules.causes.markers import marker_results
from tests.clinic import judged, screened

TABLES = Tables(load_reference())

READ = """
hiv_antigen_antibody           | HIV 1/2 Ag/Ab; HIV Ag/Ab Combo; HIV-1/2 Antikörper + p24-Antigen; HIV-Suchtest; HIV SCREEN; VIH Ag/Ac; HIV 1+2; HIV p24/Ab; HIV 4th Gen
hiv_antibody                   | Anti-HIV; HIV Antibody; HIV 1/2 Ab; HIV-Ak; Anticuerpos VIH; anticorps anti-VIH; HIV Western Blot; Anti-HIV-1/2; Антитела к ВИЧ; HIV抗体
hiv_rna                        | HIV-1 RNA; HIV viral load; HIV PCR quantitativ; Carga viral VIH; Charge virale VIH; HIV-1-RNA (PCR)
hepatitis_b_surface_antigen    | HBsAg; HBs-Ag; HBs Antigen; Hepatitis B Surface Antigen; Ag HBs; Antígeno HBs; HBsAg (qual.); 乙肝表面抗原
hepatitis_b_core_igm           | Anti-HBc IgM; HBc-IgM; Hepatitis B Core Antibody IgM
hepatitis_b_dna                | HBV DNA; HBV-DNA (PCR); Hepatitis B viral load
hepatitis_c_antibody           | Anti-HCV; HCV Ab; HCV Antibody; HCV-Ak; Hepatitis C Antibody; Anti-VHC; Anticorps anti-VHC
hepatitis_c_rna                | HCV RNA; HCV-PCR; Hepatitis C RNA quantitative
hepatitis_a_igm                | Anti-HAV IgM; HAV IgM; Hepatitis A Ab IgM
ebv_capsid_igm                 | EBV VCA IgM; EBV-VCA-IgM; Epstein-Barr Virus IgM; EBV IgM
heterophile_antibody           | Monospot; Heterophile Antibody; Mononucleosis screen; Paul-Bunnell-Test
ebv_dna                        | EBV PCR; EBV-DNA quantitativ; EBV DNA
cmv_igm                        | CMV IgM; CMV-IgM-Ak; Cytomegalovirus IgM; Zytomegalie-IgM; Citomegalovirus IgM
cmv_dna                        | CMV PCR; CMV-DNA; CMV DNA quant; CMV viral load; CMV pp65; ЦМВ ДНК
parvovirus_b19_igm             | Parvovirus B19 IgM; Parvo B19-IgM; B19V IgM
parvovirus_b19_dna             | Parvovirus B19 PCR; Parvovirus-B19-DNA
influenza_rna                  | Influenza A/B PCR; Influenza A RNA; Grippe A PCR; Flu A PCR
influenza_antigen              | Influenza A Antigen; Influenza rapid test; Influenza-Schnelltest
sars_cov_2_rna                 | SARS-CoV-2 PCR; COVID-19 PCR; SARS-CoV-2 RNA; 2019-nCoV NAAT; SARS-CoV-2-RNA
sars_cov_2_antigen             | SARS-CoV-2 Antigen; COVID-19 Rapid; SARS-CoV-2 Ag
dengue_ns1_antigen             | Dengue NS1 Ag; Dengue NS-1
dengue_igm                     | Dengue IgM; Dengue-IgM
malaria_antigen                | Malaria antigen; Malaria rapid test; Malaria-Schnelltest; Plasmodium Ag
malaria_film                   | Malaria smear; Thick and thin film; Dicker Tropfen; Gota gruesa; Goutte épaisse; Malaria Ausstrich
plasmodium_dna                 | Malaria PCR; Plasmodium DNA
blood_culture                  | Blood culture; Blutkultur aerob; Hémoculture; Hemocultivo; Emocoltura; Culture, Blood; Bloedkweek; 血培养
cd4_count                      | CD4 absolute; CD4 cells/µL; CD4 count; CD4 Helferzellen
hepatitis_b_e_antigen          | HBeAg; HBe-Ag; Hepatitis B e Antigen
rsv_rna                        | RSV PCR; Respiratory Syncytial Virus RNA
hhv_6                          | HHV-6 PCR; HHV6 DNA; Human Herpesvirus 6 IgM
measles_igm                    | Measles IgM; Masern-IgM; Sarampión IgM; Rougeole IgM
varicella_zoster_igm           | VZV IgM; Varicella zoster IgM; Varizella-Zoster-IgM
typhoid_antibody               | Widal; Widal test; Salmonella typhi Antibody; Typhoid IgM
anaplasma_ehrlichia_igm        | Anaplasma phagocytophilum IgM; Ehrlichia IgM
tuberculosis_dna               | MTB PCR; GeneXpert MTB; Mycobacterium tuberculosis DNA; TBC-PCR
mycobacterial_culture          | Mycobacterial culture; AFB culture; TB-Kultur
brucella_antibody              | Brucella Antibody; Brucella-Ak; Brucella agglutination
vitamin_b12                    | Vitamin B12; VIT B12; VITB12; B12; Vitamin-B12; Cobalamin; Kobalamin; Cobalamine (B12); Vitamina B12; Витамин B12; Vitamin B-12 Level; ビタミンB12; 维生素B12; VITAMIN_B12
folate_serum                   | Folate; Folic acid; Folsäure; Acide folique; Ácido fólico; Acido folico; Folate, Serum; Serum Folate; Foliumzuur; Фолиевая кислота; Folsyra; 叶酸; Folat
folate_red_cell                | RBC Folate; Folate, RBC; Erythrozyten-Folsäure; Folates érythrocytaires; Red Cell Folate
copper                         | Copper; Copper, Serum; Kupfer; Kupfer i.S.; Cuivre; Cobre; Rame; S-Cu; Koper
ana                            | ANA; Antinuclear Antibodies; ANA Titer; Antinukleäre Antikörper; Anticorps antinucléaires; ANF; ANA Screen
double_stranded_dna_antibody   | dsDNA Ab; Anti-dsDNA; Anti-DNA; ds-DNA-Ak
rheumatoid_factor              | Rheumatoid Factor; RF; Rheumafaktor; Facteur rhumatoïde; Factor reumatoide; Fattore reumatoide
citrullinated_peptide_antibody | Anti-CCP; CCP Ab; CCP-Ak; Cyclic citrullinated peptide antibody
anca                           | ANCA; c-ANCA; p-ANCA; PR3 Ab; Anti-MPO
neutrophil_antibody            | Neutrophil Antibody; Anti-Neutrophil Antibody; Granulozyten-Antikörper; Anticorps anti-granulocytes; ANTINEUTROPHIL AB; Antigranulocyte antibodies
duffy_group                    | Duffy; Duffy phenotype; Duffy Blutgruppe; Fy(a/b); DARC genotype; ACKR1 rs2814778; Fy phenotype
duffy_a_antigen                | Fy(a); Fya; Fy(a) antigen; Fy a; Duffy a; FY A ANTIGEN
duffy_b_antigen                | Fy(b); Fyb; Fy(b) antigen
smear_review                   | Blood smear review; Peripheral smear; Peripheral blood smear; Blutausstrich; Pathologist Smear Review; Frottis sanguin; Frotis de sangre periférica; Blood Film; PBF; PBS Morphology; PBS Report
bone_marrow                    | Bone marrow biopsy report; Knochenmarkbiopsie; Knochenmark-Aspirat Zytologie; Bone Marrow Aspirate; Myélogramme; Biopsia osteomidollare midollo
"""

#: Names that are near, and are something else.
OTHER = """
Anti-HBs; HBs-Ak; Hepatitis B Surface Antibody; HIV Genotype; HIV RNA Resistance; HIV drug resistance; CMV IgG; EBV VCA IgG; EBV EBNA IgG; Toxoplasma IgM;
Haemophilus influenzae PCR; Influenza vaccine; SARS-CoV-2 IgG; SARS-CoV-2 Spike Antibody; Parainfluenza 3 PCR; Holotranscobalamin; Active B12; Intrinsic Factor Antibody;
B12 binding capacity; Methylmalonic acid; Vitamin B1; Vitamin B6; Vitamin D; Kupfer im Urin; Copper, Urine 24h; Free copper; Ceruloplasmin; Cytochrome c oxidase;
ENA Profile; ANA Pattern; DNase B; Anti-Duffy; Anti-Fya; Antibody screen; Pap smear; Gram stain; Vaginal smear; Urine culture; Throat culture; Cord blood culture bottle;
Neutrophil gelatinase-associated lipocalin; Neutrophil elastase; Bone marrow cells; Bone Marrow Transplant; Bone marrow iron; Ferritin; Glucose; Creatinine; CD4/CD8 ratio; CD4 %;
Folate receptor; Urine folate; Fiscal year; Rheumatology consult; CMV resistance; EBV Avidity IgM; CMV PCR CSF; HSV PCR CSF; Blood group; Blood gas; CEA; CA 125; FSH; Ferritin, serum; PBS; PBS control
"""
READ_NAMES = [
    (name.strip(), marker.strip())
    for line in READ.strip().splitlines()
    for marker, names in [line.split("|", 1)]
    for name in names.split(";")
]


@pytest.mark.parametrize(("name", "marker"), READ_NAMES)
def test_rec_1_a_marker_is_known_by_its_name(name: str, marker: str) -> None:
    reading = weigh(Origin(analyte_name=name, unit_text=None), TABLES)
    assert (reading.certainty, reading.analyte, reading.decided_by) == ("certain", marker, "name")


@pytest.mark.parametrize("name", [name.strip() for name in OTHER.replace("\n", " ").split(";")])
def test_rec_1_a_test_with_a_like_name_is_no_marker(name: str) -> None:
    assert weigh(Origin(analyte_name=name), TABLES).analyte is None


@pytest.mark.parametrize("specimen", ["Urine", "CSF", "Liquor"])
def test_rec_4_a_marker_of_another_specimen_is_not_taken(specimen: str) -> None:
    for origin in (Origin(analyte_name="CMV PCR", specimen_type=specimen), Origin(analyte_name=f"CMV PCR {specimen}")):
        assert weigh(origin, TABLES).certainty != "certain"


WORDS = """
positive: positiv | POSITIVO | positif | reaktiv | Réactif | reactivo | reagente | nachweisbar | détecté | detectado | rilevato | aangetoond | påvist | dodatni | положительный | обнаружено | pozitif | 阳性 | 陽性 | 양성 | POS
negative: negativ | négatif | Negativo | nicht nachweisbar | nicht reaktiv | non réactif | no reactivo | não reagente | non rilevato | niet aangetoond | ikke påvist | ujemny | nie wykryto | отрицательно | не обнаружено | negatif | 阴性 | 陰性 | 음성 | grenzwertig | indeterminado | non détecté | no detectado
"""


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        (text.strip(), what == "positive")
        for line in WORDS.strip().splitlines()
        for what, texts in [line.split(":", 1)]
        for text in texts.split("|")
    ],
)
def test_inf_1_a_qualitative_result_is_read_in_the_languages_of_laboratories(text: str, is_found: bool) -> None:
    _, split = judged(f"name | value | unit\nCMV PCR | {text} | -\nNeutrophils | 1.2 | 10*9/L")
    found = marker_results(split.accepted.lazy(), load_cause_reference()).collect()
    assert found["is_found"].to_list() == [is_found]


def test_inf_1_a_positive_test_in_german_explains_the_count() -> None:
    result = screened(
        """
        specimen | collected        | name          | value   | unit
        S1       | 2026-02-01 08:00 | Neutrophile   | 0.9     | G/l
        S2       | 2026-02-03 08:00 | HIV-Suchtest  | reaktiv | -
        S3       | 2026-02-02 08:00 | Vitamin B12   | 90      | pg/ml
        """
    )
    rules = set(result.evidence["rule_id"])
    assert {"INF-1", "BMP-1"} <= rules


@pytest.mark.parametrize(
    ("results", "is_null"),
    [
        ("Duffy phenotype | Fy(a-b-)", True),
        ("Duffy Blutgruppe | Fy(a−b−)", True),
        ("Duffy | Fy(a-), Fy(b-)", True),
        ("Duffy genotype | FY*02N.01/FY*02N.01", True),
        ("Duffy genotype | FY*01/FY*02N.01", False),
        ("ACKR1 rs2814778 | C/C", True),
        ("ACKR1 rs2814778 | T/C", False),
        ("Duffy | Fy(a+b-)", False),
        ("Fy(a) antigen | negative; Fy(b) antigen | negative", True),
        ("Fya | neg; Fyb | neg", True),
        ("Fya | neg; Fyb | pos", False),
        ("Fya | neg", False),
        ("Fya | neg; Fyb | neg; Duffy | Fy(a-b+)", False),
    ],
)
def test_sev_3_duffy_null_comes_from_the_laboratory_by_phenotype_genotype_or_both_antigens(
    results: str, is_null: bool
) -> None:
    rows = "\n".join(f"S9 | 2026-02-05 08:00 | {row} | -" for row in results.split(";"))
    counts = "\n".join(f"S{n} | 2026-01-0{n} 08:00 | Neutrophils | 1.2 | 10*9/L" for n in (1, 2))
    late = "S7 | 2026-02-20 08:00 | Neutrophils | 1.2 | 10*9/L"
    result = screened(f"specimen | collected | name | value | unit\n{counts}\n{late}\n{rows}")
    last = result.anc.filter(pl.col("collected_at") == datetime(2026, 2, 20, 8))["severity_in_context"].item()
    assert (last == "within_personal_range") == is_null


def test_every_marker_has_a_name_and_every_name_a_marker() -> None:
    names = pl.read_csv(FOLDER / "marker_names.csv")["marker"]
    assert set(names) == set(load_cause_reference().markers["marker"])
    assert set(names) == {marker for _, marker in READ_NAMES}


@pytest.mark.parametrize("unit", ["10*9/L", "%", "/uL", "K/uL"])
def test_rec_7_a_marker_in_the_unit_of_a_cell_count_is_not_taken(unit: str) -> None:
    for name in ("ANCA", "Neutrophil antibody", "CMV PCR"):
        assert weigh(Origin(analyte_name=name, unit_text=unit), TABLES).certainty != "certain"
    assert weigh(Origin(analyte_name="CD4 count", unit_text="/uL"), TABLES).analyte == "cd4_count"


@pytest.mark.parametrize(
    "unit", ["1", "index", "S/CO", "IU/mL", "copies/mL", "ratio", "U/mL", "titer", "pg/mL", "pmol/L"]
)
def test_rec_5_units_of_other_quantities_leave_a_marker_as_it_is(unit: str) -> None:
    assert weigh(Origin(analyte_name="HIV Ag/Ab", unit_text=unit), TABLES).certainty == "certain"

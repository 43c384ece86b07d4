"""The teaching cases of the sample hospital: who they are and what the screen should say of each.

Days count back from the index date: -1 is the day before. Counts are cells/µL as circulating, haemoglobin g/dL,
platelets 10*9/L, MCV fL, temperatures °C.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Counts = tuple[tuple[float, float], ...]
WHOLE_SPECIMEN = "cbc"


@dataclass(frozen=True)
class Edit:
    """A change by hand to the rows of one specimen, as laboratories and interfaces make them.

    quantity: what was counted (`anc`, `wbc`, … or `cbc` for all rows). is_extra: the changed row comes beside the
    original instead of replacing it.
    """

    day: float
    quantity: str
    becomes: Mapping[str, str | None]
    is_extra: bool = False


@dataclass(frozen=True)
class Case:
    """One patient. `hidden` are points of the true course nobody measured. `expected_…` is what the screen should say
    of the patient's present state; priority None: not on the worklist; severity None: cannot be assessed.
    """

    patient_id: str
    title: str
    counts: Counts
    expected_severity: str | None
    expected_priority: str | None
    expected_reason: str
    lab: str = "A"
    cause: str = "healthy"
    ingredient: str | None = None
    onset_day: float | None = None
    hidden: Counts = ()
    cycle_days: float | None = None
    age_years: float = 50.0
    sex: str = "F"
    duffy_null: str | None = None
    haemoglobin: float = 13.5
    platelets: float = 240.0
    mcv: float = 89.0
    lymphocytes: float = 2000.0
    blasts: float = 0.0
    measured_falsely: Mapping[float, float] = field(default_factory=dict)
    medications: tuple[tuple[str, str, float, float | None, str], ...] = ()
    events: tuple[tuple[str, float, str], ...] = ()
    diagnoses: tuple[tuple[str, float], ...] = ()
    markers: tuple[tuple[str, str, str, float], ...] = ()
    edits: tuple[Edit, ...] = ()


def weekly(first: float, last: float, level: float) -> Counts:
    """Weekly counts that swing a little about one level."""
    swing = (1.0, 1.06, 0.97, 1.03, 0.94)
    days = [first + 7.0 * week for week in range(int((last - first) / 7.0) + 1)]
    return tuple((day, round(level * swing[index % len(swing)])) for index, day in enumerate(days))


# A cycle of 21 days counted three times a week: the trough lasts about four days.
CYCLE = ((0, 2400), (2, 2100), (4, 1200), (7, 140), (9, 90), (11, 380), (14, 1600), (16, 2300), (18, 2600))
CYCLIC_START = -71.0

TEACHING_CASES: tuple[Case, ...] = (
    Case(
        "P-001",
        "Clozapine, the ANC more than halved in a week",
        (*weekly(-78, -22, 4100), (-15, 3900), (-8, 3200), (-1, 900)),
        "moderate",
        "high",
        "rapid decline (RPD-1) on clozapine, still given; next ANC due within a day",
        cause="clozapine",
        ingredient="clozapine",
        onset_day=-10.0,
        age_years=34,
        sex="M",
        medications=(("Clozaril 100 mg", "N05AH02", -76, None, "oral"), ("metformin", "A10BA02", -300, None, "oral")),
        diagnoses=(("F20.0", -90),),
    ),
    Case(
        "P-002",
        "Acute leukaemia: pancytopenia and blasts",
        ((-200, 3900), (-30, 1900), (-3, 480), (-1, 400)),
        "severe",
        "critical",
        "blasts with neutropenia (MAL-1), pancytopenia (SEV-5), severe and worsening",
        cause="leukaemia",
        onset_day=-60.0,
        age_years=63,
        haemoglobin=7.9,
        platelets=38,
        blasts=6000,
        events=(("smear_review", -1, "blasts"),),
    ),
    Case(
        "P-003",
        "ANC reported as <0.1",
        ((-60, 4300), (-20, 4100), (-1, 60)),
        "profound",
        "critical",
        "a censored result grades below 100 cells/uL (ANC-6): profound; sulfasalazine suspected",
        cause="other_drug",
        ingredient="sulfasalazine",
        onset_day=-8.0,
        hidden=((-9, 4100),),
        medications=(("Salazopyrin 500 mg", "A07EC01", -41, None, "oral"),),
        edits=(Edit(-1, "anc", {"value": "<0.1"}),),
    ),
    Case(
        "P-004",
        "WBC 0.3, differential not done",
        ((-45, 3800), (-1, 40)),
        "severe",
        "critical",
        "the WBC bounds the ANC from above (ANC-10): at most 300 cells/uL; severe and new",
        lab="B",
        cause="other",
        onset_day=-12.0,
        hidden=((-13, 3800),),
        lymphocytes=200,
        edits=(
            *tuple(
                Edit(-1, f"{cell}_percent", {"value": "Not done"})
                for cell in ("anc", "lymphocytes", "monocytes", "eosinophils", "basophils")
            ),
            Edit(-1, "wbc", {"value": "0.3"}),
        ),
    ),
    Case(
        "P-005",
        "Docetaxel, day 8: the expected nadir",
        ((-31, 5100), (-10, 4800), (-1, 700)),
        "moderate",
        "high",
        "moderate with rapid decline, marked expected: inside the nadir window of docetaxel (DRG-2)",
        cause="chemotherapy",
        ingredient="docetaxel",
        onset_day=-6.0,
        hidden=((-7, 4500),),
        medications=(("Taxotere 160 mg", "L01CD02", -9, -9, "iv"),),
        diagnoses=(("C50.9", -60),),
    ),
    Case(
        "P-006",
        "Cyclic neutropenia, counted three times a week",
        (
            *tuple((CYCLIC_START + 21.0 * cycle + day, float(anc)) for cycle in range(3) for day, anc in CYCLE),
            (-8, 2400.0),
            (-6, 2100.0),
            (-4, 1200.0),
            (-1, 140.0),
        ),
        "severe",
        "critical",
        "cyclic, period 21 days (EPI-3); severe again",
        cause="cyclic",
        onset_day=CYCLIC_START,
        cycle_days=21.0,
        age_years=9,
        sex="M",
    ),
    Case(
        "P-007",
        "Duffy-null: low for everyone else, normal for this person",
        ((-330, 1350), (-240, 1300), (-150, 1410), (-60, 1280), (-2, 1330)),
        "mild",
        "info",
        "within the personal range of a recorded Duffy-null person (SEV-3)",
        cause="duffy_null",
        duffy_null="true",
        age_years=41,
    ),
    Case(
        "P-008",
        "One low value between normals",
        ((-90, 4200), (-14, 4000), (-9, 4100), (-7, 4300), (-1, 4200)),
        "normal",
        "info",
        "isolated low, repeated normal within two days: possible artefact (EPI-4)",
        cause="artefact",
        measured_falsely={-9: 700},
    ),
    Case(
        "P-009",
        "The unit is unknown",
        ((-60, 3700), (-2, 900)),
        None,
        None,
        "cannot assess: unit refused, never guessed (ANC-9)",
        cause="other",
        onset_day=-10.0,
        edits=(Edit(-2, WHOLE_SPECIMEN, {"unit": "arb.U"}),),
    ),
    Case(
        "P-010",
        "Pneumonia: neutrophilia returning to normal",
        ((-200, 4300), (-9, 16200), (-8, 15400), (-7, 12800), (-6, 9900), (-5, 7600), (-4, 5900), (-2, 4400)),
        "normal",
        None,
        "a fall from neutrophilia to normal is not a rapid decline (RPD-4)",
        cause="infection_neutrophilia",
        onset_day=-11.0,
        hidden=((-12, 4300),),
        medications=(("amoxicillin 1 g", "J01CA04", -9, -2, "oral"),),
        diagnoses=(("J18.9", -9),),
    ),
    Case(
        "P-011",
        "Thiamazole, five weeks in",
        ((-64, 4600), (-37, 4400), (-2, 210), (-1, 180)),
        "severe",
        "critical",
        "severe and new; thiamazole inside its window and still given; fever unknown (FEV-1)",
        cause="antithyroid",
        ingredient="thiamazole",
        onset_day=-7.0,
        hidden=((-8, 4400),),
        medications=(("Tapazole 20 mg", "H03BB02", -35, None, "oral"), ("propranolol", "C07AA05", -35, None, "oral")),
        diagnoses=(("E05.0", -36),),
    ),
    Case(
        "P-012",
        "Late-onset neutropenia three months after rituximab",
        ((-97, 3900), (-50, 3600), (-22, 3500), (-8, 850), (-1, 620)),
        "moderate",
        "high",
        "rapid decline; rituximab by its months-long window (DRG-1)",
        cause="rituximab",
        ingredient="rituximab",
        onset_day=-14.0,
        hidden=((-15, 3500),),
        medications=(("MabThera 700 mg", "L01FA01", -158, -158, "iv"), ("MabThera 700 mg", "L01FA01", -95, -95, "iv")),
        diagnoses=(("C83.3", -240),),
    ),
    Case(
        "P-013",
        "HIV: mild, with few lymphocytes",
        ((-260, 2600), (-125, 1300), (-60, 1250), (-5, 1210)),
        "mild",
        "medium",
        "persistent (EPI-2); positive HIV test (INF-1)",
        cause="hiv",
        onset_day=-200.0,
        lymphocytes=700,
        platelets=160,
        haemoglobin=11.6,
        markers=(("56888-1", "HIV 1+2 Ab+HIV1 p24 Ag", "Reactive", -58), ("20447-9", "HIV-1 RNA", "184000", -50)),
    ),
    Case(
        "P-014",
        "Hypersplenism: mild and stable, platelets low too",
        ((-300, 1250), (-200, 1200), (-100, 1180), (-10, 1220)),
        "mild",
        "medium",
        "persistent; splenomegaly coded, stable pattern (PER-1)",
        lab="D",
        cause="hypersplenism",
        onset_day=-400.0,
        platelets=82,
        haemoglobin=11.2,
        diagnoses=(("D73.1", -280), ("K74.6", -280)),
    ),
    Case(
        "P-015",
        "A drug begun after the fall is not its cause",
        ((-40, 4000), (-13, 3900), (-6, 800), (-3, 750), (-1, 820)),
        "moderate",
        "high",
        "rapid decline; metamizole began after onset and is no suspect (DRG-1)",
        cause="viral",
        onset_day=-10.0,
        hidden=((-11, 3900),),
        medications=(
            ("metamizole 500 mg", "N02BB02", -4, None, "oral"),
            ("Ceftriaxone 2 g", "J01DD04", -4, None, "iv"),
        ),
    ),
    Case(
        "P-016",
        "The weekly clozapine sample clotted",
        ((-29, 3900), (-22, 4100), (-15, 3800), (-1, 3900)),
        None,
        None,
        "cannot assess: the last specimen gave no result (ANC-9b, ANC-11)",
        cause="healthy_on_clozapine",
        medications=(("clozapine", "N05AH02", -60, None, "oral"),),
        edits=(Edit(-1, WHOLE_SPECIMEN, {"value": "CLOTTED"}),),
    ),
    Case(
        "P-017",
        "A corrected result replaces the first",
        ((-30, 4100), (-2, 4000)),
        "normal",
        None,
        "0.40 was corrected to 4.00 (ANC-2): no flag, or a withdrawn one",
        edits=(
            Edit(-2, "anc", {"status": "C", "resulted_at": "+120"}),
            Edit(-2, "anc", {"value": "0.40", "status": "F", "resulted_at": "-120"}, is_extra=True),
        ),
    ),
    Case(
        "P-018",
        "A laboratory that reports cells per microlitre",
        ((-31, 3900), (-1, 450)),
        "severe",
        "critical",
        "450 /mm3 is 450 cells/uL; severe and new",
        lab="D",
        cause="other",
        onset_day=-9.0,
        hidden=((-10, 3900),),
    ),
    Case(
        "P-019",
        "Febrile neutropenia after etoposide",
        ((-35, 5200), (-13, 4900), (-2, 260), (-1, 120)),
        "severe",
        "critical",
        "febrile neutropenia (FEV-1); antibiotics and G-CSF began after the fall",
        cause="chemotherapy",
        ingredient="etoposide",
        onset_day=-8.0,
        hidden=((-9, 4500),),
        platelets=85,
        medications=(
            ("Etoposide 180 mg", "L01CB01", -13, -9, "iv"),
            ("meropenem 1 g", "J01DH02", -1, None, "iv"),
            ("Neupogen 30 MU", "L03AA02", -1, None, "sc"),
        ),
        events=(("temperature", -0.7, "38.9"),),
        diagnoses=(("C34.9", -50),),
    ),
    Case(
        "P-020",
        "Recovered after the drug was stopped",
        ((-75, 4100), (-50, 4000), (-26, 300), (-24, 250), (-18, 900), (-12, 2300), (-5, 3900)),
        "normal",
        "high",
        "resolved, shown once by the first run; recovery within 30 days of stopping carbimazole is a positive dechallenge (DRG-3)",
        cause="antithyroid",
        ingredient="carbimazole",
        onset_day=-32.0,
        hidden=((-33, 4000),),
        medications=(("Neo-Mercazole 20 mg", "H03BB01", -66, -25, "oral"),),
        diagnoses=(("E05.0", -68),),
    ),
    Case(
        "P-021",
        "Exactly 0.50: moderate, not severe",
        ((-60, 1900), (-30, 1100), (-1, 500)),
        "moderate",
        "high",
        "500 cells/uL is the first moderate value (SEV-1); rapid decline",
        cause="other",
        onset_day=-40.0,
        hidden=((-12, 1100),),
    ),
    Case(
        "P-022",
        "A manual differential near the limit: bands count",
        ((-60, 3900), (-1, 985)),
        "moderate",
        "medium",
        "segs and bands added (ANC-4), near_limit by the interval of 100 cells (ANC-8)",
        lab="C",
        cause="viral",
        onset_day=-7.0,
        hidden=((-8, 3900),),
        lymphocytes=1300,
    ),
    Case(
        "P-023",
        "Myelodysplasia: slow pancytopenia, MCV 106",
        ((-330, 1900), (-210, 1400), (-90, 1000), (-4, 800)),
        "moderate",
        "high",
        "pancytopenia (SEV-5), macrocytosis with slow decline (MAL-1), persistent (EPI-2)",
        cause="mds",
        onset_day=-400.0,
        age_years=76,
        haemoglobin=8.9,
        platelets=78,
        mcv=106,
    ),
    Case(
        "P-024",
        "Vitamin B12 deficiency",
        ((-200, 2600), (-3, 1300)),
        "mild",
        "low",
        "low B12 (BMP-1), MCV 118",
        lab="B",
        cause="b12_deficiency",
        onset_day=-180.0,
        age_years=71,
        haemoglobin=10.4,
        platelets=130,
        mcv=118,
        markers=(("2132-9", "Vitamin B12", "92", -2),),
    ),
    Case(
        "P-025",
        "Severe congenital neutropenia of an infant",
        ((-190, 150), (-150, 120), (-100, 180), (-50, 140), (-6, 160)),
        "severe",
        "high",
        "severe, ongoing since the first weeks of life (BMP-1); severe chronic (EPI-2)",
        cause="congenital",
        onset_day=-200.0,
        age_years=0.56,
        lymphocytes=5200,
        events=(("bone_marrow", -140, "maturation arrest"),),
        diagnoses=(("D70.0", -130),),
    ),
    Case(
        "P-026",
        "Chronic autoimmune neutropenia, stable",
        ((-280, 700), (-220, 640), (-150, 690), (-80, 720), (-10, 660)),
        "moderate",
        "medium",
        "persistent and stable; neutrophil antibody positive (PER-1)",
        cause="autoimmune",
        onset_day=-400.0,
        age_years=29,
        markers=(("17345-0", "Neutrophil antibody", "Positive", -200),),
        events=(("smear_review", -210, "no blasts"), ("medication_review", -210, "none")),
    ),
    Case(
        "P-027",
        "A corticosteroid may hide a fall",
        ((-90, 3800), (-40, 3900), (-9, 3800), (-1, 2100)),
        "normal",
        "medium",
        "significant fall (TRD-2) on thiamazole; prednisolone may mask neutropenia (MASK-1)",
        cause="steroid_masked",
        ingredient="thiamazole",
        onset_day=-8.0,
        medications=(
            ("thiamazole 20 mg", "H03BB02", -38, None, "oral"),
            ("Prednisolone 40 mg", "H02AB06", -5, None, "oral"),
        ),
        diagnoses=(("E05.0", -40),),
    ),
    Case(
        "P-028",
        "A percentage above 100",
        ((-40, 4100), (-2, 3900)),
        None,
        None,
        "cannot assess: 148 % is refused (ANC-9)",
        lab="B",
        edits=(Edit(-2, "anc_percent", {"value": "148"}),),
    ),
    Case(
        "P-029",
        "A decimal comma",
        ((-9, 4000), (-1, 850)),
        "moderate",
        "high",
        "0,85 is 850 cells/uL (FORMATS.md D 3); rapid decline",
        cause="viral",
        onset_day=-6.0,
        hidden=((-7, 4000),),
        edits=(Edit(-1, "anc", {"value": "0,85"}),),
    ),
    Case(
        "P-030",
        "A preliminary result and its final",
        ((-50, 3800), (-3, 3900)),
        "normal",
        None,
        "the final 3.90 replaces the preliminary 0.90 (ANC-2)",
        edits=(Edit(-3, "anc", {"value": "0.90", "status": "P", "resulted_at": "-40"}, is_extra=True),),
    ),
    Case(
        "P-031",
        "Low once and not counted again",
        ((-300, 2900), (-90, 1300)),
        "mild",
        "low",
        "stale: no result for 60 days while low (EPI-5)",
        cause="other",
        onset_day=-100.0,
    ),
    Case(
        "P-032",
        "Glandular fever, mild",
        ((-100, 3500), (-4, 1200)),
        "mild",
        "low",
        "EBV VCA IgM positive within 28 days (INF-1)",
        lab="C",
        cause="viral",
        onset_day=-9.0,
        hidden=((-10, 3500),),
        age_years=20,
        lymphocytes=4200,
        markers=(("24115-8", "EBV VCA IgM", "Positive", -4),),
        events=(("temperature", -4, "38.4"),),
    ),
    Case(
        "P-033",
        "A normal count beside a urine test",
        ((-80, 4200), (-6, 4400)),
        "normal",
        None,
        "urine WBC is not blood (FORMATS.md D 35)",
        edits=(
            Edit(
                -6,
                "wbc",
                {"loinc": "20408-1", "analyte_name": "Urine WBC", "value": "0.2", "unit": "/uL"},
                is_extra=True,
            ),
        ),
    ),
    Case(
        "P-034",
        "A normal count sent twice",
        ((-70, 3600), (-8, 3700)),
        "normal",
        None,
        "an identical repeat collapses and is counted (ANC-2)",
        edits=(Edit(-8, "anc", {}, is_extra=True),),
    ),
    Case(
        "P-035",
        "Well on clozapine",
        weekly(-99, -1, 4600),
        "normal",
        None,
        "on schedule (SEV-4)",
        cause="healthy_on_clozapine",
        medications=(("Zaponex 200 mg", "N05AH02", -98, None, "oral"),),
    ),
    Case("P-036", "Healthy, laboratory A", ((-210, 3900), (-40, 4200)), "normal", None, "nothing to report"),
    Case("P-037", "Healthy, laboratory B", ((-160, 5100), (-12, 4700)), "normal", None, "nothing to report", lab="B"),
    Case("P-038", "Healthy, laboratory C", ((-190, 3300), (-25, 3500)), "normal", None, "nothing to report", lab="C"),
    Case("P-039", "Healthy, laboratory D", ((-120, 6100), (-3, 5700)), "normal", None, "nothing to report", lab="D"),
    Case(
        "P-040",
        "Healthy, several long-term drugs",
        ((-350, 4000), (-260, 4300), (-170, 3900), (-80, 4100), (-7, 4200)),
        "normal",
        None,
        "common drugs without a fall are no finding",
        age_years=68,
        medications=(
            ("ramipril 5 mg", "C09AA05", -400, None, "oral"),
            ("Lipitor 40 mg", "C10AA05", -400, None, "oral"),
            ("Omeprazole 20 mg", "A02BC01", -200, None, "oral"),
        ),
    ),
)

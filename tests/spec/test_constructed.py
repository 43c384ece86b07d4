"""Constructed patients, from the laboratory's rows to what the page says of them: the cases that a haematologist is called for.

Days count from the night of the run; counts are in G/L.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

import neutro_screen
from neutro_screen.api import Screening

NIGHT = datetime(2026, 6, 15, 6)
#: Column of a blood count: name, unit, LOINC.
TESTS = {
    "anc": ("Neutrophils", "10*3/uL", "751-8"),
    "wbc": ("WBC", "10*3/uL", "6690-2"),
    "hgb": ("Hemoglobin", "g/dL", "718-7"),
    "plt": ("Platelets", "10*3/uL", "777-3"),
    "mono": ("Monocytes", "10*3/uL", "742-7"),
    "blasts": ("Blasts %", "%", "26446-5"),
    "b12": ("Vitamin B12", "pg/mL", "2132-9"),
    "copper": ("Copper", "ug/dL", "5631-7"),
    "folate": ("Folate", "ng/mL", "2284-8"),
    "hiv": ("HIV 1+2 antigen and antibody", "", "56888-1"),
}


@dataclass
class Chart:
    """The rows of one patient, as a hospital sends them."""

    patient_id: str
    labs: list[dict[str, Any]] = field(default_factory=list)
    medications: list[dict[str, Any]] = field(default_factory=list)
    diagnoses: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    born: str = "1970-03-01"

    def count(self, day: float, **values: float | str) -> "Chart":
        """One specimen with the tests of ``TESTS``."""
        at = (NIGHT.replace(hour=8) + timedelta(days=day)).isoformat()
        for test, value in values.items():
            name, unit, loinc = TESTS[test]
            row = {"specimen_id": f"{self.patient_id}{day}", "collected_at": at, "loinc": loinc, "analyte_name": name}
            self.labs.append(row | {"patient_id": self.patient_id, "value": str(value), "unit": unit})
        return self

    def counts(self, **by_day: float) -> "Chart":
        """Neutrophils by day: ``d30=4.1`` is 30 days ago."""
        for day, value in by_day.items():
            self.count(-int(day[1:]), anc=value)
        return self

    def drug(self, name: str, start: int, end: int | None = None) -> "Chart":
        """A line of the medication list; no end = still given."""
        self.medications.append(
            {"patient_id": self.patient_id, "drug_name": name, "start_date": _day(start), "end_date": _day(end)}
        )
        return self

    def code(self, code: str, day: int) -> "Chart":
        """An ICD-10 code."""
        self.diagnoses.append({"patient_id": self.patient_id, "code": code, "system": "ICD-10", "date": _day(day)})
        return self

    def event(self, kind: str, day: int, detail: str = "") -> "Chart":
        """A recorded event."""
        self.events.append({"patient_id": self.patient_id, "event": kind, "date": _day(day), "detail": detail})
        return self


def _day(day: int | None) -> str | None:
    return None if day is None else (NIGHT + timedelta(days=day)).date().isoformat()


def patients() -> list[Chart]:
    """The patients of this file, one a line of what makes them what they are."""
    return [
        Chart("transplant")
        .counts(d90=6.2, d60=5.0, d30=3.9, d14=2.0, d2=0.6)
        .drug("Valcyte 900 mg", -85)
        .drug("CellCept 1 g", -90)
        .drug("Prograf", -90),
        Chart("methotrexate")
        .counts(d200=4.5, d90=4.2, d30=3.9)
        .count(-1, anc=0.35, hgb=7.8, plt=30)
        .drug("Methotrexate 15 mg weekly", -900)
        .code("N17.9", -3),
        Chart("deferiprone").counts(d400=3.5, d200=3.6, d60=3.2, d7=3.0, d1=0.3).drug("Ferriprox 500 mg", -1100),
        Chart("leukaemia").count(-1, anc=0.4, wbc=12, hgb=8.2, plt=35, blasts=35),
        Chart("newborn", born="2026-06-14").count(-1, anc=1.4, wbc=6.0),
        Chart("infant", born="2026-03-01").counts(d80=0.15, d60=0.1, d30=0.05, d2=0.08),
        Chart("lifelong").counts(d700=1.25, d500=1.3, d300=1.2, d100=1.35, d2=1.3),
        Chart("hairy").count(-35, anc=0.9, hgb=9.5, plt=80, mono=0.02).count(-2, anc=0.8, hgb=9.2, plt=70, mono=0.01),
        Chart("growth factor")
        .counts(d20=4.0, d8=0.6, d4=9.5)
        .drug("Docetaxel 75 mg/m2", -17, -17)
        .drug("Neulasta 6 mg", -16, -16),
        Chart("recovering").counts(d20=3.9, d6=0.4, d1=0.62).drug("Dapsone 100 mg", -60, -6),
        Chart("febrile").counts(d20=4.0, d1=0.2).drug("Doxorubicin", -11, -11).event("temperature", -1, "38.9"),
        Chart("russian").counts(d60=4.2, d20=4.0, d1=0.2).drug("Анальгин 500 мг", -12, -2),
        Chart("tested")
        .counts(d60=4.0)
        .count(-3, anc=0.8, hgb=12.5, plt=210, b12=500, folate=2.0)
        .drug("Olanzapine 10 mg", -40),
        Chart("alemtuzumab").counts(d400=3.8, d250=3.5, d30=3.2, d1=0.45).drug("Lemtrada 12 mg", -245, -241),
        # Somebody had a viral test: what the extract cannot show raises no pitfall.
        Chart("tested for HIV").count(-5, anc=3.0, hiv="Non-reactive"),
        Chart("ibrutinib").counts(d400=3.0, d200=3.1, d100=2.9, d30=2.8, d1=0.7).drug("Imbruvica 420 mg", -1100),
    ]


@pytest.fixture(scope="module")
def screening() -> Screening:
    """All of them on one night."""
    charts = patients()

    def rows(name: str) -> pl.DataFrame:
        return pl.DataFrame([row for chart in charts for row in getattr(chart, name)], infer_schema_length=None)

    people = pl.DataFrame([{"patient_id": chart.patient_id, "birth_date": chart.born} for chart in charts])
    return neutro_screen.screen(
        rows("labs"), rows("medications"), people, rows("diagnoses"), rows("events"), as_of=NIGHT
    )


def of(frame: pl.DataFrame, patient: str) -> list[dict[str, Any]]:
    return frame.filter(pl.col("patient_id") == patient).to_dicts()


def listed(screening: Screening, patient: str) -> dict[str, Any]:
    (row,) = of(screening.worklist, patient)
    return row


def test_drg_6_after_a_transplant_the_pair_leads_and_not_the_third_drug(screening: Screening) -> None:
    conclusion = listed(screening, "transplant")["conclusion"]
    assert "most likely valganciclovir with mycophenolic acid" in conclusion
    assert "then: decide on stopping the drug: a clinician's decision" in conclusion


def test_drg_6_methotrexate_in_renal_failure_is_said(screening: Screening) -> None:
    row = listed(screening, "methotrexate")
    assert row["priority"] == "critical"
    assert "most likely methotrexate with renal failure; for it: beside it for" in row["conclusion"]


def test_drg_7_deferiprone_after_three_years_is_likely(screening: Screening) -> None:
    assert "most likely deferiprone" in listed(screening, "deferiprone")["conclusion"]


def test_drg_5_alemtuzumab_in_multiple_sclerosis_is_likely_and_not_expected(screening: Screening) -> None:
    row = listed(screening, "alemtuzumab")
    assert (row["is_expected"], "most likely alemtuzumab" in row["conclusion"]) == (False, True)


def test_drg_5_a_kinase_inhibitor_after_years_explains_no_new_fall(screening: Screening) -> None:
    assert "no explanation in these data" in listed(screening, "ibrutinib")["conclusion"]


def test_wrk_4_blasts_are_sent_to_haematology_with_the_repeat_count(screening: Screening) -> None:
    row = listed(screening, "leukaemia")
    assert (row["priority"], row["next_step"]) == ("critical", "repeat_cbc")
    assert row["conclusion"].endswith("then: smear and referral to haematology.")


def test_wrk_4_fever_comes_first(screening: Screening) -> None:
    row = listed(screening, "febrile")
    assert row["next_step"] == "fever_assessment"
    assert "expected after doxorubicin" in row["conclusion"]


def test_sev_3_a_newborn_below_1500_without_a_limit_is_counted_again_within_a_day(screening: Screening) -> None:
    row = listed(screening, "newborn")
    assert (row["priority"], "newborn" in row["reasons"]) == ("medium", True)
    assert row["next_step_due"] == datetime(2026, 6, 15, 8)


def test_pit_4_no_viral_test_is_missed_where_the_congenital_pattern_leads(screening: Screening) -> None:
    rules = {flag["rule_id"] for flag in of(screening.flag, "infant")}
    assert "PIT-4" not in rules
    assert "severe from infancy" in listed(screening, "infant")["conclusion"]
    assert "PIT-4" in {flag["rule_id"] for flag in of(screening.flag, "lifelong")}


def test_sev_3_a_lifelong_mild_count_asks_for_the_duffy_phenotype(screening: Screening) -> None:
    assert "to tell a benign count: Duffy phenotype" in listed(screening, "lifelong")["conclusion"]


def test_mal_2_the_hairy_cell_pattern_is_named(screening: Screening) -> None:
    assert "hairy-cell pattern" in listed(screening, "hairy")["conclusion"]


def test_mask_1_a_recovery_on_a_growth_factor_says_so(screening: Screening) -> None:
    assert "the normal count may be masked: pegfilgrastim" in listed(screening, "growth factor")["conclusion"]


def test_trd_4_a_count_that_rises_again_is_not_projected_below_500(screening: Screening) -> None:
    row = listed(screening, "recovering")
    assert "expected_severe_48h" not in row["reason_codes"]
    assert row["priority"] == "high"


def test_drg_1_a_name_in_cyrillic_letters_is_read(screening: Screening) -> None:
    assert "metamizole sodium" in listed(screening, "russian")["conclusion"]


def test_wrk_4_what_was_measured_is_not_asked_for_again(screening: Screening) -> None:
    """B12 and folate are on file: of the tests that tell a drug from a deficiency only copper is left."""
    conclusion = listed(screening, "tested")["conclusion"]
    assert "possibly olanzapine" in conclusion
    assert "besides: possibly failing marrow production; to tell them apart: copper; first:" in conclusion

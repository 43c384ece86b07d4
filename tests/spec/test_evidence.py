"""Evidence beside the drugs (MAL-1, INF-1, BMP-1, PER-1, CYC-1, CTX-1, FEV-1, MASK-1)."""

import json
from datetime import date, datetime, timedelta

import polars as pl
import pytest

from neutro_schemas import Diagnosis, Event, Evidence, LabResult, Patient
from neutro_screen.reference import load_policy, load_reference, loinc_check_digit
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.rules.causes.evidence import evidence_per_episode, with_suspects
from neutro_screen.rules.causes.fever import febrile_neutropenia
from neutro_screen.rules.causes.literature import literature_lines
from neutro_screen.rules.causes.patterns import count_patterns
from neutro_screen.rules.counts.cytopenia import with_other_lines
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.course.episodes import episodes_per_patient, with_episode_numbers

REFERENCE, POLICY = load_cause_reference(), load_policy()
ONSET = datetime(2025, 6, 1, 8)
EXPOSURE = {
    "patient_id": pl.String,
    "ingredient": pl.String,
    "effect": pl.String,
    "is_confounder": pl.Boolean,
    "first_exposure": pl.Date,
    "last_exposure": pl.Date,
    "is_end_unread": pl.Boolean,
    "mask_d": pl.Int64,
}
FALL = {-20: 3500, 0: 400, 1: 600}


def at(days, hours=0):
    """A time counted from the first low count."""
    return ONSET + timedelta(days=days, hours=hours)


def frame(rows, model):
    types = {name: field.dtype.type for name, field in model.to_schema().columns.items()}
    return pl.DataFrame(list(rows), schema=types)


def lab(analyte, value=None, *, text=None, unit=None, days=0, low=None, high=None, comparator=None, status="final"):
    return {
        "patient_id": "P",
        "specimen_id": "S",
        "collected_at": at(days),
        "analyte": analyte,
        "method": "any",
        "value": value,
        "comparator": comparator,
        "unit": None,
        "unit_text": unit,
        "status": status,
        "value_text": text or (None if value is None else str(value)),
        "reference_low": low,
        "reference_high": high,
        "source_file": "f",
        "source_row": 1,
    }


def diagnosis(code, system="icd10", days=0):
    day = None if days is None else at(days).date()
    return {"patient_id": "P", "code": code, "system": system, "date": day, "source_file": "f", "source_row": 1}


def event(kind, detail=None, days=0, hours=0):
    return {
        "patient_id": "P",
        "event": kind,
        "occurred_at": at(days, hours),
        "detail": detail,
        "source_file": "f",
        "source_row": 1,
    }


def patient(birth_date=None, duffy_null=None):
    return {"patient_id": "P", "birth_date": birth_date, "duffy_null": duffy_null, "source_file": "f", "source_row": 1}


def counted(counts):
    return pl.DataFrame(
        [
            {"patient_id": "P", "specimen_id": f"S{days}", "collected_at": at(days), "anc_cells_per_ul": float(value)}
            for days, value in counts.items()
        ],
        schema_overrides={"collected_at": pl.Datetime("us")},
    ).with_columns(
        anc_comparator=pl.lit(None, pl.String),
        notes=pl.lit(None, pl.String),
        severity=severity(pl.col("anc_cells_per_ul"), pl.lit(None, pl.String), load_reference().anc_bands),
        severity_in_context=pl.lit(None, pl.String),
    )


def episodes_of(counts):
    numbered = with_episode_numbers(counted(counts).lazy())
    return episodes_per_patient(numbered, POLICY, datetime(2025, 12, 1)).collect()


def patterns_of(counts, labs):
    """What the blood counts show beside the neutrophils, one row per episode."""
    results = frame(labs, LabResult)
    specimens = with_other_lines(counted(counts).lazy(), results, POLICY)
    return count_patterns(episodes_of(counts).lazy(), specimens, results.lazy(), POLICY, REFERENCE.rules)


def evidence(counts=FALL, *, labs=(), diagnoses=(), events=(), patients=(), masks=(), changed=None):
    """Lines of evidence as (rule, strength, finding)."""
    episodes = episodes_of(counts)
    if changed:
        episodes = episodes.with_columns(**changed)
    found = evidence_per_episode(
        episodes.lazy(),
        counted(counts).lazy(),
        frame(labs, LabResult).lazy(),
        frame(diagnoses, Diagnosis).lazy(),
        frame(events, Event).lazy(),
        frame(patients, Patient).lazy(),
        pl.LazyFrame(list(masks), schema=EXPOSURE),
        patterns_of(counts, labs),
        POLICY,
        REFERENCE,
    ).collect()
    Evidence.validate(found)
    return [(row["rule_id"], row["strength"], row["finding"]) for row in found.iter_rows(named=True)]


def rules(lines):
    return {rule for rule, strength, _ in lines if strength != "context"}


# ---- INF-1 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "counts"), [(-29, False), (-28, True), (28, True), (29, False)])
def test_inf_1_an_infection_marker_counts_within_28_days(days, counts):
    assert ("INF-1" in rules(evidence(labs=[lab("influenza_rna", text="Detected", days=days)]))) == counts


@pytest.mark.parametrize(("days", "counts"), [(-2000, True), (29, True), (30, False)])
def test_inf_1_hiv_counts_ever_before_and_28_days_after_the_last_low_count(days, counts):
    found = evidence(labs=[lab("hiv_antigen_antibody", text="Reactive", days=days)])
    assert ("INF-1" in rules(found)) == counts


@pytest.mark.parametrize(
    ("text", "is_positive"),
    [
        ("Positive", True),
        ("POS", True),
        ("Reactive", True),
        ("Detected", True),
        ("repeatedly reactive", True),
        ("Not detected", False),
        ("Non-reactive", False),
        ("nonreactive", False),
        ("NEGATIVE", False),
        ("Undetected", False),
        ("no virus detected", False),
        ("Equivocal", False),
        ("see comment", False),
        ("not positive", False),
    ],
)
def test_inf_1_the_words_of_a_laboratory(text, is_positive):
    found = evidence(labs=[lab("hepatitis_b_surface_antigen", text=text)])
    assert ("INF-1" in rules(found)) == is_positive


def test_inf_1_a_viral_load_counts_in_copies_and_a_limit_of_detection_does_not():
    assert "INF-1" in rules(evidence(labs=[lab("hiv_rna", 184000.0, unit="copies/mL")]))
    assert "INF-1" not in rules(evidence(labs=[lab("hiv_rna", 20.0, text="<20", comparator="<", unit="copies/mL")]))
    assert "INF-1" in rules(evidence(labs=[lab("hiv_rna", text="<20 detected", comparator="<", unit="copies/mL")]))
    assert "INF-1" not in rules(evidence(labs=[lab("hiv_rna", text="<20 not detected", comparator="<")]))


def test_inf_1_a_retracted_result_is_no_evidence():
    assert rules(evidence(labs=[lab("influenza_rna", text="Detected", status="entered_in_error")])) == set()


def test_inf_1_a_blood_film_names_the_parasite():
    assert "INF-1" in rules(evidence(labs=[lab("malaria_film", text="Plasmodium falciparum rings")]))
    assert "INF-1" not in rules(evidence(labs=[lab("malaria_film", text="No malaria parasites seen")]))


def test_inf_1_travel_is_context():
    assert evidence(events=[event("travel", "West Africa", days=-12)])[-1] == (
        "INF-1",
        "context",
        "travel (West Africa) recorded on 2025-05-20",
    )


# ---- BMP-1, PER-1 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "low", "is_low"),
    [
        (199.0, "pg/mL", None, True),
        (200.0, "pg/mL", None, False),
        (147.0, "pmol/L", None, True),
        (148.0, "pmol/L", None, False),
        (210.0, "pg/mL", 211.0, True),
        (190.0, "pg/mL", 180.0, False),
        (150.0, "furlongs", None, False),
    ],
)
def test_bmp_1_vitamin_b12_is_low_below_the_rows_own_limit_or_else_the_units(value, unit, low, is_low):
    assert ("BMP-1" in rules(evidence(labs=[lab("vitamin_b12", value, unit=unit, low=low)]))) == is_low


def test_bmp_1_vitamin_b12_below_the_range_of_the_method_is_low():
    assert "BMP-1" in rules(evidence(labs=[lab("vitamin_b12", 150.0, text="<150", comparator="<", unit="pg/mL")]))


@pytest.mark.parametrize(("titre", "is_found"), [("1:80", False), ("1:160", True), ("1:640", True)])
def test_per_1_an_antinuclear_titre_counts_from_160(titre, is_found):
    assert ("PER-1" in rules(evidence(labs=[lab("ana", text=titre)]))) == is_found


@pytest.mark.parametrize(("age_d", "is_congenital"), [(365, True), (366, False)])
def test_bmp_1_severe_from_infancy_is_the_congenital_pattern(age_d, is_congenital):
    born = patient(birth_date=ONSET.date() - timedelta(days=age_d))
    assert ("BMP-1" in rules(evidence({0: 300, 30: 250}, patients=[born]))) == is_congenital
    assert "BMP-1" not in rules(evidence({-20: 3000, 0: 300}, patients=[born])), "there was a normal count before"


@pytest.mark.parametrize(("platelets", "is_aplastic"), [(19.0, True), (20.0, False)])
def test_bmp_1_the_aplastic_pattern(platelets, is_aplastic):
    found = evidence(labs=[lab("plt", platelets), lab("hgb", 7.0)])
    assert any("aplastic" in finding for _, _, finding in found) == is_aplastic


@pytest.mark.parametrize(("nadir", "days", "is_stable"), [(800, 90, True), (799, 90, False), (800, 89, False)])
def test_per_1_a_large_spleen_is_mild_and_stable_with_few_platelets(nadir, days, is_stable):
    found = evidence({0: 1200, 40: nadir, days: 1300}, labs=[lab("plt", 110.0), lab("hgb", 12.0)])
    assert any("mild stable" in finding for _, _, finding in found) == is_stable


# ---- MAL-1 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "is_found"), [(0.0, False), (0.5, True)])
def test_mal_1_any_blast_is_strong_evidence(value, is_found):
    found = evidence(labs=[lab("blast_pct", value)])
    assert ("MAL-1", "strong", f"blasts {value} % on 2025-06-01") in found or not is_found
    assert any(finding.startswith("blasts") for _, _, finding in found) == is_found


@pytest.mark.parametrize(
    ("haemoglobin", "platelets", "pattern"),
    [(9.9, 99.0, "pancytopenia"), (9.9, 100.0, "bicytopenia"), (10.0, 99.0, "bicytopenia"), (10.0, 100.0, None)],
)
def test_mal_1_other_low_lines(haemoglobin, platelets, pattern):
    found = evidence(labs=[lab("hgb", haemoglobin), lab("plt", platelets)])
    assert [f.split(":")[0] for rule, _, f in found if rule == "MAL-1"] == ([pattern] if pattern else [])


@pytest.mark.parametrize(("days", "counts"), [(-2, False), (-1, True), (2, True), (3, False)])
def test_mal_1_other_lines_belong_to_the_low_counts_a_day_either_way(days, counts):
    """The episode's low counts are of day 0 and day 1."""
    assert ("MAL-1" in rules(evidence(labs=[lab("hgb", 8.0, days=days)]))) == counts


@pytest.mark.parametrize(("mcv", "normal_on", "is_found"), [(101, -60, True), (100, -60, False), (101, -59, False)])
def test_mal_1_macrocytosis_counts_with_a_slow_decline(mcv, normal_on, is_found):
    found = evidence({normal_on: 3000, 0: 900}, labs=[lab("mcv", float(mcv))])
    assert any("macrocytosis" in finding for _, _, finding in found) == is_found


@pytest.mark.parametrize(("wbc", "is_found"), [(30.0, False), (30.1, True)])
def test_mal_1_many_white_cells_with_few_neutrophils(wbc, is_found):
    assert any("white cells" in f for _, _, f in evidence(labs=[lab("wbc", wbc)])) == is_found


def test_mal_1_not_measured_is_not_normal():
    patterns = patterns_of(FALL, ()).collect()
    assert patterns.select("has_blasts", "has_other_lines", "lowest_hgb").rows() == [(False, False, None)]


# ---- diagnoses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "system", "rule"),
    [
        ("28803", "icd9", "DRG-4"),
        ("C9200", "icd10", "MAL-1"),
        ("20500", "icd9", "MAL-1"),
        ("B20", "icd10", "INF-1"),
        ("D731", "icd10", "PER-1"),
        ("D700", "icd10", "BMP-1"),
        ("D704", "icd10", "CYC-1"),
        ("28802", "icd9", "CYC-1"),
    ],
)
def test_coded_diagnoses(code, system, rule):
    assert rules(evidence(diagnoses=[diagnosis(code, system)])) == {rule}


def test_the_longest_prefix_of_a_code_counts():
    """D61 is marrow failure; D61.810 is pancytopenia after chemotherapy."""
    assert rules(evidence(diagnoses=[diagnosis("D619")])) == {"BMP-1"}
    assert rules(evidence(diagnoses=[diagnosis("D61810")])) == {"DRG-4"}


def test_a_code_means_what_its_own_system_says():
    assert rules(evidence(diagnoses=[diagnosis("042", "icd9")])) == {"INF-1"}
    assert rules(evidence(diagnoses=[diagnosis("042", "other")])) == set()


def test_mal_1_a_diagnosis_without_a_date_is_shown_and_weighs_weak():
    assert ("MAL-1", "weak", "coded leukaemia (ICD-10 C920), date unknown") in evidence(
        diagnoses=[diagnosis("C920", days=None)]
    )


# ---- CYC-1, CTX-1, FEV-1, MASK-1 -------------------------------------------------------------------------------------


def test_cyc_1_a_cyclic_pattern_is_named_with_its_period():
    found = evidence(changed={"is_cyclic": pl.lit(True), "cycle_days": pl.lit(21.04)})
    assert ("CYC-1", "strong", "cyclic pattern with a period of 21.0 days") in found


def test_ctx_1_duffy_null_counts_only_where_it_is_recorded():
    assert "CTX-1" in rules(evidence(patients=[patient(duffy_null=True)]))
    assert "CTX-1" not in rules(evidence(patients=[patient(duffy_null=None)]))


def test_ctx_1_one_low_value_between_normal_ones_may_be_an_artefact():
    assert "CTX-1" in rules(evidence({-5: 3000, 0: 900, 2: 3100}))


@pytest.mark.parametrize(
    ("readings", "is_fever"),
    [
        ([(0, "38.2")], False),
        ([(0, "38.3")], True),
        ([(0, "38,3 °C")], True),
        ([(0, "101.0 F")], True),
        ([(0, "38.0"), (1, "38.0")], True),
        ([(0, "38.0"), (0.5, "38.0")], False),
        ([(0, "38.0"), (0.5, "37.5"), (1, "38.0")], False),
        ([(24, "39.0")], True),
        ([(24.5, "39.0")], False),
        ([(-24, "39.0")], True),
        ([(-24.5, "39.0")], False),
        ([(0, "3.9")], False),
    ],
)
def test_fev_1_fever_with_a_severe_count(readings, is_fever):
    events = [event("temperature", detail, hours=hours) for hours, detail in readings]
    found = evidence({-20: 3500, 0: 400}, events=events)
    assert ("FEV-1" in rules(found)) == is_fever


@pytest.mark.parametrize(("nadir", "is_at_risk"), [(499, True), (500, False)])
def test_fev_1_fever_is_febrile_neutropenia_below_500_only(nadir, is_at_risk):
    counts = counted({-20: 3500, 0: nadir})
    fever = frame([event("temperature", "39.0")], Event)
    flags = febrile_neutropenia(counts.lazy(), frame([], LabResult).lazy(), fever.lazy(), REFERENCE.rules).collect()
    assert flags.height == is_at_risk
    if is_at_risk:
        assert json.loads(flags["evidence"][0])["celsius"] == 39.0


def test_fev_1_a_count_expected_below_500_counts_too():
    counts = counted({-20: 3500, 0: 900})
    fever = frame([event("temperature", "39.0")], Event)
    expected = pl.LazyFrame({"patient_id": ["P"], "specimen_id": ["S0"]})
    flags = febrile_neutropenia(
        counts.lazy(), frame([], LabResult).lazy(), fever.lazy(), REFERENCE.rules, expected
    ).collect()
    assert flags["specimen_id"].to_list() == ["S0"]


def test_fev_1_without_a_temperature_fever_is_unknown_and_never_absent():
    assert evidence()[0] == ("FEV-1", "context", "fever unknown: no temperature near the severe counts in this extract")
    measured = evidence({0: 400}, events=[event("temperature", "37.1")])
    assert measured == [("FEV-1", "context", "highest temperature near a severe count 37.1 degrees Celsius")]


@pytest.mark.parametrize(("ended", "is_shown"), [(-27, True), (-28, False)])
def test_mask_1_filgrastim_masks_while_it_acts(ended, is_shown):
    """It acts for 7 days; the last normal count was 20 days before the first low one."""
    mask = {
        "patient_id": "P",
        "ingredient": "filgrastim",
        "effect": "raises_anc",
        "is_confounder": True,
        "first_exposure": date(2025, 4, 1),
        "last_exposure": at(ended).date(),
        "is_end_unread": False,
        "mask_d": 7,
    }
    assert any(rule == "MASK-1" for rule, _, _ in evidence(masks=[mask])) == is_shown


# ---- literature and tables -------------------------------------------------------------------------------------------


def suspect(category, ingredient="thiamazole", drug_class="antithyroid"):
    return {"category": category, "ingredient": ingredient, "drug_class": drug_class, "rank": 1, "leads_to_nadir": True}


def literature(nadir, *suspected, comparator=None):
    """The statements beside an episode with this nadir and these first-ranked suspects."""
    episodes = episodes_of({-20: 3500, 0: nadir}).with_columns(nadir_comparator=pl.lit(comparator, pl.String))
    kinds = {"category": pl.String, "ingredient": pl.String, "drug_class": pl.String, "rank": pl.Int16}
    suspects = pl.LazyFrame(list(suspected), schema=kinds | {"leads_to_nadir": pl.Boolean}).with_columns(
        episode_id=pl.lit(episodes["episode_id"][0]), fall_id=pl.lit("P/fall/1")
    )
    lines = literature_lines(episodes.lazy(), suspects, REFERENCE).collect()
    assert set(lines["strength"]) <= {"context"}
    assert all(finding.startswith("literature, not this patient's risk: ") for finding in lines["finding"])
    return " ".join(lines["finding"])


@pytest.mark.parametrize(
    ("nadir", "shown", "not_shown"),
    [
        (999, "4.77 46.03", "2.80 8.69 2.32 3.23 40 %"),
        (1000, "2.80 8.69", "4.77 46.03"),
        (1499, "2.80 8.69", "2.32 3.23"),
        (500, "4.77 46.03", "40 %"),
        (499, "4.77 46.03 40 %", "2.80"),
    ],
)
def test_lit_1_odds_ratios_are_those_of_the_nadirs_band(nadir, shown, not_shown):
    found = literature(nadir)
    assert all(number in found for number in shown.replace("40 %", "40").split())
    assert not any(number in found for number in not_shown.replace("40 %", "40").split())


@pytest.mark.parametrize(
    ("nadir", "comparator", "fatal"),
    [
        (99, None, "10 %"),
        (100, None, "3 %"),
        (100, "<", "10 %"),
        (499, None, "3 %"),
        (500, "<", "3 %"),
        (500, None, None),
    ],
)
def test_lit_1_the_share_of_fatal_cases_goes_by_the_nadir_with_its_comparator(nadir, comparator, fatal):
    found = literature(nadir, suspect("likely"), comparator=comparator)
    assert ("fatal complications" in found) == (fatal is not None)
    assert fatal is None or f"fatal complications in {fatal}" in found


@pytest.mark.parametrize(
    ("suspected", "has_odds", "has_fatal"),
    [
        ((), True, False),
        ((suspect("likely"),), True, True),
        ((suspect("possible"),), True, True),
        ((suspect("unlikely"),), True, False),
        ((suspect("expected", "docetaxel", "antineoplastic_cytotoxic"),), False, False),
        ((suspect("beyond_expected", "docetaxel", "antineoplastic_cytotoxic"),), True, False),
        ((suspect("expected", "docetaxel", "antineoplastic_cytotoxic"), suspect("likely")), True, True),
    ],
)
def test_lit_1_figures_stand_only_where_their_population_fits(suspected, has_odds, has_fatal):
    found = literature(300, *suspected)
    assert ("odds ratio" in found, "fatal complications" in found) == (has_odds, has_fatal)


def test_lit_1_figures_of_no_patient_stand_under_methods_alone():
    assert not any("leukaemia" in literature(nadir, suspect("likely")) for nadir in (50, 400, 900, 1400))
    assert REFERENCE.literature.filter(population="methods").height == 1


# ---- INF-2, MAL-2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bands", "segments", "is_shifted"), [(0.4, 0.4, True), (0.39, 0.4, False), (0.0, 0.0, False)])
def test_inf_2_as_many_bands_as_segmented_cells_are_a_left_shift(bands, segments, is_shifted):
    labs = [lab("band_abs", bands), lab("seg_abs", segments), lab("wbc", 8.0)]
    assert ("INF-2" in rules(evidence(labs=labs))) == is_shifted


@pytest.mark.parametrize(("bands", "is_shifted"), [(10.0, True), (9.9, False)])
def test_inf_2_ten_percent_of_bands_are_a_left_shift(bands, is_shifted):
    found = evidence(labs=[lab("band_pct", bands), lab("seg_pct", 20.0)])
    assert any("left shift: bands 10 %" in finding for _, _, finding in found) == is_shifted
    away = evidence(labs=[lab("band_pct", bands, days=3), lab("seg_pct", 20.0, days=3)])
    assert "INF-2" not in rules(away), "the differential is of another time"


def test_inf_2_sepsis_is_consumption():
    assert rules(evidence(diagnoses=[diagnosis("A419")])) == {"INF-2"}


@pytest.mark.parametrize(
    ("monocytes", "haemoglobin", "is_found"), [(0.05, 9.0, True), (0.06, 9.0, False), (0.0, 11.0, False)]
)
def test_mal_2_hardly_a_monocyte_with_pancytopenia_is_the_hairy_cell_pattern(monocytes, haemoglobin, is_found):
    labs = [lab("mono_abs", monocytes), lab("hgb", haemoglobin), lab("plt", 60.0)]
    assert any("hairy-cell pattern" in finding for _, _, finding in evidence(labs=labs)) == is_found


@pytest.mark.parametrize(
    ("lymphocytes", "age_d", "is_found"), [(4.1, None, True), (4.0, None, False), (5.0, 270, False), (5.0, 4383, True)]
)
def test_mal_2_many_lymphocytes_with_few_neutrophils_count_in_adults(lymphocytes, age_d, is_found):
    people = [] if age_d is None else [patient(birth_date=ONSET.date() - timedelta(days=age_d))]
    found = evidence({-20: 3500, 0: 900}, labs=[lab("lymph_abs", lymphocytes)], patients=people)
    assert ("MAL-2" in rules(found)) == is_found


@pytest.mark.parametrize(("eosinophils", "is_found"), [(1.6, True), (1.5, False)])
def test_mal_2_eosinophilia(eosinophils, is_found):
    assert ("MAL-2" in rules(evidence(labs=[lab("eos_abs", eosinophils)]))) == is_found


def test_mal_2_an_expected_nadir_makes_no_pattern_of_a_malignancy():
    episodes = episodes_of(FALL)
    lines = pl.LazyFrame(
        {"episode_id": [episodes["episode_id"][0]] * 2, "patient_id": ["P"] * 2}
        | {"category": ["haematologic malignancy"] * 2, "rule_id": ["MAL-1", "MAL-2"]}
        | {"finding": ["f"] * 2, "strength": ["moderate"] * 2, "source": ["s"] * 2}
    )
    for category, kept in (("expected", ["MAL-1"]), ("beyond_expected", ["MAL-1", "MAL-2"])):
        suspects = pl.LazyFrame([suspect(category, "docetaxel", "antineoplastic_cytotoxic")]).with_columns(
            episode_id=pl.lit(episodes["episode_id"][0]), fall_id=pl.lit("P/fall/1")
        )
        found = with_suspects(lines, episodes.lazy(), suspects, REFERENCE).collect()
        assert found.filter(finding="f")["rule_id"].to_list() == kept


def test_the_order_of_rows_does_not_matter():
    labs = [lab("influenza_rna", text="Detected", days=days) for days in (-3, 2, 5)] + [lab("hgb", 8.0)]
    assert evidence(labs=labs) == evidence(labs=list(reversed(labs)))


def test_every_loinc_code_has_its_check_digit_and_no_code_is_a_blood_counts():
    codes = REFERENCE.marker_codes.filter(pl.col("system") == "loinc")["code"]
    wrong = [code for code in codes if loinc_check_digit(code.split("-")[0]) != int(code.split("-")[1])]
    assert wrong == []
    counts = load_reference().lab_codes.filter(pl.col("dimension").ne_missing("marker"))
    assert counts.height > 0
    assert REFERENCE.marker_codes.join(counts, on=["system", "code"], how="semi").height == 0


def test_every_diagnosis_and_marker_names_a_rule_that_exists():
    known = {"MAL-1", "INF-1", "INF-2", "BMP-1", "PER-1", "CYC-1", "CTX-1", "DRG-4", "DRG-6", "WRK-1"}
    assert set(REFERENCE.diagnosis_codes["rule_id"]) | set(REFERENCE.markers["rule_id"]) <= known

"""The drug tables as a pharmacologist would check them: windows, uses, interactions, classes and names (DRG-5 ... DRG-7)."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference import FOLDER
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.reference.drugs import CONDITION, DrugTables, read_drug_tables, split_list
from neutro_screen.rules.causes.drug_names import resolve_drug_names

KEYS = ("drug_name", "atc_code", "rxcui", "route")


@pytest.fixture(scope="module")
def tables() -> DrugTables:
    return read_drug_tables(FOLDER)


def cause(tables: DrugTables, ingredient: str) -> dict[str, object]:
    (row,) = tables.causes.filter(pl.col("ingredient") == ingredient).to_dicts()
    return row


def named(tables: DrugTables, *names: str) -> dict[str, set[str]]:
    """Name -> the causes of neutropenia it stands for."""
    resolved = resolve_drug_names(pl.DataFrame({"drug_name": names}), tables)
    found = resolved.filter("is_cause", pl.col("ingredient").is_not_null(), pl.col("is_systemic"))
    return {name: set(found.filter(pl.col("drug_name") == name)["ingredient"]) for name in names}


# ---- windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ingredient",
    ["clozapine", "deferiprone", "azathioprine", "mercaptopurine", "methotrexate", "leflunomide", "hydroxycarbamide"],
)
def test_drugs_whose_reaction_comes_at_any_time_have_an_open_window(ingredient: str, tables: DrugTables) -> None:
    assert cause(tables, ingredient)["window_open"]


@pytest.mark.parametrize("ingredient", ["thiamazole", "metamizole sodium", "imatinib", "carboplatin", "ceftriaxone"])
def test_other_windows_end(ingredient: str, tables: DrugTables) -> None:
    assert not cause(tables, ingredient)["window_open"]


def test_leflunomide_falls_were_seen_up_to_four_years(tables: DrugTables) -> None:
    row = cause(tables, "leflunomide")

    assert (row["typical_onset_days_min"], row["typical_onset_days_max"]) == (11, 4 * 365 + 1)
    assert row["window_check"] == "source_read"


def test_an_expected_fall_has_a_time_and_an_end(tables: DrugTables) -> None:
    expected = tables.causes.filter("expected_effect")

    assert expected.height > 150
    assert expected.select("nadir_days_min", "nadir_days_max", "recovery_days_typical").null_count().row(0) == (0, 0, 0)
    # A fall expected for a year after a dose is expected for ever.
    assert expected.filter(~pl.col("window_open"), pl.col("nadir_days_max") > 180).is_empty()


def test_every_cycle_has_a_dose_schedule(tables: DrugTables) -> None:
    cycles = tables.causes.filter(pl.col("window_anchor") == "each_dose")

    assert cycles["dose_days"].null_count() == 0
    assert cycles.filter(pl.col("cycle_days").is_null())["ingredient"].sort().to_list() == [
        "ibritumomab tiuxetan",
        "iobenguane (131i)",
        "rhenium (186re) etidronic acid",
        "samarium (153sm) lexidronam",
        "sodium iodide (131i)",
        "sodium phosphate (32p)",
        "tositumomab (131i)",
    ]


@pytest.mark.parametrize(
    ("ingredient", "nadir"),
    [
        ("docetaxel", (5, 9)),
        ("carboplatin", (18, 24)),
        ("lomustine", (35, 42)),
        ("obinutuzumab", (7, 28)),  # later is late-onset neutropenia
        ("palbociclib", (14, 28)),
    ],
)
def test_expected_only_within_the_nadir_window(ingredient: str, nadir: tuple[int, int], tables: DrugTables) -> None:
    row = cause(tables, ingredient)

    assert row["expected_effect"]
    assert (row["nadir_days_min"], row["nadir_days_max"]) == nadir


@pytest.mark.parametrize(
    "ingredient",
    [
        "rituximab",
        "ocrelizumab",
        "alemtuzumab",
        "pembrolizumab",
        "azathioprine",
        "methotrexate",
        "ganciclovir",
        "clozapine",
        "thiamazole",
        "lapatinib",
        "masitinib",
        "sodium iodide (131i)",
    ],
)
def test_late_immune_and_rare_falls_are_never_expected(ingredient: str, tables: DrugTables) -> None:
    assert not cause(tables, ingredient)["expected_effect"]


# ---- uses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ingredient", "code", "use", "expected"),
    [
        ("alemtuzumab", "L01XC04", "oncology", True),
        ("alemtuzumab", "L04AG06", "multiple_sclerosis", False),
        ("alemtuzumab", "L04AA34", "multiple_sclerosis", False),
        ("cladribine", "L01BB04", "oncology", True),
        ("cladribine", "L04AA40", "multiple_sclerosis", False),
        ("everolimus", "L01EG02", "oncology", True),
        ("everolimus", "L04AH02", "transplantation", False),
    ],
)
def test_the_atc_code_tells_the_use(ingredient: str, code: str, use: str, expected: bool, tables: DrugTables) -> None:
    codes = tables.uses.with_columns(pl.col("atc_codes").str.split(";"))
    (row,) = codes.filter(pl.col("ingredient") == ingredient, pl.col("atc_codes").list.contains(code)).to_dicts()

    assert (row["use"], row["expected_effect"]) == (use, expected)


@pytest.mark.parametrize(
    ("name", "use"),
    [("lemtrada", "multiple_sclerosis"), ("mabcampath", "oncology"), ("mavenclad", "multiple_sclerosis")],
)
def test_a_brand_of_one_use_tells_the_use(name: str, use: str, tables: DrugTables) -> None:
    uses = tables.uses.with_columns(pl.col("names").str.split(";"))

    assert uses.filter(pl.col("names").list.contains(name))["use"].to_list() == [use]


# ---- interactions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ingredient", "partner"),
    [
        ("azathioprine", "allopurinol"),
        ("mercaptopurine", "febuxostat"),
        ("azathioprine", "ribavirin"),
        ("azathioprine", "mesalazine"),
        ("mercaptopurine", "olsalazine"),
        ("methotrexate", "trimethoprim"),
        ("methotrexate", "sulfamethoxazole"),
        ("methotrexate", "leflunomide"),
        ("leflunomide", "methotrexate"),
        ("fluorouracil", "brivudine"),
        ("capecitabine", "brivudine"),
        ("tegafur", "sorivudine"),
        ("mycophenolic acid", "valganciclovir"),
        ("valganciclovir", "mycophenolic acid"),
        ("ganciclovir", "zidovudine"),
        ("zidovudine", "ganciclovir"),
        ("clozapine", "carbamazepine"),
        ("clozapine", "metamizole sodium"),
        ("clozapine", "trimethoprim"),
        ("colchicine", "clarithromycin"),
        ("colchicine", "ritonavir"),
    ],
)
def test_interactions_of_drg_6(ingredient: str, partner: str, tables: DrugTables) -> None:
    pair = tables.interactions.filter(pl.col("ingredient") == ingredient, pl.col("partner") == partner)

    assert pair.height == 1
    assert pair["evidence"].item() in ("definite", "probable")


def test_pairs_that_do_not_interact_are_not_listed(tables: DrugTables) -> None:
    pairs = set(tables.interactions.select("ingredient", "partner").rows())

    # Tioguanine is no substrate of xanthine oxidase; folinic acid protects; azithromycin does not inhibit CYP3A4.
    assert not pairs & {
        ("tioguanine", "allopurinol"),
        ("methotrexate", "calcium folinate"),
        ("colchicine", "azithromycin"),
    }


def test_brivudine_counts_for_four_weeks_after_its_last_dose(tables: DrugTables) -> None:
    lags = tables.interactions.filter(pl.col("partner") == "brivudine")["partner_lag_days"]

    assert lags.unique().to_list() == [28]


def test_every_partner_can_be_recognised_by_its_name(tables: DrugTables) -> None:
    drugs = tables.interactions.filter(pl.col("effect") != CONDITION)["partner"]
    both = pl.concat([tables.interactions["ingredient"], drugs]).unique().sort().to_list()

    assert named(tables, *both) == {name: {name} for name in both}


def test_every_condition_that_is_a_partner_has_codes(tables: DrugTables) -> None:
    conditions = tables.interactions.filter(pl.col("effect") == CONDITION)["partner"].unique().sort().to_list()
    coded = load_cause_reference().diagnosis_codes.filter(pl.col("rule_id") == "DRG-6")
    assert conditions == coded["finding"].unique().sort().to_list() == ["renal failure"]


def test_what_was_only_remembered_says_so(tables: DrugTables) -> None:
    for table in (tables.interactions, tables.uses):
        remembered = table.filter(pl.col("checked") == "general_knowledge")
        claims = pl.col("source").str.contains(r"\bread\b") & ~pl.col("source").str.contains("not re-read")
        assert remembered.filter(claims).is_empty()
        read = table.filter(pl.col("checked") == "source_read")["source"].str.extract_all(r"[A-Z]{3}[A-Z0-9]\d?")
        assert read.list.len().min() >= 1


def test_sources_read_are_in_the_list_of_sources(tables: DrugTables) -> None:
    keys = pl.read_csv(FOLDER / "drug_sources.csv", infer_schema=False)["key"].to_list()
    read = pl.concat([tables.interactions, tables.uses], how="diagonal").filter(pl.col("checked") == "source_read")
    cited = read["source"].str.extract_all(r"\b[A-Z]{3}[A-Z0-9]\d{0,2}\b").explode().unique().to_list()

    assert set(cited) <= set(keys)


# ---- classes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "drug_class", "expected"),
    [
        ("L01AA", "antineoplastic_cytotoxic", True),
        ("L01XA", "antineoplastic_cytotoxic", True),
        ("L01EF", "antineoplastic_targeted", True),
        ("L01EL", "antineoplastic_targeted", True),
        ("L01XK", "antineoplastic_targeted", True),
        ("L01EB", "antineoplastic_targeted", False),  # EGFR inhibitors hardly lower the ANC
        ("L01FD", "antineoplastic_targeted", False),
        ("L01FF", "antineoplastic_targeted", False),
        ("L01FA", "biologic", False),
        ("L01XX", "antineoplastic_targeted", False),  # a class this mixed promises nothing
        ("L01XD", "not_systemic", False),
        ("L04AC", "biologic", False),
        ("L03AA", "none_protective", False),
        ("C01B", "antiarrhythmic", False),
        ("C09A", "antihypertensive", False),
        ("C03", "diuretic", False),
        ("H03BB", "antithyroid", False),
        ("N02BB", "nsaid_analgesic", False),
    ],
)
def test_atc_class_with_its_category(code: str, drug_class: str, expected: bool, tables: DrugTables) -> None:
    (row,) = (
        tables.atc_prefixes.filter(pl.lit(code).str.starts_with(pl.col("atc_prefix")))
        .sort(pl.col("atc_prefix").str.len_chars())
        .tail(1)
        .to_dicts()
    )

    assert (row["default_class"], row["expected_effect"]) == (drug_class, expected)


@pytest.mark.parametrize(
    ("ingredient", "drug_class", "evidence"),
    [
        ("lisinopril", "antihypertensive", "possible"),
        ("furosemide", "diuretic", "possible"),
        ("procainamide", "antiarrhythmic", "definite"),
        ("calcium dobesilate", "cardiovascular", "definite"),
        ("flupentixol", "antipsychotic", "possible"),
        ("sulfinpyrazone", "antirheumatic", "possible"),
        ("pirarubicin", "antineoplastic_cytotoxic", "definite"),
        ("amrubicin", "antineoplastic_cytotoxic", "definite"),
        ("nedaplatin", "antineoplastic_cytotoxic", "definite"),
        ("dalpiciclib", "antineoplastic_targeted", "definite"),
        ("tucidinostat", "antineoplastic_targeted", "probable"),
        ("pralsetinib", "antineoplastic_targeted", "probable"),
        ("revumenib", "antineoplastic_targeted", "probable"),
        ("tisotumab vedotin", "antineoplastic_targeted", "probable"),
        ("tazemetostat", "antineoplastic_targeted", "probable"),
        ("tafasitamab", "antineoplastic_targeted", "definite"),
        ("mogamulizumab", "antineoplastic_targeted", "probable"),
        ("rilonacept", "biologic", "probable"),
        ("artesunate", "antimalarial_antiparasitic", "probable"),
        ("brivudine", "antiviral", "possible"),
    ],
)
def test_class_and_evidence_of_a_drug(ingredient: str, drug_class: str, evidence: str, tables: DrugTables) -> None:
    row = cause(tables, ingredient)

    assert (row["drug_class"], row["evidence"]) == (drug_class, evidence)


def test_a_drug_of_a_group_stands_in_the_class_of_the_group(tables: DrugTables) -> None:
    codes = split_list(tables.causes, "atc_codes").join(
        tables.causes.select("ingredient", "drug_class"), on="ingredient"
    )
    for prefix, classes in {
        "N05A": {"antipsychotic"},
        "N03A": {"anticonvulsant"},
        "J01C": {"antibiotic_beta_lactam"},
        "J01D": {"antibiotic_beta_lactam"},
        "J05A": {"antiviral"},
        "H03B": {"antithyroid"},
        "C01B": {"antiarrhythmic"},
        "C09": {"antihypertensive"},
        "L01A": {"antineoplastic_cytotoxic"},
        "L01D": {"antineoplastic_cytotoxic"},
        "L01E": {"antineoplastic_targeted", "immunosuppressant"},
    }.items():
        found = codes.filter(pl.col("atc_codes").str.starts_with(prefix))
        assert found.height > 0
        assert set(found["drug_class"]) <= classes, prefix


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Neo-Melubrina",
        "Dorflex",
        "Neosaldina",
        "Algocalmin",
        "Algopyrin",
        "Conmel",
        "Anador",
        "Lisador",
        "Novemina",
        "Prodolina",
        "Baralgina",
        "Tempalgin",
        "Quarelin",
        "Novalgin",
        "Nolotil",
        "Analgin",
        "Optalgin",
        "Berlosin",
        "Spasmalgon",
        "Baralgin M",
        "Magnopyrol",
        "Pyralgina",
        "Buscopan composto",
    ],
)
def test_metamizole_by_its_brands(name: str, tables: DrugTables) -> None:
    assert "metamizole sodium" in named(tables, f"{name} 500 mg")[f"{name} 500 mg"]


@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("Azaleptin 100 mg", {"clozapine"}),
        ("Mercazolil 5 mg", {"thiamazole"}),
        ("Neo-Tomizol 5 mg", {"carbimazole"}),
        ("Kelfer 500", {"deferiprone"}),
        ("Biseptol 480", {"sulfamethoxazole", "trimethoprim"}),
        ("Sumetrolim", {"sulfamethoxazole", "trimethoprim"}),
        ("Zostex 125 mg", {"brivudine"}),
        ("Lidaprim forte", {"sulfametrole", "trimethoprim"}),
        ("Panaldine 100 mg", {"ticlopidine"}),
        ("Finlepsin retard", {"carbamazepine"}),
        ("Tetramide 10 mg", {"mianserin"}),
        ("Coarsucam 100/270", {"artesunate", "amodiaquine"}),
        ("Beserol", {"diclofenac", "paracetamol"}),
        ("Paxlovid", {"ritonavir"}),
        ("Chidamide 5 mg", {"tucidinostat"}),
        ("Minjuvi 200 mg", {"tafasitamab"}),
        ("Fluanxol 1 mg", {"flupentixol"}),
        ("Saridon", {"propyphenazone", "paracetamol"}),
        # What must stay silent: other drugs with a like name, and brands that differ between countries.
        ("Dipidolor 7.5 mg", set()),
        ("Imitrex 50 mg", set()),
        ("Methycobal 500", set()),
        ("Pentalgin", set()),
        ("Buscopan plus", set()),
        ("L-tyrosine 500 mg", set()),
        ("Biseptine", set()),
        ("duloxetine 60 mg", set()),
        ("tucatinib 150 mg", set()),
    ],
)
def test_brands_of_the_common_markets(name: str, causes: set[str], tables: DrugTables) -> None:
    assert named(tables, name) == {name: causes}


def test_a_brand_stands_for_two_drugs_only_as_a_combination(tables: DrugTables) -> None:
    several = (
        tables.synonyms.group_by("alias")
        .agg("kind", n=pl.len(), combined=pl.col("kind").is_in(["combination", "regimen"]).any())
        .filter(pl.col("n") > 1, ~pl.col("combined"))
    )
    old = {"abbreviation", "brand"}  # abbreviations and brands of fixed combinations of the shared starting tables

    assert {kind for kinds in several["kind"] for kind in kinds} <= old
    assert several.height <= 24


def test_no_name_is_an_ingredient_of_another_drug(tables: DrugTables) -> None:
    own = tables.causes["ingredient"].to_list()

    assert named(tables, *own) == {name: {name} for name in own}


# ---- contradictions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "value", "complaint"),
    [
        ("drug_causes.csv", "window_open", None, "window_open"),
        ("drug_interactions.csv", "partner", "unobtainium", "unobtainium"),
        ("drug_interactions.csv", "from_days", "9999", "days_ordered"),
        ("drug_interactions.csv", "checked", "surely", "checked"),
        ("drug_uses.csv", "atc_codes", "N05AH02", "N05AH02"),
        ("drug_uses.csv", "names", "clozaril", "clozaril"),
        ("drug_uses.csv", "typical_onset_days_min", "9999", "windows_ordered"),
        ("atc_prefix_causes.csv", "expected_effect", "true", "only_expected_have_a_nadir"),
    ],
)
def test_contradicting_tables_are_refused(
    name: str, column: str, value: str | None, complaint: str, tmp_path: Path
) -> None:
    for table in (*FOLDER.glob("drug_*.csv"), FOLDER / "atc_prefix_causes.csv"):
        shutil.copy(table, tmp_path)
    good = pl.read_csv(tmp_path / name, infer_schema=False)
    changed = good.with_row_index().with_columns(
        pl.when(pl.col("index") == 0).then(pl.lit(value, pl.String)).otherwise(column).alias(column)
    )
    changed.drop("index").write_csv(tmp_path / name)

    with pytest.raises(ReferenceDataError, match=complaint):
        read_drug_tables(tmp_path)

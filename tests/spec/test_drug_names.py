"""Drug names: which lines of a medication list are an exposure to which drug (DRUGS.md section 7)."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference import FOLDER
from neutro_screen.reference.drugs import DrugTables, read_drug_tables
from neutro_screen.rules.causes.drug_names import KEYS, RESOLVED, match_medications, resolve_drug_names, unmatched_names

PROJECT = Path(__file__).parents[2]
SHARED = PROJECT.parent / "shared"
SHARED_CASES = SHARED / "clinical" / "drug_name_cases.csv"
MIMIC = SHARED / "data" / "mimic3_demo" / "PRESCRIPTIONS.csv"
GOLDEN_CASES = PROJECT / "tests" / "golden" / "drug_name_cases.csv"


@pytest.fixture(scope="module")
def tables() -> DrugTables:
    return read_drug_tables(FOLDER)


@pytest.fixture(scope="module")
def resolved_cases(tables: DrugTables) -> pl.DataFrame:
    """The texts of both case files, resolved together as a medication list is."""
    golden = pl.read_csv(GOLDEN_CASES, infer_schema=False).select(drug_name="text")
    shared = (
        pl.read_csv(SHARED_CASES, infer_schema=False).select(drug_name="text")
        if SHARED_CASES.exists()
        else golden.clear()
    )
    return resolve_drug_names(pl.concat([golden, shared]), tables)


def lines(**columns: str | None) -> pl.DataFrame:
    return pl.DataFrame({key: [columns.get(key)] for key in KEYS}, schema=dict.fromkeys(KEYS, pl.String))


def drugs(resolved: pl.DataFrame, *conditions: pl.Expr) -> set[str]:
    return set(resolved.filter(pl.col("ingredient").is_not_null(), *conditions)["ingredient"])


def listed(cell: str | None) -> set[str]:
    return (
        {"immunoglobulins, normal human, for intravascular adm."}
        if cell and "," in cell
        else set((cell or "").split(";")) - {"", "none"}
    )


DISTINCT_STRINGS_OF_MIMIC = 590
SYSTEMIC, CAUSE = pl.col("is_systemic"), pl.col("is_cause")


# ---- free text, case by case ------------------------------------------------------------------------------------


def shared_cases() -> list[object]:
    if not SHARED_CASES.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason="../shared/clinical is not here"))]
    rows = pl.read_csv(SHARED_CASES, infer_schema=False).to_dicts()
    return [pytest.param(row, id=f"{row['case_id']} {row['hazard'] or ''}") for row in rows]


@pytest.mark.parametrize("case", shared_cases())
def test_case_file_of_the_clinical_reference(case: dict[str, str], resolved_cases: pl.DataFrame) -> None:
    resolved = resolved_cases.filter(pl.col("drug_name") == case["text"])

    assert drugs(resolved, SYSTEMIC, CAUSE) == listed(case["expected_ingredients"])
    if case["counts_systemically"] == "false":
        assert not drugs(resolved, SYSTEMIC)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(row, id=f"{row['text']} ({row['hazard']})")
        for row in pl.read_csv(GOLDEN_CASES, infer_schema=False).to_dicts()
    ],
)
def test_own_cases(case: dict[str, str | None], resolved_cases: pl.DataFrame) -> None:
    resolved = resolved_cases.filter(pl.col("drug_name") == case["text"])

    assert drugs(resolved, SYSTEMIC, CAUSE) == listed(case["systemic"])
    assert drugs(resolved, ~SYSTEMIC) == listed(case["local"])
    assert drugs(resolved, SYSTEMIC, ~CAUSE) == listed(case["masks"])


@pytest.mark.parametrize(
    ("text", "matched_by", "exposure"),
    [
        ("clozapine 100 mg", "name", "given"),
        ("FOLFOX cycle 3", "regimen", "given"),
        ("propylthiouricil 50 mg", "fuzzy", "given"),
        ("atorvastatin 20 mg", "known_not_a_cause", "given"),
        ("STOPPED 01/03: clozapine 350 mg", "name", "ended"),
        ("history of clozapine use", "not_an_exposure", "not_given"),
        ("clozapine or placebo", "not_an_exposure", "unknown"),
        ("AZT 300 mg", "unmatched", "given"),
        ("see chart", "unmatched", "given"),
    ],
)
def test_how_a_line_was_matched(text: str, matched_by: str, exposure: str, tables: DrugTables) -> None:
    (row,) = resolve_drug_names(lines(drug_name=text), tables).unique(["matched_by", "exposure"]).to_dicts()

    assert (row["matched_by"], row["exposure"]) == (matched_by, exposure)


# ---- misspellings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "drug"),
    [
        ("azathoprine", "azathioprine"),
        ("cyclofosphamid", "cyclophosphamide"),
        ("sulfasalazina", "sulfasalazine"),
        ("dapsome", None),  # 7 letters: too short
        ("quinidne", None),  # one edit from quinidine and from quinine
        ("chlorpropazine", None),  # between chlorpromazine and chlorpropamide
        ("clotrimoxazole", None),  # between clotrimazole and cotrimoxazole
        ("marcaptupurane", None),  # three edits
        ("bercaptopurine", None),  # another first letter
    ],
)
def test_a_misspelling_counts_only_if_it_is_long_and_near_to_one_drug(
    word: str, drug: str | None, tables: DrugTables
) -> None:
    resolved = resolve_drug_names(lines(drug_name=f"{word} 50 mg"), tables)

    assert drugs(resolved) == ({drug} if drug else set())


def test_the_score_tells_the_edits_per_letter(tables: DrugTables) -> None:
    scores = {
        text: resolve_drug_names(lines(drug_name=text), tables)["match_score"][0]
        for text in ("mercaptopurine", "merkaptopurine", "mercaptopurene", "see chart")
    }

    assert scores == {"mercaptopurine": 100.0, "merkaptopurine": 100.0, "mercaptopurene": 92.9, "see chart": None}


# ---- codes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"atc_code": "N05AH02"}, ("clozapine", "atc", True, False)),
        ({"atc_code": " n05ah02 "}, ("clozapine", "atc", True, False)),
        ({"atc_code": "L01XC02"}, ("rituximab", "atc", True, False)),  # the code of before 2022
        ({"atc_code": "S01AA01"}, ("chloramphenicol", "atc", False, False)),
        ({"atc_code": "D11AH01"}, ("tacrolimus", "atc", False, False)),
        ({"atc_code": "S01EC01"}, ("acetazolamide", "atc", True, False)),  # tablets in an eye class
        ({"rxcui": "2626"}, ("clozapine", "rxcui", True, False)),
        ({"atc_code": "N05AH02", "rxcui": "8640"}, ("clozapine", "atc", True, False)),
        ({"atc_code": "N05AH02", "drug_name": "Leponex 100"}, ("clozapine", "atc", True, False)),
        ({"atc_code": "N05AH02", "drug_name": "Klonopin"}, ("clozapine", "atc", True, True)),
        ({"atc_code": "H03BB02", "drug_name": "carbimazole"}, ("thiamazole", "atc", True, True)),
        ({"atc_code": "L03AA02"}, ("filgrastim", "atc", True, False)),
        ({"atc_code": "J01XX99", "drug_name": "linezolid"}, ("linezolid", "name", True, False)),
        ({"atc_code": "S01AA99", "drug_name": "gentamicin"}, ("gentamicin", "name", False, False)),
        ({"atc_code": "S01EC03", "drug_name": "Cosopt"}, (None, "atc_prefix", False, False)),
        ({"atc_code": "N03AE01", "drug_name": "clonazepam"}, (None, "known_not_a_cause", True, False)),
        ({"atc_code": "J01XX01", "drug_name": "fosfomycin"}, (None, "atc_prefix", True, False)),
        ({"atc_code": "J01CF99"}, (None, "atc_prefix", True, False)),
        ({"atc_code": "A99ZZ99"}, (None, "unmatched", True, False)),
        ({"atc_code": "J01CE01", "drug_name": "penicillin allergy"}, (None, "not_an_exposure", True, False)),
    ],
)
def test_code_before_name_and_class_last(
    sent: dict[str, str], expected: tuple[str | None, str, bool, bool], tables: DrugTables
) -> None:
    (row,) = resolve_drug_names(lines(**sent), tables).to_dicts()

    assert (row["ingredient"], row["matched_by"], row["is_systemic"], row["conflict"]) == expected


def test_code_and_name_that_agree_in_one_drug_are_taken_together(tables: DrugTables) -> None:
    resolved = resolve_drug_names(lines(atc_code="L01BC02", drug_name="FOLFOX"), tables)

    assert dict(resolved.select("ingredient", "matched_by").iter_rows()) == {
        "fluorouracil": "atc",
        "oxaliplatin": "regimen",
    }
    assert not resolved["conflict"].any()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("J01CF99", ("J01CF", "antibiotic_beta_lactam", True, False)),  # the longest class wins
        ("J01CX99", ("J01C", "antibiotic_beta_lactam", True, False)),
        ("L03AA99", ("L03AA", "none_protective", False, True)),
        ("S01EC03", ("S01EC03", "not_systemic", False, False)),
        ("H03BA", ("H03BA", "antithyroid", True, False)),  # a class sent instead of a drug
    ],
)
def test_class_fall_back(code: str, expected: tuple[str, str, bool, bool], tables: DrugTables) -> None:
    (row,) = resolve_drug_names(lines(atc_code=code), tables).to_dicts()

    assert (row["matched_text"], row["drug_class"], row["is_cause"], row["is_confounder"]) == expected
    assert (row["ingredient"], row["matched_by"]) == (None, "atc_prefix")


# ---- routes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drug_name", "route", "is_systemic"),
    [
        ("Vancomycin HCl", "IV", True),
        ("Vancomycin HCl", "PO", False),
        ("Vancomycin HCl", "PO/NG", False),
        ("Vancomycin HCl", None, True),
        ("Erythromycin", "OD", False),  # right eye in a route field
        ("Erythromycin 500 mg OD", "PO", True),  # once daily in a name
        ("Gentamicin", "Both Eyes", False),
        ("Gentamicin", "DWELL", False),
        ("Metronidazole", "Vaginal route", False),
        ("Methotrexate", "IT", True),
        ("Hydrocortisone", "IT", False),
        ("Nitrous oxide", "INH", True),
        ("Albuterol", "NEB", True),
        ("Mesalazine", "PR", True),
        ("Dexamethasone eye drops", "IV", False),  # a local product stays local
        ("Clindamycin", "somewhere", True),  # an unknown route counts
        ("Efudix", None, False),
    ],
)
def test_local_routes_do_not_count_unless_the_drugs_row_says_so(
    drug_name: str, route: str | None, is_systemic: bool, tables: DrugTables
) -> None:
    resolved = resolve_drug_names(lines(drug_name=drug_name, route=route), tables)

    assert resolved["ingredient"].is_not_null().all()
    assert resolved["is_systemic"].to_list() == [is_systemic]


def test_masking_drugs_are_told_from_causes(tables: DrugTables) -> None:
    resolved = resolve_drug_names(lines(drug_name="Neupogen; clozapine; ciclosporin"), tables)

    assert resolved.select("ingredient", "is_cause", "is_confounder", "effect").rows() == [
        ("ciclosporin", True, True, "may_raise_anc"),
        ("clozapine", True, False, None),
        ("filgrastim", False, True, "raises_anc"),
    ]


# ---- the join -------------------------------------------------------------------------------------------------------


def medications() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient_id": ["1", "1", "2", "2", "3", "4"],
            "drug_name": ["FOLFOX", None, "see chart", "see chart", "AZT", None],
            "atc_code": [None, "N05AH02", None, None, None, None],
            "rxcui": [None] * 6,
            "route": ["IV", None, None, "PO", None, None],
        },
        schema_overrides=dict.fromkeys(KEYS, pl.String),
    )


def test_no_line_is_lost_and_null_matches_null(tables: DrugTables) -> None:
    resolved = resolve_drug_names(medications(), tables)
    matched = match_medications(medications().lazy(), resolved).collect()

    assert matched.select("patient_id", "ingredient").rows() == [
        ("1", "fluorouracil"),
        ("1", "oxaliplatin"),
        ("1", "clozapine"),
        ("2", None),
        ("2", None),
        ("3", None),
        ("4", None),
    ]
    assert matched["matched_by"].is_not_null().all()


def test_unmatched_names_are_listed_with_counts(tables: DrugTables) -> None:
    matched = match_medications(medications().lazy(), resolve_drug_names(medications(), tables))

    assert unmatched_names(matched).collect().rows() == [("see chart", None, 2), ("AZT", "azt", 1), (None, None, 1)]


def test_the_order_of_lines_does_not_matter(tables: DrugTables) -> None:
    cases = pl.read_csv(GOLDEN_CASES, infer_schema=False).select(drug_name="text")

    forward, backward = (resolve_drug_names(order, tables) for order in (cases, cases.reverse()))

    assert forward.equals(backward)


def test_nothing_in_nothing_out(tables: DrugTables) -> None:
    nothing = resolve_drug_names(lines().clear(), tables)
    assert nothing.is_empty()
    assert dict(nothing.schema) == RESOLVED
    assert resolve_drug_names(lines(), tables)["matched_by"].to_list() == ["unmatched"]
    assert resolve_drug_names(lines(drug_name=" - "), tables)["matched_by"].to_list() == ["unmatched"]


# ---- the tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "value", "complaint"),
    [
        ("drug_causes.csv", "typical_onset_days_min", 9999, "typical_onset_ordered"),
        ("drug_causes.csv", "nadir_days_min", 9999, "nadir_ordered"),
        ("drug_causes.csv", "evidence", "certain", "evidence"),
        ("drug_causes.csv", "source", None, "source"),
        ("drug_causes.csv", "ingredient", "clozapine", "ingredient"),
        ("drug_causes.csv", "atc_codes", "N05AH02", "N05AH02"),
        ("drug_confounders.csv", "effect", "cures", "effect"),
        ("drug_synonyms.csv", "ingredient", "unobtainium", "unobtainium"),
        ("drug_synonyms.csv", "alias", "clozapine", "clozapine"),
        ("drug_routes.csv", "route", "telepathic", "route"),
        ("drug_routes.csv", "is_systemic", "false", "routes both systemic and not"),
        ("drug_text_rules.csv", "max_distance", 3, "max_distance"),
        ("atc_prefix_causes.csv", "evidence", "definite", "only_causes_have_evidence"),
    ],
)
def test_contradicting_tables_are_refused(
    name: str, column: str, value: str | int | None, complaint: str, tmp_path: Path
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


def test_every_source_says_how_it_was_checked() -> None:
    sources = pl.read_csv(FOLDER / "drug_sources.csv", infer_schema=False)

    assert sources["key"].is_unique().all()
    assert sources.null_count().sum_horizontal().item() == 0


# ---- a real list ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not MIMIC.exists(), reason="../shared/data/mimic3_demo is not here")
def test_drug_strings_of_a_real_hospital_match_as_checked_by_eye(tables: DrugTables) -> None:
    """The table in docs/drug_names.md was checked by eye; a change in matching must be checked again."""
    sent = pl.read_csv(MIMIC, infer_schema=False).select(drug_name="drug").unique()
    found = (
        resolve_drug_names(sent, tables)
        .filter(pl.col("ingredient").is_not_null())
        .group_by("ingredient", "matched_text")
        .agg(n=pl.col("drug_name").n_unique())
        .sort("ingredient", "matched_text")
    )
    names = pl.concat_str("matched_text", pl.format(" ({})", "n")).str.join(", ")
    table = found.group_by("ingredient", maintain_order=True).agg(names)
    checked = [
        tuple(line.strip("| ").split(" | "))
        for line in (PROJECT / "docs" / "drug_names.md")
        .read_text(encoding="utf-8")
        .partition("## Every match")[2]
        .splitlines()
        if line.startswith("| ") and not line.startswith("| ingredient")
    ]

    assert sent.height == DISTINCT_STRINGS_OF_MIMIC
    assert table.rows() == checked

"""The recipes of CONTRIBUTING.md: the files that they name are there, and a step that was forgotten is named."""

import ast
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neutro_screen.ingest import READERS
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.words import load_words
from neutro_screen.reference import FOLDER
from neutro_screen.reference.policy import policy_entries
from neutro_screen.store.schema import TABLES
from tests.formats.test_same_hospital import FORMATS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "neutro_screen" / "rules"
NAMES = ROOT / "tests" / "spec" / "vocabulary"

#: Files to write by hand, at most.
AT_MOST = {"A drug": 2, "A test name": 2, "A threshold": 3, "A rule": 5, "A format": 7, "A column": 4}

#: Words that the table held before a word had to stand in a collected name, and those that came beside a collected one as the
#: same word in other languages and endings; the words of panels, occasions and methods, language by language. Any other
#: new word says in `source` where it was seen; so these numbers only fall.
FIRST_WORDS = {
    "general laboratory usage of the language": 6743,
    "general laboratory usage: the same word in another language or ending as a collected one": 73,
    "general laboratory usage: the words of one language beside those of the others": 638,
    "analyser and laboratory information system codes: Sysmex, Beckman, Abbott, Siemens, Mindray, Horiba; NHANES; CDISC; "
    "Epic": 297,
    "RECOGNITION.md": 29,
    "IUPAC/NPU system prefixes of Nordic laboratories": 8,
}

#: Collected names with a word that the table leaves out on purpose: typing errors, and prefixes of one source.
LEFT_UNREAD = {
    "K Netrofilni granulociti rel",
    "NST#",
    "NetrofilBarang",
    "krt_cbc_abs_neutrophils",
    "krt_cbc_total_wbcs",
    "neut_p",
    "segmentkerninge neutrofielen",
    "staafkerninge neutrofielen",
    "Палочкоядерные нейрофилы",
}


def recipes() -> dict[str, list[str]]:
    """Recipe -> the files of its table."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("\n## Recipes\n")[2]
    parts = re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    return {title: re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE) for title, part in parts if title in AT_MOST}


def rows(path: Path) -> list[dict[str, Any]]:
    return pl.read_csv(path, infer_schema=False).to_dicts()


def files_of(pattern: str) -> list[Path]:
    """The files that a path of a recipe stands for: `…` is any name, `{a,b}` one of these."""
    before, _, rest = pattern.replace("…", "*").partition("{")
    names, _, after = rest.rpartition("}")
    return [path for name in names.split(",") for path in ROOT.glob(f"{before}{name}{after}")]


def test_there_are_six_recipes() -> None:
    assert set(recipes()) == set(AT_MOST)


@pytest.mark.parametrize("title", AT_MOST)
def test_a_recipe_names_files_that_are_there_and_few(title: str) -> None:
    files = recipes()[title]
    assert [path for path in files if not files_of(path)] == [], "a file was moved: mend the recipe"
    assert 0 < len(files) <= AT_MOST[title]


# A drug


def test_every_drug_has_an_order_line() -> None:
    cases = rows(ROOT / "tests" / "golden" / "drug_name_cases.csv")
    named = {name for case in cases for column in ("systemic", "local", "masks") for name in _listed(case[column])}
    drugs = {row["ingredient"] for row in rows(FOLDER / "drug_causes.csv")}
    assert sorted(drugs - named) == [], "no order line names it: add a row to tests/golden/drug_name_cases.csv"


def _listed(cell: str | None) -> list[str]:
    return (cell or "").split(";")


# A test name


def test_every_collected_name_is_read_to_its_last_word() -> None:
    names = {row["name"] for row in rows(NAMES / "names_positive.csv")} - LEFT_UNREAD
    unread = {name: read.unread or read.guess for name in names if (read := read_name(name)).certainty != "certain"}
    assert unread == {}, "a row of neutro_screen/reference/recognition_words.csv is missing"


def test_every_table_of_reference_data_is_read_against_its_contract() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "neutro_screen").rglob("*.py")
        if re.search(r"read_csv\(\s*_?FOLDER\b|read_csv\(folder /", path.read_text("utf-8"))
    ]
    assert readers == ["neutro_screen/reference/tables.py"], "call reference.reference_table with the table's contract"


def test_a_new_word_stands_in_a_collected_name() -> None:
    lists = ("names_positive.csv", "names_negative.csv")
    collected = [
        row["name"] for folder in (NAMES, *NAMES.glob("first_sight*")) for name in lists for row in rows(folder / name)
    ]
    seen = {word.text for name in collected for word in load_words().read(name)[0]}
    added = [row["word"] for row in rows(FOLDER / "recognition_words.csv") if row["source"] not in FIRST_WORDS]
    assert [word for word in added if word not in seen] == [], (
        "no name holds the word: add one to tests/spec/vocabulary/names_positive.csv, or names_negative.csv"
    )


def test_a_new_word_says_where_it_was_seen() -> None:
    table = pl.read_csv(FOLDER / "recognition_words.csv", infer_schema=False)
    counted = dict(table.group_by("source").len().iter_rows())
    more = {source: counted[source] - n for source, n in FIRST_WORDS.items() if counted.get(source, 0) > n}
    assert more == {}, "words added under these sources: say in `source` where each was seen"


# A threshold


def test_every_number_of_the_policy_is_used() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "neutro_screen").rglob("*.py") if path.name != "policy.py"]
    texts += [path.read_text("utf-8") for path in FOLDER.glob("*.csv")]
    used = {name for text in texts for name in re.findall(r"\.(\w+)", text)}
    numbers = {name: f"[{section}]" for section, name, *_ in policy_entries()}
    assert {name: section for name, section in numbers.items() if name not in used} == {}, "no rule reads the number"


# A rule


def test_every_rule_of_the_catalogue_is_named_by_the_code_that_applies_it() -> None:
    # DRG-8 is a view of the store, so the module of views that applies it counts as well.
    applied_in = [*RULES.rglob("*.py"), ROOT / "neutro_screen" / "store" / "drug_views.py"]
    code = "\n".join(path.read_text("utf-8") for path in applied_in)
    rules = [row["rule_id"] for row in rows(FOLDER / "rules.csv")]
    assert [rule for rule in rules if not re.search(rf"\b{rule}\b", code)] == [], (
        "neutro_screen/reference/rules.csv has the rule, no module of neutro_screen/rules names it"
    )


def test_every_function_of_a_rule_has_its_place() -> None:
    defined = {
        node.name: path.relative_to(ROOT).as_posix()
        for path in RULES.rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for path in (ROOT / "neutro_screen").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert {name: path for name, path in defined.items() if name not in used} == {}, (
        "nothing calls it: neutro_screen/rules/protocol.py gives a rule its place"
    )


# A format


def test_every_format_is_written_by_the_same_hospital() -> None:
    written = {name for name, *_ in FORMATS} | {"delimited"}  # what the others are compared with
    assert sorted(set(READERS) - written) == [], (
        "no writer: simulator/neutro_simulator/formats/, and its row of FORMATS in tests/formats/test_same_hospital.py"
    )


@pytest.mark.parametrize("place", ["docs/formats_page.py", "benchmarks/readers.py"])
def test_every_format_is_described_and_measured(place: str) -> None:
    text = (ROOT / place).read_text("utf-8")
    assert [name for name in READERS if f'"{name}"' not in text] == [], f"{place} does not know the format"


# A column


@pytest.mark.parametrize("table", TABLES)
def test_every_column_says_what_it_holds(table: str) -> None:
    columns = TABLES[table].to_schema().columns
    assert [name for name, column in columns.items() if not (column.description or "").strip()] == []

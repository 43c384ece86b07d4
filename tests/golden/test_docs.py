"""The generated pages are those of today's rules, policy, contracts, commands and tests; what the pages say is so."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from docs import build
from neutro_screen.cli.app import app
from neutro_screen.reference import FOLDER
from tests.nights import command

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES_BY_HAND = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(path for path in DOCS.rglob("*.md") if path.name not in build.PAGES),
]
MODULES = [
    path
    for folder in ("neutro_screen", "schemas", "simulator", "flows", "tests", "benchmarks", "docs")
    for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.parametrize("name", sorted(build.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    made = getattr(build, build.PAGES[name])()
    assert (ROOT / "docs" / name).read_text("utf-8") == made, "run `make docs`"


def test_every_rule_that_the_code_raises_is_in_the_catalogue() -> None:
    known = set(pl.read_csv(FOLDER / "rules.csv")["rule_id"])
    modules = [path.read_text("utf-8") for path in (ROOT / "neutro_screen" / "rules").rglob("*.py")]
    raised = {rule for module in modules for rule in re.findall(r'"((?!ICD-)[A-Z]{3,4}-\d+[a-z]?)"', module)}
    assert len(raised) >= 20
    assert not raised - known, f"{sorted(raised - known)}: add a row to neutro_screen/reference/rules.csv"


def test_every_rule_has_a_worked_example() -> None:
    examples = build.spec_examples()
    without = [rule for rule in build.rule_names().values() if not examples.get(rule)]
    assert not without, (
        f"{', '.join(without)}: the manual has no example; name a test in tests/spec after the rule: "
        f"test_{without[0].lower().replace('-', '_')}_what_it_shows"
    )
    page = build.rules_page()
    for rule in build.rule_names().values():
        section = page.partition(f"\n## {rule} ·")[2].partition("\n## ")[0]
        assert "\nExamples:\n\n- " in section, rule


def test_no_spec_test_is_named_after_a_rule_that_does_not_exist() -> None:
    names = build.rule_names()
    families = "|".join(sorted({name.partition("_")[0] for name in names}))
    tests = {
        match[1]: path.name
        for path in (ROOT / "tests" / "spec").glob("test_*.py")
        for match in re.finditer(rf"^def test_((?:{families})_\d+[a-z]?)_", path.read_text("utf-8"), re.MULTILINE)
    }
    assert tests
    assert {name: file for name, file in tests.items() if name not in names} == {}, (
        "neutro_screen/reference/rules.csv has no such rule: add its row, or mend the name of the test"
    )


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert page.name != "README.md" or links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", page.read_text("utf-8")))
    modules = {path.relative_to(ROOT).as_posix() for path in MODULES}
    assert [name for name in sorted(named) if not any(f"/{module}".endswith(f"/{name}") for module in modules)] == []


def test_every_command_and_option_says_what_it_does() -> None:
    page = (DOCS / "commands.md").read_text("utf-8")
    told = dict(re.findall(r"^## neutro-screen (\S+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(told) == {name for name in app if name not in ("--help", "-h", "--version")}
    for name, text in told.items():
        options = re.findall(r"^\* `([^`]+)`:?(.*)", text, re.MULTILINE)
        known = {argument.name for argument in app[name].assemble_argument_collection()} - {"*"}  # a group of options
        documented = {word.lstrip("-").lower() for names, _ in options for word in re.split(r"[, ]+", names)}
        assert {option.lstrip("-").lower() for option in known} <= documented, name
        assert [names for names, meaning in options if len(meaning.partition("*[")[0].strip()) < 4] == [], name
        assert name.startswith("--") or f"Example: ``neutro-screen {name}" in text


def test_the_quick_start_does_what_it_says(tmp_path: Path) -> None:
    told = ""
    page = (DOCS / "quick_start.md").read_text("utf-8")
    for act, place, text in re.findall(r"<!-- (file|append|run)(?:: (\S+))? -->\n```\w+\n(.*?)```", page, re.DOTALL):
        if act == "run":
            for line in text.splitlines():
                told += _ran(line, tmp_path)
            continue
        (tmp_path / place).parent.mkdir(exist_ok=True)
        with (tmp_path / place).open("a" if act == "append" else "w", encoding="utf-8") as file:
            file.write(text)
    assert "<!-- append" not in page, "the example needs no hand edit"
    assert "rows in 5 = accepted 4 + rejected 0 + no result 1" in told
    assert "◆ critical   00456" in told
    assert "recorded: acknowledged" in told
    assert "'00456" in (tmp_path / "reports" / "flagged.csv").read_text("utf-8-sig")


def test_the_site_is_built_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the docs site needs the extra docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    words = [sys.executable, "-m", "zensical", "build"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.name: page.read_text("utf-8") for page in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", *(page.with_suffix(".html").name for page in DOCS.glob("*.md"))} <= set(pages)
    loaded = r"<(?:script|img|iframe)[^>]+src=.?https?:|<link[^>]+(?:stylesheet|preload|icon)[^>]+href=.?https?:"
    assert [name for name, text in pages.items() if re.search(loaded, text)] == []


def _ran(line: str, folder: Path) -> str:
    words = re.findall(r'"([^"]*)"|(\S+)', line)
    arguments = [quoted or plain for quoted, plain in words][1:]
    done = command(*arguments, cwd=folder)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout

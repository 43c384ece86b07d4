"""The generated pages are those of today's rules, policy, contracts and tests."""

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.reference import FOLDER

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
assert _spec and _spec.loader
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


@pytest.mark.parametrize("name", sorted(build.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    made = getattr(build, build.PAGES[name])()
    assert (ROOT / "docs" / name).read_text("utf-8") == made, "run `make docs`"


def test_every_rule_that_the_code_raises_is_in_the_catalogue() -> None:
    known = set(pl.read_csv(FOLDER / "rules.csv")["rule_id"])
    raised = set()
    for path in (ROOT / "neutro_screen" / "rules").glob("*.py"):
        raised |= set(
            build.re.findall(
                r'"((?:ANC|SEV|EPI|TRD|RPD|DRG|MAL|INF|BMP|PER|CYC|CTX|FEV|MASK|WRK|PIT)-\d+b?)"',
                path.read_text("utf-8"),
            )
        )
    assert raised
    assert raised <= known


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = build.re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []

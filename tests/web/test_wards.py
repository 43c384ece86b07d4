"""Ward and requester in the page: seen in list and panel, found by the search, filtered by, kept in the address."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from playwright.sync_api import Page, expect

import neutro_screen
from neutro_screen.pipeline.options import moment

NIGHT = moment("2026-11-20T02:00")
#: patient, count in 10*9/L, ward, requester
PEOPLE = (
    ("A", "0.3", "7B, east", "Birch, Bea"),
    ("B", "0.4", "7B, east", ""),
    ("C", "0.4", "ICU", "Ash"),
    ("D", "0.9", "", ""),
    ("E", "clotted", "ICU", "Ash"),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wards")
    header = "patient_id,specimen_id,collected_at,analyte_name,value,unit,ward,requester"
    rows = [
        f'{who},{who}-1,2026-11-19T08:00,Neutrophils,{value},10*9/L,"{ward}","{by}"' for who, value, ward, by in PEOPLE
    ]
    (folder / "labs.csv").write_text("\n".join((header, *rows)) + "\n", "utf-8")
    neutro_screen.run(folder / "labs.csv", folder / "s.duckdb", as_of=NIGHT, reports=folder / "reports", max_rejected=1)
    return folder / "reports" / "report.html"


def ids(page: Page) -> list[str]:
    return page.locator("#list tbody tr[data-key]:visible .who a").all_inner_texts()


def test_a_ward_is_filtered_and_the_address_keeps_it(opened: Callable[..., Page], report: Path) -> None:
    page = opened(report)
    assert page.locator("#ward option").all_inner_texts() == ["all", "7B, east (2)", "ICU (1)", "unknown (1)"]
    page.locator("#ward").select_option("7B, east")
    assert ids(page) == ["A", "B"]
    expect(page.locator("#shown-count")).to_have_text("2 of 4 patients shown · ward 7B, east")
    assert "ward=7B, east" in unquote_plus(page.url)
    other = opened(report, fragment=f"#{page.url.partition('#')[2]}")
    assert ids(other) == ["A", "B"] and other.locator("#ward").input_value() == "7B, east"
    other.locator("#ward").select_option("unknown")
    assert ids(other) == ["D"]
    other.locator("#clear").click()
    assert ids(other) == ["A", "B", "C", "D"] and other.locator("#ward").input_value() == ""


def test_the_panel_names_both_and_the_search_finds_both(opened: Callable[..., Page], report: Path) -> None:
    page = opened(report)
    expect(page.locator(".panel:visible .asked")).to_have_text("Ward 7B, east · requested by Birch, Bea")
    for word, found in (("birch", ["A"]), ("icu", ["C"])):
        page.locator("#find").fill(word)
        assert ids(page) == found
    page.locator("#find").fill("")
    page.get_by_role("link", name="D", exact=True).click()
    expect(page.locator(".panel:visible .asked")).to_have_text("Ward unknown · requested by unknown")
    page.get_by_role("link", name="Cannot assess").first.click()
    expect(page.locator("#unknown-list tbody tr", has_text="E")).to_contain_text("ICU")


def test_on_a_small_screen_the_ward_stands_with_its_patient(opened: Callable[..., Page], report: Path) -> None:
    page = opened(report, width=390, height=800)
    row = page.locator("#list tbody tr[data-key]").first
    expect(row.locator(".ward")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

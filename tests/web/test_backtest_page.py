"""The page of a backtest in a browser: no request, no message, nothing cut off, whatever stands in the names."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Page

from neutro_schemas import PRIORITIES, Priority
from neutro_screen.report.backtest import BacktestContents, PolicyFigures, write_backtest

HOSTILE = "</style><script>document.title='run'</script>"
AXE = Path(__file__).parent / "assets" / "axe.min.js"
FIRST = datetime(2025, 1, 1, 2)


def figures(policy: str, alerts: int) -> PolicyFigures:
    """A year of nights of which all are alike, and two falls, one of them seen before."""
    nights = pl.DataFrame({"as_of": [FIRST + timedelta(days=day) for day in range(365)]}).with_columns(
        **{name: pl.lit(alerts // 5) for name in PRIORITIES}, alerts=pl.lit(alerts), to_read=pl.lit(alerts // 10)
    )
    falls = pl.DataFrame(
        {
            "patient_id": [HOSTILE, "P-2"],
            "episode_id": ["e1", "e2"],
            "reached_at": [FIRST + timedelta(days=30), FIRST + timedelta(days=40)],
            "anc_cells_per_ul": [120.0, 480.0],
            "anc_comparator": ["<", None],
            "lead_h": [None, 60.0],
            "first_priority": pl.Series([None, "high"], dtype=Priority),
        }
    )
    names = (
        "alerts_median alerts_most new_median new_total new_urgent_total to_read_median to_read_most to_read_total "
        "falls falls_seen_before share_seen_before lead_days_median lead_days_lower_quartile lead_days_upper_quartile "
        "falls_seen_urgent urgent_lead_days_median"
    )
    told = dict.fromkeys(names.split(), 1.0) | {"falls": 2, "falls_seen_before": 1, "share_seen_before": 0.5}
    return PolicyFigures(policy, nights, falls, {"policy": policy} | told)


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    """The page of two policies, one of them with a hostile name."""
    contents = BacktestContents(
        first=FIRST,
        last=FIRST + timedelta(days=364),
        received="result",
        rows=1000,
        patients=10,
        software_version="0",
        policies=[figures("present policy", 40), figures(HOSTILE, 0)],
    )
    return write_backtest(contents, tmp_path / "out")


def test_the_page_is_whole_and_runs_nothing(page_file: Path) -> None:
    text = page_file.read_text("utf-8")
    assert "<script" not in text
    assert "&lt;/style&gt;&lt;script&gt;" in text
    paths = re.findall(r' d="([^"]*)"', text)
    assert [len(re.findall("M", path)) for path in paths] == [365] * 6, "five priorities and what is to be read"
    assert not [path for path in paths if re.search(r"[^Mhvz\d.,-]", path)]
    csv = (page_file.parent / "backtest_falls.csv").read_text("utf-8")
    assert csv.count("\n") == 5


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light")])
def test_the_page_fits_asks_for_nothing_and_says_nothing_to_the_console(
    opened: Callable[..., Page], page_file: Path, width: int, scheme: str
) -> None:
    page = opened(page_file, width, color_scheme=scheme)
    assert page.title().startswith("Neutropenia screen, backtest 1 Jan 2025 to 31 Dec 2025")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg.nightly").count() == 4
    assert page.locator("svg.nightly path.critical").first.bounding_box()["width"] > 100  # type: ignore[index]
    # The policy of the page allows no script, that of the accessibility check neither.
    checked = opened(page_file, width, color_scheme=scheme, bypass_csp=True)
    checked.add_script_tag(path=str(AXE))
    assert [found["id"] for found in checked.evaluate("axe.run()")["violations"]] == []

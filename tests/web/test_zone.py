"""The time axis of the charts has the days of the profile's zone, as the texts beside them have."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import neutro_screen
from neutro_screen.pipeline.options import moment

#: The places of the dots and of the ticks of the first chart, in its own pixels.
_PLACES = """() => {
  const svg = document.querySelector('.panel:not([hidden]) .charts svg'), box = svg.getBoundingClientRect();
  const middle = (one) => { const at = one.getBoundingClientRect(); return (at.left + at.right) / 2 - box.left; };
  const ticks = [...svg.querySelectorAll('path')].filter((one) => one.getAttribute('d') === 'M0,0L0,4');
  return [[...svg.querySelectorAll('circle, path[d*="A"]')].map(middle), ticks.map(middle)];
}"""


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "UTC"])
def test_a_count_at_local_midnight_stands_at_a_tick(opened: Callable[..., Page], tmp_path: Path, zone: str) -> None:
    (tmp_path / "profile.toml").write_text(f'time_zone = "{zone}"\n', "utf-8")
    rows = [
        f"A,S{day},2026-11-{day}T00:00,Neutrophils,{value},10*9/L" for day, value in ((16, 0.9), (17, 0.7), (18, 0.4))
    ]
    header = "patient_id,specimen_id,collected_at,analyte_name,value,unit"
    (tmp_path / "labs.csv").write_text("\n".join((header, *rows)) + "\n", "utf-8")
    for night in ("2026-11-19T02:00", "2026-11-20T02:00"):
        neutro_screen.run(
            tmp_path / "labs.csv",
            tmp_path / "s.duckdb",
            as_of=moment(night),
            reports=tmp_path / "reports",
            profile=tmp_path / "profile.toml",
        )
    page = opened(tmp_path / "reports" / "report.html")
    expect(page.locator(".panel:visible .charts svg").first).to_be_visible()
    dots, ticks = page.evaluate(_PLACES)
    assert len(dots) >= 3 and len(ticks) >= 3
    for dot in dots:
        assert min(abs(dot - tick) for tick in ticks) < 1
    page.get_by_role("link", name="Overview").click()
    evening = zone == "America/New_York"
    expect(page.locator("#changes")).to_contain_text("18 Nov 2026" if evening else "19 Nov 2026")

"""The library's door: what docs/api.md shows is what happens, and type checkers know every name."""

import doctest
from pathlib import Path

import mypy.api
import pytest

import neutro_screen

ROOT = Path(__file__).parents[2]

GOOD = """
from typing import assert_type

import polars as pl

import neutro_screen

extract = neutro_screen.read("labs.csv", medications=["drugs.csv"], profile="hospital.toml")
assert_type(extract, neutro_screen.Extract)
assert_type(extract.labs, pl.DataFrame)
result = neutro_screen.screen(extract, as_of="2026-11-22T02:00")
assert_type(result, neutro_screen.Screening)
assert_type(result.worklist, pl.DataFrame)
assert_type(result.unrecognised, pl.DataFrame)
neutro_screen.screen(pl.LazyFrame(), as_of="2026-11-22", policy="policy.toml")
summary = neutro_screen.run("labs.csv", "screen.duckdb", max_rejected=0.1)
assert_type(summary, neutro_screen.RunSummary)
assert_type(summary.account.rows_in, int)
assert_type(neutro_screen.__version__, str)
"""
#: A line, and what a type checker says of it.
SLIPS = {
    "neutro_screen.reed('labs.csv')": "attr-defined",
    "neutro_screen.read('labs.csv', kind='labs')": "arg-type",
    "neutro_screen.screen(neutro_screen.read('labs.csv'))": "call-arg",
    "neutro_screen.screen([1, 2], as_of='2026-11-22')": "arg-type",
    "neutro_screen.run('labs.csv')": "call-arg",
    "neutro_screen.screen(neutro_screen.read('labs.csv'), as_of='2026-11-22').wroklist": "attr-defined",
}


def test_a_type_checker_knows_every_name_and_finds_every_slip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text(GOOD, "utf-8")
    (tmp_path / "slips.py").write_text("\n".join(["import neutro_screen", *SLIPS, ""]), "utf-8")
    monkeypatch.chdir(ROOT)
    files = [str(tmp_path / name) for name in ("good.py", "slips.py")]
    report, problems, _ = mypy.api.run([*files, "--no-error-summary", "--hide-error-context"])
    assert problems == ""
    assert [line for line in report.splitlines() if "good.py" in line] == []
    found = {int(line.split(":")[1]): line for line in report.splitlines() if ": error: " in line}
    assert sorted(found) == list(range(2, len(SLIPS) + 2)), report
    assert [
        code for (_, code), number in zip(SLIPS.items(), sorted(found), strict=True) if code not in found[number]
    ] == []


def test_every_name_at_the_door_is_there() -> None:
    assert all(getattr(neutro_screen, name) is not None for name in neutro_screen.__all__)
    with pytest.raises(AttributeError, match="no attribute 'reed'"):
        neutro_screen.reed  # noqa: B018 - type: the attribute does not exist, which is what is asked
    for module in ("__init__.py", "api.py"):
        assert "Any" not in (ROOT / "neutro_screen" / module).read_text("utf-8").split()


def test_the_page_of_the_library_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(ROOT / "docs" / "api.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert result.attempted >= 12

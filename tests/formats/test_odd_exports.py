"""Exports of twenty hospitals, from `init` to the worklist without a hand edit and without a name (ADR 19)."""

from pathlib import Path

import polars as pl
import pytest

from neutro_screen import read, screen
from neutro_screen.admin.propose import propose_profile
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from tests.formats.odd_exports import EXPECTED, GIVEN, SURNAMES, WRITERS


def proposed(layout: str, folder: Path) -> tuple[Path, Path]:
    """The export and the profile that is proposed from it."""
    export, profile = WRITERS[layout](folder), folder / "profile.toml"
    text = propose_profile(export)
    assert not [name for name in SURNAMES + GIVEN if name.lower() in text.lower()]
    profile.write_text(text, "utf-8")
    return export, profile


@pytest.mark.parametrize("layout", list(WRITERS))
def test_every_row_of_an_odd_export_is_read(layout: str, tmp_path: Path) -> None:
    export, profile = proposed(layout, tmp_path)
    result = screen(read(str(export), profile=str(profile)), as_of="2026-11-21")
    latest = result.patient_status.sort("patient_id")
    found = latest.select("last_anc_cells_per_ul", "last_anc_comparator", pl.col("current_severity").cast(pl.String))
    assert found.rows() == EXPECTED
    assert result.anc.height == 11


@pytest.mark.parametrize("layout", ["german_sap", "spanish", "portal", "two_values", "indian"])
def test_from_an_odd_export_to_the_right_worklist(layout: str, tmp_path: Path) -> None:
    export, profile = proposed(layout, tmp_path)
    store = tmp_path / "s.duckdb"
    run(RunOptions(labs=(str(export),), store=store, profile=profile, as_of=moment("2026-11-21")))
    with reading(store) as connection:
        status = read_table(connection, "SELECT * FROM patient_status ORDER BY patient_id")
        cannot = read_table(connection, "SELECT patient_id FROM cannot_assess")
    found = status.select("last_anc_cells_per_ul", "last_anc_comparator", pl.col("current_severity").cast(pl.String))
    assert found.rows() == EXPECTED
    assert status["has_rapid_decline"][0]
    assert cannot["patient_id"].to_list() == [status["patient_id"][4]]

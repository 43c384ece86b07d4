"""Whatever one cell holds, the other rows are read and concluded as without it: single cells of files of every format.

Some hundred cells a format; benchmarks/poison_cells.py damages as many as there is time for.
"""

from pathlib import Path
from time import process_time

import pytest

from benchmarks.poison_cells import PoisonedHospital, difference
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.specimens import read_specimen
from neutro_screen.recognition.units import read_unit
from tests.formats.poison import Delimited, Hit
from tests.formats.poison_sources import SOURCES


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_damaged_cell_changes_no_other_row(name: str, tmp_path: Path) -> None:
    cells, faults = PoisonedHospital(name, tmp_path, seed=1, patients=30).round(seed=7)
    assert cells > 100
    assert [fault for fault in faults if fault.is_single] == []


def test_the_campaign_finds_a_reader_that_loses_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in which a damaged record takes the next one with it."""
    hospital = PoisonedHospital("delimited", tmp_path, seed=1, patients=6)
    path, part = next((path, part) for path, part in hospital.source.parts.items() if part.kind == "lab")
    hits = {(path, 3): Hit("value", "1e308", lambda cells: [*cells[:6], b"1e308", *cells[7:]])}
    whole = Delimited.written

    def losing(self: Delimited, hits: object, without: object = ()) -> bytes:
        return whole(self, hits, {4}) if hits and self is part else whole(self, hits, without)  # type: ignore[arg-type]

    monkeypatch.setattr(Delimited, "written", losing)
    assert difference(hospital.source, hospital.clean, hits) == "1 other rows of labs lost or changed"


@pytest.mark.parametrize("text", ["x", "a ", "1,", "neutro", ":"])
def test_a_cell_of_a_megabyte_holds_up_no_night(text: str) -> None:
    """Words that grew with the square of the cell took a minute for 3,000 characters."""
    began = process_time()
    for read in (read_name, read_unit, read_specimen):
        read(text * ((1 << 20) // len(text)))
        read(text * (900 // len(text)))
    assert process_time() - began < 10

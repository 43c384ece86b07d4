"""Cells of workbooks whose number is not what the sheet shows: percentages, dates that were numbers, serial numbers."""

import zipfile
from pathlib import Path

import pytest

from neutro_screen.ingest import ingest
from neutro_screen.ingest.formats.excel_formats import percent_cells
from tests.formats.hospital_files import write_xlsx

HEADER = ("patient_id", "collected_at", "loinc", "value", "unit")
STYLES = (
    '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="1">'
    '<numFmt numFmtId="170" formatCode="0.0\\ %"/></numFmts><cellStyleXfs count="1"><xf numFmtId="9"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="9"/><xf numFmtId="170"/><xf numFmtId="2"/></cellXfs></styleSheet>'
)


def workbook(folder: Path, cell: str, unit: str = "%") -> Path:
    """One row whose value is the given cell of the sheet's XML, in a workbook with percent styles."""
    plain, path = folder / "plain.xlsx", folder / "labs.xlsx"
    write_xlsx(plain, [HEADER, ("P1", "2026-01-10", "770-8", 77777, unit)])
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(path, "w") as copy:
        for part in archive.namelist():
            content = archive.read(part).decode()
            if "77777" in content:
                start = content.rindex("<c", 0, content.index("77777"))
                end = content.index("</c>", start) + 4
                content = content[:start] + cell + content[end:]
            copy.writestr(part, content)
        copy.writestr("xl/styles.xml", STYLES)
    return path


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('<c r="D2" s="1"><v>0.2</v></c>', "20%"),
        ('<c s="1" r="D2" t="n"><v>0.005</v></c>', "0.5%"),
        ("<c s='2' r='D2'><v>0.455</v></c>", "45.5%"),
        ('<c s="1"><v>0.2</v></c>', "20%"),
        ('<c r="D2" s="3"><v>0.2</v></c>', "0.2"),
        ('<c r="D2"><v>20</v></c>', "20"),
        ('<c r="D2" s="1" t="inlineStr"><is><t>QNS</t></is></c>', "QNS"),
    ],
)
def test_a_cell_shown_as_a_percentage_is_that_percentage(tmp_path: Path, cell: str, value: str) -> None:
    path = workbook(tmp_path, cell)
    assert ingest({"lab": [str(path)]}).labs["value_text"].to_list() == [value]


def test_without_percent_styles_no_sheet_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "plain.xlsx"
    write_xlsx(path, [HEADER, ("P1", "2026-01-10", "770-8", 20, "%")])
    assert percent_cells(path) in ([set()], [])

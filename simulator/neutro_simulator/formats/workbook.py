"""The hospital as Excel workbooks, written by hand: what reads them is not what wrote them."""

import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from neutro_simulator.formats.native import Paths, frames_by_kind
from neutro_simulator.hospital import Hospital


def write_excel(of: Hospital, folder: Path) -> Paths:
    """Two title lines, a header, and every run of a patient's rows under one merged identifier."""
    paths = {}
    for kind, frame in frames_by_kind(of).items():
        rows: list[Sequence[Any]] = [("Haematology export",), (), tuple(frame.columns)]
        merges = []
        for _, run in frame.group_by("patient_id", maintain_order=True):
            first = len(rows) + 1
            rows += [(row[0] if position == 0 else None, *row[1:]) for position, row in enumerate(run.iter_rows())]
            if run.height > 1:
                merges.append(f"A{first}:A{len(rows)}")
        write_xlsx(folder / f"{kind}.xlsx", rows, merges)
        paths[kind] = [str(folder / f"{kind}.xlsx")]
    return paths


def write_xlsx(path: Path, rows: Iterable[Sequence[Any]], merges: Sequence[str] = (), sheet: str = "Labs") -> None:
    """A workbook of one sheet; numbers as numbers, times as ISO dates, everything else as text."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for position, value in enumerate(row):
            reference = f"{chr(ord('A') + position)}{number}"
            if isinstance(value, datetime):
                cells.append(f'<c r="{reference}" t="d"><v>{value.isoformat()}</v></c>')
            elif isinstance(value, int | float):
                cells.append(f'<c r="{reference}"><v>{value}</v></c>')
            elif value is not None:
                cells.append(f'<c r="{reference}" t="inlineStr"><is><t>{escape(value)}</t></is></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    merged = "".join(f'<mergeCell ref="{merge}"/>' for merge in merges)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            (
                f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
                f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
                f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
                f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/></Types>'
            ),
        )
        archive.writestr(
            "_rels/.rels",
            (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
                f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
            ),
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
                f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
            ),
        )
        archive.writestr(
            "xl/workbook.xml",
            (
                f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
                f'<sheet name="{sheet}" sheetId="1" r:id="rId1"/></sheets></workbook>'
            ),
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            (
                f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData>'
                + (f'<mergeCells count="{len(merges)}">{merged}</mergeCells>' if merges else "")
                + "</worksheet>"
            ),
        )

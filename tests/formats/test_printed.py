"""Tables as programs print them are read by their columns, or refused with what to do: no row is lost and no cell moved.

Everything is invented; what SQL*Plus, psql, mysql, sqlcmd and DuckDB print is imitated by general knowledge.
"""

from pathlib import Path

import pytest

from neutro_screen import read, screen
from neutro_screen.admin.propose import propose_profile
from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest.printed import printed_table

HEADER = ("MRN", "COLLECTED", "TEST", "RESULT", "UNITS")
ROWS = (
    ("4501", "2026-11-18 08:00", "NEUTROPHILS ABS", "0.3", "K/uL"),
    ("4501", "2026-11-18 08:00", "WBC", "1.5", "K/uL"),
    ("4502", "2026-11-18 08:10", "NEUTROPHILS ABS", "4.4", "K/uL"),
    ("4503", "2026-11-18 08:20", "NEUTROPHILS ABS", "0.9", "K/uL"),
)
COUNTS = {"4501": 300, "4502": 4400, "4503": 900}
WIDTHS = (10, 17, 17, 8, 8)


def padded(cells: tuple[str, ...], between: str) -> str:
    """Cells as wide as their column."""
    return between.join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))


def rule(between: str, line: str = "-") -> str:
    """A line under a header."""
    return between.join(line * width for width in WIDTHS)


def framed(cells: tuple[str, ...], side: str = "|") -> str:
    """Cells in a frame."""
    return f"{side} {padded(cells, f' {side} ')} {side}"


def frame(line: str = "-", left: str = "+", cross: str = "+", right: str = "+") -> str:
    """The line of a frame that ``framed`` cells stand in."""
    return left + cross.join(line * (width + 2) for width in WIDTHS) + right


SQLPLUS = [
    "SQL> select * from labs;",
    "",
    "Haematology          Page: 1",
    padded(HEADER, " "),
    rule(" "),
    *(padded(row, " ") for row in ROWS[:2]),
    "",
    "\fHaematology          Page: 2",
    padded(HEADER, " "),
    rule(" "),
    *(padded(row, " ").rstrip() for row in ROWS[2:]),
    "",
    "4 rows selected.",
    "",
    "SQL> spool off",
]
PRINTED = {
    "SQL*Plus, two pages": SQLPLUS,
    "SQL*Plus in German": [line.replace("4 rows selected.", "4 Zeilen ausgewählt.") for line in SQLPLUS],
    "SQL*Plus in French, with a separator": [
        padded(HEADER, "|"),
        rule("|"),
        *(padded(row, "|") for row in ROWS),
        "4 lignes sélectionnées.",
    ],
    "db2": [
        "SELECT * FROM LAB",
        "",
        padded(HEADER, " "),
        rule(" "),
        *(padded(row, " ") for row in ROWS),
        "  4 record(s) selected.",
    ],
    "BTEQ": [
        " *** Query completed. 4 rows found. 5 columns returned.",
        "",
        padded(HEADER, "  "),
        rule("  "),
        *(padded(row, "  ") for row in ROWS),
        "",
        "BTEQ -- Enter your SQL request:",
    ],
    "isql, moved by a blank": [f" {x}" for x in (padded(HEADER, " "), rule(" "), *(padded(row, " ") for row in ROWS))],
    "IRIS, ruled by two dashes": [framed(HEADER), "| -- " * 5 + "|", *map(framed, ROWS), "4 Rows(s) Affected"],
    "snowsql": [
        frame(),
        framed(HEADER),
        frame("-", "|"),
        *map(framed, ROWS),
        frame(),
        "4 Row(s) produced. Time Elapsed: 0.3s",
    ],
    "a printed list with one rule": [
        "LOG   NOV 20,2026",
        padded(HEADER, "  "),
        "-" * 70,
        *(padded(row, "  ") for row in ROWS),
    ],
    "numbered rows, moved to the right": [
        "   " + "  ".join(cell.rjust(width) for cell, width in zip(HEADER, WIDTHS, strict=True)),
        *(
            f"{number}  " + "  ".join(cell.rjust(width) for cell, width in zip(row, WIDTHS, strict=True))
            for number, row in enumerate(ROWS)
        ),
    ],
    "carets": ["^".join(HEADER), *map("^".join, ROWS)],
    "psql": [padded(HEADER, " | "), rule("-+-"), *(padded(row, " | ") for row in ROWS), "(4 rows)"],
    "mysql": [frame(), framed(HEADER), frame(), *map(framed, ROWS), frame(), "4 rows in set (0.01 sec)"],
    "ruled between rows": [frame(), framed(HEADER), frame("="), *(x for row in ROWS for x in (framed(row), frame()))],
    "DuckDB with a line of types": [
        frame("─", "┌", "┬", "┐"),
        framed(HEADER, "│"),
        framed(("varchar",) * 5, "│"),
        frame("─", "├", "┼", "┤"),
        *(framed(row, "│") for row in ROWS),
        frame("─", "└", "┴", "┘"),
    ],
    "Markdown": ["# Labs", "", framed(HEADER), frame("-", "|", "|", "|"), *map(framed, ROWS)],
    "sqlcmd with commas": [
        ",".join(HEADER),
        ",".join("-" * len(x) for x in HEADER),
        *map(",".join, ROWS),
        "(4 rows affected)",
    ],
    "blanks alone": [
        "Laboratory list",
        "",
        padded(HEADER, "  "),
        *(padded(row, "  ").rstrip() for row in ROWS),
        "",
        "End",
    ],
    "a header again, as of files put together": [
        ",".join(HEADER),
        *map(",".join, ROWS[:2]),
        ",".join(HEADER),
        *map(",".join, ROWS[2:]),
    ],
}


def written(lines: list[str], folder: Path) -> tuple[Path, Path]:
    """The export and the profile that is proposed for it."""
    export, profile = folder / "export.lst", folder / "profile.toml"
    export.write_text("\n".join(lines) + "\n", "utf-8")
    profile.write_text(propose_profile(export), "utf-8")
    return export, profile


@pytest.mark.parametrize("lines", PRINTED.values(), ids=PRINTED.keys())
def test_a_printed_table_is_read_by_its_columns(lines: list[str], tmp_path: Path) -> None:
    export, profile = written(lines, tmp_path)
    extract = read(str(export), profile=str(profile))
    found = screen(extract, as_of="2026-11-21")
    assert dict(found.patient_status.select("patient_id", "last_anc_cells_per_ul").iter_rows()) == COUNTS
    assert found.cannot_assess.is_empty()
    assert [each for each in extract.refused["lab"] if each.patient_id] == []


def test_a_spool_that_was_cut_off_is_refused_by_the_number_of_rows_under_it(tmp_path: Path) -> None:
    export, profile = written(SQLPLUS, tmp_path)
    export.write_text("\n".join(SQLPLUS[:-5] + SQLPLUS[-4:]), "utf-8")
    with pytest.raises(RefusedInputError, match="holds 3 rows, its sender counted 4"):
        read(str(export), profile=str(profile))


def test_a_value_wider_than_its_column_is_a_refused_row_of_a_named_patient(tmp_path: Path) -> None:
    export, profile = written(SQLPLUS, tmp_path)
    wide = padded(("4504", "2026-11-18 08:20", "NEUTROPHILS ABSOLUTE MANUAL", "0.1", "K/uL"), " ")
    export.write_text("\n".join([*SQLPLUS[:7], wide, *SQLPLUS[7:]]), "utf-8")
    refused = read(str(export), profile=str(profile)).refused["lab"]
    assert [(each.patient_id, each.reason) for each in refused] == [("4504", "too_few_fields")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["-[ RECORD 1 ]----", "mrn | 4501"], "one column a line"),
        (
            [
                "MRN        TAKEN",
                "---------- ----------------",
                "TEST       RESULT",
                "---------- ------",
                "4501       x",
            ],
            "over several lines",
        ),
        ([*SQLPLUS, "DRUG       STARTED", "---------- -------", "x          y"], "a second table"),
    ],
    ids=["expanded", "wrapped", "two tables"],
)
def test_what_cannot_be_told_apart_is_refused_with_what_to_do(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInputError, match=said) as refusal:
        written(lines, tmp_path)
    assert "export CSV" in str(refusal.value)


def test_columns_that_blanks_do_not_tell_apart_are_no_table() -> None:
    lines = ["MRN   TEST   RESULT   UNITS", "4501 ANC abs 0.3 K/uL", "4502 Neutrophils 4.4 K/uL"]
    assert printed_table(lines, "list.txt") is None

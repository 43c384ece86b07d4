"""Dataset-JSON as lines says what it says as one document, however its cells are written; odd lines cost only themselves."""

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_screen.ingest.formats import cdisc
from neutro_screen.ingest.formats.even_json import even_arrays
from neutro_screen.ingest.profile import Profile

COLUMNS = ("USUBJID", "LBSEQ", "LBTESTCD", "LBORRES", "LBORRESU", "LBREASND", "LBDTC")
HEAD = {"datasetJSONVersion": "1.1.0", "columns": [{"name": name} for name in COLUMNS]}
CELLS = (
    *("", " ", ", ", ",", '"', '","', "[", "]", "\\", "a\\", "null", "true", "1.50", "a, b", " padded ", "\ufeffmark"),
    *(
        "/\u00b5L",
        "10\u2079/L",
        "\ud800",
        "\u2028",
        "tab\tin it",
        "line\nend",
        "\U0001f489",
        "\u0000",
        "a/b",
        "x" * 300,
    ),
    *(
        None,
        True,
        False,
        0,
        -0.0,
        8.17,
        1.50,
        400,
        -3,
        1e-7,
        1e22,
        10**30,
        0.1 + 0.2,
        [],
        {},
        ["a"],
        ["a", "b"],
        {"a": 1},
    ),
)
NOTATIONS = {
    "as Python writes": {},
    "without spaces": {"separators": (",", ":")},
    "spaces before commas": {"separators": (" , ", ":")},
    "letters beyond ASCII as they are": {"ensure_ascii": False},
}


def rows() -> list[list[object]]:
    """Each cell once in every place, among rows that have nothing odd."""
    plain = ["P-001", 1, "NEUT", "0.4", "10*9/L", None, "2026-01-10T08:00"]
    odd = [[*plain[:at], cell, *plain[at + 1 :]] for cell in CELLS for at in range(len(COLUMNS))]
    return [row for each in odd for row in (plain, each)]


def read(path: Path) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    batches = [batch for _, batch in cdisc.read_cdisc(path, "lab", Profile())]
    refused = [(line.source_row, line.reason) for batch in batches for line in batch.refused]
    return pl.concat(batch.rows for batch in batches), refused


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("notation", NOTATIONS)
def test_lines_say_what_the_document_says(tmp_path: Path, notation: str, line_end: str) -> None:
    style = NOTATIONS[notation]
    lines = [json.dumps(part, **style).encode("utf-8", "replace").decode() for part in (HEAD, *rows())]
    (tmp_path / "lb.ndjson").write_bytes(line_end.join(lines).encode())
    (tmp_path / "lb.json").write_text('{"rows": [' + ",".join(lines[1:]) + "]," + lines[0][1:], "utf-8")
    by_line, refused = read(tmp_path / "lb.ndjson")
    by_document, _ = read(tmp_path / "lb.json")
    # The first line has the columns.
    assert_frame_equal(by_line, by_document.with_columns(pl.col("source_row") + 1))
    assert not refused


@pytest.mark.parametrize(
    "broken",
    [
        *(
            '["P-009","1"',
            '"P-009"]',
            '["P-009", 01, "NEUT", "0.4", "", "", ""]',
            '["P-009"x, 1, "NEUT", "4", "", "", ""]',
        ),
        *(
            '["P-009", 1, "NEUT", "4", "", "", "", ""]',
            '["P-009", , "NEUT", "4", "", "", ""]',
            "[",
            "]",
            "[]",
            "{}",
            '"',
        ),
        *(
            '["P-009", 1, "NEUT", "4", "", "", "\\x"]',
            '["P-009", 1, "NEUT", "4", "" "", "", ""]',
            "[1, 1, 1, 1, 1, 1, --1]",
        ),
    ],
)
def test_a_broken_line_costs_only_itself(tmp_path: Path, broken: str) -> None:
    whole = json.dumps(["P-001", 1, "NEUT", "0.4", "10*9/L", None, "2026-01-10"])
    path = tmp_path / "lb.ndjson"
    path.write_text("\n".join([json.dumps(HEAD), whole, broken, whole, "", broken, whole]), "utf-8")
    table, refused = read(path)
    assert table["source_row"].to_list() == [2, 4, 7]
    assert table.select("patient_id", "value").rows() == [("P-001", "0.4")] * 3
    assert refused == [(3, "ragged_line"), (6, "ragged_line")]


def test_usual_lines_are_even() -> None:
    """The quick way is taken: what it leaves is parsed line by line, twenty times slower."""
    usual = [["P-001", 1, "NEUT", "0.4", "/\u00b5L", None, 8.170], ["P-002", 2, "WBC", "4, about", "10^9/L", "x", True]]
    text = "".join(json.dumps(row) + "\n" for row in usual * 5_000).encode()
    even = even_arrays(text, len(COLUMNS))
    assert even.places.tolist() == list(range(10_000))
    assert [column[-1] for column in even.cells] == ["P-002", "2", "WBC", "4, about", "10^9/L", "x", "true"]
    assert even.is_text[0].tolist() == [True, False, True, True, True, False, False]

"""What a file holds steers nothing: escape sequences, carriage returns and direction marks reach no terminal, page or table."""

import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from neutro_screen.cli.app import main
from neutro_screen.errors import UNSEEN, NeutroScreenError, visible
from tests.nights import NIGHT, SAMPLE

#: ESC [ 2 J clears a terminal, C1 CSI does the same in one sign, U+202E turns what follows around, BEL rings, DEL, a tag.
SIGNS = "\x1b[2J\x9b2J\u202e\x07\x7f\u200b\U000e0041"
_ANY = re.compile(f"[{UNSEEN}]")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital with such signs in every text of three sick patients, and in the names of the files."""
    folder = tmp_path_factory.mktemp(f"h{SIGNS}")
    labs = (SAMPLE / "labs.csv").read_text("utf-8")
    for patient in ("P-001", "P-002", "P-003"):
        labs = labs.replace(f"{patient},", f"{patient}{SIGNS},")
    header, *lines = labs.splitlines()
    columns = header.split(",")
    marked = []
    for line in lines:
        cells = line.split(",")
        if SIGNS in line and len(cells) == len(columns):
            for name in ("lab", "specimen_id", "analyte_name"):
                cells[columns.index(name)] += SIGNS
        marked.append(",".join(cells))
    broken = f"P-001{SIGNS},S-9,{SIGNS}"
    (folder / f"labs{SIGNS}.csv").write_text("\n".join([header, *marked, broken]) + "\n", "utf-8")
    medications = (SAMPLE / "medications.csv").read_text("utf-8").splitlines()
    medications.append(medications[1].replace(medications[1].split(",")[0], f"P-001{SIGNS}"))
    medications.append(medications[1].replace(medications[1].split(",")[1], f"unknown{SIGNS}"))
    (folder / "medications.csv").write_text("\n".join(medications) + "\n", "utf-8")
    return folder


def said(*words: str) -> tuple[int, str]:
    """Exit code and everything that a command wrote."""
    text, code = io.StringIO(), 0
    with redirect_stdout(text), redirect_stderr(text), patch.object(sys, "argv", ["neutro-screen", *words]):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
    return code, text.getvalue()


def test_no_output_of_any_command_holds_an_unseen_sign(hospital: Path) -> None:
    store, reports = hospital / f"s{SIGNS}.duckdb", hospital / f"reports{SIGNS}"
    labs, patient = str(hospital / f"labs{SIGNS}.csv"), f"P-001{SIGNS}"
    inputs = ["--labs", labs, "--medications", str(hospital / "medications.csv")]
    of_store = ["--store", str(store)]
    commands = [
        ["check", *inputs, "--as-of", NIGHT],
        ["run", *inputs, *of_store, "--reports", str(reports), "--as-of", NIGHT],
        ["run", *inputs, *of_store, "--as-of", "2026-11-23T02:00", "--json"],
        ["worklist", *of_store],
        ["worklist", *of_store, "--csv"],
        ["worklist", *of_store, "--json"],
        ["explain", patient, *of_store],
        ["explain", patient, *of_store, "--json"],
        ["doctor", *of_store],
        ["review", patient, *of_store, "--status", "acknowledged", "--note", SIGNS, "--by", SIGNS],
        ["report", *of_store, "--reports", str(reports)],
        ["retention", *of_store, "--patient", patient],
        ["explain", f"{patient}-unknown", *of_store],
        ["run", "--labs", f"{labs}.gone", *of_store],
        ["run", *inputs, *of_store, "--policy", f"{labs}.toml"],
    ]
    for words in commands:
        code, text = said(*words)
        assert code in ((10, 11, 14) if words in commands[-3:] else (0, 1) if words[0] == "doctor" else (0,)), words
        assert _ANY.sub("", text) == text, words[0]
    for path in reports.iterdir():
        text = path.read_text("utf-8").replace("\u200b", "")  # the page's chart library has this one
        assert _ANY.sub("", text.removeprefix("\ufeff").replace("\r\n", "\n")) == text, path.name
        assert "\N{REPLACEMENT CHARACTER}" in text, path.name


def test_an_error_is_written_without_unseen_signs_and_json_stays_json() -> None:
    assert _ANY.search(str(NeutroScreenError(SIGNS, where=SIGNS))) is None
    assert json.loads(visible(json.dumps({"a": SIGNS}))) == {"a": SIGNS}
    assert visible("line\n\tof µmol/L, Ł, 中") == "line\n\tof µmol/L, Ł, 中"

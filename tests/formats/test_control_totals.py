"""Control totals: a file that is not what its sender has is not used; one that is reads as without them."""

import gzip
import hashlib
from pathlib import Path

import pytest

from neutro_screen.errors import ConfigurationError, NeutroScreenError, RefusedInputError, UnreadableInputError
from neutro_screen.ingest import Extract, ingest
from neutro_screen.ingest.profile import ControlTotals, Profile, load_profile

HEADER = "patient_id,specimen_id,collected_at,loinc,value,unit\n"
ROWS = [f"P{n},S{n},2026-11-20 08:00,751-8,2.{n},10*9/L\n" for n in range(1, 6)]
WHOLE = HEADER + "".join(ROWS)
#: Cut at the end of a line: every reader takes it for a whole file.
CUT = HEADER + "".join(ROWS[:3])
TRAILER = r"^TRAILER;(\d+)$"


def read(folder: Path, **control: object) -> Extract:
    """All files of a folder with these control totals."""
    return ingest({"lab": [str(folder)]}, Profile(control=ControlTotals.model_validate(control)))


def written(folder: Path, text: str, **beside: str) -> Path:
    """The extract, and other files by name."""
    (folder / "labs.csv").write_text(text, "utf-8")
    for name, content in beside.items():
        (folder / name.replace("__", ".")).write_text(content, "utf-8")
    return folder


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_whole_file_reads_as_without_control_totals(tmp_path: Path) -> None:
    manifest = f"file,rows,sha256\nlabs.csv,5,{sha256(WHOLE).upper()}\n"
    written(tmp_path, WHOLE, labs__csv__sha256=f"{sha256(WHOLE)}  labs.csv\n", manifest__csv=manifest)
    found = read(tmp_path, checksum=".sha256", manifest="manifest.csv", required=True)
    assert found.labs.height == 5
    assert [file.name for file in found.files] == ["labs.csv"]


@pytest.mark.parametrize(
    ("beside", "control", "error"),
    [
        ({"labs__csv__sha256": f"{sha256(WHOLE)}  labs.csv"}, {"checksum": ".sha256"}, UnreadableInputError),
        (
            {"manifest__csv": f"file,sha256\nlabs.csv,{sha256(WHOLE)}"},
            {"manifest": "manifest.csv"},
            UnreadableInputError,
        ),
        ({"manifest__csv": "file,rows\nlabs.csv,5"}, {"manifest": "manifest.csv"}, RefusedInputError),
        ({}, {"trailer": TRAILER}, RefusedInputError),
        ({}, {"checksum": ".sha256", "required": True}, RefusedInputError),
        (
            {"manifest__csv": "file,rows\nother.csv,5"},
            {"manifest": "manifest.csv", "required": True},
            RefusedInputError,
        ),
        ({"labs__csv__sha256": "no sum"}, {"checksum": ".sha256"}, UnreadableInputError),
        ({"manifest__csv": "name;rows\nlabs.csv;3"}, {"manifest": "manifest.csv"}, UnreadableInputError),
    ],
)
def test_a_file_cut_at_a_line_end_is_not_used(
    tmp_path: Path, beside: dict[str, str], control: dict[str, object], error: type[NeutroScreenError]
) -> None:
    written(tmp_path, CUT, **beside)
    with pytest.raises(error):
        read(tmp_path, **control)


def test_a_count_that_differs_says_both_numbers(tmp_path: Path) -> None:
    written(tmp_path, CUT, manifest__csv="file,rows\nlabs.csv,5\n")
    with pytest.raises(RefusedInputError, match="holds 3 rows, its sender counted 5"):
        read(tmp_path, manifest="manifest.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_trailer_is_no_row(tmp_path: Path, end: str, encoding: str) -> None:
    (tmp_path / "labs.csv").write_bytes((WHOLE + "TRAILER;5" + end).encode(encoding))
    found = read(tmp_path, trailer=TRAILER)
    assert found.labs.height == 5
    assert found.refused["lab"] == []


def test_a_trailer_of_a_compressed_file_with_damaged_lines_counts_them(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "labs.csv.gz", "wt", encoding="utf-8") as file:
        file.write(WHOLE + "too,few\nTRAILER;6\n")
    found = read(tmp_path, trailer=TRAILER)
    assert (found.labs.height, len(found.refused["lab"])) == (5, 1)


@pytest.mark.parametrize("control", [{"trailer": TRAILER}, {"manifest": "manifest.csv"}])
def test_a_header_that_is_repeated_is_none_of_the_rows_that_the_sender_counted(
    tmp_path: Path, control: dict[str, object]
) -> None:
    end = "TRAILER;5\n" if "trailer" in control else ""
    text = HEADER + "".join(ROWS[:2]) + HEADER + "".join(ROWS[2:]) + end
    written(tmp_path, text, manifest__csv="file,rows\nlabs.csv,5\n")
    assert read(tmp_path, **control).labs.height == 5


def test_a_trailer_with_another_number_refuses_the_file(tmp_path: Path) -> None:
    written(tmp_path, CUT + "TRAILER;5\n")
    with pytest.raises(RefusedInputError, match="holds 3 rows, its sender counted 5"):
        read(tmp_path, trailer=TRAILER)


@pytest.mark.parametrize("entry", ['trailer = "no group"', 'trailer = "("', 'checksum = ""', 'unknown = "x"'])
def test_an_impossible_setting_is_an_error_of_the_profile(tmp_path: Path, entry: str) -> None:
    (tmp_path / "profile.toml").write_text(f"[control]\n{entry}\n", "utf-8")
    with pytest.raises(ConfigurationError):
        load_profile(tmp_path / "profile.toml")

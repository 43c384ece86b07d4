"""Files that cannot or must not be read: the right kind of error, one clear message, never a patient's value."""

import codecs
import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neutro_screen.errors import ConfigurationError, NeutroScreenError, RefusedInputError, UnreadableInputError
from neutro_screen.ingest import READERS, Extract, files, ingest, read_batches, together
from neutro_screen.ingest.formats import delimited, even_lines
from neutro_screen.ingest.formats.lines import LONGEST_LINE
from neutro_screen.ingest.profile import Profile, load_profile
from tests.formats.hospital_files import write_xlsx

HEADER = "patient_id,specimen_id,collected_at,loinc,analyte_name,value,unit"
ROW = "SECRET-MRN,S1,2026-01-10T08:00:00,751-8,ANC,0.4,10*3/uL"
TABLE = f"{HEADER}\n{ROW}\n"


def labs(path: Path, **options: str) -> pl.DataFrame:
    return ingest({"lab": [str(path)]}, **options).labs


def written(tmp_path: Path, content: str | bytes, name: str = "labs.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, error: type[NeutroScreenError] = UnreadableInputError) -> str:
    with pytest.raises(error) as raised:
        labs(path)
    message = str(raised.value)
    assert "SECRET" not in message
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("name", ["labs.csv", "labs.parquet", "labs.xlsx", "labs.json", "labs.hl7"])
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_empty_files(tmp_path: Path, name: str, content: bytes) -> None:
    refusal(written(tmp_path, content, name))


@pytest.mark.parametrize(
    "name",
    ["labs.csv", "labs.parquet", "labs.xlsx", "labs.csv.gz", "labs.csv.zst", "labs.duckdb", "labs.dat", "labs.ndjson"],
)
def test_noise(tmp_path: Path, name: str) -> None:
    noise = bytes(range(256)) * 40
    with pytest.raises(NeutroScreenError) as raised:
        labs(written(tmp_path, noise, name))
    assert raised.value.exit_code in (11, 12)


def test_no_header(tmp_path: Path) -> None:
    assert "none of the expected columns is in the first line" in refusal(
        written(tmp_path, f"{ROW}\n{ROW}\n"), RefusedInputError
    )


def test_header_only_is_no_error(tmp_path: Path) -> None:
    assert labs(written(tmp_path, f"{HEADER}\n")).height == 0


@pytest.mark.parametrize("column", ["patient_id", "value", "unit", "collected_at"])
def test_missing_column(tmp_path: Path, column: str) -> None:
    message = refusal(written(tmp_path, TABLE.replace(column, "other")), RefusedInputError)
    assert f"required lab column missing: {column}" in message


def test_repeated_column(tmp_path: Path) -> None:
    assert "stand twice" in refusal(written(tmp_path, TABLE.replace("specimen_id", "value")), RefusedInputError)


def test_old_line_ends(tmp_path: Path) -> None:
    assert "carriage returns" in refusal(written(tmp_path, TABLE.replace("\n", "\r")), RefusedInputError)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    assert labs(written(tmp_path, TABLE.replace(",", delimiter)))["value_text"].to_list() == ["0.4"]


def test_a_delimiter_the_profile_gets_wrong(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    with pytest.raises(RefusedInputError, match="none of the expected columns"):
        ingest({"lab": [str(path)]}, Profile(delimiter=";"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_unicode_files(tmp_path: Path, encoding: str) -> None:
    text = TABLE.replace("10*3/uL", "Tsd/µl")
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    assert labs(written(tmp_path, mark + text.encode(encoding)))["unit_text"].to_list() == ["Tsd/µl"]


def test_latin_1_is_guessed_and_noted(tmp_path: Path) -> None:
    extract = ingest({"lab": [str(written(tmp_path, TABLE.replace("10*3/uL", "Tsd/µl").encode("latin-1")))]})
    assert extract.labs["unit_text"].to_list() == ["Tsd/µl"]
    assert "decoded_as_cp1252" in extract.files[0].notes


def test_an_encoding_the_profile_gets_wrong(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE.replace("10*3/uL", "Tsd/µl").encode("latin-1"))
    extract = ingest({"lab": [str(path)]}, Profile(encoding="utf-8"))
    assert [line.reason for line in extract.refused["lab"]] == ["undecodable_text"]
    with pytest.raises(UnreadableInputError, match="is not text in utf-16"):
        ingest({"lab": [str(path)]}, Profile(encoding="utf-16-le"))
    with pytest.raises(UnreadableInputError, match="is not text in klingon"):
        ingest({"lab": [str(path)]}, Profile(encoding="klingon"))


def test_a_quote_left_open_swallows_no_patient(tmp_path: Path) -> None:
    """Everything behind it would be one field of one row; each line is read for itself instead."""
    header, row = TABLE.splitlines()[:2]
    patients = [f"Q{number:03d}" for number in range(60)]
    lines = [row.replace(row.split(",")[0], patient) for patient in patients]
    lines[20] = '"' + lines[20]
    lines[40] = '"' + lines[40]
    lines[50] = "too,few"
    extract = ingest({"lab": [str(written(tmp_path, "\n".join([header, *lines, ""]).encode()))]})
    refused = {line.source_row: line.reason for line in extract.refused["lab"]}
    assert refused == {22: "broken_quotes", 42: "broken_quotes", 52: "too_few_fields"}
    read = dict(extract.labs.select("patient_id", "source_row").iter_rows())
    assert read == {name: place + 2 for place, name in enumerate(patients) if place not in (20, 40, 50)}


def test_quotes_left_open_on_every_line_are_refused_line_by_line(tmp_path: Path) -> None:
    header, row = TABLE.splitlines()[:2]
    extract = ingest({"lab": [str(written(tmp_path, "\n".join([header, *[f'x"y,"{row}'] * 99, ""]).encode()))]})
    assert [line.source_row for line in extract.refused["lab"]] == [*range(2, 101)]
    assert {line.reason for line in extract.refused["lab"]} == {"broken_quotes"}


def test_a_file_in_many_batches_is_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, row = TABLE.splitlines()[:2]
    lines = [row.replace(row.split(",")[0], f"Q{number:05d}") for number in range(6_000)]
    lines[4_500] = "too,few"
    path = written(tmp_path, "\n".join([header, *lines, ""]).encode())
    whole = ingest({"lab": [str(path)]})
    monkeypatch.setattr(delimited, "ROWS_A_BATCH", 2_048)
    monkeypatch.setattr(even_lines, "_LOOK", 16_384)
    batches = list(read_batches({"lab": [str(path)]}))
    assert len(batches) == 3
    assert sum(batch.rows.height for batch in batches) == 5_999
    assert pl.concat(batch.rows for batch in batches).equals(whole.labs)
    assert [file.rows for file in together(batch.file for batch in batches)] == [6_000]
    assert whole.labs["source_row"].to_list() == [*range(2, 4_502), *range(4_503, 6_002)]


def test_ragged_lines_and_broken_quotes_are_refused_rows(tmp_path: Path) -> None:
    extract = ingest({"lab": [str(written(tmp_path, f'{TABLE}a,b\n{ROW},more\n{ROW}\nx,"y,z\n'))]})
    assert [(line.source_row, line.reason) for line in extract.refused["lab"]][:2] == [
        (3, "too_few_fields"),
        (4, "too_many_fields"),
    ]
    assert extract.labs["source_row"].to_list() == [2, 5]


def test_a_very_long_line(tmp_path: Path) -> None:
    line = "x" * (LONGEST_LINE + 10)
    for end in ("\n", ""):
        extract = ingest({"lab": [str(written(tmp_path, f"{TABLE}{line}{end}"))]})
        assert [(refused.source_row, refused.reason) for refused in extract.refused["lab"]] == [(3, "line_too_long")]
        assert len(extract.refused["lab"][0].row) <= 2000
        assert extract.labs.height == 1
    assert "longer than 2 MB" in refusal(written(tmp_path, line))


def test_a_huge_file_without_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    os.truncate(path, 1 << 28)  # sparse: takes no room on the disk
    assert "zero bytes" in refusal(path)
    path = written(tmp_path, "", "lines.csv")
    os.truncate(path, 1 << 28)
    refusal(path)


def test_zero_bytes(tmp_path: Path) -> None:
    assert "zero bytes" in refusal(written(tmp_path, f"{HEADER}\0\0\0\n{ROW}\n"))


@pytest.mark.parametrize("cut", [0.3, 0.7])
@pytest.mark.parametrize("name", ["labs.csv.gz", "labs.csv.zst"])
def test_damaged_archives(tmp_path: Path, name: str, cut: float) -> None:
    import pyarrow as pa

    path = tmp_path / name
    with pa.output_stream(str(path), compression="gzip" if name.endswith("gz") else "zstd") as target:
        target.write(TABLE.encode() * 50)
    assert labs(path).height >= 1
    os.truncate(path, int(path.stat().st_size * cut))
    assert "is not a readable" in refusal(path)


def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ALWAYS_ALLOWED_BYTES", 1 << 20)
    path = written(tmp_path, gzip.compress(b"\n" * (64 << 20)), "labs.csv.gz")
    assert "unpacks to far more" in refusal(path)


@pytest.mark.parametrize("cell", [b"XFD1048576", b"K1111111111111111111111111111111111114", b"CCCCCCCCCCCCCCCCCCCCC7"])
@pytest.mark.parametrize("before", [b"", b't="inlineStr"'], ids=["", "no-space-before-the-attribute"])
def test_a_workbook_bomb(tmp_path: Path, cell: bytes, before: bytes) -> None:
    path = tmp_path / "labs.xlsx"
    write_xlsx(path, [HEADER.split(","), ROW.split(",")])
    import zipfile

    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(bomb, "w") as copy:
        for part in archive.namelist():
            content = archive.read(part)
            copy.writestr(part, content.replace(b' r="G2"', b' %sr="%s"' % (before, cell)))
    assert labs(path).height == 1
    assert "spans too many cells" in refusal(bomb)


@pytest.mark.parametrize("pattern", ["nothing.csv", "no*.csv"])
def test_no_such_file(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UnreadableInputError, match="no such file"):
        labs(tmp_path / pattern)


def test_a_folder_without_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "the folder holds no files" in refusal(tmp_path / "empty")


def test_a_file_of_no_known_format(tmp_path: Path) -> None:
    assert "is of no known format" in refusal(written(tmp_path, "x", "labs.docx"))


def test_a_format_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no format 'lotus'"):
        labs(written(tmp_path, TABLE), format_name="lotus")


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_named_format_that_it_is_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(NeutroScreenError) as raised:
        labs(written(tmp_path, "SECRET-MRN\n"), format_name=name)
    assert raised.value.exit_code in (11, 12)
    assert "SECRET" not in str(raised.value)


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, TABLE)
    opened = Path.open

    def denied(self: Path, *mode: str, **options: str) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *mode, **options)

    monkeypatch.setattr(Path, "open", denied)
    assert refusal(path) == "labs.csv: cannot be read (Permission denied)"


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "labs.csv"
    path.symlink_to(tmp_path / "gone.csv")
    assert "No such file" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text(TABLE + f"{ROW}\n"),
        lambda path: os.utime(path, (1, 1)),
        lambda path: os.replace(written(path.parent, TABLE, "new.csv"), path),
    ],
    ids=["grows", "is touched", "is replaced"],
)
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    path = written(tmp_path, TABLE)
    unpack = delimited.unpacked

    def changing(file: Path, folder: Path) -> Path:
        change(path)
        return unpack(file, folder)

    monkeypatch.setattr(delimited, "unpacked", changing)
    assert "changed while it was read" in refusal(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "profile cannot be read"),
        ("nmae = 'x'", "nmae"),
        ("time_zone = 'Mars'", "not an IANA time zone"),
        ("[lab.columns]\nmrn = 'MRN'", "unknown column names"),
        ("decimal_mark = ';'", "decimal_mark"),
    ],
)
def test_profiles_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_profile(written(tmp_path, text, "profile.toml"))


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"profile\.toml: profile cannot be read"):
        load_profile(tmp_path / "profile.toml")


@pytest.mark.parametrize("missing", ["labevents.csv", "d_labitems.csv"])
def test_a_mimic_folder_with_a_file_missing(tmp_path: Path, missing: str) -> None:
    (tmp_path / "labevents.csv").write_text("subject_id,itemid,charttime,value,valueuom\n1,51301,2150-01-01,4,K/uL\n")
    (tmp_path / "d_labitems.csv").write_text("itemid,label,fluid\n51301,WBC,Blood\n")
    assert labs(tmp_path).height == 1
    (tmp_path / missing).unlink()
    with pytest.raises(UnreadableInputError, match=missing):
        labs(tmp_path, format_name="mimic")


def test_a_mimic_file_without_its_columns(tmp_path: Path) -> None:
    (tmp_path / "labevents.csv").write_text("subject_id,itemid,charttime,value\n1,51301,2150-01-01,4\n")
    (tmp_path / "d_labitems.csv").write_text("itemid,label,fluid\n51301,WBC,Blood\n")
    with pytest.raises(RefusedInputError, match="columns of MIMIC missing: valueuom"):
        labs(tmp_path)


def test_parquet_with_a_nested_column(tmp_path: Path) -> None:
    path = tmp_path / "labs.parquet"
    pl.DataFrame(
        {"patient_id": ["SECRET"], "value": [[1]], "unit": ["x"], "loinc": ["1"], "collected_at": ["2026-01-01"]}
    ).write_parquet(path)
    refusal(path)


@pytest.mark.parametrize("address", ["postgresql://u:SECRET@localhost:1/cdm", "POSTGRES://u:SECRET@localhost:1/cdm"])
def test_a_database_that_cannot_be_reached_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(UnreadableInputError) as raised:
        ingest({"lab": [address]})
    assert "SECRET" not in str(raised.value)
    assert "the PostgreSQL database cannot be read" in str(raised.value)


def test_other_addresses_are_refused_without_their_password() -> None:
    with pytest.raises(ConfigurationError, match="mysql://: no storage of this kind") as raised:
        ingest({"lab": ["mysql://u:SECRET@localhost/cdm"]})
    assert "SECRET" not in str(raised.value)


def test_another_format_from_postgresql_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="from PostgreSQL only OMOP is read"):
        ingest({"lab": ["postgresql://u@localhost:1/cdm"]}, format_name="fhir")


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(ConfigurationError, match=r"\.\[postgres\]"):
        ingest({"lab": ["postgresql://u@localhost:1/cdm"]})


def test_a_missing_column_is_told_beside_those_that_the_file_has(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "patient_id,value\nSECRET,1\n"), RefusedInputError)
    assert (
        "required lab column missing: unit. The file has 2 columns; of the expected ones patient_id, value. " in message
    )


def test_a_parquet_file_whose_text_is_no_text(tmp_path: Path) -> None:
    columns = {name: pa.array([value]) for name, value in zip(HEADER.split(","), ROW.split(","), strict=True)}
    path = tmp_path / "labs.parquet"
    pq.write_table(pa.table(columns), path)
    assert labs(path).height == 1
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table(columns | {"analyte_name": broken}), path)
    assert "is not a readable Parquet file" in refusal(path)


EVEN = [
    f"{HEADER}\nP1,S1,2026-01-10T08:00:00,751-8,ANC,0.4,10*3/uL\nP2,,2026-01-10, 751-8 ,Größe,NULL,\n",
    f"\ufeff{HEADER}\r\nP1,S1,2026-01-10T08:00:00,751-8,ANC,0.4,10*3/uL\r\nP2,S2,,,,,",
    f"{HEADER}\r\nP1,S1,2026-01-10,751-8,ANC,0.4,\r\nP2,S2,,,,,\nP3,S3,2026-01-10,,,1,\r\n",
    f"{HEADER}\n,,,,,,\n'P1,#S1,x,NA,null,\t,\\N\n",
    f"{HEADER}\nP1," + "S" * 300_000 + ",2026-01-10,751-8,ANC,0.4,\n",
    f"{HEADER}\n" + "P1,S1,2026-01-10T08:00:00,751-8,ANC,0.4,10*3/uL\n" * 9_999,
    f"{HEADER}\n",
    f'{HEADER}\r\n"P1","S,1",2026-01-10,751-8,"the ""old"" ANC","0,4",""\r\nP2,,"",,,"""","x"\r\n"P3",,,,,,"y"',
]
WITH_ODD_LINES = [
    f"{HEADER}\nP1,S1,2026-01-10,751-8,ANC,0.4\nP2,S1,2026-01-10,751-8,ANC,0.4,,\nP3,S1,2026-01-10,751-8,ANC,1,\n",
    f'{HEADER}\n"P1,S1",2026-01-10,751-8,ANC,0.4,\nP2,S1,2026-01-10,"751,8",ANC,0.4,G/L\n',
    f"{HEADER}\nP1,S1,2026-01-10,751-8,ANC\r,0.4,\nP2,S1,2026-01-10,751-8,ANC,1,\n",
    f"{HEADER}\n\nP1,S1,2026-01-10,751-8,ANC,0.4,\n  \n\nP2,S1,2026-01-10,751-8,ANC,1,\n\n\n",
    f"{HEADER}\nP1,S1,2026-01-10,751-8,ANC\0,0.4,\nP2,S1,2026-01-10,751-8,ANC,1,\n",
    f'{HEADER}\nP1,S1,2026-01-10,751-8,5" tube,0.4,\nP2,S1,2026-01-10,751-8,a"b"c,1,\nP3,S1,2026-01-10,751-8,ANC,1,\n',
    f'{HEADER}\nP1,S1,2026-01-10,751-8,"the \\"old\\" ANC",0.4,\nP2,S1,2026-01-10,751-8,ANC,1,\n',
    f"{HEADER}\nP1,S1,2026-01-10,751-8,Größe,0.4,\n".encode() + "P2,S2,2026-01-10,751-8,Größe,0.4,\n".encode("latin-1"),
]
WITH_OPEN_QUOTES = [
    f'{HEADER}\nP1,S1,2026-01-10,751-8,"ANC\nof today",0.4,\nP2,S1,2026-01-10,751-8,ANC,1,\n',
    f'{HEADER}\nP1,S1,2026-01-10,751-8,"ANC,0.4,\nP2,S1,2026-01-10,751-8,ANC,1,\n',
]


def read_both_ways(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Extract, Extract, bool]:
    """The extract, the same read line by line, and whether no line of the first was."""
    by_line = list[object]()
    long_way = delimited._line_by_line
    with monkeypatch.context() as patch:
        patch.setattr(delimited, "_line_by_line", lambda *given: by_line.append(given) or long_way(*given))
        short, is_short = ingest({"lab": [str(path)]}), not by_line
        patch.setattr(even_lines, "LONGEST_LINE", 0)
        long = ingest({"lab": [str(path)]})
        assert by_line or not long.labs.height
        return short, long, is_short


@pytest.mark.parametrize("text", [*EVEN, *WITH_ODD_LINES, *WITH_OPEN_QUOTES])
def test_rows_and_refused_lines_are_those_of_reading_line_by_line(
    tmp_path: Path, text: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long, is_short = read_both_ways(written(tmp_path, text), monkeypatch)
    assert is_short == (text not in WITH_OPEN_QUOTES)
    assert short.labs.equals(long.labs)
    assert short.refused == long.refused


@pytest.mark.parametrize("line", ['P1,S{n},2026-01-10,751-8,5" tube,0.4,', "P1,S{n},2026-01-10,751-8,too few", "\n"])
def test_many_odd_lines_are_read_a_few_at_a_time(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export may be wrong on every line: what is kept of it must not grow with the file."""
    lines = "\n".join(line.replace("{n}", str(number)) for number in range(400))
    path = written(tmp_path, f"{HEADER}\n{lines}\nP2,S2,2026-01-10,751-8,ANC,0.4,\n")
    whole = ingest({"lab": [str(path)]})
    monkeypatch.setattr(even_lines, "MOST_ODD", 100)
    monkeypatch.setattr(delimited, "ROWS_A_BATCH", 100)
    batches = list(read_batches({"lab": [str(path)]}))
    assert max(batch.rows.height + len(batch.refused) for batch in batches) <= 100
    assert pl.concat(batch.rows for batch in batches).equals(whole.labs)
    assert tuple(refused for batch in batches for refused in batch.refused) == tuple(whole.refused["lab"])


@pytest.mark.parametrize("seed", range(3))
def test_lines_of_random_signs_are_split_as_by_reading_line_by_line(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line swallows or loses another, however quotes, delimiters and line ends follow each other."""
    drawn, width, n_short = np.random.default_rng(seed), len(HEADER.split(",")), 0
    usual = ["", "x", "P 1", "µ", '"x"', '"a,b"', '"a""b"', '""', '""""']
    fields = [*usual, '"x"y', 'x"y', '"x', " ", '5"', "\r", "\0x"]
    for _ in range(60):
        lines = [
            ",".join(
                drawn.choice(usual if drawn.random() < 0.8 else fields, drawn.choice([width] * 9 + [1, width + 1]))
            )
            for _ in range(drawn.integers(0, 9))
        ]
        end = str(drawn.choice(["\n", "\r\n"]))
        text = end.join([HEADER, *lines]) + end * int(drawn.integers(0, 3))
        short, long, is_short = read_both_ways(written(tmp_path, text), monkeypatch)
        assert short.labs.equals(long.labs), text
        assert short.refused == long.refused, text
        n_short += is_short
    assert n_short > 20

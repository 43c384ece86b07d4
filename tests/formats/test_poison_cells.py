"""Whatever one cell holds, the other rows are read: every reader, several kinds of poison (part of every row counted)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.ingest import Extract, ingest
from neutro_simulator import Hospital
from tests.formats.hospital_files import write_parquet
from tests.formats.mutations import WRITERS, small_hospital

MARKER = "POISONED"
Clean = Callable[[str], list[tuple[object, ...]]]
#: Formats whose files can be changed byte by byte, and how a lone surrogate is written there.
TEXT_FORMATS = {"delimited": b"\xed\xa0\x80", "hl7v2": b"\xed\xa0\x80", "fhir": b"\\ud800", "mimic": b"\xed\xa0\x80"}
TEXT_FORMATS |= {"omop": b"\xed\xa0\x80", "cdisc": b"\\ud800"}
HUGE = 40 << 20


def poisoned(of: Hospital, column: str, text: str) -> Hospital:
    """The hospital with this text in one cell of its fourth laboratory row."""
    is_hit = pl.int_range(pl.len()) == 3
    return replace(of, labs=of.labs.with_columns(pl.when(is_hit).then(pl.lit(text)).otherwise(column).alias(column)))


def written(name: str, of: Hospital, folder: Path) -> list[str]:
    folder.mkdir()
    paths = WRITERS[name](of, folder)["lab"]
    for table in Path(paths[0]).glob("*.parquet") if name == "omop" else ():
        pl.read_parquet(table).write_csv(table.with_suffix(".csv"))
        table.unlink()
    return paths


def files_of(paths: list[str]) -> list[Path]:
    source = Path(paths[0])
    return sorted(source.iterdir()) if source.is_dir() else [source]


def others(extract: Extract, of: Hospital) -> list[tuple[object, ...]]:
    """What was read of every row but the fourth, whose number is the place of its specimen and value."""
    hit = of.labs.row(3, named=True)
    is_hit = (pl.col("patient_id") == hit["patient_id"]) & (pl.col("loinc") == hit["loinc"])
    is_hit &= pl.col("collected_at") == pl.lit(hit["collected_at"]).str.to_datetime("%Y-%m-%dT%H:%M:%S")
    columns = ("patient_id", "collected_at", "value_text", "unit_text", "status_text")
    kept = extract.labs.filter(~is_hit.fill_null(False))
    return sorted(kept.select(columns).rows(), key=str)


@pytest.fixture(scope="module")
def hospital() -> Hospital:
    return small_hospital()


@pytest.fixture(scope="module")
def clean(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """What is read of a format's file without poison, of every row but the fourth; read once."""

    @cache
    def read(name: str) -> list[tuple[object, ...]]:
        paths = written(name, hospital, tmp_path_factory.mktemp("clean") / name)
        return others(ingest({"lab": paths}), hospital)

    return read


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("text", ["1e308", "1e999", "-1e308", "9" * 400, "NaN"])
def test_a_number_beyond_all_numbers(name: str, text: str, hospital: Hospital, clean: Clean, tmp_path: Path) -> None:
    if name in ("fhir", "omop", "omop_database", "cdisc_xpt", "cdisc") and text in ("9" * 400, "NaN"):
        pytest.skip("the writer of this format has numbers only, or short fields")
    extract = ingest({"lab": written(name, poisoned(hospital, "value", text), tmp_path / "hit")})
    assert others(extract, hospital) == clean(name)
    assert extract.labs.height + len(extract.refused["lab"]) == 12


@pytest.mark.parametrize("name", sorted(TEXT_FORMATS))
@pytest.mark.parametrize("poison", ["zero byte", "lone surrogate", "40 MB", "lone carriage return", "quote left open"])
def test_a_cell_that_is_no_text(name: str, poison: str, hospital: Hospital, clean: Clean, tmp_path: Path) -> None:
    column = "analyte_name" if name in ("delimited", "fhir", "hl7v2") else "value"
    paths = written(name, poisoned(hospital, column, MARKER), tmp_path / "hit")
    in_json = name in ("fhir", "cdisc")
    bytes_of = {
        "zero byte": b"\\u0000" if in_json else b"\0",
        "lone surrogate": TEXT_FORMATS[name],
        "40 MB": b"x" * HUGE,
        "lone carriage return": b"\\r" if in_json else b"a\rb",
        "quote left open": b'\\"' if in_json else b'"',
    }
    for file in files_of(paths):
        file.write_bytes(file.read_bytes().replace(MARKER.encode(), bytes_of[poison]))
    extract = ingest({"lab": paths})
    assert others(extract, hospital) == clean(name)
    assert extract.labs.height + len(extract.refused["lab"]) == 12


@pytest.mark.parametrize("name", ["fhir", "cdisc"])
def test_raw_bytes_in_json(name: str, hospital: Hospital, clean: Clean, tmp_path: Path) -> None:
    for number, raw in enumerate((b"\0", b"\xed\xa0\x80", b"\xff\xfe")):
        paths = written(name, poisoned(hospital, "value", MARKER), tmp_path / f"hit{number}")
        for file in files_of(paths):
            file.write_bytes(file.read_bytes().replace(MARKER.encode(), raw))
        extract = ingest({"lab": paths})
        assert others(extract, hospital) == clean(name)
        assert extract.labs.height + len(extract.refused["lab"]) == 12


@pytest.mark.parametrize("name", ["excel", "parquet", "omop_database"])
def test_a_huge_text_in_a_binary_file(name: str, hospital: Hospital, clean: Clean, tmp_path: Path) -> None:
    paths = written(name, poisoned(hospital, "analyte_name", "x" * HUGE), tmp_path / "hit")
    assert others(ingest({"lab": paths}), hospital) == clean(name)


@pytest.mark.parametrize("name", ["delimited", "excel", "mimic", "omop", "cdisc"])
def test_identifiers_that_went_through_floating_point_numbers(name: str, tmp_path: Path) -> None:
    of = small_hospital()
    numbers = {
        patient: str(12345 + place) for place, patient in enumerate(of.labs["patient_id"].unique(maintain_order=True))
    }
    plain = replace(of, labs=of.labs.with_columns(pl.col("patient_id").replace(numbers)))
    floats = replace(of, labs=plain.labs.with_columns(pl.col("patient_id") + ".0"))
    as_text = ingest({"lab": written(name, plain, tmp_path / "plain")}).labs["patient_id"]
    assert set(as_text) == {"12345", "12346"}
    assert ingest({"lab": written(name, floats, tmp_path / "floats")}).labs["patient_id"].equals(as_text)


def test_identifiers_in_a_column_of_floating_point_numbers(tmp_path: Path) -> None:
    of = small_hospital()
    long = replace(of, labs=of.labs.with_columns(patient_id=pl.lit(1234567890123.0), specimen_id=pl.lit(77.0)))
    labs = ingest({"lab": write_parquet(long, tmp_path)["lab"]}).labs
    assert set(labs["patient_id"]) == {"1234567890123"}
    assert set(labs["specimen_id"]) == {"77"}


def test_a_zero_byte_below_the_header_does_not_make_the_file_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "event.csv"
    path.write_bytes(b'patient_id;event;date;detail\n1;"\0";2026-02-02;x\n2;smear_review;2026-02-02;no blasts\n')
    extract = ingest({"event": [str(path)]})
    assert extract.events["patient_id"].to_list() == ["2"]
    assert len(extract.refused["event"]) == 1


def test_a_resource_in_a_cell_does_not_make_a_dataset_fhir(hospital: Hospital, tmp_path: Path) -> None:
    paths = written("cdisc", poisoned(hospital, "unit", MARKER), tmp_path / "hit")
    for file in files_of(paths):
        content = file.read_bytes()
        file.write_bytes(content.replace(f'"{MARKER}"'.encode(), b'{"resourceType": "Bundle"}'))
    extract = ingest({"lab": paths})
    assert {file.format for file in extract.files} == {"cdisc"}
    assert extract.labs.height + len(extract.refused["lab"]) == 12

"""No message of any reader holds a patient's value: not of a file without a header, and not where a value equals a name."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.admin.propose import propose_profile
from neutro_screen.errors import NeutroScreenError
from neutro_screen.ingest import KINDS, READERS, Kind, ingest
from neutro_screen.ingest.frames import NATIVE_COLUMNS
from neutro_screen.ingest.header import columns_told, repeated_columns
from tests.formats.hospital_files import write_xlsx
from tests.nights import command

#: A patient as a file may hold one; a value that is a column's name stands among them.
SECRETS = ["SENTINEL-MRN", "SENTINEL Name", "SENTINEL-19510203", "SENTINEL text", "77123.5", "1951-02-03T04:05:06"]


def row(n_names: int, kind: Kind, width: int = 9) -> list[str]:
    """A patient's row in which the first columns' names stand as values."""
    return [*SECRETS, *NATIVE_COLUMNS[kind][:n_names], *(f"SENTINEL-{number}" for number in range(width))]


def delimited(separator: str) -> Callable[[Path, list[list[str]]], Path]:
    def write(folder: Path, rows: list[list[str]]) -> Path:
        text = io.StringIO()
        csv.writer(text, delimiter=separator).writerows(rows)
        path = folder / ("labs.tsv" if separator == "\t" else "labs.csv")
        path.write_text(text.getvalue(), "utf-8")
        return path

    return write


def packed(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "labs.csv.gz"
    path.write_bytes(gzip.compress(delimited(",")(folder, rows).read_bytes()))
    return path


def wide_text(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "labs16.csv"
    path.write_text(delimited(",")(folder, rows).read_text("utf-8"), "utf-16")
    return path


def workbook(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "labs.xlsx"
    write_xlsx(path, rows)
    return path


def parquet(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "labs.parquet"
    names = list(dict.fromkeys(rows[0]))
    pl.DataFrame([dict(zip(names, each, strict=False)) for each in rows[1:]]).write_parquet(path)
    return path


def tables_of(names: tuple[str, ...]) -> Callable[[Path, list[list[str]]], Path]:
    """A folder of tables whose headers are missing."""

    def write(folder: Path, rows: list[list[str]]) -> Path:
        place = folder / "tables"
        place.mkdir()
        for name in names:
            (place / name).write_bytes(delimited(",")(folder, rows).read_bytes())
        return place

    return write


def dataset_json(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "lb.json"
    columns = [{"itemOID": name, "name": name, "label": name, "dataType": "string"} for name in rows[0]]
    content = {"datasetJSONVersion": "1.1.0", "name": "LB", "records": 1, "columns": columns, "rows": rows[1:]}
    path.write_text(json.dumps(content), "utf-8")
    return path


def fhir(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "labs.ndjson"
    resource = {"resourceType": "Observation", "id": rows[0][0], "subject": rows[0], "code": {"coding": rows[0]}}
    path.write_text(json.dumps(resource) + "\n" + "|".join(rows[0]) + "\n", "utf-8")
    return path


def hl7(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "labs.hl7"
    path.write_text(
        "MSH|^~\\&|" + "|".join(rows[0]) + "\rPID|" + "|".join(rows[0]) + "\rOBX|" + "|".join(rows[0]), "utf-8"
    )
    return path


WRITERS = {
    "comma": delimited(","),
    "semicolon": delimited(";"),
    "tab": delimited("\t"),
    "packed": packed,
    "utf-16": wide_text,
    "excel": workbook,
    "parquet": parquet,
    "omop": tables_of(("person.csv", "measurement.csv", "drug_exposure.csv", "condition_occurrence.csv")),
    "mimic": tables_of(("PATIENTS.csv", "LABEVENTS.csv", "D_LABITEMS.csv", "ADMISSIONS.csv", "PRESCRIPTIONS.csv")),
    "cdisc": dataset_json,
    "fhir": fhir,
    "hl7v2": hl7,
}


def told(path: Path, kind: Kind, format_name: str | None) -> str:
    """What a reader says of a file; nothing where it reads it."""
    try:
        ingest({kind: [str(path)]}, format_name=format_name)
    except NeutroScreenError as error:
        return str(error)
    return ""


def secrets_in(text: str) -> list[str]:
    """The parts of a patient's row that a text holds."""
    return [secret for secret in ("SENTINEL", *SECRETS) if secret in text]


@pytest.mark.parametrize("n_names", [0, 1, 2, 3])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_without_a_header_shows_nothing_of_its_first_patient(tmp_path: Path, writer: str, n_names: int) -> None:
    """In turn a row stands as it is and twice side by side, so that every kind and writer meets both."""
    messages = []
    for number, kind in enumerate(KINDS, start=n_names):
        folder = tmp_path / kind
        folder.mkdir()
        first = row(n_names, kind)
        file = WRITERS[writer](folder, [first * (1 + number % 2)] * 2)
        messages += [told(file, kind, None), *(told(file, kind, name) for name in READERS)]
    assert [message for message in messages if secrets_in(message)] == []
    assert len([message for message in messages if message]) > len(messages) / 2


@pytest.mark.parametrize("name", ["check", "run", "init"])
@pytest.mark.parametrize("writer", ["comma", "excel", "parquet"])
def test_no_command_shows_it_either(tmp_path: Path, name: str, writer: str) -> None:
    path = WRITERS[writer](tmp_path, [row(2, "lab"), row(2, "lab")])
    words = {
        "check": ["check", "--labs", str(path)],
        "run": ["run", "--labs", str(path), "--store", str(tmp_path / "s.duckdb")],
        "init": ["init", str(tmp_path / "settings"), "--from", str(path)],
    }[name]
    done = command(*words)
    assert done.returncode in (11, 12), done.stderr
    assert secrets_in(done.stdout + done.stderr) == []
    assert not (tmp_path / "settings").exists()


def test_a_profile_is_proposed_from_names_only(tmp_path: Path) -> None:
    """Of the values, the names of tests and units are shown, and those of no patient."""
    values = [SECRETS[0], SECRETS[2], "1951-02-03T04:05:06", "Neutrophile", "77123.5", "G/l"]
    good = delimited(",")(tmp_path, [["Pat-ID", "Probe", "Datum", "Test", "Wert", "Einheit"], values])
    assert secrets_in(propose_profile(good)) == []


def test_a_message_names_expected_columns_and_the_places_of_the_others() -> None:
    names = ["SENTINEL", "value", "units", "SENTINEL"]
    expected = {"value", "unit", "patient_id"}
    assert columns_told(names, expected) == (
        "The file has 4 columns; of the expected ones value. column 3 is nearly 'unit'."
    )
    assert repeated_columns(names, expected) == "column names stand twice in the header: columns 1 and 4"
    assert repeated_columns(["unit", "unit"], expected) == (
        "column names stand twice in the header: columns 1 and 2 (unit)"
    )
    assert repeated_columns(["unit", "value"], expected) is None

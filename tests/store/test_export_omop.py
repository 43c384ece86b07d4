"""``export --as omop-cohort``: loads into a fresh DuckDB with the tables of the OMOP CDM 5.4; identifiers stay stable."""

import csv
from datetime import date, datetime
from pathlib import Path

import duckdb
import fsspec
import pytest

from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.export import export
from tests.store.test_export_fhir import SAMPLE, sample_store

NIGHT = datetime(2026, 11, 22, 2)
#: The columns of the two tables as the specification of the CDM 5.4 gives them.
CDM = """
CREATE TABLE cohort (cohort_definition_id integer NOT NULL, subject_id integer NOT NULL, cohort_start_date date NOT NULL,
    cohort_end_date date NOT NULL);
CREATE TABLE cohort_definition (cohort_definition_id integer NOT NULL, cohort_definition_name varchar(255) NOT NULL,
    cohort_definition_description TEXT NULL, definition_type_concept_id integer NOT NULL, cohort_definition_syntax TEXT NULL,
    subject_concept_id integer NOT NULL, cohort_initiation_date date NULL);
"""


def screened(folder: Path, rows: str, as_of: datetime = datetime(2026, 6, 1), **more: tuple[str, ...]) -> Path:
    """A store of some counts: patient, day, value in 10*9/L."""
    lines = [
        f"{patient},{patient}-{day},{day} 08:00,751-8,{value},10*9/L"
        for patient, day, value in (row.split() for row in rows.strip().splitlines())
    ]
    labs = folder / "labs.csv"
    labs.write_text("\n".join(["patient_id,specimen_id,collected_at,loinc,value,unit", *lines, ""]), "utf-8")
    run(RunOptions(store=folder / "s.duckdb", as_of=as_of, labs=(str(labs),), **more))
    return folder / "s.duckdb"


def cohorts(store: Path, to: Path) -> tuple[Path, duckdb.DuckDBPyConnection]:
    """The folder of an export, and a fresh database of the CDM with its rows, from CSV and compared with Parquet."""
    folder = Path(export(store, str(to), kind="omop-cohort", at=NIGHT))
    connection = duckdb.connect()
    connection.execute(CDM)
    for name in ("cohort", "cohort_definition"):
        connection.execute(f"INSERT INTO {name} BY NAME FROM read_csv('{folder / name}.csv', header = true)")
        parquet = connection.sql(f"SELECT * FROM '{folder / name}.parquet' ORDER BY ALL").fetchall()
        assert connection.sql(f"SELECT * FROM {name} ORDER BY ALL").fetchall() == parquet
    return folder, connection


def entries(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[int, str, str]]:
    """Subject, first and last day of a cohort."""
    return [
        (subject, str(first), str(last))
        for subject, first, last in connection.execute(
            "SELECT subject_id, cohort_start_date, cohort_end_date FROM cohort JOIN cohort_definition "
            "USING (cohort_definition_id) WHERE cohort_definition_name = ? ORDER BY ALL",
            [name],
        ).fetchall()
    ]


COUNTS = """
7 2026-01-01 3.0
7 2026-01-10 1.2
7 2026-01-20 0.4
7 2026-02-01 2.5
7 2026-03-01 0.9
7 2026-03-09 0.8
12 2026-01-05 1.4
12 2026-01-15 2.0
12 2026-01-20 2.1
"""


def test_episodes_are_entries_and_an_open_one_ends_with_its_last_low_count(tmp_path: Path) -> None:
    _, cdm = cohorts(screened(tmp_path, COUNTS), tmp_path / "out")
    assert entries(cdm, "Neutropenia") == [
        (7, "2026-01-10", "2026-02-01"),
        (7, "2026-03-01", "2026-03-09"),
        (12, "2026-01-05", "2026-01-15"),
    ]
    assert entries(cdm, "Severe neutropenia") == [(7, "2026-01-10", "2026-02-01")]
    assert entries(cdm, "Profound neutropenia") == []
    assert not (tmp_path / "out" / "subject_crosswalk.csv").exists()


def test_the_definitions_say_what_they_are(tmp_path: Path) -> None:
    _, cdm = cohorts(screened(tmp_path, COUNTS), tmp_path / "out")
    described = dict(
        cdm.sql("SELECT cohort_definition_name, cohort_definition_description FROM cohort_definition").fetchall()
    )
    assert "below 1500 cells/uL" in described["Neutropenia"]
    assert "below 500 cells/uL" in described["Severe neutropenia"]
    assert cdm.sql("SELECT DISTINCT cohort_initiation_date FROM cohort_definition").fetchall() == [(date(2026, 6, 1),)]
    assert all(
        syntax.startswith("SELECT")
        for (syntax,) in cdm.sql("SELECT cohort_definition_syntax FROM cohort_definition").fetchall()
    )


def test_what_a_definition_says_is_what_its_entries_were_made_with(tmp_path: Path) -> None:
    store = sample_store(tmp_path)
    _, cdm = cohorts(store, tmp_path / "out")
    counted = dict(cdm.sql("SELECT cohort_definition_id, count(*) FROM cohort GROUP BY ALL").fetchall())
    with duckdb.connect(str(store), read_only=True) as connection:
        for number, syntax in cdm.sql(
            "SELECT cohort_definition_id, cohort_definition_syntax FROM cohort_definition"
        ).fetchall():
            found = connection.sql(f"SELECT count(DISTINCT patient_id) FROM ({syntax})").fetchall()[0][0]
            subjects = cdm.sql(f"SELECT count(DISTINCT subject_id) FROM cohort WHERE cohort_definition_id = {number}")
            assert subjects.fetchall()[0][0] == found
            assert counted.get(number, 0) >= found
    assert len(counted) >= 6


def test_entries_of_a_subject_never_overlap(tmp_path: Path) -> None:
    _, cdm = cohorts(sample_store(tmp_path), tmp_path / "out")
    assert cdm.sql(
        "SELECT count(*) FROM cohort a JOIN cohort b USING (cohort_definition_id, subject_id) "
        "WHERE a.cohort_start_date < b.cohort_start_date AND a.cohort_end_date >= b.cohort_start_date"
    ).fetchall() == [(0,)]
    assert cdm.sql("SELECT count(*) FROM cohort WHERE cohort_end_date < cohort_start_date").fetchall() == [(0,)]


def test_other_identifiers_get_numbers_that_stay_when_more_patients_come(tmp_path: Path) -> None:
    first = "B 2026-01-05 0.4\nD 2026-01-06 0.3\n9 2026-01-07 0.2\n007 2026-01-08 0.1"
    folder, cdm = cohorts(screened(tmp_path, first), tmp_path / "out")
    crosswalk = tmp_path / "out" / "subject_crosswalk.csv"

    def numbers() -> dict[str, int]:
        with crosswalk.open(encoding="utf-8", newline="") as rows:
            return {row["patient_id"]: int(row["subject_id"]) for row in csv.DictReader(rows)}

    before = numbers()
    assert set(before) == {"007", "B", "D"}
    subjects = {subject for subject, _, _ in entries(cdm, "Severe neutropenia")}
    assert subjects == {9, *before.values()}
    assert crosswalk.stat().st_mode & 0o077 == 0
    content = {path.name: path.read_bytes() for path in folder.iterdir()} | {"crosswalk": crosswalk.read_bytes()}
    cohorts(tmp_path / "s.duckdb", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} | {
        "crosswalk": crosswalk.read_bytes()
    } == content
    cohorts(screened(tmp_path, first + "\nA 2026-01-05 0.4", datetime(2026, 6, 2)), tmp_path / "out")
    after = numbers()
    assert {name: after[name] for name in before} == before
    assert set(after) == {"007", "A", "B", "D"}
    assert len(set(after.values())) == 4


def test_an_identifier_of_the_crosswalk_is_no_formula_and_keeps_its_number(tmp_path: Path) -> None:
    store = screened(tmp_path, "=1+1 2026-01-05 0.4\n'x 2026-01-06 0.3")
    _, first = cohorts(store, tmp_path / "out")
    crosswalk = (tmp_path / "out" / "subject_crosswalk.csv").read_text("utf-8")
    assert "\n1000000001,''x\n1000000002,'=1+1\n" in crosswalk
    _, again = cohorts(store, tmp_path / "out")
    assert entries(again, "Neutropenia") == entries(first, "Neutropenia")
    assert (tmp_path / "out" / "subject_crosswalk.csv").read_text("utf-8") == crosswalk


def test_a_number_of_the_crosswalk_that_becomes_a_patients_own_is_refused(tmp_path: Path) -> None:
    cohorts(screened(tmp_path, "B 2026-01-05 0.4"), tmp_path / "out")
    crosswalk = tmp_path / "out" / "subject_crosswalk.csv"
    number = crosswalk.read_text("utf-8").splitlines()[1].split(",")[0]
    store = screened(tmp_path, f"B 2026-01-05 0.4\n{number} 2026-01-05 0.4", datetime(2026, 6, 2))
    with pytest.raises(ConfigurationError, match="also a patient's own identifier"):
        export(store, str(tmp_path / "out"), kind="omop-cohort", at=NIGHT)


def test_a_crosswalk_that_was_damaged_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = screened(tmp_path, "B 2026-01-05 0.4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "subject_crosswalk.csv").write_text("subject_id\n1\n", "utf-8")
    with pytest.raises(ConfigurationError, match="subject_crosswalk"):
        export(store, str(tmp_path / "out"), kind="omop-cohort", at=NIGHT)
    assert (tmp_path / "out" / "subject_crosswalk.csv").read_text("utf-8") == "subject_id\n1\n"


def test_the_sample_is_exported_privately(tmp_path: Path) -> None:
    labs = str(SAMPLE / "labs.csv")
    run(RunOptions(store=tmp_path / "s.duckdb", as_of=NIGHT, labs=(labs,)))
    folder, _ = cohorts(tmp_path / "s.duckdb", tmp_path / "out")
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert {path.name for path in folder.iterdir()} == {
        "cohort.csv",
        "cohort.parquet",
        "cohort_definition.csv",
        "cohort_definition.parquet",
        "manifest.json",
    }


def test_a_crosswalk_on_object_storage_keeps_its_numbers(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    store = screened(tmp_path, "B 2026-01-05 0.4\nD 2026-01-06 0.3")
    for _ in range(2):
        folder = export(store, "memory://cohorts", kind="omop-cohort", at=NIGHT)
        assert files.cat("/cohorts/subject_crosswalk.csv") == b"subject_id,patient_id\n1000000001,B\n1000000002,D\n"
    assert b"1000000002,2026-01-06" in files.cat(f"{folder.removeprefix('memory:/')}/cohort.csv")
    files.rm("/cohorts", recursive=True)

"""A date that cannot be is refused by row: every other row is screened as if that row were not there."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neutro_screen
from neutro_screen.ingest import Extract, Kind, Profile, ingest
from neutro_screen.ingest.frames import NATIVE_COLUMNS
from neutro_screen.ingest.typed_rows import TYPED
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.reference import load_policy
from neutro_screen.rules.dates import CHART_DATES, date_limits, split_chart_dates
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.store.schema import SCREENED
from neutro_simulator import Hospital
from tests.clinic import judged
from tests.formats import hospital_files as files
from tests.nights import KINDS, NIGHT, SAMPLE, night, screened_sample

CASE = Path(__file__).parents[3] / "shared" / "cases" / "operations" / "year_zero"
#: The run of these tests is in November 2026: the last one is a day more than two years later.
ODD = ("0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "-0001-01-01", "1879-12-31", "2028-11-23")
#: Kind of file -> a row of it without its dates, and the columns that hold them.
ROWS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "labs": (
        {
            "specimen_id": "S",
            "collected_at": "2026-11-20 08:00",
            "resulted_at": "2026-11-20 09:00",
            "loinc": "751-8",
            "analyte_name": "NEUT",
            "value": "2.5",
            "unit": "10*9/L",
            "status": "F",
            "lab": "LAB",
        },
        ("collected_at", "resulted_at"),
    ),
    "medications": (
        {"drug_name": "clozapine", "start_date": "2026-10-01", "end_date": "2026-10-02"},
        ("start_date", "end_date"),
    ),
    "patients": ({"birth_date": "1980-01-01", "sex": "F"}, ("birth_date",)),
    "diagnoses": ({"code": "C92.0", "system": "ICD-10", "date": "2026-01-01"}, ("date",)),
    "events": ({"event": "transfusion", "date": "2026-11-01"}, ("date",)),
}
CASES = [(kind, column) for kind, (_, columns) in ROWS.items() for column in columns]


def results(store: Path, without: str = "PX") -> dict[str, list[tuple[object, ...]]]:
    """All that is said of every patient but those of the bad rows, and the accepted rows themselves."""
    accepted = ("lab_result", "medication", "patient", "diagnosis", "event", "worklist_row")
    with duckdb.connect(str(store), read_only=True) as connection:
        return {
            name: connection.execute(
                f"SELECT COLUMNS(lambda c: c NOT IN ('source_file', 'source_row')) FROM \"{name}\" "
                "WHERE NOT starts_with(patient_id, ?) ORDER BY ALL",
                [without],
            ).fetchall()
            for name in (*SCREENED, *accepted)
        }


def refused(store: Path) -> list[tuple[str, str, str]]:
    """Patient, reason and column of the refused rows of the bad patients."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(
            "SELECT patient_id, reason, \"column\" FROM rejected_row WHERE starts_with(patient_id, 'PX') ORDER BY ALL"
        ).fetchall()


def _bad(kind: str, column: str) -> list[str]:
    """The patients with an odd date in a column of a kind of file, a patient for each date."""
    return [f"PX-{kind}-{column}-{n}" for n in range(len(ODD))]


@pytest.fixture(scope="module")
def bad_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a night over the sample's files, each with a row for every odd date in every date column; reported."""
    folder = tmp_path_factory.mktemp("bad")
    sent: dict[str, tuple[str, ...]] = {}
    for kind, (row, columns) in ROWS.items():
        clock = {"labs": " 08:00:00", "events": "T08:00:00"}.get(kind, "")
        bad = [
            row | {"patient_id": patient, column: day + clock}
            for column in columns
            for patient, day in zip(_bad(kind, column), ODD, strict=True)
        ]
        own = pl.read_csv(SAMPLE / f"{kind}.csv", infer_schema=False)
        pl.concat([pl.DataFrame(bad), own], how="diagonal").write_csv(folder / f"{kind}.csv")
        sent[kind] = (str(folder / f"{kind}.csv"),)
    labs = Path(sent.pop("labs")[0])
    night(folder / "s.duckdb", labs, reports=folder / "reports", max_rejected=1, **sent)
    return folder / "s.duckdb"


def test_a_bad_date_changes_nothing_for_anybody_else(bad_night: Path, tmp_path: Path) -> None:
    found = results(bad_night)
    for name, rows in results(screened_sample(tmp_path / "sound.duckdb")).items():
        assert found[name] == rows, name
    assert (bad_night.parent / "reports" / "report.html").exists()


@pytest.mark.parametrize(("kind", "column"), CASES)
def test_a_row_with_a_bad_date_is_refused_with_its_reason(kind: str, column: str, bad_night: Path) -> None:
    reason = "impossible_time" if kind == "labs" else "impossible_date"
    bad = [(patient, told) for patient, told, _ in refused(bad_night) if patient in _bad(kind, column)]
    assert bad == [(patient, reason) for patient in _bad(kind, column)]


@pytest.mark.parametrize("column", ROWS["labs"][1])
def test_a_patient_whose_result_is_refused_for_its_date_cannot_be_assessed(column: str, bad_night: Path) -> None:
    with duckdb.connect(str(bad_night), read_only=True) as connection:
        unknown = connection.execute(
            "SELECT patient_id, reason, since FROM cannot_assess WHERE patient_id IN (SELECT unnest(?)) ORDER BY ALL",
            [_bad("labs", column)],
        ).fetchall()
        rows = connection.execute(
            "SELECT \"row\"->>'collected_at' FROM rejected_row WHERE patient_id = ? AND kind = 'lab'",
            [_bad("labs", column)[0]],
        ).fetchall()
    # Where the collection time cannot be, the time of the result is the nearest that is known.
    since = datetime(2026, 11, 20, 9 if column == "collected_at" else 8)
    assert unknown == [(patient, "impossible_time", since) for patient in _bad("labs", column)]
    shown = "0000-01-01 08:00:00" if column == "collected_at" else "2026-11-20 08:00:00"
    assert rows[0][0].startswith(shown)


@pytest.mark.parametrize(
    ("kind", "column", "table", "kept"),
    [
        ("patients", "birth_date", "patient", "sex"),
        ("medications", "end_date", "medication", "drug_name"),
        ("diagnoses", "date", "diagnosis", "code"),
    ],
)
def test_a_row_with_a_bad_optional_date_says_all_else(
    kind: str, column: str, table: str, kept: str, bad_night: Path
) -> None:
    with duckdb.connect(str(bad_night), read_only=True) as connection:
        rows = connection.execute(
            f'SELECT "{column}", "{kept}" FROM "{table}" WHERE patient_id IN (SELECT unnest(?))', [_bad(kind, column)]
        ).fetchall()
    said = ROWS[kind][0][kept].replace(".", "")
    assert rows == [(None, said)] * len(ODD)


def test_a_merge_stands_though_the_date_of_birth_beside_it_cannot_be(tmp_path: Path) -> None:
    store, patients = tmp_path / "s.duckdb", tmp_path / "patients.csv"
    patients.write_text("patient_id,birth_date,replaced_by\nP1,0000-01-01,P2\n", "utf-8")
    labs = (str(CASE / "labs.csv"),)
    run(RunOptions(store=store, as_of=moment("2026-11-21T02:00"), labs=labs, patients=(str(patients),)))
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT patient_id, survivor_id FROM patient_merge").fetchall() == [("P1", "P2")]
        assert connection.execute("SELECT patient_id FROM worklist").fetchall() == [("P2",)]


def test_the_files_of_the_case(tmp_path: Path) -> None:
    def screened(name: str, labs: str, *patients: str) -> RunSummary:
        return run(
            RunOptions(
                store=tmp_path / f"{name}.duckdb",
                as_of=moment("2026-11-21T02:00"),
                labs=(str(CASE / labs),),
                patients=tuple(str(CASE / path) for path in patients),
                reports=tmp_path / name,
            )
        )

    for summary in (screened("birth", "labs.csv", "patients.csv"), screened("collected", "labs_b.csv")):
        assert summary.priorities["critical"] == 2
    assert screened("collected_again", "labs_b.csv").account.rejected == 1
    assert refused(tmp_path / "collected.duckdb") == [("PX", "impossible_time", "time_status")]


Writer = Callable[[Hospital, Path], dict[str, list[str]]]
WRITERS: list[Writer] = [
    files.write_parquet,
    files.write_excel,
    files.write_hl7,
    files.write_fhir,
    files.write_mimic4,
    files.write_omop_folder,
    files.write_omop_database,
    files.write_xpt,
    files.write_dataset_json,
]


#: Patient -> a year that cannot be, in which every date of his is.
ODD_YEARS = {"PX0": "0000", "PX9": "9999"}


def _with(of: Hospital, patient: str, year: str) -> Hospital:
    """The hospital and one patient whose every date is in a year that cannot be."""

    def more(frame: pl.DataFrame, **row: str) -> pl.DataFrame:
        bad = pl.DataFrame([{"patient_id": patient} | row], schema=dict.fromkeys(("patient_id", *row), pl.String))
        return pl.concat([frame, bad], how="diagonal")

    day = f"{year}-01-01"
    return replace(
        of,
        labs=more(
            of.labs,
            specimen_id=f"S-{patient}",
            collected_at=f"{day}T08:00:00",
            resulted_at=f"{day}T09:00:00",
            loinc="751-8",
            analyte_name="NEUT",
            value="2.5",
            unit="10*9/L",
            status="F",
            lab=of.labs["lab"][0],
        ),
        medications=more(of.medications, drug_name="clozapine", start_date=day, end_date=day),
        patients=more(of.patients, birth_date=day, sex="F"),
        diagnoses=more(of.diagnoses, code="C92.0", system="ICD-10", date=day),
        events=more(of.events, event="transfusion", date=day),
    )


def _of_others(extract: Extract, concluded: neutro_screen.Screening) -> dict[str, pl.DataFrame]:
    """What was read and what is concluded of every patient but those of the bad rows."""
    read = {kind: getattr(extract, kind) for kind in ROWS}
    said = {each.name: getattr(concluded, each.name) for each in fields(ScreenResult)}
    is_other = ~pl.col("patient_id").str.starts_with("PX").fill_null(False)
    return {
        name: frame.filter(is_other).drop("source_file", "source_row", strict=False).sort(pl.all())
        for name, frame in (read | said | {"rejected": concluded.rejected}).items()
    }


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_reader_refuses_by_row(write: Writer, tmp_path: Path) -> None:
    odd = of = files.hospital()
    for patient, year in ODD_YEARS.items():
        odd = _with(odd, patient, year)
    found = []
    for name, hospital in (("sound", of), ("odd", odd)):
        (tmp_path / name).mkdir()
        extract = ingest(write(hospital, tmp_path / name))
        concluded = neutro_screen.screen(extract, as_of=files.AS_OF)
        found.append(_of_others(extract, concluded))
    for name, frame in found[0].items():
        assert found[1][name].equals(frame), name
    assert found[0]["anc"].height > 100
    refused_for_time = concluded.rejected.filter(reason="impossible_time")
    assert sorted(refused_for_time["patient_id"]) == list(ODD_YEARS)


YEARS = st.integers(-12_000, 280_000) | st.sampled_from([-1, 0, 1, 1879, 1880, 2028, 2029, 9999, 10_000])
TEXTS = st.builds(
    lambda year, month, day, clock: f"{'-' if year < 0 else ''}{abs(year):04}-{month:02}-{day:02}{clock}",
    YEARS,
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(["", "T08:00:00", " 23:59:59", "T00:00:00+14:00", "T23:59:59-12:00", "T08:00:00Z"]),
) | st.text("0123456789-+T: ", max_size=20)


@settings(deadline=None, max_examples=30)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5), zone=st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland"])
)
def test_no_text_brings_an_impossible_date_past_the_limits(texts: list[str], zone: str) -> None:
    profile, limits = Profile(time_zone=zone), date_limits(load_policy(), moment(NIGHT))
    names: dict[str, Kind] = {
        "medications": "medication",
        "patients": "patient",
        "diagnoses": "diagnosis",
        "events": "event",
    }
    for file, kind in names.items():
        row, columns = ROWS[file]
        for column in columns:
            sent = pl.DataFrame(
                [row | {"patient_id": "P", column: text} for text in texts],
                schema=dict.fromkeys((*NATIVE_COLUMNS[kind], "source_file"), pl.String),
            ).with_row_index("source_row", 1)
            split = split_chart_dates(TYPED[kind](sent, profile), kind, limits)
            for name in CHART_DATES[kind]:
                days = split.rows[name].cast(pl.Date).drop_nulls()
                assert all(limits.earliest <= day <= limits.latest for day in days.to_list())
            lost = set(range(1, len(texts) + 1)) - set(split.rows["source_row"])
            assert lost <= set(split.impossible["source_row"])


@settings(deadline=None, max_examples=30)
@given(text=TEXTS)
def test_no_text_in_a_laboratory_row_reaches_the_results_of_the_others(text: str) -> None:
    table = f"patient | specimen | collected | resulted | loinc | value\n1 | S1 | {text or '-'} | {text or '-'} | 751-8 | 2.0\n"
    table += "2 | S2 | 2026-02-01 08:00 | - | 751-8 | 0.2"
    _, split = judged(table)
    accepted = split.accepted.filter(pl.col("patient_id") == "2").select("value", "collected_at").rows()
    assert accepted == [(0.2, datetime(2026, 2, 1, 8))]
    for name in ("collected_at", "resulted_at"):
        days = split.accepted[name].drop_nulls().dt.date().to_list()
        assert all(date(1880, 1, 1) <= day <= date(2028, 3, 1) for day in days)


def test_the_kinds_of_file_are_those_of_the_sample() -> None:
    assert set(ROWS) == {"labs", *KINDS}

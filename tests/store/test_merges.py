"""Patients whose records were merged: the history is one, whatever the night on which the merge was heard of."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.cli.console import explanation_text
from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.options import moment
from neutro_screen.store.explain import explain_patient
from neutro_screen.store.file import reading
from neutro_screen.store.review import record_review
from neutro_screen.store.schema import SCREENED
from tests.nights import NIGHT, SAMPLE, assert_same, night, screened_sample, tables

#: Two patients of the sample with low counts, whose records become one.
OLD, NEW = "P-001", "P-013"


def patients(folder: Path, *merges: str) -> str:
    """The sample's patients table with merges ``OLD>NEW`` at its end."""
    header, *lines = (SAMPLE / "patients.csv").read_text("utf-8").splitlines()
    rows = [f"{line}," for line in lines]
    rows += [f"{old}{',' * header.count(',')},{new}" for old, new in (merge.split(">") for merge in merges)]
    path = folder / "patients.csv"
    path.write_text("\n".join([f"{header},replaced_by", *rows]) + "\n", "utf-8")
    return str(path)


def split(folder: Path, seed: int, nights: int) -> list[Path]:
    """The sample's laboratory rows, dealt out to some nights."""
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    mixed = pl.Series(lines).shuffle(seed=seed).to_list()
    parts = []
    for number in range(nights):
        parts.append(folder / f"labs{number}.csv")
        parts[-1].write_text("\n".join([header, *mixed[number::nights]]) + "\n", "utf-8")
    return parts


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything in one run, the merge with it."""
    folder = tmp_path_factory.mktemp("merged")
    night(folder / "s.duckdb", patients=(patients(folder, f"{OLD}>{NEW}"),))
    return folder / "s.duckdb"


@pytest.mark.parametrize(("seed", "heard"), [(1, 0), (2, 1), (3, 2)])
def test_the_night_of_the_merge_makes_no_difference(at_once: Path, tmp_path: Path, seed: int, heard: int) -> None:
    store = tmp_path / "s.duckdb"
    for number, labs in enumerate(split(tmp_path, seed, 3)):
        merged = [f"{OLD}>{NEW}"] if number == heard else []
        night(store, labs=labs, patients=(patients(tmp_path, *merged),))
    assert_same(store, at_once, SCREENED, {"flag": "run_id"})
    assert_same(store, at_once, ["patient_merge"], {"patient_merge": "run_id, source_row"})


def test_a_person_is_in_one_part_although_the_records_are_not(at_once: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    night(store, patients=(patients(tmp_path, f"{OLD}>{NEW}"),), memory=2_400_000)
    assert_same(store, at_once, (*SCREENED, "patient", "lab_result", "worklist_row"))


def test_one_patient_is_left_over_the_rows_of_both_records(at_once: Path, tmp_path: Path) -> None:
    screened_sample(tmp_path / "apart.duckdb")
    for name, rows in tables(at_once, SCREENED).items():
        assert not [row for row in rows if OLD in row], name
    counted = "SELECT count(DISTINCT collected_at) FROM anc WHERE patient_id IN (?, ?)"
    with reading(at_once) as together, reading(tmp_path / "apart.duckdb") as apart:
        assert together.execute(counted, [OLD, NEW]).fetchall() == apart.execute(counted, [OLD, NEW]).fetchall()
        kept = together.execute("SELECT count(*) FROM lab_result WHERE patient_id = ?", [OLD]).fetchall()
        assert kept == apart.execute("SELECT count(*) FROM lab_result WHERE patient_id = ?", [OLD]).fetchall()


def test_explain_says_where_the_record_went(at_once: Path, tmp_path: Path) -> None:
    with reading(at_once) as connection:
        told = explanation_text(explain_patient(connection, OLD))
        survivor = explain_patient(connection, NEW)
    assert f"merged into {NEW}" in told
    assert {row["patient_id"] for row in survivor["source_rows"]} == {OLD, NEW}
    assert [row["patient_id"] for row in survivor["merged_records"]] == [OLD]
    with pytest.raises(ConfigurationError, match="merged into another"):
        record_review(at_once, OLD, "dismissed", until=None, note=None, by=None, at=moment(NIGHT))


def test_the_report_shows_the_rows_of_both_records(at_once: Path, tmp_path: Path) -> None:
    from neutro_screen.report.contents import run_contents

    with reading(at_once) as connection:
        contents = run_contents(connection)
        n = connection.execute("SELECT count(*) FROM medication WHERE patient_id IN (?, ?)", [OLD, NEW]).fetchall()
    assert contents.medication.filter(pl.col("patient_id") == NEW).height == n[0][0] > 0


def test_the_merged_record_leaves_the_worklist_without_a_recovery(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    night(store, as_of="2026-11-21T02:00:00")
    night(store, patients=(patients(tmp_path, f"{OLD}>{NEW}"),))
    with reading(store) as connection:
        rows = connection.execute(
            "SELECT patient_id, change FROM worklist_row WHERE patient_id IN (?, ?) AND run_id LIKE '2026-11-22%'",
            [OLD, NEW],
        ).fetchall()
    assert [patient for patient, _ in rows] == [NEW]
    assert rows[0][1] != "new"


def test_a_merge_is_undone_by_the_record_s_own_id_and_may_be_made_again(at_once: Path, tmp_path: Path) -> None:
    store, apart = tmp_path / "s.duckdb", tmp_path / "apart.duckdb"
    screened_sample(apart)
    shutil.copy(at_once, store)
    night(store, patients=(patients(tmp_path, f"{OLD}>{OLD}"),))
    assert_same(store, apart, SCREENED, {"flag": "run_id"})
    night(store, patients=(patients(tmp_path, f"{OLD}>{NEW}"),))
    assert_same(store, at_once, SCREENED, {"flag": "run_id"})


def test_a_circle_is_refused_with_a_reason_until_it_is_broken(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    night(store, patients=(patients(tmp_path, f"{OLD}>{NEW}", f"{NEW}>{OLD}"),))
    with reading(store) as connection:
        refused = connection.execute(
            "SELECT patient_id, kind, row FROM rejected_row WHERE reason = 'merge_in_a_circle' ORDER BY 1"
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM patient_merge").fetchall() == [(0,)]
    assert [(patient, kind) for patient, kind, _ in refused] == [(OLD, "patient"), (NEW, "patient")]
    assert json.loads(refused[0][2]) == {"patient_id": OLD, "replaced_by": NEW}
    night(store, patients=(patients(tmp_path, f"{NEW}>{NEW}"),))
    with reading(store) as connection:
        assert connection.execute("SELECT count(*) FROM rejected_row WHERE scope = 'merge'").fetchall() == [(0,)]
        assert connection.execute("SELECT patient_id, survivor_id FROM patient_merge").fetchall() == [(OLD, NEW)]

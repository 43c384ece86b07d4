"""The DuckDB file: what analysts rely on, and what a run may never do to it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from neutro_screen.errors import PublishError, ReportError, StoreError
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import _is_scattered, lock, publishing, reading
from neutro_screen.store.schema import SCREENED, TABLES
from neutro_screen.store.views import VIEWS
from tests.nights import KINDS, NIGHT, SAMPLE, assert_same, night, screened_sample, table


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital, screened once."""
    return screened_sample(tmp_path_factory.mktemp("store") / "screen.duckdb")


def test_every_table_view_and_column_carries_a_comment(store: Path) -> None:
    with reading(store) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL AND NOT internal "
            "AND table_name IN (SELECT table_name FROM duckdb_tables()) AND table_name <> 'schema_version'"
        ).fetchall()
        tables = dict(connection.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
        views = dict(connection.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
    assert columns == []
    assert all(tables[name] for name in TABLES)
    assert all(views[name] for name in VIEWS)


def test_severities_and_priorities_compare_in_clinical_order(store: Path) -> None:
    with reading(store) as connection:
        worst = connection.execute(
            "SELECT severity FROM anc WHERE severity IS NOT NULL ORDER BY severity DESC LIMIT 1"
        ).fetchall()
        severe = connection.execute(
            "SELECT DISTINCT severity::VARCHAR FROM anc WHERE severity >= 'severe'::severity"
        ).fetchall()
        first = connection.execute("SELECT priority FROM worklist LIMIT 1").fetchall()
    assert worst == [("profound",)]
    assert set(severe) == {("severe",), ("profound",)}
    assert first == [("critical",)]


def test_the_comment_warns_that_duckdb_compares_an_enum_with_a_bare_text_by_the_alphabet(store: Path) -> None:
    with reading(store) as connection:
        bare = connection.execute("SELECT DISTINCT severity::VARCHAR FROM anc WHERE severity >= 'severe'").fetchall()
        comments = connection.execute(
            "SELECT comment FROM duckdb_columns() WHERE data_type LIKE 'ENUM%' AND table_name IN (SELECT table_name FROM duckdb_tables())"
        ).fetchall()
    assert bare == [("severe",)], "DuckDB now does what CONTRACT.md expects: drop the warning"
    assert all("::severity" in comment or "::priority" in comment for (comment,) in comments)


def test_an_older_duckdb_can_open_the_file(store: Path) -> None:
    with reading(store) as connection:
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
    assert "v1.4.0" in str(tags)


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        night(tmp_path / "new" / "s.duckdb", reports=tmp_path / "reports")
    finally:
        os.umask(before)
    for folder in (tmp_path / "new", tmp_path / "reports"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_the_same_files_again_change_nothing(store: Path, tmp_path: Path) -> None:
    twice = screened_sample(tmp_path / "s.duckdb")
    summary = night(twice)
    assert summary.account.accepted == 0
    assert summary.account.duplicate == summary.account.rows_in - sum(
        (summary.account.rejected, summary.account.no_result, summary.account.not_screened)
    )
    assert_same(
        twice,
        store,
        (*SCREENED, "lab_result", "rejected_row", "no_result", "medication", "patient", "diagnosis", "event"),
    )
    assert table(twice, "worklist_row", "run_id")[: len(table(store, "worklist_row"))]
    with reading(twice) as connection:
        assert connection.execute("SELECT count(*) FROM worklist").fetchall() == [(len(table(store, "worklist_row")),)]


def test_shuffled_rows_give_byte_identical_tables(store: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "labs.csv"
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    shuffled.write_text("\n".join([header, *pl.Series(lines).shuffle(seed=3).to_list()]) + "\n", "utf-8")
    night(tmp_path / "s.duckdb", labs=shuffled)
    assert_same(tmp_path / "s.duckdb", store, (*SCREENED, "worklist_row"))


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_one_thread_or_another_engine_gives_the_same_tables(store: Path, tmp_path: Path, engine: str) -> None:
    alone = tmp_path / "s.duckdb"
    command = [sys.executable, "-m", "neutro_screen.cli.app", "run", "--store", str(alone), "--as-of", NIGHT]
    command += [
        "--labs",
        str(SAMPLE / "labs.csv"),
        *(word for kind in KINDS for word in (f"--{kind}", str(SAMPLE / f"{kind}.csv"))),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"POLARS_MAX_THREADS": "1", "POLARS_ENGINE_AFFINITY": engine},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert_same(alone, store, (*SCREENED, "worklist_row"))


def test_a_cohort_split_into_nights_ends_in_the_same_tables(store: Path, tmp_path: Path) -> None:
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    mixed = pl.Series(lines).shuffle(seed=1).to_list()
    split = tmp_path / "s.duckdb"
    for number in range(4):
        part = tmp_path / f"night{number}.csv"
        part.write_text("\n".join([header, *mixed[number::4]]) + "\n", "utf-8")
        night(split, labs=part)
    assert_same(split, store, SCREENED, {"flag": "run_id"})


def test_a_reader_keeps_the_old_run_and_does_not_stop_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    night(path, as_of="2026-11-21T02:00:00")
    with duckdb.connect(str(path), read_only=True) as reader:
        before = reader.execute("SELECT count(*) FROM run").fetchall()
        night(path)
        assert reader.execute("SELECT count(*) FROM run").fetchall() == before == [(1,)]
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.execute("SELECT count(*) FROM run").fetchall() == [(2,)]


def test_a_table_that_is_rewritten_night_after_night_does_not_grow_without_end(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    path.write_bytes(store.read_bytes())
    before = table(store, "anc")
    scattered, sizes = [], []
    for _ in range(25):
        with publishing(path) as connection:
            scattered.append(_is_scattered(connection))
            connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM anc WHERE hash(patient_id) % 3 = 0")
            connection.execute("DELETE FROM anc WHERE patient_id IN (SELECT patient_id FROM kept)")
            connection.execute("INSERT INTO anc SELECT * FROM kept")
        sizes.append(path.stat().st_size)
    assert True in scattered and scattered.count(False) > scattered.count(True)
    assert sizes[-1] < 2 * sizes[0]
    assert table(path, "anc") == before


def test_a_second_run_at_the_same_time_ends_with_a_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    with lock(path), pytest.raises(StoreError, match="another run is using the store"):
        night(path)
    assert not path.exists()


def test_a_failure_while_publishing_leaves_the_old_store(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    path.write_bytes(store.read_bytes())
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="power cut"), publishing(path) as connection:
        connection.execute("DELETE FROM anc")
        raise RuntimeError("power cut")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.duckdb"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no store|no DuckDB file"), (b"not a database, by far not one" * 200, "damaged, or no DuckDB file")],
)
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.duckdb"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        night(path)
    assert path.read_bytes() == content


def test_a_store_of_a_newer_version_is_left_alone(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    path.write_bytes(store.read_bytes())
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 999")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        night(path)
    assert path.read_bytes() == before


def test_a_full_disk_ends_in_a_publish_error_and_the_old_store(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.duckdb"
    path.write_bytes(store.read_bytes())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neutro_screen.store.file._synchronise", full)
    with pytest.raises(PublishError, match="No space left on device"):
        night(path)
    assert path.read_bytes() == store.read_bytes()


def test_patients_with_an_open_episode_are_screened_until_nothing_can_change_any_more(tmp_path: Path) -> None:
    store, at_once, nothing = (
        screened_sample(tmp_path / "s.duckdb"),
        tmp_path / "at_once.duckdb",
        tmp_path / "nothing.csv",
    )
    nothing.write_text((SAMPLE / "labs.csv").read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    touched = [
        night(store, labs=nothing, as_of=as_of).patients_touched
        for as_of in ("2026-11-23T02:00:00", "2028-11-23T02:00:00", "2029-11-23T02:00:00")
    ]
    # Everybody once more after it has settled; then only those with a likely suspect that is still given.
    assert touched[0] >= touched[1] > touched[2] > 0
    night(at_once, as_of="2029-11-23T02:00:00")
    assert_same(store, at_once, SCREENED, {"flag": "run_id"})


def test_a_report_that_fails_does_not_say_that_nothing_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Path:
        raise KeyError("SECRET-MRN")

    monkeypatch.setattr("neutro_screen.pipeline.report.write_reports", fails)
    with pytest.raises(ReportError, match="results are published, but not reported") as raised:
        night(tmp_path / "s.duckdb", reports=tmp_path / "reports")
    assert "SECRET" not in str(raised.value)
    assert len(table(tmp_path / "s.duckdb", "run")) == 1


def test_an_episode_that_is_over_still_earns_a_flag_by_the_passing_of_time(tmp_path: Path) -> None:
    """PIT-4 is due 28 days after the start, though the count has recovered and nothing of the patient came in since."""
    header = "patient_id,specimen_id,collected_at,loinc,value,unit"
    counts = [("A", day, anc) for day, anc in ((1, 3.0), (4, 1.2), (6, 1.1), (8, 1.2), (11, 4.0), (13, 4.1))]
    rows = [f"{who},{who}{day},2026-03-{day:02d} 08:00,751-8,{anc},10*9/L" for who, day, anc in counts]
    rows.append("B,B1,2026-03-02 08:00,5195-3,Negative,")  # hepatitis B: the extract has viral tests
    first, nothing, store = tmp_path / "first.csv", tmp_path / "nothing.csv", tmp_path / "s.duckdb"
    first.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    nothing.write_text(header + "\n", "utf-8")
    for labs, as_of, raised in ((first, "2026-03-14T02:00:00", 0), (nothing, "2026-04-10T02:00:00", 1)):
        run(RunOptions(store=store, as_of=moment(as_of), labs=(str(labs),)))
        with reading(store) as connection:
            found = connection.execute(
                "SELECT count(*) FROM flag WHERE rule_id = 'PIT-4' AND patient_id = 'A'"
            ).fetchall()
        assert found == [(raised,)], as_of


def test_two_patients_whose_next_step_is_due_at_the_same_time_are_screened_together(tmp_path: Path) -> None:
    # polars 2.1 compares a literal with a column of one repeated value to a single value: the night ended in a ShapeError.
    header = "patient_id,specimen_id,collected_at,loinc,value,unit\n"
    for day, patient, count in (("02", "P1", "0.4"), ("03", "P2", "0.2")):
        labs = tmp_path / f"{day}.csv"
        labs.write_text(f"{header}{patient},S{patient},2026-11-01T08:00:00,751-8,{count},10*9/L\n", "utf-8")
        night(
            tmp_path / "s.duckdb",
            labs,
            as_of=f"2026-11-{day}T02:00:00",
            medications=(),
            patients=(),
            diagnoses=(),
            events=(),
        )
    steps = [row for row in table(tmp_path / "s.duckdb", "workup_step") if "repeat_cbc" in row]
    assert len(steps) == 2

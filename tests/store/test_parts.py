"""More rows than the memory allows are judged and screened part by part, with the same result."""

import shutil
import stat
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.options import bytes_of
from neutro_screen.pipeline.partitions import LEAST_BUCKETS, Workspace
from neutro_screen.store.schema import SCREENED
from tests.nights import assert_same, night, screened_sample

RECEIVED = ("lab_result", "rejected_row", "no_result", "medication", "patient", "diagnosis", "event", "quality_count")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital, screened in one piece."""
    return screened_sample(tmp_path_factory.mktemp("whole") / "s.duckdb")


def test_many_parts_end_in_the_tables_of_one_and_what_a_killed_run_left_is_cleared(whole: Path, tmp_path: Path) -> None:
    parted, left = tmp_path / "s.duckdb", tmp_path / ".s.duckdb.work" / "lab_row" / "bucket=00"
    left.mkdir(parents=True)
    (left / "000001.parquet").write_bytes(b"half a file")
    summary = night(parted, memory=2_400_000)  # 600 rows at once: three parts, on disk
    assert summary.account.rows_in == 1665
    assert_same(parted, whole, (*SCREENED, *RECEIVED, "worklist_row"))
    assert [path.name for path in tmp_path.iterdir() if path.name != "s.duckdb"] == [".s.duckdb.lock"]


def test_everybody_is_screened_again_in_parts_although_little_came_in(whole: Path, tmp_path: Path) -> None:
    parted, few = tmp_path / "s.duckdb", tmp_path / "few.csv"
    shutil.copy(whole, parted)
    lines = (Path(__file__).parents[2] / "sample_data" / "labs.csv").read_text("utf-8").splitlines(keepends=True)
    few.write_text("".join(lines[:20]), "utf-8")
    summary = night(parted, labs=few, rescreen_all=True, memory=2_400_000)
    assert summary.account.accepted == 0
    assert_same(parted, whole, SCREENED)


@pytest.mark.parametrize(("rows_at_once", "n_parts", "in_memory"), [(500, 9, 100), (25, 192, 100), (25, 192, 9999)])
def test_a_patient_is_in_one_part_only_and_rows_without_patient_are_in_one_too(
    tmp_path: Path, rows_at_once: int, n_parts: int, in_memory: int
) -> None:
    """Parts of several buckets, and, where more rows come than the buckets were laid out for, buckets of several parts."""
    ids = [f"{number:04d}" for number in range(2_000)] * 2 + [None] * 3
    rows = pl.DataFrame({"patient_id": ids, "value": range(len(ids))})
    (tmp_path / "work").mkdir(mode=0o700)
    work = Workspace(tmp_path / "work", rows_in_memory=in_memory)
    work.begin()
    work.add("row", rows[:50])
    work.add("row", rows[50:])
    work.divide(rows.height, rows_at_once)
    parts = [work.rows("row", part) for part in work.parts]
    assert len(parts) == n_parts
    assert pl.concat(parts).sort("value").equals(rows)
    assert sum(part["patient_id"].drop_nulls().n_unique() for part in parts) == 2_000
    assert [part["patient_id"].null_count() for part in parts if part["patient_id"].null_count()] == [3]
    assert max(part.height for part in parts) < 2 * rows.height / len(parts) + rows.height / LEAST_BUCKETS
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.parquet")}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()}
    assert (modes, folders) == ({0o600} if in_memory < rows.height else set(), {0o700})


def test_more_bytes_are_laid_out_in_more_buckets_and_merged_records_meet(tmp_path: Path) -> None:
    rows = pl.DataFrame({"patient_id": [f"{number:04d}" for number in range(2_000)]})
    merged = pl.DataFrame({"patient_id": rows["patient_id"][:1000], "survivor_id": rows["patient_id"][1000:]})
    (tmp_path / "work").mkdir()
    work = Workspace(tmp_path / "work", rows_in_memory=100)
    work.begin(buckets=300)
    work.add("row", rows)
    assert len({path.parent.name for path in (tmp_path / "work").rglob("run.0*.parquet")}) > 256
    work.divide(2_000, 2_000 // 150, merged)
    people = dict(merged.iter_rows())
    parts = [{people.get(each, each) for each in work.rows("row", part)["patient_id"]} for part in work.parts]
    assert len(parts) == 154
    assert sum(map(len, parts)) == 1000


@pytest.mark.parametrize("size", ["much", "-4GB", "1KB", ""])
def test_a_size_of_memory_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ConfigurationError, match="no size of memory"):
        bytes_of(size)


def test_sizes_of_memory_are_read_as_people_write_them() -> None:
    assert (bytes_of("4GB"), bytes_of("512MiB")) == (4_000_000_000, 512 << 20)

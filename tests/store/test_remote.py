"""Extracts on object storage are read like files, results go there as Parquet; nothing of either stays behind."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from neutro_screen.errors import ConfigurationError, PublishError, UnreadableInputError
from neutro_screen.pipeline.backfill import backfill
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.export import export
from neutro_screen.store.schema import TABLES
from neutro_screen.store.views import VIEWS
from tests.nights import SAMPLE, command
from tests.store.test_backfill import tables

NIGHT = datetime(2026, 11, 22, 2)


@pytest.fixture
def storage() -> Iterator[MemoryFileSystem]:
    """The sample hospital's results in two years' folders, and its medications, on a storage without a file system."""
    files: MemoryFileSystem = fsspec.filesystem("memory")
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    for year, part in (("2024", lines[::2]), ("2025", lines[1::2])):
        files.pipe(f"/hospital/{year}/labs.csv", "\n".join([header, *part]).encode())
    files.pipe("/hospital/medications.csv", (SAMPLE / "medications.csv").read_bytes())
    yield files
    files.rm("/hospital", recursive=True)


def test_remote_files_give_the_tables_of_local_ones_and_leave_no_copy(
    storage: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    far, near = tmp_path / "far" / "s.duckdb", tmp_path / "near" / "s.duckdb"
    storage.get("/hospital", str(tmp_path / "copy"), recursive=True)
    for store, place in ((far, "memory://hospital"), (near, str(tmp_path / "copy"))):
        run(
            RunOptions(
                store=store, as_of=NIGHT, labs=(f"{place}/*/labs.csv",), medications=(f"{place}/medications.csv",)
            )
        )
    expected = tables(near)
    for name, frame in tables(far).items():
        assert frame.equals(expected[name]), name
    assert expected["anc"].height
    assert not list(scratch.iterdir())


def test_a_backfill_knows_remote_chunks_by_their_content(storage: MemoryFileSystem, tmp_path: Path) -> None:
    settings = RunOptions(store=tmp_path / "s" / "s.duckdb", as_of=NIGHT, labs=("memory://hospital/*/labs.csv",))
    assert backfill(settings, "year").chunks_run == 2
    assert backfill(settings, "year").chunks_run == 0
    storage.pipe("/hospital/2025/labs.csv", storage.cat("/hospital/2025/labs.csv") + b"\n")
    assert backfill(settings, "year").chunks_run == 1


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("memory://nowhere/SECRET.csv", UnreadableInputError, "memory://: no such file"),
        ("memory://nowhere/*.csv", UnreadableInputError, "no such file"),
        ("carrier-pigeon://SECRET", ConfigurationError, "carrier-pigeon://: no storage of this kind is installed"),
    ],
)
def test_what_is_not_there_is_said_without_repeating_the_address(
    tmp_path: Path, address: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as told:
        run(RunOptions(store=tmp_path / "s" / "s.duckdb", as_of=NIGHT, labs=(address,)))
    assert message in str(told.value)
    assert "SECRET" not in str(told.value)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital's results, screened."""
    path = tmp_path_factory.mktemp("export") / "s.duckdb"
    run(RunOptions(store=path, as_of=NIGHT, labs=(str(SAMPLE / "labs.csv"),)))
    return path


def test_tables_are_exported_whole_private_and_with_their_checksums(store: Path, tmp_path: Path) -> None:
    done = command("export", "--store", store, "--to", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert set(manifest["tables"]) == {*TABLES, *VIEWS}
    for name, about in manifest["tables"].items():
        file = folder / f"{name}.parquet"
        assert pl.scan_parquet(file).select(pl.len()).collect().item() == about["rows"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == about["sha256"]
        assert file.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    assert manifest["tables"]["anc"]["rows"] > 100


def test_an_export_to_object_storage_is_the_same(store: Path, tmp_path: Path) -> None:
    far, near = export(store, "memory://exported", at=NIGHT), export(store, str(tmp_path), at=NIGHT)
    files: MemoryFileSystem = fsspec.filesystem("memory")
    assert files.cat(f"{far}/manifest.json") == Path(near, "manifest.json").read_bytes()
    assert files.cat(f"{far}/anc.parquet") == Path(near, "anc.parquet").read_bytes()
    files.rm("/exported", recursive=True)


def test_a_place_that_cannot_be_written_is_said(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PublishError, match="cannot be written"):
        export(store, str(tmp_path / "file"), at=NIGHT)

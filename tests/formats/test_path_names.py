"""A path that was found is a path: no reader takes the signs in a file's or folder's name for a pattern or an option."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from neutro_screen.admin.propose import propose_profile
from neutro_screen.ingest import Extract, ingest
from neutro_screen.pipeline.backfill import backfill
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist
from neutro_simulator import Hospital
from tests.formats import hospital_files as files
from tests.nights import command

SHARED_CASE = Path(__file__).parents[3] / "shared" / "cases" / "operations" / "pattern_in_name"
NIGHT = datetime(2026, 11, 22, 2)
#: One sign, or one kind of sign, each; the stem of a file or the name of a folder.
STEMS = (
    "labs[1]",
    "[!l]abs",
    "[]]",
    "la*bs",
    "**",
    "la?bs",
    "{labs,other}",
    "~labs",
    "~",
    "it's",
    'labs "new"',
    "50%25",
    "#labs",
    "labs&b;c",
    "labs b",
    "µ é 血",
    "-labs",
    "--store",
    "back\\slash",
    "\\[x]",
    "year=2024",
    "sqlite:labs",
    "labs$HOME",
    "(labs)|!",
    "labs::b",
    "null\nline",
)
#: The signs once more, as many in a name as leave each its meaning: a store cannot hold ``?`` or a backslash, and its nights
#: cost a second each.
STORE_STEMS = ("~", "--store $HOME [!l]a*bs{labs,other}\nµ 血", 'sqlite:a "new" it\'s 50%25 #&;c (a)|!', "year=2024")
#: All signs at once.
EVERY_SIGN = "-~[1]*?{a,b}'\" %20#&;=é\\:"
_HEADER = "patient_id,specimen_id,collected_at,loinc,value,unit\n"
Writer = Callable[[Hospital, Path], dict[str, list[str]]]


def _labs(patient: str, value: str) -> str:
    """An extract of one count."""
    return f"{_HEADER}{patient},S-{patient},2026-11-20 08:00:00,751-8,{value},10*9/L\n"


def _patients(extract: Extract) -> list[str]:
    return sorted(extract.labs["patient_id"].to_list())


#: Beside the files of odd names stand those that such a name would match as a pattern.
DECOYS = ("labs1", "labs", "l", "a", "x", "laXbs", "other")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of every name and the decoys; each is of a patient of its own."""
    folder = tmp_path_factory.mktemp("planted") / "d"
    folder.mkdir()
    for number, stem in enumerate(STEMS):
        (folder / f"{stem}.csv").write_text(_labs(f"SICK-{number:02}", "0.05"), "utf-8")
    for decoy in DECOYS:
        (folder / f"{decoy}.csv").write_text(_labs(f"WELL-{decoy}", "4.5"), "utf-8")
    return folder


@pytest.mark.parametrize("stem", STEMS)
def test_a_named_file_is_that_file(planted: Path, stem: str) -> None:
    assert _patients(ingest({"lab": [f"{planted}/{stem}.csv"]})) == [f"SICK-{STEMS.index(stem):02}"]


@pytest.mark.parametrize("given", ["", "/*.csv"], ids=["folder", "pattern"])
def test_a_folder_is_read_once(planted: Path, given: str) -> None:
    everybody = [f"SICK-{number:02}" for number in range(len(STEMS))] + sorted(f"WELL-{decoy}" for decoy in DECOYS)
    assert _patients(ingest({"lab": [f"{planted}{given}"]})) == everybody


@pytest.mark.parametrize("stem", STEMS)
def test_a_folder_of_that_name_and_relative_paths(tmp_path: Path, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file, patient in (("labs1", "labs", "WELL"), (stem, stem, "SICK")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{file}.csv").write_text(_labs(patient, "0.05"), "utf-8")
    monkeypatch.chdir(tmp_path)
    for given in (stem, f"{stem}/{stem}.csv"):
        assert _patients(ingest({"lab": [given]})) == ["SICK"]
    monkeypatch.chdir(tmp_path / stem)
    assert _patients(ingest({"lab": [f"{stem}.csv"]})) == ["SICK"]
    assert _patients(ingest({"lab": ["*.csv"]})) == ["SICK"]


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst"])
@pytest.mark.parametrize("stem", ["labs[1]", EVERY_SIGN])
def test_packed_and_transcoded_copies_too(tmp_path: Path, stem: str, suffix: str) -> None:
    import pyarrow as pa

    packed = tmp_path / f"{stem}{suffix}"
    with pa.output_stream(str(packed), compression={".csv.gz": "gzip", ".csv.zst": "zstd"}[suffix]) as stream:
        stream.write(_labs("SICK", "0.05").encode())
    (tmp_path / f"{stem}.csv").write_bytes(_labs("SÍCK", "0.05").encode("cp1252"))
    (tmp_path / f"{stem}.tsv").write_bytes(_labs("SYCK", "0.05").replace(",", "\t").encode("utf-16"))
    assert _patients(ingest({"lab": [str(tmp_path)]})) == ["SICK", "SYCK", "SÍCK"]


@pytest.fixture(scope="module")
def small() -> Hospital:
    """A few patients are enough."""
    return files.hospital(finals_only=True)


@pytest.mark.parametrize(
    "write",
    [
        files.write_native,
        files.write_parquet,
        files.write_excel,
        files.write_hl7,
        files.write_fhir,
        files.write_mimic4,
        files.write_omop_folder,
        files.write_omop_database,
        files.write_xpt,
        files.write_dataset_json,
    ],
    ids=lambda write: write.__name__,
)
def test_every_format_under_a_name_of_every_sign(tmp_path: Path, small: Hospital, write: Writer) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    paths = write(small, plain)
    expected = ingest(paths)
    renamed: dict[str, list[str]] = {}
    odd = tmp_path / EVERY_SIGN
    odd.mkdir()
    for kind, (path,) in paths.items():
        place = Path(path)
        target = odd / (f"{kind}{EVERY_SIGN}{place.suffix}" if place.is_file() else f"{kind}{EVERY_SIGN}")
        (shutil.copytree if place.is_dir() else shutil.copy)(place, target)
        renamed[kind] = [str(target)]
    found = ingest(renamed)
    for name in ("labs", "medications", "patients", "diagnoses", "events"):
        ours, theirs = (getattr(each, name).drop("source_file") for each in (found, expected))
        assert ours.equals(theirs), name
    assert found.labs.height


@pytest.mark.parametrize("stem", ["labs[1]", EVERY_SIGN])
def test_a_profile_is_proposed_for_a_file_of_any_name(tmp_path: Path, stem: str) -> None:
    frame = pl.DataFrame({"patient_id": ["SICK"], "loinc": ["751-8"], "value": ["0.05"], "unit": ["10*9/L"]})
    frame.write_parquet(tmp_path / "frame")
    (tmp_path / "frame").rename(tmp_path / f"{stem}.parquet")
    frame.write_parquet(tmp_path / "plain.parquet")
    proposed, plain = (propose_profile(tmp_path / f"{name}.parquet").splitlines() for name in (stem, "plain"))
    # Two lines name the file itself.
    own = ("name = ", "# plain.parquet", f"# {stem}.parquet")
    assert [line for line in proposed if not line.startswith(own)] == [
        line for line in plain if not line.startswith(own)
    ]


@pytest.fixture
def storage() -> Iterator[MemoryFileSystem]:
    """A storage without a file system, emptied afterwards."""
    memory: MemoryFileSystem = fsspec.filesystem("memory")
    yield memory
    if memory.exists("/odd"):
        memory.rm("/odd", recursive=True)


@pytest.mark.parametrize("stem", ["labs[1]", "la*bs", "la?bs", "{labs,other}", "~labs", "it's", "50%25", "#1", "a&b;c"])
def test_object_storage_too(storage: MemoryFileSystem, stem: str) -> None:
    for decoy in ("labs1", "labs", "laXbs", "other"):
        storage.pipe(f"/odd/{decoy}.csv", _labs(f"WELL-{decoy}", "4.5").encode())
    storage.pipe(f"/odd/{stem}.csv", _labs("SICK", "0.05").encode())
    storage.pipe(f"/odd/{stem}/{stem}.csv", _labs("SICK", "0.05").encode())
    everybody = ["SICK", "WELL-laXbs", "WELL-labs", "WELL-labs1", "WELL-other"]
    assert _patients(ingest({"lab": [f"memory://odd/{stem}.csv"]})) == ["SICK"]
    assert _patients(ingest({"lab": [f"memory://odd/{stem}"]})) == ["SICK"]
    assert _patients(ingest({"lab": ["memory://odd/*.csv"]})) == everybody


def test_the_shared_case_is_read_once_and_the_sick_patient_is_in_the_tables(tmp_path: Path) -> None:
    for way in (run, lambda settings: backfill(settings, "file")):
        store = tmp_path / f"{way.__name__}" / "s.duckdb"
        way(RunOptions(store=store, as_of=NIGHT, labs=(str(SHARED_CASE),)))
        with duckdb.connect(str(store), read_only=True) as connection:
            counts = connection.execute("SELECT patient_id, anc_cells_per_ul FROM anc ORDER BY ALL").fetchall()
            listed = connection.execute("SELECT patient_id, priority FROM worklist").fetchall()
        assert counts == [("SICK-1", 50), ("WELL-1", 4500)]
        assert listed == [("SICK-1", "critical")]


@pytest.mark.parametrize("name", STORE_STEMS)
def test_a_store_and_its_rows_in_a_folder_of_that_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    labs = folder / f"{name}.csv"
    labs.write_text(_labs("SICK", "0.05"), "utf-8")
    monkeypatch.chdir(folder)
    store = Path(f"{name}.duckdb")
    # So little memory that the rows wait in files beside the store.
    for _ in range(2):
        run(RunOptions(store=store, as_of=NIGHT, labs=(labs.name,), reports=Path(name), memory=100_000_000))
    assert (folder / name / "report.html").exists()
    assert store.exists()
    with reading(store) as connection:
        assert current_worklist(connection)["patient_id"].to_list() == ["SICK"]


def test_the_command_takes_such_names(tmp_path: Path) -> None:
    labs = tmp_path / "-labs [1].csv"
    labs.write_text(_labs("SICK", "0.05"), "utf-8")
    (tmp_path / "-labs 1.csv").write_text(_labs("WELL", "4.5"), "utf-8")
    done = command("run", f"--labs={labs.name}", "--store=~it's.duckdb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SICK" in command("worklist", "--store=~it's.duckdb", cwd=tmp_path).stdout
    (tmp_path / "~it's.duckdb").unlink()
    done = command("check", "--labs=.", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["rows_in"] == 2, done.stderr


@pytest.mark.parametrize("sign", ["?", "\\"])
def test_a_store_whose_path_duckdb_would_misread_is_refused_at_once(tmp_path: Path, sign: str) -> None:
    labs = tmp_path / "labs.csv"
    labs.write_text(_labs("SICK", "0.05"), "utf-8")
    for store in (tmp_path / f"a{sign}b" / "s.duckdb", tmp_path / f"a{sign}b.duckdb"):
        done = command("run", "--labs", labs, "--store", store)
        assert done.returncode == 10, done.stderr
        assert f"a store's path cannot hold {sign}" in done.stderr
    assert not list(tmp_path.glob("a*"))

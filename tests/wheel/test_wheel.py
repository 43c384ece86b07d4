"""What is installed works away from the repository: the wheel holds both packages and all reference data."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from neutro_screen.admin.self_test.installed import reference_hashes
from neutro_screen.admin.self_test.known_counts import LADDERS
from neutro_screen.admin.self_test.record import content_hash
from neutro_screen.cli.self_test import sample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_packages_the_reference_data_and_the_report(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = [path.relative_to(ROOT) for path in (ROOT / "neutro_screen").rglob("*") if path.is_file()]
    missing = [str(path) for path in tracked if "__pycache__" not in path.parts and str(path) not in names]
    assert missing == []
    assert "neutro_schemas/__init__.py" in names
    assert {"neutro_screen/flows/nightly.py", "neutro_screen/prefect.yaml", "neutro_screen/requirements.lock"} <= names
    assert {f"neutro_screen/deploy/{path.name}" for path in (ROOT / "deploy").iterdir()} <= names
    assert not [name for name in names if name.startswith(("tests/", "flows/", "sample_data/"))]


def built(kind: str, source: Path, folder: Path) -> Path:
    """A distribution of a source folder, built without a network."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def test_the_wheel_of_the_source_distribution_and_of_the_container_is_the_same(wheel: Path, tmp_path: Path) -> None:
    names = sorted(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(built("sdist", ROOT, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert sorted(zipfile.ZipFile(built("wheel", source, tmp_path / "second")).namelist()) == names
    context = tmp_path / "context"
    context.mkdir()
    for line in (source / "deploy" / "Containerfile").read_text("utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for name in line.split()[1:-1]:
                copy = shutil.copytree if (source / name).is_dir() else shutil.copy
                copy(source / name, context / name)
    assert sorted(zipfile.ZipFile(built("wheel", context, tmp_path / "third")).namelist()) == names


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an empty environment into which only the wheel was installed; its dependencies come from this one."""
    place = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    # A folder that a .pth file names is searched, and its own .pth files (the editable install of this repository) are not read.
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    where = "import neutro_screen, neutro_schemas; print(neutro_screen.__file__, neutro_schemas.__file__)"
    done = subprocess.run([python, "-I", "-c", where], capture_output=True, text=True, check=True, cwd=place)
    assert done.stdout.count(str(packages)) == 2
    return place / "bin" / "neutro-screen"


def test_the_installed_program_screens_the_sample_from_another_folder(program: Path, tmp_path: Path) -> None:
    command = [program, "run", "--labs", ROOT / "sample_data" / "labs.csv", "--store", tmp_path / "s.duckdb"]
    command += ["--reports", tmp_path / "reports", "--as-of", "2026-11-22T02:00"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows in 1665" in done.stdout
    assert (tmp_path / "reports" / "report.html").exists()


def test_the_installed_program_writes_the_files_of_a_deployment(program: Path, tmp_path: Path) -> None:
    for words in (["init", "settings", "--deploy", "deploy"], ["doctor"]):
        done = subprocess.run([program, *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    shipped = {path.name for path in (ROOT / "deploy").iterdir()} | {"prefect.yaml", "flows/nightly.py"}
    assert {f"deploy/{name}" for name in shipped} <= written
    assert {f"settings/{name}.toml" for name in ("profile", "policy", "notify")} <= written
    for name in ("prefect.yaml", "flows/nightly.py", "flows/backfill.py"):
        assert (tmp_path / "deploy" / name).read_bytes() == (ROOT / name).read_bytes()
    assert (tmp_path / "deploy" / "neutro-screen.service").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "settings" / "notify.toml").stat().st_mode & 0o777 == 0o600
    again = subprocess.run([program, "init", "--deploy", "deploy"], capture_output=True, text=True, cwd=tmp_path)
    assert (again.returncode, "is there already" in again.stderr) == (10, True)


def processor_seconds() -> float:
    """What ended children of this process have used."""
    used = os.times()
    return used.children_user + used.children_system


def test_the_installed_program_proves_itself_within_a_minute_on_a_record_that_can_be_checked(
    program: Path, tmp_path: Path
) -> None:
    """The whole self-test, which tests/store/test_self_test.py takes apart."""
    begun = processor_seconds()
    command = [program, "doctor", "--self-test", "--store", tmp_path / "screen.duckdb", "--out", tmp_path / "record"]
    done = subprocess.run([*command, "--by", "A. Tester", "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert processor_seconds() - begun < 60
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
    record = json.loads((tmp_path / "record" / "self_test.json").read_text("utf-8"))
    checks = {finding["check"]: finding["state"] for finding in record["findings"]}
    assert set(checks.values()) == {"ok"}
    assert (record["passed"], record["by"]) == (True, "A. Tester")
    assert json.loads(done.stdout)["findings"] == record["findings"]
    assert {f"grades {ladder}" for ladder in LADDERS} <= checks.keys()
    assert {"clozapine schedule us", "clozapine schedule eu"} <= checks.keys()
    assert {f"format {form.name}" for form in sample().forms} <= checks.keys()
    assert len([check for check in checks if check.startswith("store: ")]) == 5
    assert record["sha256"] == content_hash(record)
    assert record["sha256"] != content_hash(record | {"passed": False})
    assert record["reference_tables_sha256"] == reference_hashes()
    text = (tmp_path / "record" / "self_test.txt").read_text("utf-8")
    assert "PASSED" in text
    assert record["sha256"] in text
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "record").iterdir()} == {0o600}


def test_the_installed_program_names_a_changed_table(program: Path, tmp_path: Path) -> None:
    (bands,) = program.parents[1].glob("lib/python*/site-packages/neutro_screen/reference/anc_bands.csv")
    released = bands.read_text("utf-8")
    bands.write_text(released.replace("500", "600"), "utf-8")
    (tmp_path / "closed").mkdir(mode=0o500)  # what needs a store is left out: it was tried above
    broken = subprocess.run(
        [program, "doctor", "--self-test", "--store", tmp_path / "closed" / "s.duckdb"], capture_output=True, text=True
    )
    bands.write_text(released, "utf-8")
    assert broken.returncode == 1
    assert "FAILED: program files, reference table anc_bands.csv, store folder" in broken.stdout

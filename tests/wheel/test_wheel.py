"""What is installed works away from the repository: the wheel holds both packages and all reference data."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_packages_the_reference_data_and_the_report(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = [path.relative_to(ROOT) for path in (ROOT / "neutro_screen").rglob("*") if path.is_file()]
    missing = [str(path) for path in tracked if "__pycache__" not in path.parts and str(path) not in names]
    assert missing == []
    assert "neutro_schemas/__init__.py" in names
    assert "neutro_screen/flows/nightly.py" in names
    assert not [name for name in names if name.startswith(("tests/", "flows/", "sample_data/"))]


def test_the_installed_program_screens_the_sample_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    program = (
        "import sys; root = sys.argv.pop(2); sys.path = [sys.argv.pop(1)] + [p for p in sys.path if not p.startswith(root) or 'site-packages' in p]; "
        "import neutro_screen; assert neutro_screen.__file__.startswith(sys.path[0]), neutro_screen.__file__; "
        "from neutro_screen.cli.app import main; main()"
    )
    command = [
        sys.executable,
        "-I",
        "-c",
        program,
        str(target),
        str(ROOT),
        "run",
        "--labs",
        str(ROOT / "sample_data" / "labs.csv"),
    ]
    command += ["--store", str(tmp_path / "s.duckdb"), "--as-of", "2026-11-22T02:00"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows in 1665" in done.stdout

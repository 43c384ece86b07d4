"""Whether what is installed is what was released: the program's files, the reference tables, the libraries."""

import base64
import csv
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final

import neutro_screen
from neutro_screen.admin.doctor import Finding
from neutro_screen.reference import FOLDER

#: SHA-256 of every reference table as released; written by ``python -m tests.golden.self_test``.
RECORDED: Final = Path(__file__).with_name("reference_files.csv")
_PACKAGE: Final = "neutro-screen"
_AGAIN: Final = "Install the released wheel again."


def program_files() -> list[Finding]:
    """Every file of the wheel against the hash that the wheel's own record has of it."""
    installed = distribution(_PACKAGE)
    if _is_working_copy(installed):
        return [Finding("program files", "skipped", "a working copy is installed, no wheel: its files have no record")]
    recorded = {str(file): file.hash.value for file in installed.files or () if file.hash and file.suffix != ".pyc"}
    wrong = [
        name for name, sha256 in recorded.items() if _record_hash(Path(str(installed.locate_file(name)))) != sha256
    ]
    if not recorded or wrong:
        what = f"changed or missing: {_listed(wrong)}" if recorded else "the installation has no record of its files"
        return [Finding("program files", "failed", what, _AGAIN)]
    return [Finding("program files", "ok", f"{len(recorded)} files as in the wheel")]


def _is_working_copy(installed: Distribution) -> bool:
    told = json.loads(installed.read_text("direct_url.json") or "{}")
    return bool(told.get("dir_info", {}).get("editable"))


def _record_hash(path: Path) -> str | None:
    """SHA-256 as a wheel's RECORD writes it; None where the file is missing."""
    if not path.is_file():
        return None
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()


def reference_hashes(folder: Path = FOLDER) -> dict[str, str]:
    """SHA-256 of every reference table of a folder, by file name."""
    tables = sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".toml"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tables}


def reference_files(folder: Path = FOLDER) -> list[Finding]:
    """Every reference table against its recorded hash: a finding of its own for each that differs."""
    with RECORDED.open(encoding="utf-8", newline="") as rows:
        recorded = {row["file"]: row["sha256"] for row in csv.DictReader(rows)}
    present = reference_hashes(folder)
    wrong = [
        Finding(f"reference table {name}", "failed", _difference(name, recorded, present), _AGAIN)
        for name in sorted(recorded.keys() | present.keys())
        if recorded.get(name) != present.get(name)
    ]
    return wrong or [Finding("reference tables", "ok", f"{len(present)} tables as released")]


def _difference(name: str, recorded: Mapping[str, str], present: Mapping[str, str]) -> str:
    if name not in present:
        return "is missing"
    if name not in recorded:
        return "was not released with the program"
    return f"was changed: SHA-256 {present[name][:16]}…, released {recorded[name][:16]}…"


def lock_file() -> Path:
    """The list of tried versions: inside the installed package, or at the top of the repository."""
    package = Path(neutro_screen.__file__).parent
    packed = package / "requirements.lock"
    return packed if packed.exists() else package.parent / "requirements.lock"


def locked_versions(text: str) -> dict[str, set[str]]:
    """Package -> the versions that a lock file allows; several where they depend on the version of Python."""
    locked: dict[str, set[str]] = {}
    for name, number in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE):
        locked.setdefault(name, set()).add(number)
    return locked


def library_versions() -> list[Finding]:
    """Every installed library of the lock file against its locked version; a finding of its own for each that differs."""
    needed = {
        re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].lower()
        for text in distribution(_PACKAGE).requires or ()
        if "extra ==" not in text
    }
    same, wrong = 0, list[Finding]()
    for name, allowed in sorted(locked_versions(lock_file().read_text("utf-8")).items()):
        wanted = " or ".join(sorted(allowed))
        remedy = f"pip install '{name}=={min(allowed)}', or install with requirements.lock."
        try:
            found = version(name)
        except PackageNotFoundError:
            if name in needed:
                wrong.append(Finding(f"library {name}", "failed", f"is not installed; tried was {wanted}", remedy))
            continue
        if found in allowed:
            same += 1
        else:
            wrong.append(Finding(f"library {name}", "failed", f"version {found}; tried was {wanted}", remedy))
    return wrong or [Finding("libraries", "ok", f"{same} libraries in the versions of requirements.lock")]


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")

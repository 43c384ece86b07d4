"""The record of a self-test, to be signed and filed: a text and a JSON file with versions, hashes and every finding."""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from neutro_screen import __version__
from neutro_screen.admin.doctor import Finding
from neutro_screen.admin.self_test.installed import lock_file, locked_versions, reference_hashes
from neutro_screen.errors import PublishError
from neutro_screen.private import replace_together
from neutro_screen.reference import load_policy
from neutro_screen.store.schema import SCHEMA_VERSION

_STEM: Final = "self_test"
_FORMS: Final = (".json", ".txt")


def self_test_record(findings: Sequence[Finding], at: datetime, by: str) -> dict[str, Any]:
    """What was tested, where, when and by whom, as JSON can hold it; ``sha256`` is that of all the rest."""
    policy = load_policy()
    told: dict[str, Any] = {
        "title": "neutro-screen self-test",
        "passed": all(finding.state != "failed" for finding in findings),
        "at": f"{at.isoformat(timespec='seconds')}Z",
        "by": by,
        "software_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "policy_version": policy.version,
        "policy_sha256": policy.sha256,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "findings": [finding._asdict() for finding in findings],
        "libraries": _installed(),
        "reference_tables_sha256": reference_hashes(),
    }
    return told | {"sha256": content_hash(told)}


def content_hash(record: dict[str, Any]) -> str:
    """SHA-256 of a record without its own hash: a changed copy shows."""
    told = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _installed() -> dict[str, str]:
    found = {}
    for name in sorted(locked_versions(lock_file().read_text("utf-8"))):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def findings_table(findings: Sequence[Finding]) -> str:
    """One line a check: state, check, what was found; the remedy under what is not in order."""
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8}{finding.check:{width}}  {finding.found}")
        if finding.remedy and finding.state != "ok":
            lines.append(f"{'':8}{'':{width}}  -> {finding.remedy}")
    failed = [finding.check for finding in findings if finding.state == "failed"]
    states = Counter(finding.state for finding in findings)
    counted = ", ".join(f"{states[state]} {state}" for state in ("ok", "warning", "skipped") if states[state])
    return "\n".join([*lines, "", f"FAILED: {', '.join(failed)}" if failed else f"PASSED: {counted}"])


def record_text(record: dict[str, Any]) -> str:
    """The record as a page to print and sign."""
    findings = [Finding(**finding) for finding in record["findings"]]
    heads = ("at", "by", "software_version", "schema_version", "policy_version", "policy_sha256", "python", "system")
    titles = [f"{name.replace('_', ' '):18}{record[name]}" for name in heads]
    libraries = [f"{name:24}{number}" for name, number in record["libraries"].items()]
    tables = [f"{name:28}{sha256}" for name, sha256 in record["reference_tables_sha256"].items()]
    return "\n".join(
        [
            record["title"],
            "=" * len(record["title"]),
            *titles,
            "",
            findings_table(findings),
            "",
            "Libraries",
            *libraries,
            "",
            "Reference tables (SHA-256)",
            *tables,
            "",
            f"SHA-256 of this record: {record['sha256']}",
            "",
            "Accepted for use: yes / no    Name: ____________________    Date and signature: ____________________",
            "",
        ]
    )


def write_record(record: dict[str, Any], out: Path) -> list[Path]:
    """Write the record, private to its owner: one file where ``out`` ends in .json or .txt, else both in the folder.

    Raises:
        PublishError: it cannot be written there.
    """
    wanted = [out] if out.suffix in _FORMS else [out / f"{_STEM}{suffix}" for suffix in _FORMS]
    texts = {".json": json.dumps(record, indent=1, ensure_ascii=False) + "\n", ".txt": record_text(record)}
    try:
        wanted[0].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_together({path: [texts[path.suffix].encode()] for path in wanted})
    except OSError as error:
        raise PublishError(
            f"the record cannot be written ({error.strerror})", where=str(out), remedy="Name another place with --out."
        ) from None
    return wanted

"""Control totals: what the sender says a file holds (SHA-256, number of rows), checked where a profile names it.

A file that was cut at the end of a line looks whole to every reader; only its sender knows how long it was.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.profile import ControlTotals

_LONGEST_TRAILER: Final = 4096


@dataclass(frozen=True)
class Stated:
    """What the sender says of a file; None = nothing."""

    sha256: str | None = None
    rows: int | None = None


def is_control_file(path: Path, control: ControlTotals) -> bool:
    """Whether a file is the manifest or the checksum of others, and no extract."""
    return path.name == control.manifest or bool(control.checksum and path.name.endswith(control.checksum))


def stated_totals(path: Path, control: ControlTotals) -> Stated:
    """What the checksum beside a file and the manifest in its folder say.

    Raises:
        UnreadableInputError: one of them cannot be read, or they contradict each other.
        RefusedInputError: nothing is said of the file and the profile requires it.
    """
    beside = path.with_name(f"{path.name}{control.checksum}") if control.checksum else None
    listed = _manifest(path.parent / control.manifest) if control.manifest else {}
    by_manifest = listed.get(path.name, Stated())
    sums = {_checksum(beside) if beside and beside.is_file() else None, by_manifest.sha256} - {None}
    if len(sums) > 1:
        raise UnreadableInputError("its checksum and the manifest contradict each other", where=path.name)
    stated = Stated(next(iter(sums), None), by_manifest.rows)
    if control.required and stated == Stated() and control.trailer is None:
        raise RefusedInputError(
            "comes without the control totals that the profile requires",
            where=path.name,
            remedy="Wait for the checksum or the manifest, or ask the sender.",
        )
    return stated


def check_sha256(path: Path, found: str, stated: Stated) -> None:
    """Raises UnreadableInputError where the bytes are not those that the sender had."""
    if stated.sha256 is not None and stated.sha256 != found:
        raise UnreadableInputError(
            "is not the file that its sender has (another SHA-256)", where=path.name, remedy="Copy the file again."
        )


def check_rows(path: Path, found: int, stated: Stated) -> None:
    """Raises RefusedInputError where rows are missing, or more than the sender counted."""
    if stated.rows is not None and stated.rows != found:
        raise RefusedInputError(
            f"holds {found} rows, its sender counted {stated.rows}",
            where=path.name,
            remedy="Was the copy cut off? Send it again.",
        )


def without_trailer(text: Path, path: Path, trailer: str, copy: Path) -> tuple[Path, int]:
    """A text without its last line, and the number of rows that this line states; the copy is made where it is no copy yet.

    Raises:
        RefusedInputError: the last line is no trailer: the end of the file is missing.
    """
    with text.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LONGEST_TRAILER))
        end = file.read().rstrip(b"\r\n\x1a ")
    start = max(end.rfind(b"\n"), end.rfind(b"\r")) + 1
    found = re.search(trailer, end[start:].decode("utf-8", errors="replace"))
    if found is None:
        raise RefusedInputError(
            "does not end with the trailer of the profile",
            where=path.name,
            remedy="Was the copy cut off? Send it again.",
        )
    whole = size - min(size, _LONGEST_TRAILER) + start
    with text.open("rb") as source, copy.open("wb") as target:
        while whole and (chunk := source.read(min(whole, 1 << 20))):
            whole -= target.write(chunk)
    return copy, int(found.group(1))


def _checksum(path: Path) -> str:
    """The SHA-256 in a file as ``sha256sum`` writes it."""
    try:
        words = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError):
        words = []
    return _hexadecimal(words[0] if words else "", path)


def _manifest(path: Path) -> Mapping[str, Stated]:
    """What a manifest (CSV with ``file``, ``rows``, ``sha256``) says of the files beside it; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            listed = {
                line["file"]: Stated(
                    _hexadecimal(line["sha256"], path) if line.get("sha256") else None,
                    int(line["rows"]) if line.get("rows") else None,
                )
                for line in csv.DictReader(file)
            }
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError):
        raise UnreadableInputError(
            "is no manifest", where=path.name, remedy="Its columns are file, rows and sha256, one file a line."
        ) from None
    return listed


def _hexadecimal(text: str, path: Path) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise UnreadableInputError("holds no SHA-256 where one should be", where=path.name)
    return text.lower()

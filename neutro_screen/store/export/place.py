"""Where an export is written: a folder that takes its predecessor's place as a whole, or object storage.

On object storage nothing can be replaced as a whole: ``manifest.json`` is removed first and written last, so that a
folder without one is not whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from neutro_screen.errors import PublishError
from neutro_screen.ingest.remote import is_remote, storage_of
from neutro_screen.private import private_file

_MANIFEST: Final = "manifest.json"


class SummingFile:
    """An append-only file that keeps the SHA-256 of its content."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.digest.update(content)
        self._file.write(content)
        return len(content)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True


@dataclass
class Place:
    """An open export: ``file`` makes a file of it; what was written, by name, with rows and checksum.

    ``beside`` is the folder that the export's own folder is made in.
    """

    opened: Callable[[str], IO[bytes]]
    beside: str
    written: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextmanager
    def file(self, name: str, entry: str | None = None) -> Iterator[tuple[SummingFile, dict[str, Any]]]:
        """A new file, and its entry in the manifest (``entry``, else the file's name), whose ``rows`` are to be set."""
        about = self.written.setdefault(entry or name, {"rows": 0})
        with self.opened(name) as file:
            summing = SummingFile(file)
            yield summing, about
        about["sha256"] = summing.digest.hexdigest()


@contextmanager
def writing(to: str, name: str, about: Mapping[str, Any], files_called: str) -> Iterator[tuple[Place, str]]:
    """A place for files in the folder ``name`` of ``to``, and its address; whole or not there when this ends.

    ``about`` stands in the manifest, the files under the name ``files_called``. Local files are private to their owner.

    Raises:
        PublishError: the place cannot be written to; what was there before stands.
        ConfigurationError: fsspec or the storage's package is not installed.
    """
    to = to.rstrip("/") or "/"
    address = f"{to}/{name}"
    with _refusing(to), _in_storage(address) if is_remote(address) else _in_folder(Path(address)) as opened:
        place = Place(opened, to)
        yield place, address
        manifest = {**about, files_called: place.written}
        with opened(_MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())


@contextmanager
def _refusing(to: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"cannot be written ({error.strerror or type(error).__name__})",
            where=to,
            remedy="Name a folder that this user may write, or its parent, with --to.",
        ) from None


@contextmanager
def _in_storage(address: str) -> Iterator[Callable[[str], IO[bytes]]]:
    storage, folder = storage_of(address)
    if storage.exists(f"{folder}/{_MANIFEST}"):
        storage.rm_file(f"{folder}/{_MANIFEST}")
    yield lambda name: storage.open(f"{folder}/{name}", "wb")


@contextmanager
def _in_folder(folder: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    aside, before = (folder.with_name(f".{folder.name}.{word}") for word in ("next", "before"))
    for left in (aside, before):
        shutil.rmtree(left, ignore_errors=True)
    aside.mkdir(mode=0o700, parents=True)
    try:
        yield lambda name: private_file(aside / name)
        if folder.exists():
            os.replace(folder, before)
        os.replace(aside, folder)
    finally:
        for left in (aside, before):
            shutil.rmtree(left, ignore_errors=True)

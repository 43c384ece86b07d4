"""Files and folders that only their owner can read, and the clearing away of those that a killed process left."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, Final


def private_file(path: Path, mode: str = "wb") -> IO[Any]:
    """A new file that only its owner can read, whatever the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), mode)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder (0700) that is gone afterwards, whatever happens."""
    place = _UNPACKED.get()
    if place is None:
        _sweep(Path(tempfile.gettempdir()))
    else:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"neutro-screen-{os.getpid()}-", dir=place))
    os.chmod(folder, 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def unpacking_in(folder: Path | None) -> Iterator[None]:
    """Where ``private_folder`` makes its folders meanwhile; None = where the system keeps temporary files."""
    before = _UNPACKED.set(folder)
    try:
        yield
    finally:
        _UNPACKED.reset(before)


_UNPACKED: Final = ContextVar[Path | None]("unpacked", default=None)


def _sweep(place: Path) -> None:
    """Remove the folders of processes of ours that were killed."""
    for folder in place.glob("neutro-screen-[0-9]*-*"):
        process = int(folder.name.split("-")[2])
        try:
            if folder.stat().st_uid == os.getuid():
                os.kill(process, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue

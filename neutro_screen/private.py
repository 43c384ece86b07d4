"""Files and folders that only their owner can read, and the clearing away of those that a killed process left."""

import os
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, Final


def forbid_core_dumps() -> None:
    """No memory image of this process, or of those that it starts, is written when it crashes: it would hold rows."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_stream(path: Path) -> bool:
    """Whether a path is a named pipe, a socket or a device: reading from it may wait for ever, and nobody can read it twice."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


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
def removed_if_killed(folder: Path) -> Iterator[None]:
    """What is in a folder is removed at once when this process is killed meanwhile.

    A shell waits in the folder for the end of a pipe that only this process holds. It works on the folder that it is in: one
    that a later run makes under the same name is another. Nothing helps where both are killed at once (power, a whole
    control group): then the next run, ``doctor`` or the unit's ExecStopPost= removes it.
    """
    watch = subprocess.Popen(  # noqa: S603 - a fixed script; the folder is an argument, not a part of it
        ["/bin/sh", "-c", _REMOVE_AT_END, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C of a terminal is not for it
    )
    try:
        yield
    finally:
        if watch.stdin:
            watch.stdin.close()
        watch.wait()


_REMOVE_AT_END: Final = (
    'trap "" HUP INT TERM; cd -- "$1" || exit 1; read -r _; rm -rf -- ./* ./.[!.]*; [ "$1" -ef . ] && rmdir -- "$1"'
)


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

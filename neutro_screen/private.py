"""Files and folders that only their owner (and a group named by the operator) can read, and how they are replaced."""

import os
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
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


#: What a file may grant: reading and writing to its owner, and to a group if the operator says so. Nothing to others.
_OWNER: Final = stat.S_IRUSR | stat.S_IWUSR
_GROUP: Final = stat.S_IRGRP | stat.S_IWGRP


def take_rights_of(copy: Path, file: Path) -> None:
    """Give the copy that takes a file's place the owner, group and mode of the file.

    The mode is 0600 where the file grants anything to others. A new file is the user's; under ``sudo`` it gets the owner
    of its folder.

    Raises:
        OSError: this user may not give the copy to that owner or group.
    """
    if file.exists():
        owned_like(copy, file)
    elif os.geteuid() == 0:
        owned_like(copy, file.parent)
    os.chmod(copy, _granted_mode(file))


def _granted_mode(file: Path) -> int:
    if not file.exists():
        return _OWNER
    mode = stat.S_IMODE(file.stat().st_mode)
    return _OWNER if mode & stat.S_IRWXO else _OWNER | (mode & _GROUP)


def owned_like(path: Path, model: Path) -> None:
    """Give a file or folder to the owner and group of another one, so that a command under ``sudo`` takes nothing away.

    Raises:
        OSError: this user may not give it away.
    """
    wanted, present = model.stat(), path.stat()
    if wanted.st_uid != present.st_uid:
        os.chown(path, wanted.st_uid, wanted.st_gid)
    elif wanted.st_gid != present.st_gid and (os.geteuid() == 0 or stat.S_IMODE(wanted.st_mode) & _GROUP):
        os.chown(path, -1, wanted.st_gid)


def replace_together(contents: Mapping[Path, Iterable[bytes | memoryview]]) -> None:
    """Write files that belong together, each from its pieces: all of them are complete on disk before the first takes its
    predecessor's place.

    If one cannot be put in place, the earlier ones get their predecessors back.

    Raises:
        OSError: a file cannot be written or put in place; all files are as they were.
    """
    aside = {path: path.with_name(f".{path.name}.next") for path in contents}
    before = {path: path.with_name(f".{path.name}.before") for path in contents}
    replaced: list[Path] = []
    try:
        for path, pieces in contents.items():
            aside[path].unlink(missing_ok=True)
            with private_file(aside[path]) as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            take_rights_of(aside[path], path)
        for path in contents:
            before[path].unlink(missing_ok=True)
            if path.exists():
                _second_name(path, before[path])
        for path in contents:
            os.replace(aside[path], path)
            replaced.append(path)
    except BaseException:
        for path in replaced:
            if before[path].exists():
                os.replace(before[path], path)
            else:
                path.unlink()
        raise
    finally:
        for path in (*aside.values(), *before.values()):
            path.unlink(missing_ok=True)


def _second_name(path: Path, name: Path) -> None:
    """A hard link, or a private copy where the file system has none or the file is another user's."""
    try:
        os.link(path, name)
    except OSError:
        with private_file(name) as copy:
            copy.write(path.read_bytes())


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

    A shell waits in the folder for the end of a pipe that only this process holds. It is started in the folder itself, not
    by its name: one that a later run makes under the name is another, however late the shell begins. Nothing helps where
    both are killed at once (power, a whole control group): then the next run, ``doctor`` or the unit's ExecStopPost=
    removes it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        itself = Path(f"/proc/self/fd/{handle}")
        watch = subprocess.Popen(  # noqa: S603 - a fixed script
            ["/bin/sh", "-c", _REMOVE_AT_END],
            cwd=itself if itself.exists() else folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C of a terminal is not for it
        )
    finally:
        os.close(handle)
    try:
        yield
    finally:
        if watch.stdin:
            watch.stdin.close()
        watch.wait()


#: The empty folder stays: between a look at its name and a ``rmdir`` the next run may have made it anew.
_REMOVE_AT_END: Final = 'trap "" HUP INT TERM; read -r _; rm -rf -- ./* ./.[!.]*'


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

"""Inputs on object storage: ``s3://``, ``gs://``, ``az://``, ``sftp://`` … are copied into a private folder and read there.

Through fsspec, the extra ``remote`` and the storage's own package (s3fs, gcsfs, adlfs). What
a storage needs (keys, endpoints) comes from its own environment, never from the address.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any, Final

from neutro_screen.errors import ConfigurationError, UnreadableInputError, extra
from neutro_screen.ingest.formats.postgres import ADDRESSES
from neutro_screen.ingest.frames import Kind
from neutro_screen.private import private_folder

_MARK: Final = "://"


@contextmanager
def near_copies(paths: Mapping[Kind, Sequence[str]]) -> Iterator[Mapping[Kind, Sequence[str]]]:
    """The paths with local files or folders in place of every remote address or glob; the copies are gone afterwards.

    Raises:
        ConfigurationError: fsspec or the storage's package is not installed.
        UnreadableInputError: nothing is there, or it cannot be read.
    """
    far = {path for listed in paths.values() for path in listed if is_remote(path)}
    with private_folder() if far else nullcontext(Path()) as folder:
        copies = {address: _copied(address, folder / f"{number}") for number, address in enumerate(sorted(far), 1)}
        yield {kind: [near for path in listed for near in copies.get(path, [path])] for kind, listed in paths.items()}


def is_remote(path: str) -> bool:
    """Whether a path is the address of a storage that fsspec supports; a database is not."""
    return is_address(path) and not path.lower().startswith(ADDRESSES)


def is_address(path: str) -> bool:
    """Whether a path is an address, of a storage or a database, and no place in the file system."""
    return _MARK in path


def found_at(address: str) -> list[str]:
    """The addresses that an address or glob stands for, sorted; a folder stays one.

    Raises:
        ConfigurationError: fsspec or the storage's package is not installed.
        UnreadableInputError: nothing is there, or it cannot be read.
    """
    storage, place = storage_of(address)
    with _reading(address):
        return [str(storage.unstrip_protocol(one)) for one in _matches(storage, place, address)]


def state_at(address: str) -> list[tuple[str, str]]:
    """What changes when the content at an address does: per file its place, and its size with every mark of its version.

    Raises:
        UnreadableInputError: it cannot be read.
    """
    storage, place = storage_of(address)
    with _reading(address):
        files: dict[str, dict[str, object]] = storage.find(place, detail=True)
        return [(one, str([about.get(mark) for mark in _MARKS])) for one, about in sorted(files.items())]


#: What storages call the size and the version of a file.
_MARKS: Final = ("size", "ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")


def _copied(address: str, folder: Path) -> list[str]:
    """Copy what an address names into a folder of its own; the paths of the copies, under the names they had."""
    storage, place = storage_of(address)
    copies = []
    with _reading(address):
        for number, one in enumerate(_matches(storage, place, address)):
            target = folder / f"{number}" / PurePosixPath(one.rstrip("/")).name
            target.parent.mkdir(mode=0o700, parents=True)
            _get(storage, one, target)
            copies.append(str(target))
    return copies


def _get(storage: Any, one: str, target: Path) -> None:
    """Copy a file, or the files of a folder, each by its own name: ``storage.get`` takes names for patterns."""
    if not storage.isdir(one):
        storage.get_file(one, str(target))
        return
    target.mkdir(mode=0o700)
    for inside in storage.ls(one, detail=False):
        if inside.rstrip("/") != one.rstrip("/"):  # some storages list the folder in itself
            _get(storage, inside, target / PurePosixPath(inside.rstrip("/")).name)


def _matches(storage: Any, place: str, address: str) -> list[str]:
    found = [place] if storage.exists(place) else sorted(storage.glob(place))
    if not found:
        raise UnreadableInputError("no such file", where=_shown(address), remedy="Check the address.")
    return found


@contextmanager
def _reading(address: str) -> Iterator[None]:
    try:
        yield
    except UnreadableInputError:
        raise
    except Exception as error:  # every storage has errors of its own, and their texts may hold keys
        raise UnreadableInputError(
            f"the storage cannot be read ({type(error).__name__})", where=_shown(address), remedy="Check its settings."
        ) from None


def storage_of(address: str) -> tuple[Any, str]:
    """The storage of an address and the place in it.

    Raises:
        ConfigurationError: fsspec or the storage's package is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ConfigurationError("remote files need fsspec", remedy=extra("remote")) from None
    try:
        storage, place = url_to_fs(address)
    except (ImportError, ValueError):
        raise ConfigurationError(
            "no storage of this kind is installed",
            where=_shown(address),
            remedy="Install its package: s3fs for s3://, gcsfs for gs://, adlfs for az://.",
        ) from None
    return storage, place


def _shown(address: str) -> str:
    """The scheme only: an address may hold keys, and a file's name a patient's."""
    return address.split(_MARK, 1)[0] + _MARK

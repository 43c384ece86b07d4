"""Input files: finding them, watching that they do not change, making them UTF-8."""

import codecs
import glob
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from neutro_screen.errors import UnreadableInputError
from neutro_screen.private import is_stream

_CHUNK = 1 << 20
#: A file that grows beyond both limits when unpacked is a decompression bomb, not a laboratory extract.
_LARGEST_EXPANSION = 200
ALWAYS_ALLOWED_BYTES = 1 << 30
#: Of a text in the encoding that is meant, at most so many of its letters are damaged; of a short text none.
_MOST_REPLACED: Final = 0.001
_LEAST_LETTERS: Final = 100
_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}


def found_paths(pattern: str) -> list[Path]:
    """The files and folders that a path or glob stands for, sorted; what exists under exactly this name is no glob.

    From here on a path is a path. It is absolute, so that no library takes its first letters for a home folder (``~``),
    an option (``-``) or the name of an extension (``sqlite:``).

    Raises:
        UnreadableInputError: the path does not exist, the glob matches nothing, or what it names is no file and no folder.
    """
    if "://" in pattern:
        # An address may hold a password: it is not repeated.
        raise UnreadableInputError("addresses other than postgresql:// are not read", remedy="Name a file.")
    matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))
    if not matches:
        raise UnreadableInputError("no such file", where=pattern, remedy="Check the path and the quotes of a glob.")
    return [_no_stream(path) for path in sorted(Path(match).absolute() for match in matches)]


def _no_stream(path: Path) -> Path:
    if is_stream(path):
        raise UnreadableInputError(
            "is a named pipe, socket or device, no file", where=path.name, remedy="Write it into a file first."
        )
    return path


def files_in(folder: Path) -> list[Path]:
    """The regular files of a folder, sorted, without hidden ones.

    Raises:
        UnreadableInputError: there is none.
    """
    named = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    inside = [path for path in map(_no_stream, named) if path.is_file()]
    if not inside:
        raise UnreadableInputError("the folder holds no files", where=str(folder))
    return inside


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Guard the reading of a file, or of the files of a folder.

    Raises:
        UnreadableInputError: it cannot be opened, or it changed (size, time or identity) while it was read.
    """
    before = _identity(path)
    yield
    if _identity(path) != before:
        raise UnreadableInputError(
            "the file changed while it was read", where=path.name, remedy="Run again when the export has finished."
        )


def _identity(path: Path) -> list[tuple[str, int, int, int]]:
    files = sorted(inside for inside in path.iterdir() if inside.is_file()) if path.is_dir() else [path]
    identity = []
    for file in files:
        try:
            status = file.stat()
            with file.open("rb"):
                identity.append((file.name, status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError as error:
            raise UnreadableInputError(f"cannot be read ({error.strerror})", where=file.name) from None
    return identity


@contextmanager
def refusing(what: str, path: Path, *errors: type[Exception], remedy: str = "") -> Iterator[None]:
    """Turn a parser's own errors, and the panics of those written in Rust, into one short message.

    Raises:
        UnreadableInputError: ``what`` is wrong with the file.
    """
    try:
        yield
    except BaseException as error:
        # A panic arrives as a BaseException of the extension's own; every other one that is not listed is not ours.
        if not isinstance(error, errors) and type(error).__name__ != "PanicException":
            raise
        raise UnreadableInputError(what, where=path.name, remedy=remedy) from None


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files of a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encoding_by_mark(head: bytes) -> str | None:
    """The encoding that a byte-order mark, or the zeros of UTF-16 text, give away; None where neither is there."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return encoding
    high, low = head[1:64:2], head[0:64:2]
    if high.count(0) >= _LEAST_ZEROS * len(high) > 0 and b"\0" not in low:
        return "utf-16-le"
    if low.count(0) >= _LEAST_ZEROS * len(low) > 0 and b"\0" not in high:
        return "utf-16-be"
    return None


#: The share of characters below U+0100 in the first line of any table in UTF-16 (its delimiters alone); a zero byte in
#: one cell of other text is fewer.
_LEAST_ZEROS: Final = 1 / 8


def is_packed(path: Path) -> bool:
    """Whether a file is an archive that ``unpacked`` opens, by its name."""
    return path.suffix in _COMPRESSIONS


def unpacked(path: Path, folder: Path) -> Path:
    """The file itself, or an unpacked copy of a ``.gz`` or ``.zst`` file in ``folder``.

    Raises:
        UnreadableInputError: the archive is damaged, or grows beyond any extract.
    """
    compression = _COMPRESSIONS.get(path.suffix)
    if compression is None:
        return path
    copy = folder / path.stem
    largest = max(ALWAYS_ALLOWED_BYTES, path.stat().st_size * _LARGEST_EXPANSION)
    written = 0
    try:
        with pa.input_stream(str(path), compression=compression) as source, copy.open("wb") as target:
            while chunk := source.read(_CHUNK):
                written += target.write(chunk)
                if written > largest:
                    raise UnreadableInputError("unpacks to far more than a laboratory extract", where=path.name)
    except (OSError, pa.ArrowException):
        raise UnreadableInputError(
            f"is not a readable {compression} archive", where=path.name, remedy="Copy the file again."
        ) from None
    return copy


def head_of(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file, unpacked where it is an archive; nothing where they cannot be read."""
    try:
        if (compression := _COMPRESSIONS.get(path.suffix)) is None:
            with path.open("rb") as file:
                return file.read(size)
        with pa.input_stream(str(path), compression=compression) as source:
            return bytes(source.read(size))
    except (OSError, pa.ArrowException):
        return b""


def transcoded(path: Path, encoding: str, folder: Path) -> Path:
    """A UTF-8 copy of a text file in ``folder``; a few bytes that are no text in that encoding are replaced.

    Raises:
        UnreadableInputError: the bytes are not text in that encoding.
    """
    copy = folder / f"{len(list(folder.iterdir()))}-{path.stem}"
    n_letters = n_replaced = 0
    try:
        with (
            path.open(encoding=encoding, errors="replace", newline="") as source,
            copy.open("w", encoding="utf-8", newline="") as target,
        ):
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                n_letters += len(chunk)
                n_replaced += chunk.count("\ufffd")
        is_text = n_replaced <= max(_MOST_REPLACED * n_letters, 1 if n_letters > _LEAST_LETTERS else 0)
    except (UnicodeError, LookupError):
        is_text = False
    if not is_text:
        raise UnreadableInputError(
            f"is not text in {encoding}", where=path.name, remedy="Name the file's encoding in the profile."
        )
    return copy

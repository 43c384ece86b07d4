"""What an installation makes once and later starts only read.

Compiled templates, the empty store, words taken apart, the binomial interval. They stand in ``__pycache__``, beside
Python's bytecode, and are used like it: only where they were made from the same things, and where the bytes are still
those that were written. Where the folder cannot be written, each start makes them anew. Nothing of it is of a patient.
"""

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "__pycache__"
_DIGEST: Final = hashlib.sha256().digest_size


def kept(name: str, origin: bytes) -> bytes | None:
    """What was kept under a name, if it was made from this origin and is whole; else None."""
    try:
        found = _file(name).read_bytes()
    except OSError:
        return None
    content = found[_DIGEST:]
    return content if found[:_DIGEST] == _seal(origin, content) else None


def keep(name: str, origin: bytes, content: bytes) -> None:
    """Keep a content for later starts, where Python keeps its own bytecode; its rights are those of this module."""
    if sys.dont_write_bytecode:
        return
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=_FOLDER, prefix=f"{name}.", delete=False) as file:
        try:
            file.write(_seal(origin, content) + content)
            os.fchmod(file.fileno(), Path(__file__).stat().st_mode & 0o666)
            file.close()
            os.replace(file.name, _file(name))
        except BaseException:
            Path(file.name).unlink()
            raise


def _file(name: str) -> Path:
    return _FOLDER / f"{name}.{sys.implementation.cache_tag}"


def _seal(origin: bytes, content: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(origin).digest() + content).digest()

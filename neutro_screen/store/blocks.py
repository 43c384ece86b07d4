"""Copying a store's file, and comparing every block with its checksum on the way.

DuckDB compares a block with its checksum only when it reads it, and a night reads few of the blocks that it copies. Here
each block is checked while its bytes are in memory anyway, at a tenth of the cost of reading the tables. The layout is
that of DuckDB since its first stable files: three headers of 4 KiB, then blocks of 256 KiB, each beginning with the
checksum of its rest. A block that does not fit is only suspected: it may be a free one, or of a later layout. So this
never accepts a damaged file, and who suspects one reads the tables (``connect.check_blocks``).
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

_HEADERS: Final = 3 * 4096
_BLOCK: Final = 256 << 10
#: Looked at together: what fits into the processor's cache.
_BLOCKS_AT_A_TIME: Final = 4
#: DuckDB's checksum: the words of a block, each times the factor, combined by exclusive or with the seed.
_FACTOR: Final = np.uint64(0xBF58476D1CE4E5B9)
_SEED: Final = np.uint64(5381)
#: The ioctl that clones a file where the file system can.
_FICLONE: Final = 0x40049409


class SuspectBlocksError(Exception):
    """The copy is complete, and some block of it is not what its checksum says."""


def copy_file(source: Path, target: Path) -> None:
    """Copy a store, private to its owner; with the file system's own cloning where it has it.

    Raises:
        SuspectBlocksError: the copy is there, but its tables have to be read before they are trusted.
        OSError: the copy could not be written.
    """
    sound = True
    with source.open("rb") as read, target.open("wb") as written:
        os.chmod(target, 0o600)
        is_cloned = _cloned(read, written)
        for piece in _pieces(read):
            sound = sound and _is_sound(piece, is_header=read.tell() <= _HEADERS)
            if not is_cloned:
                written.write(piece)
    if not sound:
        raise SuspectBlocksError


def _cloned(read: BinaryIO, written: BinaryIO) -> bool:
    try:
        fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
    except OSError:
        return False
    return True


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The headers, then some blocks at a time."""
    size = _HEADERS
    while piece := file.read(size):
        yield piece
        size = _BLOCKS_AT_A_TIME * _BLOCK


def _is_sound(piece: bytes, *, is_header: bool) -> bool:
    if is_header:  # DuckDB compares those itself when it opens the file
        return True
    if len(piece) % _BLOCK:
        return False
    blocks = np.frombuffer(piece, dtype="<u8").reshape(-1, _BLOCK // 8)
    found = np.bitwise_xor.reduce(blocks[:, 1:] * _FACTOR, axis=1) ^ _SEED
    return bool((found == blocks[:, 0]).all())

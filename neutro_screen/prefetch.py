"""One piece of work is prepared while the one before it is used: reading beside judging, screening beside storing."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class _Failed(NamedTuple):
    """Instead of a piece: what its maker raised."""

    error: BaseException


class _End:
    """Stands behind the last piece."""


def ahead(pieces: Iterable[T]) -> Iterator[T]:
    """The same pieces in the same order, each made in another thread while the one before it is in use.

    Two are in memory at a time, never more. An error of the maker is raised where its piece would have come; an early
    exit waits for the pending piece and then closes the maker.
    """
    # Left behind in the middle, as an error leaves it, this generator is ended by Python's search for garbage: at any place,
    # in any thread, even the maker's own. A ThreadPoolExecutor does not survive that: its thread may be gone by then, and
    # what is given to it is waited for without end.
    asked, made = SimpleQueue[bool](), SimpleQueue[T | _Failed | _End]()
    maker = Thread(target=copy_context().run, args=(_make, _made(pieces), asked, made), name="ahead", daemon=True)
    maker.start()
    try:
        asked.put(True)
        while not isinstance(piece := made.get(), _End):
            if isinstance(piece, _Failed):
                raise piece.error
            asked.put(True)
            yield piece
    finally:
        asked.put(False)
        if current_thread() is not maker:
            maker.join()


def _make(pieces: Generator[T, None, None], asked: SimpleQueue[bool], made: SimpleQueue[T | _Failed | _End]) -> None:
    """Make a piece whenever one is asked for; what the maker opened is closed by the same thread, in the same context."""
    try:
        while asked.get():
            try:
                made.put(next(pieces))
            except StopIteration:
                made.put(_End())
            except BaseException as error:
                made.put(_Failed(error))
    finally:
        with suppress(Exception):  # who breaks off has a reason of his own
            pieces.close()


def _made(pieces: Iterable[T]) -> Generator[T, None, None]:
    yield from pieces

"""One piece of work is prepared while the one before it is used: reading beside judging, screening beside storing."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain
from typing import TypeVar

T = TypeVar("T")


class _End:
    """Stands behind the last piece."""


def ahead(pieces: Iterable[T]) -> Iterator[T]:
    """The same pieces in the same order, each made in another thread while the one before it is in use.

    Two are in memory at a time, never more. An error of the maker is raised where its piece would have come; an early
    exit waits for the pending piece and then closes the maker.
    """
    made = _made(pieces)
    following: Iterator[T | _End] = chain(made, [_End()])
    context = copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as maker:
        try:
            coming = maker.submit(context.run, next, following)
            while not isinstance(piece := coming.result(), _End):
                coming = maker.submit(context.run, next, following)
                yield piece
        finally:
            # What the maker opened is closed by the same thread, in the same context.
            maker.submit(context.run, made.close).result()


def _made(pieces: Iterable[T]) -> Generator[T, None, None]:
    yield from pieces

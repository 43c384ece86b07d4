"""Work that is done ahead comes in order, says its errors, and tidies up where it began."""

import gc
from collections.abc import Iterator
from contextvars import ContextVar
from threading import Event, Thread, get_ident

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neutro_screen.prefetch import ahead

PLACE = ContextVar("place", default="outside")


@given(st.lists(st.integers()))
def test_every_piece_comes_once_and_in_order(pieces: list[int]) -> None:
    assert list(ahead(pieces)) == pieces


def test_the_next_piece_is_made_meanwhile_and_no_other() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            yield number

    for number in ahead(numbers()):
        assert len(made) <= number + 2


def test_an_error_of_the_maker_comes_where_its_piece_would_have() -> None:
    def one_and_an_error() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    seen: list[int] = []
    with pytest.raises(ValueError, match="no second"):
        for piece in ahead(one_and_an_error()):
            seen += [piece]
    assert seen == [1]


@pytest.mark.parametrize("taken", [1, 3])
def test_the_maker_tidies_up_in_its_own_thread_and_context_whoever_breaks_off(taken: int) -> None:
    opened, closed = [], []

    def pieces() -> Iterator[str]:
        token = PLACE.set("inside")
        opened.append(get_ident())
        try:
            for _ in range(3):
                yield PLACE.get()
        finally:
            PLACE.reset(token)
            closed.append(get_ident())

    user = ahead(pieces())
    assert [next(user) for _ in range(taken)] == ["inside"] * taken
    user.close()
    assert closed == opened != [get_ident()]
    assert PLACE.get() == "outside"


class Holder:
    """Holds itself, and what is left behind in the middle: only the search for garbage frees both."""

    def __init__(self, user: Iterator[int]) -> None:
        self.itself, self.user = self, user


@pytest.mark.parametrize("by_its_maker", [False, True])
def test_what_is_left_behind_in_the_middle_ends_when_it_is_found_as_garbage(by_its_maker: bool) -> None:
    """An error leaves generators and tracebacks in a circle; the search for garbage ends them, in whatever thread it runs."""
    is_left, is_closed = Event(), Event()

    def pieces() -> Iterator[int]:
        try:
            yield 1
            assert is_left.wait(10)
            if by_its_maker:
                gc.collect()
            yield 2
            yield 3
        finally:
            is_closed.set()

    def leave_behind() -> None:
        user = ahead(ahead(pieces()))
        assert next(user) == 1
        Holder(user)

    leave_behind()
    is_left.set()
    searching = Thread(target=gc.collect, daemon=True)
    searching.start()
    searching.join(10)
    assert not searching.is_alive(), "the search for garbage waits without end"
    assert is_closed.wait(10)

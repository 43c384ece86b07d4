"""The inputs of a run in shares, which several processes may read at the same time.

A file, or a folder that is read as one, is never divided. The shares follow each other in the order in which one process
would read them, so that what comes first (an error, a note) is the same however many there are.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from neutro_screen.ingest.frames import Kind


class Input(NamedTuple):
    """A file, a folder that is read as one, or an address (its ``size`` is not known: 0).

    ``is_archived``: found by a glob or in a folder, not named itself.
    """

    kind: Kind
    path: str
    is_archived: bool = False
    size: int = 0


@dataclass(frozen=True)
class Share:
    """Some inputs of a run: their paths by kind, and those of them that are archived."""

    paths: Mapping[Kind, Sequence[str]]
    archived: Mapping[Kind, Collection[str]]

    @classmethod
    def of(cls, paths: Mapping[Kind, Sequence[str]]) -> "Share":
        """All of them, as given."""
        return cls(paths, {})


def shared_out(inputs: Iterable[Input], most_bytes: float) -> list[Share]:
    """The inputs in shares of at most so many bytes, or of one input; one empty share where there is none."""
    shares, filled = list[list[Input]]([[]]), 0
    for one in inputs:
        if shares[-1] and filled + one.size > most_bytes:
            shares.append([])
            filled = 0
        shares[-1].append(one)
        filled += one.size
    return [_share(own) for own in shares]


def _share(inputs: Sequence[Input]) -> Share:
    by_kind = {kind: list(own) for kind, own in groupby(inputs, key=lambda one: one.kind)}
    named = {kind: {one.path for one in own if not one.is_archived} for kind, own in by_kind.items()}
    return Share(
        paths={kind: [one.path for one in own] for kind, own in by_kind.items()},
        archived={kind: sorted({one.path for one in own} - named[kind]) for kind, own in by_kind.items()},
    )

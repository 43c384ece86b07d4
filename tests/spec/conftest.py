"""The cases of one test, screened together: the rules are per patient, so each case is a patient of one night."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl
import pytest

from neutro_screen.rules.counts.results import JudgedRows
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.validate import Split
from tests.clinic import NIGHT, judged, screened, side_by_side


@dataclass
class _Together:
    """One table for every case of a test, as a patient each; judged and screened once, when a case asks for it."""

    texts: Sequence[str]
    options: dict[str, Any]

    @cached_property
    def rows(self) -> pl.DataFrame:
        return side_by_side(self.texts)

    @cached_property
    def judged(self) -> tuple[JudgedRows, Split]:
        return judged(self.rows, **self.options)

    @cached_property
    def screened(self) -> ScreenResult:
        return screened(self.rows, **self.options)


@dataclass
class Case:
    """The case of a parametrised test among the others. A template is a laboratory's table with the names of the test's
    parameters in braces."""

    values: Sequence[dict[str, Any]]
    number: int
    known: dict[str, _Together] = field(repr=False)

    def _together(self, template: str, **options: Any) -> _Together:
        key = f"{template}{options}"
        if key not in self.known:
            self.known[key] = _Together([template.format(**each) for each in self.values], options)
        return self.known[key]

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of this case's patient."""
        return frame.filter(pl.col("patient_id") == f"{self.number:02}")

    def judged(self, template: str) -> tuple[JudgedRows, Split]:
        """The rows of all cases, judged."""
        return self._together(template).judged

    def screened(self, template: str, as_of: Any = NIGHT) -> ScreenResult:
        """What the screen says of all cases."""
        return self._together(template, as_of=as_of).screened

    def anc(self, template: str) -> dict[str, Any]:
        """The ANC row of the only specimen of this case."""
        (row,) = self.of(self.screened(template).anc).to_dicts()
        return row

    def reasons(self, template: str) -> list[str]:
        """Why rows of this case were refused, in their order."""
        return self.of(self.judged(template)[1].rejected)["reason"].to_list()

    def unknown(self, template: str) -> list[str]:
        """Why this case's patient cannot be assessed; empty where he can be."""
        return self.of(self.screened(template).cannot_assess)["reason"].to_list()


@pytest.fixture(scope="module")
def _known() -> dict[str, dict[str, _Together]]:
    return {}


@pytest.fixture
def case(request: pytest.FixtureRequest, _known: dict[str, dict[str, _Together]]) -> Case:
    """The case at hand."""
    values: list[dict[str, Any]] = [{}]
    for mark in request.node.iter_markers("parametrize"):
        names, given = mark.args
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        cases = [dict(zip(names, each if len(names) > 1 else (each,), strict=True)) for each in given]
        values = [before | each for before in values for each in cases]
    own = {name: request.node.callspec.params[name] for name in values[0]}
    return Case(values, values.index(own) + 1, _known.setdefault(request.node.originalname, {}))

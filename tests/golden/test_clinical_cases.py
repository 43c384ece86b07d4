"""Thirty constructed patients: the screen says of each what a haematologist and a pharmacologist wrote before the run."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table

CASES: Final = Path(__file__).parents[2].parent / "shared" / "clinical" / "cases"
AS_OF: Final = "2026-06-15T06:00:00"
#: Share of the single statements that agree.
LEAST_SHARE: Final = 0.98
#: Columns of expected.csv whose cell lists things that must all be there; ``-`` = none of them.
_LISTS: Final = ("evidence", "pitfalls")

pytestmark = pytest.mark.skipif(not CASES.exists(), reason="the cases are not beside the project")


@dataclass(frozen=True)
class Statement:
    """One statement about one patient: alternatives that agree, and what was found."""

    patient_id: str
    column: str
    expected: str
    found: str

    @property
    def agrees(self) -> bool:
        """Any alternative agrees; in a list all that it names were found, an empty one wants nothing."""
        if self.expected == "any":
            return True
        alternatives = self.expected.split("|")
        found = set(self.found.split(","))
        if self.column in _LISTS:
            return any(
                self.found == "-" if wanted == "-" else set(filter(None, wanted.split(","))) <= found
                for wanted in alternatives
            )
        return self.found in alternatives


def statements(found: dict[str, dict[str, str]]) -> Iterator[Statement]:
    """Every cell of expected.csv that says something, beside what was found."""
    table = pl.read_csv(CASES / "expected.csv", infer_schema=False)
    for row in table.drop("title", "note").iter_rows(named=True):
        patient = row.pop("patient_id")
        for column, expected in row.items():
            if expected:
                yield Statement(patient, column, expected, found[patient][column])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What the screen says of each patient, in the columns of expected.csv."""
    store = tmp_path_factory.mktemp("cases") / "s.duckdb"
    chart = {kind: (str(CASES / f"{kind}.csv"),) for kind in ("medications", "patients", "diagnoses", "events")}
    run(RunOptions(store=store, labs=(str(CASES / "labs.csv"),), as_of=moment(AS_OF), **chart))
    with reading(store) as connection:
        tables = {
            name: read_table(connection, f'SELECT * FROM "{name}"').to_dicts()
            for name in (
                "patient_status",
                "worklist",
                "cannot_assess",
                "drug_suspect",
                "evidence",
                "workup_step",
                "flag",
                "patient",
            )
        }
    patients = [row["patient_id"] for row in tables["patient"]]
    return {
        patient: _of_patient(
            {name: [row for row in rows if row["patient_id"] == patient] for name, rows in tables.items()}
        )
        for patient in patients
    }


def _of_patient(tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    status = tables["patient_status"][0] if tables["patient_status"] else {}
    listed = tables["worklist"][0]["priority"] if tables["worklist"] else None
    suspect = status.get("top_suspect")
    episode = status.get("episode_id")
    ranked = [
        row
        for row in tables["drug_suspect"]
        if row["rank"] == 1 and row["ingredient"] == (suspect or row["ingredient"])
    ]
    ranked.sort(key=lambda row: (row["episode_id"] != episode, not row["leads_to_nadir"]))
    steps = [row for row in tables["workup_step"] if row["step"] == "bone_marrow" and row["episode_id"] == episode]
    pitfalls = {row["rule_id"] for row in tables["flag"] if row["rule_id"].startswith("PIT-")}
    return {
        "current": _word(status.get("current_severity")),
        "worst": _word(status.get("worst_severity")),
        "persistent": "yes" if status.get("is_persistent") else "no",
        "cyclic": "yes" if status.get("is_cyclic") else "no",
        "rapid": "yes" if status.get("has_rapid_decline") else "no",
        "suspect": suspect or "none",
        "category": ranked[0]["category"] if ranked else "none",
        "evidence": ",".join(sorted({row["category"] for row in tables["evidence"]})),
        "priority": listed or ("cannot_assess" if tables["cannot_assess"] else "none"),
        "marrow": steps[0]["state"] if steps else "not_applicable",
        "pitfalls": ",".join(sorted(pitfalls)) or "-",
    }


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def test_the_screen_agrees_with_the_answers_written_before_the_run(found: dict[str, dict[str, str]]) -> None:
    judged = list(statements(found))
    wrong = [one for one in judged if not one.agrees]
    share = 1 - len(wrong) / len(judged)
    lines = [f"{one.patient_id} {one.column}: expected {one.expected}, found {one.found}" for one in wrong]
    sys.stdout.write("\n".join([f"{len(judged)} statements, {share:.1%} agree", *lines, ""]))
    assert len(judged) >= 200
    assert share >= LEAST_SHARE, "\n".join(["", f"{share:.1%} of {len(judged)} statements agree", *lines])

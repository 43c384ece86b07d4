"""What a FHIR export deletes that an earlier night brought: the export names nothing but the id of the resource."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import check, run
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.store.schema import SCREENED
from tests.formats.test_fhir import observation
from tests.nights import assert_same, table

_NIGHTS = ("2026-01-11T02:00:00", "2026-01-12T02:00:00", "2026-01-13T02:00:00")


def deletion(*urls: str) -> dict[str, Any]:
    entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def settings(store: Path, number: int, *resources: dict[str, Any], **more: Any) -> RunOptions:
    export = store.parent / f"export-{number}.ndjson"
    export.write_text("".join(json.dumps(resource) + "\n" for resource in resources), "utf-8")
    return RunOptions(store=store, as_of=moment(_NIGHTS[number - 1]), labs=(str(export),), **more)


def night(store: Path, number: int, *resources: dict[str, Any], **more: Any) -> RunSummary:
    return run(settings(store, number, *resources, **more))


def anc(name: str, value: float, **fields: Any) -> dict[str, Any]:
    result = {"value": value, "unit": "10*9/L", "system": "http://unitsofmeasure.org", "code": "10*9/L"}
    subject = {"reference": f"Patient/{name.split('-')[0]}"}
    return observation(id=name, subject=subject, valueQuantity=result, **fields)


OTHERS = [anc(f"p{number}-1", 2 + number / 100) for number in range(40)]
FIRST = [anc("sick-1", 0.3), *OTHERS]


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store after the first night, in one part."""
    store = tmp_path_factory.mktemp("first") / "s.duckdb"
    night(store, 1, *FIRST)
    return store


@pytest.fixture(params=[4 << 30, 64_000], ids=["one part", "many parts"])
def memory(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_a_result_of_an_earlier_night_that_is_deleted_withdraws_its_flag(tmp_path: Path, memory: int) -> None:
    store = tmp_path / "s.duckdb"
    assert night(store, 1, *FIRST, memory=memory).flags["severe"] == 1
    gone = night(store, 2, deletion("https://host/fhir/Observation/sick-1"), memory=memory)
    assert (gone.account.rows_in, gone.account.accepted, gone.patients_touched) == (1, 1, 1)
    assert table(store, "flag") == []
    assert [row[0] for row in table(store, "withdrawn_flag")] == ["sick"]
    assert [row[:2] for row in table(store, "cannot_assess")] == [("sick", "result_withdrawn")]
    assert "sick" not in [row[0] for row in table(store, "anc")]
    retraction = [row for row in table(store, "lab_result") if "export-2.ndjson" in row]
    assert len(retraction) == 1
    assert {"sick", "entered_in_error", 0.3, "sick-1"} <= set(retraction[0])

    again = night(store, 3, deletion("Observation/sick-1"), memory=memory)
    assert (again.account.rows_in, again.account.duplicate, again.patients_touched) == (1, 1, 0)
    assert [row[:2] for row in table(store, "cannot_assess")] == [("sick", "result_withdrawn")]


def test_a_deletion_of_an_earlier_night_ends_where_a_full_screen_does(
    tmp_path: Path, first_night: Path, memory: int
) -> None:
    (tmp_path / "full").mkdir()
    nightly, full = tmp_path / "s.duckdb", tmp_path / "full" / "s.duckdb"
    later = [deletion("Observation/sick-1", "Observation/p7-1"), anc("p8-2", 0.9, effectiveDateTime="2026-01-11")]
    for store, everybody in ((nightly, False), (full, True)):
        shutil.copy(first_night, store)
        night(store, 2, *later, memory=memory, rescreen_all=everybody)
    assert_same(nightly, full, (*SCREENED, "lab_result", "withdrawn_flag", "worklist_row", "quality_count"))


def test_a_deletion_that_finds_nothing_is_counted_and_told(tmp_path: Path, memory: int) -> None:
    store = tmp_path / "s.duckdb"
    for number in (1, 2):  # without a store, and with one
        account = night(
            store, number, *OTHERS, deletion("Observation/never", "Observation/never"), memory=memory
        ).account
        assert (account.rows_in, account.not_screened) == (len(OTHERS) + 1, 1)
    told = [row for row in table(store, "quality_count") if "deletion_of_unknown_result" in row]
    assert [row[-1] for row in told] == [1, 1]
    third = settings(store, 3, *OTHERS, deletion("Observation/never"))
    assert check(third, third.as_of)["counted"]["not_screened"] == 1


def test_a_deletion_takes_back_every_component_and_no_other_result(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    codes = (("6690-2", 2.0, "10*9/L"), ("770-8", 10, "%"))
    parts = [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": n, "unit": unit},
        }
        for code, n, unit in codes
    ]
    panel = observation(id="panel", valueQuantity=None, component=parts, specimen={"reference": "Specimen/s1"})
    other = observation(id="o2", specimen={"reference": "Specimen/s2"}, effectiveDateTime="2026-01-09")
    night(store, 1, panel, other)
    gone = night(store, 2, deletion("Observation/panel"))
    assert (gone.account.rows_in, gone.account.accepted) == (2, 2)
    assert [row[1] for row in table(store, "anc")] == ["s2"]


def test_an_observation_without_a_patient_deletes_nothing_unless_it_says_so(tmp_path: Path, first_night: Path) -> None:
    store = tmp_path / "s.duckdb"
    shutil.copy(first_night, store)
    nobody = observation(id="sick-1", subject=None, valueQuantity=None)
    assert night(store, 2, nobody, *OTHERS).account.accepted == 0
    assert night(store, 3, nobody | {"status": "entered-in-error"}, *OTHERS).account.accepted == 1

"""Versions of one result: the later one counts, wherever in the export it stands, and a deletion holds until it is undone."""

import json
from pathlib import Path
from typing import Any

import pytest

from neutro_screen.ingest import ingest

NORMAL, LOW = 3.0, 0.3


def version(number: int, value: float, *, meta: bool = True, status: str = "final", **fields: Any) -> dict[str, Any]:
    """A version of one result; without ``meta`` only its place in a history tells which it is."""
    known = (
        {"meta": {"versionId": str(number), "lastUpdated": f"2026-01-10T{8 + number:02}:00:00.000Z"}} if meta else {}
    )
    return {
        "resourceType": "Observation",
        "id": "o1",
        **known,
        "status": status,
        "subject": {"reference": "Patient/7"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "751-8"}]},
        "effectiveDateTime": "2026-01-10T08:00:00Z",
        "issued": "2026-01-10T09:00:00Z",
        "valueQuantity": {"value": value, "unit": "10*9/L"},
    } | fields


def deletion(number: int, *, meta: bool = True) -> dict[str, Any]:
    told = {"response": {"status": "204", "lastModified": f"2026-01-10T{8 + number:02}:00:00Z"}} if meta else {}
    return {"request": {"method": "DELETE", "url": "Observation/o1"}, **told}


def history(*newest_first: dict[str, Any]) -> dict[str, Any]:
    entries = [each if "request" in each else {"resource": each} for each in newest_first]
    return {"resourceType": "Bundle", "type": "history", "entry": entries}


def standing(tmp_path: Path, *files: list[dict[str, Any]]) -> list[tuple[str | None, str | None]]:
    """Value and status of every row that is read of an export of these files, sorted."""
    (tmp_path / "export").mkdir()
    for number, resources in enumerate(files):
        text = "".join(json.dumps(resource) + "\n" for resource in resources)
        (tmp_path / "export" / f"{number}.ndjson").write_text(text, "utf-8")
    return sorted(ingest({"lab": [str(tmp_path / "export")]}).labs.select("value_text", "status_text").rows())


@pytest.mark.parametrize("values", [(NORMAL, LOW), (LOW, NORMAL), (LOW, LOW)])
@pytest.mark.parametrize("n_files", [1, 2])
@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_versions_the_later_counts(
    tmp_path: Path, values: tuple[float, float], n_files: int, newest_first: bool
) -> None:
    versions = [version(number, value) for number, value in enumerate(values, 1)]
    ordered = versions[::-1] if newest_first else versions
    files = [ordered] if n_files == 1 else [[each] for each in ordered]
    assert standing(tmp_path, *files) == [(str(values[1]), "final")]


def test_versions_are_told_by_number_where_times_are_equal_or_missing(tmp_path: Path) -> None:
    numbered = [version(2, LOW, meta={"versionId": "10"}), version(1, NORMAL, meta={"versionId": "9"})]
    for each, number in zip(numbered, ("10", "9"), strict=True):
        each["meta"] = {"versionId": number}
    assert standing(tmp_path, numbered) == [("0.3", "final")]


def test_without_any_version_both_stand(tmp_path: Path) -> None:
    """What is not known to be older is not left out: the rules choose, and choose the lower."""
    both = [version(1, LOW, meta=False), version(2, NORMAL, meta=False)]
    assert standing(tmp_path, both) == [("0.3", "final"), ("3.0", "final")]


def test_a_later_version_in_another_zone_counts(tmp_path: Path) -> None:
    early, late = version(1, NORMAL), version(1, LOW)
    early["meta"] = {"lastUpdated": "2026-01-10T10:30:00+02:00"}
    late["meta"] = {"lastUpdated": "2026-01-10T09:00:00Z"}
    assert standing(tmp_path, [early], [late]) == [("0.3", "final")]


def test_a_result_withdrawn_by_its_later_version_does_not_stand(tmp_path: Path) -> None:
    versions = [version(1, LOW), version(2, LOW, status="entered-in-error")]
    assert standing(tmp_path, versions) == [("0.3", "entered-in-error")]


@pytest.mark.parametrize("meta", [True, False])
def test_in_a_history_a_version_older_than_an_undone_deletion_does_not_come_back(tmp_path: Path, meta: bool) -> None:
    told = history(version(3, LOW, meta=meta), deletion(2, meta=meta), version(1, NORMAL, meta=meta))
    assert standing(tmp_path, [told]) == [("0.3", "final")]


@pytest.mark.parametrize("meta", [True, False])
def test_in_a_history_a_deleted_result_does_not_stand(tmp_path: Path, meta: bool) -> None:
    told = history(deletion(3, meta=meta), version(2, LOW, meta=meta), version(1, NORMAL, meta=meta))
    assert standing(tmp_path, [told]) == [("0.3", "entered-in-error")]


def test_a_history_over_several_files(tmp_path: Path) -> None:
    files = [history(version(1, NORMAL))], [history(deletion(2))], [history(version(3, LOW))]
    assert standing(tmp_path, *files) == [("0.3", "final")]


def test_a_deletion_in_a_later_file_of_a_history_holds(tmp_path: Path) -> None:
    files = [history(deletion(3))], [history(version(2, LOW))], [history(version(1, NORMAL))]
    assert standing(tmp_path, *files) == [("0.3", "entered-in-error")]


@pytest.mark.parametrize("n_files", [1, 2])
def test_the_same_id_of_two_patients_is_no_version_of_one_result(tmp_path: Path, n_files: int) -> None:
    """Two servers number their results from one on; their exports lie in one folder, and nobody's count may be lost."""
    low, later = version(1, LOW), version(2, NORMAL, subject={"reference": "Patient/8"})
    files = [[low, later]] if n_files == 1 else [[low], [later]]
    assert standing(tmp_path, *files) == [(str(LOW), "final"), (str(NORMAL), "final")]

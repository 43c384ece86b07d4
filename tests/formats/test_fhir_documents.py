"""One JSON document of many resources is read in pieces, and the same is read as when it is parsed in one."""

import json
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest import Extract, ingest
from neutro_screen.ingest.formats.fhir import documents, parsing

ODD_TEXTS = ["}]", '"', "\\", '\\"', '\\\\"]}', '"entry": [', "é{", "\\\\\\", "{[", ""]


def result(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "subject": {"reference": f"Patient/{number}"},
        "specimen": {"reference": f"Specimen/s{number}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "751-8"}]},
        "valueQuantity": {"value": 0.3, "unit": "10*9/L"},
        "note": [{"text": ODD_TEXTS[number % len(ODD_TEXTS)]}],
    } | fields


def specimen(number: int) -> dict[str, Any]:
    return {"resourceType": "Specimen", "id": f"s{number}", "collection": {"collectedDateTime": "2026-01-09"}}


RESOURCES = [resource for number in range(20) for resource in (result(number), specimen(number))]
DELETION = {"request": {"method": "DELETE", "url": "Observation/o3"}}
INNER = {"resourceType": "Bundle", "entry": [{"resource": result(50)}, {"resource": result(51)}]}
BUNDLE = {
    "meta": {"tag": [{"display": '"entry": ['}]},
    "resourceType": "Bundle",
    "entry": [{"resource": resource} for resource in [*RESOURCES, INNER]] + [DELETION, {"fullUrl": "x"}],
    "link": [{"url": "]"}],
}


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "ELEMENT_BYTES", 700)
    monkeypatch.setattr(documents, "_LOOK", 37)


def read(path: Path, text: str) -> Extract:
    path.write_text(text, "utf-8")
    return ingest({"lab": [str(path)]})


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("document", [BUNDLE, RESOURCES, [*RESOURCES, BUNDLE]], ids=["Bundle", "array", "both"])
def test_in_pieces_the_same_is_read(
    tmp_path: Path, document: Any, indent: int | None, request: pytest.FixtureRequest
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    whole = read(tmp_path / "a.json", text)
    request.getfixturevalue("in_pieces")
    assert documents.cut(text.encode()) is not None
    pieces = read(tmp_path / "a.json", text)
    assert whole.labs.height >= 20
    assert_frame_equal(pieces.labs, whole.labs)
    assert [file.notes for file in pieces.files] == [file.notes for file in whole.files]


@pytest.mark.usefixtures("in_pieces")
def test_a_broken_entry_is_refused_and_the_low_counts_beside_it_are_read(tmp_path: Path) -> None:
    entries = [json.dumps({"resource": result(number)}) for number in range(20)]
    entries[7] = entries[7].replace('"final"', "final")
    extract = read(tmp_path / "a.json", '{"resourceType": "Bundle", "entry": [\n' + ",\n".join(entries) + "]}")
    assert extract.labs["source_row"].to_list() == [*range(1, 8), *range(9, 21)]
    assert [(line.source_row, line.reason, line.patient_id) for line in extract.refused["lab"]] == [
        (8, "broken_json", "7")
    ]


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("end", [40, 1])
def test_a_document_that_is_cut_off_is_no_reading(tmp_path: Path, end: int) -> None:
    with pytest.raises(UnreadableInputError, match=r"a\.json: holds no FHIR resource"):
        read(tmp_path / "a.json", json.dumps(BUNDLE, indent=1)[:-end])


@pytest.mark.parametrize(
    "text",
    [
        '{"entry": [{}]} {"entry": [{}]}',
        '{"entry": [{}], "entry": [{}]}',
        '{"entry": [{} {}]}',
        '{"entry": [{}, 7]}',
        '{"entry": {"entry": [{}]}}',
        '{"entry": []}',
        "[[]]",
        '"[{}]"',
        "",
    ],
)
def test_what_is_no_plain_list_of_objects_is_not_cut(text: str) -> None:
    assert documents.cut(text.encode()) is None

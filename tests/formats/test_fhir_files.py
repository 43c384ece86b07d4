"""Files of FHIR resources: arrays, Bundles and reports beside what they refer to, and the numbers of their lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from neutro_screen.ingest import Extract, ingest

OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "subject": {"reference": "Patient/7"},
    "specimen": {"reference": "Specimen/s1"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "751-8"}]},
    "valueQuantity": {"value": 0.4, "unit": "10*9/L"},
}
SPECIMEN = {
    "resourceType": "Specimen",
    "id": "s1",
    "type": {"text": "Blood"},
    "collection": {"collectedDateTime": "2026-01-09"},
}
REPORT = {
    "resourceType": "DiagnosticReport",
    "subject": {"reference": "Patient/7"},
    "contained": [{name: element for name, element in OBSERVATION.items() if name != "subject"}],
}


def read(path: Path, text: str) -> Extract:
    path.write_text(text, "utf-8", newline="")
    return ingest({"lab": [str(path)]})


@pytest.mark.parametrize(
    "document",
    [
        [OBSERVATION, SPECIMEN],
        {"resourceType": "Bundle", "entry": [{"resource": OBSERVATION}, {"resource": SPECIMEN}]},
        {"resourceType": "Bundle", "entry": [{"resource": REPORT}, {"resource": SPECIMEN}]},
        [{"resourceType": "Bundle", "entry": [{"resource": REPORT}]}, SPECIMEN],
    ],
    ids=["array", "Bundle", "report in a Bundle", "Bundle in an array"],
)
def test_a_result_has_type_and_time_of_its_specimen_in_the_same_file(tmp_path: Path, document: Any) -> None:
    row = read(tmp_path / "a.json", json.dumps(document, indent=1)).labs.row(0, named=True)
    assert (row["patient_id"], row["specimen_type"], str(row["collected_at"])[:10]) == ("7", "Blood", "2026-01-09")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_every_row_has_the_number_of_its_line(tmp_path: Path, end: str, last_end: bool) -> None:
    result = json.dumps(OBSERVATION | {"effectiveDateTime": "2026-01-09"})
    lines = [
        result,
        "",
        f"\ufeff{result}",
        f"  {result} \t",
        "   ",
        result[:200],
        f"{result}\0",
        '"Observation"',
        result,
    ]
    extract = read(tmp_path / "export.ndjson", end.join(lines) + end * last_end)
    assert extract.labs["source_row"].to_list() == [1, 3, 4, 7, 9]
    refused = [(line.source_row, line.reason, line.patient_id) for line in extract.refused["lab"]]
    assert refused == [(6, "broken_json", "7"), (8, "not_a_resource", None)]


@pytest.mark.parametrize(
    ("order", "statuses"),
    [(("put", "delete"), ["final"]), (("delete", "put"), ["entered-in-error"]), (("put", "delete", "put"), ["final"])],
)
def test_a_result_that_was_made_again_after_its_deletion_counts(
    tmp_path: Path, order: tuple[str, ...], statuses: list[str]
) -> None:
    """A history stands newest first (FHIR R4, http.html#history)."""
    url = "Observation/o1"
    entries = {
        "put": {"resource": OBSERVATION | {"id": "o1"}, "request": {"method": "PUT", "url": url}},
        "delete": {"request": {"method": "DELETE", "url": url}},
    }
    history = {"resourceType": "Bundle", "type": "history", "entry": [entries[method] for method in order]}
    assert read(tmp_path / "history.json", json.dumps(history)).labs["status_text"].to_list() == statuses


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("letter", ["é", "血", "🩸"])
def test_a_broken_line_of_any_letters_is_refused_and_the_others_are_read(
    tmp_path: Path, letter: str, shift: int
) -> None:
    """DuckDB's message quotes such a line, cut within a letter, and cannot be decoded itself."""
    result = json.dumps(OBSERVATION | {"effectiveDateTime": "2026-01-09"})
    broken = json.dumps({"note": "x" * shift + letter * 400} | OBSERVATION, ensure_ascii=False)[:-2]
    extract = read(tmp_path / "export.ndjson", f"{result}\n{broken}\n{result}\n")
    assert extract.labs["source_row"].to_list() == [1, 3]
    assert [(line.source_row, line.reason) for line in extract.refused["lab"]] == [(2, "broken_json")]

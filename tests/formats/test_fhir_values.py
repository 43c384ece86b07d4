"""What servers send for a count besides a quantity at a moment: timings, ranges, members inside a panel or report."""

import json
from pathlib import Path
from typing import Any

import pytest

from neutro_screen.ingest import Extract, ingest

LOW_COUNT = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "subject": {"reference": "Patient/7"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "751-8"}]},
    "effectiveDateTime": "2026-01-10T08:00:00Z",
    "valueQuantity": {"value": 0.3, "unit": "10*9/L"},
}


def low_count(**fields: Any) -> dict[str, Any]:
    """A count of 300 cells per microlitre; an element that is ... is left out, None stands as null."""
    return {name: element for name, element in (LOW_COUNT | fields).items() if element is not ...}


def read(tmp_path: Path, *resources: Any) -> Extract:
    path = tmp_path / "export.ndjson"
    path.write_text("".join(json.dumps(one) + "\n" for one in resources), "utf-8")
    return ingest({"lab": [str(path)]})


@pytest.mark.parametrize(
    ("timing", "moment"),
    [
        ({"event": ["2026-01-10T08:00:00Z", "2026-01-11"]}, "2026-01-10 08:00:00"),
        ({"repeat": {"boundsPeriod": {"start": "2026-01-09T08:00:00Z"}}}, "2026-01-09 08:00:00"),
        ({"code": {"text": "daily"}}, "None"),
    ],
)
def test_the_time_of_a_timing(tmp_path: Path, timing: dict[str, Any], moment: str) -> None:
    labs = read(tmp_path, low_count(effectiveDateTime=..., effectiveTiming=timing)).labs
    assert [str(at) for at in labs["collected_at"]] == [moment]


@pytest.mark.parametrize(
    ("value", "text", "unit"),
    [
        (
            {"valueRange": {"low": {"value": 0.2, "unit": "10*9/L"}, "high": {"value": 0.4, "unit": "10*9/L"}}},
            "0.2-0.4",
            "10*9/L",
        ),
        ({"valueRange": {"high": {"value": 0.4, "code": "10*9/L"}}}, "<=0.4", "10*9/L"),
        ({"valueRange": {"low": {"value": 0.2, "unit": "10*9/L"}}}, ">=0.2", "10*9/L"),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}, "1:128", None),
        ({"valueSampledData": {"data": "0.3 E 0.4"}}, "0.3 E 0.4", None),
        ({"valueBoolean": True}, "true", None),
        ({"valueDateTime": "2026-01-10"}, "2026-01-10", None),
        ({"valueTime": "08:00:00"}, "08:00:00", None),
        ({"valuePeriod": {"start": "2026-01-10"}}, "2026-01-10", None),
    ],
)
@pytest.mark.parametrize("is_component", [False, True])
def test_a_value_that_is_no_quantity_stands_as_text_and_never_as_a_gap(
    tmp_path: Path, value: dict[str, Any], text: str, unit: str | None, is_component: bool
) -> None:
    if is_component:
        component = [{"code": LOW_COUNT["code"], **value}]
        labs = read(tmp_path, low_count(valueQuantity=..., component=component)).labs
    else:
        members = [{"reference": "Observation/2"}]
        labs = read(tmp_path, low_count(valueQuantity=..., hasMember=members, **value)).labs
    assert labs.select("value_text", "unit_text").rows() == [(text, unit)]


@pytest.mark.parametrize("blank", [None, ...], ids=["null", "absent"])
@pytest.mark.parametrize("outer", ["DiagnosticReport", "Observation"])
def test_a_count_inside_a_report_or_panel_has_its_patient_and_time(tmp_path: Path, blank: Any, outer: str) -> None:
    inside = low_count(id="m1", subject=blank, effectiveDateTime=blank)
    around = low_count(
        resourceType=outer,
        valueQuantity=...,
        contained=[inside],
        hasMember=[{"reference": "#m1"}],
        code={"text": "CBC"},
    )
    labs = read(tmp_path, around, low_count(id="o2")).labs
    assert labs.select("patient_id", "value_text", "source_row").rows() == [("7", "0.3", 1), ("7", "0.3", 2)]
    assert [str(at) for at in labs["collected_at"]] == ["2026-01-10 08:00:00"] * 2


@pytest.mark.parametrize(
    "own",
    [
        {"effectivePeriod": {"start": "2026-01-04T08:00:00Z"}},
        {"effectiveInstant": "2026-01-04T08:00:00Z"},
        {"effectiveTiming": {"event": ["2026-01-04T08:00:00Z"]}},
    ],
)
def test_a_count_inside_a_report_keeps_the_time_of_its_own(tmp_path: Path, own: dict[str, Any]) -> None:
    inside = low_count(effectiveDateTime=..., **own)
    report = low_count(resourceType="DiagnosticReport", valueQuantity=..., contained=[inside])
    assert [str(at) for at in read(tmp_path, report).labs["collected_at"]] == ["2026-01-04 08:00:00"]


@pytest.mark.parametrize(("outer", "id_of_result"), [("DiagnosticReport", None), ("Observation", "p")])
def test_a_count_inside_a_withdrawn_report_or_panel_is_withdrawn(
    tmp_path: Path, outer: str, id_of_result: str | None
) -> None:
    """A contained resource has no life of its own (FHIR R4, references.html#contained), and its id is no id outside."""
    inside = low_count(id="m1", subject=...)
    around = low_count(resourceType=outer, id="p", status="entered-in-error", valueQuantity=..., contained=[inside])
    around["hasMember"] = [{"reference": "#m1"}]
    around["component"] = [{"code": {"text": "RBC"}, "valueQuantity": {"value": 4}}]
    labs = read(tmp_path, around).labs
    told = labs.filter(loinc="751-8").select("patient_id", "result_id", "status_text").rows()
    assert told == [("7", id_of_result, "entered-in-error")]


def test_what_a_count_is_derived_from_is_no_second_count(tmp_path: Path) -> None:
    source = low_count(id="s1", subject=..., valueQuantity={"value": 3.0, "unit": "10*9/L"})
    derived = low_count(contained=[source], derivedFrom=[{"reference": "#s1"}])
    assert read(tmp_path, derived).labs["value_text"].to_list() == ["0.3"]

"""FHIR R4 as NDJSON: computed counts as Observations, open worklist rows as DetectedIssues, and their Patients.

A count that cannot be assessed is an Observation without a value and with the reason: never a normal count, nor silence.

Codes are of public systems only (reference/fhir_codes.csv). A count refers to the results that it was computed from
(``derivedFrom``): by their own id where the source was FHIR, else they are contained in it, so that every reference
resolves. An identifier that FHIR does not allow as an id becomes one made of its hash, and is kept in ``identifier``.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

from duckdb import DuckDBPyConnection

from neutro_schemas.reference import FhirCode, RefusalWord
from neutro_screen.reference import load_reference, reference_table
from neutro_screen.store.export.place import Place
from neutro_screen.store.export.sources import is_made, patients_at_once, with_sources
from neutro_screen.store.rows import read_table
from neutro_screen.store.views import LATEST_RUN

#: What FHIR allows as the id of a resource.
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_HEX_DIGITS: Final = 32
_UCUM: Final = "http://unitsofmeasure.org"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_UNIT: Final = "10*9/L"
_CELLS_PER_UNIT: Final = 1000.0

_ISSUES: Final = """
    WITH behind AS (
        SELECT patient_id, episode_id, specimen_id FROM flag WHERE specimen_id IS NOT NULL
        UNION
        SELECT w.patient_id, w.episode_id, a.specimen_id FROM worklist w
        JOIN anc a ON a.patient_id = w.patient_id AND a.collected_at = w.last_collected_at
    )
    SELECT w.patient_id, w.episode_id, w.run_id, CAST(w.priority AS VARCHAR) AS priority,
           CAST(w.current_severity AS VARCHAR) AS severity, coalesce(w.conclusion, w.reasons) AS detail, r.as_of,
           list(a.specimen_id ORDER BY a.collected_at, a.specimen_id) FILTER (a.specimen_id IS NOT NULL) AS specimens
    FROM worklist w JOIN run r USING (run_id)
    LEFT JOIN behind b ON b.patient_id = w.patient_id AND b.episode_id IS NOT DISTINCT FROM w.episode_id
    LEFT JOIN anc a ON a.patient_id = b.patient_id AND a.specimen_id = b.specimen_id
    WHERE coalesce(w.row_group, 'open') <> 'recovered'
    GROUP BY ALL ORDER BY w.patient_id
"""


#: Whose count is unknown at the index time. A reviewer may have set them aside: they are unknown all the same.
_UNKNOWN: Final = (
    "SELECT patient_id, reason, since, specimen_id FROM unassessable "
    f"WHERE since <= (SELECT as_of FROM run WHERE run_id = ({LATEST_RUN})) ORDER BY ALL"
)
#: Whoever has a count, an open row without one (an overdue count on clozapine), or a count that is unknown.
_PATIENTS: Final = (
    "SELECT patient_id FROM anc UNION SELECT patient_id FROM worklist "
    f"UNION SELECT patient_id FROM ({_UNKNOWN}) ORDER BY patient_id"
)


def write_fhir(connection: DuckDBPyConnection, place: Place) -> None:
    """``Patient.ndjson``, ``Observation.ndjson`` and ``DetectedIssue.ndjson``."""
    patients = read_table(connection, _PATIENTS)["patient_id"]
    _write(place, "Patient", map(_patient, patients))
    unknown = map(_unknown, read_table(connection, _UNKNOWN).iter_rows(named=True))
    _write(place, "Observation", chain(_observations(connection), unknown))
    _write(place, "DetectedIssue", map(_issue, read_table(connection, _ISSUES).iter_rows(named=True)))


def _write(place: Place, resource_type: str, resources: Iterable[Mapping[str, Any]]) -> None:
    with place.file(f"{resource_type}.ndjson") as (file, about):
        for resource in resources:
            whole = {"resourceType": resource_type, **resource}
            file.write(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            about["rows"] += 1


def _patient(patient_id: str) -> dict[str, Any]:
    own = _id("", patient_id)
    return {"id": own} if own == patient_id else {"id": own, "identifier": [{"value": patient_id}]}


def _observations(connection: DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    for patients in patients_at_once(connection):
        yield from map(_observation, with_sources(connection, patients).iter_rows(named=True))


def _observation(row: Mapping[str, Any]) -> dict[str, Any]:
    """One computed count. What is unknown is left out; FHIR knows no null."""
    sources = row["sources"]
    found: dict[str, Any] = {
        "id": _observation_id(row["patient_id"], row["specimen_id"]),
        "contained": [_contained(source) for source in sources if not _has_own_id(source)],
        "status": _status(row),
        "category": [{"coding": [{"system": _CATEGORY, "code": "laboratory"}]}],
        "code": _concept("count", _counted_by(row["anc_method"], sources)),
        "subject": _subject(row["patient_id"]),
        "effectiveDateTime": _instant(row["collected_at"]),
        "issued": _instant(row["resulted_at"]),
        "performer": [{"display": row["lab"]}] if row["lab"] else None,
        "valueQuantity": _quantity(row["anc_cells_per_ul"] / _CELLS_PER_UNIT, _UNIT, row["anc_comparator"]),
        "interpretation": [_concept("interpretation", row["severity"])] if row["severity"] else None,
        "method": _concept("method", row["anc_method"]),
        "specimen": _specimen(row["specimen_id"]),
        "referenceRange": [{"low": _quantity(row["reference_low"] / _CELLS_PER_UNIT, _UNIT)}]
        if row["reference_low"] is not None
        else None,
        "derivedFrom": [{"reference": _reference(source)} for source in sources],
    }
    return {name: value for name, value in found.items() if value}


def _unknown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A count that cannot be assessed, since when, and why."""
    found = {
        "id": _id(
            "unknown-", "\0".join((row["patient_id"], row["reason"], row["specimen_id"] or "")), always_hashed=True
        ),
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": "laboratory"}]}],
        "code": _concept("count", "any"),
        "subject": _subject(row["patient_id"]),
        "effectiveDateTime": _instant(row["since"]),
        "dataAbsentReason": _absent(row["reason"]),
        "specimen": _specimen(row["specimen_id"]),
    }
    return {name: value for name, value in found.items() if value}


def _absent(reason: str) -> dict[str, Any]:
    """The nearest code of HL7, and our reason in words."""
    nearest = _concept("absent", reason if ("absent", reason) in _codes() else "unusable")
    return nearest | {"text": _refusals().get(reason, reason.replace("_", " "))}


def _specimen(specimen_id: str | None) -> dict[str, Any] | None:
    is_own = specimen_id is not None and not is_made(specimen_id)
    return {"identifier": {"value": specimen_id}} if is_own else None


def _status(row: Mapping[str, Any]) -> str:
    statuses = {source["status"] for source in row["sources"]}
    return next((status for status in ("preliminary", "corrected") if status in statuses), "final")


def _counted_by(anc_method: str, sources: Iterable[Mapping[str, Any]]) -> str:
    if anc_method.endswith("_manual"):
        return "manual"
    is_automated = anc_method == "reported" and {source["method"] for source in sources} == {"auto"}
    return "auto" if is_automated else "any"


def _contained(source: Mapping[str, Any]) -> dict[str, Any]:
    label = _labels()[source["analyte"]]
    coding = {"coding": [{"system": "http://loinc.org", "code": source["loinc"]}]} if source["loinc"] else {}
    return {
        "resourceType": "Observation",
        "id": _local_id(source),
        "status": source["status"],
        "code": {**coding, "text": label},
        "valueQuantity": _quantity(source["value"], source["unit"], source["comparator"]),
    }


def _has_own_id(source: Mapping[str, Any]) -> bool:
    return bool(source["is_fhir"] and source["result_id"] and _ID.fullmatch(source["result_id"]))


def _reference(source: Mapping[str, Any]) -> str:
    return f"Observation/{source['result_id']}" if _has_own_id(source) else f"#{_local_id(source)}"


def _local_id(source: Mapping[str, Any]) -> str:
    return str(source["analyte"]).replace("_", "-") + ("-manual" if source["is_manual"] else "")


def _issue(row: Mapping[str, Any]) -> dict[str, Any]:
    """One open row of the worklist: how urgent, why, and the counts behind it. No diagnosis."""
    counts = [{"reference": f"Observation/{_observation_id(row['patient_id'], one)}"} for one in row["specimens"] or []]
    found = {
        "id": _id("issue-", f"{row['patient_id']}\0{row['episode_id']}", always_hashed=True),
        "status": "final",
        "code": _concept("issue", "neutropenia"),
        "severity": _codes()["urgency", row["priority"]].code,
        "patient": _subject(row["patient_id"]),
        "identifiedDateTime": _instant(row["as_of"]),
        "implicated": counts,
        "evidence": [{"code": [_concept("interpretation", row["severity"])]}] if row["severity"] else None,
        "detail": row["detail"],
    }
    return {name: value for name, value in found.items() if value}


def _observation_id(patient_id: str, specimen_id: str) -> str:
    return _id("anc-", f"{patient_id}\0{specimen_id}", always_hashed=True)


def _subject(patient_id: str) -> dict[str, Any]:
    return {"reference": f"Patient/{_id('', patient_id)}"}


def _id(start: str, text: str, *, always_hashed: bool = False) -> str:
    """An id that FHIR allows: the text itself, or its hash; the same whenever the store is exported."""
    if not always_hashed and _ID.fullmatch(text):
        return text
    return start + hashlib.sha256(text.encode()).hexdigest()[:_HEX_DIGITS]


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at.isoformat()}Z"


def _quantity(value: float, unit: str, comparator: str | None = None) -> dict[str, Any]:
    compared = {"comparator": comparator} if comparator else {}
    return {"value": float(f"{value:.15g}"), **compared, "unit": unit, "system": _UCUM, "code": unit}


class _Code(NamedTuple):
    system: str | None
    code: str | None
    words: str


@cache
def _codes() -> dict[tuple[str, str], _Code]:
    rows = reference_table("fhir_codes.csv", FhirCode)
    return {(row["element"], row["key"]): _Code(row["system"], row["code"], row["words"]) for row in rows.to_dicts()}


def _concept(element: str, key: str) -> dict[str, Any]:
    """A CodeableConcept of fhir_codes.csv; words alone where there is no public code."""
    found = _codes()[element, key]
    coding = {"coding": [{"system": found.system, "code": found.code}]} if found.code else {}
    return {**coding, "text": found.words}


@cache
def _refusals() -> dict[str, str]:
    return dict(reference_table("refusal_words.csv", RefusalWord).select("reason", "words").iter_rows())


@cache
def _labels() -> dict[str, str]:
    return dict(load_reference().analytes.select("analyte", "label").iter_rows())

"""The hospital as messages and resources: HL7 v2 and FHIR."""

import json
from pathlib import Path
from typing import Any, Final

from neutro_simulator.formats.native import Paths, events_beside
from neutro_simulator.hospital import Hospital

LOINC_URL: Final = "http://loinc.org"


def write_hl7(of: Hospital, folder: Path) -> Paths:
    """A batch of ORU, RDE and ADT messages; the comparator of <0.1 goes into an SN value."""
    messages: list[str] = []
    for (patient, specimen, lab), rows in of.labs.group_by("patient_id", "specimen_id", "lab", maintain_order=True):
        segments = [
            f"MSH|^~\\&|LIS|{lab}|||20260301||ORU^R01|{len(messages)}|P|2.5.1",
            f"PID|1||{patient}^^^H^MR",
            f"OBR|1||{specimen}|58410-2^CBC^LN",
        ]
        for position, row in enumerate(rows.iter_rows(named=True), start=1):
            is_below = row["value"].startswith("<")
            code = f"{row['loinc']}^{row['analyte_name']}^LN" if row["loinc"] else f"^{row['analyte_name']}"
            interval = (
                f"{row['reference_low']}-{row['reference_high']}"
                if row["reference_low"] and row["reference_high"]
                else (f">={row['reference_low']}" if row["reference_low"] else "")
            )
            fields = [
                "OBX",
                str(position),
                "SN" if is_below else "NM",
                code,
                "",
                f"<^{row['value'][1:]}" if is_below else row["value"],
                (row["unit"] or "").replace("^", "\\S\\"),
                interval,
                "",
                "",
                "",
                row["status"],
                "",
                "",
                _hl7_time(row["collected_at"]),
                "",
                "",
                "",
                "",
                _hl7_time(row["resulted_at"]),
            ]
            segments.append("|".join(fields))
        messages.append("\r".join(segments) + "\r")
    for row in of.medications.iter_rows(named=True):
        messages.append(
            f"MSH|^~\\&|PHARM|H|||20260301||RDE^O11|{len(messages)}|P|2.5.1\rPID|1||{row['patient_id']}^^^H^MR\rORC|NW\r"
            f"TQ1|1||||||{_hl7_time(row['start_date'])}|{_hl7_time(row['end_date'])}\r"
            f"RXE||{row['atc_code'] or ''}^{row['drug_name']}^{'ATC' if row['atc_code'] else 'L'}\r"
            f"RXR|^{row['route'] or ''}\r"
        )
    coded = {key: list(rows.iter_rows(named=True)) for (key,), rows in of.diagnoses.group_by("patient_id")}
    for row in of.patients.iter_rows(named=True):
        message = (
            f"MSH|^~\\&|ADT|H|||20260301||ADT^A08|{len(messages)}|P|2.5.1\r"
            f"PID|1||{row['patient_id']}^^^H^MR||||{_hl7_time(row['birth_date'])}|{row['sex']}\r"
        )
        for diagnosis in coded.get(row["patient_id"], ()):
            message += f"DG1|1||{diagnosis['code']}^^I10||{_hl7_time(diagnosis['date'])}\r"
        messages.append(message)
    batch = f"FHS|^~\\&\rBHS|^~\\&\r{''.join(messages)}BTS|{len(messages)}\rFTS|1\r"
    (folder / "night.hl7").write_text(batch, encoding="utf-8", newline="")
    return {"lab": [str(folder / "night.hl7")], "event": events_beside(of, folder)}


def write_fhir(of: Hospital, folder: Path) -> Paths:
    """Bulk NDJSON; half of the drugs are Medication resources that the requests refer to."""
    export = folder / "export"
    export.mkdir()
    observations = []
    for row in of.labs.iter_rows(named=True):
        number = row["value"].lstrip("<")
        observation: dict[str, Any] = {
            "resourceType": "Observation",
            "status": {"F": "final", "C": "corrected", "P": "preliminary"}[row["status"]],
            "code": {
                "text": row["analyte_name"],
                "coding": [{"system": LOINC_URL, "code": row["loinc"]}] if row["loinc"] else [],
            },
            "subject": {"reference": f"Patient/{row['patient_id']}"},
            "specimen": {"reference": f"Specimen/{row['specimen_id']}"},
            "effectiveDateTime": f"{row['collected_at']}Z",
            "issued": f"{row['resulted_at']}+00:00",
            "performer": [{"display": row["lab"]}],
            "referenceRange": [
                {end: {"value": float(row[f"reference_{end}"])} for end in ("low", "high") if row[f"reference_{end}"]}
            ],
        }
        if number.replace(".", "", 1).isdigit():
            observation["valueQuantity"] = {
                "value": float(number),
                "unit": row["unit"],
                **({"comparator": "<"} if row["value"] != number else {}),
            }
        else:
            observation["valueString"] = row["value"]
        observations.append(observation)
    requests, medications = [], []
    for position, row in enumerate(of.medications.iter_rows(named=True)):
        coding = [{"system": "http://www.whocc.no/atc", "code": row["atc_code"]}] if row["atc_code"] else []
        concept = {"text": row["drug_name"], "coding": coding}
        bounds = {"start": row["start_date"], **({"end": row["end_date"]} if row["end_date"] else {})}
        drug = {"medicationCodeableConcept": concept}
        if position % 2:
            medications.append({"resourceType": "Medication", "id": f"m{position}", "code": concept})
            drug = {"medicationReference": {"reference": f"Medication/m{position}", "display": "prescribed medication"}}
        requests.append(
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                **drug,
                "subject": {"reference": f"Patient/{row['patient_id']}"},
                "dosageInstruction": [
                    {"route": {"text": row["route"]}, "timing": {"repeat": {"boundsPeriod": bounds}}}
                ],
            }
        )
    patients = [
        {
            "resourceType": "Patient",
            "id": row["patient_id"],
            "birthDate": row["birth_date"],
            "gender": {"M": "male", "F": "female"}[row["sex"]],
        }
        for row in of.patients.iter_rows(named=True)
    ]
    conditions = [
        {
            "resourceType": "Condition",
            "subject": {"reference": f"urn:uuid:{row['patient_id']}"},
            "onsetDateTime": row["date"],
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": row["code"]}]},
        }
        for row in of.diagnoses.iter_rows(named=True)
    ]
    for resources in (observations, requests, medications, patients, conditions):
        name = resources[0]["resourceType"]
        (export / f"{name}.ndjson").write_text("".join(json.dumps(resource) + "\n" for resource in resources), "utf-8")
    return {"lab": [str(export)], "event": events_beside(of, folder)}


def _hl7_time(text: str | None) -> str:
    return "" if text is None else text.replace("-", "").replace(":", "").replace("T", "")

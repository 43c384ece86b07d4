"""The page docs/formats.md: which formats are read, and of each which fields, codes and limits.

Lists come from the readers themselves; a test keeps the page and the readers together.
``python -m neutro_screen.ingest.describe docs/formats.md`` writes it anew.
"""

import sys
from inspect import getdoc
from pathlib import Path
from types import ModuleType
from typing import Final

from neutro_screen.ingest import READERS, cdisc, delimited, excel, fhir, hl7v2, mimic, omop, parquet
from neutro_screen.ingest.frames import KINDS, NATIVE_COLUMNS, REQUIRED_COLUMNS
from neutro_screen.ingest.profile import KindProfile, Profile

_MODULES: Final[dict[str, ModuleType]] = {
    "mimic": mimic, "omop": omop, "fhir": fhir, "cdisc": cdisc, "hl7v2": hl7v2, "excel": excel, "parquet": parquet,
    "delimited": delimited,
}  # fmt: skip
_HL7_FIELDS: Final = """\
| column | field |
|---|---|
| patient_id | PID-3: the repetition of the profile's `patient_authority` (PID-3.4), else of type MR, else PI, else the first; PID-2 |
| specimen_id | SPM-2 (filler's, else placer's); else OBR-3, OBR-2, one for the orders of a message with the same OBR-7 |
| collected_at, resulted_at | OBX-14, SPM-17, OBR-7; OBX-19, OBR-22, MSH-7 |
| loinc, local_code, analyte_name | OBX-3, either triplet; LOINC by its system (LN) or, without a system, by its shape |
| value | OBX-5 by OBX-2: NM, ST, TX, FT as text; SN joined; CE, CWE by their text; ED, RP none; `<` or `>` of OBX-8 in front |
| unit | OBX-6.1, else .2; `10^3/uL` with its circumflex unescaped is put together again |
| reference_low, reference_high | OBX-7: `a-b`, `a to b`, `<b`, `>=a` |
| status | OBX-11, else OBR-25 (but not its A, which means something else) |
| specimen_type, lab, comment | SPM-4, OBR-15; OBX-23, MSH-4, MSH-3; NTE-3 behind the OBX and behind its OBR |
| medication | RXE (order), RXD (dispense), RXA (administration) with ORC-1, -5, -9, -15, TQ1-7, -8 and RXR-1 |
| patient, diagnosis | PID-7, -8, -10, -22; DG1-3, -5 |

Results are taken from {results} messages, medication from {pharmacy}; other messages are counted, their people and
diagnoses read. Character sets (MSH-18): {sets}; text without one that is no UTF-8 is read as Windows-1252 and counted.
Control material (SPM-11 {roles}) is skipped and counted. Limits: a message of 64 MB, {marks} sets of separators a file.
Escapes: `\\F\\ \\S\\ \\T\\ \\R\\ \\E\\ \\.br\\ \\.sp\\ \\H\\ \\N\\ \\X0D\\ \\X0A\\ \\XB5\\`; others stay as sent."""
_LIMITS: Final = {
    "fhir": "One JSON document (a Bundle) may have 256 MB, NDJSON any size; a Bundle in a Bundle is opened three deep. "
    "`deleted` Bundles, OperationOutcomes, Patient.link replaced-by and other resource types are counted in the notes "
    "of the file; a deleted result that an earlier run has stored is not taken back, since the export names only its id.",
    "omop": "OMOP has no status and no specimen: corrections are what the ETL made of them. Without its concept table "
    "LOINC codes and drug names are missing, and units come from `omop_units.csv`. A PostgreSQL address is refused with a "
    "message: export the tables.",
    "mimic": "Give the hosp folder of MIMIC-IV itself. The year of birth is anchor_year - anchor_age. `___` gives way to "
    "valuenum. Results that stand only in comments are kept as comments.",
    "cdisc": "XPT needs the extra `cdisc` (pyreadstat). A Dataset-JSON document may have 512 MB, its NDJSON form any "
    "size. SDTM has no result status.",
    "excel": "Needs the extra `excel` (python-calamine). The header may stand in the first 50 lines of any sheet; merged "
    "cells are filled, empty ones never. Limits: 1 GB unpacked, 30 million cells a sheet. No .xls.",
    "parquet": "Typed columns become text as a CSV would show them; lists and structures are refused.",
    "delimited": "The delimiter is the one of `, ; tab |` that finds most columns. UTF-8, UTF-16, and Windows-1252 as "
    "a noted guess; any other encoding through the profile. Lines with too few or too many fields, broken quotes, "
    "undecodable text, or more than 2 MB are refused rows. A `.gz` or `.zst` that grows beyond 1 GB and 200 times its "
    "size is refused.",
}


def formats_page() -> str:
    """The text of docs/formats.md."""
    lines = [
        "# Input formats",
        "",
        "*Written by `python -m neutro_screen.ingest.describe docs/formats.md`; edit the readers, not this page.*",
        "",
        "The format is found from the content and the name, or named with `--format`. A path is a file, a glob or a folder.",
        "Every reader yields text rows in the native layout below; what a value, code or unit means is decided later, by",
        "the same rules for all formats.",
        "",
        "| format | what | its own layout |",
        "|---|---|---|",
        *(
            f"| [`{name}`](#{name}) | {reader.description} | {'yes' if reader.has_own_layout else 'through a profile'} |"
            for name, reader in READERS.items()
        ),
        "",
        "## Native layout",
        "",
        "Times without an offset are in the profile's zone. Blank status counts as final.",
        "",
        "| kind | columns | required |",
        "|---|---|---|",
        *(
            f"| {kind} | {', '.join(NATIVE_COLUMNS[kind])} | "
            f"{'; '.join(' or '.join(group) for group in REQUIRED_COLUMNS[kind])} |"
            for kind in KINDS
        ),
        "",
        "## Profile",
        "",
        "A TOML file; `neutro-screen init --from FILE` proposes one. "
        f"Entries: {', '.join(f'`{name}`' for name in Profile.model_fields)}; of each kind "
        f"{', '.join(f'`{name}`' for name in KindProfile.model_fields)} (`wide` for lab only: column, analyte, unit).",
        "Examples: tests/formats/profiles.",
    ]
    for name in READERS:
        lines += ["", f"## {name}", "", *_described(name)]
    return "\n".join(lines) + "\n"


def _described(name: str) -> list[str]:
    module = _MODULES[name]
    lines = [str(getdoc(module))]
    if name == "hl7v2":
        filled = _HL7_FIELDS.format(
            results=", ".join(hl7v2.RESULT_MESSAGES),
            pharmacy=", ".join(hl7v2.PHARMACY_MESSAGES),
            sets=", ".join(hl7v2.CHARACTER_SETS),
            roles=", ".join(hl7v2.QC_ROLES),
            marks=hl7v2.MOST_MARKS,
        )
        lines += ["", filled]
    elif name == "fhir":
        lines += ["", "| resource | elements read |", "|---|---|"]
        lines += [f"| {resource} | {', '.join(elements)} |" for resource, elements in fhir.STRUCTURES.items()]
    elif name in ("omop", "cdisc"):
        tables = omop.TABLES if name == "omop" else cdisc.DOMAINS
        lines += ["", "| table | required | read where there |", "|---|---|---|"]
        lines += [
            f"| {table} | {', '.join(required)} | {', '.join(optional)} |"
            for table, (required, optional) in tables.items()
        ]
    if name in _LIMITS:
        lines += ["", _LIMITS[name]]
    return lines


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(formats_page(), "utf-8")

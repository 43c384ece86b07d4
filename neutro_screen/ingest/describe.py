"""The page docs/formats.md: which formats are read, and of each which fields, codes and limits.

Lists come from the readers and the reference tables themselves; `make docs` writes the page, and a test keeps it current.
"""

from inspect import getdoc
from types import ModuleType
from typing import Final

import polars as pl

from neutro_screen.ingest import READERS, chart
from neutro_screen.ingest.formats import cdisc, delimited, excel, fhir, hl7v2, mimic, omop, parquet
from neutro_screen.ingest.frames import KINDS, NATIVE_COLUMNS, REQUIRED_COLUMNS
from neutro_screen.ingest.profile import KindProfile, Profile
from neutro_screen.reference import load_policy, load_reference

_MODULES: Final[dict[str, ModuleType]] = {
    "mimic": mimic,
    "omop": omop,
    "fhir": fhir,
    "cdisc": cdisc,
    "hl7v2": hl7v2,
    "excel": excel,
    "parquet": parquet,
    "delimited": delimited,
}
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
| patient: replaced_by | ADT {merges}: the record of MRG-1 (or -4) is replaced by that of its PID |

Results are taken from {results} messages, medication from {pharmacy}; other messages are counted, their people and
diagnoses read. Character sets (MSH-18): {sets}; text without one that is no UTF-8 is read as Windows-1252 and counted.
Control material (SPM-11 {roles}) is skipped and counted. Limits: a message of 64 MB, {marks} sets of separators a file.
Escapes: `\\F\\ \\S\\ \\T\\ \\R\\ \\E\\ \\.br\\ \\.sp\\ \\H\\ \\N\\ \\X0D\\ \\X0A\\ \\XB5\\`; others stay as sent."""
_LIMITS: Final = {
    "fhir": "One JSON document (a Bundle) may have 256 MB, NDJSON any size: it is read some megabytes at a time. A Bundle "
    "in a Bundle is opened three deep. References are resolved within the file or folder. Resources that a `deleted` Bundle "
    "of the same folder lists become entered in error. An Observation that only an earlier run has stored is found again by "
    "its id (`result_id`) and taken back; one that is not found (never sent, refused, or stored before `result_id` was kept) "
    "is counted as not screened, `deletion_of_unknown_result`. OperationOutcomes, deletions and resources of other types are counted in the notes "
    "of the file. `Patient.link` (replaced-by, replaces) is a merge.",
    "omop": "OMOP has no status and no specimen: corrections are what the ETL made of them. Without its concept table LOINC "
    "codes and drug names are missing, and units come from `omop_units.csv`. A `postgresql://` address needs the extra "
    "`postgres` (ADBC): the tables are copied to a private folder first, in one read-only transaction, in the order of their "
    "ids; the schema is the first of the search path (`?options=-csearch_path%3Dcdm`) that has the table. Keep the password "
    "out of the address: libpq reads PGPASSFILE and PGSERVICEFILE.",
    "mimic": "Give the hosp folder of MIMIC-IV itself. The year of birth is anchor_year - anchor_age. `___` gives way to "
    "valuenum. Results that stand only in comments are kept as comments.",
    "cdisc": "XPT needs the extra `cdisc` (pyreadstat). A Dataset-JSON document may have 512 MB, its NDJSON form and XPT "
    "any size. SDTM has no result status.",
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
        "Generated by `make docs` from the readers and `neutro_screen/reference/`.",
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
        "Times without an offset are in the profile's zone. Blank status counts as final. A lab row with nothing but a",
        "`result_id` and a status of a taken-back result deletes that result, whichever night brought it.",
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
    lines += ["", "## Codes and units", "", *_codes_and_units()]
    lines += ["", "## Medication, patients, diagnoses, events", "", *_chart()]
    for name in READERS:
        lines += ["", f"## {name}", "", *_described(name)]
    return "\n".join(lines) + "\n"


def _codes_and_units() -> list[str]:
    reference = load_reference()
    codes = reference.lab_codes
    known = codes.filter(pl.col("cell").is_not_null()).join(
        reference.analytes.select("cell", "dimension", "analyte", "canonical_unit"), on=["cell", "dimension"]
    )
    loinc = (
        known.filter(pl.col("system") == "loinc")
        .group_by("analyte", maintain_order=True)
        .agg(pl.col("code").sort())
        .rows_by_key("analyte", unique=True)
    )
    systems = dict(codes.group_by("system").len().sort("system").iter_rows())
    units = reference.unit_factors.filter(pl.col("decision") != "refuse")
    spelled = dict(units.group_by("dimension").len().iter_rows())
    return [
        "The same for every format. A test is known by its own code where the profile maps it, else by LOINC, else by its "
        "name; where code and unit contradict each other (a percent under the code of a count) the unit and the name decide, "
        "and the row says so. Codes known, by system: "
        + ", ".join(f"{system} {count}" for system, count in systems.items())
        + ". LOINC codes of other specimens are on a list of their own and never screened.",
        "",
        "| analyte | unit | spellings of units accepted | LOINC codes |",
        "|---|---|---|---|",
        *(
            f"| {row['analyte']} | {row['canonical_unit'] or ''} | {spelled.get(row['dimension'], 0)} | "
            f"{', '.join(loinc.get(row['analyte'], [[]])[0])} |"
            for row in reference.analytes.iter_rows(named=True)
        ),
        "",
        "A unit that is in no table is refused (`unit_unknown`), never guessed. All spellings: "
        "`neutro_screen/reference/unit_factors.csv`; more names of tests and units through the profile's `analytes` and `units`.",
    ]


def _chart() -> list[str]:
    dates = load_policy().dates
    return [
        "Refused, with the row as read: a line with too few or too many fields, a missing patient or start, and",
        "",
        *(
            f"- {kind}: {', '.join(f'`{reason}`' for reason in chart.REASONS[kind])}"
            for kind in KINDS
            if chart.REASONS[kind]
        ),
        "",
        "Kept, and counted in the notes of the file (`…_rows:3`), since losing the row would lose more:",
        "",
        *(
            f"- {kind}: {', '.join(f'`{name}`' for name in chart.ODDITIES[kind])}"
            for kind in KINDS
            if chart.ODDITIES[kind]
        ),
        "",
        f"A date before {dates.earliest_year} or more than {dates.latest_after_run_d} days after the run (`[dates]` of the "
        "policy) never stops another row. Year 0, 0001-01-01 and 9999-12-31 are the usual ones. The row stands in quarantine "
        "as read, and",
        "",
        "- a laboratory row (`impossible_time`), a start of a medication and an event (`impossible_date`) are refused",
        "- an end of a medication, a date of birth and a date of a diagnosis (`impossible_date`) count as not known; all else "
        "that the row says counts, since a drug whose end is not known may still be given",
    ]


def _described(name: str) -> list[str]:
    module = _MODULES[name]
    lines = [str(getdoc(module))]
    if name == "hl7v2":
        filled = _HL7_FIELDS.format(
            results=", ".join(hl7v2.RESULT_MESSAGES),
            pharmacy=", ".join(hl7v2.PHARMACY_MESSAGES),
            merges=", ".join(hl7v2.MERGE_EVENTS),
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

"""The page docs/formats.md: which formats are read, and of each which fields, codes and limits.

Lists come from the readers and the reference tables themselves.
"""

from inspect import getdoc
from types import ModuleType
from typing import Final

import polars as pl

from neutro_screen.ingest import READERS, chart
from neutro_screen.ingest.broken_lines import BROKEN_LINE_REASONS
from neutro_screen.ingest.formats import cdisc, delimited, excel, fhir, hl7v2, mimic, omop, parquet
from neutro_screen.ingest.formats.fhir.structures import STRUCTURES
from neutro_screen.ingest.formats.hl7v2.codes import CHARACTER_SETS, WORDS
from neutro_screen.ingest.formats.hl7v2.fields import FIELDS
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
_LIMITS: Final = {
    "fhir": "One JSON document (a Bundle) may have 256 MB, NDJSON any size: it is read some megabytes at a time; a longer "
    "line is refused by itself. A unit and its code, a comparator and an interpretation that contradict each other are "
    "`fields_disagree`. A Bundle "
    "in a Bundle is opened three deep. References are resolved within the file or folder. Resources that a `deleted` Bundle "
    "of the same folder lists become entered in error. An Observation that only an earlier run has stored is found again by "
    "its id (`result_id`) and taken back; one that is not found (never sent, refused, or stored before `result_id` was kept) "
    "is counted as not screened, `deletion_of_unknown_result`. OperationOutcomes, deletions and resources of other types are counted in the notes "
    "of the file. `Patient.link` (replaced-by, replaces) is a merge.",
    "omop": "OMOP has no status and no specimen: corrections are what the ETL made of them. Without its concept table LOINC "
    "codes and drug names are missing, and units come from `omop_units.csv`; units that no count has (kelvin or gauss by "
    "volume, misread K/uL and G/L) give way to the source unit. Operator, value and unit are compared with their source "
    "fields: a value that was converted with its unit agrees, anything else is `fields_disagree`. A `postgresql://` address needs the extra "
    "`postgres` (ADBC): the tables are copied to a private folder first, in one read-only transaction, in the order of their "
    "ids; the schema is the first of the search path (`?options=-csearch_path%3Dcdm`) that has the table. Keep the password "
    "out of the address: libpq reads PGPASSFILE and PGSERVICEFILE.",
    "mimic": "Give the hosp folder of MIMIC-IV itself. The year of birth is anchor_year - anchor_age. `___` gives way to "
    "valuenum; a value that contradicts it is `fields_disagree`. Lines of a table that others refer to and that are broken "
    "are a note (`broken_lookup_lines`). Results that stand only in comments are kept as comments.",
    "cdisc": "XPT needs the extra `cdisc` (pyreadstat). A Dataset-JSON document may have 512 MB, its NDJSON form and XPT "
    "any size. SDTM has no result status. Original and standardised results that contradict each other, in units that can be "
    "compared, are `fields_disagree`.",
    "excel": "Needs the extra `excel` (python-calamine). The header may stand in the first 50 lines of a sheet; every sheet "
    "with the required columns is read, how many others there are is a note (`other_sheets`); merged "
    "cells are filled, empty ones never. A cell that the sheet shows as 20 % is read as 20 %; one that became a date or a truth "
    "value is refused. Limits: 1 GB unpacked, 30 million cells a sheet. No .xls.",
    "parquet": "Typed columns become text as a CSV would show them; lists and structures are refused.",
    "delimited": "The delimiter is the one of `, ; tab | ^` that finds most columns; the header may stand below titles, in the "
    "first 50 lines. UTF-8, UTF-16, and Windows-1252 as a noted guess; any other encoding through the profile. Quotes inside "
    "quotes are doubled or escaped by a backslash. Lines with too few or too many fields, broken quotes, undecodable text, "
    "zero bytes, a lone carriage return outside quotes, or more than 2 MB are refused rows. A `.gz` or `.zst` that grows beyond 1 GB and 200 times its "
    "size is refused. A table as a program prints it (note `printed_table`: SQL*Plus, psql, sqlcmd, mysql, db2, frames of "
    "signs, columns held apart by blanks) is read by its columns: rulings, repeated headers and titles are no rows, a value "
    "wider than its column is a refused row, and a number of rows below the table that says more than were found refuses the "
    "file, as do rows printed over several lines and a second table with other columns. Flat JSON (`.json`, `.ndjson`, "
    "`.jsonl`) is an array of objects, an object that holds one such array, or an object a line; a document may have 256 MB. "
    "Numbers keep their digits. A member that holds an object or a list refuses the file, a line that is no object is a "
    "refused row (`broken_json`). FHIR and CDISC are recognised before it.",
}


_PROFILE: Final = (
    '- `columns`: native column = the file\'s own; a list of two is joined by a blank (`collected_at = ["Datum", "Zeit"]`)',
    "- `fallbacks`: native column = the column that counts where the first is blank or removed text (`___`); two numbers of",
    "  one result that contradict each other refuse the row (`fields_disagree`)",
    "- `reference_range` is a native column for limits in one text: `1.5-8.0`, `1,500 - 8,000`, `1,5 bis 8,0`, `>=1.0`, `<5`",
    "- `wide`: the measured columns of a file with one row a blood count; a blank cell is a test that was not asked for, and a",
    "  row of blanks a note (`untested_rows`); a column that is not mapped and whose header names a cell that feeds the ANC is",
    "  read under its header (`unread_columns`): [recognition.md](recognition.md)",
    "- `patient_identifier` (HL7): PID-2, PID-3, PID-4 or OBR-3; the note `patient_identifier_suspect` of a file means that",
    "  nearly every patient of it has one specimen: the patient's place may hold an accession number",
    "- `fill_down`: native columns that stand on the first row of a group only and hold for the rows of results below it,",
    '  outermost first (`fill_down = ["patient_id", "collected_at"]`); nothing is filled across a refused line',
    "- `dates_across`: columns that are named by dates hold the values of that day; one that may be a date and cannot be read",
    "  refuses the file",
    "- units in a row of their own below the header of a wide file are read where the profile states none; one that is another",
    "  than the profile's refuses the file. A count without a unit is never used: `init` asks for it",
    "- a unit that stands behind the value (`0.4 K/uL`) is read where the row has no other",
)


def _broken_lines() -> list[str]:
    return [
        "A line that cannot be split into columns is refused under its own number, and every other line is read. Where patient,",
        "specimen or time stand before the break they are kept, and that patient cannot be assessed (`broken_line`) until a",
        f"usable count follows. Reasons: {', '.join(f'`{reason}`' for reason in BROKEN_LINE_REASONS)}.",
        "",
        "Titles above the header are a note (`title_lines`). A row with a text in the patient's place and nothing else, such as",
        f"`** End of report **`, is refused (`{chart.NO_ROW}`) and is no patient; neither is a short line whose first field looks",
        "like no identifier of the file.",
    ]


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
        "`ward` and `requester` are for the reader's eyes: they stand beside the patient in the worklist, the page and `flagged.csv`,",
        "no rule looks at them. Delimited text, Excel and Parquet have them by a profile's columns, HL7 v2 from PV1-3 and OBR-16 or",
        "ORC-12; other formats bring none. The ward shown is that of the newest specimen that names one, and unknown where a newer",
        "count names none.",
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
        "",
        *_PROFILE,
        "",
        "Control totals (`[control]`), where the sender gives them: `checksum` is the ending of a file beside each file with its "
        'SHA-256, as `sha256sum` writes it (`checksum = ".sha256"`: `labs.csv.sha256`); `manifest` the name of a CSV in the same '
        "folder with the columns `file`, `rows` and `sha256` (rows of delimited text, Excel and Parquet; without the header); "
        "`trailer` a regular expression of the last line of delimited text whose first group is the number of rows "
        "(`trailer = '^TRAILER;(\\d+)$'`), which is then no row; `required = true` refuses a file of which nothing is said. The "
        "bytes are checked before the first row is used, the number of rows before anything is published.",
        "",
        "## Broken lines, titles and footers",
        "",
        *_broken_lines(),
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
        "name, word by word (the tests that explain a low count too: infections, vitamins, antibodies, blood group, smear and "
        "marrow, in `neutro_screen/reference/marker_names.csv`); where code and unit contradict each other (a percent under the code of a count) the unit and the name decide, "
        "and the row is noted. Codes known, by system: "
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
        lines += ["", *_hl7_fields()]
    elif name == "fhir":
        lines += ["", "| resource | elements read |", "|---|---|"]
        lines += [f"| {resource} | {', '.join(elements)} |" for resource, elements in STRUCTURES.items()]
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


def _hl7_fields() -> list[str]:
    def codes(field: str, word: str) -> str:
        return ", ".join(code for code, its_word in WORDS[field].items() if its_word == word)

    return [
        "| kind | of each | column | the first of these fields that is there | |",
        "|---|---|---|---|---|",
        *(
            f"| {row['kind']} | {row['segment']} | {row['column']} | {row['places'].replace(' ', ', ')} | {row['note'] or ''} |"
            for row in FIELDS.iter_rows(named=True)
        ),
        "",
        f"Results are taken from {codes('MSH-9.1', 'results')} messages, medication from {codes('MSH-9.1', 'pharmacy')}, merges "
        f"from the ADT events {codes('MSH-9.2', 'merge')}; other messages are counted, their people and diagnoses read. "
        f"Character sets (MSH-18): {', '.join(CHARACTER_SETS)}; text without one that is no UTF-8 is read as Windows-1252 and "
        f"counted. Control material (SPM-11 {codes('SPM-11.1', 'control')}) is skipped and counted. Limits: a message of 64 MB, "
        f"{hl7v2.MOST_MARKS} sets of separators a file.",
        r"Escapes: `\F\ \S\ \T\ \R\ \E\ \.br\ \.sp\ \H\ \N\ \X0D\ \X0A\ \XB5\`; others stay as sent.",
    ]

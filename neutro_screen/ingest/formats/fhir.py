"""FHIR R4: bulk-export NDJSON, Bundles and single resources.

DuckDB takes the JSON apart - it is fast, reads blocks of lines in bounded memory, and nesting of any depth does it no
harm - and polars picks among codings and values. Every row keeps its line (NDJSON) or entry number (Bundle).
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import polars as pl

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.batches import gathered
from neutro_screen.ingest.engine import engine
from neutro_screen.ingest.files import encoding_by_mark, head_of, transcoded, unpacked
from neutro_screen.ingest.frames import KINDS, NATIVE_COLUMNS, Kind, Refused
from neutro_screen.ingest.layout import (
    LOINC_NUMBER,
    Table,
    detached,
    kept_local_code,
    no_text_rows,
    refused_text,
    with_off_scale,
)
from neutro_screen.ingest.profile import Profile
from neutro_screen.private import private_folder

_BLOCK: Final = 8 << 20
_LARGEST_DOCUMENT: Final = 256 << 20
_DEEPEST_BUNDLE: Final = 3
_LINES_LOOKED_AT: Final = 50
_LONGEST_LOOKED_AT: Final = 1 << 20
_SUFFIXES: Final = (".json", ".ndjson", ".jsonl")
_CODINGS: Final = {"coding": [{"system": "VARCHAR", "code": "VARCHAR", "display": "VARCHAR"}], "text": "VARCHAR"}
_QUANTITY: Final = dict.fromkeys(("value", "comparator", "unit", "system", "code"), "VARCHAR")
_PERIOD: Final = {"start": "VARCHAR", "end": "VARCHAR"}
_REFERENCE: Final = {"reference": "VARCHAR", "display": "VARCHAR", "identifier": {"value": "VARCHAR"}}
_EFFECTIVE: Final = {"effectiveDateTime": "VARCHAR", "effectiveInstant": "VARCHAR", "effectivePeriod": _PERIOD}
_VALUE: Final = {
    "valueQuantity": _QUANTITY,
    "valueString": "VARCHAR",
    "valueInteger": "VARCHAR",
    "valueCodeableConcept": _CODINGS,
    "dataAbsentReason": _CODINGS,
    "interpretation": [_CODINGS],
    "referenceRange": [{"low": {"value": "VARCHAR"}, "high": {"value": "VARCHAR"}}],
}
_DOSE: Final = {
    "text": "VARCHAR",
    "route": _CODINGS,
    "doseAndRate": [{"doseQuantity": _QUANTITY}],
    "timing": {"repeat": {"boundsPeriod": _PERIOD}},
}
_CONTAINED: Final = [{"resourceType": "VARCHAR", "id": "VARCHAR", "code": _CODINGS, "type": _CODINGS}]
_DRUG: Final = {"medicationCodeableConcept": _CODINGS, "medicationReference": _REFERENCE, "contained": _CONTAINED}
#: What is read of each resource type. Anything else of a resource is left alone.
STRUCTURES: Final[dict[str, dict[str, Any]]] = {
    "Observation": {
        "id": "VARCHAR",
        "status": "VARCHAR",
        "code": _CODINGS,
        "subject": _REFERENCE,
        **_EFFECTIVE,
        "issued": "VARCHAR",
        **_VALUE,
        "component": [{"code": _CODINGS, **_VALUE}],
        "hasMember": [{"reference": "VARCHAR"}],
        "specimen": _REFERENCE,
        "contained": _CONTAINED,
        "performer": [{"display": "VARCHAR"}],
        "note": [{"text": "VARCHAR"}],
    },
    "MedicationRequest": {
        "id": "VARCHAR",
        "status": "VARCHAR",
        "intent": "VARCHAR",
        "doNotPerform": "VARCHAR",
        "subject": _REFERENCE,
        **_DRUG,
        "authoredOn": "VARCHAR",
        "dosageInstruction": [_DOSE],
    },
    "MedicationAdministration": {
        "id": "VARCHAR",
        "status": "VARCHAR",
        "subject": _REFERENCE,
        **_DRUG,
        **_EFFECTIVE,
        "dosage": {"route": _CODINGS, "dose": _QUANTITY},
    },
    "MedicationStatement": {
        "id": "VARCHAR",
        "status": "VARCHAR",
        "subject": _REFERENCE,
        **_DRUG,
        **_EFFECTIVE,
        "dateAsserted": "VARCHAR",
        "dosage": [_DOSE],
    },
    "MedicationDispense": {
        "id": "VARCHAR",
        "status": "VARCHAR",
        "subject": _REFERENCE,
        **_DRUG,
        "whenHandedOver": "VARCHAR",
        "whenPrepared": "VARCHAR",
        "dosageInstruction": [_DOSE],
    },
    "Medication": {"id": "VARCHAR", "code": _CODINGS},
    "Specimen": {
        "id": "VARCHAR",
        "type": _CODINGS,
        "collection": {"collectedDateTime": "VARCHAR", "collectedPeriod": _PERIOD},
    },
    "Patient": {
        "id": "VARCHAR",
        "birthDate": "VARCHAR",
        "gender": "VARCHAR",
        "link": [{"type": "VARCHAR", "other": _REFERENCE}],
        "extension": [{"url": "VARCHAR", "extension": [{"url": "VARCHAR", "valueString": "VARCHAR"}]}],
    },
    "Condition": {
        "id": "VARCHAR",
        "code": _CODINGS,
        "subject": _REFERENCE,
        "verificationStatus": _CODINGS,
        "onsetDateTime": "VARCHAR",
        "onsetPeriod": _PERIOD,
        "recordedDate": "VARCHAR",
    },
}
#: Types that become rows, and types that only others refer to.
FACT_TYPES: Final = ("Medication", "Specimen")
ROW_TYPES: Final = tuple(name for name in STRUCTURES if name not in FACT_TYPES)
_CONTAINERS: Final = ("Bundle", "array", "DiagnosticReport")
_BAD_LINES: Final = ("broken_json", "not_a_resource")
#: Names beside those of resource types, which start with a capital letter.
_DELETED, _TOO_DEEP, _END_OF_BLOCK = "deleted", "nested_too_deeply", "end_of_block"
_COUNTED: Final = {_DELETED: "deleted_resources", _TOO_DEEP: "nested_too_deeply", "OperationOutcome": "error_outcomes"}
_RESOURCE_URL: Final = r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})$"
#: What an Observation inside a report takes from the report where it does not say so itself.
_FROM_REPORT: Final = ("subject", "effectiveDateTime", "effectivePeriod", "issued")
_SYSTEMS: Final = {
    "urn:oid:2.16.840.1.113883.6.1": "http://loinc.org",
    "urn:oid:2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "urn:oid:2.16.840.1.113883.6.73": "http://www.whocc.no/atc",
    "urn:oid:2.16.840.1.113883.6.90": "icd-10-cm",
    "urn:oid:2.16.840.1.113883.6.3": "icd-10",
    "urn:oid:2.16.840.1.113883.6.103": "icd-9-cm",
    "urn:oid:2.16.840.1.113883.6.96": "snomed",
}
_LOINC: Final = ("http://loinc.org", "https://loinc.org", "loinc")
_RXNORM: Final = ("http://www.nlm.nih.gov/research/umls/rxnorm",)
_ATC: Final = (
    "http://www.whocc.no/atc",
    "https://www.whocc.no/atc",
    "http://fhir.de/codesystem/bfarm/atc",
    "http://fhir.de/codesystem/dimdi/atc",
)
_UCUM: Final = ("http://unitsofmeasure.org", "urn:oid:2.16.840.1.113883.6.8")
_NOT_MEANT: Final = ("refuted", "entered-in-error")


def recognises(path: Path) -> bool:
    """A JSON file with a resourceType near its start, or a folder that holds such a file."""
    if path.is_dir():
        return any(inside.is_file() and recognises(inside) for inside in sorted(path.iterdir()))
    unpacked_name = path.name.removesuffix(".gz").removesuffix(".zst")
    return unpacked_name.lower().endswith(_SUFFIXES) and b'"resourceType"' in head_of(path, 65_536).replace(b"\0", b"")


def read_fhir(path: Path, kind: Kind, profile: Profile) -> Iterator[tuple[Kind, Table]]:
    """Read one file, or all JSON files of a folder; with ``lab`` it brings every kind, else only the one asked for.

    NDJSON comes in pieces, whatever its size. One laboratory row per value: an Observation's own and each component's;
    a panel that only lists members is none. Medication and Specimen references are resolved within the file or folder,
    in a first pass that looks at nothing else. Resources that a bulk export lists as deleted become entered in error;
    an Observation that the export does not hold itself, a row with nothing but its id. OperationOutcomes and resources of other types are counted in the notes. A line that is no JSON, or no resource,
    becomes ``refused``.

    Raises:
        UnreadableInputError: empty, a damaged archive, no text, one JSON document of more than 256 MB.
    """
    files = (
        [path]
        if path.is_file()
        else [inside for inside in sorted(path.iterdir()) if inside.is_file() and recognises(inside)]
    )
    with engine() as connection:
        facts = _Facts()
        for number, file in enumerate(files):
            for resource_type, resources in _resources_of(connection, file, FACT_TYPES, _may_hold_facts):
                facts.add(resource_type, resources, number)
        known = facts.known()
        for file in files:
            yield from gathered(_pieces(connection, file, kind, profile, known))
        if kind == "lab":
            yield from _deletions_of_others(files, known)


def _deletions_of_others(files: Sequence[Path], known: "_Known") -> Iterator[tuple[Kind, Table]]:
    """A row for each Observation that is deleted and not in this export: an earlier one may have brought it."""
    if known.deleted is None:
        return
    absent = known.deleted.filter(pl.col("type") == "Observation", ~pl.col("id").is_in(known.met_observations))
    once = absent.unique("id", keep="first", maintain_order=True)
    rows = once.select("file", "source_row", result_id="id", status=pl.lit("entered-in-error"))
    for number, file in enumerate(files):
        own = rows.filter(file=number)
        if own.height:
            yield "lab", Table(file, _all_columns(own, "lab"))


def _pieces(
    connection: duckdb.DuckDBPyConnection, file: Path, kind: Kind, profile: Profile, known: "_Known"
) -> Iterator[tuple[Kind, Table]]:
    """The rows of one file, a few megabytes of text at a time; what is no row goes with the kind that it holds most of."""
    part = _Part(file, profile, known)
    seen: Counter[Kind] = Counter()
    own = kind
    for resource_type, resources in _resources_of(connection, file, ROW_TYPES):
        if resource_type != _END_OF_BLOCK:
            part.add(resource_type, resources)
            continue
        rows, refused = part.taken()
        seen.update({each: rows[each].height for each in KINDS})
        own = max(KINDS, key=lambda each: (seen[each], each == kind)) if kind == "lab" else kind
        for each in KINDS if kind == "lab" else (kind,):
            if rows[each].height or (each == own and refused):
                yield each, Table(file, rows[each], refused if each == own else ())
    if part.has_refused and not part.has_resources:
        raise UnreadableInputError("holds no FHIR resource", where=file.name, remedy="Every line is one JSON resource.")
    notes = tuple(f"{name}:{count}" for name, count in sorted(part.counts.items()) if count)
    yield own, Table(file, no_text_rows(own), notes=notes)


class _Known(NamedTuple):
    """What resources say of others, from all files: by id, each null where there is none."""

    medications: pl.DataFrame | None
    specimens: pl.DataFrame | None
    #: Observations, medication orders … that the export lists as deleted: type, id, file (its number), source_row.
    deleted: pl.DataFrame | None
    #: Ids of the deleted Observations that the export holds itself, as they are met.
    met_observations: set[str]

    def is_deleted(self, resource_type: str) -> pl.Expr:
        """Whether a resource, by its column ``id``, is deleted."""
        if self.deleted is None:
            return pl.lit(False)
        return pl.col("id").is_in(self.deleted.filter(type=resource_type)["id"].implode()).fill_null(False)


class _Facts:
    """Collects what resources say of others, in the first pass."""

    def __init__(self) -> None:
        self.frames: dict[str, list[pl.DataFrame]] = {"Medication": [], "Specimen": [], _DELETED: []}

    def add(self, resource_type: str, resources: pl.DataFrame, file: int) -> None:
        """Keep the facts of a block of resources of a file (its number); of any other type there are none."""
        if resource_type in _FACTS:
            self.frames[resource_type].append(detached(_FACTS[resource_type](resources)))
        elif resource_type == _DELETED:
            url = pl.col("url").str.extract_groups(_RESOURCE_URL).struct
            self.frames[_DELETED].append(
                resources.select("source_row", type=url.field("1"), id=url.field("2"), file=pl.lit(file, pl.Int64))
                .drop_nulls()
                .pipe(detached)
            )

    def known(self) -> _Known:
        """The first that is said of every id."""
        medications, specimens, deleted = (pl.concat(frames) if frames else None for frames in self.frames.values())
        return _Known(_first_of_each(medications), _first_of_each(specimens), deleted, set())


def _first_of_each(facts: pl.DataFrame | None) -> pl.DataFrame | None:
    return None if facts is None else facts.drop_nulls("key").unique("key", keep="first", maintain_order=True)


class _Part:
    """What one file holds: rows of the current block by kind, and counts over all of it."""

    def __init__(self, path: Path, profile: Profile, known: _Known) -> None:
        self.path, self.profile, self.known = path, profile, known
        self.counts: Counter[str] = Counter()
        self.has_resources = self.has_refused = False
        self._rows: dict[Kind, list[pl.DataFrame]] = {}
        self._refused: list[Refused] = []
        self.taken()

    def add(self, resource_type: str, resources: pl.DataFrame) -> None:
        """Keep the rows of a block of resources, or count or refuse its lines."""
        if resource_type in _BAD_LINES:
            for row, line in resources.select("source_row", "line").iter_rows():
                self._refused.append(Refused(self.path.name, row, resource_type, refused_text(line)))
            self.has_refused = True
            return
        if resource_type in _COUNTED:
            self.counts[_COUNTED[resource_type]] += resources.height
        self.has_resources |= resource_type not in ("array", _DELETED, _TOO_DEEP)
        if resource_type == "Observation":
            is_deleted = self.known.is_deleted(resource_type)
            self.known.met_observations.update(resources.filter(is_deleted)["id"])
            rows = _lab_rows(_with_deletions(resources, is_deleted), self.profile)
            self._keep("lab", _with_specimens(rows, self.known.specimens))
        elif resource_type in _MEDICATION_DATES:
            resources = _with_deletions(resources, self.known.is_deleted(resource_type))
            rows = _medication_rows(resources, _MEDICATION_DATES[resource_type]())
            self._keep("medication", _with_medications(rows, self.known.medications))
        elif resource_type == "Patient":
            self._keep("patient", _patient_rows(resources), _merge_rows(resources))
        elif resource_type == "Condition":
            self._keep("diagnosis", _diagnosis_rows(resources.filter(~self.known.is_deleted(resource_type))))
        elif resource_type not in (*STRUCTURES, *_COUNTED, *_CONTAINERS):
            self.counts["other_resources"] += resources.height

    def _keep(self, kind: Kind, *frames: pl.DataFrame) -> None:
        self._rows[kind] += [detached(rows) for rows in frames]

    def taken(self) -> tuple[dict[Kind, pl.DataFrame], list[Refused]]:
        """The rows of this block in the order of the file, and the lines that are none; then it is empty again."""
        rows = {kind: pl.concat(frames).sort("source_row", maintain_order=True) for kind, frames in self._rows.items()}
        refused = sorted(self._refused, key=lambda line: line.source_row)
        self._rows, self._refused = {kind: [no_text_rows(kind)] for kind in KINDS}, []
        return rows, refused


def _with_deletions(resources: pl.DataFrame, is_deleted: pl.Expr) -> pl.DataFrame:
    return resources.with_columns(status=pl.when(is_deleted).then(pl.lit("entered-in-error")).otherwise("status"))


def _may_hold_facts(line: bytes) -> bool:
    """Whether a line, or a block of lines, can be or hold something of FACT_TYPES: a quick look that spares the parsing."""
    return b'"Medication"' in line or b'"Specimen"' in line or b'"DELETE"' in line or b'"delete"' in line


def _resources_of(
    connection: duckdb.DuckDBPyConnection, path: Path, wanted: Collection[str], may_hold: Callable[[bytes], bool] = bool
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Resources of a file by type, block for block (see ``_resources``); after each block an empty one, _END_OF_BLOCK."""
    with private_folder() as folder:
        text = unpacked(path, folder)
        head = head_of(text)
        if not head.strip(b"\xef\xbb\xbf \t\r\n"):
            raise UnreadableInputError(
                "the file is empty", where=path.name, remedy="Check the export; nothing was screened."
            )
        if (marked := encoding_by_mark(head)) not in (None, "utf-8-sig"):
            text = transcoded(text, str(marked), folder)
        is_document = _is_document(connection, text, path.name)
        try:
            for block, first in [(text.read_bytes(), 1)] if is_document else _blocks(text, path.name):
                if may_hold(block):
                    lines = _lines([block] if is_document else block.split(b"\n"), first, may_hold)
                    yield from _resources(connection, lines, wanted, _DEEPEST_BUNDLE)
                yield _END_OF_BLOCK, pl.DataFrame()
        except duckdb.Error:
            raise UnreadableInputError("holds JSON that cannot be taken apart", where=path.name) from None


def _blocks(text: Path, name: str) -> Iterator[tuple[bytes, int]]:
    """Whole lines, so many at a time, with the number of the first."""
    held, first = b"", 1
    with text.open("rb") as file:
        while chunk := file.read(_BLOCK):
            end = chunk.rfind(b"\n")
            if end < 0:
                held += chunk
                if len(held) > _LARGEST_DOCUMENT:
                    raise UnreadableInputError("a line is longer than 256 MB", where=name, remedy="Is this NDJSON?")
                continue
            block, held = held + chunk[:end], chunk[end + 1 :]
            yield block, first
            first += block.count(b"\n") + 1
    if held.strip():
        yield held, first


def _is_document(connection: duckdb.DuckDBPyConnection, text: Path, name: str) -> bool:
    """Whether the file is one JSON value over several lines: then its first line is not one.

    Where only the first line is damaged, one of the next is a resource by itself, and the whole is no JSON.
    """
    with text.open("rb") as file:
        first = file.readline(_LARGEST_DOCUMENT).strip(b"\xef\xbb\xbf \t\r\n")
        while not first and (line := file.readline(_LARGEST_DOCUMENT)):
            first = line.strip()
        others = [line for _ in range(_LINES_LOOKED_AT) if (line := file.readline(_LONGEST_LOOKED_AT).strip())]
    if not others or first[:1] not in (b"{", b"[") or _is_json(connection, first):
        return False
    is_too_large = text.stat().st_size > _LARGEST_DOCUMENT
    is_resource = (
        line.startswith(b"{") and b'"resourceType"' in line and _is_json(connection, line) for line in others
    )
    if any(is_resource):
        return not is_too_large and _is_json(connection, text.read_bytes())
    if is_too_large:
        raise UnreadableInputError("one JSON document of more than 256 MB", where=name, remedy="Export NDJSON instead.")
    return True


def _is_json(connection: duckdb.DuckDBPyConnection, content: bytes) -> bool:
    """Asked of DuckDB, which builds nothing: Python's objects take ten times the memory of their text."""
    text = content.decode("utf-8", errors="replace").strip("\ufeff \t\r\n\0")
    return connection.execute("SELECT json_valid(CAST(? AS VARCHAR))", [text]).fetchall() == [(True,)]


def _lines(lines: Sequence[bytes], first: int, may_hold: Callable[[bytes], bool] = bool) -> pl.DataFrame:
    """Lines as text with their numbers, without those that hold nothing."""
    numbered = [(number, line) for number, line in enumerate(lines, start=first) if may_hold(line)]
    texts = [line.decode("utf-8", errors="replace").strip("\ufeff \t\r\n\0") for _, line in numbered]
    frame = pl.DataFrame(
        {"line": texts, "source_row": [number for number, _ in numbered]},
        schema={"line": pl.String, "source_row": pl.Int64},
    )
    return frame.filter(pl.col("line") != "")


def _resources(
    connection: duckdb.DuckDBPyConnection, lines: pl.DataFrame, wanted: Collection[str], depth: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The lines by resource type: those of a wanted type as source_row and the fields of STRUCTURES, others as they are.

    Bundles, arrays and reports are opened and their resources taken the same way; what a Bundle deletes comes as
    _DELETED with its url.
    """
    connection.register("lines", lines)
    typed = (
        connection.sql(
            "SELECT source_row, line, CASE WHEN NOT json_valid(line) THEN 'broken_json' ELSE coalesce("
            " json_extract_string(line, '$.resourceType'),"
            " CASE json_type(line) WHEN 'ARRAY' THEN 'array' ELSE 'not_a_resource' END) END AS type FROM lines"
        )
        .pl()
        .sort("source_row", maintain_order=True)
    )
    for (resource_type,), lines_of_type in typed.group_by("type", maintain_order=True):
        name = str(resource_type)
        if name not in wanted:
            yield name, lines_of_type
        else:
            connection.register("lines", lines_of_type)
            read = connection.sql(
                f"SELECT source_row, json_transform(line, '{json.dumps(STRUCTURES[name])}') AS resource FROM lines"
            ).pl()
            yield name, read.sort("source_row", maintain_order=True).unnest("resource")
        if name in _CONTAINERS:
            connection.register("lines", lines_of_type)
            inside = connection.sql(_INSIDE[name]).pl().sort("source_row", "position")
            if name != "DiagnosticReport" and lines.height == 1:
                inside = inside.with_columns(source_row="position")
            yield _DELETED, inside.filter(pl.col("is_deleted"))
            inside = inside.filter(pl.col("line").is_not_null()).select("line", "source_row")
            if inside.height and depth:
                yield from _resources(connection, inside, wanted, depth - 1)
            else:
                yield _TOO_DEEP, inside


_INSIDE: Final = {
    "Bundle": """
        SELECT source_row, position, entry -> '$.resource' AS line, entry ->> '$.request.url' AS url,
               coalesce(upper(entry ->> '$.request.method') = 'DELETE', false) AS is_deleted
        FROM (SELECT source_row, unnest(json_extract(line, '$.entry[*]')) AS entry,
                     generate_subscripts(json_extract(line, '$.entry[*]'), 1)::BIGINT AS position FROM lines)
    """,
    "array": """
        SELECT source_row, unnest(json_extract(line, '$[*]')) AS line,
               generate_subscripts(json_extract(line, '$[*]'), 1)::BIGINT AS position, false AS is_deleted, NULL AS url FROM lines
    """,
    "DiagnosticReport": f"""
        SELECT source_row, position, false AS is_deleted, NULL AS url, json_merge_patch(report, observation) AS line
        FROM (SELECT source_row, unnest(json_extract(line, '$.contained[*]')) AS observation,
                     generate_subscripts(json_extract(line, '$.contained[*]'), 1)::BIGINT AS position,
                     json_object({", ".join(f"'{name}', line -> '$.{name}'" for name in _FROM_REPORT)}) AS report FROM lines)
        WHERE observation ->> '$.resourceType' = 'Observation'
    """,
}


def _with_specimens(labs: pl.DataFrame, specimens: pl.DataFrame | None) -> pl.DataFrame:
    if specimens is None:
        return labs
    return (
        labs.join(specimens.rename({"key": "specimen_id"}), on="specimen_id", how="left", maintain_order="left")
        .with_columns(
            specimen_type=pl.coalesce("specimen_type", "type"), collected_at=pl.coalesce("collected_at", "taken")
        )
        .drop("type", "taken")
    )


def _with_medications(rows: pl.DataFrame, medications: pl.DataFrame | None) -> pl.DataFrame:
    if medications is None:
        return rows.drop("key")
    return (
        rows.join(medications, on="key", how="left", maintain_order="left")
        .with_columns(
            # What the resource itself calls the drug is often only "prescribed medication".
            drug_name=pl.coalesce("name", "drug_name"),
            atc_code=pl.coalesce("atc_code", "atc"),
            rxcui=pl.coalesce("rxcui", "rxnorm"),
        )
        .drop("key", "name", "atc", "rxnorm")
    )


def _medication_names(medications: pl.DataFrame) -> pl.DataFrame:
    return medications.select(
        key="id", name=_text(pl.col("code")), atc=_code(pl.col("code"), _ATC), rxnorm=_code(pl.col("code"), _RXNORM)
    )


def _specimen_facts(specimens: pl.DataFrame) -> pl.DataFrame:
    collection = pl.col("collection").struct
    period = collection.field("collectedPeriod").struct
    return specimens.select(
        key="id",
        type=_text(pl.col("type")),
        taken=pl.coalesce(collection.field("collectedDateTime"), period.field("start")),
    )


_FACTS: Final = {"Medication": _medication_names, "Specimen": _specimen_facts}


def _lab_rows(observations: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    specimen = pl.col("specimen").struct
    contained_type = pl.when(pl.element().struct.field("resourceType") == "Specimen").then(
        _text(pl.element().struct.field("type"))
    )
    numbered = observations.with_row_index("row").with_columns(
        patient_id=_patient_id(),
        specimen_id=pl.coalesce(_id(specimen.field("reference")), specimen.field("identifier").struct.field("value")),
        specimen_type=pl.col("contained").list.eval(contained_type).list.drop_nulls().list.get(0, null_on_oob=True),
        collected_at=_effective(),
        lab=pl.col("performer").list.get(0, null_on_oob=True).struct.field("display"),
        comment=pl.col("note").list.eval(pl.element().struct.field("text")).list.join("\n"),
    )
    own = numbered.with_columns(position=pl.lit(0, pl.Int64))
    value_fields = ("code", *_VALUE)
    components = (
        numbered.filter(pl.col("component").list.len() > 0)
        .drop(*value_fields)
        .with_columns(position=pl.int_ranges(1, pl.col("component").list.len() + 1))
        .explode("component", "position", empty_as_null=True)
        .unnest("component")
    )
    has_parts = (pl.col("component").list.len().fill_null(0) + pl.col("hasMember").list.len().fill_null(0)) > 0
    own = own.filter(~has_parts | _value().is_not_null())
    shared = [
        *value_fields,
        "id",
        "row",
        "position",
        "source_row",
        "patient_id",
        "specimen_id",
        "specimen_type",
        "collected_at",
        "issued",
        "status",
        "lab",
        "comment",
    ]
    rows = pl.concat([own.select(shared), components.select(shared)]).sort("row", "position")
    quantity, reference = pl.col("valueQuantity").struct, pl.col("referenceRange").list.get(0, null_on_oob=True).struct
    code = pl.col("code")
    rows = rows.with_columns(
        loinc=pl.coalesce(_code(code, _LOINC), _code_without_system(code).str.extract(f"({LOINC_NUMBER})"))
    )
    absent = pl.coalesce(
        pl.col("dataAbsentReason").struct.field("text"),
        pl.col("dataAbsentReason").struct.field("coding").list.get(0, null_on_oob=True).struct.field("code"),
    )
    flag = pl.col("interpretation").list.get(0, null_on_oob=True).struct.field("coding")
    return _all_columns(
        rows.select(
            "patient_id",
            "specimen_id",
            "specimen_type",
            "collected_at",
            "loinc",
            "status",
            "lab",
            "source_row",
            resulted_at="issued",
            result_id="id",
            analyte_name=_text(code),
            local_code=kept_local_code(_code(code, _LOINC, other=True), profile),
            value=pl.coalesce(
                with_off_scale(_value(), flag.list.get(0, null_on_oob=True).struct.field("code")),
                pl.when(absent == "not-performed").then(pl.lit("not performed")),
            ),
            unit=pl.when(_system(quantity.field("system")).is_in(_UCUM))
            .then(pl.coalesce(quantity.field("code"), quantity.field("unit")))
            .otherwise(pl.coalesce(quantity.field("unit"), quantity.field("code"))),
            reference_low=reference.field("low").struct.field("value"),
            reference_high=reference.field("high").struct.field("value"),
            comment=pl.concat_str("comment", absent, separator="\n", ignore_nulls=True).replace("", None),
        ),
        "lab",
    )


def _value() -> pl.Expr:
    quantity = pl.col("valueQuantity").struct
    number = quantity.field("value")
    comparator = quantity.field("comparator").replace("ad", None).fill_null("")
    return pl.coalesce(
        pl.when(number.is_not_null()).then(pl.concat_str(comparator, number)),
        "valueString",
        "valueInteger",
        _text(pl.col("valueCodeableConcept")),
    )


def _effective() -> pl.Expr:
    period = pl.col("effectivePeriod").struct
    return pl.coalesce("effectiveDateTime", "effectiveInstant", period.field("start"), period.field("end"))


def _first_dose(column: str) -> pl.Expr:
    return pl.col(column).list.get(0, null_on_oob=True)


def _bounds(column: str) -> pl.Expr:
    return _first_dose(column).struct.field("timing").struct.field("repeat").struct.field("boundsPeriod")


def _ordered() -> dict[str, pl.Expr]:
    bounds = _bounds("dosageInstruction").struct
    return {
        "start_date": pl.coalesce(bounds.field("start"), pl.col("authoredOn")),
        "end_date": bounds.field("end"),
        "status": pl.when(pl.col("doNotPerform") == "true")
        .then(pl.lit("not-done"))
        .when(pl.col("intent").is_in(["proposal", "plan"]))
        .then(pl.lit("planned"))
        .otherwise("status"),
        "dose_of": _first_dose("dosageInstruction"),
    }


def _administered() -> dict[str, pl.Expr]:
    dosage, period = pl.col("dosage").struct, pl.col("effectivePeriod").struct
    return {
        "start_date": _effective(),
        "end_date": pl.coalesce(period.field("end"), pl.col("effectiveDateTime")),
        "status": pl.col("status"),
        "route_of": dosage.field("route"),
        "quantity_of": dosage.field("dose"),
    }


def _stated() -> dict[str, pl.Expr]:
    return {
        "start_date": pl.coalesce(_effective(), pl.col("dateAsserted")),
        "end_date": pl.col("effectivePeriod").struct.field("end"),
        "status": pl.col("status"),
        "dose_of": _first_dose("dosage"),
    }


def _dispensed() -> dict[str, pl.Expr]:
    bounds = _bounds("dosageInstruction").struct
    return {
        "start_date": pl.coalesce(bounds.field("start"), pl.col("whenHandedOver"), pl.col("whenPrepared")),
        "end_date": bounds.field("end"),
        "status": pl.col("status"),
        "dose_of": _first_dose("dosageInstruction"),
    }


_MEDICATION_DATES: Final[dict[str, Callable[[], dict[str, pl.Expr]]]] = {
    "MedicationRequest": _ordered,
    "MedicationAdministration": _administered,
    "MedicationStatement": _stated,
    "MedicationDispense": _dispensed,
}


def _medication_rows(resources: pl.DataFrame, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    """Rows in the native layout and ``key``, the id of the Medication that is referred to."""
    reference = pl.col("medicationReference").struct
    numbered = resources.with_row_index("row").with_columns(
        contained_key=pl.concat_str("row", reference.field("reference").str.strip_prefix("#"), separator="#")
    )
    contained = (
        numbered.filter(pl.col("contained").list.len() > 0)
        .select("row", "contained")
        .explode("contained", empty_as_null=True)
        .unnest("contained")
        .filter(pl.col("resourceType") == "Medication")
        .with_columns(pl.concat_str("row", "id", separator="#").alias("id"))
    )
    own = _medication_names(contained).drop_nulls("key").unique("key", keep="first", maintain_order=True)
    numbered = numbered.join(own, left_on="contained_key", right_on="key", how="left", maintain_order="left")
    dose_of, route_of, quantity_of = (columns.pop(name, None) for name in ("dose_of", "route_of", "quantity_of"))
    if dose_of is not None:
        route_of = dose_of.struct.field("route")
        quantity_of = dose_of.struct.field("doseAndRate").list.get(0, null_on_oob=True).struct.field("doseQuantity")
    if route_of is None or quantity_of is None:
        raise TypeError("a medication resource says where its dose and route are")
    concept = pl.col("medicationCodeableConcept")
    key = _id(reference.field("reference"))
    rows = _all_columns(
        numbered.select(
            "source_row",
            patient_id=_patient_id(),
            drug_name=pl.coalesce(_text(concept), "name", reference.field("display")),
            atc_code=pl.coalesce(_code(concept, _ATC), "atc"),
            rxcui=pl.coalesce(_code(concept, _RXNORM), "rxnorm"),
            route=_text(route_of),
            dose=quantity_of.struct.field("value"),
            dose_unit=pl.coalesce(quantity_of.struct.field("unit"), quantity_of.struct.field("code")),
            **columns,
        ),
        "medication",
    )
    return rows.with_columns(numbered.select(key=key))


def _patient_rows(patients: pl.DataFrame) -> pl.DataFrame:
    ethnicity = pl.col("extension").list.eval(
        pl.when(pl.element().struct.field("url").str.contains("ethnicity", literal=True)).then(
            pl.element()
            .struct.field("extension")
            .list.eval(
                pl.when(pl.element().struct.field("url") == "text").then(pl.element().struct.field("valueString"))
            )
            .list.drop_nulls()
            .list.get(0, null_on_oob=True)
        )
    )
    rows = patients.select(
        patient_id="id",
        birth_date="birthDate",
        sex="gender",
        ethnicity=ethnicity.list.drop_nulls().list.get(0, null_on_oob=True),
        source_row="source_row",
    )
    return _all_columns(rows, "patient")


def _merge_rows(patients: pl.DataFrame) -> pl.DataFrame:
    """Patient.link: the record that is replaced and the one that took its place, whichever of the two says so."""
    links = (
        patients.select("source_row", "id", "link")
        .explode("link", empty_as_null=True)
        .unnest("link")
        .drop_nulls("type")
    )
    other = _id(pl.col("other").struct.field("reference"))
    is_old, is_new = pl.col("type") == "replaced-by", pl.col("type") == "replaces"
    rows = links.select(
        "source_row",
        patient_id=pl.when(is_old).then("id").when(is_new).then(other),
        replaced_by=pl.when(is_old).then(other).when(is_new).then("id"),
    )
    # A record that replaces itself says nothing; in the canonical layout it would undo a merge.
    return _all_columns(rows.drop_nulls().filter(pl.col("patient_id") != pl.col("replaced_by")), "patient")


def _diagnosis_rows(conditions: pl.DataFrame) -> pl.DataFrame:
    """One row per coding in a diagnosis code system; refuted and erroneous ones are left out."""
    verified = pl.col("verificationStatus").struct.field("coding")
    rows = (
        conditions.filter(
            ~verified.list.get(0, null_on_oob=True).struct.field("code").is_in(_NOT_MEANT).fill_null(False)
        )
        .select(
            "source_row",
            patient_id=_patient_id(),
            date=pl.coalesce("onsetDateTime", pl.col("onsetPeriod").struct.field("start"), "recordedDate"),
            coding=pl.col("code").struct.field("coding"),
        )
        .explode("coding", empty_as_null=True)
    )
    coding = pl.col("coding").struct
    rows = rows.select(
        "source_row", "patient_id", "date", code=coding.field("code"), system=_system(coding.field("system"))
    )
    return _all_columns(rows.drop_nulls("code"), "diagnosis")


def _system(system: pl.Expr) -> pl.Expr:
    return system.str.strip_chars().str.to_lowercase().replace(_SYSTEMS)


def _code(concept: pl.Expr, systems: Sequence[str], *, other: bool = False) -> pl.Expr:
    """The first code of a CodeableConcept in one of the systems (``other``: in none of them)."""
    within = _system(pl.element().struct.field("system")).is_in(systems).fill_null(False)
    picked = pl.when(~within if other else within).then(pl.element().struct.field("code"))
    return concept.struct.field("coding").list.eval(picked).list.drop_nulls().list.get(0, null_on_oob=True)


def _code_without_system(concept: pl.Expr) -> pl.Expr:
    picked = pl.when(pl.element().struct.field("system").is_null()).then(pl.element().struct.field("code"))
    return concept.struct.field("coding").list.eval(picked).list.drop_nulls().list.get(0, null_on_oob=True)


def _text(concept: pl.Expr) -> pl.Expr:
    """The words of a CodeableConcept: its text, else the first display, else the first code."""
    codings = concept.struct.field("coding")
    words = [
        codings.list.eval(pl.element().struct.field(name)).list.drop_nulls().list.get(0, null_on_oob=True)
        for name in ("display", "code")
    ]
    return pl.coalesce(concept.struct.field("text"), *words)


def _id(reference: pl.Expr) -> pl.Expr:
    """The id that a reference ends in: Specimen/1, urn:uuid:1, https://host/fhir/Specimen/1/_history/2 -> 1.

    Null for a reference into the resource itself (#1), which is nobody else's id.
    """
    plain = reference.str.replace(r"/_history/.*$", "").str.replace(r"^urn:(?:uuid|oid):", "")
    return pl.when(~reference.str.starts_with("#")).then(plain.str.extract(r"([^/#]+)$"))


def _patient_id() -> pl.Expr:
    """The patient's id; null where the subject is something else."""
    subject = pl.col("subject").struct
    reference = subject.field("reference")
    is_other = reference.str.contains(r"(?:^|/)(?:Group|Device|Location|Specimen|Medication|Substance)/[^/]+")
    return pl.coalesce(pl.when(~is_other).then(_id(reference)), subject.field("identifier").struct.field("value"))


def _all_columns(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    missing = [pl.lit(None, pl.String).alias(column) for column in NATIVE_COLUMNS[kind] if column not in rows.columns]
    return rows.with_columns(*missing).select(*NATIVE_COLUMNS[kind], "source_row")

"""FHIR R4: bulk-export NDJSON, Bundles and single resources.

DuckDB parses the JSON - it is fast, reads blocks of lines in bounded memory, and nesting of any depth does it no harm -
and polars picks among codings and values. Every row keeps its line (NDJSON) or entry number (Bundle).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from neutro_screen.errors import UnreadableInputError
from neutro_screen.ingest.batches import GatheredRows, RawBatches, gathered
from neutro_screen.ingest.engine import engine
from neutro_screen.ingest.files import head_of
from neutro_screen.ingest.formats.fhir.containers import CONTAINERS
from neutro_screen.ingest.formats.fhir.medications import MEDICATION_TYPES, medication_rows
from neutro_screen.ingest.formats.fhir.observations import lab_rows
from neutro_screen.ingest.formats.fhir.parsing import parse_file
from neutro_screen.ingest.formats.fhir.people import diagnosis_rows, merge_rows, patient_rows
from neutro_screen.ingest.formats.fhir.references import REFERENCE_MARKS, REFERENCED_TYPES, References, ReferenceSink
from neutro_screen.ingest.formats.fhir.structures import STRUCTURES
from neutro_screen.ingest.frames import KINDS, Kind
from neutro_screen.ingest.profile import Profile

_SUFFIXES: Final = (".json", ".ndjson", ".jsonl")
#: In the text of a broken line: that it was a laboratory result, and whose.
_RESULT: Final = r'"resourceType"\s*:\s*"Observation"'
_READABLE: Final = {
    "patient_id": r'"subject"\s*:\s*\{[^{}]*"reference"\s*:\s*"(?:[^"]*/|urn:uuid:)?([A-Za-z0-9.-]{1,64})"',
    "specimen_id": r'"specimen"\s*:\s*\{[^{}]*"reference"\s*:\s*"(?:[^"]*/|urn:uuid:)?([A-Za-z0-9.-]{1,64})"',
    "collected_at": r'"effective(?:DateTime|Instant)"\s*:\s*"([^"]+)"',
}
_ROW_TYPES: Final = tuple(name for name in STRUCTURES if name not in REFERENCED_TYPES)


def recognises(path: Path) -> bool:
    """A JSON file with a resourceType near its start, or a folder that holds such a file.

    Not a Dataset-JSON file in which a cell holds a resource.
    """
    if path.is_dir():
        return any(inside.is_file() and recognises(inside) for inside in sorted(path.iterdir()))
    unpacked_name = path.name.removesuffix(".gz").removesuffix(".zst")
    if not unpacked_name.lower().endswith(_SUFFIXES):
        return False
    before, named, _ = head_of(path, 65_536).replace(b"\0", b"").partition(b'"resourceType"')
    return bool(named) and b'"datasetJSONVersion"' not in before


def read_fhir(path: Path, kind: Kind, profile: Profile) -> RawBatches:
    """Read one file, or all JSON files of a folder; with ``lab`` it brings every kind, else only the one asked for.

    One laboratory row per value: an Observation's own and each component's; a panel that only lists members is none.
    Medication and Specimen references are resolved within the file or folder, in a first pass. Resources that a bulk
    export lists as deleted become entered in error; a deleted Observation that the export does not hold itself becomes a
    row with nothing but its id. Of several versions of an Observation the latest counts; older ones are counted in the notes.
    OperationOutcomes and resources of other types are counted in the notes. A line that is
    no JSON, or no resource, becomes ``refused``.

    Raises:
        UnreadableInputError: empty, a damaged archive, no text, one JSON document of more than 256 MB.
    """
    files = (
        [path]
        if path.is_file()
        else [inside for inside in sorted(path.iterdir()) if inside.is_file() and recognises(inside)]
    )
    with engine() as connection:
        referenced = ReferenceSink()
        for number, file in enumerate(files):
            referenced.file = number
            for _ in parse_file(connection, file, REFERENCED_TYPES, referenced, REFERENCE_MARKS):
                pass
        references = referenced.references()
        for file in files:
            yield from gathered(_batches(connection, file, kind, profile, references))
        if kind == "lab":
            yield from _deletions_of_others(files, references)


def _deletions_of_others(files: Sequence[Path], references: References) -> RawBatches:
    """A row for each Observation that is deleted and not in this export: an earlier one may have brought it."""
    absent = references.deleted.filter(
        pl.col("type") == "Observation", ~pl.col("id").is_in(references.met_observations)
    )
    once = absent.unique("id", keep="first", maintain_order=True)
    for number, file in enumerate(files):
        own = once.filter(file=number)
        if own.height:
            gathered_rows = GatheredRows(file, ("lab",))
            gathered_rows.add("lab", own.select("source_row", result_id="id", status=pl.lit("entered-in-error")))
            yield from gathered_rows.batches("lab")


def _batches(
    connection: duckdb.DuckDBPyConnection, file: Path, kind: Kind, profile: Profile, references: References
) -> RawBatches:
    """The rows of one file, block by block; refused lines go with the kind that it holds most of."""
    rows = GatheredRows(file, KINDS if kind == "lab" else (kind,))
    sink = _RowSink(rows, profile, references)
    for _ in parse_file(connection, file, _ROW_TYPES, sink):
        yield from rows.batches(rows.main_kind)
    if rows.has_refused and not sink.has_resources:
        raise UnreadableInputError("holds no FHIR resource", where=file.name, remedy="Every line is one JSON resource.")
    yield rows.notes(rows.main_kind)


class _RowSink:
    """Turns the resources of one file into rows, in the second pass."""

    def __init__(self, rows: GatheredRows, profile: Profile, references: References) -> None:
        self.rows, self.profile, self.references = rows, profile, references
        self.has_resources = False

    def add(self, resource_type: str, resources: pl.DataFrame) -> None:
        """Keep the rows of resources of one type, or count them."""
        rows, references = self.rows, self.references
        self.has_resources |= resource_type != "array"
        is_deleted = references.is_deleted(resource_type)
        if resource_type == "Observation":
            references.met_observations.update(resources.filter(is_deleted)["id"])
            counting = references.without_older_versions(resources)
            rows.counts["older_versions"] += resources.height - counting.height
            labs = lab_rows(_with_deletions(counting, is_deleted), self.profile)
            rows.add("lab", references.with_specimens(labs))
        elif resource_type in MEDICATION_TYPES:
            drugs = medication_rows(resource_type, _with_deletions(resources, is_deleted))
            rows.add("medication", references.with_medications(drugs))
        elif resource_type == "Patient":
            rows.add("patient", patient_rows(resources), merge_rows(resources))
        elif resource_type == "Condition":
            rows.add("diagnosis", diagnosis_rows(resources.filter(~is_deleted)))
        elif resource_type == "OperationOutcome":
            rows.counts["error_outcomes"] += resources.height
        elif resource_type not in (*REFERENCED_TYPES, *CONTAINERS):
            rows.counts["other_resources"] += resources.height

    def add_deletions(self, deletions: pl.DataFrame) -> None:
        """Count them; what they delete is known from the first pass."""
        self.rows.counts["deleted_resources"] += deletions.height

    def refuse(self, lines: pl.DataFrame, reason: str) -> None:
        """Refuse lines that are no resource; the patient of a result that is cut off may still stand in it."""
        is_result = pl.col("text").str.contains(_RESULT)
        read = {name: pl.when(is_result).then(pl.col("text").str.extract(found)) for name, found in _READABLE.items()}
        self.rows.refuse(lines.select("source_row", "text", **read), reason)

    def leave_out(self, resources: pl.DataFrame, reason: str) -> None:
        """Count resources of a Bundle in a Bundle that is not opened, and older versions."""
        self.rows.counts[reason] += resources.height


def _with_deletions(resources: pl.DataFrame, is_deleted: pl.Expr) -> pl.DataFrame:
    return resources.with_columns(status=pl.when(is_deleted).then(pl.lit("entered-in-error")).otherwise("status"))

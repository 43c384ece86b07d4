"""Valid files of every reader and ways to damage them, for the fuzz tests and benchmarks/fuzz_readers.py."""

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from neutro_screen.errors import NeutroScreenError
from neutro_screen.ingest import READERS, Kind, Profile, ingest
from neutro_simulator import Hospital
from tests.formats import hospital_files as files

#: Error exit codes an input may end with (CONTRACT.md).
REFUSALS = (11, 12)
_TOKENS = (
    b"\r",
    b"\n",
    b"\r\n",
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b"NaN",
    b"inf",
    b"<0.1",
    b"9" * 400,
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x0b",
    b"\x1c",
    b"MSH|^~\\&|",
    b"MSH",
    b"BTS|5\r",
    b"FHS|^~\\&\r",
    b"OBX|",
    b"PID|",
    b"NTE|1||x",
    b"\\.br\\",
    b"\\X0D\\",
    b'{"resourceType":"Bundle","entry":[',
    b'"contained":[{}]',
    b'"component":[null,{}]',
    b"[" * 3000,
    b'{"a":' * 3000,
    b"2026-02-30",
    b"99999999999999",
    b"00000000",
    b"20260230256199",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x92\x89",
    b"=cmd()",
    b'r="XFD1048576"',
    b"<v>1e308</v>",
    b"]]>",
    b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>",
    b"HEADER RECORD*******",
)


def small_hospital() -> Hospital:
    """Two patients, a few rows: small enough to damage thousands of times."""
    whole = files.hospital(finals_only=True)
    few = ["P-001", "P-003"]

    def of_few(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
        return frame.filter(pl.col("patient_id").is_in(few)).group_by("patient_id", maintain_order=True).head(rows)

    return replace(
        whole,
        labs=of_few(whole.labs, 6),
        medications=of_few(whole.medications, 2),
        patients=of_few(whole.patients, 1),
        diagnoses=of_few(whole.diagnoses, 1),
        events=whole.events.head(1),
    )


def write_messages(of: Hospital, folder: Path) -> dict[str, list[str]]:
    """HL7 messages without the envelope of a batch, whose counts would refuse most damaged files at once."""
    paths = files.write_hl7(of, folder)
    path = Path(paths["lab"][0])
    segments = path.read_bytes().decode().split("\r")
    kept = [segment for segment in segments if segment[:3] not in ("FHS", "BHS", "BTS", "FTS")]
    path.write_text("\r".join(kept), "utf-8", newline="")
    return paths


WRITERS: dict[str, Callable[[Hospital, Path], dict[str, list[str]]]] = {
    "delimited": files.write_native,
    "parquet": files.write_parquet,
    "excel": files.write_excel,
    "hl7v2": write_messages,
    "fhir": files.write_fhir,
    "mimic": files.write_mimic4,
    "omop": files.write_omop_folder,
    "omop_database": files.write_omop_database,
    "cdisc": files.write_dataset_json,
    "cdisc_xpt": files.write_xpt,
}


def damaged(content: bytes, seed: int) -> bytes:
    """One to five mutations: bytes flipped, pieces cut out, doubled, moved, or put in."""
    dice = random.Random(seed)  # noqa: S311 - reproducible damage, not secrets
    found = bytearray(content)
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(len(found) + 1)
        to = min(len(found), at + dice.choice((1, 1, 2, 8, 60, 500)))
        match dice.randrange(6):
            case 0:
                for position in range(at, min(to, at + 4)):
                    found[position] ^= 1 << dice.randrange(8)
            case 1:
                del found[at:to]
            case 2:
                found[at:at] = found[at:to] * dice.choice((1, 2, 50))
            case 3:
                found[at:at] = dice.choice(_TOKENS)
            case 4:
                found[at:to] = dice.choice(_TOKENS)
            case _:
                del found[at:]
    return bytes(found)


def overwritten(content: bytes, seed: int) -> bytes:
    """One to five bytes changed, none added or lost."""
    dice = random.Random(seed)  # noqa: S311 - reproducible damage, not secrets
    found = bytearray(content)
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(4, len(found) - 8)
        found[at] = dice.choice((found[at] ^ (1 << dice.randrange(8)), 0, 0x7F, 0x80, 0xFF))
    return bytes(found)


def damaged_file(path: Path, content: bytes, seed: int) -> bytes:
    """As ``damaged``; of a workbook mostly the sheet inside, since damage to a zip is found by its checksums.

    Of a Parquet file mostly single bytes, in place: it is found from its end, and a file of another length is no such file.
    """
    if path.suffix == ".parquet" and seed % 4:
        return overwritten(content, seed)
    if path.suffix != ".xlsx" or seed % 4 == 0:
        return damaged(content, seed)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as copy:
        parts = archive.namelist()
        hit = parts[-1] if seed % 4 != 1 else parts[seed % len(parts)]
        for part in parts:
            inside = archive.read(part)
            copy.writestr(part, damaged(inside, seed) if part == hit else inside)
    return packed.getvalue()


class Sample:
    """A valid input of one reader, and what becomes of damaged copies of it in the whole of ingest."""

    def __init__(self, name: str, folder: Path) -> None:
        self.inputs: dict[Kind, list[str]] = {
            kind: paths for kind, paths in WRITERS[name](small_hospital(), folder).items() if kind == "lab"
        }
        self.format = name.split("_", maxsplit=1)[0]
        self.source = Path(self.inputs["lab"][0])
        paths = sorted(self.source.iterdir()) if self.source.is_dir() else [self.source]
        self.contents = {path: path.read_bytes() for path in paths}
        assert self.format in READERS

    def outcome(self, seed: int) -> str:
        """accepted, refused_rows, or the exit code of the refusal. Any other exception is a defect of the reader."""
        hit = sorted(self.contents)[seed % len(self.contents)]
        hit.write_bytes(damaged_file(hit, self.contents[hit], seed))
        try:
            extract = ingest(self.inputs, format_name=self.format if seed % 2 else None)
        except NeutroScreenError as error:
            return _refusal(error)
        finally:
            hit.write_bytes(self.contents[hit])
        return "refused_rows" if any(extract.refused.values()) else "accepted"


#: Files of a folder format that say something about the rows of others, and what kind the others are of.
_LOOKUPS: dict[str, tuple[str, ...]] = {"mimic": ("d_labitems", "admissions"), "omop": ("concept",)}
_KINDS: dict[str, Kind] = {
    "prescriptions": "medication",
    "patients": "patient",
    "diagnoses_icd": "diagnosis",
    "admissions": "diagnosis",
    "drug_exposure": "medication",
    "person": "patient",
    "condition_occurrence": "diagnosis",
    "cm": "medication",
    "dm": "patient",
}
#: Between the records of formats whose files hold many independent ones.
_RECORD_ENDS = {"hl7v2": b"\r", "fhir": b"\n"}
RECORDS_A_FILE = 50


class QuickSample(Sample):
    """The same, for hundreds of thousands of cases: only the reader, and of a folder only the files that it needs.

    Of HL7 messages and NDJSON resources, ``RECORDS_A_FILE`` stand in one file, each damaged by a seed of its own.
    """

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.folder = folder
        self.read = READERS[self.format].read
        self.records = self._records()
        self.places: dict[Path, tuple[Path, Kind]] = {}
        for number, path in enumerate(self.contents if self.source.is_dir() else ()):
            small = folder / f"only-{number}"
            small.mkdir()
            stem = path.name.split(".")[0].lower()
            for other, content in self.contents.items():
                its_stem = other.name.split(".")[0].lower()
                feeds = stem in ("d_labitems", "concept") and its_stem in ("labevents", "measurement")
                feeds |= (stem, its_stem) == ("admissions", "diagnoses_icd")
                if other == path or its_stem in _LOOKUPS.get(self.format, ()) or feeds:
                    (small / other.name).write_bytes(content)
            self.places[path] = small, _KINDS.get(stem, "lab")

    @property
    def cases_a_file(self) -> int:
        """How many damaged records, or files, one call of ``outcome`` tries."""
        return RECORDS_A_FILE if self.records else 1

    def outcome(self, seed: int) -> str:
        """As for ``Sample``, of what the reader alone makes of it; seeds count files."""
        if self.records:
            first = seed * RECORDS_A_FILE
            return self._read_file(self.source_name(), self._damaged_records(range(first, first + RECORDS_A_FILE)))
        hit = sorted(self.contents)[seed % len(self.contents)]
        return self.outcome_of(hit, damaged_file(hit, self.contents[hit], seed))

    def outcome_of(self, hit: Path, content: bytes) -> str:
        """What becomes of this content of one of the files."""
        if hit not in self.places:
            return self._read_file(hit.name, content)
        place, kind = self.places[hit]
        changed = place / hit.name
        changed.write_bytes(content)
        try:
            return self._outcome(place, kind)
        finally:
            changed.write_bytes(self.contents[hit])

    def source_name(self) -> str:
        """A name that the reader takes for its own."""
        return "night.hl7" if self.format == "hl7v2" else "export.ndjson"

    def _records(self) -> list[bytes]:
        end = _RECORD_ENDS.get(self.format)
        if end is None:
            return []
        whole = b"".join(self.contents.values())
        if self.format == "hl7v2":
            return [b"MSH" + message for message in whole.split(b"MSH")[1:]]
        return [line + end for line in whole.split(end) if line]

    def _damaged_records(self, seeds: range) -> bytes:
        """After a valid record, so that the file is still taken for what it is."""
        return self.records[0] + b"".join(damaged(self.records[seed % len(self.records)], seed) for seed in seeds)

    def _read_file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return self._outcome(path, "lab")

    def _outcome(self, path: Path, kind: Kind) -> str:
        try:
            is_refused = False
            for _, table in self.read(path, kind, Profile()):
                is_refused |= bool(table.refused)
        except NeutroScreenError as error:
            return _refusal(error)
        return "refused_rows" if is_refused else "accepted"


def _refusal(error: NeutroScreenError) -> str:
    assert error.exit_code in REFUSALS, f"exit code {error.exit_code}"
    return f"exit_{error.exit_code}"

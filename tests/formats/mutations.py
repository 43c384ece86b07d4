"""Valid files of every reader and ways to damage them, for the fuzz tests and benchmarks/fuzz_readers.py."""

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from neutro_screen.errors import NeutroScreenError
from neutro_screen.ingest import READERS, Kind, ingest
from neutro_screen.simulate import Hospital
from tests.formats import hospital_files as files

#: Error exit codes an input may end with (CONTRACT.md).
REFUSALS = (11, 12)
_TOKENS = (
    b"\r", b"\n", b"\r\n", b"|", b"^", b"~", b"\\", b"&", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b":", b"null",
    b"true", b"1e999", b"-1", b"NaN", b"inf", b"<0.1", b"9" * 400, b"\0", b"\xff", b"\xc3\x28", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\x0b", b"\x1c", b"MSH|^~\\&|", b"MSH", b"BTS|5\r", b"FHS|^~\\&\r", b"OBX|", b"PID|", b"NTE|1||x", b"\\.br\\", b"\\X0D\\",
    b'{"resourceType":"Bundle","entry":[', b'"contained":[{}]', b'"component":[null,{}]', b"[" * 3000, b'{"a":' * 3000,
    b"2026-02-30", b"99999999999999", b"00000000", b"20260230256199", b"\xe2\x80\xae", b"\xf0\x9f\x92\x89", b"=cmd()",
    b'r="XFD1048576"', b"<v>1e308</v>", b"]]>", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>", b"HEADER RECORD*******",
)  # fmt: skip


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


def damaged_file(path: Path, content: bytes, seed: int) -> bytes:
    """As ``damaged``; of a workbook mostly the sheet inside, since damage to a zip is found by its checksums."""
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
    """A valid input of one reader, and what becomes of damaged copies of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.inputs: dict[Kind, list[str]] = {
            kind: paths for kind, paths in WRITERS[name](small_hospital(), folder).items() if kind == "lab"
        }
        self.format = name.split("_", maxsplit=1)[0]
        source = Path(self.inputs["lab"][0])
        paths = sorted(source.iterdir()) if source.is_dir() else [source]
        self.contents = {path: path.read_bytes() for path in paths}
        assert self.format in READERS

    def outcome(self, seed: int) -> str:
        """accepted, refused_rows, or the exit code of the refusal. Any other exception is a defect of the reader."""
        hit = sorted(self.contents)[seed % len(self.contents)]
        hit.write_bytes(damaged_file(hit, self.contents[hit], seed))
        try:
            extract = ingest(self.inputs, format_name=self.format if seed % 2 else None)
        except NeutroScreenError as error:
            assert error.exit_code in REFUSALS, f"exit code {error.exit_code}"
            return f"exit_{error.exit_code}"
        finally:
            hit.write_bytes(self.contents[hit])
        return "refused_rows" if any(extract.refused.values()) else "accepted"

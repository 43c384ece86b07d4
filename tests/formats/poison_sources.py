"""A small hospital as files of records (``tests/formats/poison.py``) in every format."""

import io
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pyreadstat

from neutro_screen.ingest import Kind
from neutro_simulator import Hospital, simulate_hospital
from tests.formats import hospital_files as files
from tests.formats.poison import Delimited, Hit, JsonLines, Messages, Records, Table


class Folder:
    """An input of several files of records, which one path or one path a kind names."""

    def __init__(self, folder: Path, inputs: dict[Kind, list[str]], parts: dict[Path, Records]) -> None:
        self.folder, self.inputs, self.parts = folder, inputs, parts

    def write(self, hits: Mapping[Path, Mapping[int, Hit]], without: Mapping[Path, Collection[int]]) -> None:
        """Write all files, with these cells changed and these records left out."""
        for path, part in self.parts.items():
            path.write_bytes(part.written(hits.get(path, {}), without.get(path, ())))


def poison_hospital(seed: int, patients: int = 60) -> Hospital:
    """Some patients with a few specimens each, and their charts."""
    whole = simulate_hospital(patients, seed, as_of=files.AS_OF, dirt=0.0)
    labs = whole.labs.group_by("patient_id", maintain_order=True).tail(12)
    return Hospital(
        **{name: getattr(whole, name) for name in vars(whole) if name != "labs"},
        labs=labs.filter(pl.col("value").str.contains(r"^<?[\d.]+$")),
    )


def _native(of: Hospital) -> dict[Kind, pl.DataFrame]:
    frames: dict[Kind, pl.DataFrame] = {
        "lab": of.labs,
        "medication": of.medications,
        "patient": of.patients,
        "diagnosis": of.diagnoses,
        "event": of.events,
    }
    return frames


def _one_file_a_kind(of: Hospital, folder: Path, suffix: str, make: Callable[[pl.DataFrame, str], Records]) -> Folder:
    paths = {kind: folder / f"{kind}{suffix}" for kind in _native(of)}
    parts = {paths[kind]: make(frame, kind) for kind, frame in _native(of).items()}
    return Folder(folder, {kind: [str(path)] for kind, path in paths.items()}, parts)


def _parquet(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


def _excel(frame: pl.DataFrame, folder: Path) -> bytes:
    path = folder / "sheet.tmp"
    files.write_xlsx(path, [tuple(frame.columns), *frame.rows()])
    content = path.read_bytes()
    path.unlink()
    return content


def _xpt(frame: pl.DataFrame, name: str, folder: Path) -> bytes:
    path = folder / "table.tmp"
    pyreadstat.write_xport(frame.fill_null(""), str(path), table_name=name, file_format_version=5)
    content = path.read_bytes()
    path.unlink()
    return content


def _delimited(of: Hospital, folder: Path, seed: int) -> Folder:
    delimiter, line_end = ((",", "\n"), (";", "\r\n"), ("\t", "\n"), ("|", "\r\n"))[seed % 4]
    return _one_file_a_kind(of, folder, ".csv", lambda frame, kind: Delimited(frame, kind, delimiter, line_end))


def _parquet_files(of: Hospital, folder: Path, seed: int) -> Folder:
    return _one_file_a_kind(of, folder, ".parquet", lambda frame, kind: Table(frame, kind, _parquet))


def _workbooks(of: Hospital, folder: Path, seed: int) -> Folder:
    """XML cannot hold control characters at all: no workbook has them."""

    def make(frame: pl.DataFrame, kind: str) -> Records:
        return Table(frame, kind, lambda rows: _excel(rows, folder), controls=False)

    return _one_file_a_kind(of, folder, ".xlsx", make)


def _hl7(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_hl7(of, folder)
    path = Path(inputs["lab"][0])
    return _beside(folder, inputs, of, {path: Messages(path.read_bytes())})


def _fhir(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_fhir(of, folder)
    export = Path(inputs["lab"][0])
    parts: dict[Path, Records] = {
        path: JsonLines(path.read_bytes(), path.stem) for path in sorted(export.glob("*.ndjson"))
    }
    return _beside(folder, inputs, of, parts)


def _mimic(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_mimic4(of, folder)
    return _beside(folder, inputs, of, _csv_parts(Path(inputs["lab"][0])))


def _omop(of: Hospital, folder: Path, seed: int) -> Folder:
    inputs: Any = files.write_omop_folder(of, folder)
    cdm = Path(inputs["lab"][0])
    for table in cdm.glob("*.parquet"):
        pl.read_parquet(table).write_csv(table.with_suffix(".csv"))
        table.unlink()
    return _beside(folder, inputs, of, _csv_parts(cdm))


def _omop_parquet(of: Hospital, folder: Path, seed: int) -> Folder:
    cdm = folder / "cdm"
    cdm.mkdir()
    parts: dict[Path, Records] = {
        cdm / f"{name}.parquet": Table(table, name, _parquet) for name, table in files.omop_tables(of).items()
    }
    return _beside(folder, {"lab": [str(cdm)]}, of, parts)


def _dataset_json(of: Hospital, folder: Path, seed: int) -> Folder:
    """All datasets as NDJSON: a document that is no JSON any more has no records."""
    inputs: Any = files.write_dataset_json(of, folder)
    sdtm = Path(inputs["lab"][0])
    parts: dict[Path, Records] = {sdtm / "lb.ndjson": JsonLines((sdtm / "lb.ndjson").read_bytes(), "LB", heads=1)}
    for path in sorted(sdtm.glob("*.json")):
        document = json.loads(path.read_text("utf-8"))
        rows = document.pop("rows")
        content = "\n".join(map(json.dumps, [document, *rows])).encode()
        parts[path.with_suffix(".ndjson")] = JsonLines(content, path.stem.upper(), heads=1)
        path.unlink()
    return _beside(folder, inputs, of, parts)


def _xpt_files(of: Hospital, folder: Path, seed: int) -> Folder:
    sdtm = folder / "sdtm"
    sdtm.mkdir()
    parts: dict[Path, Records] = {
        sdtm / f"{name.lower()}.xpt": Table(
            table, name, lambda rows, name=name: _xpt(rows, name, folder), controls=False, longest=200
        )
        for name, table in files.sdtm_tables(of).items()
    }
    return _beside(folder, {"lab": [str(sdtm)]}, of, parts)


def _omop_database(of: Hospital, folder: Path, seed: int) -> Folder:
    """One file of all tables; only the measurements are hit."""
    tables = files.omop_tables(of)

    def write(rows: pl.DataFrame) -> bytes:
        path = folder / "tables.tmp"
        with duckdb.connect(str(path)) as database:
            database.execute("CREATE SCHEMA cdm")
            for name, table in (tables | {"measurement": rows}).items():
                database.register("rows", table)
                database.execute(f"CREATE TABLE cdm.{name} AS SELECT * FROM rows")
        content = path.read_bytes()
        path.unlink()
        return content

    path = folder / "cdm.duckdb"
    return _beside(folder, {"lab": [str(path)]}, of, {path: Table(tables["measurement"], "measurement", write)})


def _csv_parts(folder: Path) -> dict[Path, Records]:
    return {
        path: Delimited(pl.read_csv(path, infer_schema=False), path.stem.lower())
        for path in sorted(folder.iterdir())
        if path.suffix == ".csv"
    }


def _beside(folder: Path, inputs: dict[Kind, list[str]], of: Hospital, parts: dict[Path, Records]) -> Folder:
    """With the kinds of data that a format has none of in files of the native layout, which are not hit."""
    for kind in ("diagnosis", "event"):
        inputs.pop(kind, None)
    return Folder(folder, inputs, parts)


SOURCES: Final[dict[str, Callable[[Hospital, Path, int], Folder]]] = {
    "delimited": _delimited,
    "parquet": _parquet_files,
    "excel": _workbooks,
    "hl7v2": _hl7,
    "fhir": _fhir,
    "mimic": _mimic,
    "omop": _omop,
    "omop_parquet": _omop_parquet,
    "omop_database": _omop_database,
    "cdisc": _dataset_json,
    "cdisc_xpt": _xpt_files,
}

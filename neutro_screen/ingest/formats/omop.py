"""OMOP CDM 5.4: a folder of CSV or Parquet files, or a DuckDB file.

Tables measurement, drug_exposure, person, condition_occurrence and, where they are there, death and concept. OMOP keeps neither a
result's status nor its specimen: corrections were resolved or lost when it was filled, and results belong together by
their time.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.agreement import (
    are_different,
    disagreement,
    number_in,
    numbers_differ,
    unit_facts,
    units_differ,
)
from neutro_screen.ingest.batches import ROWS_A_BATCH, RawBatch, RawBatches
from neutro_screen.ingest.distinct import made_once
from neutro_screen.ingest.formats.delimited import read_columns
from neutro_screen.ingest.formats.parquet import text_columns
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.layout import LOINC_NUMBER, columns_by_table, kept_local_code
from neutro_screen.ingest.operators import bounds_differ, comparator_of, sign_before
from neutro_screen.ingest.profile import Profile
from neutro_screen.private import private_folder

#: Of each table: the columns that must be there, and those that are read where they are.
TABLES: Final = columns_by_table("omop")
KINDS_OF_TABLES: Final[dict[str, Kind]] = {
    "measurement": "lab",
    "drug_exposure": "medication",
    "person": "patient",
    "condition_occurrence": "diagnosis",
}
#: Where a refused line names its patient and time.
_NAMES: Final = {"patient_id": ("person_id",), "collected_at": ("measurement_datetime",)}
_GENDERS: Final = {"8507": "male", "8532": "female"}
_DIAGNOSIS_VOCABULARIES: Final = ("ICD10", "ICD10CM", "ICD10GM", "ICD9CM", "SNOMED")
_DATABASES: Final = (".duckdb", ".ddb")
_SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")


def recognises(path: Path) -> bool:
    """A folder with measurement and person, or a DuckDB file."""
    if path.is_dir():
        return all(_find(path, name) is not None for name in ("measurement", "person"))
    return path.suffix.lower() in _DATABASES


def read_omop(path: Path, kind: Kind, profile: Profile) -> RawBatches:
    """Read the folder or database; with ``lab`` it brings every kind that is there, else the one asked for.

    A measurement's unit is that of unit_concept_id, in which value_as_number is, else unit_source_value. Where there is
    no number the text of value_source_value is taken. A concept id of 0 falls back on the source's own words. Operator,
    value and unit that contradict their source fields refuse the row (``fields_disagree``).

    Raises:
        UnreadableInputError: a table is missing, unreadable, or the file is no DuckDB database.
        RefusedInputError: a table lacks required columns of OMOP.
    """
    with _opened(path) if path.is_file() else nullcontext(_Folder(path)) as source:
        yield from _batches(source, path, kind, profile)


def _batches(source: "_Folder | _Database", path: Path, kind: Kind, profile: Profile) -> RawBatches:
    concepts, notes = _concepts(source)
    deaths = _deaths(source)
    is_there = False
    for name, its_kind in KINDS_OF_TABLES.items():
        if kind not in ("lab", its_kind):
            continue
        batches = source.batches(name)
        if batches is None:
            if its_kind == kind:
                raise UnreadableInputError(f"the table {name} is missing", where=path.name)
            continue
        is_there = True
        for table in batches:
            named = table.rows
            if name == "person":
                named = named.join(deaths, on="person_id", how="left", validate="m:1", maintain_order="left")
            rows = _ROWS[name](named, concepts, profile)
            refused = [line.lower_case().named(_NAMES) for line in table.refused]
            yield its_kind, table._replace(rows=rows, refused=refused, notes=notes)
    if not is_there:
        raise UnreadableInputError(f"OMOP holds nothing of the kind {kind}", where=path.name)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def batches(self, name: str) -> Iterator[RawBatch] | None:
        """A table with lower-case text columns; optional ones that are not there are null. None: there is none."""
        path = _find(self.path, name)
        if path is None:
            return None
        columns = {*TABLES[name][0], *TABLES[name][1]}
        either_case = columns | {column.upper() for column in columns}
        read = text_columns if path.suffix == ".parquet" else read_columns
        return (batch._replace(rows=_columns_of(name, batch.rows, path.name)) for batch in read(path, either_case))


class _Database:
    """The tables of an open database; of a name that stands in several schemas the first."""

    def __init__(self, path: Path, database: duckdb.DuckDBPyConnection) -> None:
        self.path, self.database = path, database
        self.tables = _tables(database)

    def batches(self, name: str) -> Iterator[RawBatch] | None:
        """As for a folder."""
        return self._read(name, *self.tables[name]) if name in self.tables else None

    def _read(self, name: str, place: str, columns: list[str]) -> Iterator[RawBatch]:
        listed = ", ".join(f"CAST({_quoted(column)} AS VARCHAR) AS {_quoted(column)}" for column in columns)
        done, where = 0, f"{self.path.name} {name}"
        used = self._used_concepts() if "concept_id" in columns else ""
        with self.database.cursor() as reading:
            batches = reading.sql(f"SELECT {listed or 1} FROM {place} {used}").to_arrow_reader(ROWS_A_BATCH)
            empty = pl.DataFrame(pl.from_arrow(batches.schema.empty_table()))
            for rows in chain((pl.DataFrame(pl.from_arrow(batch)) for batch in batches), [empty]):
                if rows.height or not done:
                    numbers = pl.int_range(done + 1, done + rows.height + 1, dtype=pl.Int64)
                    yield RawBatch(self.path, _columns_of(name, rows.with_columns(source_row=numbers), where))
                done += rows.height

    def _used_concepts(self) -> str:
        """A clause for the concepts that some table names: a vocabulary has millions that none does."""
        # Databases that were spreadsheets have 3000905.0 for 3000905.
        named = [
            f"SELECT regexp_replace(CAST({_quoted(column)} AS VARCHAR), '\\.0+$', '') FROM {place}"
            for place, columns in (self.tables[name] for name in KINDS_OF_TABLES if name in self.tables)
            for column in columns
            if column.lower().endswith("concept_id")
        ]
        return f"WHERE CAST(concept_id AS VARCHAR) IN ({' UNION '.join(named)})" if named else ""


@contextmanager
def _opened(file: Path) -> Iterator[_Database]:
    try:
        with (
            _openable(file) as path,
            duckdb.connect(str(path), read_only=True, config={"autoinstall_known_extensions": False}) as database,
        ):
            database.execute("SET enable_external_access = false")
            yield _Database(file, database)
    except (duckdb.Error, UnicodeDecodeError, pa.ArrowException):
        raise UnreadableInputError("is not a readable DuckDB database", where=file.name) from None


@contextmanager
def _openable(path: Path) -> Iterator[Path]:
    """The database; a copy of it and of its log where DuckDB would take ``?`` or ``\\`` in the path for its own marks."""
    if not {"?", "\\"} & {*str(path)}:
        yield path
        return
    with private_folder() as folder:
        copy = folder / "omop.duckdb"
        shutil.copyfile(path, copy)
        if (log := path.with_name(f"{path.name}.wal")).exists():
            shutil.copyfile(log, copy.with_name(f"{copy.name}.wal"))
        yield copy


def _tables(database: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, list[str]]]:
    """By name: the quoted place of a table of OMOP and those of its columns that are read."""
    found = database.execute(
        "SELECT table_catalog, table_schema, table_name, column_name FROM information_schema.columns "
        "WHERE table_catalog = current_database() ORDER BY table_schema, ordinal_position"
    ).fetchall()
    places: dict[str, tuple[str, ...]] = {}
    tables: dict[str, tuple[str, list[str]]] = {}
    for *place, column in found:
        name = place[-1].lower()
        if name not in TABLES or places.setdefault(name, tuple(place)) != tuple(place):
            continue
        # A CDM named after its schema (cdm.cdm) needs the full path.
        _, columns = tables.setdefault(name, (".".join(map(_quoted, place)), []))
        if column.lower() in {*TABLES[name][0], *TABLES[name][1]}:
            columns.append(column)
    return tables


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _columns_of(name: str, rows: pl.DataFrame, where: str) -> pl.DataFrame:
    required, optional = TABLES[name]
    rows = rows.rename({column: column.lower() for column in rows.columns if column.lower() in {*required, *optional}})
    if missing := [column for column in required if column not in rows.columns]:
        raise RefusedInputError(f"columns of OMOP missing: {', '.join(missing)}", where=where)
    texts = [
        pl.when(pl.col(column) != "").then(column) if column in rows.columns else pl.lit(None, pl.String).alias(column)
        for column in (*required, *optional)
    ]
    return rows.select(*texts, "source_row")


def _concepts(source: _Folder | _Database) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The concepts, and as a note that there are none or how many of their lines were broken."""
    batches = list(source.batches("concept") or ())
    if not any(batch.rows.height for batch in batches):
        return pl.DataFrame(schema=dict.fromkeys(TABLES["concept"][0], pl.String)), ("no_concept_table",)
    n_broken = sum(len(batch.refused) for batch in batches)
    rows = pl.concat(batch.rows for batch in batches).drop("source_row")
    once = rows.unique("concept_id", keep="first", maintain_order=True)
    return once, (f"broken_lookup_lines:{n_broken}",) if n_broken else ()


def _deaths(source: _Folder | _Database) -> pl.DataFrame:
    """``person_id, died`` (text): the first recorded death of each person; empty where there is no table."""
    died = [
        batch.rows.select("person_id", died=pl.coalesce("death_datetime", "death_date"))
        for batch in source.batches("death") or ()
    ]
    every = pl.concat(died) if died else pl.DataFrame(schema={"person_id": pl.String, "died": pl.String})
    return every.drop_nulls().sort("person_id", "died").unique("person_id", keep="first", maintain_order=True)


def _with_concept(rows: pl.DataFrame, column: str, concepts: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Add name, vocabulary and code of the concept that ``column`` names; concept 0 is none."""
    named = concepts.select(
        "concept_id",
        pl.col("concept_name").alias(f"{prefix}_name"),
        pl.col("vocabulary_id").alias(f"{prefix}_vocabulary"),
        pl.col("concept_code").alias(f"{prefix}_code"),
    ).filter(pl.col("concept_id") != "0")
    return rows.join(named, left_on=column, right_on="concept_id", how="left", maintain_order="left")


def _whole(column: str) -> pl.Expr:
    """A concept id as text; databases and spreadsheets make 3000905.0 of it. Zero is no concept."""
    return pl.col(column).str.strip_chars().str.replace(r"\.0+$", "").replace("0", None)


def _lab_rows(rows: pl.DataFrame, concepts: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    own = ("person_id", "measurement_datetime", "measurement_date", "source_row")
    results = made_once(rows.drop(own), lambda distinct: _results(distinct, concepts, profile))
    return rows.select(
        "source_row", patient_id="person_id", collected_at=pl.coalesce("measurement_datetime", "measurement_date")
    ).hstack(results)


def _results(rows: pl.DataFrame, concepts: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """What a measurement says, whoever's it is and whenever it was taken."""
    ids = ("measurement_concept_id", "operator_concept_id", "unit_concept_id")
    rows = rows.with_columns(_whole(column) for column in ids)
    rows = _with_concept(rows, "measurement_concept_id", concepts, "test")
    rows = _with_concept(rows, "unit_concept_id", concepts, "unit")
    source = pl.col("measurement_source_value").str.strip_chars()
    rows = rows.with_columns(
        loinc=pl.coalesce(
            pl.when(pl.col("test_vocabulary") == "LOINC").then("test_code"),
            pl.when(pl.col("measurement_concept_id").is_null()).then(source.str.extract(f"({LOINC_NUMBER})")),
        )
    )
    local = kept_local_code(pl.coalesce("measurement_concept_id", source), profile)
    source_value = pl.col("value_source_value").str.strip_chars()
    is_number = pl.col("value_as_number").is_not_null()
    operator = pl.col("operator_concept_id")
    bounds = pl.when((comparator_of(operator) != "").fill_null(True)).then(operator)
    comparator = pl.when(is_number).then(pl.coalesce(bounds, sign_before(source_value)))
    is_misread = pl.col("unit_concept_id").is_in(_misread_units())
    unit = pl.when(~is_misread.fill_null(False)).then(
        pl.coalesce(
            "unit_code", pl.col("unit_concept_id").replace_strict(_units(), default=None, return_dtype=pl.String)
        )
    )
    rows = rows.with_columns(unit=unit)
    rows = rows.with_columns(facts=unit_facts(rows["unit"]), source_facts=unit_facts(rows["unit_source_value"]))
    return rows.select(
        "loinc",
        analyte_name=pl.coalesce("test_name", source),
        code_system=pl.when(local.is_not_null() & pl.col("measurement_concept_id").is_not_null()).then(
            pl.lit("omop_concept_id")
        ),
        local_code=local,
        value=pl.when(is_number).then("value_as_number").otherwise(source_value),
        comparator=comparator,
        unit=pl.coalesce("unit", "unit_source_value", pl.concat_str(pl.lit("OMOP unit concept "), "unit_concept_id")),
        reference_low="range_low",
        reference_high="range_high",
        fields_disagree=disagreement(bounds_differ(source_value, comparator), _values_differ(source_value)),
    )


def _values_differ(source_value: pl.Expr) -> pl.Expr:
    """Whether value and unit contradict the source's; a value that was converted with its unit is the same."""
    value = pl.col("value_as_number").cast(pl.Float64, strict=False)
    factor, source_factor = (pl.col(name).struct.field("factor") for name in ("facts", "source_facts"))
    is_converted = factor != source_factor
    converted = are_different(value * factor, number_in(pl.when(is_converted).then(source_value)) * source_factor)
    by_value = pl.when(is_converted).then(converted).otherwise(numbers_differ(source_value, pl.col("value_as_number")))
    return pl.coalesce(by_value, units_differ(pl.col("facts"), pl.col("source_facts")))


def _medication_rows(rows: pl.DataFrame, concepts: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    rows = rows.with_columns(_whole(column) for column in ("drug_concept_id", "route_concept_id"))
    rows = _with_concept(rows, "drug_concept_id", concepts, "drug")
    rows = _with_concept(rows, "route_concept_id", concepts, "route")
    return rows.select(
        "source_row",
        patient_id="person_id",
        drug_name=pl.coalesce("drug_name", "drug_source_value"),
        atc_code=pl.when(pl.col("drug_vocabulary") == "ATC").then("drug_code"),
        rxcui=pl.when(pl.col("drug_vocabulary") == "RxNorm").then("drug_code"),
        start_date="drug_exposure_start_date",
        end_date=pl.coalesce("verbatim_end_date", "drug_exposure_end_date"),
        route=pl.coalesce("route_source_value", "route_name"),
        dose="quantity",
        dose_unit="dose_unit_source_value",
    )


def _patient_rows(rows: pl.DataFrame, concepts: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    year, month, day = (_whole(column).str.zfill(2) for column in ("year_of_birth", "month_of_birth", "day_of_birth"))
    born = pl.coalesce(pl.concat_str(year, month, day, separator="-"), pl.concat_str(year, month, separator="-"), year)
    return rows.select(
        "source_row",
        patient_id="person_id",
        birth_date=born,
        death_date="died",
        sex=pl.coalesce(_whole("gender_concept_id").replace_strict(_GENDERS, default=None), "gender_source_value"),
        ethnicity="ethnicity_source_value",
    )


def _diagnosis_rows(rows: pl.DataFrame, concepts: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """The source's own coding, and the standard concept where that is in a diagnosis vocabulary."""
    rows = rows.with_columns(_whole(column) for column in ("condition_concept_id", "condition_source_concept_id"))
    rows = _with_concept(rows, "condition_source_concept_id", concepts, "own")
    rows = _with_concept(rows, "condition_concept_id", concepts, "standard")
    shared = {
        "patient_id": pl.col("person_id"),
        "date": pl.col("condition_start_date"),
        "source_row": pl.col("source_row"),
    }
    own = rows.select(code=pl.coalesce("own_code", "condition_source_value"), system="own_vocabulary", **shared)
    standard = rows.filter(pl.col("standard_vocabulary").is_in(_DIAGNOSIS_VOCABULARIES)).select(
        code="standard_code", system="standard_vocabulary", **shared
    )
    both = pl.concat([own, standard]).filter(pl.col("code").is_not_null())
    return both.unique(maintain_order=True, keep="first").sort("source_row", maintain_order=True)


_ROWS: Final = {
    "measurement": _lab_rows,
    "drug_exposure": _medication_rows,
    "person": _patient_rows,
    "condition_occurrence": _diagnosis_rows,
}


@cache
def _unit_concepts() -> pl.DataFrame:
    return pl.read_csv(Path(__file__).parent / "omop_units.csv", infer_schema=False)


@cache
def _units() -> dict[str, str]:
    """Unit concepts of blood counts, for a source without its concept table."""
    return dict(_unit_concepts().drop_nulls("unit").select("concept_id", "unit").iter_rows())


@cache
def _misread_units() -> list[str]:
    """Concepts of units that no count has (kelvin per microliter): the source's own unit settles what was meant."""
    return _unit_concepts().filter(pl.col("unit").is_null())["concept_id"].to_list()


def _find(folder: Path, name: str) -> Path | None:
    spelled = (f"{each}{suffix}" for each in (name, name.upper()) for suffix in _SUFFIXES)
    return next((path for file in spelled if (path := folder / file).is_file()), None)

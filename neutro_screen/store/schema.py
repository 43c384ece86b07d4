"""The store's tables, types and comments: made in a new file, completed in an older one, compared with an open one."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import duckdb
import polars as pl

import neutro_schemas as contract
from neutro_schemas import PRIORITIES, SEVERITIES
from neutro_schemas.store import (
    INTERNAL_COMMENTS,
    AuditTable,
    DrugMatch,
    LaboratoryDay,
    PatientMerge,
    QualityCount,
    QualityDrift,
    QualityMeasure,
    RecognitionTable,
    ReviewTable,
    RunDelivery,
    RunTable,
    RunWarning,
    SourceFileTable,
    WithdrawnFlag,
    WorklistEntry,
)
from neutro_screen.errors import ReferenceDataError
from neutro_screen.store.views import VIEWS, view_columns
from neutro_screen.validate import dtypes

SCHEMA_VERSION: Final = 3


#: Table -> its contract. Those of ``RECEIVED`` also carry run_id: the run that brought the row.
TABLES: Final[Mapping[str, Any]] = {
    "run": RunTable,
    "run_delivery": RunDelivery,
    "run_warning": RunWarning,
    "source_file": SourceFileTable,
    "recognition": RecognitionTable,
    "lab_result": contract.LabResult,
    "contradicted_result": contract.LabResult,
    "rejected_row": contract.RejectedRow,
    "no_result": contract.NoResult,
    "request": contract.Request,
    "medication": contract.Medication,
    "patient": contract.Patient,
    "diagnosis": contract.Diagnosis,
    "event": contract.Event,
    "anc": contract.Anc,
    "episode": contract.Episode,
    "flag": contract.Flag,
    "withdrawn_flag": WithdrawnFlag,
    "drug_course": contract.DrugCourse,
    "fall": contract.Fall,
    "drug_suspect": contract.DrugSuspect,
    "evidence": contract.Evidence,
    "workup_step": contract.WorkupStep,
    "patient_summary": contract.PatientStatus,
    "unassessable": contract.CannotAssess,
    "clozapine_course": contract.ClozapineCourse,
    "worklist_entry": WorklistEntry,
    "quality_count": QualityCount,
    "quality_measure": QualityMeasure,
    "quality_drift": QualityDrift,
    "laboratory_day": LaboratoryDay,
    "patient_merge": PatientMerge,
    "review": ReviewTable,
    "audit": AuditTable,
    "drug_match": DrugMatch,
}


RECEIVED: Final = (
    "lab_result",
    "contradicted_result",
    "rejected_row",
    "no_result",
    "request",
    "medication",
    "patient",
    "diagnosis",
    "event",
    "flag",
)


#: Tables that are rewritten for every patient that is screened again.
SCREENED: Final = (
    "anc",
    "episode",
    "flag",
    "drug_course",
    "fall",
    "drug_suspect",
    "evidence",
    "workup_step",
    "patient_summary",
    "unassessable",
    "clozapine_course",
)


@cache
def columns_of(table: str) -> dict[str, str]:
    """Column -> SQL type of a table, in order."""
    columns = {name: _sql_type(dtype) for name, dtype in dtypes(TABLES[table]).items()}
    return columns | ({"run_id": "VARCHAR"} if table in RECEIVED else {})


def _sql_type(dtype: Any) -> str:
    if isinstance(dtype, pl.Enum):
        return "severity" if tuple(dtype.categories) == SEVERITIES else "priority"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMP"
    return _SQL_TYPES[str(dtype)]


_SQL_TYPES: Final = {
    "String": "VARCHAR",
    "Float64": "DOUBLE",
    "Boolean": "BOOLEAN",
    "Date": "DATE",
    "Int64": "BIGINT",
    "Int8": "TINYINT",
    "Int16": "SMALLINT",
}


def departures(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables and views of the contract that an open store lacks, and columns that it lacks or has with another type."""
    present = _present_columns(connection)
    enums = {
        name: "ENUM(" + ", ".join(f"'{word}'" for word in words) + ")"
        for name, words in (("severity", SEVERITIES), ("priority", PRIORITIES))
    }
    return [name for name in (*TABLES, *VIEWS) if name not in present] + [
        f"{table}.{column}"
        for table in TABLES
        if table in present
        for column, type_ in columns_of(table).items()
        if present[table].get(column) != enums.get(type_, type_)
    ]


def build(connection: duckdb.DuckDBPyConnection) -> None:
    """Make whatever of the contract is missing: all of it in a new file, what later versions added in an older one.

    Columns that an older version did not have are null in its rows until their patients are screened again.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER)")
    for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
        connection.execute(f'DROP VIEW "{view}"')
    if "worklist_row" in _present_columns(connection):  # a view since version 3
        connection.execute("ALTER TABLE worklist_row RENAME TO worklist_entry")
    _build_types(connection)
    present = _present_columns(connection)
    for table, model in TABLES.items():
        wanted = columns_of(table)
        if table not in present:
            listed = ", ".join(f'"{name}" {type_}' for name, type_ in wanted.items())
            connection.execute(f'CREATE TABLE "{table}" ({listed})')
        for name in [name for name in wanted if name not in present.get(table, wanted)]:
            connection.execute(f'ALTER TABLE "{table}" ADD COLUMN "{name}" {wanted[name]}')
        _build_comments(connection, table, model)
    for name, (query, summary) in VIEWS.items():
        connection.execute(f'CREATE VIEW "{name}" AS {query}')
        _comment(connection, f'VIEW "{name}"', summary)
    _build_view_comments(connection)
    connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])


def _build_types(connection: duckdb.DuckDBPyConnection) -> None:
    """The two ENUMs with the contract's words; columns of an older ENUM are converted by their words."""
    for type_, words in (("severity", SEVERITIES), ("priority", PRIORITIES)):
        found = connection.execute(
            "SELECT labels FROM duckdb_types() WHERE type_name = ? AND NOT internal", [type_]
        ).fetchall()
        if found and tuple(found[0][0]) == words:
            continue
        carried = [
            (table, name)
            for table, columns in _present_columns(connection).items()
            for name in columns
            if table in TABLES and columns_of(table).get(name) == type_
        ]
        for table, name in carried:
            connection.execute(f'ALTER TABLE "{table}" ALTER "{name}" TYPE VARCHAR')
        connection.execute(f"DROP TYPE IF EXISTS {type_}")
        connection.execute(f"CREATE TYPE {type_} AS ENUM (" + ", ".join(f"'{word}'" for word in words) + ")")
        for table, name in carried:
            connection.execute(f'ALTER TABLE "{table}" ALTER "{name}" TYPE {type_}')


def _present_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Table -> column -> SQL type, as they are in the file."""
    columns: dict[str, dict[str, str]] = {}
    for table, name, type_ in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
    ).fetchall():
        columns.setdefault(table, {})[name] = type_
    return columns


def _build_comments(connection: duckdb.DuckDBPyConnection, table: str, model: Any) -> None:
    summary = INTERNAL_COMMENTS.get(table) or (model.__doc__ or "").strip().splitlines()[0]
    _comment(connection, f'TABLE "{table}"', summary)
    for name, column in model.to_schema().columns.items():
        _comment(connection, f'COLUMN "{table}"."{name}"', _described(column))
    if table in RECEIVED:
        what = "Run that first raised the flag." if table == "flag" else "Run that brought the row."
        _comment(connection, f'COLUMN "{table}"."run_id"', what)


def _build_view_comments(connection: duckdb.DuckDBPyConnection) -> None:
    """A comment on every column of every view: that of the view's own list, else that of the table's column of this name."""
    own, inherited = view_columns(), _table_columns()
    for view, name in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE table_name IN (SELECT unnest(?)) AND NOT internal",
        [list(VIEWS)],
    ).fetchall():
        found = own.get((view, name)) or own.get(("*", name)) or inherited.get(name)
        if found is None:
            raise ReferenceDataError(f"column {view}.{name} has no comment", where="view_columns.csv")
        _comment(connection, f'COLUMN "{view}"."{name}"', found)


@cache
def _table_columns() -> dict[str, str]:
    """Column name -> its description in the first table that has it."""
    described: dict[str, str] = {"run_id": "Run."}
    for model in TABLES.values():
        for name, column in model.to_schema().columns.items():
            described.setdefault(name, _described(column))
    return described


def _described(column: Any) -> str:
    """The column's description; with a warning where a comparison would be wrong without an error.

    DuckDB sorts an ENUM in its own order but compares it with a bare text alphabetically, where 'profound' is less
    than 'severe' (tried with 2.0.0): the sickest patients would be missing from ``severity >= 'severe'``.
    """
    if not isinstance(column.dtype.type, pl.Enum):
        return str(column.description)
    name = _sql_type(column.dtype.type)
    example = "severe" if name == "severity" else "high"
    return f"{column.description} Compare as {column.name} >= '{example}'::{name}, never with a bare text."


def _comment(connection: duckdb.DuckDBPyConnection, thing: str, text: str) -> None:
    quoted = text.replace("'", "''")
    connection.execute(f"COMMENT ON {thing} IS '{quoted}'")

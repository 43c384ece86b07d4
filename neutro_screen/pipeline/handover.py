"""What one step of a run hands to the next: typed results, kept and spilled by ``partitions.Workspace``.

A field is a frame, frames by table, or a value that JSON can hold.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from neutro_screen.ingest import Kind


@dataclass(frozen=True)
class Shares:
    """Of the whole run: the inputs, shared out among those who read them (``ingest.Share``: paths, archived)."""

    shares: list[dict[str, Any]]
    #: SHA-256, format and rows of the files that need not be read again
    known: list[tuple[str, str, int]]


@dataclass(frozen=True)
class ReadShare:
    """Of one share of the inputs: what its rows have in common, by numbers of its own, and what were no rows."""

    #: under whose name the rows were added
    writer: str
    #: ``recognition.origins.no_origins``, and the number ``n`` of each text (``origins.TextCounts``)
    origins: pl.DataFrame
    texts: pl.DataFrame
    #: as those of ``Ingested``
    requests: pl.DataFrame
    deletions: pl.DataFrame
    #: the names on medication lists (``rules.causes.drug_names.KEYS``)
    drug_lines: pl.DataFrame
    files: list[dict[str, Any]]
    lab_rows: int
    broken_labs: int
    #: kinds of data in the charts
    kinds: list[str]
    #: ``ingest.Opened``: files by kind, and by kind the error of the first that could not be opened
    opened: dict[Kind, int]
    unread: dict[Kind, list[str]]


@dataclass(frozen=True)
class Ingested:
    """Of the whole run: what the rows have in common, and what could not be split into rows."""

    #: the origins of the laboratory rows with what they mean
    origins: pl.DataFrame
    #: the wards and requesters named (``requests.no_requests``)
    requests: pl.DataFrame
    #: results that a source withdraws by their id alone (``retractions.no_deletions``)
    deletions: pl.DataFrame
    #: what the lines of tonight's medication lists name (``rules.causes.findings.resolved_drugs``)
    drugs: pl.DataFrame
    #: one entry a file, as the store keeps it
    files: list[dict[str, Any]]
    lab_rows: int
    broken_labs: int
    #: kinds of data that came (``rules.causes.findings.kinds_of``)
    kinds: list[str]

    @property
    def rows_in(self) -> int:
        """Laboratory rows and lines; a deletion counts as one."""
        return self.lab_rows + self.broken_labs


@dataclass(frozen=True)
class Plan:
    """Of the whole run: what the store says before anything is judged."""

    run_id: str
    #: laboratory rows to account for, a retraction counted for each result that it finds
    rows_in: int
    data_kinds: list[str]
    #: why every patient is screened again; None = only those with something new
    everybody_because: str | None
    #: merge statements of earlier runs, and those that hold tonight
    statements_before: pl.DataFrame
    statements: pl.DataFrame
    #: merges that lead around a circle
    cyclic_merges: pl.DataFrame
    #: patient_id, survivor_id of the records that were merged into another one
    survivors: pl.DataFrame
    #: deletions that find no stored result
    unknown_deletions: pl.DataFrame
    #: what the lines of all medication lists name, those of the store as well
    drugs: pl.DataFrame


@dataclass(frozen=True)
class Judged:
    """Of one partition: every row accepted, rejected or set aside."""

    #: by table of ``rows.HISTORY``
    received: dict[str, pl.DataFrame]
    #: counts by file, laboratory, analyte and disposition (``quality.measures.COUNTS``)
    row_counts: pl.DataFrame
    #: of every test (``recognition.table.COUNTED``)
    tests: pl.DataFrame
    #: rows of the other kinds: kind, reason (null = accepted), rows
    chart_counts: pl.DataFrame
    unmatched_drugs: list[dict[str, object]]
    newest: str | None
    #: laboratory rows by disposition
    counted: dict[str, int]


@dataclass(frozen=True)
class Histories:
    """Of one partition: what is new, and all rows of every patient it touches, by table of ``rows.HISTORY``."""

    new: dict[str, pl.DataFrame]
    complete: dict[str, pl.DataFrame]
    #: patient_id
    touched: pl.DataFrame
    #: new rows by table and patient (``reconciliation.HELD``)
    arrived: pl.DataFrame
    patients_touched: int


#: A frame, or the Parquet file that holds it until it is stored.
Rows = pl.DataFrame | Path


def frame_of(rows: Rows) -> pl.DataFrame:
    """The rows themselves."""
    return pl.read_parquet(rows, glob=False) if isinstance(rows, Path) else rows


@dataclass(frozen=True)
class Screened:
    """Of one partition: what is put into the store."""

    #: Of these the files are handed on, not what they hold: the store reads them itself.
    UNREAD: ClassVar = ("new", "tables")
    #: new rows by table of ``rows.HISTORY``; of the results those that the rest of their specimen does not contradict
    new: dict[str, Rows]
    #: what the rules conclude, by table of ``store.SCREENED``
    tables: dict[str, Rows]
    #: results, old and new, that their specimen contradicts, with ``reason``
    contradicted: pl.DataFrame


@dataclass(frozen=True)
class PublishedRun:
    """Of the whole run: its summary (``summary.RunSummary.as_dict``); kept as soon as the run is in the store."""

    summary: dict[str, object]


@dataclass(frozen=True)
class Outcome:
    """Of one partition: what is asked for after it is stored."""

    #: patient_id of those screened
    touched: pl.DataFrame
    arrived: pl.DataFrame
    #: row and specimen counts
    counts: pl.DataFrame
    #: lab, day, newest_at
    collected_days: pl.DataFrame
    tests: pl.DataFrame
    chart_counts: pl.DataFrame
    unmatched_drugs: list[dict[str, object]]
    newest: str | None
    patients_touched: int
    #: results of the touched patients by severity
    severities: dict[str, int]
    #: laboratory rows by final disposition
    settled: dict[str, int]

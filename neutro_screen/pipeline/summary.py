"""The run summary: the account of its rows, its counts, and its row in the store."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import PRIORITIES, SEVERITIES
from neutro_schemas.store import RunTable, SourceFileTable
from neutro_screen import __version__
from neutro_screen.errors import PublishError
from neutro_screen.pipeline.handover import Outcome, Plan
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.pipeline.pseudonyms import key_fingerprint
from neutro_screen.reference import load_policy
from neutro_screen.store.rows import first_row
from neutro_screen.store.schema import SCHEMA_VERSION
from neutro_screen.validate import dtypes


@dataclass(frozen=True)
class Account:
    """What became of the laboratory rows of a run; they always add up."""

    rows_in: int
    accepted: int
    rejected: int
    no_result: int
    duplicate: int
    not_screened: int

    def check(self) -> None:
        """Raises PublishError if a row is lost or counted twice: then nothing may be published."""
        accounted = self.accepted + self.rejected + self.no_result + self.duplicate + self.not_screened
        if accounted != self.rows_in:
            raise PublishError(
                f"{self.rows_in} rows came in and {accounted} are accounted for",
                remedy="This is an error of the program.",
            )


@dataclass(frozen=True)
class RunSummary:
    """What a run did, in counts."""

    run_id: str
    account: Account
    patients_touched: int
    flags: Mapping[str, int]
    priorities: Mapping[str, int]
    changes: Mapping[str, int]
    cannot_assess: int
    newest_result_at: str | None
    report: str | None
    everybody_because: str | None = None
    #: What about the laboratories is not as it was in their last runs, in words, the most serious first.
    drift: tuple[str, ...] = ()
    #: What did not come in: kind, lab (null = the whole feed), detail and since (ISO time, null = never).
    warnings: tuple[Mapping[str, str | None], ...] = ()

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "RunSummary":
        """The opposite of ``as_dict``, also after a way through JSON."""
        listed = {
            "account": Account(**kept["account"]),
            "drift": tuple(kept["drift"]),
            "warnings": tuple(kept["warnings"]),
        }
        return cls(**{**kept, **listed})

    def with_report(self, page: Path | None) -> "RunSummary":
        """The summary after the report step, which gave this page."""
        return replace(self, report=str(page) if page else None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def counted_rows(broken_labs: int, counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Laboratory rows by disposition, all partitions together; a line that is no row counts as rejected."""
    total = Counter[str](rejected=broken_labs)
    for counted in counts:
        total.update(counted)
    return dict(total)


def run_counts(connection: DuckDBPyConnection, outcomes: Iterable[Outcome], worklist: pl.DataFrame) -> dict[str, Any]:
    """What is counted of a published run.

    Low results of the touched patients by severity, open rows of the worklist by priority, its changes, all patients of
    the store and those of them who cannot be assessed.
    """
    open_rows = worklist.filter(pl.col("change") != "resolved")
    severities = Counter[str]()
    for outcome in outcomes:
        severities.update(outcome.severities)

    def by(frame: pl.DataFrame, column: str, names: Sequence[str]) -> dict[str, int]:
        found = dict(frame.group_by(pl.col(column).cast(pl.String)).len().iter_rows())
        return {name: found.get(name, 0) for name in names}

    return {
        "flags": {name: severities[name] for name in SEVERITIES[:0:-1]},
        "priorities": by(open_rows, "priority", PRIORITIES[::-1]),
        "changes": by(worklist, "change", ("new", "escalated", "unchanged", "improved", "resolved")),
        "patients": _counted_in(connection, "SELECT count(*) FROM patient_summary"),
        "cannot_assess": _counted_in(connection, "SELECT count(DISTINCT patient_id) FROM unassessable"),
    }


def _counted_in(connection: DuckDBPyConnection, query: str) -> int:
    row = first_row(connection, query)
    return int(row[0]) if row else 0


def run_row(
    settings: RunOptions, plan: Plan, account: Account, counts: dict[str, Any], touched: int, newest: str | None
) -> pl.DataFrame:
    """The row of the run in the store (``RunTable``)."""
    policy = load_policy(settings.policy)
    row = {
        "run_id": plan.run_id,
        "started_at": clock(),
        "as_of": settings.as_of,
        "policy_version": policy.version,
        "policy_sha256": policy.sha256,
        "policy_values": policy.model_dump_json(),
        "pseudonym_key": key_fingerprint(settings.pseudonymise),
        "software_version": __version__,
        **{f"rows_{name.removeprefix('rows_')}": value for name, value in asdict(account).items()},
        "schema_version": SCHEMA_VERSION,
        "patients_touched": touched,
        "data_kinds": ",".join(plan.data_kinds),
        "counts": json.dumps(counts, sort_keys=True),
        "newest_result_at": datetime.fromisoformat(newest) if newest else None,
        "status": "done",
    }
    return pl.DataFrame([row], schema=dtypes(RunTable))


def file_rows(files: list[dict[str, Any]], run_id: str) -> pl.DataFrame:
    """The files of the run as the store keeps them (``SourceFileTable``)."""
    rows = [file | {"run_id": run_id, "notes": ", ".join(file["notes"]) or None} for file in files]
    text: dict[str, pl.DataType] = {"first_collected_at": pl.String(), "last_collected_at": pl.String()}
    return pl.DataFrame(rows, schema=dtypes(SourceFileTable) | text).with_columns(
        pl.col("first_collected_at", "last_collected_at").str.to_datetime(time_unit="us")
    )

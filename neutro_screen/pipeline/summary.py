"""The run summary: the account of its rows, its counts, and its row in the store."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import PRIORITIES, SEVERITIES
from neutro_schemas.store import CHANGES, RunDelivery, RunTable, SourceFileTable
from neutro_screen import __version__
from neutro_screen.errors import ConfigurationError, PublishError
from neutro_screen.ingest import KINDS, load_profile
from neutro_screen.pipeline.handover import Ingested, Outcome, Plan
from neutro_screen.pipeline.options import RunOptions, clock, iso
from neutro_screen.pipeline.pseudonyms import key_fingerprint
from neutro_screen.reference import load_policy
from neutro_screen.rules.worklist.order import LEAVING, STAYING_GROUPS
from neutro_screen.store.file import reading
from neutro_screen.store.rows import first_row, read_table
from neutro_screen.store.schema import SCHEMA_VERSION
from neutro_screen.store.views import LATEST_RUN
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
    #: Rows of the other kinds of file that came: rows_in = accepted + the refused, by reason.
    others: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    #: What about the laboratories is not as it was in their last runs, in words, the most serious first.
    drift: tuple[str, ...] = ()
    #: What did not come in: kind, lab (null = the whole feed), detail and since (ISO time, null = never).
    warnings: tuple[Mapping[str, str | None], ...] = ()
    #: Files that an earlier run has read and this one did not, and their rows then; ``source_file`` names them.
    known_files: int = 0
    known_rows: int = 0
    #: Rows beside the worklist: episodes that began and ended since the run before.
    recovered: int = 0

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

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def stored_summary(store: Path, run_id: str | None = None) -> RunSummary:
    """The summary of a published run (default: the latest) as the store holds it; where its reports are, it does not say.

    Raises:
        StoreError: the store cannot be read.
        ConfigurationError: it holds no such run.
    """
    with reading(store) as connection:
        rows = read_table(
            connection, f"SELECT * FROM run WHERE run_id = coalesce($run_id, ({LATEST_RUN}))", {"run_id": run_id}
        ).to_dicts()
        if not rows:
            raise ConfigurationError("the store holds no such run", remedy="`SELECT run_id FROM run` lists them.")
        row = rows[0]
        of_run = {"run_id": row["run_id"]}
        drift = read_table(connection, "SELECT words FROM quality_drift WHERE run_id = $run_id ORDER BY ALL", of_run)
        warnings = read_table(
            connection, "SELECT kind, lab, detail, since FROM run_warning WHERE run_id = $run_id ORDER BY ALL", of_run
        )
    counts = json.loads(row["counts"])
    return RunSummary(
        run_id=row["run_id"],
        account=Account(row["rows_in"], **{name: row[f"rows_{name}"] for name in _DISPOSITIONS}),
        patients_touched=row["patients_touched"],
        flags=counts["flags"],
        priorities=counts["priorities"],
        changes=counts["changes"],
        cannot_assess=counts["cannot_assess"],
        newest_result_at=iso(row["newest_result_at"]),
        report=None,
        drift=tuple(drift["words"]),
        warnings=tuple(warning | {"since": iso(warning["since"])} for warning in warnings.to_dicts()),
        recovered=counts.get("recovered", 0),
    )


_DISPOSITIONS: Final = ("accepted", "rejected", "no_result", "duplicate", "not_screened")


def counted_rows(broken_labs: int, counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Laboratory rows by disposition, all partitions together; a line that is no row counts as rejected."""
    total = Counter[str](rejected=broken_labs)
    for counted in counts:
        total.update(counted)
    return dict(total)


def chart_accounts(ingested: Ingested, counts: Sequence[pl.DataFrame]) -> dict[str, dict[str, object]]:
    """Of medications, patients, diagnoses and events that came: rows_in, accepted, and the refused by reason."""
    total = pl.concat(counts).group_by("kind", "reason").agg(pl.col("rows").sum()).sort("kind", "reason")
    accounts = {}
    for kind in KINDS[1:]:
        if not any(file["kind"] == kind for file in ingested.files):
            continue
        of_kind = dict(total.filter(kind=kind).select("reason", "rows").iter_rows())
        accepted = of_kind.pop(None, 0)
        accounts[str(kind)] = {"rows_in": accepted + sum(of_kind.values()), "accepted": accepted, "refused": of_kind}
    return accounts


def run_counts(connection: DuckDBPyConnection, outcomes: Iterable[Outcome], worklist: pl.DataFrame) -> dict[str, Any]:
    """What is counted of a published run; ``worklist`` is its rows counted (``worklist.Published.counts``).

    Low results of the touched patients by severity, open rows of the worklist by priority, what changed on it, who is
    shown beside it as recovered, all patients of the store and those of them who cannot be assessed.
    """
    is_staying, is_leaving = pl.col("row_group").is_in(STAYING_GROUPS), pl.col("change").is_in(LEAVING)
    open_rows = worklist.filter(is_staying)
    severities = Counter[str]()
    for outcome in outcomes:
        severities.update(outcome.severities)

    def by(frame: pl.DataFrame, column: str, names: Sequence[str]) -> dict[str, int]:
        found = dict(frame.group_by(pl.col(column).cast(pl.String)).agg(pl.col("n").sum()).iter_rows())
        return {name: found.get(name, 0) for name in names}

    return {
        "flags": {name: severities[name] for name in SEVERITIES[:0:-1]},
        "priorities": by(open_rows, "priority", PRIORITIES[::-1]),
        "changes": by(worklist.filter(is_staying | is_leaving), "change", CHANGES),
        "recovered": worklist.filter(~is_staying & ~is_leaving)["n"].sum(),
        "patients": _counted_in(connection, "SELECT count(*) FROM patient_summary"),
        "cannot_assess": _counted_in(connection, "SELECT count(DISTINCT patient_id) FROM unassessable"),
    }


def page_settings(settings: RunOptions) -> dict[str, str | None]:
    """What the profile says of the report: the time zone of its times, and the address of a patient's record."""
    profile = load_profile(settings.profile)
    return {"time_zone": profile.time_zone, "record_link": profile.record_link}


def _counted_in(connection: DuckDBPyConnection, query: str) -> int:
    row = first_row(connection, query)
    return int(row[0]) if row else 0


def run_row(
    settings: RunOptions,
    plan: Plan,
    account: Account,
    counts: dict[str, Any],
    touched: int,
    newest: str | None,
    carries_since: str,
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
        "carries_since": carries_since,
        "status": "done",
    }
    return pl.DataFrame([row], schema=dtypes(RunTable))


def deliveries(settings: RunOptions, run_id: str) -> pl.DataFrame:
    """How the run is to reach its readers (``RunDelivery``), none of it done yet."""
    asked = [kind for kind, to in (("report", settings.reports), ("notification", settings.notify)) if to is not None]
    return pl.DataFrame(
        {"run_id": [run_id] * len(asked), "kind": asked, "delivered_at": [None] * len(asked)},
        schema=dtypes(RunDelivery),
    )


def file_rows(files: list[dict[str, Any]], run_id: str) -> pl.DataFrame:
    """The files of the run as the store keeps them (``SourceFileTable``)."""
    rows = [file | {"run_id": run_id, "notes": ", ".join(file["notes"]) or None} for file in files]
    text: dict[str, pl.DataType] = {"first_collected_at": pl.String(), "last_collected_at": pl.String()}
    return pl.DataFrame(rows, schema=dtypes(SourceFileTable) | text).with_columns(
        pl.col("first_collected_at", "last_collected_at").str.to_datetime(time_unit="us")
    )

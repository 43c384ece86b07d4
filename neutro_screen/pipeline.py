"""The five steps of a run - ingest, validate, history, screen, publish - and ``run``, which takes them in order.

Every step reads from and writes to a workspace and returns counts only, so that it can also be a task of its own.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from duckdb import DuckDBPyConnection
from polars._typing import JoinStrategy

from neutro_schemas import (
    PRIORITIES,
    SEVERITIES,
    Diagnosis,
    Event,
    LabResult,
    Medication,
    NoResult,
    Patient,
    RejectedRow,
    ScreenedResult,
)
from neutro_schemas.store import QualityCount, RunTable, SourceFileTable
from neutro_screen import __version__
from neutro_screen import ingest as readers
from neutro_screen.drug_matches import publish_drug_matches
from neutro_screen.errors import ConfigurationError, PublishError, RefusedInputError
from neutro_screen.ingest import Extract, Kind, load_profile
from neutro_screen.protocol import screen
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.report import write_reports
from neutro_screen.rules.causes import Chart, kinds_of, matched_medications
from neutro_screen.rules.drug_names import unmatched_names
from neutro_screen.rules.results import JudgedRows, judge_rows
from neutro_screen.rules.worklist import open_cases, worklist_rows
from neutro_screen.store import (
    LATEST_RUN,
    SCREENED,
    delete_patients,
    delete_rows,
    first_row,
    insert,
    lock,
    publishing,
    read_table,
    reading,
)
from neutro_screen.validate import conform, dtypes, in_shape, split_valid
from neutro_screen.workspace import Workspace

CHART: Final[dict[str, Any]] = {
    "medication": Medication, "patient": Patient, "diagnosis": Diagnosis, "event": Event,
}  # fmt: skip
#: What makes two laboratory rows the same row: everything but where they were read.
_IDENTITY: Final = (
    "patient_id", "specimen_id", "collected_at", "resulted_at", "analyte", "method", "value", "comparator",
    "value_text", "status", "lab",
)  # fmt: skip


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked to do. Holds paths and numbers only."""

    store: Path
    as_of: datetime
    labs: tuple[str, ...]
    medications: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    diagnoses: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    reports: Path | None = None
    format: str | None = None
    profile: Path | None = None
    policy: Path | None = None
    max_rejected: float = 0.2
    rescreen_all: bool = False
    csv_bom: bool = False

    @property
    def paths(self) -> dict[Kind, tuple[str, ...]]:
        """Input paths by kind."""
        return {
            "lab": self.labs, "medication": self.medications, "patient": self.patients,
            "diagnosis": self.diagnoses, "event": self.events,
        }  # fmt: skip


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
        told = self.accepted + self.rejected + self.no_result + self.duplicate + self.not_screened
        if told != self.rows_in:
            raise PublishError(
                f"{self.rows_in} rows came in and {told} are accounted for", remedy="This is an error of the program."
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def now() -> datetime:
    """The machine's clock, UTC without zone: the default of ``as_of``, read once a run."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def moment(text: str) -> datetime:
    """An ISO time or date as UTC without zone.

    Raises:
        ConfigurationError: not ISO 8601.
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not an ISO 8601 time", remedy="Example: 2026-11-22T02:00") from None
    return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed


def run(settings: RunSettings, progress: Callable[[str], None] = lambda step: None) -> RunSummary:
    """Run the five steps over the inputs and publish into the store.

    Raises:
        NeutroScreenError: one of its kinds, with its exit code; the previous results then stand.
    """
    work = Workspace()
    with lock(settings.store):
        for step in (ingest_step, validate_step, history_step, screen_step):
            progress(step.__name__.removesuffix("_step"))
            step(settings, work)
        progress("publish")
        return publish_step(settings, work)


def check(settings: RunSettings) -> dict[str, Any]:
    """Ingest and validate only, and write nothing: ``rows_in``, ``counted`` by disposition and ``quality`` in detail.

    Raises:
        NeutroScreenError: the inputs cannot be read or judged.
    """
    work = Workspace()
    ingest_step(settings, work)
    validate_step(settings, work)
    return {name: work.noted(name) for name in ("rows_in", "counted", "quality")}


def ingest_step(settings: RunSettings, work: Workspace) -> dict[str, int]:
    """Read all inputs into the canonical frames."""
    extract = readers.ingest(settings.paths, load_profile(settings.profile), settings.format)
    work.put("lab_row", extract.labs)
    for kind, frame in _chart_frames(extract).items():
        work.put(f"{kind}_row", frame)
    work.note("files", [asdict(file) | {"first_collected_at": _iso(file.first_collected_at),
                                        "last_collected_at": _iso(file.last_collected_at)}
                        for file in extract.files])  # fmt: skip
    work.put("broken_line", _broken_lines(extract))
    return {"lab_rows": extract.labs.height, "files": len(extract.files)}


def validate_step(settings: RunSettings, work: Workspace) -> dict[str, int]:
    """Judge every row; split accepted from refused; nothing is dropped.

    Raises:
        RefusedInputError: more than ``max_rejected`` of the screened rows are refused.
    """
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    charts = {kind: split_valid(work.get(f"{kind}_row"), model) for kind, model in CHART.items()}
    judged = judge_rows(
        work.get("lab_row"),
        load_reference().extended_by(analytes=profile.named_analytes, statuses=profile.statuses),
        policy,
        as_of=settings.as_of,
        patients=charts["patient"].accepted,
        decimal_mark=profile.decimal_mark,
    )
    accepted, rejected = split_valid(judged.results, ScreenedResult)
    broken = work.get("broken_line")
    broken_labs = broken.filter(pl.col("kind") == "lab").height
    _check_share(
        rejected.height + broken_labs, judged.results.height + judged.no_results.height + broken_labs, settings
    )
    work.put("lab_result", conform(in_shape(accepted, LabResult), LabResult, RefusedInputError, "laboratory results"))
    work.put("no_result", in_shape(judged.no_results, NoResult))
    work.put(
        "rejected_row",
        pl.concat(
            [
                _rejected(rejected, "lab", list(work.get("lab_row").columns)),
                *(_rejected(chart.rejected, kind, list(chart.accepted.columns)) for kind, chart in charts.items()),
                broken,
            ]
        ),
    )
    for kind, chart in charts.items():
        work.put(kind, chart.accepted)
    work.note("quality", _quality(judged, accepted, rejected) + _unmatched_drugs(charts["medication"].accepted))
    counted = {
        "accepted": accepted.height, "rejected": rejected.height + broken_labs,
        "no_result": judged.no_results.height, "not_screened": judged.not_screened.height,
    }  # fmt: skip
    work.note("counted", counted)
    work.note("rows_in", work.get("lab_row").height + broken_labs)
    return counted


def history_step(settings: RunSettings, work: Workspace) -> dict[str, int]:
    """Drop what the store already holds and fetch the full history of every patient that is touched.

    Touched are the patients with a new row of any kind, those with an open episode (their status depends on the index
    time) and, after a change of policy or program or with ``rescreen_all``, everybody.
    """
    tonight = {name: _distinct(work.get(name), _identity(name)) for name in _HISTORY}
    candidates = _patients_of(tonight.values())
    stored = {name: frame.clear().with_columns(run_id=pl.lit(None, pl.String)) for name, frame in tonight.items()}
    run_id, is_everybody, everybody_because = _run_id(settings.as_of, []), False, None
    kinds = kinds_of(tonight["lab_result"], Chart.of(*(tonight[kind] for kind in CHART)))
    if settings.store.exists():
        with reading(settings.store) as connection:
            run_id = _run_id(
                settings.as_of, [row[0] for row in connection.execute("SELECT run_id FROM run").fetchall()]
            )
            before = _latest_program(connection)
            known_kinds = frozenset(filter(None, before[2].split(","))) if before else frozenset()
            # A kind of data that comes for the first time is no longer unknown, of anybody.
            everybody_because = _why_everybody(settings, before, kinds - known_kinds)
            is_everybody = everybody_because is not None
            kinds |= known_kinds
            open_ones = "WHERE ended_at IS NULL" if not is_everybody else ""
            known = read_table(connection, f"SELECT DISTINCT patient_id FROM episode {open_ones}")
            if is_everybody:
                known = pl.concat([known, read_table(connection, "SELECT patient_id FROM patient_summary")])
            candidates = pl.concat([candidates, known]).unique()
            connection.register("candidate", candidates)
            stored = {name: read_table(connection, _HISTORY_QUERY.format(table=name)) for name in _HISTORY}
            refuted = read_table(connection, _HISTORY_QUERY.format(table="contradicted_result"))
            stored["lab_result"] = pl.concat([stored["lab_result"], refuted])
            open_or_all = known
    else:
        open_or_all = candidates.clear()
    for name, frame in tonight.items():
        added = _not_in(frame, stored[name], _identity(name)).with_columns(run_id=pl.lit(run_id))
        work.put(f"new_{name}", added)
        work.put(f"history_{name}", pl.concat([stored[name].select(added.columns), added]))
    touched = pl.concat([_patients_of(work.get(f"new_{name}") for name in _HISTORY), open_or_all]).unique()
    work.put("touched", touched.sort("patient_id"))
    work.note("run_id", run_id)
    work.note("data_kinds", sorted(kinds))
    work.note("everybody_because", everybody_because)
    return {"patients_touched": touched.height}


_HISTORY: Final = ("lab_result", "no_result", "rejected_row", *CHART)
_HISTORY_QUERY: Final = 'SELECT * FROM "{table}" WHERE patient_id IN (SELECT patient_id FROM candidate)'


def screen_step(settings: RunSettings, work: Workspace) -> dict[str, int]:
    """Apply the rules to the full history of the touched patients."""
    touched = work.get("touched")
    history = {name: work.get(f"history_{name}").join(touched, on="patient_id", how="semi") for name in _HISTORY}
    result = screen(
        history["lab_result"],
        history["medication"],
        history["patient"],
        history["diagnosis"],
        history["event"],
        as_of=settings.as_of,
        policy=load_policy(settings.policy),
        # What its specimen refutes is judged anew by the screen itself.
        unusable=unusable_results(
            history["rejected_row"].filter(pl.col("scope") == "row"), history["no_result"], settings.as_of
        ),
        data_kinds=frozenset(work.noted("data_kinds")),
    )
    for table in SCREENED:
        work.put(table, getattr(result, _RESULT_OF.get(table, table)))
    work.put("contradicted", result.contradicted)
    return {"flags": result.flag.height}


_RESULT_OF: Final = {"patient_summary": "patient_status", "unassessable": "cannot_assess"}


def unusable_results(rejected: pl.DataFrame, no_results: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Refused and missing results of analytes that feed the ANC (ANC-9b): patient_id, specimen_id, reason, since."""
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"]
    is_feeding = pl.col("analyte").is_in(feeding.implode()) & pl.col("patient_id").is_not_null()
    return pl.concat(
        frame.filter(is_feeding).select(
            "patient_id", "specimen_id", reason=reason, since=pl.coalesce("collected_at", pl.lit(as_of))
        )
        for frame, reason in ((rejected, "reason"), (no_results, "kind"))
    )


def publish_step(settings: RunSettings, work: Workspace) -> RunSummary:
    """Put the new rows and the conclusions into the store in one step, then write the reports."""
    run_id, touched = work.noted("run_id"), work.get("touched")
    account = _account(work)
    account.check()
    with publishing(settings.store) as connection:
        previous = read_table(connection, _PREVIOUS_WORKLIST, {"as_of": settings.as_of})
        seen = read_table(connection, _SEEN_EPISODES, {"as_of": settings.as_of})
        raised = read_table(connection, _FIRST_RAISED)
        for table in ("no_result", "rejected_row", *CHART):
            insert(connection, table, work.get(f"new_{table}"))
        _publish_results(connection, work)
        publish_drug_matches(connection)
        delete_patients(connection, SCREENED, touched)
        for table in SCREENED:
            insert(
                connection,
                table,
                _first_raised(work.get(table), raised, run_id) if table == "flag" else work.get(table),
            )
        status = read_table(connection, "SELECT * FROM patient_summary").lazy()
        cases = open_cases(
            read_table(connection, "SELECT * FROM episode").lazy(),
            read_table(connection, "SELECT * FROM flag WHERE rule_id LIKE 'RPD-%' AND episode_id IS NULL").lazy(),
            status,
            seen.lazy(),
        )
        worklist = worklist_rows(cases, status, previous.lazy(), run_id).collect()
        insert(connection, "worklist_row", worklist)
        unknown = first_row(connection, "SELECT count(DISTINCT patient_id) FROM unassessable")
        counts = _counts(work, worklist, status.collect()) | {"cannot_assess": unknown[0] if unknown else 0}
        newest = work.get("lab_result")["collected_at"].max()
        insert(connection, "run", _run_row(settings, work, account, counts, newest))
        insert(connection, "source_file", _file_rows(work.noted("files"), run_id))
        insert(connection, "quality_count", _quality_rows(work.noted("quality"), run_id))
    report = (
        write_reports(settings.store, settings.reports, run_id, byte_order_mark=settings.csv_bom)
        if settings.reports is not None
        else None
    )
    return RunSummary(
        run_id=run_id,
        account=account,
        patients_touched=touched.height,
        flags=counts["flags"],
        priorities=counts["priorities"],
        changes=counts["changes"],
        cannot_assess=counts["cannot_assess"],
        newest_result_at=_iso(newest),
        report=str(report) if report else None,
        everybody_because=work.noted("everybody_because"),
    )


#: The worklist of the latest run of an earlier night: a run repeated for the same night changes nothing.
_PREVIOUS_WORKLIST: Final = (
    "SELECT * FROM worklist_row WHERE run_id = "
    "(SELECT run_id FROM run WHERE as_of < $as_of ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1)"
)
#: Episodes that were published as resolved, save those first shown by another run for the same night.
_SEEN_EPISODES: Final = (
    "SELECT episode_id FROM episode WHERE ended_at IS NOT NULL AND NOT coalesce(episode_id IN "
    "(SELECT episode_id FROM worklist_row JOIN run USING (run_id) WHERE as_of = $as_of AND change <> 'resolved'), false)"
)
_FIRST_RAISED: Final = (
    "SELECT patient_id, specimen_id, episode_id, rule_id, min(run_id) AS first_run FROM flag "
    "GROUP BY patient_id, specimen_id, episode_id, rule_id"
)


def _account(work: Workspace) -> Account:
    """Settle what became of tonight's laboratory rows; a refuted one counts as refused, like every other refusal."""
    counted = work.noted("counted")
    new = work.get("new_lab_result")
    refuted = _refuted(new, work.get("contradicted")).height
    return Account(
        rows_in=work.noted("rows_in"),
        accepted=new.height - refuted,
        rejected=counted["rejected"] + refuted,
        no_result=counted["no_result"],
        duplicate=counted["accepted"] - new.height,
        not_screened=counted["not_screened"],
    )


def _refuted(results: pl.DataFrame, contradicted: pl.DataFrame, how: JoinStrategy = "inner") -> pl.DataFrame:
    keyed = results.with_columns(is_manual=pl.col("method") == "manual")
    return keyed.join(contradicted, on=["patient_id", "specimen_id", "analyte", "is_manual"], how=how).drop("is_manual")


def _publish_results(connection: DuckDBPyConnection, work: Workspace) -> None:
    """Store the new results; those that their specimen refutes go to quarantine until the specimen says otherwise."""
    history = work.get("history_lab_result").join(work.get("touched"), on="patient_id", how="semi")
    refuted = _refuted(history, work.get("contradicted"))
    before = read_table(connection, "SELECT * FROM contradicted_result")
    before = before.join(work.get("touched"), on="patient_id", how="semi")
    where = ["source_file", "source_row", "run_id"]
    delete_patients(connection, ("contradicted_result",), work.get("touched"))
    delete_patients(connection, ("rejected_row",), work.get("touched"), "scope = 'specimen'")
    delete_rows(connection, "lab_result", refuted.select(where))
    insert(connection, "lab_result", before.join(refuted, on=where, how="anti"))
    new = _refuted(work.get("new_lab_result"), work.get("contradicted"), "anti")
    insert(connection, "lab_result", new.sort(*_IDENTITY[:5], *where))
    insert(connection, "contradicted_result", refuted)
    as_read = [column for column in refuted.columns if column not in ("reason", "run_id", "source_file", "source_row")]
    insert(
        connection,
        "rejected_row",
        refuted.with_columns(
            column=pl.lit("value"),
            kind=pl.lit("lab"),
            scope=pl.lit("specimen"),
            row=pl.struct(as_read).struct.json_encode(),
        ),
    )


def _first_raised(flags: pl.DataFrame, raised: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Flags with the run that first raised them."""
    key = ["patient_id", "specimen_id", "episode_id", "rule_id"]
    return flags.join(raised, on=key, how="left", nulls_equal=True, maintain_order="left").with_columns(
        run_id=pl.coalesce("first_run", pl.lit(run_id))
    )


def _run_id(as_of: datetime, taken: Sequence[str]) -> str:
    name = as_of.strftime("%Y-%m-%dT%H:%M:%SZ")
    repeats = sum(run_id == name or run_id.startswith(f"{name}-") for run_id in taken)
    return f"{name}-{repeats + 1}" if repeats else name


def _program(settings: RunSettings) -> tuple[str, str]:
    return load_policy(settings.policy).sha256, __version__


def _why_everybody(settings: RunSettings, before: tuple[str, str, str] | None, new_kinds: frozenset[str]) -> str | None:
    """Why every patient is screened again, in words; None = only those with something new."""
    policy, version = _program(settings)
    if settings.rescreen_all:
        return "asked for"
    if before is None or before[0] != policy:
        return "the policy changed: flags may differ without any new result"
    if before[1] != version:
        return f"the program changed from {before[1]} to {version}"
    if new_kinds:
        return f"data of a new kind: {', '.join(sorted(new_kinds))}"
    return None


def _latest_program(connection: DuckDBPyConnection) -> tuple[str, str, str] | None:
    """Policy, version and kinds of data of the latest run."""
    row = first_row(
        connection, f"SELECT policy_sha256, software_version, data_kinds FROM run WHERE run_id = ({LATEST_RUN})"
    )
    return (row[0], row[1], row[2]) if row else None


def _identity(table: str) -> list[str]:
    """The columns that make two rows of a table the same, wherever they were read."""
    if table == "lab_result":
        return list(_IDENTITY)
    model: dict[str, Any] = {"no_result": NoResult, "rejected_row": RejectedRow, **CHART}
    return [name for name in model[table].to_schema().columns if name not in ("source_file", "source_row")]


def _distinct(frame: pl.DataFrame, identity: list[str]) -> pl.DataFrame:
    """One of every set of identical rows, the first by place of reading; the hash only finds the few to look at."""
    hashed = frame.select(pl.struct(identity).hash()).to_series()
    repeated = hashed.is_duplicated()
    if not repeated.any():
        return frame
    once = frame.filter(repeated).sort("source_file", "source_row").unique(identity, keep="first", maintain_order=True)
    return pl.concat([frame.filter(~repeated), once])


def _not_in(frame: pl.DataFrame, stored: pl.DataFrame, identity: list[str]) -> pl.DataFrame:
    return frame.join(stored, on=identity, how="anti", nulls_equal=True) if stored.height else frame


def _patients_of(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    named = [frame.select("patient_id").drop_nulls().unique() for frame in frames]
    return pl.concat(named).unique().sort("patient_id")


def _check_share(rejected: int, screened: int, settings: RunSettings) -> None:
    if screened and rejected / screened > settings.max_rejected:
        raise RefusedInputError(
            f"{rejected} of {screened} screened laboratory rows would be refused "
            f"({rejected / screened:.0%}; at most {settings.max_rejected:.0%} allowed)",
            remedy="`neutro-screen check` lists the reasons. Nothing was published.",
        )


def _rejected(rows: pl.DataFrame, kind: str, as_read: list[str]) -> pl.DataFrame:
    """Refused rows as ``RejectedRow``, with what was read as JSON."""
    content = [column for column in as_read if column not in ("source_file", "source_row")]
    absent: dict[str, pl.DataType] = {
        "specimen_id": pl.String(), "collected_at": pl.Datetime("us"), "analyte": pl.String()
    }  # fmt: skip
    return in_shape(
        rows.with_columns(
            *(pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name not in rows.columns),
            kind=pl.lit(kind),
            scope=pl.lit("row"),
            row=pl.struct(content).struct.json_encode(),
        ),
        RejectedRow,
    )


def _broken_lines(extract: Extract) -> pl.DataFrame:
    """Lines that could not be split into columns, as ``RejectedRow``."""
    lines = [
        {"kind": kind, "reason": line.reason, "row": json.dumps({"line": line.row}), "scope": "row",
         "source_file": line.source_file, "source_row": line.source_row}
        for kind, refused in extract.refused.items()
        for line in refused
    ]  # fmt: skip
    return pl.DataFrame(lines, schema=dtypes(RejectedRow))


def _chart_frames(extract: Extract) -> dict[str, pl.DataFrame]:
    return {
        "medication": extract.medications, "patient": extract.patients, "diagnosis": extract.diagnoses,
        "event": extract.events,
    }  # fmt: skip


def _quality(judged: JudgedRows, accepted: pl.DataFrame, rejected: pl.DataFrame) -> list[dict[str, Any]]:
    """Counts by file, laboratory, analyte, disposition and reason."""
    own_name = pl.coalesce("local_code", "loinc", pl.lit("")) + pl.lit(" ") + pl.coalesce("analyte_name", pl.lit(""))
    parts = [
        accepted.with_columns(disposition=pl.lit("accepted"), reason=pl.lit(None, pl.String)),
        rejected.with_columns(disposition=pl.lit("rejected")),
        judged.no_results.with_columns(disposition=pl.lit("no_result"), reason="kind"),
        judged.not_screened.with_columns(
            disposition=pl.lit("not_screened"), reason="not_screened", analyte=own_name.str.strip_chars()
        ),
    ]
    by = ["source_file", "lab", "analyte", "disposition", "reason"]
    return pl.concat(part.group_by(by).agg(rows=pl.len()) for part in parts).sort(by).to_dicts()


def _unmatched_drugs(medications: pl.DataFrame) -> list[dict[str, Any]]:
    """Drug names that no table knows, with the number of lines: what the suspects cannot have been chosen from."""
    unmatched = unmatched_names(matched_medications(medications)).collect()
    return [
        {"source_file": "medications", "lab": None, "analyte": row["drug_name"], "disposition": "unmatched_drug",
         "reason": "name not in the drug tables", "rows": row["n_lines"]}
        for row in unmatched.iter_rows(named=True)
    ]  # fmt: skip


def _quality_rows(counted: list[dict[str, Any]], run_id: str) -> pl.DataFrame:
    return pl.DataFrame(counted, schema=dtypes(QualityCount)).with_columns(run_id=pl.lit(run_id))


def _file_rows(files: list[dict[str, Any]], run_id: str) -> pl.DataFrame:
    rows = [file | {"run_id": run_id, "notes": ", ".join(file["notes"]) or None} for file in files]
    text: dict[str, pl.DataType] = {"first_collected_at": pl.String(), "last_collected_at": pl.String()}
    return pl.DataFrame(rows, schema=dtypes(SourceFileTable) | text).with_columns(
        pl.col("first_collected_at", "last_collected_at").str.to_datetime(time_unit="us")
    )


def _counts(work: Workspace, worklist: pl.DataFrame, status: pl.DataFrame) -> dict[str, Any]:
    """Counts for the summary: low results of the touched patients by severity, open rows by priority, changes."""
    open_rows = worklist.filter(pl.col("change") != "resolved")
    low = work.get("anc").filter(pl.col("severity") > pl.lit("normal"))

    def by(frame: pl.DataFrame, column: str, names: Sequence[str]) -> dict[str, int]:
        found = dict(frame.group_by(pl.col(column).cast(pl.String)).len().iter_rows())
        return {name: found.get(name, 0) for name in names}

    return {
        "flags": by(low, "severity", SEVERITIES[:0:-1]),
        "priorities": by(open_rows, "priority", PRIORITIES[::-1]),
        "changes": by(worklist, "change", ("new", "escalated", "unchanged", "improved", "resolved")),
        "patients": status.height,
    }


def _run_row(
    settings: RunSettings, work: Workspace, account: Account, counts: dict[str, Any], newest: Any
) -> pl.DataFrame:
    policy = load_policy(settings.policy)
    row = {
        "run_id": work.noted("run_id"), "started_at": now(), "as_of": settings.as_of, "policy_version": policy.version,
        "policy_sha256": policy.sha256, "software_version": __version__,
        **{f"rows_{name.removeprefix('rows_')}": value for name, value in asdict(account).items()},
        "patients_touched": work.get("touched").height, "data_kinds": ",".join(work.noted("data_kinds")), "counts": json.dumps(counts, sort_keys=True), "newest_result_at": newest,
        "status": "done",
    }  # fmt: skip
    return pl.DataFrame([row], schema=dtypes(RunTable))


def _iso(moment: Any) -> str | None:
    return moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else None

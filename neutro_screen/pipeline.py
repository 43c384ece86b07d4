"""The five steps of a run - ingest, validate, history, screen, publish - and ``run``, which takes them in order.

Every step reads from and writes to a workspace and returns counts only, so that it can also be a task of its own.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from duckdb import DuckDBPyConnection
from polars._typing import JoinStrategy
from pydantic import ByteSize, TypeAdapter, ValidationError

from neutro_schemas import (
    PRIORITIES,
    SEVERITIES,
    Diagnosis,
    Event,
    LabResult,
    LabRow,
    Medication,
    NoResult,
    Patient,
    RejectedRow,
    ScreenedResult,
)
from neutro_schemas.store import QualityCount, RunTable, SourceFileTable
from neutro_screen import __version__
from neutro_screen import ingest as readers
from neutro_screen.deletions import deletion_counts, no_deletions, settle_deletions, split_deletions
from neutro_screen.drift import quality_drift
from neutro_screen.drug_matches import publish_drug_matches
from neutro_screen.errors import ConfigurationError, NeutroScreenError, PublishError, RefusedInputError, StoreError
from neutro_screen.ingest import Kind, SourceFile, load_profile
from neutro_screen.ingest.files import private_folder, unpacking_in
from neutro_screen.merges import (
    NO_STATEMENTS,
    changed_records,
    crosswalk,
    new_statements,
    standing_statements,
    with_members,
    with_own_records,
    with_survivor,
)
from neutro_screen.protocol import screen
from neutro_screen.pseudonyms import load_pseudonyms
from neutro_screen.quality import merged, quality_counts, quality_measures, row_counts, specimen_counts
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.report import write_reports
from neutro_screen.rules.causes import Chart, kinds_of, matched_medications
from neutro_screen.rules.drug_names import unmatched_names
from neutro_screen.rules.origins import TextCounts, no_origins, number_origins
from neutro_screen.rules.results import judge_part, judged_origins
from neutro_screen.rules.worklist import open_cases, worklist_rows
from neutro_screen.silence import laboratory_days, silence_warnings
from neutro_screen.store import (
    LATEST_RUN,
    MERGE_STATEMENTS,
    SCHEMA_VERSION,
    SCREENED,
    audit,
    delete_patients,
    delete_rows,
    first_row,
    insert,
    lock,
    migrate,
    publishing,
    read_table,
    reading,
    registered,
)
from neutro_screen.validate import conform, dtypes, in_shape, no_rows, split_valid
from neutro_screen.workspace import Workspace, work_folder, working_folder

CHART: Final[dict[str, Any]] = {
    "medication": Medication, "patient": Patient, "diagnosis": Diagnosis, "event": Event,
}  # fmt: skip
_CHART_PART: Final = {
    "medication": "medications", "patient": "patients", "diagnosis": "diagnoses", "event": "events",
}  # fmt: skip
#: What makes two laboratory rows the same row: everything but where they were read.
_IDENTITY: Final = (
    "patient_id", "specimen_id", "collected_at", "resulted_at", "analyte", "method", "value", "comparator",
    "value_text", "status", "lab",
)  # fmt: skip


#: What a laboratory row takes at the peak of a part, from text to flags (measured: docs/performance.md).
_BYTES_PER_ROW: Final = 1_600


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
    #: file with the key of the pseudonyms; None = identifiers stay as they are
    pseudonymise: Path | None = None
    csv_bom: bool = False
    #: bytes that the rows at work may take; more are spread over parts, one after the other
    memory: int = 4 << 30

    @property
    def rows_at_once(self) -> int:
        """How many laboratory rows are judged and screened together."""
        return max(1, self.memory // _BYTES_PER_ROW)

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
    #: What about the laboratories is not as it was in their last runs, in words, the most serious first.
    drift: tuple[str, ...] = ()
    #: What did not come in: kind, lab (null = the whole feed), detail and since (ISO time, null = never).
    warnings: tuple[Mapping[str, str | None], ...] = ()

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


def bytes_of(size: str) -> int:
    """A size of memory as people write it: ``4GB``, ``512MiB``.

    Raises:
        ConfigurationError: it is none, or too small to work with.
    """
    try:
        told = int(TypeAdapter(ByteSize).validate_python(size))
    except ValidationError:
        told = 0
    if told < _LEAST_MEMORY:
        raise ConfigurationError(f"{size!r} is no size of memory to work with", remedy="Example: --memory 4GB")
    return told


_LEAST_MEMORY: Final = 100_000_000


def run(settings: RunSettings, progress: Callable[[str], None] = lambda step: None) -> RunSummary:
    """Run the five steps over the inputs and publish into the store.

    Raises:
        NeutroScreenError: one of its kinds, with its exit code; the previous results then stand.
    """
    with lock(settings.store), working_folder(settings.store) as folder:
        work = Workspace(folder, settings.rows_at_once)
        for step in (ingest_step, survey_step):
            progress(step.__name__.removesuffix("_step"))
            step(settings, work)
        for part in work.parts:
            for part_step in PART_STEPS:
                progress(part_step.__name__.removesuffix("_step"))
                part_step(settings, work, part)
            work.settle(part, OUTCOMES)
        progress("publish")
        return publish_step(settings, work)


def check(settings: RunSettings) -> dict[str, Any]:
    """Ingest and validate only, and write nothing: ``rows_in``, ``counted`` by disposition and ``quality`` in detail.

    Raises:
        NeutroScreenError: the inputs cannot be read or judged.
    """
    with private_folder() as folder:
        work = Workspace(folder, settings.rows_at_once)
        ingest_step(settings, work)
        settle_deletions(work)
        work.divide(work.noted("rows_in"), settings.rows_at_once)
        for part in work.parts:
            validate_step(settings, work, part)
            work.settle(part, ("row_count",))
        quality = _quality_rows(work, merged(work.get("row_count", part) for part in work.parts), "check")
        return {
            "rows_in": work.noted("rows_in"), "counted": _counted(work), "quality": quality.drop("run_id").to_dicts()
        }  # fmt: skip


def ingest_step(settings: RunSettings, work: Workspace) -> dict[str, int]:
    """Read all inputs into the canonical frames, a portion at a time, and settle what the rows have in common."""
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    reference = load_reference().extended_by(analytes=profile.named_analytes, statuses=profile.statuses)
    sent, texts, kinds = no_origins(), TextCounts(), frozenset[str]()
    files, broken, lab_rows = list[SourceFile](), [no_rows(RejectedRow)], 0
    deletions = [no_deletions()]
    for kind in readers.KINDS:
        empty = readers.no_rows(kind, profile)
        work.add(f"{kind}_row", number_origins(empty, sent)[0] if kind == "lab" else empty)
    for portion in _portions(settings, profile):
        rows = portion.rows
        if portion.kind == "lab":
            lab_rows += rows.height
            rows, deleted = split_deletions(rows, reference)
            deletions.append(deleted)
            rows, sent = number_origins(rows, sent)
            texts.add(rows)
        else:
            kinds |= kinds_of(no_rows(LabResult), Chart.of(**{_CHART_PART[portion.kind]: rows}))
        work.add(f"{portion.kind}_row", rows)
        broken.append(_broken_lines(portion))
        files.append(portion.file)
    known = judged_origins(sent, texts.counted, reference, policy, profile.decimal_mark)
    kinds |= kinds_of(known.filter("has_value"), Chart.of())
    broken_lines = pl.concat(broken)
    n_broken = broken_lines.filter(pl.col("kind") == "lab").height
    work.put("origin", known)
    work.put("broken_line", broken_lines)
    work.put("deletion", pl.concat(deletions))
    work.note("files", [asdict(file) | {"first_collected_at": _iso(file.first_collected_at),
                                        "last_collected_at": _iso(file.last_collected_at)}
                        for file in readers.together(files)])  # fmt: skip
    work.note("rows_in", lab_rows + n_broken)
    work.note("broken_labs", n_broken)
    work.note("kinds_tonight", sorted(kinds))
    return {"lab_rows": lab_rows, "files": len(work.noted("files"))}


def _portions(settings: RunSettings, profile: readers.Profile) -> Iterator[readers.Portion]:
    """The readers' portions, under pseudonyms where asked for; what is unpacked waits in the run's private folder."""
    pseudonyms = load_pseudonyms(settings.pseudonymise)
    with unpacking_in(work_folder(settings.store) if settings.store.name else None):
        for portion in readers.portions(settings.paths, profile, settings.format):
            yield pseudonyms.applied(portion) if pseudonyms else portion


def survey_step(settings: RunSettings, work: Workspace) -> dict[str, int]:
    """Look at the store as a whole: who has to be screened again, and in how many parts.

    Screened again are those with an episode that is not settled (what is said of it depends on the index time) and, after a change of
    policy or program, when a kind of data comes for the first time, or with ``rescreen_all``, everybody.
    """
    kinds = frozenset(work.noted("kinds_tonight"))
    recalled, taken, because, stored_rows = pl.DataFrame(schema={"patient_id": pl.String}), [], None, 0
    statements = NO_STATEMENTS
    if settings.store.exists():
        migrate(settings.store)
        with reading(settings.store) as connection:
            _check_clock(connection, settings)
            _check_key(connection, settings)
            taken = [row[0] for row in connection.execute("SELECT run_id FROM run").fetchall()]
            before = _latest_program(connection)
            known_kinds = frozenset(filter(None, before[2].split(","))) if before else frozenset()
            # A kind of data that comes for the first time is no longer unknown, of anybody.
            because = _why_everybody(settings, before, kinds - known_kinds)
            kinds |= known_kinds
            recalled = read_table(connection, _EVERYBODY) if because else _unsettled(connection, settings)
            counted = first_row(connection, "SELECT (SELECT count(*) FROM lab_result), count(*) FROM patient_summary")
            stored_rows = counted[0] * recalled.height // counted[1] if counted and counted[1] else 0
            statements = read_table(connection, MERGE_STATEMENTS)
            settle_deletions(work, connection)
    else:
        settle_deletions(work)
    work.note("run_id", _run_id(settings.as_of, taken))
    work.note("data_kinds", sorted(kinds))
    work.note("everybody_because", because)
    work.divide(work.noted("rows_in") + stored_rows, settings.rows_at_once)
    changed = _settle_merges(work, statements)
    work.add("recalled", pl.concat([recalled, changed]).unique())
    return {"patients_recalled": recalled.height, "parts": len(work.parts)}


def _settle_merges(work: Workspace, before: pl.DataFrame) -> pl.DataFrame:
    """Settle which record speaks for which; returns the records (patient_id) that are another person than before."""
    rows = pl.concat(work.rows("patient_row", part).filter(pl.col("replaced_by").is_not_null()) for part in work.parts)
    tonight = _distinct(split_valid(rows, Patient).accepted, _identity("patient"))
    standing = standing_statements(before, new_statements(_of_run(tonight, work), before))
    was, settled = crosswalk(before).survivors, crosswalk(standing)
    work.put("statement_before", before)
    work.put("statement", standing)
    work.put("cyclic_merge", settled.cyclic)
    work.keep_together(settled.survivors)
    return with_members(changed_records(was, settled.survivors), was, settled.survivors)


def _of_run(rows: pl.DataFrame, work: Workspace) -> pl.DataFrame:
    return rows.with_columns(run_id=pl.lit(work.noted("run_id"), pl.String))


_EVERYBODY: Final = "SELECT patient_id FROM patient_summary UNION SELECT patient_id FROM episode"
#: Patients with an episode, over or not, and something in their chart since: a count, a drug given or planned, an event;
#: and those with a likely suspect that is still given, whose days PIT-1 counts. An episode that is over may still earn a
#: flag by the passing of time alone (PIT-4: no viral test within 28 days).
_UNSETTLED: Final = """
    WITH person AS (SELECT DISTINCT patient_id FROM episode),
    record AS (
        SELECT patient_id AS record_id, patient_id FROM person
        UNION ALL
        SELECT m.patient_id, survivor_id FROM patient_merge m JOIN person p ON p.patient_id = survivor_id
    ),
    happened AS (
        SELECT patient_id, last_collected_at AS "at" FROM patient_summary SEMI JOIN person USING (patient_id)
        UNION ALL
        SELECT r.patient_id, greatest(start_date_latest, end_date) FROM medication m JOIN record r ON record_id = m.patient_id
        UNION ALL
        SELECT patient_id, DATE '9999-12-31' FROM drug_suspect WHERE category = 'likely' AND last_exposure IS NULL
        UNION ALL
        SELECT r.patient_id, occurred_at FROM event e JOIN record r ON record_id = e.patient_id
        UNION ALL
        SELECT r.patient_id, "date" FROM diagnosis d JOIN record r ON record_id = d.patient_id
    )
    SELECT patient_id FROM happened GROUP BY patient_id HAVING coalesce(max("at") >= $settled, true)
"""


def _unsettled(connection: DuckDBPyConnection, settings: RunSettings) -> pl.DataFrame:
    """The patients (patient_id) whose episodes may look different tonight though nothing came in.

    Long after the last date of a chart every due date and window has run out. Measured from the run before, so that
    everybody is screened once more after that.
    """
    before = first_row(connection, "SELECT max(as_of) FROM run")
    if before is None or before[0] is None:
        return pl.DataFrame(schema={"patient_id": pl.String})
    settled = before[0] - timedelta(days=load_policy(settings.policy).worklist.settled_d)
    return read_table(connection, _UNSETTLED, {"settled": settled})


def validate_step(settings: RunSettings, work: Workspace, part: int = 0) -> dict[str, int]:
    """Judge every row of a part; split accepted from refused; nothing is dropped."""
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    charts = {kind: split_valid(work.rows(f"{kind}_row", part), model) for kind, model in CHART.items()}
    judged = judge_part(
        work.rows("lab_row", part),
        work.get("origin"),
        load_reference().extended_by(analytes=profile.named_analytes, statuses=profile.statuses),
        policy,
        as_of=settings.as_of,
        patients=charts["patient"].accepted,
        decimal_mark=profile.decimal_mark,
    )
    accepted, rejected = split_valid(judged.results, ScreenedResult)
    retractions = work.rows("retraction", part)
    results = pl.concat([in_shape(accepted, LabResult), retractions])
    work.put("lab_result", conform(results, LabResult, RefusedInputError, "laboratory results"), part)
    work.put("no_result", in_shape(judged.no_results, NoResult), part)
    refused = [
        _rejected(rejected, "lab", list(dtypes(LabRow))),
        *(_rejected(chart.rejected, kind, list(chart.accepted.columns)) for kind, chart in charts.items()),
        *([work.get("broken_line")] if part == 0 else []),
    ]
    work.put("rejected_row", pl.concat(refused), part)
    for kind, chart in charts.items():
        work.put(kind, chart.accepted, part)
    counts = row_counts(accepted, rejected, judged.no_results, judged.not_screened, profile.time_zone)
    unknown = work.get("unknown_deletion") if part == 0 else no_deletions()
    work.put("row_count", pl.concat([counts, deletion_counts(retractions, unknown)]), part)
    work.note("unmatched_drugs", _unmatched_drugs(charts["medication"].accepted), part)
    work.note("newest", _iso(results["collected_at"].max()), part)
    counted = {
        "accepted": results.height, "rejected": rejected.height, "no_result": judged.no_results.height,
        "not_screened": judged.not_screened.height + unknown.height,
    }  # fmt: skip
    work.note("counted", counted, part)
    return counted


def history_step(settings: RunSettings, work: Workspace, part: int = 0) -> dict[str, int]:
    """Drop what the store already holds and fetch the full history of every patient of a part that is touched.

    Touched are the patients with a new row of any kind and those that ``survey_step`` recalled.
    """
    tonight = {name: _distinct(work.get(name, part), _identity(name)) for name in HISTORY}
    recalled = work.rows("recalled", part)
    candidates = with_members(pl.concat([_patients_of(tonight.values()), recalled]), work.survivors)
    stored = {name: frame.clear().with_columns(run_id=pl.lit(None, pl.String)) for name, frame in tonight.items()}
    if settings.store.exists():
        with reading(settings.store) as connection:
            connection.register("candidate", candidates)
            stored = {name: read_table(connection, _HISTORY_QUERY.format(table=name)) for name in HISTORY}
            refuted = read_table(connection, _HISTORY_QUERY.format(table="contradicted_result"))
            stored["lab_result"] = pl.concat([stored["lab_result"], refuted])
    for name, frame in tonight.items():
        added = _of_run(_not_in(frame, stored[name], _identity(name)), work)
        if name == "patient":  # a merge that was undone may be made again by a row that is known
            said = new_statements(_of_run(frame, work), work.get("statement_before"))
            added = pl.concat([added, said.join(added, on=added.columns, how="anti", nulls_equal=True)])
        work.put(f"new_{name}", added, part)
        work.put(f"history_{name}", pl.concat([stored[name].select(added.columns), added]), part)
    changed = [_patients_of(work.get(f"new_{name}", part) for name in HISTORY), recalled]
    touched = with_members(pl.concat(changed), work.survivors)
    work.put("touched", touched, part)
    people = with_survivor(touched, work.survivors).n_unique()
    work.note("patients_touched", people, part)
    return {"patients_touched": people}


HISTORY: Final = ("lab_result", "no_result", "rejected_row", *CHART)
_HISTORY_QUERY: Final = 'SELECT * FROM "{table}" WHERE patient_id IN (SELECT patient_id FROM candidate)'


def screen_step(settings: RunSettings, work: Workspace, part: int = 0) -> dict[str, int]:
    """Apply the rules to the full history of the touched patients of a part."""
    touched, survivors = work.get("touched", part), work.survivors
    stored = {name: work.get(f"history_{name}", part).join(touched, on="patient_id", how="semi") for name in HISTORY}
    history = {name: with_survivor(rows, survivors) for name, rows in stored.items()}
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
            _received(history["rejected_row"].filter(pl.col("scope") == "row")),
            _received(history["no_result"]),
            settings.as_of,
        ),
        data_kinds=frozenset(work.noted("data_kinds")),
    )
    for table in SCREENED:
        work.put(table, getattr(result, _RESULT_OF.get(table, table)), part)
    # Results that their specimen refutes go to quarantine until the specimen says otherwise.
    new = work.get("new_lab_result", part)
    contradicted = with_own_records(result.contradicted, survivors)
    kept = _refuted(new, contradicted, "anti")
    time_zone = load_profile(settings.profile).time_zone
    counts = specimen_counts(new, result.anc, _refuted(new, contradicted), time_zone)
    work.put("specimen_count", counts, part)
    work.put("new_lab_result", kept.sort(*_IDENTITY[:5], *_PLACE), part)
    work.put("refuted", _refuted(stored["lab_result"], contradicted), part)
    counted = work.noted("counted", part)
    settled = {
        "accepted": kept.height, "rejected": counted["rejected"] + new.height - kept.height,
        "duplicate": counted["accepted"] - new.height,
    }  # fmt: skip
    work.note("settled", counted | settled, part)
    return {"flags": result.flag.height}


def _received(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without a time are unknown since the run that brought them; its id begins with its index time."""
    arrived = pl.col("run_id").str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    return rows.with_columns(collected_at=pl.coalesce("collected_at", arrived))


#: The steps that are taken for one part after the other, and the frames that publishing needs of them.
PART_STEPS: Final = (validate_step, history_step, screen_step)
OUTCOMES: Final = (
    "touched", "refuted", "row_count", "specimen_count", *(f"new_{name}" for name in HISTORY), *SCREENED,
)  # fmt: skip
#: Where a row was read.
_PLACE: Final = ("source_file", "source_row", "run_id")
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
    """Put the new rows and the conclusions into the store in one step, then write the reports.

    Raises:
        RefusedInputError: more than ``max_rejected`` of the screened rows are refused.
    """
    run_id, account = work.noted("run_id"), Account(rows_in=work.noted("rows_in"), **_counted(work, "settled"))
    account.check()
    _check_share(account, settings, work)
    touched = sum(work.noted("patients_touched", part) for part in work.parts)
    newest = max(filter(None, (work.noted("newest", part) for part in work.parts)), default=None)
    with publishing(settings.store, settings.memory) as connection:
        previous = read_table(connection, _PREVIOUS_WORKLIST, {"as_of": settings.as_of})
        previous = _previous_by_survivor(previous, work.survivors)
        screened = pl.concat(work.get("touched", part) for part in work.parts)
        with registered(connection, "screened", screened):
            seen = read_table(connection, _SEEN_EPISODES, {"as_of": settings.as_of})
        seen = pl.concat([seen, _under_survivor(seen, work.survivors)])
        for part in work.parts:
            with registered(connection, "screened", work.get("touched", part)):
                raised = read_table(connection, _FIRST_RAISED)
            publish_part(connection, work, part, raised)
        publish_merges(connection, work)
        publish_drug_matches(connection)
        worklist = _worklist(connection, screened, previous, seen, settings.as_of, run_id)
        insert(connection, "worklist_row", worklist)
        unknown = first_row(connection, "SELECT count(DISTINCT patient_id) FROM unassessable")
        patients = first_row(connection, "SELECT count(*) FROM patient_summary")
        counts = _counts(work, worklist) | {
            "patients": patients[0] if patients else 0, "cannot_assess": unknown[0] if unknown else 0,
        }  # fmt: skip
        insert(connection, "source_file", _file_rows(work.noted("files"), run_id))
        warnings = _silence(connection, settings, account, work)
        insert(connection, "run_warning", warnings.with_columns(run_id=pl.lit(run_id)))
        run_row = _run_row(settings, work, account, counts, touched, newest)
        insert(connection, "run", run_row)
        rows = {name: getattr(account, name) for name in ("rows_in", "accepted", "rejected")}
        audit(connection, at=run_row["started_at"][0], action="run", by=None, counts=rows | {"patients": touched})
        drift = _publish_quality(connection, settings, work)
    report = _reported(settings, run_id)
    return RunSummary(
        run_id=run_id,
        account=account,
        patients_touched=touched,
        flags=counts["flags"],
        priorities=counts["priorities"],
        changes=counts["changes"],
        cannot_assess=counts["cannot_assess"],
        newest_result_at=newest,
        report=str(report) if report else None,
        everybody_because=work.noted("everybody_because"),
        drift=drift,
        warnings=tuple(row | {"since": _iso(row["since"])} for row in warnings.to_dicts()),
    )


def _publish_quality(connection: DuckDBPyConnection, settings: RunSettings, work: Workspace) -> tuple[str, ...]:
    """Store the counts and measures of the run's data and what drifted since the last runs; returns that in words."""
    run_id, counts = work.noted("run_id"), _quality_totals(work)
    measures = quality_measures(counts, run_id)
    drift = _drift(connection, settings, measures, run_id)
    insert(connection, "quality_count", _quality_rows(work, counts, run_id))
    insert(connection, "quality_measure", measures)
    insert(connection, "quality_drift", drift)
    return tuple(drift["words"])


def _quality_totals(work: Workspace) -> pl.DataFrame:
    return merged(work.get(name, part) for part in work.parts for name in ("row_count", "specimen_count"))


def _drift(connection: DuckDBPyConnection, settings: RunSettings, measures: pl.DataFrame, run_id: str) -> pl.DataFrame:
    policy = load_policy(settings.policy)
    before = read_table(connection, _LAST_MEASURES, {"as_of": settings.as_of, "runs": policy.drift.runs})
    return quality_drift(measures, before, run_id, policy)


def _drift_in_words(settings: RunSettings, work: Workspace) -> list[str]:
    """What drifted in a run that will not be published."""
    if not settings.store.exists():
        return []
    run_id = work.noted("run_id")
    with reading(settings.store) as connection:
        drift = _drift(connection, settings, quality_measures(_quality_totals(work), run_id), run_id)
    return drift["words"].to_list()


#: Findings in the message of a refused run.
_MOST_NAMED: Final = 3
#: What the laboratories sent in the last runs of earlier nights; of several runs for one night the latest.
_LAST_MEASURES: Final = (
    "SELECT * FROM quality_measure WHERE source_file IS NULL AND run_id IN (SELECT run_id FROM (SELECT run_id, as_of "
    "FROM run WHERE as_of < $as_of QUALIFY row_number() OVER "
    "(PARTITION BY as_of ORDER BY started_at DESC, run_id DESC) = 1) ORDER BY as_of DESC LIMIT $runs)"
)


def _silence(connection: DuckDBPyConnection, settings: RunSettings, account: Account, work: Workspace) -> pl.DataFrame:
    """What did not come in tonight; the days on which each laboratory collected are kept for the next night."""
    known = read_table(connection, "SELECT * FROM laboratory_day")
    if not known.height:  # the store is new, or was brought up from a version without the table
        known = read_table(connection, _LABORATORY_DAYS, {"as_of": settings.as_of})
    results = pl.concat(work.get("new_lab_result", part).select("lab", "collected_at") for part in work.parts)
    days = laboratory_days(results, known, settings.as_of)
    connection.execute("DELETE FROM laboratory_day")
    insert(connection, "laboratory_day", days)
    tonight = pl.lit(settings.as_of).cast(pl.Datetime("us"))
    extracts = read_table(connection, _EXTRACTS, {"as_of": settings.as_of}).with_columns(at=pl.coalesce("at", tonight))
    return silence_warnings(
        usable_rows=account.accepted + account.duplicate,
        new_rows=account.accepted,
        days=days,
        extracts=extracts,
        as_of=settings.as_of,
        rule=load_policy(settings.policy).silence,
    )


_LABORATORY_DAYS: Final = (
    "SELECT lab, CAST(collected_at AS DATE) AS day, max(collected_at) AS newest_at FROM lab_result "
    "WHERE collected_at <= $as_of GROUP BY ALL"
)
#: The runs up to now that brought each kind of data; tonight's run has no row of its own yet.
_EXTRACTS: Final = (
    'SELECT DISTINCT kind, as_of AS "at" FROM source_file LEFT JOIN run USING (run_id) '
    'WHERE "rows" > 0 AND coalesce(as_of <= $as_of, true)'
)


def _reported(settings: RunSettings, run_id: str) -> Path | None:
    """Write the reports, where they are asked for: the run is published by now, whatever becomes of its page."""
    if settings.reports is None:
        return None
    try:
        return write_reports(settings.store, settings.reports, run_id, byte_order_mark=settings.csv_bom)
    except NeutroScreenError:
        raise
    except Exception as error:
        raise PublishError(
            f"the results are in the store, but their report could not be made ({type(error).__name__})",
            where=str(settings.reports),
            remedy="`neutro-screen report` makes it again; with --debug where patient data may be shown.",
        ) from error


#: The worklist of the latest run of an earlier night: a run repeated for the same night changes nothing.
_PREVIOUS_WORKLIST: Final = (
    "SELECT * FROM worklist_row WHERE run_id = "
    "(SELECT run_id FROM run WHERE as_of < $as_of ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1)"
)
_SHOWN_TONIGHT: Final = (
    "(SELECT episode_id FROM worklist_row JOIN run USING (run_id) WHERE as_of = $as_of AND change <> 'resolved')"
)
#: Episodes of the patients now screened that were published as resolved, save those first shown by another run for the
#: same night.
_SEEN_EPISODES: Final = (
    "SELECT episode_id FROM episode SEMI JOIN screened USING (patient_id) "
    f"WHERE ended_at IS NOT NULL AND NOT coalesce(episode_id IN {_SHOWN_TONIGHT}, false)"
)
#: All that can be on tonight's worklist. A resolved episode of a patient not screened now was shown on an earlier night.
_CASES: Final = (
    "SELECT * FROM episode WHERE priority IS NOT NULL AND (ended_at IS NULL OR patient_id IN "
    f"(SELECT patient_id FROM screened) OR coalesce(episode_id IN {_SHOWN_TONIGHT}, false))"
)
_STANDING_DECLINES: Final = (
    "SELECT f.* FROM flag f JOIN patient_summary s ON s.patient_id = f.patient_id AND s.last_collected_at = f.raised_at "
    "WHERE f.rule_id LIKE 'RPD-%' AND f.episode_id IS NULL"
)


def _worklist(
    connection: DuckDBPyConnection,
    screened: pl.DataFrame,
    previous: pl.DataFrame,
    seen: pl.DataFrame,
    as_of: datetime,
    run_id: str,
) -> pl.DataFrame:
    """The worklist of this run. Only what can be on it is read, so that it costs the same after many years."""
    with registered(connection, "screened", screened):
        episodes = read_table(connection, _CASES, {"as_of": as_of})
    declines = read_table(connection, _STANDING_DECLINES)
    wanted = _patients_of([episodes, declines, previous])
    with registered(connection, "wanted", wanted):
        status = read_table(connection, "SELECT * FROM patient_summary SEMI JOIN wanted USING (patient_id)").lazy()
    cases = open_cases(episodes.lazy(), declines.lazy(), status, seen.lazy())
    return worklist_rows(cases, status, previous.lazy(), run_id).collect()


_FIRST_RAISED: Final = (
    "SELECT patient_id, specimen_id, episode_id, rule_id, min(run_id) AS first_run FROM flag "
    "SEMI JOIN screened USING (patient_id) GROUP BY patient_id, specimen_id, episode_id, rule_id"
)


def _counted(work: Workspace, name: str = "counted") -> dict[str, int]:
    """Laboratory rows by disposition, all parts together; a line that is no row counts as refused."""
    total = Counter[str](rejected=work.noted("broken_labs"))
    for part in work.parts:
        total.update(work.noted(name, part))
    return dict(total)


def _refuted(results: pl.DataFrame, contradicted: pl.DataFrame, how: JoinStrategy = "inner") -> pl.DataFrame:
    keyed = results.with_columns(is_manual=pl.col("method") == "manual")
    return keyed.join(contradicted, on=["patient_id", "specimen_id", "analyte", "is_manual"], how=how).drop("is_manual")


def publish_part(connection: DuckDBPyConnection, work: Workspace, part: int, raised: pl.DataFrame) -> None:
    """Store the new rows of a part, and its conclusions in the place of the earlier ones of its patients.

    ``raised`` (patient_id, specimen_id, episode_id, rule_id, first_run) are the flags that stood before.
    """
    touched, refuted, run_id = work.get("touched", part), work.get("refuted", part), work.noted("run_id")
    with registered(connection, "screened", touched):
        before = read_table(connection, "SELECT * FROM contradicted_result SEMI JOIN screened USING (patient_id)")
    delete_patients(connection, (*SCREENED, "contradicted_result"), touched)
    delete_patients(connection, ("rejected_row",), touched, "scope = 'specimen'")
    for table in ("no_result", "rejected_row", *CHART):
        insert(connection, table, work.get(f"new_{table}", part))
    delete_rows(connection, "lab_result", refuted.select(_PLACE))
    insert(connection, "lab_result", before.join(refuted, on=_PLACE, how="anti"))
    insert(connection, "lab_result", work.get("new_lab_result", part))
    insert(connection, "contradicted_result", refuted)
    as_read = [column for column in refuted.columns if column not in ("reason", *_PLACE)]
    refusals = refuted.with_columns(
        column=pl.lit("value"),
        kind=pl.lit("lab"),
        scope=pl.lit("specimen"),
        row=pl.struct(as_read).struct.json_encode(),
    )
    insert(connection, "rejected_row", refusals)
    flags = _first_raised(work.get("flag", part), raised, run_id)
    for table in SCREENED:
        insert(connection, table, flags if table == "flag" else work.get(table, part))
    withdrawn = raised.join(flags, on=_FLAG_KEY, how="anti", nulls_equal=True).rename({"first_run": "run_id"})
    insert(connection, "withdrawn_flag", withdrawn.with_columns(withdrawn_by=pl.lit(run_id)).sort(*_FLAG_KEY))


_FLAG_KEY: Final = ("patient_id", "specimen_id", "episode_id", "rule_id")


def publish_merges(connection: DuckDBPyConnection, work: Workspace) -> None:
    """Say which records were merged; merges that lead around a circle count for nothing and go to quarantine."""
    connection.execute("DELETE FROM patient_merge")
    connection.execute("DELETE FROM rejected_row WHERE scope = 'merge'")
    insert(connection, "patient_merge", work.get("statement").join(work.survivors, on="patient_id"))
    refused = work.get("cyclic_merge").with_columns(
        kind=pl.lit("patient"),
        scope=pl.lit("merge"),
        reason=pl.lit("merge_in_a_circle"),
        column=pl.lit("replaced_by"),
        row=pl.struct("patient_id", "replaced_by").struct.json_encode(),
    )
    insert(connection, "rejected_row", refused.drop("replaced_by"))


def _previous_by_survivor(previous: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    """The worklist of the run before as it would have been with tonight's merges: the most urgent row of each person."""
    return (
        with_survivor(previous, survivors)
        .sort(pl.col("change") == "resolved", "priority", "patient_id", descending=[False, True, False])
        .unique("patient_id", keep="first", maintain_order=True)
    )


def _under_survivor(episodes: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    """The ids that the episodes of merged-away records have now: an id is the patient's, a slash and the start."""
    away = episodes.with_columns(patient_id=pl.col("episode_id").str.replace(r"/[^/]*$", "")).join(
        survivors, on="patient_id"
    )
    start = pl.col("episode_id").str.extract(r"(/[^/]*)$")
    return away.select(episode_id=pl.concat_str("survivor_id", start))


def _first_raised(flags: pl.DataFrame, raised: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Flags with the run that first raised them."""
    return flags.join(raised, on=_FLAG_KEY, how="left", nulls_equal=True, maintain_order="left").with_columns(
        run_id=pl.coalesce("first_run", pl.lit(run_id))
    )


def _run_id(as_of: datetime, taken: Sequence[str]) -> str:
    name = as_of.strftime("%Y-%m-%dT%H:%M:%SZ")
    repeats = sum(run_id == name or run_id.startswith(f"{name}-") for run_id in taken)
    return f"{name}-{repeats + 1}" if repeats else name


def _program(settings: RunSettings) -> tuple[str, str]:
    return load_policy(settings.policy).sha256, __version__


def _why_everybody(
    settings: RunSettings, before: tuple[str, str, str, int | None] | None, new_kinds: frozenset[str]
) -> str | None:
    """Why every patient is screened again, in words; None = only those with something new."""
    policy, version = _program(settings)
    if settings.rescreen_all:
        return "asked for"
    if before is None or before[0] != policy:
        return "the policy changed: flags may differ without any new result"
    if before[1] != version:
        return f"the program changed from {before[1]} to {version}"
    if before[3] != SCHEMA_VERSION:
        return "the store was brought up to a new version: its new columns are filled"
    if new_kinds:
        return f"data of a new kind: {', '.join(sorted(new_kinds))}"
    return None


def _check_clock(connection: DuckDBPyConnection, settings: RunSettings) -> None:
    """Never publish the past over the present: what is shown would be older than what is known."""
    latest = first_row(connection, "SELECT max(as_of) FROM run")
    if latest and latest[0] is not None and latest[0] > settings.as_of:
        raise StoreError(
            f"holds a later run (as of {_iso(latest[0])} UTC) than the one asked for ({_iso(settings.as_of)} UTC)",
            where=settings.store.name,
            remedy="Set the clock or --as-of right; `neutro-screen rebuild` makes a past night in a file of its own.",
        )


def _check_key(connection: DuckDBPyConnection, settings: RunSettings) -> None:
    """Never mix pseudonyms of two keys, or pseudonyms and identifiers: one patient would become two."""
    row = first_row(connection, f"SELECT pseudonym_key FROM run WHERE run_id = ({LATEST_RUN})")
    if row is None or row[0] == _fingerprint(settings):
        return
    if settings.pseudonymise is None:
        raise StoreError("holds pseudonyms", where=settings.store.name, remedy="Name their key with --pseudonymise.")
    held = "identifiers" if row[0] is None else "pseudonyms of another key"
    raise StoreError(
        f"holds {held}",
        where=settings.store.name,
        remedy="A key is chosen with the first run: use that one, or a new store.",
    )


def _fingerprint(settings: RunSettings) -> str | None:
    pseudonyms = load_pseudonyms(settings.pseudonymise)
    return pseudonyms.fingerprint if pseudonyms else None


def _latest_program(connection: DuckDBPyConnection) -> tuple[str, str, str, int | None] | None:
    """Policy, version, kinds of data and schema version (null before schema 2) of the latest run."""
    row = first_row(
        connection,
        f"SELECT policy_sha256, software_version, data_kinds, schema_version FROM run WHERE run_id = ({LATEST_RUN})",
    )
    return (row[0], row[1], row[2], row[3]) if row else None


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


def _check_share(account: Account, settings: RunSettings, work: Workspace) -> None:
    """A laboratory that changed its units overnight can fail a whole run: the message names it."""
    screened = account.rows_in - account.not_screened
    if screened and account.rejected / screened > settings.max_rejected:
        raise RefusedInputError(
            f"{account.rejected} of {screened} screened laboratory rows would be refused "
            f"({account.rejected / screened:.0%}; at most {settings.max_rejected:.0%} allowed)",
            remedy="".join(f"{words}. " for words in _drift_in_words(settings, work)[:_MOST_NAMED])
            + "`neutro-screen check` lists the reasons. Nothing was published.",
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


def _broken_lines(portion: readers.Portion) -> pl.DataFrame:
    """Lines that could not be split into columns, as ``RejectedRow``."""
    lines = [
        {"kind": portion.kind, "reason": line.reason, "row": json.dumps({"line": line.row}), "scope": "row",
         "source_file": line.source_file, "source_row": line.source_row}
        for line in portion.refused
    ]  # fmt: skip
    return pl.DataFrame(lines, schema=dtypes(RejectedRow))


def _unmatched_drugs(medications: pl.DataFrame) -> list[dict[str, Any]]:
    """Drug names that no table knows, with the number of lines: what the suspects cannot have been chosen from."""
    unmatched = unmatched_names(matched_medications(medications)).collect()
    return [
        {"source_file": "medications", "lab": None, "analyte": row["drug_name"], "disposition": "unmatched_drug",
         "reason": "name not in the drug tables", "rows": row["n_lines"]}
        for row in unmatched.iter_rows(named=True)
    ]  # fmt: skip


def _quality_rows(work: Workspace, counts: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Laboratory rows by what became of them, and the drug names that no table knows (``QualityCount``)."""
    names = [row for part in work.parts for row in work.noted("unmatched_drugs", part)]
    drugs = pl.DataFrame(names, schema=dtypes(QualityCount)).with_columns(run_id=pl.lit(run_id))
    keys = [name for name in drugs.columns if name != "rows"]
    return pl.concat(
        [
            quality_counts(counts, run_id),
            drugs.group_by(keys).agg(pl.col("rows").sum()).select(drugs.columns).sort(keys),
        ]
    )


def _file_rows(files: list[dict[str, Any]], run_id: str) -> pl.DataFrame:
    rows = [file | {"run_id": run_id, "notes": ", ".join(file["notes"]) or None} for file in files]
    text: dict[str, pl.DataType] = {"first_collected_at": pl.String(), "last_collected_at": pl.String()}
    return pl.DataFrame(rows, schema=dtypes(SourceFileTable) | text).with_columns(
        pl.col("first_collected_at", "last_collected_at").str.to_datetime(time_unit="us")
    )


def _counts(work: Workspace, worklist: pl.DataFrame) -> dict[str, Any]:
    """Counts for the summary: low results of the touched patients by severity, open rows by priority, changes."""
    open_rows = worklist.filter(pl.col("change") != "resolved")
    severities = pl.concat(work.get("anc", part).select("severity") for part in work.parts)

    def by(frame: pl.DataFrame, column: str, names: Sequence[str]) -> dict[str, int]:
        found = dict(frame.group_by(pl.col(column).cast(pl.String)).len().iter_rows())
        return {name: found.get(name, 0) for name in names}

    return {
        "flags": by(severities, "severity", SEVERITIES[:0:-1]),
        "priorities": by(open_rows, "priority", PRIORITIES[::-1]),
        "changes": by(worklist, "change", ("new", "escalated", "unchanged", "improved", "resolved")),
    }


def _run_row(
    settings: RunSettings, work: Workspace, account: Account, counts: dict[str, Any], touched: int, newest: str | None
) -> pl.DataFrame:
    policy = load_policy(settings.policy)
    row = {
        "run_id": work.noted("run_id"), "started_at": now(), "as_of": settings.as_of, "policy_version": policy.version,
        "policy_sha256": policy.sha256, "policy_values": policy.model_dump_json(), "pseudonym_key": _fingerprint(settings), "software_version": __version__,
        **{f"rows_{name.removeprefix('rows_')}": value for name, value in asdict(account).items()},
        "schema_version": SCHEMA_VERSION, "patients_touched": touched, "data_kinds": ",".join(work.noted("data_kinds")), "counts": json.dumps(counts, sort_keys=True), "newest_result_at": datetime.fromisoformat(newest) if newest else None,
        "status": "done",
    }  # fmt: skip
    return pl.DataFrame([row], schema=dtypes(RunTable))


def _iso(moment: Any) -> str | None:
    return moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else None

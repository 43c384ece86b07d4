"""The publish step: new rows and conclusions go into the store at once, and once only.

Nothing is published if a row is lost or too many are refused; whatever fails before the end leaves the store as it was.
A run that is in the store already is not published again, however often the step is taken.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.errors import StoreError
from neutro_screen.pipeline.data_quality import check_share, publish_quality, tonights_measures
from neutro_screen.pipeline.decisions import publish_decisions
from neutro_screen.pipeline.drug_matches import publish_drug_matches
from neutro_screen.pipeline.handover import Ingested, Outcome, Plan, PublishedRun, Rows, Screened, frame_of
from neutro_screen.pipeline.known_files import reading_fingerprint
from neutro_screen.pipeline.options import RunOptions, iso
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.recognised import check_recognised, input_warnings, publish_recognition, recognised
from neutro_screen.pipeline.reconciliation import check_held, remember_held, removed_results
from neutro_screen.pipeline.rows import CHART, IDENTITY, PLACE
from neutro_screen.pipeline.summary import (
    Account,
    RunSummary,
    chart_accounts,
    counted_rows,
    deliveries,
    file_rows,
    page_settings,
    run_counts,
    run_row,
)
from neutro_screen.pipeline.timeliness import publish_warnings
from neutro_screen.pipeline.worklist import Published, last_shown, publish_worklist, seen_episodes, shown_before
from neutro_screen.prefetch import ahead
from neutro_screen.reference import load_policy
from neutro_screen.store.audit import audit
from neutro_screen.store.file import holds_run, publishing
from neutro_screen.store.rows import delete_patients, delete_rows, insert, is_of, parquet_rows, read_table, registered
from neutro_screen.store.schema import SCREENED


def publish_step(settings: RunOptions, work: Workspace, stages: Sequence[Callable[[int], None]] = ()) -> RunSummary:
    """Put the new rows and the conclusions into the store in one step; the reports come after (``report_step``).

    ``stages`` take the steps before for a part, each while the next takes the part before it, and the last while that
    before is stored: so its rows never wait on disk.
    Taken again after it had put the run into the store (its end was not seen: a full disk, a lost worker), it changes
    nothing and returns the summary of the first time.

    Raises:
        PublishError: a row is lost or counted twice, or the store cannot be written.
        RefusedInputError: more than ``max_rejected`` of the screened rows are refused.
    """
    ingested, plan = work.kept(Ingested), work.kept(Plan)
    if done := published_summary(settings, work):
        return done
    with publishing(settings.store, settings.store_memory) as connection:
        held = remember_held(connection)
        undecided = publish_decisions(connection, settings)
        worklist, removed = _publish_patients(connection, settings, work, stages)
        outcomes = [work.kept(Outcome, part) for part in work.parts]
        check_held(connection, held, pl.concat(outcome.arrived for outcome in outcomes), removed)
        settled = counted_rows(ingested.broken_labs, (outcome.settled for outcome in outcomes))
        account = Account(rows_in=plan.rows_in, **settled)
        account.check()
        table = recognised(settings, ingested, [outcome.tests for outcome in outcomes])
        check_recognised(table, settings)
        check_share(account, settings, outcomes, plan.run_id)
        touched = sum(outcome.patients_touched for outcome in outcomes)
        newest = max(filter(None, (outcome.newest for outcome in outcomes)), default=None)
        counts = run_counts(connection, outcomes, worklist.counts)
        insert(connection, "source_file", file_rows(ingested.files, plan.run_id))
        measures = tonights_measures(outcomes, plan.run_id)
        silence = publish_warnings(connection, settings, account, ingested.files, outcomes, measures, plan.run_id)
        others = chart_accounts(ingested, [outcome.chart_counts for outcome in outcomes])
        refused = pl.concat([undecided, input_warnings(ingested.files, others)])
        found = publish_recognition(connection, table, refused, plan.run_id)
        warnings = pl.concat([found, silence])
        counts |= {"reading": reading_fingerprint(settings), "page": page_settings(settings)}
        row = run_row(settings, plan, account, counts, touched, newest, worklist.carries_since)
        insert(connection, "run", row)
        insert(connection, "run_delivery", deliveries(settings, plan.run_id))
        rows = {name: getattr(account, name) for name in ("rows_in", "accepted", "rejected")}
        audit(connection, at=row["started_at"][0], action="run", by=None, counts=rows | {"patients": touched})
        drift = publish_quality(connection, settings, outcomes, measures, plan.run_id)
        summary = RunSummary(
            run_id=plan.run_id,
            account=account,
            patients_touched=touched,
            flags=counts["flags"],
            priorities=counts["priorities"],
            changes=counts["changes"],
            cannot_assess=counts["cannot_assess"],
            newest_result_at=newest,
            report=None,
            recovered=counts["recovered"],
            everybody_because=plan.everybody_because,
            drift=drift,
            known_files=sum(file["known_rows"] is not None for file in ingested.files),
            known_rows=sum(file["known_rows"] or 0 for file in ingested.files),
            others=others,
            warnings=tuple(row | {"since": iso(row["since"])} for row in warnings.to_dicts()),
        )
        # Kept before the end of the transaction: a run in the store always has its summary.
        work.keep(PublishedRun(summary.as_dict()))
    return summary


def published_summary(settings: RunOptions, work: Workspace) -> RunSummary | None:
    """The summary of this run if the store holds it; None where it is not published, or the store cannot be read."""
    try:
        summary = work.kept(PublishedRun).summary
        is_published = holds_run(settings.store, work.kept(Plan).run_id)
    except (LookupError, OSError, ValueError, StoreError):  # the run did not come that far
        return None
    return RunSummary.of(summary) if is_published else None


def _publish_patients(
    connection: DuckDBPyConnection, settings: RunOptions, work: Workspace, stages: Sequence[Callable[[int], None]]
) -> tuple[Published, pl.DataFrame]:
    """Store every partition, the merged records and the drugs named, then the worklist.

    Returns the worklist and the results removed on the way (``reconciliation.HELD``).
    """
    plan, screened, removed = work.kept(Plan), list[pl.DataFrame](), list[pl.DataFrame]()
    last, seen = last_shown(connection, settings.as_of), list[pl.DataFrame]()
    for part in _prepared(work.parts, stages):
        concluded, touched = work.kept(Screened, part), work.kept(Outcome, part).touched
        with registered(connection, "screened", touched):
            raised = read_table(connection, _FIRST_RAISED)
            seen.append(seen_episodes(connection, last))
        removed.append(publish_part(connection, touched, concluded, raised, plan.run_id))
        screened.append(touched)
        work.drop(part, Screened)
        work.hand_over(part, Outcome)
    publish_merges(connection, plan)
    publish_drug_matches(connection, plan.drugs)
    tonight = pl.concat(screened)
    shown = shown_before(connection, last, tonight, pl.concat(seen), plan.survivors)
    policy = load_policy(settings.policy)
    worklist = publish_worklist(connection, tonight, shown, policy, settings.as_of, plan.run_id)
    return worklist, pl.concat(removed)


def _prepared(parts: Iterable[int], stages: Sequence[Callable[[int], None]]) -> Iterator[int]:
    """The parts, each after it has passed the stages."""
    for stage in stages:
        parts = ahead(_passed(parts, stage))
    yield from parts


def _passed(parts: Iterable[int], stage: Callable[[int], None]) -> Iterator[int]:
    for part in parts:
        stage(part)
        yield part


def publish_part(
    connection: DuckDBPyConnection, touched: pl.DataFrame, concluded: Screened, raised: pl.DataFrame, run_id: str
) -> pl.DataFrame:
    """Store the new rows of a partition, and its conclusions in the place of the earlier ones of its ``touched`` patients.

    ``raised`` (patient_id, specimen_id, episode_id, rule_id, first_run) are the flags that stood before. Returns the
    results that DuckDB has removed (``reconciliation.HELD``).
    """
    contradicted = concluded.contradicted
    with registered(connection, "screened", touched):
        before = read_table(connection, _CONTRADICTED)
    delete_patients(connection, (*SCREENED, "contradicted_result"), touched)
    delete_patients(connection, ("rejected_row",), touched, "scope = 'specimen'")
    for table in ("no_result", "rejected_row", "request", *CHART):
        _store(connection, table, concluded.new[table])
    removed = removed_results(delete_rows(connection, "lab_result", contradicted.select(IDENTITY)))
    insert(connection, "lab_result", before.join(contradicted, on=IDENTITY, how="anti", nulls_equal=True))
    _store(connection, "lab_result", concluded.new["lab_result"])
    insert(connection, "contradicted_result", contradicted)
    as_read = [column for column in contradicted.columns if column not in ("reason", *PLACE)]
    rejections = contradicted.with_columns(
        column=pl.lit("value"),
        kind=pl.lit("lab"),
        scope=pl.lit("specimen"),
        row=pl.struct(as_read).struct.json_encode(),
    )
    insert(connection, "rejected_row", rejections)
    flags = _first_raised(frame_of(concluded.tables["flag"]), raised, run_id)
    for table in SCREENED:
        _store(connection, table, flags if table == "flag" else concluded.tables[table])
    withdrawn = raised.join(flags, on=_FLAG_KEY, how="anti", nulls_equal=True).rename({"first_run": "run_id"})
    insert(connection, "withdrawn_flag", withdrawn.with_columns(withdrawn_by=pl.lit(run_id)).sort(*_FLAG_KEY))
    return removed


def _store(connection: DuckDBPyConnection, table: str, rows: Rows) -> None:
    """Append rows; those that wait in a file are read by DuckDB itself, a few at a time."""
    if isinstance(rows, pl.DataFrame):
        insert(connection, table, rows)
        return
    with parquet_rows(connection, rows) as relation:
        insert(connection, table, relation)


#: The flags that stand of the patients now screened, with the run that first raised each.
_FIRST_RAISED: Final = (
    "SELECT patient_id, specimen_id, episode_id, rule_id, min(run_id) AS first_run FROM flag "
    f"WHERE {is_of('screened', 'flag')} GROUP BY patient_id, specimen_id, episode_id, rule_id"
)
_CONTRADICTED: Final = f"SELECT * FROM contradicted_result WHERE {is_of('screened', 'contradicted_result')}"
_FLAG_KEY: Final = ("patient_id", "specimen_id", "episode_id", "rule_id")


def _first_raised(flags: pl.DataFrame, raised: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Flags with the run that first raised them."""
    return flags.join(raised, on=_FLAG_KEY, how="left", nulls_equal=True, maintain_order="left").with_columns(
        run_id=pl.coalesce("first_run", pl.lit(run_id))
    )


def publish_merges(connection: DuckDBPyConnection, plan: Plan) -> None:
    """Say which records were merged; merges that lead around a circle count for nothing and go to quarantine."""
    connection.execute("DELETE FROM patient_merge")
    connection.execute("DELETE FROM rejected_row WHERE scope = 'merge'")
    insert(connection, "patient_merge", plan.statements.join(plan.survivors, on="patient_id"))
    rejected = plan.cyclic_merges.with_columns(
        kind=pl.lit("patient"),
        scope=pl.lit("merge"),
        reason=pl.lit("merge_in_a_circle"),
        column=pl.lit("replaced_by"),
        row=pl.struct("patient_id", "replaced_by").struct.json_encode(),
    )
    insert(connection, "rejected_row", rejected.drop("replaced_by"))

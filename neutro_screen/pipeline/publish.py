"""The publish step: new rows and conclusions go into the store at once, and once only.

Nothing is published if a row is lost or too many are refused; whatever fails before the end leaves the store as it was.
A run that is in the store already is not published again, however often the step is taken.
"""

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.pipeline.data_quality import check_share, publish_quality
from neutro_screen.pipeline.drug_matches import publish_drug_matches
from neutro_screen.pipeline.known_files import reading_fingerprint
from neutro_screen.pipeline.options import RunOptions, iso
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.prefetch import ahead
from neutro_screen.pipeline.reconciliation import check_held, remember_held
from neutro_screen.pipeline.rows import CHART, IDENTITY, PLACE
from neutro_screen.pipeline.summary import Account, RunSummary, counted_rows, file_rows, run_counts, run_row
from neutro_screen.pipeline.timeliness import publish_warnings
from neutro_screen.pipeline.worklist import previous_worklist, publish_worklist, seen_episodes, shown_before
from neutro_screen.store.file import (
    SCREENED,
    audit,
    delete_patients,
    delete_rows,
    holds_run,
    insert,
    publishing,
    read_table,
    registered,
)


def publish_step(
    settings: RunOptions, work: Workspace, prepare: Callable[[int], None] = lambda part: None
) -> RunSummary:
    """Put the new rows and the conclusions into the store in one step; the reports come after (``report_step``).

    ``prepare`` takes the steps before for a part, while the part before it is stored: so its rows never wait on disk.
    Taken again after it had put the run into the store (its end was not seen: a full disk, a lost worker), it changes
    nothing and returns the summary of the first time.

    Raises:
        PublishError: a row is lost or counted twice, or the store cannot be written.
        RefusedInputError: more than ``max_rejected`` of the screened rows are refused.
    """
    run_id = work.noted("run_id")
    if holds_run(settings.store, run_id):
        return RunSummary.of(work.noted("summary"))
    with publishing(settings.store, settings.memory // 2) as connection:
        remember_held(connection)
        worklist = _publish_patients(connection, settings, work, prepare)
        check_held(connection, pl.concat(work.get("arrived", part) for part in work.parts))
        account = Account(rows_in=work.noted("rows_in"), **counted_rows(work, "settled"))
        account.check()
        check_share(account, settings, work)
        touched = sum(work.noted("patients_touched", part) for part in work.parts)
        newest = max(filter(None, (work.noted("newest", part) for part in work.parts)), default=None)
        counts = run_counts(connection, work, worklist)
        insert(connection, "source_file", file_rows(work.noted("files"), run_id))
        warnings = publish_warnings(connection, settings, account, work)
        counts |= {"reading": reading_fingerprint(settings)}
        told = run_row(settings, work, account, counts, touched, newest)
        insert(connection, "run", told)
        rows = {name: getattr(account, name) for name in ("rows_in", "accepted", "rejected")}
        audit(connection, at=told["started_at"][0], action="run", by=None, counts=rows | {"patients": touched})
        drift = publish_quality(connection, settings, work)
        summary = RunSummary(
            run_id=run_id,
            account=account,
            patients_touched=touched,
            flags=counts["flags"],
            priorities=counts["priorities"],
            changes=counts["changes"],
            cannot_assess=counts["cannot_assess"],
            newest_result_at=newest,
            report=None,
            everybody_because=work.noted("everybody_because"),
            drift=drift,
            known_files=sum(file["known_rows"] is not None for file in work.noted("files")),
            known_rows=sum(file["known_rows"] or 0 for file in work.noted("files")),
            warnings=tuple(row | {"since": iso(row["since"])} for row in warnings.to_dicts()),
        )
        # Kept before the end of the transaction: a run in the store always has its summary.
        work.note("summary", summary.as_dict())
    return summary


def _publish_patients(
    connection: DuckDBPyConnection, settings: RunOptions, work: Workspace, prepare: Callable[[int], None]
) -> pl.DataFrame:
    """Store every part, the merged records and the drugs named, then the worklist (``WorklistRow``), which is returned."""
    previous, seen = previous_worklist(connection, settings.as_of), []
    for part in ahead(_prepared(work, prepare)):
        with registered(connection, "screened", work.get("touched", part)):
            raised = read_table(connection, _FIRST_RAISED)
            seen.append(seen_episodes(connection, settings.as_of))
        publish_part(connection, work, part, raised)
        work.settle(part, _AFTERWARDS)
    publish_merges(connection, work)
    publish_drug_matches(connection)
    screened = pl.concat(work.get("touched", part) for part in work.parts)
    shown = shown_before(previous, pl.concat(seen), work.survivors)
    return publish_worklist(connection, screened, shown, settings.as_of, work.noted("run_id"))


def _prepared(work: Workspace, prepare: Callable[[int], None]) -> Iterator[int]:
    for part in work.parts:
        prepare(part)
        yield part


#: What is asked of a part when it is in the store.
_AFTERWARDS: Final = ("touched", "arrived", "row_count", "specimen_count", "collected_day")


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
    delete_rows(connection, "lab_result", refuted.select(IDENTITY))
    insert(connection, "lab_result", before.join(refuted, on=IDENTITY, how="anti", nulls_equal=True))
    insert(connection, "lab_result", work.get("new_lab_result", part))
    insert(connection, "contradicted_result", refuted)
    as_read = [column for column in refuted.columns if column not in ("reason", *PLACE)]
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


#: The flags that stand of the patients now screened, with the run that first raised each.
_FIRST_RAISED: Final = (
    "SELECT patient_id, specimen_id, episode_id, rule_id, min(run_id) AS first_run FROM flag "
    "SEMI JOIN screened USING (patient_id) GROUP BY patient_id, specimen_id, episode_id, rule_id"
)
_FLAG_KEY: Final = ("patient_id", "specimen_id", "episode_id", "rule_id")


def _first_raised(flags: pl.DataFrame, raised: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Flags with the run that first raised them."""
    return flags.join(raised, on=_FLAG_KEY, how="left", nulls_equal=True, maintain_order="left").with_columns(
        run_id=pl.coalesce("first_run", pl.lit(run_id))
    )


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

"""The survey step: a look at the store as a whole before anything is judged.

It says who is screened again besides those with new rows, which records are one person, and in how many parts the run
goes on. It refuses to publish the past over the present and to mix pseudonyms of two keys.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import Patient
from neutro_screen import __version__
from neutro_screen.errors import StoreError
from neutro_screen.pipeline.drug_matches import with_stored_lines
from neutro_screen.pipeline.handover import Ingested, Plan
from neutro_screen.pipeline.merges import (
    NO_STATEMENTS,
    changed_records,
    crosswalk,
    new_statements,
    standing_statements,
    with_members,
)
from neutro_screen.pipeline.options import RunOptions, iso
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.pseudonyms import key_fingerprint
from neutro_screen.pipeline.retractions import add_retractions
from neutro_screen.pipeline.rows import distinct, of_run
from neutro_screen.reference import load_policy
from neutro_screen.store.file import reading
from neutro_screen.store.rows import first_row, read_table
from neutro_screen.store.schema import SCHEMA_VERSION
from neutro_screen.store.views import LATEST_RUN, MERGE_STATEMENTS
from neutro_screen.validate import split_valid


class _Found(NamedTuple):
    """What the store says before the run: who is ``recalled`` (patient_id) and, if that is everybody, why."""

    run_ids: Sequence[str] = ()
    data_kinds: frozenset[str] = frozenset()
    everybody_because: str | None = None
    recalled: pl.DataFrame = pl.DataFrame(schema={"patient_id": pl.String})
    #: laboratory rows that the recalled will bring, about
    stored_rows: int = 0
    merge_statements: pl.DataFrame = NO_STATEMENTS


def survey_step(settings: RunOptions, work: Workspace) -> dict[str, int]:
    """Look at the store as a whole: who has to be screened again, and in how many parts.

    Screened again are those with an episode that is not settled (what is said of it depends on the index time) and, after
    a change of policy or program, when a kind of data comes for the first time, or with ``rescreen_all``, everybody.

    Raises:
        StoreError: the store holds a later run, or identifiers under another key.
    """
    ingested, found = work.kept(Ingested), _Found()
    drugs = ingested.drugs
    kinds = frozenset(ingested.kinds)
    if settings.store.exists():
        with reading(settings.store, migrating=True) as connection:
            _check_clock(connection, settings)
            _check_key(connection, settings)
            found = _found_in(connection, settings, kinds)
            unknown = add_retractions(work, ingested.deletions, connection)
            drugs = with_stored_lines(drugs, connection)
    else:
        unknown = add_retractions(work, ingested.deletions)
    run_id = _run_id(settings.as_of, found.run_ids)
    before = found.merge_statements
    standing = standing_statements(before, _statements_tonight(work, before, run_id))
    was, holding = crosswalk(before).survivors, crosswalk(standing)
    plan = Plan(
        run_id=run_id,
        rows_in=ingested.rows_in - (ingested.deletions.height - unknown.height) + work.all_rows("retraction").height,
        data_kinds=sorted(kinds | found.data_kinds),
        everybody_because=found.everybody_because,
        statements_before=before,
        statements=standing,
        cyclic_merges=holding.cyclic,
        survivors=holding.survivors,
        unknown_deletions=unknown,
        drugs=drugs,
    )
    work.keep(plan)
    rows = plan.rows_in + found.stored_rows
    work.divide(rows, settings.rows_of_a_part(rows), plan.survivors)
    other_person = with_members(changed_records(was, plan.survivors), was, plan.survivors)
    work.add("recalled", pl.concat([found.recalled, other_person]).unique())
    return {"patients_recalled": found.recalled.height, "parts": len(work.parts)}


def _found_in(connection: DuckDBPyConnection, settings: RunOptions, kinds: frozenset[str]) -> _Found:
    before = _latest_program(connection)
    known_kinds = frozenset(filter(None, (before[2] or "").split(","))) if before else frozenset()
    # A kind of data that comes for the first time is no longer unknown, of anybody.
    because = _why_everybody(settings, before, kinds - known_kinds)
    recalled = read_table(connection, _EVERYBODY) if because else _unsettled(connection, settings)
    counted = first_row(connection, "SELECT (SELECT count(*) FROM lab_result), count(*) FROM patient_summary")
    return _Found(
        run_ids=[row[0] for row in connection.execute("SELECT run_id FROM run").fetchall()],
        data_kinds=known_kinds,
        everybody_because=because,
        recalled=recalled,
        stored_rows=counted[0] * recalled.height // counted[1] if counted and counted[1] else 0,
        merge_statements=read_table(connection, MERGE_STATEMENTS),
    )


def _why_everybody(
    settings: RunOptions, before: tuple[str, str, str | None, int | None] | None, new_kinds: frozenset[str]
) -> str | None:
    """Why every patient is screened again, in words; None = only those with something new."""
    if settings.rescreen_all:
        return "asked for"
    if before is None or before[0] != load_policy(settings.policy).sha256:
        return "the policy changed: flags may differ without any new result"
    if before[1] != __version__:
        return f"the program changed from {before[1]} to {__version__}"
    if before[3] != SCHEMA_VERSION:
        return "the store was brought up to a new version: its new columns are filled"
    if new_kinds:
        return f"data of a new kind: {', '.join(sorted(new_kinds))}"
    return None


def _latest_program(connection: DuckDBPyConnection) -> tuple[str, str, str | None, int | None] | None:
    """Policy, version, kinds of data (null in the first stores) and schema version (null before schema 2) of the latest run."""
    row = first_row(
        connection,
        f"SELECT policy_sha256, software_version, data_kinds, schema_version FROM run WHERE run_id = ({LATEST_RUN})",
    )
    return (row[0], row[1], row[2], row[3]) if row else None


_EVERYBODY: Final = "SELECT patient_id FROM patient_summary UNION SELECT patient_id FROM episode"


def _unsettled(connection: DuckDBPyConnection, settings: RunOptions) -> pl.DataFrame:
    """The patients (patient_id) whose episodes may look different tonight though nothing came in.

    Long after the last date of a chart every due date and window has run out. Measured from the run before, so that
    everybody is screened once more after that.
    """
    before = first_row(connection, "SELECT max(as_of) FROM run")
    if before is None or before[0] is None:
        return pl.DataFrame(schema={"patient_id": pl.String})
    settled = before[0] - timedelta(days=load_policy(settings.policy).worklist.settled_d)
    return read_table(connection, _UNSETTLED, {"settled": settled})


#: Patients with an episode, over or not, and something in their chart since: a count, a drug given or planned, an event;
#: and those with a likely or leading suspect that is still given, whose days PIT-1 counts, or on clozapine, whose next count
#: may be overdue. An episode that is over may still earn a flag by the passing of time alone (PIT-4: no viral test within 28
#: days). What is recent is sought first: it is little, however many patients the store has. Where nothing has a time, nobody
#: knows that it is long ago.
_UNSETTLED: Final = """
    WITH person AS NOT MATERIALIZED (
        SELECT patient_id FROM episode UNION ALL SELECT patient_id FROM clozapine_course
    ),
    chart AS NOT MATERIALIZED (
        SELECT patient_id, greatest(start_date_latest, end_date) AS "at" FROM medication
        UNION ALL SELECT patient_id, occurred_at FROM event
        UNION ALL SELECT patient_id, "date" FROM diagnosis
    ),
    happened AS NOT MATERIALIZED (
        SELECT patient_id, last_collected_at AS "at" FROM patient_summary
        UNION ALL SELECT patient_id, "at" FROM chart
        UNION ALL SELECT survivor_id, "at" FROM chart JOIN patient_merge USING (patient_id)
    )
    SELECT patient_id FROM drug_suspect WHERE category IN ('likely', 'possible') AND last_exposure IS NULL
    UNION SELECT patient_id FROM clozapine_course
    UNION SELECT patient_id FROM person WHERE patient_id IN (SELECT patient_id FROM happened WHERE "at" >= $settled)
    UNION SELECT patient_id FROM person WHERE patient_id IN (
        SELECT patient_id FROM happened
        WHERE patient_id IN (SELECT patient_id FROM happened WHERE "at" IS NULL)
        GROUP BY patient_id HAVING count("at") = 0
    )
"""


def _check_clock(connection: DuckDBPyConnection, settings: RunOptions) -> None:
    """Never publish the past over the present: what is shown would be older than what is known."""
    latest = first_row(connection, "SELECT max(as_of) FROM run")
    if latest and latest[0] is not None and latest[0] > settings.as_of:
        raise StoreError(
            f"holds a later run (as of {iso(latest[0])} UTC) than the one asked for ({iso(settings.as_of)} UTC)",
            where=settings.store.name,
            remedy="Set the clock or --as-of right; `neutro-screen rebuild` makes a past night in a file of its own.",
        )


def _check_key(connection: DuckDBPyConnection, settings: RunOptions) -> None:
    """Never mix pseudonyms of two keys, or pseudonyms and identifiers: one patient would become two."""
    row = first_row(connection, f"SELECT pseudonym_key FROM run WHERE run_id = ({LATEST_RUN})")
    if row is None or row[0] == key_fingerprint(settings.pseudonymise):
        return
    if settings.pseudonymise is None:
        raise StoreError("holds pseudonyms", where=settings.store.name, remedy="Name their key with --pseudonymise.")
    held = "identifiers" if row[0] is None else "pseudonyms of another key"
    raise StoreError(
        f"holds {held}",
        where=settings.store.name,
        remedy="A key is chosen with the first run: use that one, or a new store.",
    )


def _statements_tonight(work: Workspace, before: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """The merge statements of tonight's patient rows that say something new."""
    rows = work.all_rows("patient_row").filter(pl.col("replaced_by").is_not_null())
    tonight = distinct(split_valid(rows, Patient).accepted, "patient")
    return new_statements(of_run(tonight, run_id), before)


def _run_id(as_of: datetime, taken: Sequence[str]) -> str:
    name = as_of.strftime("%Y-%m-%dT%H:%M:%SZ")
    repeats = sum(run_id == name or run_id.startswith(f"{name}-") for run_id in taken)
    return f"{name}-{repeats + 1}" if repeats else name

"""The history step: what is new in a partition, and the full history of every patient it touches."""

from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.pipeline.handover import Histories, Judged, Plan
from neutro_screen.pipeline.merges import new_statements, with_members, with_survivor
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.reconciliation import arrivals
from neutro_screen.pipeline.rows import HISTORY, distinct, identity, of_run, patients_of
from neutro_screen.store.file import reading
from neutro_screen.store.rows import is_of, read_table


def history_step(settings: RunOptions, work: Workspace, part: int = 0) -> dict[str, int]:
    """Drop what the store already holds and fetch the full history of every patient of a partition that is touched.

    Touched are the patients with a new row of any kind and those that ``survey_step`` recalled.
    """
    plan, received = work.kept(Plan), work.kept(Judged, part).received
    tonight = {name: distinct(received[name], name) for name in HISTORY}
    recalled = work.rows("recalled", part)
    candidates = with_members(pl.concat([patients_of(tonight.values()), recalled]), plan.survivors)
    stored = {name: frame.clear().with_columns(run_id=pl.lit(None, pl.String)) for name, frame in tonight.items()}
    nameless = {name: frame for name, frame in stored.items() if tonight[name]["patient_id"].null_count()}
    if settings.store.exists():
        with reading(settings.store) as connection:
            connection.register("candidate", candidates)
            stored = {name: _of_candidates(connection, name) for name in HISTORY}
            contradicted = _of_candidates(connection, "contradicted_result")
            stored["lab_result"] = pl.concat([stored["lab_result"], contradicted])
            nameless = {name: read_table(connection, _NAMELESS_QUERY.format(table=name)) for name in nameless}
    new, complete = dict[str, pl.DataFrame](), dict[str, pl.DataFrame]()
    for name, frame in tonight.items():
        known = pl.concat([stored[name], nameless[name]]) if name in nameless else stored[name]
        added = of_run(_not_in(frame, known, identity(name)), plan.run_id)
        if name == "patient":  # a merge that was undone may be made again by a row that is known
            said = new_statements(of_run(frame, plan.run_id), plan.statements_before)
            added = pl.concat([added, said.join(added, on=added.columns, how="anti", nulls_equal=True)])
        new[name], complete[name] = added, pl.concat([stored[name].select(added.columns), added])
    touched = with_members(pl.concat([patients_of(new.values()), recalled]), plan.survivors)
    people = with_survivor(touched, plan.survivors).n_unique()
    work.keep(Histories(new, complete, touched, arrivals(new.items()), people), part)
    return {"patients_touched": people}


#: Refused rows and lines without a patient: nobody's history, and known all the same when they come again.
_NAMELESS_QUERY: Final = 'SELECT * FROM "{table}" WHERE patient_id IS NULL'


def _of_candidates(connection: DuckDBPyConnection, table: str) -> pl.DataFrame:
    return read_table(connection, f'SELECT * FROM "{table}" WHERE {is_of("candidate", table)}')


def _not_in(frame: pl.DataFrame, stored: pl.DataFrame, same: list[str]) -> pl.DataFrame:
    return frame.join(stored, on=same, how="anti", nulls_equal=True) if stored.height else frame

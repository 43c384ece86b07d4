"""Merged patient records: from merged records to their survivors, whatever the order in which the merges came in.

A row of the patients table with ``replaced_by`` says that a record was merged into another; with its own id there, that
it stands by itself (an earlier merge is undone). A row without says nothing. Stored rows keep the id they came with.
"""

from typing import NamedTuple

import polars as pl


class Crosswalk(NamedTuple):
    """``survivors``: patient_id, survivor_id of every merged-away record; ``cyclic``: the statements that contradict
    each other (columns as given), which count for nothing."""

    survivors: pl.DataFrame
    cyclic: pl.DataFrame


NO_STATEMENTS = pl.DataFrame(
    schema=dict.fromkeys(("patient_id", "replaced_by", "source_file"), pl.String)
    | {"source_row": pl.Int64, "run_id": pl.String}
)


def new_statements(patients: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The rows of tonight's ``patients`` (``Patient`` and run_id) whose statement differs from the ``standing`` one.

    The last one per record counts. A row that was received before may say something new again.
    """
    return (
        patients.filter(pl.col("replaced_by").is_not_null())
        .sort("source_file", "source_row", "replaced_by")
        .unique("patient_id", keep="last", maintain_order=True)
        .join(standing, on=["patient_id", "replaced_by"], how="anti", maintain_order="left")
    )


def standing_statements(before: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The statement that counts for each record: patient_id, replaced_by, source_file, source_row, run_id, sorted."""
    kept = before.join(new, on="patient_id", how="anti")
    return pl.concat([kept, new.select(before.columns)]).sort("patient_id")


def crosswalk(statements: pl.DataFrame) -> Crosswalk:
    """Resolve statements (patient_id, replaced_by; one per record) over any number of merges.

    Records that are merged into each other in a circle all stand by themselves.
    """
    merges = statements.filter(pl.col("replaced_by") != pl.col("patient_id"))
    cyclic = _circle(merges)
    chain = merges.join(cyclic, on="patient_id", how="anti").select("patient_id", survivor_id="replaced_by")
    while chain.join(chain, left_on="survivor_id", right_on="patient_id", how="semi").height:
        chain = _relabelled(chain, "survivor_id", chain)
    return Crosswalk(chain.sort("patient_id"), cyclic.sort("patient_id"))


def _circle(merges: pl.DataFrame) -> pl.DataFrame:
    """The merges that lead around a circle: what is left when chain ends are taken away from both sides, again and again."""
    before = None
    while merges.height != before:
        before = merges.height
        merges = merges.join(merges, left_on="replaced_by", right_on="patient_id", how="semi")
        merges = merges.join(merges, left_on="patient_id", right_on="replaced_by", how="semi")
    return merges


def survivors_said(patients: pl.DataFrame) -> pl.DataFrame:
    """patient_id, survivor_id of the records that these rows (``Patient``) merge, without anything heard before."""
    return crosswalk(new_statements(patients, NO_STATEMENTS)).survivors


def with_survivor(frame: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    """The frame with every merged-away ``patient_id`` replaced by the record that stands for it."""
    return _relabelled(frame, "patient_id", survivors) if survivors.height else frame


def with_members(patients: pl.DataFrame, *crosswalks: pl.DataFrame) -> pl.DataFrame:
    """These patients (patient_id) and every record that is or was one person with them, sorted."""
    known = patients.select("patient_id").unique()
    for survivors in crosswalks:
        people = with_survivor(known, survivors).unique()
        members = survivors.join(people, left_on="survivor_id", right_on="patient_id", how="semi")
        known = pl.concat([known, people, members.select("patient_id")]).unique()
    return known.sort("patient_id")


def changed_records(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The records (patient_id) whose survivor is another one than before."""
    both = before.join(after, on="patient_id", how="full", coalesce=True, suffix="_after")
    return both.filter(pl.col("survivor_id").ne_missing(pl.col("survivor_id_after"))).select("patient_id")


def with_own_records(frame: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    """The rows of each person (``patient_id``) once for every record of it: the opposite of ``with_survivor``."""
    away = survivors.select(_own="patient_id", patient_id="survivor_id")
    copies = frame.join(away, on="patient_id").with_columns(patient_id="_own").drop("_own")
    return pl.concat([frame, copies.select(frame.columns)])


def _relabelled(frame: pl.DataFrame, column: str, survivors: pl.DataFrame) -> pl.DataFrame:
    named = survivors.select("patient_id", _survivor="survivor_id")
    return (
        frame.join(named, left_on=column, right_on="patient_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("_survivor", column).alias(column))
        .drop("_survivor")
    )

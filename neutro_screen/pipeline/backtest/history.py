"""All that a store received, each row with the time from which it was known: what a replay shows to each past night."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, Literal

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_schemas import Medication
from neutro_screen.pipeline.drug_matches import with_stored_lines
from neutro_screen.pipeline.merges import crosswalk, with_survivor
from neutro_screen.pipeline.screen import unusable_results
from neutro_screen.rules.causes.findings import resolved_drugs
from neutro_screen.store.rows import read_table
from neutro_screen.store.schema import columns_of
from neutro_screen.store.views import LATEST_RUN, MERGE_STATEMENTS
from neutro_screen.validate import no_rows

#: When a row counts as received: at the laboratory's time of the result, or with the run that brought it.
Received = Literal["result", "run"]
_AT: Final = "received_at"


@dataclass(frozen=True)
class History:
    """Rows under the patients' present ids, each with ``received_at`` (UTC); columns as their models otherwise.

    ``unusable`` and ``others`` as ``rules.protocol.screen`` takes them.
    """

    lab_result: pl.DataFrame
    medication: pl.DataFrame
    patient: pl.DataFrame
    diagnosis: pl.DataFrame
    event: pl.DataFrame
    unusable: pl.DataFrame
    others: pl.DataFrame
    #: what the lines of the medication lists name (``rules.causes.findings.resolved_drugs``)
    drugs: pl.DataFrame
    data_kinds: frozenset[str]
    #: whether an end or a death that is recorded in advance is hidden until its day
    hides_future: bool

    def of_patients(self, patients: pl.DataFrame) -> "History":
        """The rows of these patients (patient_id)."""
        return self._each(lambda rows: rows.join(patients, on="patient_id", how="semi", maintain_order="left"))

    def known_at(self, night: datetime, patients: pl.DataFrame) -> "History":
        """What was known of these patients (patient_id) on a night, without the column ``received_at``."""
        known = self._each(
            lambda rows: (
                rows.filter(pl.col(_AT) <= night)
                .join(patients, on="patient_id", how="semi", maintain_order="left")
                .drop(_AT)
            )
        )
        if not self.hides_future:
            return known
        day = night.date()
        return replace(
            known,
            medication=known.medication.with_columns(_hidden_after("end_date", day)),
            patient=known.patient.with_columns(_hidden_after("death_date", day)),
        )

    def arrivals(self) -> pl.DataFrame:
        """Every time at which something of a patient became known: patient_id, received_at."""
        parts: list[pl.DataFrame] = [getattr(self, name).select("patient_id", _AT) for name in _TABLES]
        if self.hides_future:
            for rows, column in ((self.medication, "end_date"), (self.patient, "death_date")):
                ends = rows.drop_nulls(column)
                parts.append(ends.select("patient_id", pl.col(column).cast(pl.Datetime("us")).alias(_AT)))
        return pl.concat(parts).drop_nulls().unique()

    def _each(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> "History":
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in _TABLES}
        return replace(self, **changed)


_TABLES: Final = ("lab_result", "medication", "patient", "diagnosis", "event", "unusable", "others")


def _hidden_after(column: str, day: date) -> pl.Expr:
    return pl.when(pl.col(column) <= day).then(column)


def read_history(connection: DuckDBPyConnection, until: datetime, received: Received) -> History:
    """What an open store received up to a time.

    ``received="result"``: a laboratory row counts as received at ``resulted_at``, or ``collected_at`` where that is
    missing or later; refused rows and missing results at ``collected_at``; a drug on its first day, its end on its last
    day; a diagnosis on its date, or always where it has none; an event when it happened; a death on its date.
    ``received="run"``: every row with the run that brought it. The present merges of records hold on every night.
    """
    by_run = received == "run"
    merges = crosswalk(read_table(connection, MERGE_STATEMENTS)).survivors

    def rows(table: str, known_from: str, only: str = "TRUE") -> pl.DataFrame:
        at = "r.as_of" if by_run else known_from
        query = (
            f"SELECT t.*, {at} AS received_at FROM {table} t JOIN run r USING (run_id) WHERE {only} AND {at} <= $until"
        )
        return with_survivor(read_table(connection, query, {"until": until}), merges)

    listed = ", ".join(f'"{name}"' for name in columns_of("lab_result"))
    results = f"(SELECT {listed} FROM lab_result UNION ALL SELECT {listed} FROM contradicted_result)"
    refused = rows("rejected_row", _COLLECTED, "t.kind = 'lab' AND t.scope = 'row'")
    missing = rows("no_result", _COLLECTED)
    kinds = read_table(connection, f"SELECT data_kinds FROM run WHERE run_id = ({LATEST_RUN})")["data_kinds"]
    return History(
        lab_result=rows(results, _RESULTED),
        medication=rows("medication", "coalesce(CAST(t.start_date AS TIMESTAMP), r.as_of)"),
        patient=rows("patient", _ALWAYS),
        diagnosis=rows("diagnosis", f'coalesce(CAST(t."date" AS TIMESTAMP), {_ALWAYS})'),
        event=rows("event", "t.occurred_at"),
        unusable=_unusable(refused, missing),
        others=pl.concat([frame.select("patient_id", _AT) for frame in (refused, missing)]).drop_nulls(),
        drugs=with_stored_lines(resolved_drugs(no_rows(Medication)), connection),
        data_kinds=frozenset(filter(None, (kinds.item() or "").split(",") if kinds.len() else ())),
        hides_future=not by_run,
    )


_ALWAYS: Final = "TIMESTAMP '0001-01-01'"
_COLLECTED: Final = "coalesce(t.collected_at, r.as_of)"
_RESULTED: Final = "greatest(coalesce(t.resulted_at, t.collected_at), t.collected_at)"


def _unusable(refused: pl.DataFrame, missing: pl.DataFrame) -> pl.DataFrame:
    """Rows as ``unusable_results`` has them; each is known from ``received_at``, and unknown since its collection."""
    refused, missing = (frame.with_columns(pl.coalesce("collected_at", _AT)) for frame in (refused, missing))
    found = unusable_results(refused, missing, datetime.fromisoformat("9999-12-31"))  # no row is without a time here
    columns = ("patient_id", "specimen_id", _AT)
    known = pl.concat([frame.select(*columns, since="collected_at") for frame in (refused, missing)])
    first = known.group_by("patient_id", "specimen_id", "since").agg(pl.col(_AT).min())
    return found.join(first, on=["patient_id", "specimen_id", "since"], how="left", nulls_equal=True)

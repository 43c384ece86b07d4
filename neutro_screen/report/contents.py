"""Everything that a report of one run shows, read from the store in one go."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import polars as pl
from duckdb import DuckDBPyConnection

from neutro_screen.errors import StoreError, did_you_mean
from neutro_screen.reference import load_reference
from neutro_screen.store.rows import first_row, read_table
from neutro_screen.store.schema import RECEIVED
from neutro_screen.store.views import LATEST_RUN, ON_LIST, PAGE_ORDER, STAYING, asked, is_worse

#: Patients with a panel in the page; the others are in the CSV and in the store, and the page says so.
MOST_PANELS: Final = 500
#: How far back the overview of the reviews looks.
DAYS_OF_REVIEWS: Final = 30
#: Cell lines beside the neutrophils, in the order of the page.
OTHER_LINES: Final = ("hgb", "plt", "wbc", "lymph_abs", "mono_abs")

_WORKLIST: Final = """
    SELECT w.*, r.status AS review_status, r.until AS review_until, r.note AS review_note, r."by" AS review_by,
           r."at" AS review_at, {asked},
           coalesce(r.status IN ('snoozed', 'dismissed'), false) AS is_set_aside, {on_list} AS is_on_list, {staying} AS is_staying
    FROM worklist_row w
    JOIN run USING (run_id)
    LEFT JOIN (SELECT * FROM review QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY "at" DESC) = 1) r
         ON r.patient_id = w.patient_id
         AND NOT {is_worse}
         AND (r.status <> 'snoozed' OR r.until >= CAST(run.as_of AS DATE))
    LEFT JOIN patient_request q ON q.patient_id = w.patient_id
    WHERE w.run_id = $run
    ORDER BY {order}
"""
_OF_THE_PAGE: Final = {
    "on_list": ON_LIST,
    "staying": STAYING,
    "order": PAGE_ORDER,
    "is_worse": is_worse("w", "r"),
    "asked": asked("w.last_collected_at"),
}
#: Every record of the patients shown, and the patient it belongs to.
_RECORDS: Final = (
    "SELECT patient_id, patient_id AS survivor_id FROM shown UNION "
    "SELECT patient_id, survivor_id FROM patient_merge WHERE survivor_id IN (SELECT patient_id FROM shown)"
)
#: What came of medications, patients, diagnoses and events in a run, and what of it was refused, why.
_CHART_ACCOUNT: Final = """
    WITH came AS (SELECT kind, sum(rows)::BIGINT AS rows_in FROM source_file WHERE run_id = $run AND kind <> 'lab' GROUP BY kind),
         refused AS (SELECT kind, reason, count(*) AS n FROM rejected_row WHERE run_id = $run AND kind <> 'lab' GROUP BY ALL),
         told AS (SELECT kind, sum(n)::BIGINT AS refused, string_agg(reason || ' ' || n, ', ' ORDER BY n DESC, reason) AS why
                  FROM refused GROUP BY kind)
    SELECT kind, rows_in, rows_in - coalesce(refused, 0) AS accepted, coalesce(refused, 0) AS refused, why
    FROM came LEFT JOIN told USING (kind) ORDER BY kind
"""
#: What is told of a run ($run).
_OF_THE_RUN: Final = {
    "data_quality": "SELECT disposition, reason, source_file, lab, analyte, rows FROM data_quality WHERE run_id = $run "
    "ORDER BY disposition, rows DESC, reason, analyte, lab, source_file",
    "quality_measure": "SELECT * FROM quality_measure WHERE run_id = $run "
    "ORDER BY source_file, lab, analyte, measure, detail",
    # In the order in which they were found: the most serious first.
    "quality_drift": "SELECT * FROM quality_drift WHERE run_id = $run ORDER BY rowid",
    "source_file": "SELECT * FROM source_file WHERE run_id = $run ORDER BY kind, name",
    "recognition": "SELECT * FROM recognition WHERE run_id = $run ORDER BY rows DESC, lab, name, code, unit, specimen",
    "chart_account": _CHART_ACCOUNT,
    "rules": "SELECT rule_id, count(*) AS flags, count(DISTINCT patient_id) AS patients, "
    "count(*) FILTER (run_id = $run) AS new_flags FROM flag GROUP BY rule_id ORDER BY rule_id",
    "trend": "SELECT * FROM run_trend WHERE as_of <= (SELECT as_of FROM run WHERE run_id = $run) ORDER BY as_of, run_id",
    "warnings": "SELECT kind, lab, detail, since FROM run_warning WHERE run_id = $run "
    "ORDER BY kind, lab NULLS FIRST, detail",
}
#: What reviewers did in the days ($days) before the run ($as_of).
_OF_THE_DAYS: Final = {
    "throughput": "SELECT * FROM review_throughput WHERE reviewed_on > CAST($as_of AS DATE) - $days "
    "ORDER BY reviewed_on DESC, reviewer NULLS LAST",
    "review_time": "SELECT first_priority, count(*) AS stays, count(first_decision_at) AS decided, "
    "median(hours_to_review) AS median_hours, max(hours_to_review) AS longest_hours FROM review_time "
    "WHERE CAST(first_shown_at AS DATE) > CAST($as_of AS DATE) - $days GROUP BY 1 ORDER BY 1 DESC",
}
#: What is told of everybody.
_OF_THE_STORE: Final = {
    "cannot_assess": "SELECT * FROM cannot_assess ORDER BY risk_rank",
    "suspects": "SELECT * FROM suspect_frequency "
    "ORDER BY likely DESC, possible DESC, expected DESC, ingredient LIMIT 20",
}


@dataclass(frozen=True)
class RunContents:
    """The run, its worklist in order, and the history of the patients that the page shows.

    ``worklist`` (with the standing review decision, ``is_set_aside``, and ``is_staying``: still there the next night) and
    ``left`` (who left it) are complete; ``panels`` are the rows of the page, the most urgent first: of the
    worklist and of those withdrawn from it. The other tables are of these patients.
    """

    run: dict[str, Any]
    counts: dict[str, Any]
    previous: dict[str, object] | None
    is_latest: bool
    chart_rows: dict[str, int]
    worklist: pl.DataFrame
    left: pl.DataFrame
    panels: pl.DataFrame
    flag: pl.DataFrame
    anc: pl.DataFrame
    lines: pl.DataFrame
    feeding: pl.DataFrame
    episode: pl.DataFrame
    drug_suspect: pl.DataFrame
    evidence: pl.DataFrame
    workup_step: pl.DataFrame
    medication: pl.DataFrame
    patient: pl.DataFrame
    temperature: pl.DataFrame
    cannot_assess: pl.DataFrame
    data_quality: pl.DataFrame
    quality_measure: pl.DataFrame
    quality_drift: pl.DataFrame
    source_file: pl.DataFrame
    recognition: pl.DataFrame
    chart_account: pl.DataFrame
    rules: pl.DataFrame
    trend: pl.DataFrame
    throughput: pl.DataFrame
    review_time: pl.DataFrame
    suspects: pl.DataFrame
    warnings: pl.DataFrame


def zone_of(contents: RunContents) -> str:
    """The time zone of the profile with which the run read its files; UTC for runs that did not keep it."""
    return str(contents.counts.get("page", {}).get("time_zone", "UTC"))


def run_contents(connection: DuckDBPyConnection, run_id: str | None = None) -> RunContents:
    """Read what a run's report shows.

    Raises:
        StoreError: no such run.
    """
    runs = read_table(connection, "SELECT * FROM run ORDER BY as_of, started_at, run_id")
    latest = first_row(connection, LATEST_RUN)
    run, previous = _chosen(runs, run_id or (latest[0] if latest else None))
    asked_for = {"run": run["run_id"]}
    rows = read_table(connection, _WORKLIST.format(**_OF_THE_PAGE), asked_for)
    worklist, left = rows.filter("is_on_list"), rows.filter(~pl.col("is_on_list"))
    is_shown = pl.col("is_on_list") | (pl.col("row_group") == "withdrawn").fill_null(False)
    panels = rows.filter(is_shown).sort("is_set_aside", maintain_order=True).head(MOST_PANELS)
    connection.register("shown", panels.select("patient_id"))
    # Rows keep the id they came with; those of a merged-away record are the surviving patient's.
    connection.register("shown_record", read_table(connection, _RECORDS))
    of_patients = {name: _rows_of(connection, *wanted) for name, wanted in _of_patients().items()}
    of_patients["medication"] = _with_ingredients(
        of_patients["medication"], read_table(connection, "SELECT * FROM drug_match")
    )
    of_days = {"as_of": run["as_of"], "days": DAYS_OF_REVIEWS}
    return RunContents(
        run=run,
        counts=json.loads(run["counts"]),
        previous=previous,
        is_latest=bool(latest and run["run_id"] == latest[0]),
        chart_rows={
            table: (first_row(connection, f'SELECT count(*) FROM "{table}"') or (0,))[0]
            for table in ("lab_result", "medication", "patient", "diagnosis", "event")
        },
        worklist=worklist,
        left=left,
        panels=panels,
        temperature=_temperatures(connection),
        **of_patients,
        **_results(connection),
        **{name: read_table(connection, query, asked_for) for name, query in _OF_THE_RUN.items()},
        **{name: read_table(connection, query, of_days) for name, query in _OF_THE_DAYS.items()},
        **{name: read_table(connection, query) for name, query in _OF_THE_STORE.items()},
    )


def _chosen(runs: pl.DataFrame, run_id: str | None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The run of an id and the one before it.

    Raises:
        StoreError: no such run.
    """
    ids = runs["run_id"].to_list()
    if run_id not in ids:
        raise StoreError(
            f"holds no run {run_id!r}" if run_id else "holds no run yet",
            where="store",
            remedy=did_you_mean(run_id, runs["run_id"]) + "`SELECT run_id FROM run` lists them." if run_id else "",
        )
    position = ids.index(run_id)
    return runs.row(position, named=True), runs.row(position - 1, named=True) if position else None


class _Wanted(NamedTuple):
    """Rows of the patients shown: of which table, in which order, which columns and which of them only."""

    table: str
    order: str
    columns: str = "*"
    only: str = "TRUE"


def _of_patients() -> dict[str, _Wanted]:
    """What the page shows of its patients, table by table."""
    chart = "source_file, source_row"
    return {
        "flag": _Wanted("flag", "patient_id, raised_at, rule_id, specimen_id, reason"),
        "anc": _Wanted("anc", "patient_id, collected_at, specimen_id"),
        "episode": _Wanted("episode", "patient_id, started_at, episode_id"),
        "drug_suspect": _Wanted(
            "drug_suspect", "episode_id, leads_to_nadir DESC, fall_id, rank NULLS LAST, category, ingredient"
        ),
        "evidence": _Wanted("evidence", "episode_id, category, rule_id, finding, source"),
        "workup_step": _Wanted("workup_step", "episode_id, step"),
        "medication": _Wanted("medication", f"patient_id, start_date, end_date NULLS LAST, drug_name, {chart}"),
        "patient": _Wanted("patient", f"patient_id, birth_date NULLS LAST, {chart}"),
    }


def _results(connection: DuckDBPyConnection) -> dict[str, pl.DataFrame]:
    """The results of the patients shown: ``lines``, values of the other cell lines, and ``feeding``, what the ANC is made of."""
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"].to_list()
    order = "patient_id, collected_at, specimen_id, analyte, method, source_file, source_row"
    columns = f"{order}, value, comparator, unit, value_text, unit_text, status, lab"
    analytes = f"analyte IN ({_quoted((*OTHER_LINES, *feeding))})"
    results = _rows_of(connection, "lab_result", order, columns, analytes)
    return {
        "lines": results.filter(pl.col("analyte").is_in(OTHER_LINES), pl.col("value").is_not_null()),
        "feeding": results.filter(pl.col("analyte").is_in(feeding)),
    }


def _rows_of(connection: DuckDBPyConnection, table: str, order: str, columns: str, only: str) -> pl.DataFrame:
    rows = f"FROM {table} WHERE patient_id IN (SELECT patient_id FROM shown)"
    if table in RECEIVED:
        rows = (
            "FROM (SELECT t.* REPLACE (survivor_id AS patient_id) FROM "
            f"{table} t JOIN shown_record USING (patient_id)) WHERE TRUE"
        )
    return read_table(connection, f"SELECT {columns} {rows} AND {only} ORDER BY {order}")


def _temperatures(connection: DuckDBPyConnection) -> pl.DataFrame:
    """The latest temperature on file of each patient shown: patient_id, measured_at, detail (text, degrees Celsius)."""
    return read_table(
        connection,
        "SELECT survivor_id AS patient_id, max(measured_at) AS measured_at, arg_max(detail, measured_at) AS detail FROM ("
        "SELECT patient_id, occurred_at AS measured_at, detail FROM event WHERE event = 'temperature' UNION ALL "
        "SELECT patient_id, collected_at, CAST(value AS VARCHAR) FROM lab_result WHERE analyte = 'temp_c') "
        "JOIN shown_record USING (patient_id) WHERE detail IS NOT NULL GROUP BY ALL ORDER BY patient_id",
    )


def _with_ingredients(medications: pl.DataFrame, drugs: pl.DataFrame) -> pl.DataFrame:
    """Add ``ingredients``: the drugs that a line of a medication list names (``drug_match``), null where none; and
    ``is_unmapped``: no table knows the name."""
    line = ["drug_name", "atc_code", "rxcui", "route"]
    named = drugs.group_by(line).agg(
        ingredients=pl.col("ingredient").drop_nulls().sort(), is_unmapped=(pl.col("matched_by") == "unmatched").all()
    )
    return medications.join(
        named, on=line, how="left", nulls_equal=True, validate="m:1", maintain_order="left"
    ).with_columns(pl.col("is_unmapped").fill_null(True))


def _quoted(names: Sequence[str]) -> str:
    """Analyte names of the reference tables as an SQL list."""
    return ", ".join(f"'{name}'" for name in names)

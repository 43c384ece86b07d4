"""Everything that a report of one run shows, read from the store in one go."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True)
class RunContents:
    """The run, its worklist in order, and the history of the patients that the page shows.

    ``worklist`` (with the standing review decision, ``is_set_aside``, and ``is_staying``: still there the next night),
    ``left`` (who left it) and ``flag`` are complete; ``panels`` are the rows of the page, the most urgent first: of the
    worklist and of those withdrawn from it. The other tables are of these patients.
    """

    run: dict[str, Any]
    counts: dict[str, Any]
    previous: dict[str, object] | None
    is_latest: bool
    chart_rows: dict[str, int]
    worklist: pl.DataFrame
    left: pl.DataFrame
    flag: pl.DataFrame
    panels: pl.DataFrame
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
    latest = first_row(connection, LATEST_RUN)
    chosen = run_id or (latest[0] if latest else None)
    runs = read_table(connection, "SELECT * FROM run ORDER BY as_of, started_at, run_id")
    this = runs.filter(pl.col("run_id") == chosen)
    if not this.height:
        raise StoreError(
            f"holds no run {chosen!r}" if chosen else "holds no run yet",
            where="store",
            remedy=did_you_mean(chosen, runs["run_id"]) + "`SELECT run_id FROM run` lists them." if chosen else "",
        )
    run = this.to_dicts()[0]
    position = runs["run_id"].to_list().index(chosen)
    rows = read_table(connection, _WORKLIST.format(**_OF_THE_PAGE), {"run": chosen})
    worklist, left = rows.filter("is_on_list"), rows.filter(~pl.col("is_on_list"))
    is_shown = pl.col("is_on_list") | (pl.col("row_group") == "withdrawn").fill_null(False)
    panels = rows.filter(is_shown).sort("is_set_aside", maintain_order=True).head(MOST_PANELS)
    connection.register("listed", worklist.select("patient_id"))
    connection.register("shown", panels.select("patient_id"))
    # Rows keep the id they came with; those of a merged-away record are the surviving patient's.
    connection.register("shown_record", read_table(connection, _RECORDS))

    def of(patients: str, table: str, order: str, columns: str = "*", only: str = "TRUE") -> pl.DataFrame:
        rows = f"FROM {table} WHERE patient_id IN (SELECT patient_id FROM {patients})"
        if table in RECEIVED and table != "flag":
            rows = (
                "FROM (SELECT t.* REPLACE (survivor_id AS patient_id) FROM "
                f"{table} t JOIN shown_record USING (patient_id)) WHERE TRUE"
            )
        return read_table(connection, f"SELECT {columns} {rows} AND {only} ORDER BY {order}")

    result_columns = (
        "patient_id, specimen_id, collected_at, analyte, method, value, comparator, unit, value_text, unit_text, status, "
        "lab, source_file, source_row"
    )
    result_order = "patient_id, collected_at, specimen_id, analyte, method, source_file, source_row"
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"].to_list()
    return RunContents(
        run=run,
        counts=json.loads(run["counts"]),
        previous=runs.row(position - 1, named=True) if position else None,
        is_latest=bool(latest and chosen == latest[0]),
        chart_rows={
            table: (first_row(connection, f'SELECT count(*) FROM "{table}"') or (0,))[0]
            for table in ("lab_result", "medication", "patient", "diagnosis", "event")
        },
        worklist=worklist,
        left=left,
        flag=of("listed", "flag", "patient_id, raised_at, rule_id, specimen_id, reason"),
        panels=panels,
        anc=of("shown", "anc", "patient_id, collected_at, specimen_id"),
        lines=of(
            "shown",
            "lab_result",
            result_order,
            "patient_id, specimen_id, collected_at, analyte, value, comparator",
            f"value IS NOT NULL AND analyte IN ({_quoted(OTHER_LINES)})",
        ),
        feeding=of("shown", "lab_result", result_order, result_columns, f"analyte IN ({_quoted(feeding)})"),
        episode=of("shown", "episode", "patient_id, started_at, episode_id"),
        drug_suspect=of(
            "shown", "drug_suspect", "episode_id, leads_to_nadir DESC, fall_id, rank NULLS LAST, category, ingredient"
        ),
        evidence=of("shown", "evidence", "episode_id, category, rule_id, finding, source"),
        workup_step=of("shown", "workup_step", "episode_id, step"),
        medication=_with_ingredients(
            of(
                "shown", "medication", "patient_id, start_date, end_date NULLS LAST, drug_name, source_file, source_row"
            ),
            read_table(connection, "SELECT * FROM drug_match"),
        ),
        patient=of("shown", "patient", "patient_id, birth_date NULLS LAST, source_file, source_row"),
        temperature=_temperatures(connection),
        cannot_assess=read_table(connection, "SELECT * FROM cannot_assess ORDER BY risk_rank"),
        data_quality=read_table(
            connection,
            "SELECT disposition, reason, source_file, lab, analyte, rows FROM data_quality WHERE run_id = $run "
            "ORDER BY disposition, rows DESC, reason, analyte, lab, source_file",
            {"run": chosen},
        ),
        quality_measure=read_table(
            connection,
            "SELECT * FROM quality_measure WHERE run_id = $run ORDER BY source_file, lab, analyte, measure, detail",
            {"run": chosen},
        ),
        # In the order in which they were found: the most serious first.
        quality_drift=read_table(
            connection, "SELECT * FROM quality_drift WHERE run_id = $run ORDER BY rowid", {"run": chosen}
        ),
        source_file=read_table(
            connection, "SELECT * FROM source_file WHERE run_id = $run ORDER BY kind, name", {"run": chosen}
        ),
        recognition=read_table(
            connection,
            "SELECT * FROM recognition WHERE run_id = $run ORDER BY rows DESC, lab, name, code, unit, specimen",
            {"run": chosen},
        ),
        chart_account=read_table(connection, _CHART_ACCOUNT, {"run": chosen}),
        rules=read_table(
            connection,
            "SELECT rule_id, count(*) AS flags, count(DISTINCT patient_id) AS patients, "
            "count(*) FILTER (run_id = $run) AS new_flags FROM flag GROUP BY rule_id ORDER BY rule_id",
            {"run": chosen},
        ),
        trend=read_table(
            connection,
            "SELECT * FROM run_trend WHERE as_of <= (SELECT as_of FROM run WHERE run_id = $run) ORDER BY as_of, run_id",
            {"run": chosen},
        ),
        throughput=read_table(
            connection,
            "SELECT * FROM review_throughput WHERE reviewed_on > CAST($as_of AS DATE) - $days "
            "ORDER BY reviewed_on DESC, reviewer NULLS LAST",
            {"as_of": run["as_of"], "days": DAYS_OF_REVIEWS},
        ),
        review_time=read_table(
            connection,
            "SELECT first_priority, count(*) AS stays, count(first_decision_at) AS decided, "
            "median(hours_to_review) AS median_hours, max(hours_to_review) AS longest_hours FROM review_time "
            "WHERE CAST(first_shown_at AS DATE) > CAST($as_of AS DATE) - $days GROUP BY 1 ORDER BY 1 DESC",
            {"as_of": run["as_of"], "days": DAYS_OF_REVIEWS},
        ),
        suspects=read_table(
            connection,
            "SELECT * FROM suspect_frequency ORDER BY likely DESC, possible DESC, expected DESC, ingredient LIMIT 20",
        ),
        warnings=read_table(
            connection,
            "SELECT kind, lab, detail, since FROM run_warning WHERE run_id = $run ORDER BY kind, lab NULLS FIRST, detail",
            {"run": chosen},
        ),
    )


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

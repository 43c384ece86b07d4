"""What the commands print: plain, 80 columns wide where a terminal is, nothing that needs colour to be understood."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from neutro_screen.backfill import BackfillSummary
    from neutro_screen.pipeline import RunSummary

_WIDTH = 80


def count_words(anc: float | None, comparator: str | None) -> str:
    """A count as it is read: ``410``, ``< 100``, ``unknown``."""
    if anc is None:
        return "unknown"
    return (
        f"{comparator or ''} {anc:.0f}".strip()
        if anc >= 10 or anc == int(anc)
        else f"{comparator or ''} {anc:g}".strip()
    )


def summary_text(summary: "RunSummary") -> str:
    """The end of a run: the account, who was touched, what is new, where the report is."""
    a = summary.account
    listed = sum(summary.priorities.values())
    lines = [
        f"run {summary.run_id}",
        f"rows in {a.rows_in} = accepted {a.accepted} + rejected {a.rejected} + no result {a.no_result} "
        f"+ duplicate {a.duplicate} + not screened {a.not_screened}",
        f"patients touched {summary.patients_touched}; newest result {summary.newest_result_at or 'none'} UTC",
        "low results: " + ", ".join(f"{name} {n}" for name, n in summary.flags.items()),
        f"worklist {listed}: " + ", ".join(f"{name} {n}" for name, n in summary.priorities.items()),
        "since the run before: " + ", ".join(f"{name} {n}" for name, n in summary.changes.items()),
        f"cannot assess: {summary.cannot_assess} patients",
    ]
    lines += [warning_text(warning) for warning in summary.warnings]
    lines += [f"DRIFT: {words}" for words in summary.drift]
    if summary.everybody_because:
        lines.append(f"everybody was screened again: {summary.everybody_because}")
    if summary.report:
        lines.append(f"report {summary.report}")
    return "\n".join(lines)


def warning_text(warning: Mapping[str, str | None]) -> str:
    """One line of a run's warnings: ``LATE FEED: newest result 60 h old; expected within 48 h``."""
    name = (warning["kind"] or "").replace("_", " ").upper()
    where = f" {warning['lab']}" if warning["lab"] else ""
    since = f" (last {warning['since']} UTC)" if warning["since"] else ""
    return f"{name}{where}: {warning['detail']}{since}"


def backfill_text(summary: "BackfillSummary") -> str:
    """The end of a backfill: its chunks, and the last of its runs."""
    finished = f"{summary.chunks_run} chunks run, {summary.chunks_finished_before} finished before"
    if summary.last is None:
        return f"{finished}: nothing to do"
    return f"{finished}; rows in {summary.rows_in}\n{summary_text(summary.last)}"


def quality_text(quality: dict[str, Any]) -> str:
    """The dry run's counts by file, analyte, disposition and reason."""
    total = quality["counted"]
    table = _table("file", "analyte", "disposition", "reason", "rows")
    for row in quality["quality"]:
        table.add_row(*_cells(row[name] for name in ("source_file", "analyte", "disposition", "reason", "rows")))
    return (
        f"rows in {quality['rows_in']} = accepted {total['accepted']} (repeats included) + rejected {total['rejected']} "
        f"+ no result {total['no_result']} + not screened {total['not_screened']}\n" + _printed(table)
    )


def worklist_text(rows: pl.DataFrame) -> str:
    """The worklist as a table."""
    if not rows.height:
        return "no open rows (see `SELECT * FROM cannot_assess` for patients whose count cannot be told)"
    table = _table("priority", "patient", "ANC/µL", "why", "next step")
    for row in rows.iter_rows(named=True):
        due = f"{row['next_step']} by {row['next_step_due']:%d %b}" if row["next_step_due"] else row["next_step"]
        table.add_row(
            *_cells((row["priority"], f"{row['patient_id']} {row['change']}",
                     count_words(row["last_anc_cells_per_ul"], row["last_anc_comparator"]), row["reasons"], due))
        )  # fmt: skip
    return _printed(table)


def explanation_text(told: dict[str, Any]) -> str:
    """One patient, section by section."""
    parts = [f"patient {told['patient_id']}"]
    for merge in told["merged_into"]:
        parts.append(
            f"This record was merged into {merge['survivor_id']}: its results are judged there. "
            f"neutro-screen explain {merge['survivor_id']} shows the person."
        )
    for name, rows in told.items():
        if name in ("patient_id", "merged_into") or (name == "merged_records" and not rows):
            continue
        title = name.replace("_", " ").upper()
        if not rows:
            without_list = name == "suspects" and not told["medications"]
            parts.append(f"{title}: {'no medication list in this extract' if without_list else 'none'}")
            continue
        parts.append(f"{title}\n{_printed(_section(name, rows))}")
    return "\n\n".join(parts)


_SHOWN = {
    "source_rows": ("collected_at", "analyte", "value_text", "unit_text", "status", "source_file", "source_row"),
    "anc": ("collected_at", "anc_comparator", "anc_cells_per_ul", "anc_method", "severity", "rapid_decline", "notes"),
    "episodes": ("started_at", "ended_at", "nadir_cells_per_ul", "worst_severity", "status", "priority", "reasons"),
    "flags": ("raised_at", "rule_id", "reason"),
    "suspects": ("rank", "ingredient", "category", "score", "reason"),
    "evidence": ("category", "rule_id", "strength", "finding"),
    "workup": ("step", "state", "done_on", "due_on"),
}


def _section(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    if name == "status":
        table = _table("", "")
        for key, value in rows[0].items():
            table.add_row(*_cells((key, value)))
        return table
    columns = _SHOWN.get(name, tuple(rows[0]))
    table = _table(*columns)
    for row in rows:
        table.add_row(*_cells(row[column] for column in columns))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    return table


def _cells(values: Iterable[Any]) -> list[str]:
    return ["" if value is None else escape(str(value)) for value in values]


def _printed(table: Table) -> str:
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH)
    console.print(table)
    return text.getvalue().rstrip()

"""What the commands print: plain, 80 columns wide where a terminal is, nothing that needs colour to be understood."""

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from neutro_screen.errors import visible
from neutro_screen.report.words import METHODS, NEXT_STEPS, PRIORITY_SHAPES, shown, warning_text

if TYPE_CHECKING:
    from rich.table import Table

    from neutro_screen.pipeline.backfill import BackfillSummary
    from neutro_screen.pipeline.summary import RunSummary

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
    besides = f"; besides, {summary.recovered} recovered" if summary.recovered else ""
    lines = [
        f"run {summary.run_id}",
        f"rows in {a.rows_in} = accepted {a.accepted} + rejected {a.rejected} + no result {a.no_result} "
        f"+ duplicate {a.duplicate} + not screened {a.not_screened}",
        f"patients touched {summary.patients_touched}; newest result {summary.newest_result_at or 'none'} UTC",
        "low results: " + ", ".join(f"{name} {n}" for name, n in summary.flags.items()),
        f"worklist {listed}: " + ", ".join(f"{name} {n}" for name, n in summary.priorities.items()) + besides,
        "since the run before: " + ", ".join(f"{name} {n}" for name, n in summary.changes.items()),
        f"cannot assess: {summary.cannot_assess} patients",
    ]
    lines += [_chart_account(kind, account) for kind, account in summary.others.items()]
    lines += warning_lines(summary)
    if summary.known_files:
        lines.append(f"known files not read again {summary.known_files} ({summary.known_rows} rows)")
    if summary.everybody_because:
        lines.append(f"everybody was screened again: {summary.everybody_because}")
    if summary.report:
        lines.append(f"report {summary.report}")
    return "\n".join(lines)


def warning_lines(summary: "RunSummary") -> list[str]:
    """What did not come in and what drifted, a line each: shown whatever else is not."""
    return [*(warning_text(warning) for warning in summary.warnings), *(f"DRIFT: {words}" for words in summary.drift)]


def _chart_account(kind: str, account: Mapping[str, Any]) -> str:
    refused = "".join(f" + {reason} {n}" for reason, n in account["refused"].items())
    return f"{kind} rows in {account['rows_in']} = accepted {account['accepted']}{refused}"


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
        f"+ no result {total['no_result']} + not screened {total['not_screened']}\n"
        + "".join(_chart_account(kind, account) + "\n" for kind, account in quality["others"].items())
        + _printed(table)
        + "".join(f"\n{warning_text(warning | {'since': None})}" for warning in quality["warnings"])
        + _recognition_text(quality["recognition"])
    )


def _recognition_text(tests: Sequence[Mapping[str, Any]]) -> str:
    """What every test was read as, and the lines that would settle what was not understood."""
    table = _table("lab", "test", "unit", "read as", "certainty", "by", "rows", "patients")
    for row in tests:
        name = " ".join(filter(None, (row["code"], row["name"])))
        read = " ".join(filter(None, (row["analyte"], row["reason"])))
        told = (row["lab"], name, row["unit"], read, row["certainty"], row["decided_by"], row["rows"], row["patients"])
        table.add_row(*_cells(told))
    lines = list(dict.fromkeys(row["profile_line"] for row in tests if row["profile_line"]))
    settled = "\nLines for the top of the profile that would settle the rest, if they are right:\n" if lines else ""
    return "\n" + _printed(table) + settled + "\n".join(shown(line) for line in lines)


def worklist_text(rows: pl.DataFrame) -> str:
    """The worklist as a table, one reason a line."""
    if not rows.height:
        return "no open rows (see `SELECT * FROM cannot_assess` for patients whose count cannot be assessed)"
    table = _table("priority", "patient", "ANC/µL", "why", "next step")
    for row in rows.iter_rows(named=True):
        due = f"\nby {row['next_step_due']:%d %b %H:%M}" if row["next_step_due"] else ""
        step = NEXT_STEPS.get(row["next_step"], row["next_step"]) if row["next_step"] else "none on file"
        cells = (
            f"{PRIORITY_SHAPES[row['priority']]} {row['priority']}",
            "\n".join(
                filter(None, (shown(row["patient_id"]), row["ward"] and f"ward {shown(row['ward'])}", row["change"]))
            ),
            count_words(row["last_anc_cells_per_ul"], row["last_anc_comparator"]),
            (row["reasons"] or "no reason on file").replace("; ", "\n"),
            step + due,
        )
        table.add_row(*_cells(cells))
    has_recovered = (pl.col("row_group") == "recovered").fill_null(False)
    staying, recovered = rows.filter(~has_recovered), rows.filter(has_recovered).height
    counted = staying.group_by(pl.col("priority").cast(pl.String)).len()
    numbers = dict(counted.iter_rows())
    of = ", ".join(f"{numbers[name]} {name}" for name in PRIORITY_SHAPES if name in numbers)
    besides = f"; besides, {recovered} recovered" if recovered else ""
    head = f"{staying.height} on the worklist of run {rows['run_id'][0]}{besides}\n{of}"
    return f"{head}\n\n{_printed(table)}"


def runs_text(runs: Sequence[Mapping[str, Any]]) -> str:
    """One run a line: what came in, what needs somebody, and whom it reached."""
    if not runs:
        return "no run"
    table = _table("run", "status", "rows", "alerts", "new", "report", "notice")
    for run in runs:
        status = f"failed ({run['exit_code']})" if run["status"] == "failed" else run["status"]
        name = run["run_id"] or _moment(run["started_at"])
        counts = (run[column] for column in ("rows_in", "alerts", "new"))
        table.add_row(*_cells((name, status, *counts, _done(run["reported"]), _done(run["notified"]))))
    return _printed(table)


def _done(done: bool | None) -> str:
    return "-" if done is None else "yes" if done else "NO"


def explanation_text(explanation: dict[str, Any]) -> str:
    """One patient, section by section."""
    parts = [f"patient {explanation['patient_id']}"]
    for merge in explanation["merged_into"]:
        parts.append(
            f"This record was merged into {merge['survivor_id']}: its results are judged there. "
            f"neutro-screen explain {merge['survivor_id']} shows the person."
        )
    for name, rows in explanation.items():
        if name in ("patient_id", "merged_into") or (name == "merged_records" and not rows):
            continue
        title = name.replace("_", " ").upper()
        if not rows:
            without_list = name == "suspects" and not explanation["medications"]
            parts.append(f"{title}: {'no medication list in this extract' if without_list else 'none'}")
            continue
        parts.append(f"{title}\n{_section(name, rows)}")
    return "\n\n".join(parts)


_SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "source_rows": ("collected_at", "analyte", "as_sent", "status", "read_from"),
    "refused_rows": ("collected_at", "analyte", "reason", "read_from"),
    "no_results": ("collected_at", "analyte", "kind", "read_from"),
    "anc": ("collected_at", "ANC/µL", "severity", "anc_method", "notes"),
    "episodes": ("started_at", "ended_at", "nadir/µL", "worst_severity", "status", "reasons"),
    "flags": ("raised_at", "rule_id", "reason"),
    "falls": ("seen_at", "from/µL", "to/µL", "kind", "reached_at", "back_at"),
    "suspects": ("ingredient", "category", "score", "reason"),
    "evidence": ("category", "rule_id", "strength", "finding"),
    "workup": ("step", "state", "done_on", "due_on"),
}
_LITERATURE: Final = "literature, not this patient's risk: "


def _section(name: str, rows: Sequence[dict[str, Any]]) -> str:
    if name == "status":
        return _standing(rows[0])
    shown_rows = [_readable(name, row) for row in rows]
    noted = [row["finding"].removeprefix(_LITERATURE) for row in rows if _is_literature(row)]
    columns = _SHOWN.get(name, tuple(shown_rows[0]))
    table = _table(*columns)
    for row, source in zip(shown_rows, rows, strict=True):
        if not _is_literature(source):
            table.add_row(*_cells(row[column] for column in columns))
    sentences = (
        _wrapped([visible(row["conclusion"]) for row in rows if row.get("conclusion")]) if name == "episodes" else []
    )
    literature = ["", "literature, groups of patients and not this patient's risk:", *_wrapped(noted)] if noted else []
    return "\n".join([_printed(table) if table.rows else "none of this patient", *sentences, *literature])


def _is_literature(row: Mapping[str, object]) -> bool:
    return str(row.get("finding", "")).startswith(_LITERATURE)


def _readable(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the columns that are shown: value and unit, file and row, count and comparator in one cell each."""
    readable = {column: _moment(value, only_day=name == "episodes") for column, value in row.items()}
    if "source_file" in row:
        readable["read_from"] = f"{row['source_file']}:{row['source_row']}"
    if name == "source_rows":
        readable["as_sent"] = f"{row['value_text'] or ''} {row['unit_text'] or ''}".strip()
    if name == "anc":
        readable["ANC/µL"] = count_words(row["anc_cells_per_ul"], row["anc_comparator"])
        readable["anc_method"] = METHODS[row["anc_method"]]
        readable["notes"] = ", ".join(filter(None, ["rapid decline" if row["rapid_decline"] else "", row["notes"]]))
    if name == "episodes":
        readable["nadir/µL"] = count_words(row["nadir_cells_per_ul"], row["nadir_comparator"])
    if name == "falls":
        readable["from/µL"] = count_words(row["from_cells_per_ul"], None)
        readable["to/µL"] = count_words(row["to_cells_per_ul"], row["to_comparator"])
    if name == "suspects":
        readable["reason"] = row["reason"].removeprefix(f"{row['ingredient']}: ")
    return readable


def _moment(value: object, only_day: bool = False) -> object:
    return (
        f"{value:%Y-%m-%d}"
        if isinstance(value, datetime) and only_day
        else (f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value)
    )


def _standing(row: Mapping[str, Any]) -> str:
    """Where the patient stands, in three lines."""
    priority = row["priority"]
    step = NEXT_STEPS.get(row["next_step"], row["next_step"]) if row["next_step"] else None
    lines = [
        f"{PRIORITY_SHAPES[priority]} {priority}: {row['reasons'] or 'no reason on file'}"
        if priority
        else "no priority",
        f"ANC {count_words(row['last_anc_cells_per_ul'], row['last_anc_comparator'])} /µL on "
        f"{_moment(row['last_collected_at'])}, {row['current_severity'] or 'severity unknown'}; "
        f"lowest ever {count_words(row['nadir_cells_per_ul'], row['nadir_comparator'])}, worst {row['worst_severity'] or 'unknown'}",
        f"episode {row['episode_status'] or 'none'}; next step {step or 'none'}"
        + (f" by {_moment(row['next_step_due'])}" if row["next_step_due"] else "")
        + (f"; first suspect {row['top_suspect']}" if row["top_suspect"] else ""),
    ]
    return "\n".join(_wrapped(lines, bullet=""))


def _wrapped(lines: Iterable[str], bullet: str = "- ") -> list[str]:
    return [textwrap.fill(bullet + line, _WIDTH, subsequent_indent="  ") for line in lines]


def _table(*columns: str) -> "Table":
    # Here and below: the end of a run, which is most of what is printed, has no table, and does not wait for this library.
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(
            column.replace("_at", "").replace("_", " "), overflow="fold", justify="right" if "/µL" in column else "left"
        )
    return table


def _cells(values: Iterable[object]) -> list[str]:
    from rich.markup import escape

    return ["" if value is None else escape(_seen(str(value))) for value in values]


def _seen(text: str) -> str:
    """Nothing that moves the cursor or turns the direction of reading; line breaks are ours."""
    return "\n".join(shown(line) for line in text.split("\n"))


def _printed(table: "Table") -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")

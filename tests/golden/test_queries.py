"""Every query of docs/queries.md answers its question on the sample store; the page is compared in test_docs.py."""

import csv
import re
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from docs.queries import HEAD, Answer, Question, answers, questions
from docs.sample_store import sample_store
from neutro_screen.report import write_reports


def answer(words: str) -> Answer:
    (title,) = [question.title for question in questions() if words in question.title]
    return answers()[title]


def column(told: Answer, name: str) -> list[object]:
    return [row[told.columns.index(name)] for row in told.rows]


def test_there_are_twenty_questions_and_each_has_an_answer() -> None:
    assert len(questions()) >= 20
    assert len({question.title for question in questions()}) == len(questions())
    assert [question.title for question in questions() if not answers()[question.title].rows] == []


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.title[:40])
def test_an_order_is_named_and_no_enum_is_compared_or_sorted(question: Question) -> None:
    assert "ORDER BY" in question.query
    assert not re.search(r"(?:severity|priority)\s*[<>=]+\s*'\w+'", question.query)
    assert not re.search(r"\b(?:severity|priority)\b", question.query.rpartition("ORDER BY")[2])


def test_first_comes_whoever_is_in_most_danger() -> None:
    told = answer("Who needs a decision first")
    assert told.rows[0][0] == "P-003"
    assert column(told, "priority") == sorted(column(told, "priority"), key=["critical", "high"].index)


def test_unknown_patients_are_told_with_their_reason() -> None:
    assert dict(row[:2] for row in answer("cannot be told").rows) == {
        "P-016": "clotted",
        "P-009": "unit_unknown",
        "P-028": "percent_out_of_range",
    }


def test_who_was_snoozed_and_got_worse_is_back() -> None:
    told = answer("came back because it got worse")
    assert [row[0] for row in told.rows] == ["P-021"]
    assert (column(told, "then_priority"), column(told, "now_priority")) == (["low"], ["high"])


def test_a_suspicion_has_its_denominator() -> None:
    told = answer("Which drugs are suspected most often")
    clozapine = dict(zip(told.columns, next(row for row in told.rows if row[0] == "clozapine"), strict=True))
    assert (clozapine["likely"], clozapine["exposed"], clozapine["suspected_pct"]) == (1, 3, 33.3)


def test_time_to_review_runs_from_first_shown_to_first_decision() -> None:
    told = answer("from first shown to first decision")
    critical = dict(zip(told.columns, told.rows[0], strict=True))
    assert critical == {
        "first_priority": "critical",
        "shown": 7,
        "decided": 3,
        "median_hours": 5.0,
        "longest_hours": 5.5,
    }


def test_the_trend_adds_up() -> None:
    told = answer("from night to night")
    assert len(told.rows) == 3
    # 17 came on the first night; two of them had recovered by then: they are told apart, and not counted as new.
    assert [row[1] for row in told.rows] == [15, 17, 25]
    assert told.rows[0][told.columns.index("new")] == 15


def test_nobody_is_better_at_worst_than_at_first() -> None:
    told = answer("shift table")
    assert sum(sum(row[1:]) for row in told.rows) > 30
    assert [row for row in told.rows for worst, n in enumerate(row[1:]) if n and worst < row[0]] == []


def test_the_lines_of_r_run_as_they_stand(tmp_path: Path) -> None:
    rscript = shutil.which("Rscript")
    if rscript is None:
        pytest.skip("R is not installed: its lines in docs/queries.md did not run")
    lines = re.search(r"```r\n(.*?)```", HEAD, re.DOTALL)
    assert lines is not None
    write_reports(sample_store(), tmp_path)
    (tmp_path / "urgent.R").write_text(dedent(lines[1]), "utf-8")
    said = subprocess.run([rscript, "urgent.R"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    told = [line.split()[:2] for line in said.stdout.splitlines()[1:]]
    with (tmp_path / "flagged.csv").open(encoding="utf-8", newline="") as rows:
        urgent = [[row["patient_id"], row["priority"]] for row in csv.DictReader(rows)]
    assert sorted(told) == sorted(row for row in urgent if row[1] in ("high", "critical"))
    assert told[0][1] == "critical"

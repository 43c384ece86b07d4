"""Slips on the command line: one line that says what, where and what to do, and the exit code of docs/operations.md."""

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from neutro_screen.admin.notify import notifying
from neutro_screen.cli import app as cli
from neutro_screen.pipeline.options import RunOptions, clock
from neutro_screen.pipeline.summary import stored_summary
from neutro_screen.store.journal import deliveries_noted
from tests.nights import SAMPLE, screened_sample

DOCUMENTED = {
    int(code)
    for code in re.findall(r"^\| (\d+) \|", (SAMPLE.parent / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: laboratory rows, a profile, a notification file without a way, a store."""
    place = tmp_path_factory.mktemp("slips")
    shutil.copy(SAMPLE / "labs.csv", place / "labs.csv")
    (place / "hospital.toml").write_text("", "utf-8")
    (place / "silent.toml").write_text('dead_man = "/nowhere/alive"\n', "utf-8")
    screened_sample(place / "screen.duckdb")
    return place


def said(
    words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and standard error of a command in the user's folder, in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cli, "prepare_process", lambda: None)
    monkeypatch.setattr("sys.argv", ["neutro-screen", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


RUN = "run --labs labs.csv --store new.duckdb"


@pytest.mark.parametrize(
    ("words", "code", "what", "remedy"),
    [
        (f"{RUN} --max-rejected 20", 10, "--max-rejected: 20 is no share", "Did you mean 0.2?"),
        (f"{RUN} --max-rejected=-0.1", 10, "--max-rejected: -0.1 is no share", "from 0 to 1"),
        (f"{RUN} --max-rejected nan", 10, "--max-rejected: nan is no share", "from 0 to 1"),
        ("explain --store screen.duckdb", 2, "explain: PATIENT_ID is missing", "explain --help"),
        (f"{RUN} --max-rejected many", 2, "--max-rejected", "run --help"),
        ("run --labs labs.csv", 2, "run: --store is missing", "`neutro-screen run --help`"),
        ("run --store new.duckdb", 2, "run: --labs is missing", "`neutro-screen run --help`"),
        ("worklist", 2, "worklist: --store is missing", "`neutro-screen worklist --help`"),
        ("worklist --stor screen.duckdb", 2, "--store is missing", "Did you mean --store"),
        (f"{RUN} --polcy p.toml", 2, "--polcy", "Did you mean"),
        ("worklst --store screen.duckdb", 2, "worklst", "Did you mean"),
        ("worklist --store scren.duckdb", 14, "no such store", "Did you mean 'screen.duckdb'?"),
        (f"{RUN} --format hl7", 10, "no format 'hl7'", "Did you mean 'hl7v2'?"),
        ("export --store screen.duckdb --to out --as fihr", 2, "fihr", "Did you mean"),
        (f"{RUN} --profile hospitl.toml", 10, "hospitl.toml: profile cannot be read", "Did you mean 'hospital.toml'?"),
        (f"{RUN} --profile gone/other.toml", 10, "other.toml: profile cannot be read", "`neutro-screen init DIR`"),
        (f"{RUN} --policy none.toml", 10, "none.toml: policy cannot be read", "`neutro-screen init DIR`"),
        ("notify", 2, "notify: SETTINGS is missing", "notify --help"),
        ("notify silnt.toml", 10, "silnt.toml: notifications cannot be read", "Did you mean 'silent.toml'?"),
        ("notify silent.toml", 10, "silent.toml: names no way", "Write `command` or `urls`"),
        ("notify silent.toml --store screen.duckdb", 10, "silent.toml: names no way", "Write `command` or `urls`"),
        ("runs --store screen.duckdb --latest 0", 10, "--latest is a number of runs", "at least 1"),
    ],
)
def test_a_slip_is_one_line_with_what_where_and_what_to_do(
    folder: Path,
    words: str,
    code: int,
    what: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended, text = said(words, folder, monkeypatch, capsys)
    assert (ended, text.count("\n")) == (code, 1), text
    assert ended in DOCUMENTED
    assert what in text
    assert remedy in text
    assert not (folder / "new.duckdb").exists()


def test_a_snooze_cannot_end_before_it_begins(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "screen.duckdb").read_bytes()
    review = "review P-001 --store screen.duckdb --status snoozed --until"
    ended, text = said(f"{review} 2020-01-01", folder, monkeypatch, capsys)
    assert ended == 10
    assert "--until: the snooze would have ended on 2020-01-01. Name its last day" in text
    assert (folder / "screen.duckdb").read_bytes() == before
    monkeypatch.setattr("sys.argv", ["neutro-screen", *review.split(), f"{clock().date() + timedelta(days=2)}"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code


def test_a_night_whose_notification_file_names_no_way_says_that_nobody_is_notified(folder: Path) -> None:
    said_at_the_end: list[str] = []
    options = RunOptions(
        labs=(str(folder / "labs.csv"),), store=folder / "screen.duckdb", notify=folder / "hospital.toml"
    )
    with notifying(options, said_at_the_end.append) as ending:
        ending.ended(stored_summary(options.store, None))
    assert said_at_the_end == ["hospital.toml names no way that a message could go: nobody is notified"]
    assert deliveries_noted(options.store) == {}


def test_doctor_says_once_that_there_is_no_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["neutro-screen", "doctor", "--store", "scren.duckdb"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed")]
    assert ended.value.code == 1
    assert len(failed) == 1
    assert (
        "no such store -> Did you mean 'screen.duckdb'? `neutro-screen run --store scren.duckdb …` makes one."
        in failed[0]
    )


@pytest.mark.parametrize("option", ["--labs", "--medications", "--store", "--profile", "--reports"])
def test_a_shell_completes_the_names_of_files(folder: Path, option: str) -> None:
    script = folder / "completion.bash"
    cli.app(["--install-completion", "--shell", "bash", "--output", str(script)], result_action="return_value")
    asked = (
        f"source {script}; COMP_WORDS=(neutro-screen run {option} hos); COMP_CWORD=3; "
        "_neutro_screen neutro-screen hos; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, cwd=folder, timeout=120)
    assert done.stdout.split() == ["hospital.toml"], done.stderr

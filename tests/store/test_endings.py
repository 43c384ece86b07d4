"""Every way in which a run can end: what is said, and to whom, is true of the store."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

import neutro_screen.store.file as store_file
from neutro_screen.errors import OutputError, ReportError
from neutro_screen.store.journal import journal_of
from tests.nights import command, table

HEADER = "patient_id,specimen_id,collected_at,loinc,value,unit\n"
_KEEP = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
#: The command in a process whose library does something at a step: ``{there}`` is a statement that replaces a function.
_COMMAND = "import sys\nsys.argv[0] = 'neutro-screen'\n{there}\nfrom neutro_screen.cli.app import main\nmain()\n"
#: As a library in Rust ends: no ``Exception``, and with a message of its own.
_PANIC = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """The words of a night with reports and, as shipped, notifications of failures, critical patients and warnings."""
    (tmp_path / "labs.csv").write_text(HEADER + "SICK,S1,2026-11-21 08:00,751-8,0.05,10*9/L\n", "utf-8")
    (tmp_path / "notify.toml").write_text(
        f'command = ["{sys.executable}", "-c", {json.dumps(_KEEP)}, "{tmp_path / "told"}"]\n', "utf-8"
    )
    words = ["run", "--labs", tmp_path / "labs.csv", "--store", tmp_path / "s" / "s.duckdb"]
    return [str(word) for word in (*words, "--reports", tmp_path / "r", "--notify", tmp_path / "notify.toml")]


def run_command(words: list[str], there: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    code = _COMMAND.format(there=there)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run([sys.executable, "-c", code, *words], text=True, **streams)  # type: ignore[call-overload, no-any-return]


def told(tmp_path: Path) -> str:
    """What was notified."""
    path = tmp_path / "told"
    return path.read_text("utf-8") if path.exists() else ""


@pytest.mark.parametrize("output", ["closed", "full"])
def test_a_night_whose_summary_cannot_be_shown_is_done(tmp_path: Path, asked: list[str], output: str) -> None:
    if output == "closed":
        done = run_command(asked, stdout=None, preexec_fn=lambda: os.close(1))
    else:
        with Path("/dev/full").open("w") as full:
            done = run_command(asked, stdout=full)
    assert done.returncode == 0, done.stderr
    assert "warning: the command is done; standard output" in done.stderr
    assert "nothing was published" not in done.stderr
    assert "critical patients tonight: 1" in told(tmp_path)
    assert len(table(tmp_path / "s" / "s.duckdb", "run")) == 1
    assert (tmp_path / "r" / "report.html").exists()


def test_a_result_that_cannot_be_shown_is_an_error_and_characters_are_escaped(tmp_path: Path, asked: list[str]) -> None:
    assert run_command([*asked, "--quiet"], stderr=None, preexec_fn=lambda: os.close(2)).returncode == 0
    shown = ["worklist", "--store", str(tmp_path / "s" / "s.duckdb")]
    with Path("/dev/full").open("w") as full:
        done = run_command(shown, stdout=full)
    assert done.returncode == OutputError.exit_code == 17
    assert done.stderr == "neutro-screen: standard output cannot be written (No space left on device)\n"
    done = run_command(shown, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xb5L" in done.stdout


@pytest.mark.parametrize(
    ("place", "code", "is_published"),
    [
        ("run.ingest_step", 1, False),
        ("run.publish_step", 1, False),
        ("report.write_reports", ReportError.exit_code, True),
    ],
)
def test_a_panic_of_a_library_is_notified_and_says_what_stands(
    tmp_path: Path, asked: list[str], place: str, code: int, is_published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(*_: object, **__: object) -> None:
        raise _PANIC("SECRET-MRN")

    monkeypatch.setattr(f"neutro_screen.pipeline.{place}", panic)
    done = command(*asked)
    assert done.returncode == code, done.stderr
    assert "SECRET" not in done.stderr + told(tmp_path)
    assert "Traceback" not in done.stderr
    assert f"exit code {code}" in told(tmp_path)
    assert ("are published" in done.stderr, "are published" in told(tmp_path)) == (is_published, is_published)
    assert ("run before stand" in done.stderr) == (not is_published)
    assert (tmp_path / "s" / "s.duckdb").exists() == is_published


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("place", "is_published"), [("run.publish_step", False), ("report.write_reports", True)])
def test_a_signal_clears_up_and_is_notified(
    tmp_path: Path, asked: list[str], number: signal.Signals, place: str, is_published: bool
) -> None:
    module, function = place.split(".")
    here = tmp_path / "here"
    there = (
        f"import time\nfrom pathlib import Path\nimport neutro_screen.pipeline.{module} as module\n"
        f"def wait(*_, **__):\n    Path({str(here)!r}).touch()\n    time.sleep(60)\nmodule.{function} = wait"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND.format(there=there), *asked], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not here.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, error
    assert error.startswith("neutro-screen: stopped; the results of")
    assert ("are published" in error, "are published" in told(tmp_path)) == (is_published, is_published)
    assert f"FAILED: stopped, exit code {128 + number}" in told(tmp_path)
    left = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert left == ([".s.duckdb.lock", "s.duckdb"] if is_published else [".s.duckdb.lock"])


def test_a_publication_that_the_disk_does_not_confirm_is_no_old_result(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise = store_file._synchronise

    def fails(path: Path) -> None:
        if path.is_dir():
            raise OSError(5, "Input/output error")
        synchronise(path)

    monkeypatch.setattr(store_file, "_synchronise", fails)
    done = command(*asked)
    assert done.returncode == ReportError.exit_code, done.stderr
    assert "the results are published, but not reported (the new results are in place" in done.stderr
    assert "critical patients tonight: 1" in told(tmp_path)
    with duckdb.connect(str(tmp_path / "s" / "s.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchall() == [(1,)]


def test_failed_runs_exports_and_rebuilds_are_in_the_audit_trail(tmp_path: Path, asked: list[str]) -> None:
    store, labs = tmp_path / "s" / "s.duckdb", tmp_path / "labs.csv"
    assert command(*asked, "--as-of", "2026-11-22T02:00").returncode == 0
    before, good = store.read_bytes(), labs.read_text("utf-8")
    labs.write_text("patient_id\nA\n", "utf-8")
    failed = command(*asked, "--as-of", "2026-11-23T02:00")
    assert failed.returncode == 12, failed.stderr
    assert command("export", "--store", store, "--to", tmp_path / "out").returncode == 0
    past = ["--as-of", "2026-11-22T12:00", "--out", str(tmp_path / "past" / "p.duckdb")]
    assert command("rebuild", "--store", store, *past).returncode == 0
    assert store.read_bytes() == before
    assert journal_of(store).stat().st_mode & 0o077 == 0
    labs.write_text(good, "utf-8")
    assert command(*asked, "--as-of", "2026-11-24T02:00").returncode == 0
    actions = [(row[1], row[4]) for row in table(store, "audit")]
    assert [action for action, _ in actions] == ["run", "failed_run", "export", "rebuild", "run"]
    assert actions[1][1] == '{"exit_code": 12}'
    assert [path.name for path in store.parent.iterdir() if "journal" in path.name] == [journal_of(store).name]
    assert command("migrate", "--store", store).returncode == 0


def test_the_report_folder_keeps_the_old_reports_together_when_the_disk_is_full(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*asked, "--as-of", "2026-11-22T02:00").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    words, replace = [*asked, "--as-of", "2026-11-23T02:00"], os.replace
    full = (
        "import resource\nimport neutro_screen.pipeline.report as module\nwrite = module.write_reports\n"
        "def full(*words, **more):\n    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "    return write(*words, **more)\nmodule.write_reports = full"
    )

    def refused(source: Path, target: Path) -> None:
        if str(source).endswith("report.html.next"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    def as_others_do() -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", refused)
            return command(*words)

    for attempt in (lambda: run_command(words, full), as_others_do):
        (tmp_path / "told").unlink(missing_ok=True)
        done = attempt()
        assert done.returncode == ReportError.exit_code, done.stderr
        assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before
        assert "critical patients tonight: 1" in told(tmp_path)

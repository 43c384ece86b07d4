"""Somebody is told how a night ended, with counts only; a message that cannot be sent never fails a run."""

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from neutro_screen.admin.notify import Notify, end_of_run, failure, load_notify, notifying, send
from neutro_screen.admin.starter import write_starter
from neutro_screen.errors import ConfigurationError, StoreError
from neutro_screen.pipeline.options import RunOptions
from tests.nights import SAMPLE, command

_KEEP = """
import os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("NEUTRO_SCREEN_")}
with open(sys.argv[1], "a") as file:
    file.write(repr(told) + sys.stdin.read())
"""
HEADER = "patient_id,specimen_id,collected_at,loinc,value,unit\n"
NIGHT = ("--as-of", "2026-11-22T02:00")


def summary(critical: int = 0, **more: object) -> dict[str, object]:
    """The summary of a run as ``RunSummary.as_dict()`` gives it."""
    account = {"rows_in": 6, "accepted": 5, "rejected": 0, "no_result": 0, "duplicate": 0}
    return {
        "run_id": "2026-11-22T02:00:00Z",
        "account": account | {"not_screened": 1},
        "priorities": {"critical": critical, "high": 1},
        "changes": {"new": 1},
        "cannot_assess": 2,
        "report": None,
        "warnings": [],
        **more,
    }


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where the notification command writes what it is told."""
    return tmp_path / "told"


@pytest.fixture
def settings(tmp_path: Path, told: Path) -> Path:
    """A notification file with a command, and a dead-man file."""
    path = tmp_path / "notify.toml"
    path.write_text(
        f'command = ["{sys.executable}", "-c", {json.dumps(_KEEP)}, "{told}"]\n'
        f'dead_man = "{tmp_path / "alive"}"\nevents = ["failed", "critical", "warning", "done"]\n',
        "utf-8",
    )
    return path


def test_a_night_with_critical_patients_says_how_many_and_no_more(tmp_path: Path, settings: Path, told: Path) -> None:
    labs = tmp_path / "SECRET-FILE.csv"
    # A profound count is critical by itself.
    labs.write_text(HEADER + "SECRET-ID,SECRET-S,2026-11-21 08:00,751-8,0.05,10*9/L\n", "utf-8")
    done = command(
        "run", "--labs", labs, "--store", tmp_path / "s" / "s.duckdb", "--notify", settings, *NIGHT, "--json"
    )
    assert done.returncode == 0, done.stderr
    critical = json.loads(done.stdout)["priorities"]["critical"]
    assert critical == 1
    text = told.read_text("utf-8")
    assert "critical patients tonight: 1" in text
    assert "'NEUTRO_SCREEN_EVENT': 'critical'" in text
    assert "SECRET" not in text
    assert (tmp_path / "alive").exists()


@pytest.mark.parametrize(
    ("content", "code", "kind"),
    [
        (HEADER + "SECRET-ID,S1,2026-11-21 08:00,751-8,SECRET,furlongs\n", 12, "RefusedInputError"),
        ("", 11, "UnreadableInputError"),
    ],
)
def test_a_failed_night_says_its_kind_and_exit_code_and_gives_no_sign_of_life(
    tmp_path: Path, settings: Path, told: Path, content: str, code: int, kind: str
) -> None:
    labs = tmp_path / "SECRET-FILE.csv"
    labs.write_text(content, "utf-8")
    done = command("run", "--labs", labs, "--store", tmp_path / "s" / "s.duckdb", "--notify", settings, *NIGHT)
    assert done.returncode == code
    text = told.read_text("utf-8")
    assert f"neutro-screen FAILED: {kind}, exit code {code}" in text
    assert f"'NEUTRO_SCREEN_EXIT_CODE': '{code}'" in text
    assert "SECRET" not in text
    assert not (tmp_path / "alive").exists()


def test_silence_is_a_warning_and_no_sign_of_life(tmp_path: Path, settings: Path, told: Path) -> None:
    (tmp_path / "labs.csv").write_text(HEADER + "P,S,2026-11-21 08:00,2345-7,5.0,mmol/L\n", "utf-8")
    done = command(
        "run", "--labs", tmp_path / "labs.csv", "--store", tmp_path / "s" / "s.duckdb", "--notify", settings, *NIGHT
    )
    assert done.returncode == 0, done.stderr
    assert "warnings: no data 1" in told.read_text("utf-8")
    assert not (tmp_path / "alive").exists()


def test_a_night_without_a_message_is_no_failed_night(tmp_path: Path) -> None:
    settings = tmp_path / "notify.toml"
    settings.write_text(
        f'events = ["done", "critical"]\ncommand = ["{tmp_path / "nowhere"}"]\ndead_man = "{tmp_path}/no/folder"\n',
        "utf-8",
    )
    store = tmp_path / "s" / "s.duckdb"
    done = command("run", "--labs", SAMPLE / "labs.csv", "--store", store, "--notify", settings, *NIGHT)
    assert done.returncode == 0
    assert store.exists()
    assert done.stderr.splitlines() == [
        "neutro-screen: warning: the notification command cannot be run (No such file or directory)",
        "neutro-screen: warning: the dead-man file cannot be touched (No such file or directory)",
    ]


@pytest.mark.parametrize(
    ("program", "seconds", "problem"),
    [
        ("import sys; sys.exit(3)", 60, "ended with code 3"),
        ("import time; time.sleep(60)", 0.2, "did not end within 0.2 s"),
    ],
)
def test_a_command_that_fails_or_hangs_is_a_warning(program: str, seconds: float, problem: str) -> None:
    notify = Notify(command=(sys.executable, "-c", program), timeout_seconds=seconds)
    assert send(failure(StoreError("busy")), notify) == [f"the notification command {problem}"]


class _Keep(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


@pytest.fixture
def webhook() -> Iterator[HTTPServer]:
    """A web hook on loopback that keeps what it gets."""
    server = HTTPServer(("127.0.0.1", 0), _Keep)
    server.bodies = []  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_apprise_services_are_told_each_and_counted_where_they_are_not_reached(webhook: HTTPServer) -> None:
    here = f"json://127.0.0.1:{webhook.server_port}/"
    notify = Notify(urls=(here, "json://127.0.0.1:9/?retry=0", "nonsense://x"))
    assert send(failure(StoreError("SECRET")), notify) == ["2 of 3 notification services were not reached"]
    (body,) = webhook.bodies  # type: ignore[attr-defined]
    assert json.loads(body)["title"] == "neutro-screen FAILED: StoreError, exit code 14"
    assert json.loads(body)["type"] == "failure"
    assert b"SECRET" not in body
    assert "127.0.0.1" not in repr(notify)


@pytest.mark.parametrize(
    ("told", "events", "title"),
    [
        (summary(critical=3), ("critical",), "neutro-screen: critical patients tonight: 3"),
        (
            summary(critical=3, warnings=[{"kind": "silent_laboratory", "lab": "SECRET", "since": "2026-11-01"}] * 2),
            ("critical", "warning"),
            "neutro-screen: critical patients tonight: 3; warnings: silent laboratory 2",
        ),
        (summary(warnings=[{"kind": "no_data"}]), ("warning",), "neutro-screen: warnings: no data 1"),
        (summary(critical=3), ("warning",), None),
        (summary(), ("failed", "critical", "warning"), None),
        (summary(), ("done",), "neutro-screen: done"),
    ],
)
def test_only_what_is_asked_for_is_told(told: dict[str, object], events: tuple[str, ...], title: str | None) -> None:
    message = end_of_run(told, events)  # type: ignore[arg-type]
    assert (message.title if message else None) == title
    assert message is None or "SECRET" not in message.body


def test_an_unexpected_error_is_told_by_its_kind_and_goes_on(tmp_path: Path) -> None:
    warnings: list[str] = []
    settings = tmp_path / "notify.toml"
    settings.write_text('command = ["/nowhere"]\n', "utf-8")
    options = RunOptions(labs=(), store=tmp_path / "s.duckdb", notify=settings)
    with pytest.raises(KeyError), notifying(options, warnings.append):
        raise KeyError("SECRET")
    assert warnings == ["the notification command cannot be run (No such file or directory)"]
    message = failure(KeyError("SECRET"))
    assert (message.title, message.exit_code) == ("neutro-screen FAILED: KeyError, exit code 1", 1)
    assert "SECRET" not in message.body


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("command = 3", "notification entry command"),
        ("to = 'me'", "notification entry to"),
        ("events = ['fine']", "notification entry events.0"),
        ("urls = [", "notifications cannot be read"),
        (None, "notifications cannot be read: No such file"),
    ],
)
def test_a_notification_file_that_cannot_be_used_is_named_before_the_run(
    tmp_path: Path, text: str | None, what: str
) -> None:
    if text is not None:
        (tmp_path / "n.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=what):
        load_notify(tmp_path / "n.toml")


def test_a_notification_file_that_is_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "n.toml")
    with pytest.raises(ConfigurationError, match="named pipe"):
        load_notify(tmp_path / "n.toml")


def test_the_starter_file_is_valid_as_it_is_and_with_every_entry_uncommented(tmp_path: Path) -> None:
    path = write_starter(tmp_path / "settings")[-1]
    assert load_notify(path) == Notify()
    text = path.read_text("utf-8")
    entries = {name: Notify.model_fields[name] for name in Notify.model_fields}
    for name in entries:
        text = text.replace(f"# {name} = ", f"{name} = ")
    assert set(tomllib.loads(text)) == set(entries)
    Notify.model_validate(tomllib.loads(text))
    assert path.stat().st_mode & 0o077 == 0


def test_a_test_message_is_sent_on_request(settings: Path, told: Path) -> None:
    done = command("notify", settings)
    assert (done.returncode, done.stdout) == (0, "sent\n")
    assert "neutro-screen: test message" in told.read_text("utf-8")

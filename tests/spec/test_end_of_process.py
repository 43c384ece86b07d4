"""The command ends at once, and nothing that the end of a process owes is lost: text, exit code, threads, what was to run then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROCESS = """
import atexit, sys, threading, time
from neutro_screen.cli.process import end_without_dismantling

class Left:
    def __del__(self):
        print("dismantled")

left = Left()

def later():
    time.sleep(0.2)
    print("thread")

def main():
    atexit.register(print, "handler")
    threading.Thread(target=later).start()
    print("said")
    {end}

end_without_dismantling(main)
"""


def ended(end: str, **more: object) -> "subprocess.CompletedProcess[str]":
    """A process whose command ends with a statement."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    code = _PROCESS.format(end=end)
    return subprocess.run([sys.executable, "-c", code], text=True, env=buffered, **streams)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("end", "code"), [("pass", 0), ("sys.exit(0)", 0), ("sys.exit(14)", 14), ("sys.exit(130)", 130)]
)
def test_the_end_keeps_text_exit_code_threads_and_handlers_and_takes_nothing_apart(end: str, code: int) -> None:
    done = ended(end)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.split() == ["said", "thread", "handler"]


@pytest.mark.parametrize(
    ("end", "said"), [("sys.exit('no')", "no\n"), ("raise ValueError('why')", "ValueError: why\n")]
)
def test_an_end_that_python_has_to_tell_is_python_s_own(end: str, said: str) -> None:
    done = ended(end)
    assert done.returncode == 1
    assert done.stderr.endswith(said)
    assert done.stdout.split() == ["said", "thread", "handler", "dismantled"]


def test_text_that_cannot_be_written_at_the_end_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = ended("sys.exit(0)", stdout=full)
    assert done.returncode == 120
    assert "No space left on device" in done.stderr

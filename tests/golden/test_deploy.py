"""The units, the cron line and the container file under deploy/: what a machine without an engine can judge of them."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neutro_screen.cli.app import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
#: systemd's own scale: 0 is shut in completely, 10 is open; "OK" ends at 4.9.
_MOST_EXPOSED = 2.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_finds_no_fault_in_any_unit(tmp_path: Path) -> None:
    units = sorted(DEPLOY.glob("*.service")) + sorted(DEPLOY.glob("*.timer"))
    assert len(units) == 5
    for unit in units:
        # systemd looks whether the program is there: here it is elsewhere.
        text = re.sub(r"/opt/neutro-screen/bin/\S+", sys.executable, unit.read_text("utf-8"))
        (tmp_path / unit.name).write_text(text, "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in units)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", ["neutro-screen", "neutro-screen-worker", "neutro-screen-prefect"])
def test_a_service_is_shut_in(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(DEPLOY / f"{name}.service")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    exposed = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposed, done.stderr
    assert float(exposed[1]) <= _MOST_EXPOSED
    assert "UMask=0077" in (DEPLOY / f"{name}.service").read_text("utf-8")


def program_lines() -> list[str]:
    """Every line of deploy/ and of the operations guide that calls the program."""
    service = (DEPLOY / "neutro-screen.service").read_text("utf-8").replace("\\\n", " ")
    texts = (service, (DEPLOY / "crontab").read_text("utf-8"), (ROOT / "docs" / "operations.md").read_text("utf-8"))
    guide = texts[2].replace("\\\n", " ")
    return re.findall(r"neutro-screen/bin/neutro-screen (.+)", texts[0] + texts[1]) + re.findall(
        r"^\$ neutro-screen (.+?)(?:\s+#.*)?$", guide, re.MULTILINE
    )


@pytest.mark.parametrize("line", program_lines())
def test_a_shown_command_is_one_that_the_program_understands(line: str) -> None:
    command, bound, _ = app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound is not None


def test_what_the_container_copies_is_there_and_its_user_is_nobody_special() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for word in line.split()]
    assert len(copied) > 5
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert "USER 10001" in text
    assert "--require-hashes" in text


def test_every_test_that_the_threat_model_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    named = set(re.findall(r"tests/[\w/]+(?:\.py)?", text)) | {
        f"tests/{match[1]}/{match[2]}" for match in re.finditer(r"`tests/(\w+)/\w+\.py`, `(test_\w+\.py)`", text)
    }
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []

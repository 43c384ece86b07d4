"""The units, the cron line and the container file under deploy/: what a machine without an engine can judge of them."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from neutro_screen.admin.doctor import examine
from neutro_screen.cli.app import app
from neutro_screen.orchestration.prefect_server import WORKING_VERSIONS
from neutro_screen.pipeline.options import now
from neutro_screen.pipeline.partitions import work_folder
from neutro_screen.store.file import lock, next_folder

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


_SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600}


def seconds(span: str) -> int:
    """A time span of systemd: a number with one unit, seconds where it has none."""
    number, unit = re.fullmatch(r"(\d+)\s*([a-z]*)", span).groups()  # type: ignore[union-attr]
    return int(number) * _SECONDS[unit or "s"]


def settings(unit: str) -> dict[str, str]:
    """The settings of a unit file; of one that stands several times all values, one a line."""
    read: dict[str, str] = {}
    text = (DEPLOY / unit).read_text("utf-8").replace("\\\n", " ")
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        read[name] = f"{read[name]}\n{value}" if name in read else value
    return read


@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.glob("*.service")))
def test_a_unit_that_is_restarted_reaches_the_state_that_starts_its_on_failure_unit(unit: str) -> None:
    """systemd.service(5), Restart=: "a restarted service enters the failed state only after the start limits are reached".

    The limit counts starts within StartLimitIntervalSec (10 s by default) of the first. So a burst of starts must fit into
    the interval: each attempt as long as it may be, and RestartSec (100 ms by default) after it.
    """
    of = settings(unit)
    if of.get("Restart", "no") == "no":
        return
    assert of["OnFailure"] == "neutro-screen-failed.service"
    assert (DEPLOY / of["OnFailure"]).exists()
    burst = int(of["StartLimitBurst"])
    # A service that is no oneshot may die at once, or after years: the limit is for one that does not come up.
    longest = seconds(of["TimeoutStartSec"]) if of.get("Type") == "oneshot" else 0
    interval = seconds(of["StartLimitIntervalSec"])
    assert burst * (longest + seconds(of.get("RestartSec", "0"))) < interval
    assert interval + seconds("30min") < 86_400, "the next night must have all its attempts"


def test_a_refusal_is_told_at_once_and_what_may_pass_is_tried_again() -> None:
    prevented = {int(code) for code in settings("neutro-screen.service")["RestartPreventExitStatus"].split()}
    assert prevented == {10, 12, 13, 16}


PATHS = r"(?<![\w.])/(?:srv|var|etc|opt)/[\w./*-]*[\w*]"
#: What the files of a deployment may name: the table "One set of paths" of the guide, and the system's own places.
ROOTS = (
    "/opt/neutro-screen",
    "/etc/neutro-screen",
    "/srv/extracts",
    "/srv/archive",
    "/var/lib/neutro-screen",
    "/var/cache/neutro-screen",
)
_OF_THE_SYSTEM = ("/etc/systemd/system", "/etc/cron.d")


def test_prefect_units_cron_container_and_guide_share_one_set_of_paths() -> None:
    files = [*DEPLOY.iterdir(), ROOT / "prefect.yaml", ROOT / "docs" / "operations.md"]
    files.append(ROOT / "neutro_screen" / "admin" / "starter" / "notify.toml")
    named = {(path.name, found) for path in files for found in re.findall(PATHS, path.read_text("utf-8"))}
    others = [(name, path) for name, path in named if not path.startswith((*ROOTS, *_OF_THE_SYSTEM))]
    assert sorted(others) == []
    options = {
        name: {
            value
            for found, value in re.findall(r"--(store|reports|notify|labs|medications)[ =]\"?(/[^\s\"]+)", text)
            if found == name
        }
        for name in ("store", "reports", "notify", "labs", "medications")
        for text in ["\n".join(path.read_text("utf-8") for path in DEPLOY.iterdir())]
    }
    nightly = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"][0]["parameters"]
    for name, values in options.items():
        asked = nightly[name] if isinstance(nightly[name], str) else nightly[name][0]
        assert values == {asked}, name
    environment = settings("neutro-screen-worker.service")["Environment"]
    guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "NEUTRO_SCREEN_HOME"):
        (value,) = re.findall(rf"^{name}=(\S+)$", environment, re.MULTILINE)
        assert re.findall(rf"^export {name}=(\S+)", guide, re.MULTILINE) == [value]


@pytest.mark.parametrize("unit", ["neutro-screen.service", "neutro-screen-worker.service"])
def test_what_a_night_writes_is_writable_under_its_unit(unit: str) -> None:
    """ProtectSystem=strict leaves the folders of State-, Cache- and LogsDirectory= writable, and nothing else."""
    of = settings(unit)
    assert of["ProtectSystem"] == "strict"
    writable = [Path("/var/lib") / of["StateDirectory"], Path("/var/cache") / of["CacheDirectory"]]
    starter = (ROOT / "neutro_screen" / "admin" / "starter" / "notify.toml").read_text("utf-8")
    (dead_man,) = re.findall(r'dead_man = "(.+)"', starter)
    nightly = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"][0]["parameters"]
    for path in (Path(dead_man), Path(nightly["store"]), Path(nightly["reports"])):
        assert any(folder in path.parents for folder in writable), path
    # The store's folder is closed to other accounts, that of the dead-man file is not.
    assert (of["StateDirectoryMode"], of["CacheDirectoryMode"]) == ("0700", "0755")
    assert Path(dead_man).parent == writable[1]


def test_what_a_killed_night_leaves_is_removed_by_its_unit(tmp_path: Path) -> None:
    """The command of ExecStopPost= removes both folders, and neither while another run holds the lock."""
    command = settings("neutro-screen.service")["ExecStopPost"].removeprefix("-")
    words = [word.replace("/var/lib/neutro-screen", str(tmp_path)) for word in shlex.split(command)]
    store = tmp_path / "screen.duckdb"
    left = [work_folder(store), next_folder(store)]
    with lock(store):
        for folder in left:
            folder.mkdir()
            (folder / "rows.parquet").write_bytes(b"P-001")
        assert subprocess.run(words).returncode != 0
        assert all(folder.exists() for folder in left)
    assert subprocess.run(words).returncode == 0
    assert not any(folder.exists() for folder in left)


def test_the_versions_of_prefect_that_work_are_pinned_and_doctor_names_them() -> None:
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["flows"]
    assert ", ".join(pins) == WORKING_VERSIONS
    (told,) = (finding.found for finding in examine(None, now()) if finding.check == "flows")
    assert WORKING_VERSIONS in told


def test_nothing_is_installed_from_an_index_by_our_name() -> None:
    """The name is not ours there: whoever claims it would run on the hospital's machine."""
    texts = [path for folder in ("neutro_screen", "docs", "deploy") for path in (ROOT / folder).rglob("*")]
    texts += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    installed = re.compile(r"(?:pip|pipx|uv|uvx)\s+[^\n]*install[^\n]*\bneutro[-_]screen(?:\[[a-z,]+\])?(?![\w./-])")
    found = [
        (str(path.relative_to(ROOT)), match)
        for path in texts
        if path.suffix in (".py", ".md", ".ipynb", ".toml", "") and path.is_file() and "__pycache__" not in path.parts
        for match in installed.findall(path.read_text("utf-8"))
        if "/bin/neutro-screen" not in match
    ]
    assert found == []


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


def test_every_promise_of_the_threat_model_names_tests_that_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    table = text.split("## What is defended")[1].split("\n## ")[0]
    promises = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(promises) > 20
    for threat, _, tests in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert named, threat
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{threat}: {file}::{name}"

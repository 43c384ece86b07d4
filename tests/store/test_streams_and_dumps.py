"""A named pipe is refused by name instead of waiting with the lock held; no crash writes the memory to a disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neutro_screen.errors import NeutroScreenError
from tests.nights import SAMPLE, night


@pytest.mark.parametrize(
    "name", ["labs.csv", "labs.parquet", "labs.xlsx", "labs.hl7", "labs.ndjson", "labs.csv.gz", "labs"]
)
@pytest.mark.parametrize("option", ["labs", "medications", "folder", "policy", "profile", "pseudonymise"])
def test_a_named_pipe_is_refused_by_name_and_the_lock_is_free(tmp_path: Path, name: str, option: str) -> None:
    place = tmp_path / "extracts"
    place.mkdir()
    os.mkfifo(place / name)
    labs, more = SAMPLE / "labs.csv", {}
    if option == "labs":
        labs = place / name
    elif option == "folder":
        labs = place
    else:
        more = {option: (str(place / name),) if option == "medications" else place / name}
    with pytest.raises(NeutroScreenError, match="named pipe") as refused:
        night(tmp_path / "s.duckdb", labs=labs, **more)
    assert refused.value.where == name
    assert refused.value.exit_code in (10, 11)
    assert not (tmp_path / ".s.duckdb.work").exists()


def test_a_device_is_no_extract(tmp_path: Path) -> None:
    with pytest.raises(NeutroScreenError, match="device"):
        night(tmp_path / "s.duckdb", labs=Path("/dev/zero"))


def test_the_command_forbids_core_dumps_for_itself_and_what_it_starts(tmp_path: Path) -> None:
    """The limit in force while a run is at work, seen by a notification command that the run has started."""
    seen, notify = tmp_path / "limits", tmp_path / "notify.toml"
    notify.write_text(
        f'command = ["sh", "-c", "cat /proc/self/limits > {seen}"]\nevents = ["done", "failed"]\n', "utf-8"
    )
    words = [
        "run",
        "--labs",
        str(tmp_path / "none.csv"),
        "--store",
        str(tmp_path / "s.duckdb"),
        "--notify",
        str(notify),
    ]
    subprocess.run([sys.executable, "-m", "neutro_screen.cli.app", *words], capture_output=True, check=False)
    (line,) = [line for line in seen.read_text("utf-8").splitlines() if line.startswith("Max core file size")]
    assert line.split()[4] == "0"  # the limit in force; the one beside it is how far it could be raised


def test_the_limit_is_set_in_the_process_itself() -> None:
    script = "import resource as r; from neutro_screen.private import forbid_core_dumps as f; f(); print(r.getrlimit(r.RLIMIT_CORE))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0)"

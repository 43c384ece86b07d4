"""What can go wrong at night: the store holds the run before or the new one, whole, and doctor says what to do."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from itertools import takewhile
from pathlib import Path

import duckdb
import pytest

from neutro_screen.admin.doctor import Finding, examine
from neutro_screen.errors import PublishError, StoreError
from neutro_screen.pipeline.options import moment
from neutro_screen.store import blocks
from neutro_screen.store import file as store_file
from neutro_screen.store.blocks import SuspectBlocksError, copy_file
from neutro_screen.store.file import reading
from neutro_screen.store.schema import SCREENED
from tests.nights import KINDS, NIGHT, SAMPLE, night, screened_sample, table, tables

NEXT = "2026-11-23T02:00:00"


@pytest.fixture
def store(tmp_path: Path, once: Path) -> Path:
    """The sample hospital, screened."""
    path = tmp_path / "own" / "s.duckdb"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(once.read_bytes())
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital, screened once for all tests."""
    return screened_sample(tmp_path_factory.mktemp("faults") / "s.duckdb")


def command(store: Path, as_of: str = NEXT) -> list[str]:
    """A night as a process of its own."""
    chart = [word for kind in KINDS for word in (f"--{kind}", str(SAMPLE / f"{kind}.csv"))]
    words = ["run", "--labs", str(SAMPLE / "labs.csv"), *chart, "--store", str(store), "--as-of", as_of]
    return [sys.executable, "-m", "neutro_screen.cli.app", *words]


def found(store: Path, check: str, now: str = NIGHT) -> Finding:
    """What doctor finds."""
    return next(finding for finding in examine(store, moment(now)) if finding.check == check)


def test_a_healthy_store_passes_every_check(store: Path) -> None:
    found = [finding for finding in examine(store, moment(NIGHT)) if finding.check != "flows"]  # of the environment
    assert [finding for finding in found if finding.state != "ok"] == []


def test_a_full_disk_ends_with_code_15_and_the_store_as_it_was(store: Path) -> None:
    before = store.read_bytes()
    done = subprocess.run(
        command(store),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert (done.returncode, done.stderr.count("\n")) == (15, 1), done.stderr
    assert "could not be published" in done.stderr
    assert store.read_bytes() == before
    assert sorted(path.name for path in store.parent.iterdir()) == [".s.duckdb.journal", ".s.duckdb.lock", "s.duckdb"]
    assert night(store, as_of=NEXT).account.accepted == 0
    assert [row[1] for row in table(store, "audit")].count("failed_run") == 1
    assert sorted(path.name for path in store.parent.iterdir()) == [".s.duckdb.lock", "s.duckdb"]


@pytest.mark.parametrize("after_s", [1.0, 2.5])
def test_a_killed_run_leaves_a_whole_store_and_the_next_one_clears_up(store: Path, after_s: float) -> None:
    process = subprocess.Popen(command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with reading(store) as connection:
        runs = connection.execute("SELECT count(*) FROM run").fetchall()[0][0]
        listed = connection.execute("SELECT count(DISTINCT run_id) FROM worklist_row").fetchall()[0][0]
    assert runs == listed
    night(store, as_of=NEXT)
    assert sorted(path.name for path in store.parent.iterdir()) == [".s.duckdb.lock", "s.duckdb"]
    for name, rows in tables(store, (*SCREENED, "lab_result")).items():
        assert rows or name == "unassessable", name


def test_what_a_kill_left_is_told_and_cleared(store: Path) -> None:
    left = store.with_name(".s.duckdb.next")
    left.mkdir()
    (left / "s.duckdb").write_bytes(b"half a copy")
    os.link(store, store.with_name(".s.duckdb.999999999.0"))
    assert "left-overs" in str(found(store, "left-overs"))
    night(store, as_of=NEXT)
    assert sorted(path.name for path in store.parent.iterdir()) == [".s.duckdb.lock", "s.duckdb"]


def test_the_log_of_another_writer_is_told_and_does_not_survive_the_next_run(store: Path) -> None:
    log = store.with_name("s.duckdb.wal")
    log.write_bytes(b"a log that fits nothing")
    told = found(store, "left-overs")
    assert (told.state, "another program wrote" in told.found) == ("warning", True)
    night(store, as_of=NEXT)
    assert not log.exists()
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchall() == [(2,)]


def test_a_truncated_store_is_refused_and_told(store: Path) -> None:
    store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])
    before = store.read_bytes()
    with pytest.raises((StoreError, PublishError)):
        night(store, as_of=NEXT)
    assert store.read_bytes() == before
    states = {finding.check: finding.state for finding in examine(store, moment(NIGHT))}
    assert "failed" in (states["store"], states["store contents"])


def test_a_damaged_block_is_found_by_doctor_and_never_published(store: Path) -> None:
    content = bytearray(store.read_bytes())
    for place in range(12_288 + 262_144, len(content) - 4_096, 262_144):
        content[place + 2_000 : place + 2_064] = b"\xff" * 64
    store.write_bytes(content)
    with pytest.raises((StoreError, PublishError)):
        night(store, as_of=NEXT)
    assert store.read_bytes() == bytes(content)
    states = {finding.check: finding.state for finding in examine(store, moment(NIGHT))}
    assert "failed" in (states["store"], states["store contents"])


@pytest.mark.parametrize("place", [0, 8, 64, 4_096, 4_104, 8_192, 8_200])
def test_a_damaged_header_is_called_damage(store: Path, place: int) -> None:
    """DuckDB's own words for some of these hold 'lock' (in 'block'): no other program writes."""
    content = bytearray(store.read_bytes())
    content[place : place + 512] = b"\xff" * 512
    store.write_bytes(content)
    try:
        night(store, as_of=NEXT)
    except StoreError as error:
        assert error.exit_code == 14
        assert "damaged" in str(error)
        assert "another program" not in str(error)
        assert store.read_bytes() == bytes(content)
    else:  # DuckDB has two headers and can go on with the other one
        assert place >= 4_096
        assert len(table(store, "run")) == 2


def test_a_damaged_table_that_the_night_does_not_touch_is_not_published_over(store: Path) -> None:
    """Only the reviews are damaged: a night copies their blocks and reads none of them."""
    with duckdb.connect(str(store)) as connection:
        connection.execute(
            "INSERT INTO review (patient_id, status, note, \"at\") SELECT 'X' || i, 'acknowledged', "
            "md5(i::VARCHAR), TIMESTAMP '2026-11-22' FROM range(60000) t(i)"
        )
        connection.execute("CHECKPOINT")
        (block,) = connection.execute(
            "SELECT max(block_id) FROM pragma_storage_info('review') WHERE column_name = 'note' AND persistent"
        ).fetchall()[0]
    content = bytearray(store.read_bytes())
    at = 3 * 4_096 + block * 262_144 + 1_000
    content[at : at + 64] = b"\xff" * 64
    store.write_bytes(content)
    with pytest.raises(StoreError, match="damaged") as raised:
        night(store, as_of=NEXT)
    assert raised.value.exit_code == 14
    assert store.read_bytes() == bytes(content)


def test_a_night_knows_a_sound_store_without_reading_its_tables(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them all cost a large store more than the rest of its night."""
    monkeypatch.setattr(store_file, "check_blocks", lambda connection, path: pytest.fail("the tables were read"))
    assert night(store, as_of=NEXT) is not None


def test_one_changed_byte_in_any_block_is_suspected_while_the_store_is_copied(store: Path) -> None:
    content, copy = store.read_bytes(), store.with_name("copy")
    copy_file(store, copy)
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o600
    for start in range(3 * 4_096, len(content), 256 << 10):
        for place in (start, start + 8, start + 100_000, start + (256 << 10) - 1):
            damaged = bytearray(content)
            damaged[place] ^= 1
            store.write_bytes(damaged)
            with pytest.raises(SuspectBlocksError):
                copy_file(store, copy)
    store.write_bytes(content[:-1])
    with pytest.raises(SuspectBlocksError):
        copy_file(store, copy)


@pytest.mark.parametrize("can_clone", [True, False])
def test_a_file_system_that_clones_is_asked_first_and_every_block_is_compared_all_the_same(
    can_clone: bool, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, copy, asked = store.read_bytes(), store.with_name("copy"), []

    def ioctl(target: int, request: int, source: int) -> int:
        asked.append(request)
        if not can_clone:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return os.sendfile(target, source, 0, len(content))

    monkeypatch.setattr(blocks.fcntl, "ioctl", ioctl)
    copy_file(store, copy)
    assert (copy.read_bytes() == content, len(asked)) == (True, 1)
    store.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SuspectBlocksError):
        copy_file(store, copy)


def test_a_clock_that_went_back_is_told(store: Path) -> None:
    told = found(store, "clock", "2020-01-01")
    assert (told.state, "no run can be published" in told.found) == ("failed", True)


def test_a_folder_that_lost_its_permission_is_told(store: Path) -> None:
    """Root may write anywhere, so a process that is root becomes somebody else."""
    if os.geteuid() == 0:
        os.chown(store, 65534, 65534)
        os.chown(store.parent, 65534, 65534)
    store.parent.chmod(0o500)
    # Up to the system's folder for temporary files, whose mode is not ours to change.
    for parent in takewhile(lambda parent: parent != Path(tempfile.gettempdir()), list(store.parents)[1:]):
        parent.chmod(0o755)
    code = f"""
import json, os
from datetime import datetime
from pathlib import Path
from neutro_screen.admin.doctor import examine
from neutro_screen.errors import NeutroScreenError
from neutro_screen.store.file import lock, publishing
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
store, codes = Path({str(store)!r}), []
for attempt in (lock, publishing):
    try:
        attempt(store).__enter__()
    except NeutroScreenError as error:
        codes.append(error.exit_code)
told = [finding for finding in examine(store, datetime(2026, 11, 22, 2)) if finding.check == "store permissions"]
print(json.dumps([codes, told[0]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    store.parent.chmod(0o700)
    assert done.returncode == 0, done.stderr
    codes, told = json.loads(done.stdout)
    assert codes[0] == 14
    assert codes[1] in (14, 15)  # the store cannot be reached, or its copy cannot be made beside it
    assert (told[1], "its folder not be written" in told[2]) == ("failed", True)

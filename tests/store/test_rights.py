"""Links, owner, group and mode of a store: kept by every command that replaces it, and named as what they are when wrong."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neutro_screen.admin.doctor import examine
from neutro_screen.errors import StoreError
from neutro_screen.pipeline.options import moment
from neutro_screen.store.file import lock, publishing, reading
from neutro_screen.store.retention import remove
from neutro_screen.store.review import record_review
from tests.nights import NIGHT, night, table

NEXT = "2026-11-23T02:00:00"
SOMEBODY, READERS = 65534, 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small hospital, screened once for all tests."""
    folder = tmp_path_factory.mktemp("rights")
    labs = folder / "labs.csv"
    labs.write_text(
        "patient_id,specimen_id,collected_at,loinc,value,unit\nA,S1,2026-11-21 08:00,751-8,0.4,10*9/L\n", "utf-8"
    )
    night(folder / "s.duckdb", labs, medications=(), patients=(), diagnoses=(), events=())
    return folder


@pytest.fixture
def store(once: Path) -> Iterator[Path]:
    """The store and its extract in a private folder that another user could reach (pytest's own folders are closed)."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "own"
        shutil.copytree(once, folder)
        folder.chmod(0o700)
        yield folder / "s.duckdb"


def next_night(store: Path, **more: object) -> None:
    """Another run over the same extract."""
    night(
        store,
        store.resolve().with_name("labs.csv"),
        as_of=NEXT,
        medications=(),
        patients=(),
        diagnoses=(),
        events=(),
        **more,
    )


def review(store: Path) -> None:
    """A reviewer's decision."""
    with lock(store):
        record_review(store, "A", "acknowledged", until=None, note=None, by="me", at=moment(NIGHT))


def retention(store: Path) -> None:
    """The removal of what old runs left."""
    with lock(store):
        remove(store, before=moment(NIGHT), patient_id=None, by="me", at=moment(NIGHT))


def publication(store: Path) -> None:
    """A publication that changes nothing."""
    with publishing(store):
        pass


COMMANDS = pytest.mark.parametrize("command", [next_night, review, retention, publication])


def rights(path: Path) -> tuple[int, int, str]:
    """Owner, group and mode."""
    found = path.stat()
    return found.st_uid, found.st_gid, f"{stat.S_IMODE(found.st_mode):04o}"


@COMMANDS
@pytest.mark.parametrize(("mode", "kept"), [(0o640, "0640"), (0o660, "0660"), (0o600, "0600"), (0o644, "0600")])
def test_the_mode_is_kept_unless_it_shows_the_store_to_others(
    store: Path, command: Callable[[Path], None], mode: int, kept: str
) -> None:
    store.chmod(mode)
    command(store)
    assert rights(store)[2] == kept


@as_root
@COMMANDS
def test_a_command_of_root_leaves_the_store_to_its_owner(store: Path, command: Callable[[Path], None]) -> None:
    for path in (store.parent, *store.parent.iterdir()):
        os.chown(path, SOMEBODY, READERS)
    store.chmod(0o640)
    command(store)
    assert rights(store) == (SOMEBODY, READERS, "0640")
    left = [path for path in store.parent.iterdir() if path.name.startswith(".")]
    assert {path.stat().st_uid for path in left} <= {SOMEBODY}


@as_root
def test_root_makes_a_new_store_and_its_reports_for_the_owner_of_their_folder(store: Path) -> None:
    store.unlink()
    reports = store.parent / "reports"
    reports.mkdir()
    for path in (store.parent, reports):
        os.chown(path, SOMEBODY, READERS)
    next_night(store, reports=reports)
    assert {path.stat().st_uid for path in (store, *reports.iterdir())} == {SOMEBODY}


#: Every module that the commands load is loaded as root (the interpreter's own folder may be root's), on a store apart.
_AS_SOMEBODY = f"""
import json, os, sys, tempfile
from pathlib import Path
from tests.nights import command
with tempfile.TemporaryDirectory() as folder:
    labs, store = Path(folder, "l.csv"), f"{{folder}}/s.duckdb"
    labs.write_text("patient_id,collected_at,loinc,value,unit\\nA,2026-11-21 08:00,751-8,0.4,10*9/L\\n")
    for words in (["run", "--labs", labs, "--reports", folder], ["worklist"], ["report", "--reports", folder], ["migrate"],
                  ["review", "A", "--status", "acknowledged"]):
        command(*words, "--store", store).check_returncode()
os.setgroups([])
os.setgid({SOMEBODY})
os.setuid({SOMEBODY})
for asked in sys.stdin:
    print(json.dumps([vars(command(*words)) for words in json.loads(asked)]), flush=True)
"""
AsSomebody = Callable[..., list[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def as_somebody() -> Iterator[AsSomebody]:
    """The commands given, one after the other, as a user without any right of its own: one process for all tests."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_SOMEBODY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    asked, told = process.stdin, process.stdout

    def done(*commands: list[Path | str]) -> list[subprocess.CompletedProcess[str]]:
        print(json.dumps([[str(word) for word in words] for words in commands]), file=asked, flush=True)
        return [subprocess.CompletedProcess(**each) for each in json.loads(told.readline())]

    yield done
    asked.close()
    assert process.wait(60) == 0


@as_root
def test_a_store_of_another_user_is_not_called_damaged(store: Path, as_somebody: AsSomebody) -> None:
    for path in (store.parent, store.with_name(".s.duckdb.lock")):
        os.chown(path, SOMEBODY, SOMEBODY)
    before = store.read_bytes()
    ways = (["worklist"], ["report", "--reports", store.parent / "r"], ["migrate"])
    for done in as_somebody(*([*words, "--store", store] for words in ways)):
        assert done.returncode == StoreError.exit_code == 14, done.stderr
        assert "cannot be read by this user (Permission denied); it belongs to root" in done.stderr
        assert "damaged" not in done.stderr
    assert store.read_bytes() == before


@as_root
def test_a_user_who_cannot_keep_the_owner_does_not_take_the_store_away(store: Path, as_somebody: AsSomebody) -> None:
    for path in (store.parent, store.with_name(".s.duckdb.lock")):
        os.chown(path, SOMEBODY, SOMEBODY)
    os.chown(store, READERS, SOMEBODY)
    store.chmod(0o640)
    (done,) = as_somebody(["review", "A", "--store", store, "--status", "acknowledged"])
    assert done.returncode == 14, done.stderr
    assert "owner and group cannot be kept" in done.stderr
    assert rights(store) == (READERS, SOMEBODY, "0640")
    assert table(store, "review") == []


@as_root
def test_analysts_of_a_group_read_the_store_and_doctor_is_content(store: Path, as_somebody: AsSomebody) -> None:
    os.chown(store.parent, 0, SOMEBODY)
    os.chown(store, 0, SOMEBODY)
    store.parent.chmod(0o2750)
    store.chmod(0o640)
    next_night(store)
    done, refused = as_somebody(
        ["worklist", "--store", store], ["review", "A", "--store", store, "--status", "acknowledged"]
    )
    assert (done.returncode, "critical" in done.stdout or "high" in done.stdout) == (0, True), done.stderr
    found = next(finding for finding in examine(store, moment(NEXT)) if finding.check == "store permissions")
    assert (found.state, "group" in found.found) == ("ok", True)
    assert refused.returncode == 14
    assert "the store's folder cannot be used (Permission denied)" in refused.stderr


@as_root
def test_a_folder_that_cannot_be_written_is_named_and_no_unexpected_error(store: Path, as_somebody: AsSomebody) -> None:
    with lock(store):
        pass
    for path in (store, store.with_name(".s.duckdb.lock"), store.parent):
        os.chown(path, SOMEBODY, SOMEBODY)
    store.parent.chmod(0o500)
    labs = store.with_name("labs.csv")
    (done,) = as_somebody(["run", "--labs", labs, "--store", store, "--as-of", NEXT])
    store.parent.chmod(0o700)
    assert done.returncode == 14, done.stderr
    assert "the store's folder cannot be used (Permission denied)" in done.stderr


@pytest.mark.parametrize("relative", [True, False])
@COMMANDS
def test_the_file_that_a_link_names_is_replaced(
    store: Path, tmp_path: Path, command: Callable[[Path], None], relative: bool
) -> None:
    elsewhere = tmp_path / "links"
    elsewhere.mkdir()
    first, link = elsewhere / "first.duckdb", elsewhere / "link.duckdb"
    first.symlink_to(os.path.relpath(store, elsewhere) if relative else store)
    link.symlink_to("first.duckdb")
    before = store.stat().st_ino
    command(link)
    assert link.is_symlink()
    assert first.is_symlink()
    assert store.stat().st_ino != before
    assert sorted(path.name for path in elsewhere.iterdir()) == ["first.duckdb", "link.duckdb"]
    with reading(link) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchall()[0][0] >= 1


def test_a_link_and_its_target_are_one_store_to_the_lock(store: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(store)
    with lock(store), pytest.raises(StoreError, match="another run"), lock(link):
        pass


def test_a_link_around_a_circle_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "a.duckdb").symlink_to("b.duckdb")
    (tmp_path / "b.duckdb").symlink_to("a.duckdb")
    with pytest.raises(StoreError, match="symbolic link"), reading(tmp_path / "a.duckdb"):
        pass


def test_links_in_the_report_folder_stay(store: Path) -> None:
    reports, web = store.parent / "reports", store.parents[1] / "web"
    reports.mkdir()
    web.mkdir()
    (web / "page.html").write_text("old", "utf-8")
    (web / "page.html").chmod(0o640)
    (reports / "report.html").symlink_to("../../web/page.html")
    next_night(store, reports=reports)
    assert (reports / "report.html").is_symlink()
    assert "<html" in (web / "page.html").read_text("utf-8")
    assert rights(web / "page.html")[2] == "0640"
    assert sorted(path.name for path in reports.iterdir()) == ["flagged.csv", "flags.csv", "report.html"]
    assert [path.name for path in web.iterdir()] == ["page.html"]

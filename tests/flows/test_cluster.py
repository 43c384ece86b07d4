"""A run whose files and parts are given out to the workers of a real Dask cluster gives the tables of one machine, also
when a worker is killed in every phase."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from neutro_screen.errors import ConfigurationError, NeutroScreenError, PublishError
from neutro_screen.orchestration import tasks
from neutro_screen.orchestration.flow_options import task_runner
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.partitions import Workspace, work_folder
from neutro_screen.pipeline.run import run
from tests.flows.conftest import PrefectServer
from tests.flows.test_nightly import NIGHT, SAMPLE
from tests.store.test_backfill import tables as rows_by_table

#: Two worker processes. In every phase the first that comes there kills itself: in the midst of a file whose first rows
#: are in the buckets, and after each step of a part. Spawned workers import this file.
_CLUSTER = """
import json, os, signal, sys
from pathlib import Path
import dask
from distributed import LocalCluster
import neutro_screen.orchestration.tasks as tasks
from neutro_screen.pipeline.partitions import Workspace

def dies_once(phase):
    if os.environ["FLOW"] != str(os.getpid()):
        try:
            os.close(os.open(Path(os.environ["KILLED"]) / phase, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

write_buckets = Workspace._write_buckets
def writes_and_dies(self, name, rows):
    write_buckets(self, name, rows)
    if name == "lab_row" and rows.height:
        dies_once("read")

def dies_after(step):
    def taken(settings, work, part):
        told = step(settings, work, part)
        dies_once(step.__name__)
        return told
    return taken

Workspace._write_buckets = writes_and_dies
tasks.PART_STEPS = tuple(map(dies_after, tasks.PART_STEPS))

if __name__ == "__main__":
    asked, said = json.loads(sys.argv[1]), {}
    os.environ["FLOW"] = str(os.getpid())
    dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"})
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, env={"POLARS_MAX_THREADS": "1"})
    said["workers"] = [worker.pid for worker in cluster.workers.values()]
    os.environ["NEUTRO_SCREEN_TASK_RUNNER"] = f"dask:{cluster.scheduler_address}"
    from flows.backfill import backfill
    said["summary"] = backfill(**asked)
    said["workers_after"] = [worker.pid for worker in cluster.workers.values()]
    print(json.dumps(said))
    cluster.close()
"""


def files_in_two_folders(folder: Path) -> list[str]:
    """The sample hospital's results as ten files: five in a folder, and five of the same names in another."""
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    for number in range(10):
        path = folder / "2025" / f"{number // 5}" / f"labs{number % 5}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *lines[number::10]]), "utf-8")
    return [f"{folder}/2025/0", f"{folder}/2025/1/*.csv"]


def asked_of(folder: Path) -> dict[str, list[str]]:
    charts = {kind: [str(SAMPLE / f"{kind}.csv")] for kind in ("medications", "patients", "diagnoses", "events")}
    return {"labs": files_in_two_folders(folder)} | charts


def settings_of(store: Path, asked: dict[str, list[str]], **more: Any) -> RunOptions:
    return RunOptions(store=store, as_of=moment(NIGHT), **{kind: tuple(paths) for kind, paths in asked.items()}, **more)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The tables of the ten files on one machine."""
    folder = tmp_path_factory.mktemp("alone")
    run(settings_of(folder / "s" / "s.duckdb", asked_of(folder)))
    return rows_by_table(folder / "s" / "s.duckdb")


def assert_equal(store: Path, expected: dict[str, pl.DataFrame]) -> None:
    for name, frame in rows_by_table(store).items():
        assert frame.equals(expected[name]), name
    assert expected["anc"].height
    assert not work_folder(store).exists()


def test_workers_of_whom_one_is_killed_in_every_phase_give_the_tables_of_one_machine(
    tmp_path: Path, prefect_server: PrefectServer, alone: dict[str, pl.DataFrame]
) -> None:
    store, killed = tmp_path / "s" / "s.duckdb", tmp_path / "killed"
    killed.mkdir()
    told = {"store": str(store), "as_of": NIGHT, "by": "year", "parts": 4}
    asked = asked_of(tmp_path)
    script = tmp_path / "cluster.py"
    script.write_text(_CLUSTER, "utf-8")  # spawned workers import their main module: it has to be a file
    prefect_server.environment["KILLED"] = str(killed)
    done = prefect_server.python(str(script), json.dumps(asked | told))
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert {path.name for path in killed.iterdir()} == {"read", "validate_step", "history_step", "screen_step"}
    assert not set(said["workers"]) & set(said["workers_after"])
    assert said["summary"]["last"]["account"]["rows_in"] == 1665
    assert_equal(store, alone)


class InTurn:
    """A task that is given out, and taken in this process when its result is asked for."""

    def __init__(self, act: Callable[..., dict[str, int]]) -> None:
        self.fn = act

    def submit(self, *given: Any) -> SimpleNamespace:
        told: list[Any] = []

        def wait() -> None:
            try:
                told.append(self.fn(*given))
            except NeutroScreenError as error:
                told.append(error)

        def result() -> dict[str, int]:
            if isinstance(told[0], Exception):
                raise told[0]
            return told[0]

        return SimpleNamespace(wait=wait, result=result)


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks of a run as plain functions."""
    for name in ("share_out", "gather", "survey", "publish"):
        monkeypatch.setattr(tasks, name, getattr(tasks, name).fn)
    for name in ("read_share", "whole_part"):
        monkeypatch.setattr(tasks, name, InTurn(getattr(tasks, name).fn))


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("parts", [1, 12])
def test_however_many_shares_and_parts_the_tables_are_those_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: dict[str, pl.DataFrame], parts: int
) -> None:
    """Every share is begun once by a worker that is lost after its first rows: nothing of it is there twice."""
    read, add, lost = tasks.read_step, Workspace.add, list[int]()

    def adds_and_dies(self: Workspace, name: str, rows: pl.DataFrame) -> None:
        add(self, name, rows)
        if rows.height:
            raise TimeoutError

    def after_a_lost_attempt(settings: RunOptions, work: Workspace, share: int) -> dict[str, int]:
        with monkeypatch.context() as patched, pytest.raises(TimeoutError):
            patched.setattr(Workspace, "add", adds_and_dies)
            read(settings, Workspace(work_folder(settings.store), writer=f"{share:06d}-lost"), share)
        lost.append(share)
        return read(settings, work, share)

    monkeypatch.setattr(tasks, "read_step", after_a_lost_attempt)
    settings = settings_of(tmp_path / "s" / "s.duckdb", asked_of(tmp_path))
    assert tasks.run_parts_at_once(parts)(settings).account.rows_in == 1665
    assert len(lost) == {1: 1, 12: 11}[parts]
    assert_equal(settings.store, alone)


@pytest.mark.usefixtures("in_turn")
def test_a_bad_file_on_a_worker_is_the_error_of_one_machine(tmp_path: Path) -> None:
    """Named files that are damaged, and an archive of which no file can be read."""
    good, archive = asked_of(tmp_path)["labs"], tmp_path / "archive"
    archive.mkdir()
    for name in ("b.csv", "a.csv"):
        (archive / name).write_text("nothing,of,use\n1,2,3\n", "utf-8")
    told = set[tuple[type, str, int]]()
    for labs, medications in (([*good, str(archive / "b.csv")], []), ([*good], [str(archive)])):
        for number, act in enumerate((run, tasks.run_parts_at_once(20))):
            settings = settings_of(tmp_path / "s" / f"{number}.duckdb", {"labs": labs, "medications": medications})
            with pytest.raises(NeutroScreenError) as raised:
                act(settings)
            told.add((raised.type, str(raised.value), raised.value.exit_code))
            assert not settings.store.exists()
            assert not work_folder(settings.store).exists()
    assert len(told) == 2, told
    assert {message.split(":")[0] for _, message, _ in told} == {"a.csv", "b.csv"}


@pytest.mark.usefixtures("in_turn")
def test_files_of_an_archive_that_cannot_be_read_are_told_whoever_read_them(tmp_path: Path) -> None:
    good = asked_of(tmp_path)["labs"]
    (tmp_path / "2025" / "0" / "labs2.csv").write_text("nothing,of,use\n1,2,3\n", "utf-8")
    warnings = []
    for number, act in enumerate((run, tasks.run_parts_at_once(4))):
        summary = act(settings_of(tmp_path / "s" / f"{number}.duckdb", {"labs": good}))
        warnings.append([row for row in summary.warnings if row["kind"] == "unreadable_file"])
    assert warnings[0] == warnings[1]
    assert "1 of 10 files could not be read (labs2.csv)" in str(warnings[0])


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("task", ["read_share", "whole_part"])
@pytest.mark.parametrize("lost", ["its count", "its files"])
def test_a_share_or_part_that_is_missing_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, lost: str
) -> None:
    taken, what = getattr(tasks, task).fn, {"read_share": "share", "whole_part": "part"}[task]

    def loses(settings: RunOptions, work: str, number: int) -> dict[str, int]:
        told = taken(settings, work, number) if lost == "its count" or number == 0 else {what: number}
        return told | {what: 0} if lost == "its count" else told

    monkeypatch.setattr(tasks, task, InTurn(loses))
    asked = settings_of(tmp_path / "s" / "s.duckdb", {"labs": files_in_two_folders(tmp_path)})
    with pytest.raises((PublishError, FileNotFoundError)):
        tasks.run_parts_at_once(2)(asked)
    assert not asked.store.exists()


@pytest.mark.parametrize("asked", ["ray", "dask:", "dask:0", "dask:many", "spark:local"])
def test_an_unknown_task_runner_is_refused(asked: str) -> None:
    with pytest.raises(ConfigurationError, match="is no task runner"):
        task_runner(asked)


def test_the_task_runner_is_this_machine_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEUTRO_SCREEN_TASK_RUNNER", raising=False)
    assert type(task_runner()).__name__ == "ThreadPoolTaskRunner"
    monkeypatch.setenv("NEUTRO_SCREEN_TASK_RUNNER", "dask:tcp://10.0.0.1:8786")
    runner = task_runner()
    assert (type(runner).__name__, runner.address) == ("DaskTaskRunner", "tcp://10.0.0.1:8786")

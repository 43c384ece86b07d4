"""The parts of a run mapped over a real Dask cluster give the tables of one machine, also when a worker is killed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from neutro_screen.errors import ConfigurationError, PublishError
from neutro_screen.orchestration import tasks
from neutro_screen.orchestration.flow_options import task_runner
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from tests.flows.conftest import PrefectServer
from tests.flows.test_nightly import NIGHT, SAMPLE
from tests.store.test_backfill import tables as rows_by_table

#: Two worker processes; one is killed as soon as the first counts of a part are drawn, while both are at work.
_CLUSTER = """
import json, os, signal, sys, threading, time
from pathlib import Path
import dask
from distributed import LocalCluster

def kill_one(cluster, work, said):
    while not list(work.glob("Screened.tables.anc.*.parquet")):
        time.sleep(0.01)
    said["killed"] = cluster.workers[0].pid
    os.kill(said["killed"], signal.SIGKILL)
    said["finished_before"] = len(list(work.glob("Screened.*.json")))

if __name__ == "__main__":
    asked, said = json.loads(sys.argv[1]), {}
    dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, env={"POLARS_MAX_THREADS": "1"})
    said["workers"] = [worker.pid for worker in cluster.workers.values()]
    os.environ["NEUTRO_SCREEN_TASK_RUNNER"] = f"dask:{cluster.scheduler_address}"
    from flows.backfill import backfill
    store = Path(asked["store"])
    work = store.with_name(f".{store.name}.work")
    threading.Thread(target=kill_one, args=(cluster, work, said), daemon=True).start()
    said["summary"] = backfill(**asked)
    said["workers_after"] = [worker.pid for worker in cluster.workers.values()]
    print(json.dumps(said))
    cluster.close()
"""


def test_two_workers_of_whom_one_is_killed_give_the_tables_of_one_machine(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    kinds = ("labs", "medications", "patients", "diagnoses", "events")
    asked = {kind: [str(SAMPLE / f"{kind}.csv")] for kind in kinds}
    by_cluster, alone = tmp_path / "cluster" / "s.duckdb", tmp_path / "alone" / "s.duckdb"
    told = {"store": str(by_cluster), "as_of": NIGHT, "by": "file", "parts": 6}
    script = tmp_path / "cluster.py"
    script.write_text(_CLUSTER, "utf-8")  # spawned workers import their main module: it has to be a file
    done = prefect_server.python(str(script), json.dumps(asked | told))
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(set(said["workers"])) == 2
    assert said["killed"] in said["workers"]
    assert said["killed"] not in said["workers_after"]
    assert said["finished_before"] < told["parts"]
    assert said["summary"]["last"]["account"]["rows_in"] == 1665
    run(RunOptions(store=alone, as_of=moment(NIGHT), **{kind: tuple(paths) for kind, paths in asked.items()}))
    expected = rows_by_table(alone)
    for name, frame in rows_by_table(by_cluster).items():
        assert frame.equals(expected[name]), name
    assert expected["anc"].height
    assert not list(by_cluster.parent.glob(".s.duckdb.work"))


@pytest.mark.parametrize("lost", ["its count", "its files"])
def test_a_part_that_is_missing_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    for name in ("ingest", "survey", "publish"):
        monkeypatch.setattr(tasks, name, getattr(tasks, name).fn)

    def submit(settings: RunOptions, work: str, part: int) -> SimpleNamespace:
        told = tasks.whole_part.fn(settings, work, part) if lost == "its count" or part == 0 else {"part": part}
        return SimpleNamespace(result=lambda: told | {"part": 0} if lost == "its count" else told)

    monkeypatch.setattr(tasks, "whole_part", SimpleNamespace(submit=submit, fn=tasks.whole_part.fn))
    asked = RunOptions(store=tmp_path / "s" / "s.duckdb", as_of=moment(NIGHT), labs=(str(SAMPLE / "labs.csv"),))
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

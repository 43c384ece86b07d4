"""What is tried again adds nothing: after every step, whatever failed, the store is that of one clean run."""

import json
import re
from pathlib import Path

import pytest

from neutro_screen.errors import PublishError, ReportError
from neutro_screen.orchestration import tasks
from neutro_screen.pipeline.ingest import ingest_step
from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.partitions import Workspace, working_folder
from neutro_screen.pipeline.plan import survey_step
from neutro_screen.pipeline.publish import publish_step
from neutro_screen.pipeline.report import report_step
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import lock
from neutro_screen.store.schema import TABLES
from tests.flows.conftest import PrefectServer
from tests.flows.test_nightly import NIGHT, SAMPLE, rows
from tests.nights import command, table, tables

KINDS = ("labs", "medications", "patients", "diagnoses", "events")
#: What the machine's clock says of a run is never the same twice.
_BY_THE_CLOCK = {"run": "started_at", "audit": '"at"'}


def inputs() -> dict[str, list[str]]:
    """The sample hospital by kind."""
    return {kind: [str(SAMPLE / f"{kind}.csv")] for kind in KINDS}


def settings_for(store: Path, reports: Path | None = None) -> RunOptions:
    """One night of the sample hospital."""
    given = {kind: tuple(paths) for kind, paths in inputs().items()}
    return RunOptions(store=store, as_of=moment(NIGHT), reports=reports, **given)


def contents(store: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table, without what the clock says and without what the run was asked to deliver (the clean one: nothing)."""
    return tables(store, [name for name in TABLES if name != "run_delivery"], _BY_THE_CLOCK)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    """The store of one run in which nothing failed."""
    store = tmp_path_factory.mktemp("clean") / "s" / "s.duckdb"
    run(settings_for(store))
    return contents(store)


def assert_same(store: Path, clean: dict[str, list[tuple[object, ...]]]) -> None:
    """The store holds every row of the clean one and no other."""
    for name, found in contents(store).items():
        assert found == clean[name], name
    assert len(clean["run"]) == 1
    deliveries = table(store, "run_delivery")
    assert len(deliveries) == len({row[:2] for row in deliveries})
    assert clean["anc"]


@pytest.mark.parametrize("parts", [1, 3])
def test_every_step_taken_twice_gives_the_store_of_one_clean_run(
    tmp_path: Path, clean: dict[str, list[tuple[object, ...]]], parts: int
) -> None:
    settings = settings_for(tmp_path / "s" / "s.duckdb", tmp_path / "reports")
    with lock(settings.store), working_folder(settings.store) as folder:

        def work() -> Workspace:
            return Workspace(folder)

        for step in (ingest_step, survey_step):
            assert step(settings, work()) == step(settings, work())
        work().divide(parts, 1)
        for part in work().parts:
            for part_step in tasks.PART_STEPS:
                assert part_step(settings, work(), part) == part_step(settings, work(), part)
        first = publish_step(settings, work())
        assert publish_step(settings, work()) == first == publish_step(settings, work())
        assert report_step(settings, work()) == report_step(settings, work()) == tmp_path / "reports" / "report.html"
    assert_same(settings.store, clean)


def test_an_attempt_that_read_other_files_leaves_no_row_behind(tmp_path: Path) -> None:
    """The first look finds an export of many pieces, the second the corrected one of few."""
    labs, header = tmp_path / "labs.csv", (SAMPLE / "labs.csv").read_text("utf-8").splitlines()[0]
    whole = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()[1:]
    settings = RunOptions(store=tmp_path / "s" / "s.duckdb", as_of=moment(NIGHT), labs=(str(tmp_path / "*.csv"),))
    with lock(settings.store), working_folder(settings.store) as folder:
        for number in range(4):
            (tmp_path / f"old{number}.csv").write_text("\n".join([header, *whole[number::4]]), "utf-8")
        assert ingest_step(settings, Workspace(folder))["lab_rows"] == len(whole)
        for number in range(4):
            (tmp_path / f"old{number}.csv").unlink()
        labs.write_text("\n".join([header, *whole[:10]]), "utf-8")
        assert ingest_step(settings, Workspace(folder))["lab_rows"] == 10
        survey_step(settings, Workspace(folder))
        for part_step in tasks.PART_STEPS:
            part_step(settings, Workspace(folder), 0)
        account = publish_step(settings, Workspace(folder)).account
    assert account.rows_in == 10
    stored = sum(len(rows(settings.store, name)) for name in ("lab_result", "no_result", "rejected_row"))
    assert stored <= 10


def test_a_publication_whose_end_was_not_seen_is_not_repeated(
    tmp_path: Path, clean: dict[str, list[tuple[object, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is in place, and then the folder cannot be synchronised: the step fails although the run is published."""
    import neutro_screen.store.file as module

    settings, synchronise = settings_for(tmp_path / "s" / "s.duckdb"), module._synchronise

    def fails_for_a_folder(path: Path) -> None:
        if path.is_dir():
            raise OSError(5, "Input/output error")
        synchronise(path)

    with lock(settings.store), working_folder(settings.store) as folder:
        ingest_step(settings, Workspace(folder))
        survey_step(settings, Workspace(folder))
        for part_step in tasks.PART_STEPS:
            part_step(settings, Workspace(folder), 0)
        with monkeypatch.context() as patched:
            patched.setattr(module, "_synchronise", fails_for_a_folder)
            with pytest.raises(PublishError):
                publish_step(settings, Workspace(folder))
        summary = publish_step(settings, Workspace(folder))
    assert summary.account.rows_in == 1665
    assert_same(settings.store, clean)


#: The night's flow with its pauses cut to a second. Of every step that Prefect tries again the first two attempts fail:
#: reading and publishing after their work is done, the reports because their folder is a file until then.
_FAILS_TWICE = """
import json, os, sys
import neutro_screen.orchestration.tasks as module
from flows.nightly import nightly
from neutro_screen.errors import PublishError, UnreadableInputError
asked = json.loads(sys.argv[1])
for name in ("ingest", "publish", "report"):
    setattr(module, name, getattr(module, name).with_options(retry_delay_seconds=[1, 1, 1]))
tried = {"ingest": 0, "publish": 0, "report": 0}
def twice(name, step, error):
    def fails(settings, work):
        tried[name] += 1
        told = step(settings, work)
        if tried[name] < 3:
            raise error("for a moment")
        return told
    return fails
report_step = module.report_step
def away_at_first(settings, work):
    tried["report"] += 1
    if tried["report"] == 3:
        os.unlink(asked["reports"])
    return report_step(settings, work)
module.ingest_step = twice("ingest", module.ingest_step, UnreadableInputError)
module.publish_step = twice("publish", module.publish_step, PublishError)
module.report_step = away_at_first
open(asked["reports"], "w").close()
print(json.dumps(nightly(**asked)))
print(json.dumps(tried))
"""


def test_a_flow_whose_steps_fail_twice_publishes_once_and_reports(
    tmp_path: Path, prefect_server: PrefectServer, clean: dict[str, list[tuple[object, ...]]]
) -> None:
    store, reports = tmp_path / "s" / "s.duckdb", tmp_path / "reports"
    asked = inputs() | {"store": str(store), "reports": str(reports), "as_of": NIGHT}
    done = prefect_server.python("-c", _FAILS_TWICE, json.dumps(asked))
    assert done.returncode == 0, done.stderr[-2000:]
    summary, tried = map(json.loads, done.stdout.splitlines())
    assert tried == {"ingest": 3, "publish": 3, "report": 3}
    assert summary["report"] == str(reports / "report.html")
    assert (reports / "report.html").exists()
    assert "reports could not be written" in done.stderr
    assert not re.search("(survey|validate|history|screen)-.*Retry", done.stderr)
    assert_same(store, clean)
    assert command("doctor", "--store", store).returncode == 0


_STAYS_AWAY = """
import json, sys
import neutro_screen.orchestration.tasks as module
from flows.nightly import nightly
from neutro_screen.errors import ReportError
module.report = module.report.with_options(retry_delay_seconds=[1, 1, 1])
try:
    nightly(**json.loads(sys.argv[1]))
except ReportError as error:
    print(error.exit_code, error)
"""


def test_a_report_folder_that_stays_away_fails_the_report_only(
    tmp_path: Path, prefect_server: PrefectServer, clean: dict[str, list[tuple[object, ...]]]
) -> None:
    store, reports, told, notify = (tmp_path / name for name in ("s/s.duckdb", "reports", "told", "notify.toml"))
    reports.touch()
    notify.write_text(f'command = ["tee", "{told}"]\n', "utf-8")
    asked = inputs() | {"store": str(store), "reports": str(reports), "as_of": NIGHT, "notify": str(notify)}
    done = prefect_server.python("-c", _STAYS_AWAY, json.dumps(asked))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("16 ")
    assert "the results are in the store, but the reports could not be written" in done.stdout
    assert len(re.findall("report-.*Retry", done.stderr)) == 3
    assert_same(store, clean)
    message = told.read_text("utf-8")
    assert message.startswith("neutro-screen FAILED: ReportError, exit code 16")
    assert "The results are published, but not reported" in message
    assert "Nobody was screened" not in message


def test_the_command_ends_with_a_code_of_its_own_and_report_makes_up_for_it(
    tmp_path: Path, clean: dict[str, list[tuple[object, ...]]]
) -> None:
    store, reports = tmp_path / "s" / "s.duckdb", tmp_path / "reports"
    reports.touch()
    words = [word for kind, paths in inputs().items() for word in (f"--{kind}", *paths)]
    done = command("run", *words, "--store", store, "--reports", reports, "--as-of", NIGHT)
    assert done.returncode == ReportError.exit_code == 16
    assert "the results are in the store, but the reports could not be written" in done.stderr
    assert_same(store, clean)
    reports.unlink()
    assert command("report", "--store", store, "--reports", reports).returncode == 0
    assert (reports / "report.html").exists()

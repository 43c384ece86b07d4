"""What the flows and a scheduler need: settings from plain words, what may be tried again, serving on one machine."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from neutro_screen.errors import ConfigurationError, PublishError, UnreadableInputError
from neutro_screen.pipeline.options import RunSettings, bytes_of, moment, now

#: Reading and publishing are tried again after these pauses; a refusal is not.
BACK_OFF_SECONDS: Final = [10, 60, 300]


def serve_nightly(cron: str, time_zone: str, parameters: dict[str, Any]) -> None:
    """Serve the nightly flow at the times of ``cron`` until the process is stopped; one run at a time.

    Raises:
        ConfigurationError: Prefect is not installed, or the times cannot be understood.
    """
    # Before the import: Prefect reads its settings then. Nothing is reported to anybody.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
    try:
        from prefect import Flow
        from prefect.schedules import Cron
    except ImportError:
        raise ConfigurationError("Prefect is not installed", remedy="pip install 'neutro-screen[flows]'") from None
    try:
        times = Cron(cron, timezone=time_zone)
    except ValueError:
        raise ConfigurationError(f"{cron!r} in {time_zone!r} is no schedule", remedy='Example: "0 2 * * *"') from None
    nightly: Any = Flow.from_source(source=str(flow_folder()), entrypoint="nightly.py:nightly")
    nightly.serve(name="nightly", schedule=times, parameters=parameters, limit=1)


def flow_folder() -> Path:
    """Where the flows are: inside an installed package, beside it in a checkout."""
    here = Path(__file__).parents[1]
    return here / "flows" if (here / "flows").is_dir() else here.parent / "flows"


def settings_of(asked: Mapping[str, Any]) -> RunSettings:
    """Settings from what a scheduler keeps: texts, numbers and lists by the names of ``RunSettings``; None is not given.

    Raises:
        ConfigurationError: ``as_of`` is no time, or ``memory`` no size.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    clock = moment(asked["as_of"]) if asked.get("as_of") else now()
    memory = {"memory": bytes_of(asked["memory"])} if asked.get("memory") else {}
    return TypeAdapter(RunSettings).validate_python(given | memory | {"as_of": clock})


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a task is worth another try: a share that is away, a file still to come, a full disk. A refusal stays."""
    return isinstance(state.result(raise_on_failure=False), UnreadableInputError | PublishError)


def task_runner(asked: str | None = None) -> Any:
    """Where a flow's parts are screened: ``NEUTRO_SCREEN_TASK_RUNNER``, or ``asked``.

    Nothing: one after the other in this process, which has all cores to itself. ``dask:N``: N processes on this
    machine. ``dask:tcp://HOST:PORT``: the workers of a cluster, which see the store and its folder under the same paths.

    Raises:
        ConfigurationError: it is none of these, or prefect-dask is not installed.
    """
    asked = os.environ.get("NEUTRO_SCREEN_TASK_RUNNER", "") if asked is None else asked
    if not asked:
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=1)
    engine, _, place = asked.partition(":")
    if engine != "dask" or not ((place.isdecimal() and int(place)) or "://" in place):
        raise ConfigurationError(f"{asked!r} is no task runner", remedy='Example: "dask:4" or "dask:tcp://host:8786"')
    try:
        import dask
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise ConfigurationError(
            "prefect-dask is not installed", remedy="pip install 'neutro-screen[cluster]'"
        ) from None
    if "://" in place:
        return DaskTaskRunner(address=place)
    # A worker is a process of its own, never a fork (polars would deadlock), with one core and one thread of polars.
    dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    dask.config.set({"distributed.nanny.pre-spawn-environ.POLARS_MAX_THREADS": "1"})
    return DaskTaskRunner(cluster_kwargs={"n_workers": int(place), "threads_per_worker": 1, "dashboard_address": None})

"""What the flows and a scheduler need: settings from plain words, what may be tried again, serving on one machine."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from neutro_screen.errors import ConfigurationError, PublishError, ReportError, UnreadableInputError
from neutro_screen.pipeline.options import RunSettings, bytes_of, moment, now
from neutro_screen.prefect_server import PrivateServer, check_prefect, prepare_environment

#: Reading, publishing and reporting are tried again after these pauses; a refusal is not.
BACK_OFF_SECONDS: Final = [10, 60, 300]


def serve_nightly(
    cron: str, time_zone: str, parameters: dict[str, Any], home: Path, say: Callable[[str], None]
) -> None:
    """Serve the nightly flow at the times of ``cron`` until the process is stopped; one run at a time.

    Where ``PREFECT_API_URL`` names no server, a private one runs meanwhile, with its state in ``home``. ``say`` is what tells
    the operator how far it is.

    Raises:
        ConfigurationError: Prefect is not installed, or the times cannot be understood, or ``home`` is in use.
        NeutroScreenError: the private server does not start.
    """
    check_prefect()
    # All of this before the import: Prefect reads its settings then.
    server = None if prepare_environment() else PrivateServer(home, say)
    from prefect import Flow
    from prefect.runner import Runner
    from prefect.schedules import Cron

    class Nights(Runner):
        """Ends at SIGTERM as Prefect's own does, which makes a coroutine besides that nobody awaits, with a warning."""

        def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
            sys.exit(0)

    try:
        times = Cron(cron, timezone=time_zone)
    except ValueError:
        raise ConfigurationError(f"{cron!r} in {time_zone!r} is no schedule", remedy='Example: "0 2 * * *"') from None
    # Ctrl-C is the way to stop it, not an error.
    with suppress(KeyboardInterrupt), server.running() if server else nullcontext():
        nightly: Any = Flow.from_source(source=str(flow_folder()), entrypoint="nightly.py:nightly")
        runner = Nights(name="nightly", limit=1)
        runner.add_flow(nightly, name="nightly", schedule=times, parameters=parameters)
        say(f"the night is scheduled at {cron!r} ({time_zone}); stop with Ctrl-C or SIGTERM")
        asyncio.run(runner.start())


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
    return isinstance(state.result(raise_on_failure=False), UnreadableInputError | PublishError | ReportError)


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

"""Serving the nightly flow on one machine."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from neutro_screen.errors import ConfigurationError
from neutro_screen.orchestration.flow_options import parameters_of
from neutro_screen.orchestration.prefect_server import PrivateServer, check_prefect, prepare_environment
from neutro_screen.pipeline.options import RunOptions

T = TypeVar("T")


def serve_nightly(cron: str, time_zone: str, options: RunOptions, say: Callable[[str], None]) -> None:
    """Serve the nightly flow at the times of ``cron`` until the process is stopped; one run at a time.

    Where ``PREFECT_API_URL`` names no server, a private one runs meanwhile, with its state beside the store. ``say`` shows
    the operator how far it is.

    Raises:
        ConfigurationError: Prefect is not installed, or the times cannot be understood, or its folder is in use.
        NeutroScreenError: the private server does not start.
    """
    parameters = parameters_of(options)
    home = options.store.absolute().with_name(f".{options.store.name}.prefect")
    check_prefect()
    # All of this before the import: Prefect reads its settings then.
    server = None if prepare_environment() else PrivateServer(home, say)
    from prefect import Flow
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.runner import Runner
    from prefect.schedules import Cron

    class Nights(Runner):
        """Ends at SIGTERM as Prefect's own does, which makes a coroutine besides that nobody awaits, with a warning."""

        def handle_sigterm(self, *args: object, **kwargs: object) -> None:
            sys.exit(0)

    try:
        CronSchedule(cron=cron, timezone=time_zone)  # as the server will take it: it checks the zone too
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

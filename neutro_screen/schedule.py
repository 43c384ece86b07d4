"""Serving the nightly flow on a single machine, without a Prefect server of one's own."""

import os
from pathlib import Path
from typing import Any

from neutro_screen.errors import ConfigurationError


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
    here = Path(__file__).parent
    return here / "flows" if (here / "flows").is_dir() else here.parent / "flows"

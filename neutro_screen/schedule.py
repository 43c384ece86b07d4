"""What the flows and a scheduler need: settings from plain words, what may be tried again, serving on one machine."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from neutro_screen.errors import ConfigurationError, PublishError, UnreadableInputError
from neutro_screen.pipeline import RunSettings, moment, now

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
    here = Path(__file__).parent
    return here / "flows" if (here / "flows").is_dir() else here.parent / "flows"


def settings_of(asked: Mapping[str, Any]) -> RunSettings:
    """Settings from what a scheduler keeps: texts, numbers and lists by the names of ``RunSettings``; None is not given.

    Raises:
        ConfigurationError: ``as_of`` is no time.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    return TypeAdapter(RunSettings).validate_python(
        given | {"as_of": moment(asked["as_of"]) if asked.get("as_of") else now()}
    )


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a task is worth another try: a share that is away, a file still to come, a full disk. A refusal stays."""
    return isinstance(state.result(raise_on_failure=False), UnreadableInputError | PublishError)

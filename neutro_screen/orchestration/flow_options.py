"""Options of a run as a scheduler keeps them, and where a flow's partitions are screened."""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter

from neutro_screen.errors import ConfigurationError, extra
from neutro_screen.pipeline.options import RunOptions, bytes_of, moment

T = TypeVar("T")


def options_of(asked: Mapping[str, Any]) -> RunOptions:
    """Options from what a scheduler keeps: texts, numbers and lists by the names of ``RunOptions``; None is not given.

    Raises:
        ConfigurationError: ``as_of`` is no time, or ``memory`` no size.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    for name, parsed in (("as_of", moment), ("memory", bytes_of)):
        if isinstance(given.get(name), str):
            given[name] = parsed(given[name])
    return TypeAdapter(RunOptions).validate_python(given)


def parameters_of(options: RunOptions) -> dict[str, object]:
    """Options as a scheduler keeps them, with absolute paths; the index time is every night's own."""
    own = {field.name: getattr(options, field.name) for field in fields(options) if field.name != "as_of"}
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in own.items()}


def with_run_options(flow_function: Callable[..., T]) -> Callable[..., T]:
    """A function of ``options: RunOptions`` and more as one that takes each option by its name: the flows repeat no list.

    A deployment names them one by one (prefect.yaml); those that are not required may be None, which is not given.
    """
    own = [parameter for name, parameter in signature(flow_function).parameters.items() if name != "options"]
    types, by_name = get_type_hints(RunOptions) | {"memory": int | str}, Parameter.POSITIONAL_OR_KEYWORD
    each = [
        Parameter(field.name, by_name, annotation=types[field.name])
        if field.default is MISSING and field.default_factory is MISSING
        else Parameter(field.name, by_name, annotation=types[field.name] | None, default=None)
        for field in fields(RunOptions)
    ]
    flat = Signature(
        [*sorted(each, key=lambda parameter: parameter.default is None), *own],
        return_annotation=signature(flow_function).return_annotation,
    )

    @wraps(flow_function)
    def flow_of_each(*values: object, **named: object) -> T:
        given = flat.bind(*values, **named).arguments
        more = {parameter.name: given.pop(parameter.name) for parameter in own if parameter.name in given}
        return flow_function(options_of(given), **more)

    vars(flow_of_each)["__signature__"] = flat
    flow_of_each.__annotations__ = {name: parameter.annotation for name, parameter in flat.parameters.items()}
    return flow_of_each


def task_runner(asked: str | None = None) -> object:
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
        raise ConfigurationError("prefect-dask is not installed", remedy=extra("cluster")) from None
    if "://" in place:
        return DaskTaskRunner(address=place)
    # A worker is a process of its own, never a fork (polars would deadlock), with one core and one thread of polars.
    dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    dask.config.set({"distributed.nanny.pre-spawn-environ.POLARS_MAX_THREADS": "1"})
    # One that was killed is given up if it is not back in time (15 s by default): on a busy machine it takes longer to start.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"})
    return DaskTaskRunner(cluster_kwargs={"n_workers": int(place), "threads_per_worker": 1, "dashboard_address": None})

"""Settings of every test: no example fails because the machine was busy, and two workers share two cores."""

import gc
import os
from typing import Any

import pytest
from hypothesis import settings

from neutro_screen import orchestration as orchestration  # before Prefect: says what its start is to leave out

# Results are the same whatever the number of threads; with two each, two workers wait for one another (polars reads it once).
os.environ.setdefault("POLARS_MAX_THREADS", "1")

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

#: Folders whose files take long come first, so that the last to end are short.
_FIRST = ("flows", "wheel", "web", "store", "spec", "golden", "property")

#: Folders whose files share what is dear: one Prefect server; one browser, and the reports of one hospital.
_TOGETHER = ("tests/flows", "tests/web")


def _rank(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, and leave what was collected out of every later search for garbage."""
    items.sort(key=_rank)
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """A file's tests stay with one worker, which makes what they share once; so do all of some folders (``_TOGETHER``)."""
    from xdist.scheduler import LoadFileScheduling

    scheduler: Any = LoadFileScheduling(config, log)
    file_of = scheduler._split_scope

    def scope_of(nodeid: str) -> str:
        folder = nodeid.partition("::")[0].rpartition("/")[0]
        return folder if folder in _TOGETHER else str(file_of(nodeid))

    scheduler._split_scope = scope_of
    return scheduler

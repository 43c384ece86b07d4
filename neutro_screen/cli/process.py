"""What the command asks of its own process: private files, usable standard streams, no core dump, an orderly end."""

import atexit
import gc
import io
import os
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

from neutro_screen.errors import Stopped
from neutro_screen.left_out import leave_out

#: Word tables and modules are tens of thousands of objects, none of them garbage: searching them is a tenth of a start.
_OBJECTS_BETWEEN_SEARCHES: Final = 250_000
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What libraries read when they are loaded, where the environment does not say otherwise. numpy's algebra starts a thread that
#: waits for work at full speed, and nothing large is asked of it; pydantic looks through all installed packages for plugins,
#: which would see the values of models.
_OF_LIBRARIES: Final = {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}


def prepare_process() -> None:
    """Prepare the process before anything is read.

    Files are private to the user. A core dump would hold patients' rows: there is none. Characters that standard output
    cannot encode are written as escapes. SIGINT, SIGTERM and SIGHUP raise ``Stopped`` (the last not under ``nohup``), so
    that what a command has begun is cleared up; a second signal changes nothing.
    """
    os.umask(0o077)
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    for name, value in _OF_LIBRARIES.items():
        os.environ.setdefault(name, value)
    leave_out("hypothesis")  # pandera loads it where it is installed, to make examples
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _occupy_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def end_without_dismantling(main: Callable[[], None]) -> None:
    """Call ``main``, then end as the interpreter does, but leave the memory to the system.

    Taking apart the modules, frames and bindings that one command has loaded takes a tenth of a start, for memory that is
    given back anyway. Everything else of an end stays, since only its last step is left out: errors and exit codes are
    Python's, threads are waited for, and what was registered to run at the end after this runs before it. Standard output
    and error are written out; where that fails, and with an exit code that is text, the interpreter ends in its own way.
    Files need nothing: the store is closed and in its place before a command says so, locks go with the process.
    """
    code: int | None = None

    def end() -> None:
        if code is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return
        os._exit(code)

    atexit.register(end)
    try:
        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else None
        raise


def _stop(number: int, frame: FrameType | None) -> None:
    for each in _ENDING:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _ending_already)
    raise Stopped(number)


def _ending_already(number: int, frame: FrameType | None) -> None:
    """The first signal is being obeyed."""


def _occupy_standard_descriptors() -> None:
    """Open 0, 1 and 2 where they are closed: the store's file would get such a number, and a library might print into it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def abandon_standard_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not fail on it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)

"""What the command asks of its own process: private files, usable standard streams, no core dump, an orderly end."""

import atexit
import gc
import io
import os
import resource
import signal
import sys
from types import FrameType
from typing import Final

from neutro_screen.errors import Stopped

#: Word tables and modules are tens of thousands of objects, none of them garbage: searching them is a tenth of a start.
_OBJECTS_BETWEEN_SEARCHES: Final = 250_000
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def prepare_process() -> None:
    """Prepare the process before anything is read.

    Files are private to the user. A core dump would hold patients' rows: there is none. Characters that standard output
    cannot encode are written as escapes. SIGINT, SIGTERM and SIGHUP raise ``Stopped`` (the last not under ``nohup``), so
    that what a command has begun is cleared up; a second signal changes nothing.
    """
    os.umask(0o077)
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    # One search fewer of the interpreter's end. (gc.freeze would save all of them, 0.3 s; DuckDB then reports leaks on stderr.)
    atexit.register(gc.disable)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _occupy_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


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

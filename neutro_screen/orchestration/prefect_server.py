"""The Prefect server that ``schedule`` needs: the one that ``PREFECT_API_URL`` names, else a private one of its own.

Prefect schedules nothing without a standing server. The private one listens on loopback under a password made for it,
keeps its state in a folder of its own (0700), is started again when it dies, and ends with the command, also when that
is killed. It is this module run as a program.
"""

import fcntl
import os
import runpy
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Final

from neutro_screen.errors import ConfigurationError, NeutroScreenError, extra
from neutro_screen.private import private_file

_HOST: Final = "127.0.0.1"
#: The first start makes Prefect's database: 10 to 20 s, several times that on a busy machine.
_STARTS_WITHIN_SECONDS: Final = 300
_ENDS_WITHIN_SECONDS: Final = 20
_LOOK_SECONDS: Final = 1
_MOST_RESTARTS: Final = 5
#: Nothing is reported to anybody, and no temporary server takes the place of one that is away.
_QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}


#: The versions that the extra ``flows`` pins (pyproject.toml; a test compares them).
WORKING_PREFECT: Final = "3.8.8"
WORKING_VERSIONS: Final = f"prefect=={WORKING_PREFECT}, fastapi<0.151, sqlalchemy<2.1"


def version_fault() -> tuple[str, str] | None:
    """What about the installed versions keeps Prefect from working, and the remedy; None = nothing.

    Raises:
        PackageNotFoundError: Prefect is not installed.
    """
    prefect, fastapi, sqlalchemy = version("prefect"), version("fastapi"), version("sqlalchemy")
    if prefect != WORKING_PREFECT:
        return f"prefect {prefect} has not been tried", f"Install what works: {WORKING_VERSIONS}."
    if int(fastapi.split(".")[1]) > 150:
        return f"prefect {prefect} cannot start with fastapi {fastapi}", "Install fastapi<0.151."
    if not sqlalchemy.startswith("2.0."):
        return f"no schedule of prefect {prefect} fires with sqlalchemy {sqlalchemy}", "Install sqlalchemy<2.1."
    return None


def check_prefect() -> None:
    """Say at once what is missing.

    Raises:
        ConfigurationError: Prefect is not installed, or beside it versions with which it does not work.
    """
    try:
        fault = version_fault()
    except PackageNotFoundError:
        raise ConfigurationError("Prefect is not installed", remedy=extra("flows")) from None
    if fault:
        raise ConfigurationError(fault[0], remedy=fault[1])


class PrivateServer:
    """A Prefect server of this process alone. Made before Prefect is imported: it settles its environment."""

    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        """Settle home folder, address and password in the environment of this process and its children.

        Raises:
            ConfigurationError: the home folder cannot be made.
        """
        self._home, self._say = Path(os.environ.get("PREFECT_HOME") or home), say
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home.chmod(0o700)  # Prefect's database is 0644 and keeps parameters and log lines
        except OSError as error:
            raise ConfigurationError(
                f"Prefect's home folder cannot be used ({error.strerror})",
                where=str(self._home),
                remedy="Name another one in PREFECT_HOME.",
            ) from None
        with socket.socket() as free:
            free.bind((_HOST, 0))
            self._port: int = free.getsockname()[1]
        password = f"neutro-screen:{secrets.token_urlsafe(32)}"
        os.environ.update(
            PREFECT_HOME=str(self._home),
            PREFECT_API_URL=f"http://{_HOST}:{self._port}/api",
            PREFECT_API_AUTH_STRING=password,
            PREFECT_SERVER_API_AUTH_STRING=password,
        )
        self._ending, self._has_failed = Event(), False

    @contextmanager
    def running(self) -> Iterator[None]:
        """The server, healthy, for the length of the block; started again when it ends too early.

        Raises:
            ConfigurationError: another ``schedule`` uses the home folder.
            NeutroScreenError: the server does not start, or ended too often.
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with self._own_home():
            self._say(f"starting a Prefect server of its own on {_HOST}; its log is {self._log}")
            self._process = self._started()
            watch = Thread(target=self._watch, name="prefect-server", daemon=True)
            try:
                self._wait_until_healthy()
                watch.start()
                yield
            finally:
                self._ending.set()
                if watch.ident:
                    watch.join()
                _end(self._process)
                if self._has_failed:
                    raise self._not_started("ended again and again")

    @contextmanager
    def _own_home(self) -> Iterator[None]:
        with private_file(self._home / "schedule.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigurationError(
                    "another `neutro-screen schedule` is at work here", where=str(self._home), remedy="Stop it first."
                ) from None
            yield

    def _started(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", __name__, str(self._port)]
        with private_file(self._log) as log:
            # A session of its own: what a terminal sends (Ctrl-C) reaches the command, which then ends the server. The
            # pipe breaks when this process is gone, whatever ended it.
            return subprocess.Popen(  # noqa: S603 - this program's own module, nothing of a user in it
                words, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def _log(self) -> Path:
        return self._home / "server.log"

    def _wait_until_healthy(self) -> None:
        end = monotonic() + _STARTS_WITHIN_SECONDS
        while not _is_healthy(self._port):
            if (code := self._process.poll()) is not None:
                raise self._not_started(f"ended with code {code}")
            if monotonic() > end:
                raise self._not_started(f"did not start within {_STARTS_WITHIN_SECONDS} s")
            self._ending.wait(0.2)

    def _not_started(self, how: str) -> NeutroScreenError:
        return NeutroScreenError(
            f"the Prefect server {how}; nothing is scheduled",
            where=str(self._log),
            remedy="This file says why. A server of your own is used where PREFECT_API_URL names it.",
        )

    def _watch(self) -> None:
        """Start the server again whenever it ended; after too many times end the command instead of waiting for nothing."""
        restarts = 0
        while not self._ending.wait(_LOOK_SECONDS):
            if (code := self._process.poll()) is None:
                continue
            restarts += 1
            if restarts > _MOST_RESTARTS:
                self._has_failed = True
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._say(f"warning: the Prefect server ended with code {code}; it is started again")
            self._process = self._started()


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection(_HOST, port, timeout=2)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_ENDS_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin:
        process.stdin.close()


def prepare_environment() -> bool:
    """Settle what Prefect reads when it is imported; whether ``PREFECT_API_URL`` names a server."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL", "").strip():
        return True
    os.environ.pop("PREFECT_API_URL", None)  # an empty one is an address to Prefect
    return False


def _serve(port: str) -> None:
    """The server itself, in a process whose standard input is a pipe from its parent."""
    Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = ["prefect", "server", "start", "--host", _HOST, "--port", port, "--no-ui"]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(sys.argv[1])

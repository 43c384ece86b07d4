"""A process that is killed while it publishes into a store: ``python -m neutro_screen.admin.self_test.killed STORE``.

It kills itself, without a chance to clear up, in the middle of the transaction.
"""

import os
import signal
import sys
from pathlib import Path

from neutro_screen.store.file import publishing


def publish_and_die(store: Path) -> None:
    """Delete every count inside the transaction of a publication, then be killed."""
    with publishing(store) as connection:
        connection.execute("DELETE FROM anc")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    publish_and_die(Path(sys.argv[1]))

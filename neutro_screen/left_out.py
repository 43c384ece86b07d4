"""Libraries that others load wherever they are installed, for something that is never asked of them here."""

import sys


def leave_out(library: str) -> None:
    """Let every later import of a library fail, as if it were not installed; what is loaded already stays.

    Those that load it do without: only what is an optional part of another library is left out.
    """
    sys.modules.setdefault(library, None)  # type: ignore[arg-type]  # None is what Python takes for "not to be found"

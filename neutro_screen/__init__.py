"""neutro_screen: nightly screening of blood-count extracts for neutropenia. A screening aid; it diagnoses nothing."""

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

# polars' allocator keeps freed memory for ten seconds instead of none: the next frame gets it without asking the system,
# which is a tenth of a large run. It reads this once, when polars is loaded; who has set it otherwise is left alone.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")

__version__ = version("neutro-screen")
__all__ = ["Extract", "Profile", "RunSummary", "ScreenResult", "Screening", "__version__", "read", "run", "screen"]

if TYPE_CHECKING:
    from neutro_screen.api import Extract, Profile, RunSummary, Screening, ScreenResult, read, run, screen
else:
    # Loaded on first use: `neutro-screen --help` should not wait for polars and pandera. Type checkers read the lines above:
    # with this function every slip in a name would pass.
    def __getattr__(name: str) -> object:
        if name in __all__:
            return getattr(import_module("neutro_screen.api"), name)
        raise AttributeError(f"module 'neutro_screen' has no attribute {name!r}")

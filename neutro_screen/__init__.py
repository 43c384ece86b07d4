"""neutro_screen: nightly screening of blood-count extracts for neutropenia. A screening aid; it diagnoses nothing."""

import os
from importlib import import_module
from importlib.metadata import version
from typing import Any

# polars' allocator keeps freed memory for ten seconds instead of none: the next frame gets it without asking the system,
# which is a tenth of a large run. It reads this once, when polars is loaded; who has set it otherwise is left alone.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")

__version__ = version("neutro-screen")
__all__ = ["ScreenResult", "__version__", "read", "run", "screen"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `neutro-screen --help` should not wait for polars and pandera.
    if name in ("read", "run", "screen", "ScreenResult"):
        return getattr(import_module("neutro_screen.api"), name)
    raise AttributeError(f"module 'neutro_screen' has no attribute {name!r}")

"""neutro_screen: nightly screening of blood-count extracts for neutropenia. A screening aid; it diagnoses nothing."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("neutro-screen")
__all__ = ["ScreenResult", "__version__", "read", "run", "screen"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `neutro-screen --help` should not wait for polars and pandera.
    if name in ("read", "run", "screen", "ScreenResult"):
        return getattr(import_module("neutro_screen.api"), name)
    raise AttributeError(f"module 'neutro_screen' has no attribute {name!r}")

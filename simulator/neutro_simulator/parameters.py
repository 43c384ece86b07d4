"""The numbers of the simulator: simulation.toml and enriched.toml, each with unit and source.

A section is a cause or a subject, an entry one number. Where patients differ, the entry names the shape of the
distribution they are drawn from.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

HOURS_PER_DAY = 24.0


@cache
def all_parameters() -> dict[str, Any]:
    """Both files, section by section; read once."""
    sections: dict[str, Any] = {}
    for name in ("simulation.toml", "enriched.toml"):
        with (files("neutro_simulator") / name).open("rb") as source:
            sections |= tomllib.load(source)
    return sections


def entry(section: str, name: str) -> dict[str, Any]:
    """One entry with value, unit, source and, where there is one, shape. `regimen.docetaxel` names a nested section.

    Raises KeyError naming the section and entry where there is none.
    """
    table: Any = all_parameters()
    for part in section.split("."):
        table = table[part]
    if name not in table:
        raise KeyError(f"simulation.toml has no entry {section}.{name}")
    found: dict[str, Any] = table[name]
    return found


def has(section: str, name: str) -> bool:
    """Whether the section sets this entry itself."""
    return name in all_parameters().get(section, {})


def number(section: str, name: str) -> float:
    """A single number, in the unit the entry states."""
    return float(entry(section, name)["value"])


def numbers(section: str, name: str) -> tuple[float, ...]:
    """A list of numbers, in the unit the entry states."""
    return tuple(float(value) for value in entry(section, name)["value"])


def text(section: str, name: str) -> str:
    """A single text."""
    return str(entry(section, name)["value"])


def texts(section: str, name: str) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(str(value) for value in entry(section, name)["value"])


def draw(rng: np.random.Generator, section: str, name: str, size: int | tuple[int, ...]) -> FloatArray:
    """Values from the entry's distribution, in its unit; a constant where the entry has no shape."""
    row = entry(section, name)
    match row.get("shape", "constant"):
        case "constant":
            return np.full(size, float(row["value"]))
        case "uniform":
            low, high = row["value"]
            return rng.uniform(low, high, size)
        case "normal":
            mean, spread, low, high = row["value"]
            return _inside(rng, size, low, high, lambda n: rng.normal(mean, spread, n))
        case "lognormal":
            median, spread, low, high = row["value"]
            return _inside(rng, size, low, high, lambda n: median * np.exp(rng.normal(0.0, spread, n)))
        case shape:
            raise ValueError(f"simulation.toml: {section}.{name} has the unknown shape {shape!r}")


def _inside(rng: np.random.Generator, size: int | tuple[int, ...], low: float, high: float, sample: Any) -> FloatArray:
    """Redraws what falls outside low..high: clipping would pile patients up on the limits."""
    values: FloatArray = np.asarray(sample(int(np.prod(size))), dtype=np.float64)
    while (outside := (values < low) | (values > high)).any():
        values[outside] = sample(int(outside.sum()))
    return values.reshape(size)

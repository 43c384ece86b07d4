"""How soon what does not come is reported, and how often a usual night is. `python -m benchmarks.silence [hospitals [first seed]]`.

Quarters of a simulated hospital with twelve laboratories: daily, weekday, weekly and monthly ones, each with its own numbers
and scatter. On a night on which it is due a laboratory stops, loses its neutrophils, or sends a fifth; or the whole
export is stuck, empty or cut to a third.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

import polars as pl

from neutro_schemas.store import LaboratoryDay
from neutro_screen.quality.timeliness import ARRIVALS, EXTRACTS, Received, silence_warnings
from neutro_screen.reference import load_policy
from neutro_screen.validate import dtypes

FIRST_NIGHT: Final = datetime.fromisoformat("2026-01-01T02:00:00")
LEARNING_D: Final = 150
QUARTER_D: Final = 92
#: Share of the specimens with each analyte.
ANALYTES: Final = {
    "wbc": 1.0,
    "hgb": 0.98,
    "plt": 0.97,
    "neut_abs": 0.9,
    "neut_pct": 0.9,
    "eos_abs": 0.88,
    "bands_pct": 0.06,
}
NEUTROPHILS: Final = ("neut_abs", "neut_pct")


@dataclass(frozen=True)
class Laboratory:
    """``due`` on a day of collection, which arrives the night after; ``specimens`` on such a day, and their scatter (log)."""

    name: str
    due: Callable[[date], bool]
    specimens: Callable[[date], float]
    scatter: float = 0.15


def _on(*weekdays: int) -> Callable[[date], bool]:
    return lambda day: day.weekday() in weekdays


def _constant(specimens: float) -> Callable[[date], float]:
    return lambda day: specimens


def _fewer_at_weekends(specimens: float) -> Callable[[date], float]:
    return lambda day: specimens * (0.35 if day.weekday() >= 5 else 1)


_DAILY, _WORKDAYS = _on(*range(7)), _on(*range(5))
LABORATORIES: Final = (
    Laboratory("daily large", _DAILY, _fewer_at_weekends(400)),
    Laboratory("daily middle", _DAILY, _fewer_at_weekends(120), scatter=0.25),
    Laboratory("daily small", _DAILY, _constant(25)),
    Laboratory("weekday large", _WORKDAYS, _constant(90)),
    Laboratory("weekday middle", _WORKDAYS, _constant(40), scatter=0.3),
    Laboratory("weekday small", _WORKDAYS, _constant(18)),
    Laboratory("three days", _on(0, 2, 4), _constant(30)),
    Laboratory("Tuesdays", _on(1), _constant(40)),
    Laboratory("Thursdays", _on(3), _constant(20)),
    Laboratory("Saturdays", _on(5), _constant(12)),
    Laboratory("first of the month", lambda day: day.day == 1, _constant(80)),
    Laboratory("first Monday", lambda day: day.weekday() == 0 and day.day <= 7, _constant(35)),
)


def arrivals_of(laboratories: tuple[Laboratory, ...], nights: int, seed: int) -> pl.DataFrame:
    """What came in each of the nights: the shape ``ARRIVALS``."""
    random, rows = Random(seed), list[dict[str, object]]()  # noqa: S311 - a simulation
    for back in range(nights):
        at = FIRST_NIGHT + timedelta(days=back)
        day = (at - timedelta(days=1)).date()
        for laboratory in laboratories:
            if laboratory.due(day):
                mean = laboratory.specimens(day) * random.lognormvariate(0, laboratory.scatter)
                n = _poisson(random, mean)
                rows += [
                    {"at": at, "lab": laboratory.name, "analyte": analyte, "n": _binomial(random, n, share)}
                    for analyte, share in ANALYTES.items()
                ]
    return pl.DataFrame(rows, schema=ARRIVALS).filter(pl.col("n") > 0)


def _binomial(random: Random, n: int, share: float) -> int:
    return sum(random.random() < share for _ in range(n))


def _poisson(random: Random, mean: float) -> int:
    """How many of so many on average; arrivals at random in a span of time."""
    n, waited = 0, random.expovariate(1)
    while waited < mean:
        n, waited = n + 1, waited + random.expovariate(1)
    return n


def warnings_of(arrivals: pl.DataFrame, night: int, read_rows: int | None = None) -> pl.DataFrame:
    """The warnings of a night by what came up to it; ``read_rows`` where known rows were read and nothing new came."""
    as_of = FIRST_NIGHT + timedelta(days=night)
    known = arrivals.filter(pl.col("at") <= as_of)
    new = int(known.filter(pl.col("at") == as_of)["n"].sum())
    runs = pl.DataFrame(
        {"at": [FIRST_NIGHT + timedelta(days=back) for back in range(night + 1)]}, schema={"at": pl.Datetime("us")}
    )
    read = new if read_rows is None else read_rows
    newest_at = pl.col("at") - pl.duration(hours=9)
    days = known.select("lab", newest_at.dt.date().alias("day"), newest_at.alias("newest_at")).unique()
    received = Received(
        read_rows=read,
        usable_rows=read,
        new_rows=new,
        days=days.select(pl.col(name).cast(dtype) for name, dtype in dtypes(LaboratoryDay).items()),
        arrivals=known,
        extracts=runs.select("at", kind=pl.lit("lab"), n=pl.lit(1)).select(
            pl.col(k).cast(d) for k, d in EXTRACTS.items()
        ),
        runs=runs,
    )
    return silence_warnings(received, as_of, load_policy().silence)


@dataclass(frozen=True)
class Loss:
    """What does not come on a night, and the warning by which it is found (of the laboratory, or of the whole feed)."""

    name: str
    kind: str
    is_of_one: bool
    keeps: Callable[[pl.Expr], pl.Expr]
    share: float = 0.0


LOSSES: Final = (
    Loss("stops", "silent_laboratory", True, lambda own: ~own),
    Loss("neutrophils renamed", "missing_analyte", True, lambda own: ~own | ~pl.col("analyte").is_in(NEUTROPHILS)),
    Loss("sends a fifth", "shrunken_extract", True, lambda own: pl.lit(True), share=0.2),
    Loss("export stuck or empty", "nothing_new", False, lambda own: ~own),
    Loss("export cut to a third", "shrunken_extract", False, lambda own: pl.lit(True), share=1 / 3),
)


def with_loss(arrivals: pl.DataFrame, night: int, loss: Loss, lab: str | None) -> pl.DataFrame:
    """The arrivals with a loss on a night, of a laboratory or of all."""
    is_own = pl.col("at") == FIRST_NIGHT + timedelta(days=night)
    own = is_own if lab is None else is_own & (pl.col("lab") == lab)
    kept = arrivals.filter(loss.keeps(own))
    cut = (pl.col("n") * loss.share).round().cast(pl.Int64)
    return (
        kept.with_columns(pl.when(own).then(cut).otherwise("n").alias("n")).filter(pl.col("n") > 0)
        if loss.share
        else kept
    )


def due_nights(laboratory: Laboratory) -> list[int]:
    """The nights of the quarter on which a laboratory is due."""
    return [
        night
        for night in range(LEARNING_D, LEARNING_D + QUARTER_D)
        if laboratory.due((FIRST_NIGHT + timedelta(days=night - 1)).date())
    ]


def is_found(arrivals: pl.DataFrame, night: int, loss: Loss, lab: str | None) -> bool:
    """Whether a loss is reported on its first night."""
    lost = with_loss(arrivals, night, loss, lab)
    found = warnings_of(lost, night, 1000 if loss.kind == "nothing_new" else None)
    named = pl.col("lab").is_null() if lab is None else pl.col("lab") == lab
    return found.filter(pl.col("kind") == loss.kind, named).height > 0


def main() -> None:
    """Print the false alarms of the quarters and the losses found on their first night, by laboratory."""
    hospitals = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    years = [arrivals_of(LABORATORIES, LEARNING_D + QUARTER_D, seed) for seed in range(first, first + hospitals)]
    for what, nights in (
        ("while learning", range(1, LEARNING_D)),
        ("in the quarter", range(LEARNING_D, LEARNING_D + QUARTER_D)),
    ):
        found = [warnings_of(year, night, 1000).with_columns(night=night) for year in years for night in nights]
        alarms = [each for each in found if each.height]
        print(f"{len(found)} usual nights of {hospitals} hospitals {what}: {len(alarms)} with a warning")
        for row in (
            pl.concat([each.clear() for each in found[:1]] + alarms)
            .select("night", "kind", "lab", "detail")
            .iter_rows()
        ):
            print("  ", *row)
    for loss in LOSSES:
        for laboratory in LABORATORIES if loss.is_of_one else (LABORATORIES[0],):
            lab = laboratory.name if loss.is_of_one else None
            tried = [(year, night) for year in years for night in Random(1).sample(due_nights(laboratory), 3)]  # noqa: S311
            caught = sum(is_found(year, night, loss, lab) for year, night in tried)
            print(f"{loss.name}, {lab or 'all'}: reported on the first night {caught} of {len(tried)}")


if __name__ == "__main__":
    main()

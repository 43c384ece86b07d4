"""Past nights replayed with what had been received by then, under one policy or several (``neutro-screen backtest``).

The store is only read. Patients are independent of each other, so they are replayed in chunks of bounded size; the result is
the same whatever the chunks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen import __version__
from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.backtest.history import History, Received, read_history
from neutro_screen.pipeline.backtest.measures import Burden, burden, first_severe
from neutro_screen.pipeline.backtest.nights import Night, replay
from neutro_screen.reference import Policy, load_policy, policy_of_run
from neutro_screen.report.backtest import BacktestContents, PolicyFigures, write_backtest
from neutro_screen.rules.protocol import screen
from neutro_screen.store.file import reading
from neutro_screen.store.rows import first_row
from neutro_screen.store.views import LATEST_RUN

__all__ = ["Backtest", "Burden", "Received", "backtest", "write_files"]

#: Name of the policy of the store's latest run.
PRESENT: Final = "present policy"
_ROWS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True)
class Backtest:
    """A replay: its nights (times, UTC), what counted as received, and what each policy would have shown."""

    nights: tuple[datetime, ...]
    received: Received
    rows: int
    patients: int
    burdens: tuple[Burden, ...]


def backtest(
    store: Path,
    first: date,
    last: date,
    policies: Sequence[Path] = (),
    *,
    received: Received = "result",
    rows_at_once: int = _ROWS_AT_ONCE,
    progress: Callable[[str], None] = lambda text: None,
) -> Backtest:
    """Replay the nights from one day to another, at the time of day of the store's latest run.

    With no policy or one, the policy of the latest run is shown beside it; with several, only those that are named.

    Raises:
        ConfigurationError: the days are in the wrong order, nothing had been received by the last, or a policy cannot be used.
        StoreError: the store cannot be read, or holds no run.
    """
    if last < first:
        raise ConfigurationError(
            f"the last night ({last}) is before the first ({first})", remedy="Swap --from and --to."
        )
    with reading(store) as connection:
        run = first_row(connection, f"SELECT as_of, policy_values FROM run WHERE run_id = ({LATEST_RUN})")
        if run is None:
            raise ConfigurationError("the store holds no run yet", where=store.name, remedy="Run the extracts first.")
        hour = run[0] - datetime.combine(run[0], datetime.min.time())
        nights = [
            datetime.combine(first, datetime.min.time()) + hour + timedelta(days=number)
            for number in range(-1, (last - first).days + 1)
        ]
        history = read_history(connection, nights[-1], received)
    if not history.lab_result.height:
        raise ConfigurationError(
            f"no result had been received by {last}", where=store.name, remedy="Name later days with --from and --to."
        )
    named = _named_policies(policies, run[1])
    falls = list[pl.DataFrame]()
    parts: dict[str, list[list[Night]]] = {}
    chunks = _chunks(history, rows_at_once)
    for number, patients in enumerate(chunks, start=1):
        of = history.of_patients(patients)
        falls.append(_falls(of, patients, named[0][1], nights))
        part = f", part {number} of {len(chunks)}" if len(chunks) > 1 else ""
        for rules, (name, policy) in _different(named).items():
            progress(f"{name}{part}")
            parts.setdefault(rules, []).append(replay(of, policy, nights))
    together = pl.concat(falls).sort("patient_id", "reached_at")
    burdens = tuple(burden(name, policy, _together(parts[_rules_of(policy)]), together) for name, policy in named)
    patients_known = history.lab_result["patient_id"].n_unique()
    return Backtest(tuple(nights[1:]), received, history.lab_result.height, patients_known, burdens)


def _named_policies(given: Sequence[Path], present: str | None) -> list[tuple[str, Policy]]:
    """The policies to compare, each with a name of its own."""
    named = [(PRESENT, policy_of_run(present))] if len(given) < 2 else []
    for path in given:
        taken = [name for name, _ in named]
        name = path.stem if path.stem not in taken else f"{path.stem} ({len(taken) + 1})"
        named.append((name, load_policy(path)))
    return named


def _rules_of(policy: Policy) -> str:
    """What the rules read of a policy: two that differ only in what the replay counts have the same nights."""
    return policy.model_dump_json(exclude={"version", "backtest"})


def _different(named: Sequence[tuple[str, Policy]]) -> dict[str, tuple[str, Policy]]:
    """One of the policies for each set of rules."""
    return {_rules_of(policy): (name, policy) for name, policy in reversed(named)}


def _chunks(history: History, rows_at_once: int) -> list[pl.DataFrame]:
    """The patients (patient_id) in parts of about so many laboratory rows, in the order of their ids."""
    everybody = pl.concat([history.lab_result.select("patient_id"), history.others.select("patient_id")])
    counted = everybody.group_by("patient_id").len().sort("patient_id")
    part = (pl.col("len").cum_sum() - pl.col("len")) // rows_at_once
    return [
        rows.select("patient_id") for rows in counted.with_columns(part=part).partition_by("part", maintain_order=True)
    ]


def _falls(history: History, patients: pl.DataFrame, policy: Policy, nights: Sequence[datetime]) -> pl.DataFrame:
    """Every fall below 500 in the period, from all that was received by its end."""
    known = history.known_at(nights[-1], patients)
    result = screen(known.lab_result.drop("run_id"), as_of=nights[-1], policy=policy, data_kinds=known.data_kinds)
    return first_severe(result.anc, result.episode, nights[0], nights[-1])


def _together(parts: Sequence[Sequence[Night]]) -> list[Night]:
    """The nights of all chunks as those of everybody."""
    return [
        Night(
            as_of=same[0].as_of,
            worklist=pl.concat([night.worklist for night in same]),
            patients_screened=sum(night.patients_screened for night in same),
            patients_known=sum(night.patients_known for night in same),
            cannot_assess=sum(night.cannot_assess for night in same),
        )
        for same in zip(*parts, strict=True)
    ]


def write_files(found: Backtest, folder: Path) -> Path:
    """Write the page and the CSV files of a replay; the path of the page.

    Raises:
        ReportError: as ``write_backtest``.
    """
    contents = BacktestContents(
        first=found.nights[0],
        last=found.nights[-1],
        received=found.received,
        rows=found.rows,
        patients=found.patients,
        software_version=__version__,
        policies=[PolicyFigures(of.policy, of.nights, of.falls, of.summary()) for of in found.burdens],
    )
    return write_backtest(contents, folder)

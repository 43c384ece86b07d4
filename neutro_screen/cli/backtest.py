"""The command that replays past nights."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from neutro_screen.cli.output import AsJson, Quiet, progress_on_terminal, write_result
from neutro_screen.pipeline.options import IndexTime


def backtest(
    *,
    store: Path,
    from_: Annotated[IndexTime, Parameter(name="--from")],
    to: IndexTime,
    out: Path,
    policy: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    received: Literal["result", "run"] = "result",
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Replay past nights with what had been received by then: alerts a night, and days of warning before an ANC < 500.

    Reads the store and writes nothing into it. For a look before going live, load the history with one run first.

    Example: ``neutro-screen backtest --store screen.duckdb --from 2025-01-01 --to 2025-12-31 --policy what_if.toml --out backtest``

    Parameters
    ----------
    store
        The DuckDB file.
    from_
        First night, a date.
    to
        Last night, a date. The nights are at the time of day of the store's latest run.
    out
        Folder for backtest.html and three CSV files: summary, nights, falls.
    policy
        TOML files with other numbers, each shown side by side; none or one: beside the policy of the store's latest run.
    received
        From when a row is known: "result", the laboratory's time of the result; "run", the run that brought it into the
        store (where the store was run every night).
    quiet
        Show nothing but errors.
    json_
        Print the figures as JSON.
    """
    from neutro_screen.pipeline.backtest import backtest as replay_nights
    from neutro_screen.pipeline.backtest import write_files

    with progress_on_terminal(quiet or json_) as show:
        found = replay_nights(store, from_.date(), to.date(), policy, received=received, progress=show)
        page = write_files(found, out)
    summaries = [burden.summary() for burden in found.burdens]
    told = [
        f"{row['policy']}: {row['alerts_median']} on the list and {row['to_read_median']} to read in the median night; "
        f"{row['falls_seen_before']} of {row['falls']} falls below 500 were on the list before"
        + (f", {row['lead_days_median']} days in the median" if row["lead_days_median"] is not None else "")
        for row in summaries
    ]
    write_result({"policies": summaries, "page": page}, "\n".join([*told, str(page)]), quiet, json_)

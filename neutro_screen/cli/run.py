"""Commands that screen: one night, years of extracts, a dry run, every night."""

import json
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

from cyclopts import Parameter

from neutro_screen.cli.output import AsJson, Quiet, conclude, progress_on_terminal, say, warn, write, write_result
from neutro_screen.pipeline.options import IndexTime, Inputs, RunOptions

Asked = Annotated[RunOptions, Parameter(name="*")]


def run(*, options: Asked, quiet: Quiet = False, json_: AsJson = False) -> None:
    """Screen one night's extracts: read, validate, screen, publish, report.

    Example: ``neutro-screen run --labs night/*.csv --medications meds.csv --store screen.duckdb --reports reports``

    Parameters
    ----------
    quiet
        Show nothing but errors and warnings.
    json_
        Print the summary as JSON.
    """
    from neutro_screen.admin.notify import notifying
    from neutro_screen.pipeline.run import run as run_pipeline

    began = perf_counter()
    with notifying(options, warn) as night, progress_on_terminal(quiet or json_) as show:
        summary = run_pipeline(options, show, night.published)
        night.ended(summary)
    if json_:
        conclude(json.dumps(summary.as_dict(), indent=2))
        return
    from neutro_screen.cli.console import summary_text, warning_lines

    if quiet:
        for line in warning_lines(summary):
            warn(line)
    else:
        conclude(summary_text(summary) + f"\n{_rate(summary.account.rows_in, perf_counter() - began)}")


def backfill(
    *, options: Asked, by: Literal["file", "month", "year"] = "month", quiet: Quiet = False, json_: AsJson = False
) -> None:
    """Screen years of extracts in chunks; one that was stopped goes on after its last finished chunk.

    The dates in the paths of the laboratory files make the chunks; all have one index time, that of the backfill that has
    begun where there is one. The finished chunks are remembered beside the store; reports are written after the last.

    Example: ``neutro-screen backfill --labs "extracts/*/labs_*.csv" --patients patients.csv --store screen.duckdb --by year``

    Parameters
    ----------
    by
        One chunk a month, a year (of the date in the path) or a laboratory file.
    quiet
        Show nothing but errors.
    json_
        Print the summary as JSON.
    """
    from neutro_screen.admin.notify import notifying
    from neutro_screen.cli.console import backfill_text
    from neutro_screen.pipeline.backfill import Progress
    from neutro_screen.pipeline.backfill import backfill as run_backfill
    from neutro_screen.pipeline.run import run as run_pipeline

    with notifying(options, warn) as night, progress_on_terminal(quiet or json_) as show:

        def show_chunk(at: Progress) -> None:
            show(f"chunk {at.number} of {at.of}: {at.chunk}")
            night.began()

        summary = run_backfill(options, by, show_chunk, lambda chunk: run_pipeline(chunk, published=night.published))
        if summary.last:
            night.ended(summary.last)
    if json_:
        conclude(json.dumps(summary.as_dict(), indent=2))
    elif not quiet:
        conclude(backfill_text(summary))


def check(
    *,
    inputs: Annotated[Inputs, Parameter(name="*")],
    as_of: IndexTime | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Read and validate only: a dry run that shows what would be refused and why, and writes nothing.

    Example: ``neutro-screen check --labs night/labs.csv --profile hospital.toml``

    Parameters
    ----------
    as_of
        Index time, default now; results more than a day after it are refused.
    quiet
        Show nothing but errors.
    json_
        Print the counts as JSON.
    """
    from neutro_screen.cli.console import quality_text
    from neutro_screen.pipeline.options import now
    from neutro_screen.pipeline.run import check as check_pipeline

    with progress_on_terminal(quiet or json_) as show:
        show("reading and judging")
        quality = check_pipeline(inputs, as_of or now())
    if json_:
        write(json.dumps(quality, indent=2))
    elif not quiet:
        write(quality_text(quality))


def rebuild(
    *,
    store: Path,
    as_of: IndexTime,
    out: Path,
    reports: Path | None = None,
    policy: Path | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Make a past night again, from what had been received by then, in a file of its own; the store stays as it is.

    Example: ``neutro-screen rebuild --store screen.duckdb --as-of 2026-11-20 --out past.duckdb``

    Parameters
    ----------
    store
        The DuckDB file.
    as_of
        The latest run up to this time is rebuilt. ISO 8601, UTC where no offset is given.
    out
        The DuckDB file to make; it must not exist.
    reports
        Folder for the reports of that night.
    policy
        The policy of that night, where the store does not hold it (runs of a store of schema 1).
    quiet
        Show nothing but errors.
    json_
        Print the run and what is to be known about it as JSON.
    """
    from neutro_screen.pipeline.replay import rebuild as rebuild_night

    with progress_on_terminal(quiet or json_) as show:
        show("rebuilding")
        run_id, notes = rebuild_night(store, as_of, out, reports=reports, policy=policy)
    result = {"run_id": run_id, "out": out, "notes": list(notes)}
    write_result(result, "\n".join([f"rebuilt run {run_id} in {out.name}", *notes]), quiet, json_)


def schedule(*, options: Asked, cron: str = "0 2 * * *", time_zone: str = "UTC") -> None:
    """Run the nightly flow at the times of ``--cron`` with Prefect, until it is stopped. Needs the extra ``flows``.

    Works alone: the Prefect server that keeps the times runs with it, on loopback, under a password, its state in
    ``.STORE.prefect`` beside the store (or in PREFECT_HOME), and ends with it. Where PREFECT_API_URL names a server, that
    one is used.

    Example: ``neutro-screen schedule --cron "0 2 * * *" --time-zone Europe/Berlin --labs "/extracts/*.csv" --store s.duckdb``

    Parameters
    ----------
    cron
        When: minute, hour, day, month, weekday.
    time_zone
        Zone of the cron times.
    """
    from neutro_screen.orchestration.serve import serve_nightly

    serve_nightly(cron, time_zone, options, say)


def _rate(rows: int, seconds: float) -> str:
    """What a run took: seconds and rows a second."""
    return f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f} rows a second)"

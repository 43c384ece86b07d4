"""A run from its first step to its last, and ``check``, which stops before anything is written.

Each step is a module of this package.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Final

import polars as pl

from neutro_screen.pipeline.data_quality import quality_rows
from neutro_screen.pipeline.handover import Ingested, Judged, Plan
from neutro_screen.pipeline.history import history_step
from neutro_screen.pipeline.ingest import ingest_step
from neutro_screen.pipeline.new_store import check_new_store
from neutro_screen.pipeline.options import Inputs, RunOptions
from neutro_screen.pipeline.outcome import Published, known_outcome
from neutro_screen.pipeline.partitions import Workspace, working_folder
from neutro_screen.pipeline.plan import survey_step
from neutro_screen.pipeline.publish import publish_step
from neutro_screen.pipeline.recognised import input_warnings, recognised, recognition_warnings
from neutro_screen.pipeline.report import report_step
from neutro_screen.pipeline.screen import screen_step
from neutro_screen.pipeline.summary import RunSummary, chart_accounts, counted_rows
from neutro_screen.pipeline.validate import validate_step
from neutro_screen.private import private_folder
from neutro_screen.quality.measures import merged
from neutro_screen.store.file import lock

#: The steps that are taken for one part after the other; those of a stage while those of the next take the part before.
PART_STAGES: Final = ((validate_step, history_step), (screen_step,))
PART_STEPS: Final = tuple(chain.from_iterable(PART_STAGES))


def run(
    settings: RunOptions,
    progress: Callable[[str], None] = lambda step: None,
    published: Published = lambda summary: None,
) -> RunSummary:
    """Take the steps over the inputs and publish into the store; ``published`` gets the summary before the reports.

    Raises:
        ReportError: the results are published, their reports are not.
        NeutroScreenError: any other of its kinds, with its exit code; the previous results then stand.
    """
    check_new_store(settings)
    with lock(settings.store), working_folder(settings.store) as folder:
        work = Workspace(folder, settings.rows_alone)
        with known_outcome(settings, work, published):
            return _steps(settings, work, progress, published)


def _steps(settings: RunOptions, work: Workspace, progress: Callable[[str], None], published: Published) -> RunSummary:
    for step in (ingest_step, survey_step):
        progress(step.__name__.removesuffix("_step"))
        step(settings, work)

    def taken(steps: Sequence[Callable[[RunOptions, Workspace, int], object]], part: int) -> None:
        for part_step in steps:
            progress(part_step.__name__.removesuffix("_step"))
            part_step(settings, work, part)
        if steps is PART_STAGES[-1]:
            progress("publish")

    summary = publish_step(settings, work, [partial(taken, steps) for steps in PART_STAGES])
    published(summary)
    if settings.reports is not None:
        progress("report")
    return summary.with_report(report_step(settings, work))


def check(inputs: Inputs, as_of: datetime) -> dict[str, object]:
    """Ingest and validate only, and write nothing: ``rows_in``, ``counted`` by disposition and ``quality`` in detail.

    Raises:
        NeutroScreenError: the inputs cannot be read or judged.
    """
    with private_folder() as folder:
        settings = RunOptions(
            **{field.name: getattr(inputs, field.name) for field in fields(Inputs)},
            store=folder / "none.duckdb",
            as_of=as_of,
        )
        work = Workspace(folder, settings.rows_alone)
        ingest_step(settings, work)
        survey_step(settings, work)
        row_counts, counted, drugs = list[pl.DataFrame](), list[dict[str, int]](), list[dict[str, object]]()
        tests, charts = list[pl.DataFrame](), list[pl.DataFrame]()
        for part in work.parts:
            validate_step(settings, work, part)
            judged = work.kept(Judged, part)
            row_counts.append(judged.row_counts)
            counted.append(judged.counted)
            tests.append(judged.tests)
            charts.append(judged.chart_counts)
            drugs += judged.unmatched_drugs
        table = recognised(settings, work.kept(Ingested), tests)
        others = chart_accounts(work.kept(Ingested), charts)
        warned = pl.concat([input_warnings(work.kept(Ingested).files, others), recognition_warnings(table)])
        return {
            "others": others,
            "recognition": table.to_dicts(),
            "warnings": warned.select("kind", "lab", "detail").to_dicts(),
            "rows_in": work.kept(Plan).rows_in,
            "counted": counted_rows(work.kept(Ingested).broken_labs, counted),
            "quality": quality_rows(drugs, merged(row_counts), "check").drop("run_id").to_dicts(),
        }

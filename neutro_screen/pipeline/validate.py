"""The validate step: every row of a partition is accepted, refused or set aside, with its reason; none is dropped."""

from collections.abc import Mapping

import polars as pl

from neutro_schemas import LabResult, LabRow, NoResult, ScreenedResult
from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest import Kind, load_profile
from neutro_screen.pipeline.handover import Ingested, Judged, Plan
from neutro_screen.pipeline.options import RunOptions, iso
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.requests import ASKED, requests_of
from neutro_screen.pipeline.retractions import deletion_counts, no_deletions
from neutro_screen.pipeline.rows import CHART, rejected_rows
from neutro_screen.quality.measures import row_counts
from neutro_screen.recognition.table import COUNTED, is_unused
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.causes.drug_names import match_medications, unmatched_names
from neutro_screen.rules.counts.results import JudgedRows, judge_part, with_texts_as_sent
from neutro_screen.rules.dates import LAB_TIMES
from neutro_screen.validate import conform, dtypes, in_shape, split_valid


def validate_step(settings: RunOptions, work: Workspace, part: int = 0) -> dict[str, int]:
    """Judge every row of a partition; split accepted from refused; nothing is dropped."""
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    ingested, plan = work.kept(Ingested), work.kept(Plan)
    charts = {kind: split_valid(work.rows(f"{kind}_row", part), model) for kind, model in CHART.items()}
    judged = judge_part(
        work.rows("lab_row", part),
        ingested.origins,
        load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units, profile.specimens),
        policy,
        as_of=settings.as_of,
        patients=charts["patient"].accepted,
        decimal_mark=profile.decimal_mark,
    )
    accepted, rejected = split_valid(judged.results, ScreenedResult)
    retractions = work.rows("retraction", part)
    results = pl.concat([in_shape(accepted, LabResult), retractions], rechunk=True)
    as_read = [
        pl.coalesce(LAB_TIMES[name], name).alias(name) if name in LAB_TIMES else name
        for name in dtypes(LabRow)
        if name not in ASKED
    ]
    refused = [
        rejected_rows(with_texts_as_sent(rejected, ingested.origins), "lab", as_read),
        *(rejected_rows(chart.rejected, kind, chart.accepted.columns) for kind, chart in charts.items()),
        work.rows("impossible_row", part),
        work.rows("broken_line", part),
    ]
    counts = row_counts(accepted, rejected, judged.no_results, judged.not_screened, profile.time_zone)
    unknown = plan.unknown_deletions if part == 0 else no_deletions()
    counted = {
        "accepted": results.height,
        "rejected": rejected.height,
        "no_result": judged.no_results.height,
        "not_screened": judged.not_screened.height + unknown.height,
    }
    received = {
        "lab_result": conform(results, LabResult, RefusedInputError, "laboratory results"),
        "no_result": in_shape(judged.no_results, NoResult),
        "rejected_row": pl.concat(refused),
        "request": requests_of((accepted, rejected, judged.no_results), ingested.requests),
        **{str(kind): chart.accepted for kind, chart in charts.items()},
    }
    work.keep(
        Judged(
            received=received,
            row_counts=pl.concat([counts, deletion_counts(retractions, unknown)]),
            tests=_counted_tests(judged),
            chart_counts=_counted_charts({kind: chart.accepted for kind, chart in charts.items()}, pl.concat(refused)),
            unmatched_drugs=_unmatched_drugs(charts["medication"].accepted, plan.drugs),
            newest=iso(results["collected_at"].max()),
            counted=counted,
        ),
        part,
    )
    return counted


def _counted_tests(judged: JudgedRows) -> pl.DataFrame:
    """Rows and patients of every test of every laboratory (``recognition.table.COUNTED``), whatever became of them."""
    whole = pl.concat(
        [judged.no_results.select("test_no", "patient_id"), judged.not_screened.select("test_no", "patient_id")]
    )
    parts = [judged.results.select("test_no", "patient_id", is_unused=is_unused()), whole.with_columns(is_unused=False)]
    counted = pl.concat(parts).group_by("test_no", "patient_id").agg(rows=pl.len(), unused=pl.col("is_unused").sum())
    return (
        counted.group_by("test_no")
        .agg(pl.col("rows", "unused").sum().cast(pl.Int64), patients=pl.col("patient_id").count().cast(pl.Int64))
        .select(COUNTED)
        .sort("test_no")
    )


def _counted_charts(accepted: Mapping[Kind, pl.DataFrame], refused: pl.DataFrame) -> pl.DataFrame:
    """Rows of medications, patients, diagnoses and events: kind, reason of the refusal (null = accepted), rows."""
    rows = [{"kind": kind, "reason": None, "rows": frame.height} for kind, frame in accepted.items()]
    taken = pl.DataFrame(rows, schema={"kind": pl.String, "reason": pl.String, "rows": pl.Int64})
    other = refused.filter(pl.col("kind") != "lab").group_by("kind", "reason").agg(rows=pl.len().cast(pl.Int64))
    return pl.concat([taken, other.sort("kind", "reason")])


def _unmatched_drugs(medications: pl.DataFrame, drugs: pl.DataFrame) -> list[dict[str, object]]:
    """Drug names that no table knows, with the number of lines: what the suspects cannot have been chosen from."""
    unmatched = unmatched_names(match_medications(medications.lazy(), drugs)).collect()
    return [
        {
            "source_file": "medications",
            "lab": None,
            "analyte": row["drug_name"],
            "disposition": "unmatched_drug",
            "reason": "name not in the drug tables",
            "rows": row["n_lines"],
        }
        for row in unmatched.iter_rows(named=True)
    ]

"""The screen step: the rules are applied to the full history of the touched patients of a partition.

Results that the rest of their specimen contradicts are set aside for quarantine, until the specimen says otherwise.
"""

from datetime import datetime
from typing import Final

import polars as pl

from neutro_schemas import NOT_UNDERSTOOD
from neutro_schemas.store import LaboratoryDay
from neutro_screen.ingest import load_profile
from neutro_screen.ingest.broken_lines import BROKEN_LINE_REASONS
from neutro_screen.pipeline.handover import Histories, Judged, Outcome, Plan, Screened
from neutro_screen.pipeline.merges import with_own_records, with_survivor
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.partitions import Workspace
from neutro_screen.pipeline.rows import HISTORY, IDENTITY, PLACE
from neutro_screen.quality.measures import specimen_counts
from neutro_screen.quality.timeliness import laboratory_days
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.protocol import screen
from neutro_screen.store.schema import SCREENED
from neutro_screen.validate import no_rows


def screen_step(settings: RunOptions, work: Workspace, part: int = 0) -> dict[str, int]:
    """Apply the rules to the full history of the touched patients of a partition."""
    plan, histories, judged = work.kept(Plan), work.kept(Histories, part), work.kept(Judged, part)
    touched, survivors = histories.touched, plan.survivors
    stored = {name: _of_patients(histories.complete[name], touched) for name in HISTORY}
    history = {name: with_survivor(rows, survivors) for name, rows in stored.items()}
    result = screen(
        history["lab_result"],
        history["medication"],
        history["patient"],
        history["diagnosis"],
        history["event"],
        as_of=settings.as_of,
        policy=load_policy(settings.policy),
        # What its specimen contradicts is judged anew by the screen itself.
        unusable=unusable_results(
            _received(history["rejected_row"].filter(pl.col("scope") == "row", pl.col("kind") == "lab")),
            _received(history["no_result"]),
            settings.as_of,
        ),
        others=pl.concat(
            [
                history["rejected_row"].filter(pl.col("kind") == "lab").select("patient_id"),
                history["no_result"].select("patient_id"),
            ]
        ),
        data_kinds=frozenset(plan.data_kinds),
        drugs=plan.drugs,
    )
    # Results that their specimen contradicts go to quarantine until the specimen says otherwise.
    new = histories.new["lab_result"]
    contradicted = with_own_records(result.contradicted, survivors)
    refuted = _contradicted(new, contradicted)
    kept = _in_order(new, without=refuted["place"])
    time_zone = load_profile(settings.profile).time_zone
    counts = specimen_counts(new, result.anc, refuted, time_zone)
    settled = judged.counted | {
        "accepted": kept.height,
        "rejected": judged.counted["rejected"] + new.height - kept.height,
        "duplicate": judged.counted["accepted"] - new.height,
    }
    severities = result.anc.drop_nulls("severity").group_by(pl.col("severity").cast(pl.String)).len()
    work.keep(
        Screened(
            new={**histories.new, "lab_result": kept},
            tables={table: getattr(result, _RESULT_OF.get(table, table)) for table in SCREENED},
            contradicted=_contradicted(stored["lab_result"], contradicted).drop("place"),
        ),
        part,
    )
    work.keep(
        Outcome(
            touched=histories.touched,
            arrived=histories.arrived,
            counts=pl.concat([judged.row_counts, counts]),
            collected_days=laboratory_days(kept, no_rows(LaboratoryDay), settings.as_of),
            tests=judged.tests,
            chart_counts=judged.chart_counts,
            unmatched_drugs=judged.unmatched_drugs,
            newest=judged.newest,
            patients_touched=histories.patients_touched,
            severities=dict(severities.iter_rows()),
            settled=settled,
        ),
        part,
    )
    work.drop(part, Judged, Histories)
    return {"flags": result.flag.height}


_RESULT_OF: Final = {"patient_summary": "patient_status", "unassessable": "cannot_assess"}


def unusable_results(rejected: pl.DataFrame, no_results: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Refused and missing results of what feeds the ANC, or may (ANC-9b): patient_id, specimen_id, reason, since.

    A test that was not understood may be a count, whatever it is called; so may what a broken line held.
    """
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"]
    is_broken = pl.col("reason").is_in(BROKEN_LINE_REASONS)
    rejected = rejected.with_columns(reason=pl.when(is_broken).then(pl.lit("broken_line")).otherwise("reason"))
    may_feed = pl.col("analyte").is_in(feeding.implode())
    return pl.concat(
        frame.filter(is_meant & pl.col("patient_id").is_not_null()).select(
            "patient_id", "specimen_id", reason=reason, since=pl.coalesce("collected_at", pl.lit(as_of))
        )
        for frame, reason, is_meant in (
            (rejected, "reason", may_feed | pl.col("reason").is_in((*NOT_UNDERSTOOD, "broken_line"))),
            (no_results, "kind", may_feed),
        )
    )


def _received(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without a time are unknown since the run that brought them; its id begins with its index time."""
    arrived = pl.col("run_id").str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    return rows.with_columns(collected_at=pl.coalesce("collected_at", arrived))


def _of_patients(rows: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """The rows of some patients (patient_id); where all are, as on most nights, nothing is copied."""
    is_theirs = rows["patient_id"].is_in(patients["patient_id"].implode()).fill_null(False)
    return rows if is_theirs.all() else rows.filter(is_theirs)


def _in_order(results: pl.DataFrame, without: pl.Series) -> pl.DataFrame:
    """The new results of a run sorted, without those in some places.

    The rows of a specimen follow each other in most extracts, so of each such series only the first is compared as texts:
    its rank sorts the others. Wide rows are moved once, into their order.
    """
    specimen, within = list(IDENTITY[:3]), (*IDENTITY[3:5], *PLACE)
    differs = (pl.col(name).ne_missing(pl.col(name).shift(1)) for name in specimen)
    is_first = results.select(pl.any_horizontal(differs)).to_series()
    ranks = results.select(specimen).filter(is_first).select(pl.struct(specimen).rank("dense")).to_series()
    numbered = results.select(*within, specimen_no=ranks.gather(is_first.cum_sum() - 1))
    order = numbered.select(pl.arg_sort_by("specimen_no", *within)).to_series()
    return results[order.filter(~order.is_in(without.implode()))]


def _contradicted(results: pl.DataFrame, contradicted: pl.DataFrame) -> pl.DataFrame:
    """The results that their specimen contradicts, with the ``reason`` and their ``place`` among the others.

    Only rows of specimens of such a name pass through the join, which copies what it is given.
    """
    is_named = results["specimen_id"].is_in(contradicted["specimen_id"].implode())
    named = results.filter(is_named).with_columns(place=is_named.arg_true(), is_manual=pl.col("method") == "manual")
    return named.join(contradicted, on=["patient_id", "specimen_id", "analyte", "is_manual"]).drop("is_manual")

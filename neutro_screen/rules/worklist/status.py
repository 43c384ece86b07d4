"""One row per patient at the index time, and the patients whose count is unknown (ANC-9b, EPI-5)."""

import polars as pl

from neutro_schemas import CannotAssess, PatientStatus
from neutro_screen.rules.causes.leading import leading_suspects
from neutro_screen.rules.counts.specimens import TIME_ORDER


def verdicts(flags: pl.LazyFrame, anc: pl.LazyFrame) -> pl.LazyFrame:
    """The flags that say that a patient has, or had, a rapid decline.

    Those of the true course (RPD-3, RPD-4); and a threshold (RPD-1, RPD-2) reached by the patient's latest result, as
    long as no later one could confirm or contradict it.
    """
    latest = anc.group_by("patient_id").agg(latest_at=pl.col("collected_at").max())
    is_threshold = pl.col("rule_id").is_in(["RPD-1", "RPD-2"])
    return (
        flags.filter(pl.col("rule_id").str.starts_with("RPD-"))
        .join(latest, on="patient_id", how="left")
        .filter(~is_threshold | (pl.col("raised_at") == pl.col("latest_at")))
        .drop("latest_at")
    )


def outlook_per_episode(counts: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """The outlook from the latest result of an open episode, and how it compares with the patient's usual count.

    One row per open episode: is_projected_severe, is_expected_severe_48h (TRD-4), has_significant_fall (TRD-2),
    is_within_personal_range (SEV-3). ``counts`` has those columns of the specimens.
    """
    latest = (
        counts.filter(pl.col("severity").is_not_null())
        .sort(TIME_ORDER)
        .unique("patient_id", keep="last", maintain_order=True)
    )
    return (
        episodes.filter(pl.col("ended_at").is_null())
        .join(latest, on="patient_id")
        .select(
            "episode_id",
            is_projected_severe=pl.col("projected_severe").fill_null(False),
            is_expected_severe_48h=pl.col("expected_severe_48h").fill_null(False),
            has_significant_fall=pl.col("significant_fall").fill_null(False),
            is_within_personal_range=(pl.col("severity_in_context") == "within_personal_range").fill_null(False),
        )
    )


def known_patients(*frames: pl.DataFrame) -> pl.DataFrame:
    """Everybody in any of the frames (patient_id)."""
    return pl.concat(frame.select("patient_id").drop_nulls().unique() for frame in frames).unique()


def patient_status(
    anc: pl.DataFrame,
    episodes: pl.DataFrame,
    declines: pl.DataFrame,
    suspects: pl.DataFrame,
    steps: pl.DataFrame,
    patients: pl.DataFrame,
    unassessable: pl.DataFrame,
) -> pl.DataFrame:
    """One row for every patient of ``patients`` (patient_id), with the columns of ``PatientStatus``.

    A patient without a usable count has null severities, and one who cannot be assessed now has no current severity:
    unknown is never "normal". ``declines`` comes from ``verdicts``. ``top_suspect`` is the first-ranked suspect of the
    latest episode that has one and is at least possible.
    """
    usable = anc.select(*TIME_ORDER, "severity", "anc_cells_per_ul", "anc_comparator").filter(
        pl.col("severity").is_not_null()
    )
    depth = pl.struct("anc_cells_per_ul", pl.col("anc_comparator").is_null(), "collected_at", "specimen_id")
    counts = (
        usable.with_columns(depth=depth)
        .group_by("patient_id")
        .agg(
            worst_severity=pl.col("severity").max(),
            current_severity=pl.col("severity").sort_by(TIME_ORDER).last(),
            last_anc_cells_per_ul=pl.col("anc_cells_per_ul").sort_by(TIME_ORDER).last(),
            last_anc_comparator=pl.col("anc_comparator").sort_by(TIME_ORDER).last(),
            last_collected_at=pl.col("collected_at").max(),
            nadir_cells_per_ul=pl.col("anc_cells_per_ul").sort_by("depth").first(),
            nadir_comparator=pl.col("anc_comparator").sort_by("depth").first(),
        )
    )
    by_time = pl.col("started_at")
    per_patient = episodes.group_by("patient_id").agg(
        is_persistent=pl.col("is_persistent").any(),
        is_cyclic=pl.col("is_cyclic").any(),
        episode_id=pl.col("episode_id").sort_by(by_time).last(),
        episode_status=pl.col("status").sort_by(by_time).last(),
        priority=pl.col("priority").max(),
        # The reasons of the most urgent episode, the latest of several.
        reasons=pl.col("reasons").sort_by("priority", "started_at", nulls_last=False).last(),
        reason_codes=pl.col("reason_codes").sort_by("priority", "started_at", nulls_last=False).last(),
    )
    fell = declines.group_by("patient_id").agg(
        has_rapid_decline=pl.lit(True), fall_pct=pl.col("fall_pct").max().round(1)
    )
    top = (
        leading_suspects(suspects.lazy())
        .collect()
        .join(episodes.select("episode_id", "started_at"), on="episode_id")
        .sort("patient_id", "started_at", "ingredient", descending=[False, True, False])
        .unique("patient_id", keep="first", maintain_order=True)
        .select("patient_id", top_suspect="ingredient")
    )
    next_step = (
        steps.filter(pl.col("state").is_in(["due", "overdue"]))
        .sort("patient_id", "due_on", "step", nulls_last=True)
        .unique("patient_id", keep="first", maintain_order=True)
        .select("patient_id", next_step="step", next_step_due="due_on")
    )
    status = patients.select("patient_id").unique()
    for part in (counts, per_patient, fell, top, next_step):
        status = status.join(part, on="patient_id", how="left")
    unknown = unassessable.select("patient_id", is_unknown=pl.lit(True)).unique()
    return (
        status.join(unknown, on="patient_id", how="left")
        .with_columns(
            pl.col("has_rapid_decline", "is_persistent", "is_cyclic").fill_null(False),
            current_severity=pl.when(pl.col("is_unknown").is_null()).then("current_severity"),
        )
        .select(list(PatientStatus.to_schema().columns))
        .sort("patient_id")
    )


def cannot_assess(unusable: pl.LazyFrame, anc: pl.LazyFrame) -> pl.LazyFrame:
    """Patients with an unusable result that no usable count has followed (ANC-9b).

    ``unusable``: patient_id, specimen_id, reason, since (times of collection). A count of the same specimen, or one
    collected later, makes the patient assessable again; a count of unknown severity does not. White cells
    of 2000 or more without a differential do not supersede an earlier count: nobody asked for neutrophils.
    """
    usable = anc.filter(pl.col("severity").is_not_null())
    latest = usable.group_by("patient_id").agg(usable_at=pl.col("collected_at").max())
    return (
        unusable.filter(pl.col("patient_id").is_not_null())
        .join(latest, on="patient_id", how="left")
        .join(usable.select("patient_id", "specimen_id").unique(), on=["patient_id", "specimen_id"], how="anti")
        .filter((pl.col("usable_at") < pl.col("since")).fill_null(True))
        .filter((pl.col("reason") != "no_differential") | pl.col("usable_at").is_null())
        .sort("patient_id", "since", "specimen_id", "reason", descending=[False, True, True, False])
        .unique(["patient_id", "reason"], keep="first", maintain_order=True)
        .select(list(CannotAssess.to_schema().columns))
        .sort("patient_id", "since", "reason")
    )

"""One row per patient at the index time, and the patients whose count is unknown (ANC-9b, EPI-5)."""

from datetime import datetime

import polars as pl

from neutro_schemas import CannotAssess, PatientStatus
from neutro_screen.reference import Policy
from neutro_screen.rules.causes.leading import leading_suspects
from neutro_screen.rules.counts.context import NEWBORN
from neutro_screen.rules.counts.specimens import TIME_ORDER
from neutro_screen.rules.course.given import is_given
from neutro_screen.validate import dtypes


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

    One row per open episode: is_projected_severe, is_expected_severe_48h (TRD-4), has_significant_fall (TRD-2).
    ``counts`` has those columns of the specimens.
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
        )
    )


def lines_per_episode(counts: pl.LazyFrame, episodes: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Other low cell lines of an episode (SEV-5), by its latest low count with a known haemoglobin or platelet count.

    ``has_cytopenia``: at least one is low; ``has_severe_other_line``: one is below the limits of the high priority.
    """
    rule = policy.cytopenia
    is_very_low = (pl.col("haemoglobin_g_per_dl") < rule.severe_haemoglobin_below_g_per_dl).fill_null(False) | (
        pl.col("platelets_1e9_per_l") < rule.severe_platelets_below_1e9_per_l
    ).fill_null(False)
    return (
        _low_counts(counts, episodes)
        .filter(pl.any_horizontal(pl.col("haemoglobin_g_per_dl", "platelets_1e9_per_l").is_not_null()))
        .unique("episode_id", keep="last", maintain_order=True)
        .select(
            "episode_id",
            has_cytopenia=pl.col("cytopenia").is_in(["bicytopenia", "pancytopenia"]).fill_null(False),
            has_severe_other_line=is_very_low,
        )
    )


def context_per_episode(counts: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Whether the patient's context explains a mild episode, by its latest low count (SEV-3).

    is_within_personal_range (recorded Duffy-null), is_within_age_limits (newborns and infants), is_newborn (and no
    limit of the laboratory explains it). A deeper count is never explained.
    """
    is_mild = pl.col("worst_severity") == pl.lit("mild")
    seen_as = pl.col("severity_in_context")
    return (
        _low_counts(counts, episodes)
        .unique("episode_id", keep="last", maintain_order=True)
        .select(
            "episode_id",
            is_within_personal_range=(is_mild & (seen_as == "within_personal_range")).fill_null(False),
            is_within_age_limits=(is_mild & (seen_as == "normal")).fill_null(False),
            is_newborn=(is_mild & (pl.col("context_reason") == NEWBORN)).fill_null(False),
        )
    )


def _low_counts(counts: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """The low counts of each episode in order of time."""
    return (
        counts.filter(pl.col("severity") > pl.lit("normal"))
        .join(
            episodes.select("patient_id", "episode_id", "started_at", "last_low_at", "worst_severity"), on="patient_id"
        )
        .filter(pl.col("collected_at").is_between("started_at", "last_low_at"))
        .sort(TIME_ORDER)
    )


def known_patients(*frames: pl.DataFrame) -> pl.DataFrame:
    """Everybody in any of the frames (patient_id)."""
    return pl.concat(frame.select("patient_id").drop_nulls().unique() for frame in frames).unique()


def counts_per_patient(anc: pl.DataFrame) -> pl.DataFrame:
    """The latest and the lowest usable count of each patient, as ``PatientStatus`` has them; a bound of a value is deeper."""
    usable = anc.select(*TIME_ORDER, "severity", "severity_in_context", "anc_cells_per_ul", "anc_comparator").filter(
        pl.col("severity").is_not_null()
    )
    depth = pl.struct("anc_cells_per_ul", pl.col("anc_comparator").is_null(), "collected_at", "specimen_id")
    return (
        usable.with_columns(depth=depth)
        .group_by("patient_id")
        .agg(
            worst_severity=pl.col("severity").max(),
            current_severity=pl.col("severity").sort_by(TIME_ORDER).last(),
            last_anc_cells_per_ul=pl.col("anc_cells_per_ul").sort_by(TIME_ORDER).last(),
            last_anc_comparator=pl.col("anc_comparator").sort_by(TIME_ORDER).last(),
            last_collected_at=pl.col("collected_at").max(),
            current_severity_in_context=pl.col("severity_in_context").sort_by(TIME_ORDER).last(),
            nadir_cells_per_ul=pl.col("anc_cells_per_ul").sort_by("depth").first(),
            nadir_comparator=pl.col("anc_comparator").sort_by("depth").first(),
        )
    )


def patient_status(
    counts: pl.DataFrame,
    episodes: pl.DataFrame,
    declines: pl.DataFrame,
    suspects: pl.DataFrame,
    next_steps: pl.DataFrame,
    deaths: pl.DataFrame,
    patients: pl.DataFrame,
    unassessable: pl.DataFrame,
) -> pl.DataFrame:
    """One row for every patient of ``patients`` (patient_id), with the columns of ``PatientStatus``.

    A patient without a usable count has null severities, and one who cannot be assessed now has no current severity:
    unknown is never "normal". ``counts`` comes from ``counts_per_patient``, ``declines`` from ``verdicts``,
    ``next_steps`` from ``next_step_per_patient``, ``deaths`` from ``recorded_deaths``. ``top_suspect`` is the first-ranked
    suspect of the latest episode that has one and is at least possible.
    """
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
    status = patients.select("patient_id").unique()
    for part in (counts, per_patient, fell, top, next_steps, deaths):
        status = status.join(part, on="patient_id", how="left")
    unknown = unassessable.select("patient_id", is_unknown=pl.lit(True)).unique()
    return (
        status.join(unknown, on="patient_id", how="left")
        .with_columns(
            pl.col("has_rapid_decline", "is_persistent", "is_cyclic").fill_null(False),
            current_severity=pl.when(pl.col("is_unknown").is_null()).then("current_severity"),
        )
        .select(list(dtypes(PatientStatus)))
        .sort("patient_id")
    )


def cannot_assess(unusable: pl.LazyFrame, anc: pl.LazyFrame, high_risk: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Patients with an unusable result that no usable count has followed (ANC-9b), with the columns of ``CannotAssess``.

    ``unusable``: patient_id, specimen_id, reason, since (times of collection; one in the future is no time, it counts
    from the index time). A count of the same specimen, or one collected later, makes the patient assessable again; a
    count of unknown severity does not. White cells of 2000 or more without a differential do not supersede an earlier
    count: nobody asked for neutrophils. Beside the reason stand what the risk depends on: the last usable count before,
    and the drugs of high risk given now (``high_risk``: patient_id, ingredient, first_exposure, last_exposure).
    """
    usable = anc.filter(pl.col("severity").is_not_null())
    latest = (
        usable.sort(TIME_ORDER)
        .unique("patient_id", keep="last", maintain_order=True)
        .select(
            "patient_id",
            usable_at="collected_at",
            last_anc_cells_per_ul="anc_cells_per_ul",
            last_anc_comparator="anc_comparator",
            last_severity="severity",
        )
    )
    today = pl.lit(as_of).dt.date()
    given = (
        high_risk.filter(is_given(today))
        .group_by("patient_id")
        .agg(high_risk_drug=pl.col("ingredient").unique().sort().str.join(", "))
    )
    return (
        unusable.filter(pl.col("patient_id").is_not_null())
        .with_columns(since=pl.min_horizontal("since", pl.lit(as_of)))
        .join(latest, on="patient_id", how="left")
        .join(usable.select("patient_id", "specimen_id").unique(), on=["patient_id", "specimen_id"], how="anti")
        .filter((pl.col("usable_at") < pl.col("since")).fill_null(True))
        .filter((pl.col("reason") != "no_differential") | pl.col("usable_at").is_null())
        .sort("patient_id", "since", "specimen_id", "reason", descending=[False, True, True, False])
        .unique(["patient_id", "reason"], keep="first", maintain_order=True)
        .join(given, on="patient_id", how="left")
        .select(list(dtypes(CannotAssess)))
        .sort("patient_id", "since", "reason")
    )

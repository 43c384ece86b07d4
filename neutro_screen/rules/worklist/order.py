"""The worklist of one run: who is on it, what changed since the run before, and its order (RULES.md section 7).

How urgent a case is, ``priority`` decides; ``in_worklist_order`` sorts by it, and the view ``worklist`` of the store (``store.views``)
in the same order.
"""

import polars as pl

from neutro_schemas.store import WorklistRow


def open_cases(episodes: pl.LazyFrame, flags: pl.LazyFrame, status: pl.LazyFrame, seen: pl.LazyFrame) -> pl.LazyFrame:
    """Episodes and declines that belong on a worklist: the open ones, and those not yet shown by any run.

    ``seen`` (episode_id) are episodes that an earlier run already published as resolved. A rapid decline outside any
    episode is open while no later count has followed. Columns: those of ``Episode`` that the worklist shows, and
    ``is_open``.
    """
    shown = (
        "patient_id",
        "episode_id",
        "priority",
        "reasons",
        "reason_codes",
        "worst_severity",
        "nadir_cells_per_ul",
        "started_at",
    )
    of_episodes = (
        episodes.filter(pl.col("priority").is_not_null())
        .with_columns(is_open=pl.col("ended_at").is_null())
        .join(seen.select("episode_id", is_seen=pl.lit(True)), on="episode_id", how="left")
        .filter(pl.col("is_open") | pl.col("is_seen").is_null())
        .select(*shown, episode_status="status", is_open="is_open")
    )
    declines = (
        flags.filter(pl.col("rule_id").str.starts_with("RPD-") & pl.col("episode_id").is_null())
        .join(
            status.select("patient_id", "last_collected_at", "last_anc_cells_per_ul", "current_severity"),
            on="patient_id",
        )
        .filter(pl.col("raised_at") == pl.col("last_collected_at"))
        .unique("patient_id", keep="any")
        .select(
            "patient_id",
            episode_id=pl.lit(None, pl.String),
            priority=pl.lit("medium").cast(pl.Enum(WorklistRow.to_schema().columns["priority"].dtype.type.categories)),
            reasons=pl.lit("rapid decline and not yet low"),
            reason_codes=pl.lit("rapid_decline"),
            worst_severity="current_severity",
            nadir_cells_per_ul="last_anc_cells_per_ul",
            started_at="raised_at",
            episode_status=pl.lit("new"),
            is_open=pl.lit(True),
        )
    )
    return pl.concat([of_episodes, declines])


def worklist_rows(cases: pl.LazyFrame, status: pl.LazyFrame, previous: pl.LazyFrame, run_id: str) -> pl.LazyFrame:
    """One row per patient with a case, and one ``resolved`` row per patient of the ``previous`` worklist without.

    The most urgent case decides, open before past, the latest of several.
    """
    order = ["patient_id", "priority", "is_open", "started_at"]
    decisive = (
        cases.sort(order, descending=[False, True, True, True])
        .unique("patient_id", keep="first", maintain_order=True)
        .drop("is_open", "started_at")
    )
    before = previous.filter(pl.col("change") != "resolved").select("patient_id", previous_priority="priority")
    now = decisive.join(before, on="patient_id", how="left").with_columns(
        change=pl.when(pl.col("previous_priority").is_null())
        .then(pl.lit("new"))
        .when(pl.col("priority") > pl.col("previous_priority"))
        .then(pl.lit("escalated"))
        .when(pl.col("priority") < pl.col("previous_priority"))
        .then(pl.lit("improved"))
        .otherwise(pl.lit("unchanged"))
    )
    gone = (
        previous.filter(pl.col("change") != "resolved")
        .join(decisive, on="patient_id", how="anti")
        .select(
            "patient_id",
            "episode_id",
            "priority",
            "worst_severity",
            "nadir_cells_per_ul",
            previous_priority="priority",
            change=pl.lit("resolved"),
            reasons=pl.lit("count has recovered"),
            reason_codes=pl.lit("resolved"),
            episode_status=pl.lit("resolved"),
        )
    )
    latest = status.select(
        "patient_id",
        "current_severity",
        "last_anc_cells_per_ul",
        "last_anc_comparator",
        "last_collected_at",
        "fall_pct",
        "top_suspect",
        "next_step",
        "next_step_due",
    )
    return (
        pl.concat([now, gone], how="diagonal")
        .join(latest, on="patient_id", how="left")
        .with_columns(run_id=pl.lit(run_id))
        .select(list(WorklistRow.to_schema().columns))
        .sort("patient_id")
    )


def in_worklist_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Most urgent first; ties: lower ANC, faster fall, older result."""
    return rows.sort(
        "priority",
        "last_anc_cells_per_ul",
        "fall_pct",
        "last_collected_at",
        "patient_id",
        descending=[True, False, True, False, False],
        nulls_last=True,
    )

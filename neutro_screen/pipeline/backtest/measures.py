"""What the replayed nights amount to: alerts a night, and how long before the first ANC < 500 a patient was on the list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from neutro_schemas import PRIORITIES, Priority
from neutro_screen.pipeline.backtest.nights import Night
from neutro_screen.reference import Policy
from neutro_screen.rules.worklist.order import STAYING_GROUPS

_SEVERE: Final = ("severe", "profound")
_HOUR: Final = 3600.0


@dataclass(frozen=True)
class Burden:
    """What one policy would have shown.

    ``nights``: as_of, patients_screened, patients_known, alerts, one column a priority, new, new_urgent, escalated,
    to_read, cannot_assess; ``falls``: the columns of ``first_severe`` with seen_before, first_alert_at, lead_h,
    first_priority, seen_urgent, urgent_lead_h.
    """

    policy: str
    nights: pl.DataFrame
    falls: pl.DataFrame

    def summary(self) -> dict[str, float | int | str | None]:
        """The figures of a policy, null where there is nothing to measure: medians, shares from 0 to 1, sums."""
        falls, nights = self.falls, self.nights
        seen = falls.filter("seen_before")
        return {
            "policy": self.policy,
            "nights": nights.height,
            "alerts_median": _median(nights["alerts"]),
            "alerts_most": _most(nights["alerts"]),
            "new_median": _median(nights["new"]),
            "new_total": int(nights["new"].sum()),
            "new_urgent_total": int(nights["new_urgent"].sum()),
            "to_read_median": _median(nights["to_read"]),
            "to_read_most": _most(nights["to_read"]),
            "to_read_total": int(nights["to_read"].sum()),
            "falls": falls.height,
            "falls_seen_before": seen.height,
            "share_seen_before": seen.height / falls.height if falls.height else None,
            "lead_days_median": _days(seen["lead_h"].median()),
            "lead_days_lower_quartile": _days(seen["lead_h"].quantile(0.25, "linear")),
            "lead_days_upper_quartile": _days(seen["lead_h"].quantile(0.75, "linear")),
            "falls_seen_urgent": falls.filter("seen_urgent").height,
            "urgent_lead_days_median": _days(falls["urgent_lead_h"].median()),
        }


def _median(values: pl.Series) -> float | None:
    found = values.median()
    return float(found) if isinstance(found, int | float) else None


def _most(values: pl.Series) -> int | None:
    found = values.max()
    return int(found) if isinstance(found, int) else None


def _days(hours: object) -> float | None:
    return round(float(hours) / 24, 2) if isinstance(hours, int | float) else None


def first_severe(anc: pl.DataFrame, episode: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    """The first ANC < 500 of every episode that reached one between two times, as is known now.

    Takes the tables ``anc`` and ``episode``. Returns patient_id, episode_id, reached_at (collection), known_at (result;
    the collection where it has no time), anc_cells_per_ul, anc_comparator, is_first (the patient's first in the period).
    """
    low = anc.filter(pl.col("severity").is_in(_SEVERE)).select(
        "patient_id",
        "anc_cells_per_ul",
        "anc_comparator",
        reached_at="collected_at",
        known_at=pl.coalesce("resulted_at", "collected_at"),
    )
    inside = low.join(episode.select("patient_id", "episode_id", "started_at", "ended_at"), on="patient_id").filter(
        pl.col("reached_at") >= pl.col("started_at"), (pl.col("reached_at") < pl.col("ended_at")).fill_null(True)
    )
    first = inside.sort("reached_at", "known_at", "anc_cells_per_ul").unique(
        "episode_id", keep="first", maintain_order=True
    )
    in_time = first.filter(pl.col("reached_at") > since, pl.col("reached_at") <= until)
    return in_time.sort("patient_id", "reached_at").select(
        "patient_id",
        "episode_id",
        "reached_at",
        "known_at",
        "anc_cells_per_ul",
        "anc_comparator",
        is_first=pl.col("reached_at") == pl.col("reached_at").min().over("patient_id"),
    )


def burden(name: str, policy: Policy, nights: Sequence[Night], falls: pl.DataFrame) -> Burden:
    """What a policy would have shown; the first of the nights is the one before the period and only compared with.

    A fall counts as seen before if its patient was on the list on the last night before the blood was taken; the lead time
    is from the first night of that stay on the list to the taking of the blood.
    """
    shown = pl.concat([night.worklist.with_columns(as_of=pl.lit(night.as_of)) for night in nights]).filter(
        pl.col("row_group").is_in(STAYING_GROUPS) & (pl.col("change") != "resolved"),
        pl.col("priority").cast(pl.String).is_in(policy.backtest.alert_priorities),
    )
    times = [night.as_of for night in nights]
    return Burden(name, _per_night(shown, nights[1:]), _with_warning(falls, shown, times))


def _per_night(shown: pl.DataFrame, nights: Sequence[Night]) -> pl.DataFrame:
    is_new, is_urgent = pl.col("change") == "new", pl.col("priority") >= pl.lit("high", Priority)
    counts = shown.group_by("as_of").agg(
        alerts=pl.len(),
        **{name: (pl.col("priority") == name).sum() for name in PRIORITIES[::-1]},
        new=is_new.sum(),
        new_urgent=(is_new & is_urgent).sum(),
        escalated=(pl.col("change") == "escalated").sum(),
        to_read=pl.col("change").is_in(["new", "escalated"]).sum(),
    )
    known = pl.DataFrame(
        {
            "as_of": [night.as_of for night in nights],
            "patients_screened": [night.patients_screened for night in nights],
            "patients_known": [night.patients_known for night in nights],
            "cannot_assess": [night.cannot_assess for night in nights],
        },
        schema_overrides={"as_of": pl.Datetime("us")},
    )
    joined = known.join(counts, on="as_of", how="left").sort("as_of")
    figures = [name for name in counts.columns if name != "as_of"]
    return joined.select(
        "as_of",
        "patients_screened",
        "patients_known",
        *(pl.col(name).fill_null(0).cast(pl.Int64) for name in figures),
        "cannot_assess",
    )


def _with_warning(falls: pl.DataFrame, shown: pl.DataFrame, times: Sequence[datetime]) -> pl.DataFrame:
    """Add to the falls whether, since when and how urgently their patient was on the list before."""
    urgent = shown.filter(pl.col("priority") >= pl.lit("high", Priority))
    listed = _standing(falls, _stays(shown, times), times, "")
    return _standing(listed, _stays(urgent, times), times, "urgent_").select(
        *falls.columns,
        seen_before=pl.col("since").is_not_null(),
        first_alert_at="since",
        lead_h=_hours("since"),
        first_priority="priority",
        seen_urgent=pl.col("urgent_since").is_not_null(),
        urgent_lead_h=_hours("urgent_since"),
    )


def _hours(since: str) -> pl.Expr:
    return (pl.col("reached_at") - pl.col(since)).dt.total_seconds() / _HOUR


def _stays(shown: pl.DataFrame, times: Sequence[datetime]) -> pl.DataFrame:
    """Uninterrupted stays on the list: patient_id, priority on its first night, since, first and last night by number."""
    numbered = pl.DataFrame({"as_of": times}, schema={"as_of": pl.Datetime("us")}).with_row_index("night")
    nights = shown.join(numbered, on="as_of").sort("patient_id", "night")
    is_next = (pl.col("night") - pl.col("night").shift(1).over("patient_id")) == 1
    return (
        nights.with_columns(stay=(~is_next.fill_null(False)).cum_sum())
        .group_by("stay", "patient_id")
        .agg(
            pl.col("priority").sort_by("night").first(),
            since=pl.col("as_of").min(),
            first_night=pl.col("night").min(),
            last_night=pl.col("night").max(),
        )
    )


def _standing(falls: pl.DataFrame, stays: pl.DataFrame, times: Sequence[datetime], prefix: str) -> pl.DataFrame:
    """Add since and priority of the stay on the last night before each fall; null where the patient was not listed."""
    nights = pl.Series("as_of", times, pl.Datetime("us"))
    placed = falls.with_columns(before=nights.search_sorted(falls["reached_at"], side="left").cast(pl.Int64) - 1)
    standing = (
        placed.join(stays, on="patient_id")
        .filter(pl.col("before").is_between("first_night", "last_night"))
        .select("episode_id", **{f"{prefix}since": "since", f"{prefix}priority": "priority"})
    )
    return placed.join(standing, on="episode_id", how="left", maintain_order="left").drop("before")

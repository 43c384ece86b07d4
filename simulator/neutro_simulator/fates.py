"""What ends a patient's record before the index time: death, or not coming any more (RULES.md EPI-6)."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from neutro_simulator.parameters import FloatArray, draw, number
from neutro_simulator.scenario import Group, Scenario, medications_until


@dataclass(frozen=True)
class Fates:
    """Day of death and of the last visit of those who stop coming, a value a patient; NaN where it does not happen."""

    death_day: FloatArray
    lost_day: FloatArray

    @property
    def record_end(self) -> FloatArray:
        """The last day of the record; infinite where nothing ends it."""
        return np.fmin(np.nan_to_num(self.death_day, nan=np.inf), np.nan_to_num(self.lost_day, nan=np.inf))


def drawn_fates(group: Group, scenario: Scenario, until_day: float) -> Fates:
    """Who dies and who stops coming while low, by the shares of [fates]; nobody after the index time."""
    rng, size = group.rng, group.size
    first = np.full(size, group.days[0])
    low = group.below(scenario.anc, number("severity", "normal_from"), np.fmax(scenario.onset_day, first))
    severe = group.below(scenario.anc, number("severity", "severe_below"), np.fmax(scenario.onset_day, first))
    of_low_count = np.where(
        group.share("death_share_severe", "fates"), severe + draw(rng, "fates", "death_after_days", size), np.nan
    )
    of_other = np.where(group.share("death_share_any", "fates"), rng.uniform(group.days[0] / 2, 0.0, size), np.nan)
    death = np.fmin(of_low_count, of_other)
    counted_low = _first_count_while_low(group, scenario, low)
    stays_away = counted_low + draw(rng, "fates", "lost_after_days", size)
    lost = np.where(group.share("lost_share", "fates"), stays_away, np.nan)
    lost = np.where(lost <= -number("fates", "lost_before_days"), lost, np.nan)
    return Fates(
        death_day=np.where(death <= until_day, death, np.nan),
        lost_day=np.where(lost < np.nan_to_num(death, nan=np.inf), lost, np.nan),
    )


def _first_count_while_low(group: Group, scenario: Scenario, low: FloatArray) -> FloatArray:
    """Day of the first planned count after the true count became low, if it is still low then; else NaN."""
    planned = np.where(scenario.visits >= low[:, None], scenario.visits, np.inf).min(axis=1, initial=np.inf)
    step = np.clip(np.searchsorted(group.days, planned), 0, len(group.days) - 1)
    is_low = scenario.anc[np.arange(group.size), step] < number("severity", "normal_from")
    return np.where(np.isfinite(planned) & is_low, planned, np.nan)


def with_record_end(scenario: Scenario, group: Group, end: FloatArray) -> Scenario:
    """The scenario without what comes after the end of each record, and with a constant course from there on: only
    what the record shows counts as true.
    """
    in_record = group.days[None, :] <= end[:, None]
    last_step = np.maximum(in_record.sum(axis=1) - 1, 0)
    at_end = scenario.anc[np.arange(group.size), last_step]
    end_of = pl.Series("end", end)

    def kept(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(rows["day"] <= end_of.gather(rows["patient"]))

    return replace(
        scenario,
        anc=np.where(in_record, scenario.anc, at_end[:, None]),
        seen_until=end,
        medications=medications_until(scenario.medications, end),
        markers=kept(scenario.markers),
        diagnoses=kept(scenario.diagnoses),
        events=kept(scenario.events),
    )

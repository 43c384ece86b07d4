"""Rhythm: what a source usually sends on a night like this one, and what of it did not come. Pure: frames in, findings out.

A source is a laboratory, an analyte of a laboratory or a kind of data. Nights are numbered back from tonight (0), so that
nights of one weekday have one remainder by seven. A source that comes by the week is expected by the lower median of
what came on that weekday; one that comes less often by its own calendar (``calendar.next_due``). It is silent when
what was expected since its last arrival is more than chance leaves out and more than it has left out before.
"""

import math
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_screen.quality.calendar import next_due
from neutro_screen.quality.robust import robust_sd
from neutro_screen.reference.policy_sections import SilenceRule

_WEEK: Final = 7
_DAY: Final = timedelta(days=1)
#: Runs from which the usual distance of two runs is taken.
_LAST_RUNS: Final = 30
#: The largest share of an analyte: that it has come with every specimen so far does not make it certain.
_MOST_CERTAIN: Final = 0.9
#: Variance by mean of numbers that scatter less than chance would; and that of numbers that scatter by chance, about.
_LEAST_DISPERSION: Final = 0.25
_BY_CHANCE: Final = 1.01


def numbered_nights(runs: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The runs (at) up to ``as_of`` with their night: at, night (0 = tonight), in order.

    A night is a day that ends about the clock time of ``as_of``: a run that is late by less than half the usual distance of
    two runs (half a day at the most) belongs to its own night.
    """
    times = runs.select("at").unique().filter(pl.col("at") <= as_of).sort("at")
    distance = times["at"].diff().tail(_LAST_RUNS).median()
    late = min(distance / 2, _DAY / 2) if isinstance(distance, timedelta) else _DAY / 2
    age = (pl.lit(as_of) - pl.col("at") + late).dt.total_microseconds()
    return times.with_columns(night=age // (_DAY // timedelta(microseconds=1)))


def by_night(arrivals: pl.DataFrame, nights: pl.DataFrame) -> pl.DataFrame:
    """Numbers by run (``at``) as numbers by night; ``nights`` (at, night) as of ``numbered_nights``."""
    keys = [name for name in arrivals.columns if name not in ("at", "n")]
    return arrivals.join(nights, on="at").group_by(*keys, "night").agg(pl.col("n").sum())


def laboratories_by_night(results: pl.DataFrame) -> pl.DataFrame:
    """name, night, n of laboratories from lab, analyte, night, n: the most results of one analyte, about its specimens."""
    return results.group_by(name="lab", night="night").agg(pl.col("n").max())


def due_sources(arrived: pl.DataFrame, runs: pl.DataFrame, as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    """Sources from which something was due by tonight: name, last_night, expected, due_by, is_silent.

    ``arrived`` (name, night, n) and ``runs`` (night) as of ``by_night``. ``expected`` is what was due since the last night on
    which something came (null by the calendar, then ``due_by`` is the day); ``is_silent`` where none of it came tonight. A
    source that has been silent for longer than ``stopped_d`` has stopped for good.
    """
    nights = _nights(arrived, runs, rule)
    weekly = _by_the_week(nights, runs, rule)
    rare = nights.join(weekly.filter("has_rhythm"), on="name", how="anti", nulls_equal=True)
    is_due = pl.col("is_silent") | pl.col("weekdays").list.contains(0).fill_null(False)
    return pl.concat(
        [
            weekly.filter(is_due).select(
                pl.col(name) if name != "due_by" else pl.lit(None, pl.Date).alias(name) for name in _DUE
            ),
            _by_the_calendar(rare, _quiet_weekdays(weekly, as_of), as_of, rule),
        ]
    ).sort("name", nulls_last=False)


def is_quiet_night(arrived: pl.DataFrame, runs: pl.DataFrame) -> bool:
    """Whether nothing new is usual on this weekday: on most of its earlier nights nothing came, of any source."""
    came = arrived.group_by("night").agg(pl.col("n").sum())
    same = runs.filter(pl.col("night") > 0, pl.col("night") % _WEEK == 0).select("night").unique()
    n = same.join(came, on="night", how="left")["n"].fill_null(0)
    return bool(n.len()) and int((n > 0).sum()) * 2 < n.len() and int(came["n"].sum()) > 0


def missing_analytes(results: pl.DataFrame, rule: SilenceRule) -> pl.DataFrame:
    """Analytes that used to come with the other results of a laboratory and did not tonight: lab, analyte, last_night, base.

    ``results`` (lab, analyte, night, n) as of ``by_night``. Judged are the laboratories that sent results tonight; ``base`` is how
    many specimens about they have sent since the analyte's last night; its share is taken as low as it may be by chance.
    """
    base = laboratories_by_night(results).filter(pl.col("n") > 0).rename({"name": "lab", "n": "base"})
    base = base.filter((pl.col("night") == 0).any().over("lab"))
    last = (
        results.filter(pl.col("n") > 0)
        .group_by("lab", "analyte")
        .agg(last_night=pl.col("night").min(), first_night=pl.col("night").max())
        .filter(pl.col("last_night").is_between(1, rule.stopped_d))
    )
    visits = (
        base.join(last, on="lab", nulls_equal=True)
        .filter(pl.col("night") <= pl.col("first_night"), pl.col("night") < pl.col("last_night") + rule.history_d)
        .join(results, on=["lab", "analyte", "night"], how="left", nulls_equal=True)
        .with_columns(pl.col("n").fill_null(0), weekday=pl.col("night") % _WEEK)
    )
    source, before = ["lab", "analyte"], pl.col("night") >= pl.col("last_night")
    n, of = pl.col("n").filter(before), pl.col("base").filter(before)
    observed = n.sum() / of.sum()
    lowest = observed - rule.share_z * (observed * (1 - observed).clip(0) / of.sum()).sqrt()
    share = pl.when(n.len() >= rule.minimum_nights_n).then(lowest)
    visits = visits.with_columns(
        share=pl.coalesce(share.over(*source, "weekday"), share.over(source)).clip(0, _MOST_CERTAIN)
    ).filter(pl.col("share").is_not_null())
    expected = pl.col("base") * pl.col("share")
    spread = robust_sd((pl.col("n") - expected).filter(before)) ** 2
    by_chance = (expected * (1 - pl.col("share"))).filter(before).median().clip(1)
    return (
        visits.with_columns(dispersion=(spread / by_chance).clip(1).over(source))
        .with_columns(expected=-pl.col("base") * (1 - pl.col("share")).log())
        .pipe(_with_droughts, source, rule)
        .filter(
            pl.col("expected") * _weight(pl.col("dispersion")) >= -math.log(rule.analyte_chance),
            pl.col("expected") > pl.col("usual"),
        )
        .select(*source, "last_night", "base")
        .sort(source, nulls_last=False)
    )


def shrunken_sources(arrived: pl.DataFrame, runs: pl.DataFrame, rule: SilenceRule) -> pl.DataFrame:
    """Sources that sent something tonight, and far less than on nights like this one: name, n, usual.

    Numbers are compared as logarithms of their ratio to the usual one of the weekday (of all its nights for a source that
    comes once a week or less often), against the scatter of the earlier nights; never more than what chance leaves of so few.
    """
    nights = _nights(arrived, runs, rule).filter(pl.col("n") > 0, pl.col("night") < rule.history_d)
    is_past = pl.col("night") > 0
    past = pl.col("n").filter(is_past)
    median = pl.when(past.len() >= rule.minimum_nights_n).then(past.median())
    ratio = (pl.col("n") / pl.col("usual")).log()
    scatter = robust_sd(ratio - ratio.median())
    nights = nights.with_columns(
        usual=pl.coalesce(
            median.over("name", pl.col("night") % _WEEK),
            pl.when(pl.col("last_night") >= _WEEK).then(median.over("name")),
        )
    ).filter(pl.col("usual").is_not_null())
    usual = (
        nights.filter(is_past)
        .group_by("name")
        .agg(scatter=scatter, past_n=pl.len(), lowest=ratio.sort().get(rule.outages_n, null_on_oob=True).fill_null(0.0))
    )
    by_chance = (1 / pl.col("usual")).sqrt()
    # Of few nights the scatter is uncertain: it is that of so many more nights with the scatter of laboratories in general.
    known, assumed = pl.col("past_n") * pl.col("scatter") ** 2, rule.usual_scatter_n * rule.usual_scatter**2
    scatter = ((known + assumed) / (pl.col("past_n") + rule.usual_scatter_n)).sqrt()
    return (
        nights.filter(pl.col("night") == 0)
        .join(usual, on="name", nulls_equal=True)
        .filter(
            -ratio >= math.log(rule.shrunken_factor),
            -ratio >= rule.shrunken_z * pl.max_horizontal(scatter, by_chance),
            ratio < pl.col("lowest"),
        )
        .select("name", "n", "usual")
        .sort("name", nulls_last=False)
    )


def _nights(arrived: pl.DataFrame, runs: pl.DataFrame, rule: SilenceRule) -> pl.DataFrame:
    """Every source on every night with a run since its first arrival: name, night, n (0 = nothing came), last_night.

    Of sources that sent before tonight and not longer ago than ``stopped_d``; ``last_night`` is that of the last arrival
    before tonight.
    """
    last = (
        arrived.filter(pl.col("n") > 0, pl.col("night") > 0)
        .group_by("name")
        .agg(last_night=pl.col("night").min(), first_night=pl.col("night").max())
        .filter(pl.col("last_night") <= rule.stopped_d)
    )
    return (
        last.join(runs.select("night").unique(), how="cross")
        .filter(pl.col("night") <= pl.col("first_night"))
        .drop("first_night")
        .join(arrived, on=["name", "night"], how="left", nulls_equal=True)
        .with_columns(pl.col("n").fill_null(0))
        .sort("name", "night", nulls_last=False)
    )


def _by_the_week(nights: pl.DataFrame, runs: pl.DataFrame, rule: SilenceRule) -> pl.DataFrame:
    """Each source as a weekly one: name, last_night, expected since then, has_rhythm, is_silent, ``weekdays`` it comes on."""
    covering = (
        runs.select("night").unique().sort("night").with_columns(nights_n=pl.col("night").shift(-1) - pl.col("night"))
    )
    recent = nights.filter(pl.col("night") < pl.col("last_night") + rule.history_d)
    # Nights after one without a run bring the results of both: no number of a weekday.
    usual = (
        recent.filter(pl.col("night") >= pl.col("last_night"))
        .join(covering.filter(pl.col("nights_n").fill_null(1) == 1), on="night", how="semi")
        .group_by("name", weekday=pl.col("night") % _WEEK)
        .agg(usual=pl.col("n").quantile(0.5, "lower"), counted=pl.len())
        .filter(pl.col("counted") >= rule.minimum_nights_n, pl.col("usual") > 0)
        .drop("counted")
    )
    days = covering.with_columns(
        day=pl.int_ranges("night", pl.col("night") + pl.col("nights_n").fill_null(1).clip(1, _WEEK))
    ).explode("day")
    due = (
        days.with_columns(weekday=pl.col("day") % _WEEK)
        .join(usual, on="weekday")
        .group_by("name", "night")
        .agg(expected=pl.col("usual").sum(), is_single=pl.len() == 1)
    )
    expected = recent.join(due, on=["name", "night"], how="left", nulls_equal=True).with_columns(
        pl.col("expected").fill_null(0.0)
    )
    is_counted = pl.col("is_single").fill_null(False) & (pl.col("night") >= pl.col("last_night"))
    spread = robust_sd((pl.col("n") - pl.col("expected")).filter(is_counted)) ** 2
    dispersion = (spread / pl.col("expected").filter(is_counted).median()).clip(_LEAST_DISPERSION)
    weekdays = usual.group_by("name").agg(pl.col("weekday").sort().alias("weekdays"), nights_a_week=pl.len())
    least = (pl.col("nights_a_week") / rule.laboratory_chance).log()
    return (
        expected.with_columns(dispersion=dispersion.over("name"))
        .pipe(_with_droughts, ["name"], rule)
        .join(weekdays, on="name", how="left", nulls_equal=True)
        .with_columns(
            has_rhythm=pl.col("nights_a_week").is_not_null(),
            is_silent=(
                (pl.col("n") == 0)
                & (pl.col("expected") * _weight(pl.col("dispersion")) >= least)
                & (pl.col("expected") > pl.col("usual"))
            ).fill_null(False),
        )
    )


def _weight(dispersion: pl.Expr) -> pl.Expr:
    """How much an expected one weighs as evidence, as -log(chance of none): 1 where numbers scatter by chance alone (Poisson),
    less where they scatter more (negative binomial), more where they scatter less."""
    return pl.when(dispersion > _BY_CHANCE).then(dispersion.log() / (dispersion - 1)).otherwise(1 / dispersion)


def _with_droughts(nights: pl.DataFrame, source: list[str], rule: SilenceRule) -> pl.DataFrame:
    """The row of tonight of each source, with what was ``expected`` and did not come since its last arrival, and the
    ``usual`` largest of such sums before, but for a few outages. A column ``base`` is added up too."""
    sums = [name for name in ("expected", "base") if name in nights.columns]
    spells = nights.sort("night", descending=True).with_columns(spell=(pl.col("n") > 0).cum_sum().over(source))
    missed = (
        spells.filter(pl.col("n") == 0)
        .group_by(*source, "spell")
        .agg(pl.col(sums).sum(), until=pl.col("night").min())
        .sort("expected", descending=True)
    )
    largest = pl.col("expected").get(rule.outages_n, null_on_oob=True)
    usual = missed.filter(pl.col("until") > 0).group_by(source, maintain_order=True).agg(usual=largest)
    tonight = missed.filter(pl.col("until") == 0).select(*source, *sums)
    return (
        nights.filter(pl.col("night") == 0)
        .drop(sums)
        .join(tonight, on=source, how="left", nulls_equal=True)
        .join(usual, on=source, how="left", nulls_equal=True)
        .with_columns(pl.col("expected").fill_null(0.0), pl.col("usual").fill_null(0.0))
    )


def _quiet_weekdays(weekly: pl.DataFrame, as_of: datetime) -> frozenset[int]:
    """The weekdays (Monday = 0) on which fewer than half as many sources are usual as on the busiest one."""
    sources = weekly.filter("has_rhythm").select(pl.col("weekdays").explode())["weekdays"].value_counts()
    counted = dict(sources.iter_rows())
    busiest = max(counted.values(), default=0)
    return frozenset(
        (as_of - back * _DAY).weekday() for back in range(_WEEK) if busiest and counted.get(back, 0) * 2 < busiest
    )


def _by_the_calendar(rare: pl.DataFrame, quiet: frozenset[int], as_of: datetime, rule: SilenceRule) -> pl.DataFrame:
    """Sources without a weekly rhythm that are due by their own calendar: as ``due_sources``."""
    came = (
        rare.filter(pl.col("n") > 0)
        .sort("night", descending=True)
        .group_by("name", maintain_order=True)
        .agg(
            past=pl.col("night").filter(pl.col("night") > 0),
            last_night=pl.col("last_night").first(),
            is_silent=(pl.col("night") > 0).all(),
        )
    )
    found = []
    for row in came.iter_rows(named=True):
        due = next_due([(as_of - back * _DAY).date() for back in row["past"]], quiet, rule)
        if due is not None and due <= as_of.date():
            found.append({name: row.get(name) for name in _DUE} | {"due_by": due})
    return pl.DataFrame(found, schema=_DUE)


_DUE: Final[dict[str, pl.DataType]] = {
    "name": pl.String(),
    "last_night": pl.Int64(),
    "expected": pl.Float64(),
    "due_by": pl.Date(),
    "is_silent": pl.Boolean(),
}

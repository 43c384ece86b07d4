"""Drift: what a laboratory sends tonight against what it sent in its last runs.

A laboratory that changes its units overnight, labels them wrongly, loses its differential, or renames a
test is named with what changed, from what to what. The rules are rows of ``drift_rules.csv``. They compare measures
over all files of a laboratory (``quality.quality_measures``), never patients, and all in the same way (``_beyond``).
"""

import math
from collections.abc import Callable
from typing import Final

import polars as pl

from neutro_schemas.store import QualityDrift
from neutro_screen.quality.robust import robust_sd
from neutro_screen.reference import Policy, load_reference
from neutro_screen.validate import in_shape, no_rows

_SOURCE: Final = ["lab", "analyte"]
_SERIES: Final = [*_SOURCE, "measure"]
_LIMITS: Final = ["change", "z", "minimum_n", "minimum_runs", "title"]
_FOUND: Final[dict[str, pl.DataType]] = {
    "lab": pl.String(),
    "analyte": pl.String(),
    "what": pl.String(),
    "title": pl.String(),
    "before": pl.String(),
    "now": pl.String(),
    "before_value": pl.Float64(),
    "now_value": pl.Float64(),
    "n": pl.Int64(),
    "runs": pl.Int64(),
}
_HOURS: Final = 24
_OF_LABORATORY: Final = pl.col("analyte").is_null()


def quality_drift(
    tonight: pl.DataFrame, before: pl.DataFrame, run_id: str, policy: Policy, known: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Compare the measures of a run with those of its laboratories' last runs.

    ``tonight`` and ``before`` are ``QualityMeasure`` rows; ``before`` of the runs to compare with, run_id telling them
    apart. Only rows over all files of a laboratory (source_file null) are read. Returns ``QualityDrift``, the most
    serious first; none without enough earlier runs. Laboratories that are ``known`` (lab) are not new, whenever they last
    sent.
    """
    now, past = (frame.filter(pl.col("source_file").is_null()) for frame in (tonight, before))
    if not past.height:
        return no_rows(QualityDrift)
    rules = load_reference().drift_rules
    found = pl.concat(
        compare(now, past, rules.filter(pl.col("kind") == kind), policy).select(
            pl.col(name).cast(dtype) for name, dtype in _FOUND.items()
        )
        for kind, compare in _COMPARISONS.items()
    )
    reference = load_reference().analytes.select("analyte", "label", "feeds_anc")
    findings = (
        found.join(rules.group_by("what").agg(pl.col("rank").min()), on="what", how="left")
        .join(reference, on="analyte", how="left")
        .with_columns(pl.col("before_value", "now_value").round_sig_figs(6), words=_words(), run_id=pl.lit(run_id))
    )
    if known is not None:
        is_known = (pl.col("what") == "new_laboratory") & pl.col("lab").is_in(known["lab"].implode(), nulls_equal=True)
        findings = findings.filter(~is_known)
    is_minor = ~_OF_LABORATORY & ~pl.col("feeds_anc").fill_null(False)
    ordered = findings.sort("rank", "what", "lab", is_minor, "analyte", "n", descending=[*[False] * 5, True])
    return in_shape(_without_consequences(ordered), QualityDrift)


def _beyond(compared: pl.DataFrame) -> pl.DataFrame:
    """The comparator: what is outside the earlier runs, by more than the rule's change and by far more than chance.

    ``at`` (tonight), ``usual``, ``lowest`` and ``highest`` (of the earlier runs), ``change`` and ``scatter`` (one
    standard deviation) are on one scale: shares as they are, numbers as logarithms, so that a change is a difference.
    ``size`` and ``runs`` must be enough for the rule.
    """
    moved = (pl.col("at") - pl.col("usual")).abs()
    return compared.filter(
        pl.col("runs") >= pl.col("minimum_runs"),
        pl.col("size") >= pl.col("minimum_n"),
        moved >= pl.col("change"),
        moved >= pl.col("z") * pl.col("scatter"),
        (pl.col("at") > pl.col("highest")) | (pl.col("at") < pl.col("lowest")),
    )


def _with_rule(measured: pl.DataFrame, rules: pl.DataFrame) -> pl.DataFrame:
    """Measured rows (analyte, measure) with ``what`` and the limits of their rule; an analyte's own row before ``*``."""
    named = rules.select("analyte", pl.col("what").alias("measure"), *_LIMITS)
    general, own = named.filter(pl.col("analyte") == "*").drop("analyte"), named.filter(pl.col("analyte") != "*")
    return (
        measured.join(general, on="measure", how="left")
        .join(own, on=["measure", "analyte"], how="left", suffix="_own")
        .with_columns(*(pl.coalesce(f"{name}_own", name).alias(name) for name in _LIMITS), what="measure")
        .filter(pl.col("change").is_not_null())
    )


def _shares(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Shares of a measure, all details together."""
    is_whole = pl.col("measure").is_in(rules["what"].implode()) & pl.col("detail").is_null()
    tonight, runs = (
        pl.concat([frame.filter(is_whole).select("run_id", *_SERIES, "n", "of"), _contradicting(frame)])
        for frame in (now, past)
    )
    tonight = _with_rule(tonight, rules)
    share = pl.col("share").filter(pl.col("of") >= pl.col("minimum_n"))
    usual = (
        tonight.select(*_SERIES, "minimum_n")
        .join(runs, on=_SERIES, nulls_equal=True)
        .with_columns(share=pl.col("n") / pl.col("of"))
        .group_by(_SERIES)
        .agg(
            usual=pl.col("n").sum() / pl.col("of").sum(),
            highest=_but_few(share, policy, descending=True).fill_null(0.0),
            lowest=_but_few(share, policy, descending=False).fill_null(1.0),
            scatter=_scatter(share).fill_null(0.0),
            runs=pl.col("run_id").n_unique(),
        )
    )
    by_chance = (pl.col("usual") * (1 - pl.col("usual")) / pl.col("of")).sqrt()
    drifted = (
        tonight.join(usual, on=_SERIES, nulls_equal=True)
        .with_columns(at=pl.col("n") / pl.col("of"), size="of", scatter=pl.max_horizontal("scatter", by_chance))
        .pipe(_beyond)
        .filter((pl.col("at") - pl.col("usual")).abs() * pl.col("of") >= policy.drift.least_n)
        .join(_main_reasons(now), on=_SERIES, how="left", nulls_equal=True)
    )
    mostly = pl.when(pl.col("reason").is_not_null() & (pl.col("at") > pl.col("usual"))).then(
        pl.concat_str(pl.lit(", mostly "), "reason")
    )
    return drifted.with_columns(
        before_value="usual",
        now_value="at",
        before=_percent("usual"),
        now=pl.concat_str(_percent("at"), mostly, ignore_nulls=True),
    )


def _contradicting(measures: pl.DataFrame) -> pl.DataFrame:
    """Rows whose code contradicts their unit, over all codes; none is a share of zero."""
    keys = ["run_id", *_SOURCE]
    n = measures.filter(pl.col("measure") == "code_contradicts_unit").group_by(keys).agg(pl.col("n").sum())
    rows = measures.filter(pl.col("measure") == "rows", ~_OF_LABORATORY).select(*keys, "of")
    joined = rows.join(n, on=keys, how="left", nulls_equal=True).with_columns(pl.col("n").fill_null(0))
    return joined.select(*keys, pl.lit("code_contradicts_unit").alias("measure"), "n", "of")


def _main_reasons(now: pl.DataFrame) -> pl.DataFrame:
    """The most frequent reason of refused rows, and kind of rows without a result, by series."""
    return (
        now.filter(pl.col("detail").is_not_null() & pl.col("measure").is_in(["rejected", "no_result"]))
        .sort("n", "detail", descending=[True, False])
        .group_by(_SERIES, maintain_order=True)
        .agg(reason=pl.col("detail").first().str.replace_all("_", " "))
    )


def _units(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A unit on a larger share of an analyte's rows than in any earlier run."""
    is_unit, rule = pl.col("measure") == "unit", rules.row(0, named=True)
    by_unit = [*_SOURCE, "detail"]
    rows = (
        past.filter(pl.col("measure") == "rows", ~_OF_LABORATORY)
        .group_by(_SOURCE)
        .agg(all_rows=pl.col("of").sum(), runs=pl.col("run_id").n_unique())
    )
    large = pl.col("value").filter(pl.col("of") >= rule["minimum_n"])
    units = (
        past.filter(is_unit).group_by(by_unit).agg(pl.col("n").sum(), highest=_but_few(large, policy, descending=True))
    )
    most = (
        units.sort("n", "detail", descending=[True, False], nulls_last=True)
        .group_by(_SOURCE, maintain_order=True)
        .agg(usual_unit=pl.col("detail").first(), usual_n=pl.col("n").first())
    )
    # Where no earlier run was large enough to have a share of its own, all of them together have one.
    highest = pl.max_horizontal(pl.col("highest").fill_null(0.0), pl.col("past_n").fill_null(0) / pl.col("all_rows"))
    drifted = (
        now.filter(is_unit & (pl.col("of") >= rule["minimum_n"]))
        .join(units.select(*by_unit, "highest", past_n="n"), on=by_unit, how="left", nulls_equal=True)
        .join(rows, on=_SOURCE, nulls_equal=True)
        .join(most, on=_SOURCE, nulls_equal=True)
        .pipe(_with_rule, rules)
        .with_columns(at="value", size="all_rows", scatter=0.0, highest=highest, usual=highest, lowest=-math.inf)
        .pipe(_beyond)
        .filter(pl.col("at") > pl.col("usual"), pl.col("n") >= policy.drift.least_n)
        .with_columns(before_value=pl.col("usual_n") / pl.col("all_rows"), now_value="value")
    )
    return drifted.with_columns(
        before=pl.format("{} ({})", pl.col("usual_unit").fill_null("no unit"), _percent("before_value")),
        now=pl.format("{} ({})", pl.col("detail").fill_null("no unit"), _percent("now_value")),
    )


def _medians(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A median further from the earlier ones than their scatter allows for so many results."""
    is_median = pl.col("measure") == "median"
    runs = past.filter(is_median & (pl.col("value") > 0)).select(*_SOURCE, "run_id", "value", runs_n="n")
    centre = runs.group_by(_SOURCE).agg(before_value=pl.col("value").median(), runs=pl.col("run_id").n_unique())
    deviation = (pl.col("value") / pl.col("before_value")).log().abs()
    scatter = (
        runs.join(centre, on=_SOURCE, nulls_equal=True)
        .group_by(_SOURCE)
        .agg(
            one_result=robust_sd(deviation * pl.col("runs_n").sqrt()),
            highest=_but_few(deviation, policy, descending=True).fill_null(0.0),
        )
    )
    # A median of nothing has no logarithm: it counts as a hundredth of the usual one.
    fold = pl.max_horizontal("value", pl.col("before_value") / 100) / pl.col("before_value")
    return (
        _with_rule(now.filter(is_median), rules)
        .join(centre, on=_SOURCE, nulls_equal=True)
        .join(scatter, on=_SOURCE, nulls_equal=True)
        .join(load_reference().analytes.select("analyte", unit="canonical_unit"), on="analyte", how="left")
        .with_columns(
            pl.col("change").log(),
            at=fold.log().abs(),
            usual=0.0,
            lowest=-math.inf,
            scatter=pl.max_horizontal(pl.col("one_result") / pl.col("n").sqrt(), pl.lit(policy.drift.least_scatter)),
            size="n",
            now_value="value",
        )
        .pipe(_beyond)
        .with_columns(
            before=pl.concat_str(_number("before_value"), "unit", separator=" ", ignore_nulls=True),
            now=pl.concat_str(_number("now_value"), "unit", separator=" ", ignore_nulls=True),
        )
    )


def _volumes(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Far fewer new results than in any earlier run of the laboratory, or far more than in any; none of an analyte included.

    The weekdays of a laboratory are not known here: ``quality.rhythm`` compares the nights of one weekday.
    """
    beyond = math.log(policy.silence.shrunken_factor)
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"].implode()
    is_new = pl.col("measure") == "new"
    sent = past.filter(is_new & (_OF_LABORATORY | pl.col("analyte").is_in(feeding)))
    every = (
        sent.select(_SOURCE)
        .unique()
        .join(past.filter(is_new & _OF_LABORATORY).select("lab", "run_id"), on="lab", nulls_equal=True)
    )
    usual = (
        every.join(sent.select(*_SOURCE, "run_id", "n"), on=[*_SOURCE, "run_id"], how="left", nulls_equal=True)
        .with_columns(pl.col("n").fill_null(0))
        .group_by(_SOURCE)
        .agg(
            before_value=pl.col("n").median(),
            highest=pl.col("n").max(),
            lowest=pl.col("n").min(),
            scatter=_scatter(pl.col("n").filter(pl.col("n") > 0).log()).fill_null(0.0),
            runs=pl.len(),
        )
    )
    return (
        usual.join(now.filter(is_new & _OF_LABORATORY).select("lab"), on="lab", how="semi", nulls_equal=True)
        .join(now.filter(is_new).select(*_SOURCE, "n"), on=_SOURCE, how="left", nulls_equal=True)
        .with_columns(pl.col("n").fill_null(0), measure=pl.lit("volume"))
        .pipe(_with_rule, rules)
        .with_columns(
            pl.col("change").log(),
            lowest=pl.col("lowest").log() - beyond,
            highest=pl.col("highest").log() + beyond,
            at=pl.col("n").log(),
            usual=pl.col("before_value").log(),
            size=pl.max_horizontal("before_value", "n"),
            now_value=pl.col("n").cast(pl.Float64),
        )
        .pipe(_beyond)
        .with_columns(before=pl.format("{} a run", _number("before_value")), now=_number("n"))
    )


def _new_laboratories(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A laboratory that sent nothing in any of the earlier runs."""
    is_rows = (pl.col("measure") == "rows") & _OF_LABORATORY
    return (
        now.filter(is_rows)
        .join(past.filter(is_rows).select("lab").unique(), on="lab", how="anti", nulls_equal=True)
        .select("lab", n="of", runs=pl.lit(past["run_id"].n_unique()))
        .pipe(_as_a_whole, rules)
        .filter(pl.col("n") >= pl.col("minimum_n"))
        .with_columns(before_value=0.0, now_value="n", before=pl.lit("nothing"), now=pl.format("{} rows", _number("n")))
    )


def _hours(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Hours of collection that fit the laboratory's usual ones only after moving the clock.

    What is compared is the distance between tonight's shares of the hours and the usual ones, with the clock moved and
    not; chance alone leaves a distance too.
    """
    rule = rules.row(0, named=True)
    is_hour, hour = pl.col("measure") == "hour_of_day", pl.col("detail").cast(pl.Int64)
    runs = past.filter(is_hour).group_by("lab").agg(runs=pl.col("run_id").n_unique(), all_n=pl.col("n").sum())
    usual = past.filter(is_hour).group_by("lab", hour=hour).agg(usual_n=pl.col("n").sum())
    tonight = now.filter(is_hour & (pl.col("of") >= rule["minimum_n"])).select("lab", "of", "n", hour=hour)
    clock = pl.DataFrame({"hour": range(_HOURS)}, schema={"hour": pl.Int64})
    moves = clock.select(moved=(pl.col("hour") + 12) % _HOURS - 12)
    every = tonight.select("lab", "of").unique().join(runs, on="lab", nulls_equal=True).join(clock, how="cross")
    expected = pl.col("usual_n").fill_null(0) / pl.col("all_n")
    distances = (
        every.join(usual, on=["lab", "hour"], how="left", nulls_equal=True)
        .with_columns(expected=expected)
        .join(moves, how="cross")
        .with_columns(seen_at=(pl.col("hour") + pl.col("moved")) % _HOURS)
        .join(tonight.select("lab", "n", seen_at="hour"), on=["lab", "seen_at"], how="left", nulls_equal=True)
        .with_columns(seen=pl.col("n").fill_null(0) / pl.col("of"))
        .group_by("lab", "moved", "of", "runs")
        .agg(
            distance=(pl.col("seen") - pl.col("expected")).abs().sum(),
            # The mean distance that chance alone leaves between a share of so many and its expectation.
            by_chance=(pl.col("expected") * (1 - pl.col("expected")) * 2 / (pl.col("of") * math.pi)).sqrt().sum(),
        )
        .sort("lab", "distance", pl.col("moved").abs(), "moved")
    )
    unmoved = distances.filter(pl.col("moved") == 0).select("lab", by="distance")
    late = pl.when(pl.col("moved") > 0).then(pl.lit("later")).otherwise(pl.lit("earlier"))
    return (
        distances.unique("lab", keep="first", maintain_order=True)
        .join(unmoved, on="lab", nulls_equal=True)
        .pipe(_as_a_whole, rules)
        .filter(
            pl.col("moved") != 0,
            pl.col("by") >= pl.col("by_chance") * pl.col("change"),
            pl.col("distance") <= pl.col("by") * policy.drift.hour_fit,
        )
        .with_columns(
            n="of",
            before_value=0.0,
            now_value="moved",
            before=pl.lit("as usual"),
            now=pl.format("{} h {} than usual", pl.col("moved").abs(), late),
        )
    )


_COMPARISONS: Final[dict[str, Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame, Policy], pl.DataFrame]]] = {
    "unit": _units,
    "share": _shares,
    "fold": _medians,
    "volume": _volumes,
    "hour": _hours,
    "new": _new_laboratories,
}


def _as_a_whole(laboratories: pl.DataFrame, rules: pl.DataFrame) -> pl.DataFrame:
    """Laboratories (lab, runs) with the only rule of a kind, where there are enough runs to compare with."""
    rule = rules.select("what", *_LIMITS, analyte=pl.lit(None, pl.String))
    return laboratories.join(rule, how="cross").filter(pl.col("runs") >= pl.col("minimum_runs"))


def _without_consequences(findings: pl.DataFrame) -> pl.DataFrame:
    """Leave out what follows from another finding: every measure of a laboratory that is new, and the single analytes where
    the laboratory's volume as a whole fell or rose."""
    as_a_whole = findings.filter(pl.col("what").is_in(["new_laboratory", "volume"]), _OF_LABORATORY)
    found = as_a_whole.select("lab", whole="what").unique("lab", keep="first", maintain_order=True)
    marked = findings.join(found, on="lab", how="left", nulls_equal=True, maintain_order="left")
    follows = (pl.col("whole") == "volume") & (pl.col("what") == "volume") & pl.col("analyte").is_not_null() | (
        (pl.col("whole") == "new_laboratory") & (pl.col("what") != "new_laboratory")
    )
    return marked.filter(~follows.fill_null(False))


def _but_few(values: pl.Expr, policy: Policy, *, descending: bool) -> pl.Expr:
    """The extreme of the earlier runs but for a few, so that a change is reported for so many nights and not once."""
    return values.sort(descending=descending).get(policy.drift.told_n, null_on_oob=True)


def _scatter(values: pl.Expr) -> pl.Expr:
    """The standard deviation of the earlier runs, robust against a few outlying ones."""
    return robust_sd(values - values.median())


def _words() -> pl.Expr:
    """The finding as a sentence."""
    analyte = pl.when(~_OF_LABORATORY).then(pl.concat_str(pl.lit(", "), pl.coalesce("label", "analyte")))
    whose = pl.concat_str(pl.lit("Laboratory "), pl.col("lab").fill_null("(not named)"), analyte, ignore_nulls=True)
    return pl.concat_str(whose, pl.lit(": "), "title", pl.lit(", from "), "before", pl.lit(" to "), "now")


def _percent(column: str) -> pl.Expr:
    per_cent = pl.col(column) * 100
    whole = per_cent.round(0).cast(pl.Int64).cast(pl.String)
    return pl.concat_str(pl.when((per_cent > 0) & (per_cent < 1)).then(pl.lit("< 1")).otherwise(whole), pl.lit(" %"))


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64).round_sig_figs(3).cast(pl.String).str.strip_suffix(".0")

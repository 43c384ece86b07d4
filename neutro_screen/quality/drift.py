"""Drift: what a laboratory sends tonight against what it sent in its last runs.

A laboratory that changes its units overnight, labels them wrongly, loses its differential, renames a test or falls
silent is named with what changed, from what to what. The rules are rows of ``drift_rules.csv``; the comparison is of
measures over all files of a laboratory (``quality.quality_measures``), never of patients.
"""

import math
from collections.abc import Callable
from typing import Final

import polars as pl

from neutro_schemas.store import QualityDrift
from neutro_screen.reference import Policy, load_reference
from neutro_screen.validate import in_shape, no_rows

_SOURCE: Final = ["lab", "analyte"]
_FINDING: Final = (*_SOURCE, "what", "before", "now", "before_value", "now_value", "n", "runs", "words")
#: 1.4826 times the median deviation is the standard deviation of a normal scatter.
_MAD_TO_SD: Final = 1.4826
_HOURS: Final = 24


def quality_drift(tonight: pl.DataFrame, before: pl.DataFrame, run_id: str, policy: Policy) -> pl.DataFrame:
    """Compare the measures of a run with those of its laboratories' last runs.

    ``tonight`` and ``before`` are ``QualityMeasure`` rows; ``before`` of the runs to compare with, run_id telling them
    apart. Only rows over all files of a laboratory (source_file null) are read. Returns ``QualityDrift``, the most
    serious first. Without enough earlier runs there is nothing to say.
    """
    now, past = (frame.filter(pl.col("source_file").is_null()) for frame in (tonight, before))
    if not past.height:
        return no_rows(QualityDrift)
    rules = load_reference().drift_rules
    found = [rule(now, past, rules.filter(pl.col("kind") == kind), policy) for kind, rule in _RULES.items()]
    rank = rules.group_by("what").agg(pl.col("rank").min())
    findings = pl.concat(found).join(rank, on="what", how="left").with_columns(run_id=pl.lit(run_id))
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"].implode()
    is_minor = pl.col("analyte").is_not_null() & ~pl.col("analyte").is_in(feeding)
    ordered = findings.sort("rank", "what", "lab", is_minor, "analyte", "n", descending=[*[False] * 5, True])
    return in_shape(_once(ordered), QualityDrift)


def _once(findings: pl.DataFrame) -> pl.DataFrame:
    """Leave out what follows from something said already: every measure of a laboratory that is new or silent, and
    the single analytes where the laboratory's volume as a whole fell or rose."""
    as_a_whole = findings.filter(
        pl.col("what").is_in(["silent", "new_laboratory", "volume"]), pl.col("analyte").is_null()
    )
    told = as_a_whole.select("lab", whole="what").unique("lab", keep="first", maintain_order=True)
    marked = findings.join(told, on="lab", how="left", nulls_equal=True, maintain_order="left")
    follows = (pl.col("whole") == "volume") & (pl.col("what") == "volume") & pl.col("analyte").is_not_null() | (
        pl.col("whole").is_in(["silent", "new_laboratory"]) & (pl.col("what") != pl.col("whole"))
    )
    return marked.filter(~follows.fill_null(False))


def _with_rule(measured: pl.DataFrame, rules: pl.DataFrame, what: str = "measure") -> pl.DataFrame:
    """Measured rows with the limits of their rule; an analyte's own row goes before ``*``."""
    limits = ["change", "z", "minimum_n", "minimum_runs", "title"]
    general = rules.filter(pl.col("analyte") == "*").select(pl.col("what").alias(what), *limits)
    own = rules.filter(pl.col("analyte") != "*").select(pl.col("what").alias(what), "analyte", *limits)
    joined = measured.join(general, on=what, how="left").join(own, on=[what, "analyte"], how="left", suffix="_own")
    return (
        joined.with_columns(pl.coalesce(f"{name}_own", name).alias(name) for name in limits)
        .drop(f"{name}_own" for name in limits)
        .filter(pl.col("change").is_not_null())
    )


def _share_drift(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A share that is outside all earlier runs, by more than the rule's change and far more than chance."""
    whole = pl.col("measure").is_in(rules["what"].implode()) & pl.col("detail").is_null()
    keys = [*_SOURCE, "measure"]
    contradictions = [_contradicting(frame) for frame in (now, past)]
    today = _with_rule(pl.concat([now.filter(whole).select(*keys, "n", "of"), contradictions[0].drop("run_id")]), rules)
    runs = pl.concat([past.filter(whole).select("run_id", *keys, "n", "of"), contradictions[1]])
    usual = (
        today.select(*keys, "minimum_n")
        .join(runs, on=keys, nulls_equal=True)
        .with_columns(share=pl.col("n") / pl.col("of"), is_large=pl.col("of") >= pl.col("minimum_n"))
        .group_by(keys)
        .agg(
            usual=pl.col("n").sum() / pl.col("of").sum(),
            highest=_but_few(pl.col("share").filter("is_large"), policy, descending=True).fill_null(0.0),
            lowest=_but_few(pl.col("share").filter("is_large"), policy, descending=False).fill_null(1.0),
            scatter=_scatter(pl.col("share").filter("is_large")).fill_null(0.0),
            runs=pl.col("run_id").n_unique(),
        )
    )
    share, by_chance = pl.col("n") / pl.col("of"), (pl.col("usual") * (1 - pl.col("usual")) / pl.col("of")).sqrt()
    drifted = (
        today.join(usual, on=keys, nulls_equal=True)
        .with_columns(share=share, change_now=(share - pl.col("usual")).abs())
        .filter(
            pl.col("runs") >= pl.col("minimum_runs"),
            pl.col("of") >= pl.col("minimum_n"),
            pl.col("change_now") >= pl.col("change"),
            pl.col("change_now") * pl.col("of") >= policy.drift.least_n,
            pl.col("change_now") >= pl.col("z") * pl.max_horizontal(by_chance, "scatter"),
            (pl.col("share") > pl.col("highest")) | (pl.col("share") < pl.col("lowest")),
        )
    )
    reasons = (
        now.filter(pl.col("detail").is_not_null() & pl.col("measure").is_in(["rejected", "no_result"]))
        .sort("n", "detail", descending=[True, False])
        .group_by(keys, maintain_order=True)
        .agg(reason=pl.col("detail").first().str.replace_all("_", " "))
    )
    drifted = drifted.join(reasons, on=keys, how="left", nulls_equal=True)
    mostly = pl.when(pl.col("reason").is_not_null() & (pl.col("share") > pl.col("usual"))).then(
        pl.concat_str(pl.lit(", mostly "), "reason")
    )
    return _findings(
        drifted.with_columns(what="measure", before_value="usual", now_value="share", n="n"),
        before=_percent("usual"),
        now=pl.concat_str(_percent("share"), mostly, ignore_nulls=True),
    )


def _contradicting(measures: pl.DataFrame) -> pl.DataFrame:
    """Rows whose code contradicts their unit, over all codes; none is a share of zero."""
    keys = ["run_id", *_SOURCE]
    n = measures.filter(pl.col("measure") == "code_contradicts_unit").group_by(keys).agg(pl.col("n").sum())
    rows = measures.filter((pl.col("measure") == "rows") & pl.col("analyte").is_not_null()).select(*keys, "of")
    joined = rows.join(n, on=keys, how="left", nulls_equal=True).with_columns(pl.col("n").fill_null(0))
    return joined.select(*keys, pl.lit("code_contradicts_unit").alias("measure"), "n", "of")


def _unit_drift(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A unit on a larger share of an analyte's rows than in any earlier run."""
    is_unit, rule = pl.col("measure") == "unit", rules.row(0, named=True)
    keys = [*_SOURCE, "detail"]
    rows = (
        past.filter((pl.col("measure") == "rows") & pl.col("analyte").is_not_null())
        .group_by(_SOURCE)
        .agg(all_rows=pl.col("of").sum(), runs=pl.col("run_id").n_unique())
    )
    units = (
        past.filter(is_unit)
        .group_by(keys)
        .agg(
            n=pl.col("n").sum(),
            highest=_but_few(pl.col("value").filter(pl.col("of") >= rule["minimum_n"]), policy, descending=True),
        )
    )
    most = (
        units.sort("n", "detail", descending=[True, False], nulls_last=True)
        .group_by(_SOURCE, maintain_order=True)
        .agg(usual_unit=pl.col("detail").first(), usual_n=pl.col("n").first())
    )
    drifted = (
        now.filter(is_unit & (pl.col("of") >= rule["minimum_n"]))
        .join(units.select(*keys, "highest", past_n="n"), on=keys, how="left", nulls_equal=True)
        .join(rows, on=_SOURCE, nulls_equal=True)
        # Where no earlier run was large enough to have a share of its own, all of them together have one.
        .with_columns(
            usual_share=pl.max_horizontal(
                pl.col("highest").fill_null(0.0), pl.col("past_n").fill_null(0) / pl.col("all_rows")
            )
        )
        .filter(pl.col("value") >= pl.col("usual_share") + rule["change"])
        .join(most, on=_SOURCE, nulls_equal=True)
        .filter(
            pl.col("runs") >= rule["minimum_runs"],
            pl.col("all_rows") >= rule["minimum_n"],
            pl.col("n") >= policy.drift.least_n,
        )
        .with_columns(usual=pl.col("usual_n") / pl.col("all_rows"), what=pl.lit("unit"), title=pl.lit(rule["title"]))
    )
    return _findings(
        drifted.with_columns(before_value="usual", now_value="value"),
        before=pl.format("{} ({})", pl.col("usual_unit").fill_null("no unit"), _percent("usual")),
        now=pl.format("{} ({})", pl.col("detail").fill_null("no unit"), _percent("value")),
    )


def _median_drift(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A median further from the earlier ones than their scatter allows for so many results."""
    is_median = pl.col("measure") == "median"
    today = _with_rule(now.filter(is_median).select(*_SOURCE, "measure", "n", "value"), rules)
    runs = past.filter(is_median & (pl.col("value") > 0)).select(*_SOURCE, "run_id", "value", runs_n="n")
    centre = runs.group_by(_SOURCE).agg(usual=pl.col("value").median(), runs=pl.col("run_id").n_unique())
    deviation = (pl.col("value") / pl.col("usual")).log().abs()
    scatter = (
        runs.join(centre, on=_SOURCE, nulls_equal=True)
        .group_by(_SOURCE)
        .agg(
            one_result=(deviation * pl.col("runs_n").sqrt()).median() * _MAD_TO_SD,
            furthest=_but_few(deviation, policy, descending=True).fill_null(0.0),
        )
    )
    # A median of nothing has no logarithm: it counts as a hundredth of the usual one.
    fold = (pl.max_horizontal("value", pl.col("usual") / 100) / pl.col("usual")).log().abs()
    allowed = pl.max_horizontal(pl.col("one_result") / pl.col("n").sqrt(), pl.lit(policy.drift.least_scatter)) * pl.col(
        "z"
    )
    drifted = (
        today.join(centre, on=_SOURCE, nulls_equal=True)
        .join(scatter, on=_SOURCE, nulls_equal=True)
        .with_columns(fold=fold, what=pl.lit("median"), before_value="usual", now_value="value")
        .filter(
            pl.col("runs") >= pl.col("minimum_runs"),
            pl.col("n") >= pl.col("minimum_n"),
            pl.col("fold") >= pl.col("change").log(),
            pl.col("fold") >= allowed,
            pl.col("fold") > pl.col("furthest"),
        )
    )
    units = load_reference().analytes.select("analyte", unit="canonical_unit")
    drifted = drifted.join(units, on="analyte", how="left")
    return _findings(
        drifted,
        before=pl.concat_str(_number("usual"), "unit", separator=" ", ignore_nulls=True),
        now=pl.concat_str(_number("value"), "unit", separator=" ", ignore_nulls=True),
    )


def _volume_drift(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Fewer rows than in any earlier run of the laboratory, or more than in any; none at all of an analyte included."""
    rule = rules.row(0, named=True)
    is_rows = pl.col("measure") == "rows"
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"].implode()
    watched = pl.col("analyte").is_null() | pl.col("analyte").is_in(feeding)
    today = now.filter(is_rows).select(*_SOURCE, n="of")
    of_lab = past.filter(is_rows & pl.col("analyte").is_null()).select("lab", "run_id")
    runs = past.filter(is_rows & watched).select(*_SOURCE, "run_id", "of")
    every = runs.select(_SOURCE).unique().join(of_lab, on="lab", nulls_equal=True)
    usual = (
        every.join(runs, on=[*_SOURCE, "run_id"], how="left", nulls_equal=True)
        .with_columns(pl.col("of").fill_null(0))
        .group_by(_SOURCE)
        .agg(usual=pl.col("of").median(), highest=pl.col("of").max(), lowest=pl.col("of").min(), runs=pl.len())
    )
    sends = now.filter(is_rows & pl.col("analyte").is_null()).select("lab")
    drifted = (
        usual.join(sends, on="lab", how="semi", nulls_equal=True)
        .join(today, on=_SOURCE, how="left", nulls_equal=True)
        .with_columns(
            pl.col("n").fill_null(0), what=pl.lit("volume"), title=pl.lit(rule["title"]), before_value="usual"
        )
        .filter(
            pl.col("runs") >= rule["minimum_runs"],
            pl.max_horizontal("usual", "n") >= rule["minimum_n"],
            ((pl.col("n") < pl.col("lowest")) & (pl.col("n") * rule["change"] < pl.col("usual")))
            | ((pl.col("n") > pl.col("highest")) & (pl.col("n") > pl.col("usual") * rule["change"])),
        )
    )
    return _findings(
        drifted.with_columns(now_value=pl.col("n").cast(pl.Float64)),
        before=pl.format("{} a run", _number("usual")),
        now=_number("n"),
    )


def _silent(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """A laboratory that sends nothing tonight and never paused so long before."""
    rule = rules.row(0, named=True)
    is_rows = (pl.col("measure") == "rows") & pl.col("analyte").is_null()
    # Numbered from the latest (1) back; the run identifiers begin with the index time.
    order = past.select("run_id").unique().sort("run_id", descending=True).with_row_index("back", offset=1)
    sent = past.filter(is_rows).join(order, on="run_id").sort("back")
    pauses = sent.group_by("lab", maintain_order=True).agg(
        since=pl.col("back").first().cast(pl.Int64),
        longest=pl.col("back").cast(pl.Int64).diff().max().fill_null(1),
        usual=pl.col("of").median(),
        runs=pl.len(),
    )
    sends = now.filter(is_rows).select("lab")
    drifted = (
        pauses.join(sends, on="lab", how="anti", nulls_equal=True)
        .filter(
            pl.col("runs") >= rule["minimum_runs"],
            pl.col("usual") >= rule["minimum_n"],
            pl.col("since") >= pl.col("longest"),
        )
        .with_columns(
            what=pl.lit("silent"),
            title=pl.lit(rule["title"]),
            analyte=pl.lit(None, pl.String),
            before_value="usual",
            now_value=pl.lit(0.0),
            n=pl.lit(0),
        )
    )
    return _findings(drifted, before=pl.format("{} rows a run", _number("usual")), now=pl.lit("nothing"))


def _new_laboratories(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    rule = rules.row(0, named=True)
    is_rows = (pl.col("measure") == "rows") & pl.col("analyte").is_null()
    runs = past["run_id"].n_unique()
    known = past.filter(is_rows).select("lab").unique()
    new = (
        now.filter(is_rows & (pl.col("of") >= rule["minimum_n"]))
        .join(known, on="lab", how="anti", nulls_equal=True)
        .filter(pl.lit(runs >= rule["minimum_runs"]))
        .with_columns(
            what=pl.lit("new_laboratory"),
            title=pl.lit(rule["title"]),
            before_value=pl.lit(0.0),
            now_value=pl.col("of").cast(pl.Float64),
            n="of",
            runs=pl.lit(runs),
        )
    )
    return _findings(new, before=pl.lit("nothing"), now=pl.format("{} rows", _number("n")))


def _hour_drift(now: pl.DataFrame, past: pl.DataFrame, rules: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Hours of collection that fit the laboratory's usual ones only after moving the clock."""
    rule = rules.row(0, named=True)
    is_hour = pl.col("measure") == "hour_of_day"
    hour = pl.col("detail").cast(pl.Int64)
    runs = past.filter(is_hour).group_by("lab").agg(runs=pl.col("run_id").n_unique(), all_n=pl.col("n").sum())
    usual = past.filter(is_hour).group_by("lab", hour=hour).agg(usual_n=pl.col("n").sum())
    today = now.filter(is_hour & (pl.col("of") >= rule["minimum_n"])).select("lab", "of", "n", hour=hour)
    clock = pl.DataFrame({"hour": range(_HOURS)}, schema={"hour": pl.Int64})
    moves = clock.select(moved=(pl.col("hour") + 12) % _HOURS - 12)
    every = today.select("lab", "of").unique().join(runs, on="lab", nulls_equal=True).join(clock, how="cross")
    here = every.join(usual, on=["lab", "hour"], how="left", nulls_equal=True)
    here = here.with_columns(expected=pl.col("usual_n").fill_null(0) / pl.col("all_n"))
    distances = (
        here.join(moves, how="cross")
        .with_columns(seen_at=(pl.col("hour") + pl.col("moved")) % _HOURS)
        .join(today.select("lab", "n", seen_at="hour"), on=["lab", "seen_at"], how="left", nulls_equal=True)
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
    drifted = (
        distances.unique("lab", keep="first", maintain_order=True)
        .join(unmoved, on="lab", nulls_equal=True)
        .filter(
            pl.col("runs") >= rule["minimum_runs"],
            pl.col("moved") != 0,
            pl.col("by") >= pl.col("by_chance") * rule["change"],
            pl.col("distance") <= pl.col("by") * policy.drift.hour_fit,
        )
        .with_columns(
            what=pl.lit("hour_of_day"),
            title=pl.lit(rule["title"]),
            analyte=pl.lit(None, pl.String),
            before_value=pl.lit(0.0),
            now_value=pl.col("moved").cast(pl.Float64),
            n="of",
        )
    )
    late = pl.when(pl.col("moved") > 0).then(pl.lit("later")).otherwise(pl.lit("earlier"))
    return _findings(
        drifted, before=pl.lit("as usual"), now=pl.format("{} h {} than usual", pl.col("moved").abs(), late)
    )


def _but_few(values: pl.Expr, policy: Policy, *, descending: bool) -> pl.Expr:
    """The extreme of the earlier runs but for a few: a change is told for so many nights, not for one only."""
    return values.sort(descending=descending).get(policy.drift.told_n, null_on_oob=True)


def _scatter(values: pl.Expr) -> pl.Expr:
    """The standard deviation of the earlier runs, which a few outlying ones do not move."""
    return (values - values.median()).abs().median() * _MAD_TO_SD


def _findings(drifted: pl.DataFrame, before: pl.Expr, now: pl.Expr) -> pl.DataFrame:
    labels = load_reference().analytes.select("analyte", "label")
    whose = pl.concat_str(
        pl.lit("Laboratory "),
        pl.col("lab").fill_null("(not named)"),
        pl.when(pl.col("analyte").is_not_null()).then(pl.concat_str(pl.lit(", "), pl.coalesce("label", "analyte"))),
        ignore_nulls=True,
    )
    return (
        drifted.join(labels, on="analyte", how="left")
        .with_columns(before=before, now=now)
        .with_columns(
            words=pl.concat_str(whose, pl.lit(": "), "title", pl.lit(", from "), "before", pl.lit(" to "), "now")
        )
        .select(
            *(
                pl.col(name).cast(pl.Int64)
                if name in ("n", "runs")
                else pl.col(name).cast(pl.Float64).round_sig_figs(6)
                if name.endswith("_value")
                else pl.col(name)
                for name in _FINDING
            )
        )
    )


def _percent(column: str) -> pl.Expr:
    per_cent = pl.col(column) * 100
    whole = per_cent.round(0).cast(pl.Int64).cast(pl.String)
    return pl.concat_str(pl.when((per_cent > 0) & (per_cent < 1)).then(pl.lit("< 1")).otherwise(whole), pl.lit(" %"))


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64).round_sig_figs(3).cast(pl.String).str.strip_suffix(".0")


_RULES: Final[dict[str, Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame, Policy], pl.DataFrame]]] = {
    "silent": _silent,
    "unit": _unit_drift,
    "share": _share_drift,
    "fold": _median_drift,
    "volume": _volume_drift,
    "hour": _hour_drift,
    "new": _new_laboratories,
}

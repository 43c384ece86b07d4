"""Why a drug is suspected, or not, in one sentence: a function a clause (DRG-1 ... DRG-7)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.lines import DAY
from neutro_screen.rules.words import count_text, number

_IS_COURSE: Final = pl.col("anchor") == "first_exposure"
#: A later fall of an episode, named by where it led from and to.
_IS_LATER: Final = pl.col("kind").is_in(["deeper", "halving"])
#: The partner of an interaction, where the pair is more than common.
_PARTNER: Final = pl.when(pl.col("partner_evidence") != "possible").then("partner")


def reason(rules: CauseRules) -> pl.Expr:
    """The sentence of a suspect: its time, its fit, what stopping and giving it again showed, and what competes."""
    expected = pl.when("is_in_time").then(pl.lit("expected effect; "))
    facts = pl.concat_str(_together(), _began(), _fit(), _given(), separator=", ", ignore_nulls=True)
    details = pl.concat_str(
        _nadir(),
        _beyond(rules),
        _withdrawn(),
        _again(),
        pl.when(_PARTNER.is_null()).then(pl.format("given together with {}", "partner")),
        _baseline(),
        pl.when("is_protopathic").then(pl.lit("may have been begun for the first symptoms of the fall")),
        pl.when("is_class").then(pl.lit("known by its class only")),
        _competing(),
        separator="; ",
        ignore_nulls=True,
    )
    sentence = pl.concat_str(facts, details.replace("", None), separator="; ", ignore_nulls=True)
    name = pl.concat_str("ingredient", _PARTNER, separator=" with ", ignore_nulls=True)
    return pl.concat_str(name, pl.lit(": "), expected.fill_null(""), sentence)


def reason_of_exclusion() -> pl.Expr:
    """The sentence of a drug that began too late to have begun any fall of the episode."""
    after_d = (pl.col("first_exposure") - pl.col("onset_day")).dt.total_days()
    begun = (
        pl.when(after_d == 0)
        .then(pl.format("started on the day of {}", _what_fell()))
        .otherwise(pl.format("started {} after {}", _days(after_d), _what_fell()))
    )
    deepened = (
        pl.when(pl.col("first_exposure") < pl.col("nadir_day"))
        .then(pl.lit("; given before the lowest count, may have deepened it"))
        .otherwise(pl.lit(""))
    )
    return pl.concat_str("ingredient", pl.lit(": "), begun, pl.lit(", cannot have begun the fall"), deepened)


def _what_fell() -> pl.Expr:
    """The fall in words: the first low count, or from where to where a later one led."""
    fell = pl.format(
        "the fall from {} to {} cells/uL",
        count_text(pl.col("from_cells_per_ul"), pl.lit(None, pl.String)),
        count_text(pl.col("to_cells_per_ul"), pl.lit(None, pl.String)),
    )
    return pl.when(_IS_LATER).then(fell).otherwise(pl.lit("the first low count"))


def _days(count: pl.Expr) -> pl.Expr:
    return pl.format("{} {}", count, pl.when(count == 1).then(pl.lit("day")).otherwise(pl.lit("days")))


def _together() -> pl.Expr:
    """How long both drugs of a pair were taken before the fall, and how the partner acts."""
    fit = pl.when("is_reopened").then(pl.lit(", which re-opens its window")).otherwise(pl.lit(""))
    return pl.when(_PARTNER.is_not_null()).then(
        pl.format(
            "taken together for {} before {} ({}){}",
            _days(pl.col("days_together")),
            _what_fell(),
            "partner_mechanism",
            fit,
        )
    )


def _began() -> pl.Expr:
    """How long before the fall it was begun or given, by what its window counts from."""
    before = _days(pl.col("days_to_low"))
    dose = pl.format(
        "{} {} after the dose of {}",
        _what_fell().str.strip_prefix("the "),
        before,
        pl.col("anchor_day").dt.strftime(DAY),
    )
    return (
        pl.when(pl.col("anchor") == "last_dose")
        .then(pl.format("last dose {} before {}", before, _what_fell()))
        .when(pl.col("anchor") == "each_dose")
        .then(dose)
        .when(pl.col("is_start_certain"))
        .then(pl.format("started {} before {}", before, _what_fell()))
        .otherwise(pl.format("started at most {} before {}", before, _what_fell()))
    )


def _fit() -> pl.Expr:
    """How the fall lies to the drug's own window; of a re-opened one the pair has been named."""
    window = pl.format("({}-{} d)", "onset_from_d", "onset_to_d")
    words = {
        "inside": pl.format("inside its window {}", window),
        "overlaps": pl.format("the fall may lie inside its window {}", window),
        "late": pl.format("later than typical {}, but reactions come at any time on it", window),
        "unknown": pl.format("inside its window {}, no count before", window),
        "outside": pl.format("outside its window {}", window),
    }
    by_onset = pl.coalesce(pl.when(pl.col("onset") == onset).then(text) for onset, text in words.items())
    return pl.when(~pl.col("is_reopened")).then(by_onset)


def _given() -> pl.Expr:
    """Whether it was still given at the first low count, and when it was stopped; null where doses count."""
    to_low_d = (pl.col("stopped_on") - pl.col("onset_day")).dt.total_days()
    return (
        pl.when(~_IS_COURSE)
        .then(None)
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("still given"))
        .when(to_low_d < 0)
        .then(pl.format("stopped {} before it", _days(-to_low_d)))
        .when(to_low_d == 0)
        .then(pl.lit("stopped on that day"))
        .otherwise(pl.format("stopped {} after it", _days(to_low_d)))
    )


def _nadir() -> pl.Expr:
    """Of an expected effect: the day of the lowest count after the dose, and whether that is usual."""
    is_usual = pl.col("days_to_nadir").is_between("nadir_from_d", "nadir_to_d")
    fit = pl.when(is_usual).then(pl.lit("inside its nadir window")).otherwise(pl.lit("outside its nadir window"))
    has_window = (pl.col("anchor") == "each_dose") & pl.col("nadir_from_d").is_not_null()
    return pl.when(pl.col("is_in_time") & has_window).then(
        pl.format("lowest count on day {} after it, {} ({}-{} d)", "days_to_nadir", fit, "nadir_from_d", "nadir_to_d")
    )


def _beyond(rules: CauseRules) -> pl.Expr:
    """In which way the course went on beyond the expected time (DRG-5)."""
    rule, day = rules.expected, pl.col("beyond_at").dt.strftime(DAY)
    limit = (
        f"below {number(rule.severe_below_cells_per_ul)} cells/uL for more than {rule.severe_d} days after its window"
    )
    return (
        pl.when(pl.col("beyond") == "severe")
        .then(pl.format("beyond what is expected: still {} on {}", pl.lit(limit), day))
        .when(pl.col("beyond") == "unrecovered")
        .then(pl.format("beyond what is expected: still low on {}, after recovery was due", day))
    )


def _baseline() -> pl.Expr:
    """What the count was before the drug, where that was low."""
    stable = pl.format(
        "the count was low before it ({} cells/uL) and stable until this fall",
        count_text(pl.col("baseline_cells_per_ul"), pl.lit(None, pl.String)),
    )
    return (
        pl.when(pl.col("baseline") == "low")
        .then(pl.lit("the count was low before it"))
        .when(pl.col("baseline") == "stable")
        .then(stable)
    )


def _withdrawn() -> pl.Expr:
    """What stopping it showed; null where doses count."""
    took, dechallenge = _days(pl.col("recovery_took_d")), pl.col("dechallenge")
    return (
        pl.when(~_IS_COURSE)
        .then(None)
        .when(dechallenge == "recovered")
        .then(pl.format("recovered {} after stopping", took))
        .when(dechallenge == "recovered_confounded")
        .then(pl.format("recovered {} after stopping, which something else may explain", took))
        .when(dechallenge == "recovered_while_given")
        .then(pl.lit("recovered while it was given"))
        .when(dechallenge == "not_recovered")
        .then(pl.lit("no recovery after stopping"))
        .when("is_single")
        .then(pl.lit("one low value only, so no dechallenge"))
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("dechallenge not yet possible"))
        .otherwise(pl.lit("recovery not yet known"))
    )


def _again() -> pl.Expr:
    """What giving it again showed."""
    return (
        pl.when("has_recurred")
        .then(pl.lit("an earlier episode on the same drug"))
        .when("was_tolerated")
        .then(pl.lit("tolerated when given again"))
    )


def _competing() -> pl.Expr:
    cytotoxic = pl.when(~pl.col("is_in_time")).then(pl.format("expected effect of {}", "expected_drugs"))
    causes = pl.concat_str("alternatives", cytotoxic, separator=", ", ignore_nulls=True).replace("", None)
    return pl.format("competing: {}", causes)
